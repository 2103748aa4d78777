"""Building networks: one contract over every model, and wrong weights refused."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from medcompare.base.errors import WeightsError
from medcompare.models.registry import build_model, count_parameters
from medcompare.models.zoo import MODELS

if TYPE_CHECKING:
    from pathlib import Path

TEST_CNN = MODELS["test_cnn"]


@pytest.mark.parametrize("name", MODELS)
def test_every_model_keeps_the_contract(name: str) -> None:
    """Published number of parameters; the head alone replaced; two outputs per image; same seed, same weights."""
    spec = MODELS[name]
    original = spec.build()
    network = build_model(spec, seed=5)
    old, new = original.get_submodule(spec.head), network.get_submodule(spec.head)

    assert count_parameters(original) == spec.n_parameters
    assert old.out_features == 1000
    assert new.out_features == 2
    assert count_parameters(network) == spec.n_parameters - 998 * (old.in_features + 1)
    assert set(original.state_dict()) == set(network.state_dict())
    assert network.training
    with torch.inference_mode():
        assert network.eval()(torch.zeros(2, 3, 64, 64)).shape == (2, 2)
    again = build_model(spec, seed=5).state_dict()
    assert all(torch.equal(value, again[key]) for key, value in network.state_dict().items())


def test_seeds_differ_and_the_global_generator_is_left_alone() -> None:
    """What others draw afterwards does not depend on models built before."""
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    a, b = build_model(TEST_CNN, seed=1), build_model(TEST_CNN, seed=2)

    assert torch.equal(torch.rand(3), expected)
    assert not torch.equal(a.state_dict()["convolution_1.weight"], b.state_dict()["convolution_1.weight"])


@pytest.mark.parametrize("name", ["test_cnn", "efficientnet_b0"])
def test_weights_are_loaded_everywhere_but_in_the_head(name: str, tmp_path: Path) -> None:
    """A file in the publisher's form: a state dictionary with the 1000-class head."""
    spec = MODELS[name]
    torch.manual_seed(8)
    state = spec.build().state_dict()
    torch.save(state, tmp_path / "weights.pth")
    loaded = build_model(spec, seed=1, weights_path=tmp_path / "weights.pth").state_dict()
    fresh = build_model(spec, seed=1).state_dict()

    same = {key for key in state if torch.equal(loaded[key], state[key])}
    assert set(state) - same == {f"{spec.head}.weight", f"{spec.head}.bias"}
    assert not all(torch.equal(loaded[key], fresh[key]) for key in same)


def test_weights_saved_by_old_versions_load() -> None:
    """Published files lack the counters of batch normalisation; torch fills them in."""
    spec = MODELS["resnet50"]
    state = {key: value for key, value in spec.build().state_dict().items() if "num_batches" not in key}
    network = spec.build()

    assert network.load_state_dict(dict(state), strict=True).missing_keys == []


def test_the_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    """Examples of what differs stand in the message."""
    path = tmp_path / "weights.pth"
    torch.save({"somewhere.weight": torch.ones(2)}, path)

    with pytest.raises(
        WeightsError, match=r"holds the weights of another network than test_cnn .*convolution_1"
    ):
        build_model(TEST_CNN, seed=0, weights_path=path)


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    """Same names, a head of ten classes."""
    path = tmp_path / "weights.pth"
    state = TEST_CNN.build().state_dict()
    torch.save({**state, "head.weight": torch.ones(10, 32)}, path)

    with pytest.raises(WeightsError, match=r"another network than test_cnn .*shapes differ"):
        build_model(TEST_CNN, seed=0, weights_path=path)


def test_a_file_that_holds_no_weights_is_refused(tmp_path: Path) -> None:
    """Half a file, and a file with something else."""
    path = tmp_path / "weights.pth"
    torch.save(TEST_CNN.build().state_dict(), path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(WeightsError, match="is not a file of weights"):
        build_model(TEST_CNN, seed=0, weights_path=path)

    torch.save({"epoch": 3}, path)
    with pytest.raises(WeightsError, match="holds no state dictionary"):
        build_model(TEST_CNN, seed=0, weights_path=path)


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    """Only tensors are loaded, never objects."""
    path = tmp_path / "weights.pth"
    torch.save(nn.Linear(2, 2), path)

    with pytest.raises(WeightsError, match="is not a file of weights"):
        build_model(TEST_CNN, seed=0, weights_path=path)


def test_a_head_that_is_not_linear_is_a_mistake_in_the_table() -> None:
    """The layer found is named."""
    with pytest.raises(TypeError, match="head 'norm_1' of model 'test_cnn' is a BatchNorm2d"):
        build_model(replace(TEST_CNN, head="norm_1"), seed=0)
