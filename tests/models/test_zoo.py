"""The table of networks: every entry complete, true to its publisher, and cheap to list."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from medcompare.models.zoo import LISTED, MODELS, table

ROOT = Path(__file__).resolve().parents[2]


def test_listing_the_models_does_not_import_torch() -> None:
    """So that --help answers at once."""
    code = "import sys, medcompare.models.zoo; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"


def test_a_name_used_twice_is_refused() -> None:
    """Never silently replaced."""
    spec = MODELS["resnet50"]
    with pytest.raises(ValueError, match="two models are named 'resnet50'"):
        table(spec, spec)


def test_an_equivalent_that_is_not_there_is_refused() -> None:
    """Before a measurement would look for it."""
    with pytest.raises(
        ValueError, match="the equivalent of 'efficientnet_b0', 'efficientnet_b0_torchvision', is not"
    ):
        table(MODELS["efficientnet_b0"])


def test_an_equivalent_is_the_same_architecture_from_another_library() -> None:
    """As many trainable numbers, operations and outputs: what differs in time differs by the implementation."""
    from medcompare.base.devices import pick_device
    from medcompare.training.cost import count_flops, implementation_of
    from medcompare.training.scoring import Placement

    pairs = [
        (spec, MODELS[spec.maintained_equivalent]) for spec in MODELS.values() if spec.maintained_equivalent
    ]
    assert [(one.name, other.name) for one, other in pairs] == [
        ("efficientnet_b0", "efficientnet_b0_torchvision")
    ]
    placement = Placement(device=pick_device("cpu", index=0), memory_format="contiguous")
    for one, other in pairs:
        networks = [spec.build().eval() for spec in (one, other)]
        assert one.n_parameters == other.n_parameters
        assert (one.mean, one.std) == (other.mean, other.std)
        first, second = (count_flops(network, placement, size_px=224) for network in networks)
        assert first == pytest.approx(second, rel=1e-3)
        assert implementation_of(networks[0]).split()[0] != implementation_of(networks[1]).split()[0]


def test_the_network_for_tests_is_not_offered() -> None:
    """People see the real ones, in the table's order."""
    assert (
        *("resnet50", "efficientnet_b0", "convnext_tiny", "efficientnet_b0_torchvision"),
        "efficientnet_lite0",
    ) == LISTED
    assert MODELS["test_cnn"].hidden


@pytest.mark.parametrize("name", MODELS)
def test_every_entry_is_complete(name: str) -> None:
    """Names agree, the digest's start stands in the file's name, addresses are secure."""
    spec = MODELS[name]

    assert spec.name == name
    assert spec.source
    assert spec.recipe.source
    for file in spec.weights.values():
        assert file.filename.endswith(f"-{file.sha256_prefix}.pth")
        assert len(file.sha256_prefix) == 8
        assert file.url.startswith("https://")


@pytest.mark.parametrize(
    ("name", "weights", "versions"),
    [
        ("resnet50", "ResNet50_Weights", ["V1", "V2"]),
        ("convnext_tiny", "ConvNeXt_Tiny_Weights", ["V1"]),
        ("efficientnet_b0_torchvision", "EfficientNet_B0_Weights", ["V1"]),
    ],
)
def test_torchvisions_own_table_says_the_same(name: str, weights: str, versions: list[str]) -> None:
    """Address, versions, number of parameters, mean and standard deviation of the installed version."""
    published = getattr(importlib.import_module("torchvision.models"), weights)
    spec = MODELS[name]

    assert list(spec.weights) == versions == [member.name.rsplit("_", 1)[1] for member in published]
    for version, file in spec.weights.items():
        member = published[f"IMAGENET1K_{version}"]
        assert file.url == member.url
        assert file.name == f"torchvision {weights}.{member.name}"
        assert spec.n_parameters == member.meta["num_params"]
        transform = member.transforms()
        assert (tuple(transform.mean), tuple(transform.std)) == (spec.mean, spec.std)


def test_efficientnet_pytorchs_own_table_says_the_same() -> None:
    """Address of the weights without adversarial training."""
    from efficientnet_pytorch.utils import url_map

    assert MODELS["efficientnet_b0"].weights["V1"].url == url_map["efficientnet-b0"]
