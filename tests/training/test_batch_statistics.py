"""Batch statistics belong to the weights, and measuring them disturbs nothing else."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

from medcompare.data.assignments import read_assignments, rows_of
from medcompare.models.registry import build_model
from medcompare.models.zoo import LISTED, MODELS
from medcompare.training import loop as training
from medcompare.training.augmentation import augmentations
from medcompare.training.batch_statistics import (
    load_statistics,
    measure_statistics,
    momenta,
    normalisations,
    statistics_of,
)
from medcompare.training.checkpoints import load, load_checkpoint
from medcompare.training.dataset import BatchLoader, EvaluationImages, TrainingImages
from medcompare.training.loop import train_model
from medcompare.training.recipes import FitSettings, optimizer_of
from medcompare.training.scoring import Placement, logits_of
from medcompare.training.state import is_better
from medcompare.training.transforms import normalised

if TYPE_CHECKING:
    from medcompare.models.spec import ModelSpec

PLACEMENT = Placement(device=torch.device("cpu"), memory_format="contiguous")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def sample_of(tiny: Any, *, batch_size: int) -> BatchLoader:
    """The training images without augmentation."""
    rows = rows_of(read_assignments(tiny.store.read(tiny.split.assignments)), "train")
    images = EvaluationImages(rows, tiny.root, size_px=32, resize_px=37)
    return BatchLoader(images, batch_size=batch_size)


def all_inputs(sample: BatchLoader, spec: ModelSpec) -> torch.Tensor:
    """Every image of `sample` as one batch of inputs."""
    return torch.cat([normalised(batch.images, spec.mean, spec.std) for batch in sample.in_order()])


def settings_of(spec: ModelSpec, **changes: Any) -> FitSettings:
    """Settings of a short training in float32."""
    values: dict[str, Any] = {"epochs": 2, "patience": 9, "class_weights": (1.0, 1.0), "seed": 1}
    values |= {"placement": PLACEMENT, "precision": "float32"} | changes
    return FitSettings(spec=spec, recipe=spec.recipe, **values)


@pytest.mark.parametrize("batch_size", [7, 20, 48])
def test_the_first_layer_gets_mean_and_variance_of_all_images_together(tiny: Any, batch_size: int) -> None:
    """By numpy, over images and places, whatever the batches and however unequal their sizes."""
    spec = MODELS["test_cnn"]
    network = build_model(spec, seed=0)
    sample = sample_of(tiny, batch_size=batch_size)
    measure_statistics(network, sample, spec, PLACEMENT, "float32")
    with torch.no_grad():
        maps = network.get_submodule("convolution_1")(all_inputs(sample, spec)).double().numpy()
    measured = statistics_of(network)

    np.testing.assert_allclose(measured["norm_1.running_mean"], maps.mean(axis=(0, 2, 3)), atol=2e-6)
    np.testing.assert_allclose(measured["norm_1.running_var"], maps.var(axis=(0, 2, 3)), rtol=2e-5)


@pytest.mark.parametrize("name", ["test_cnn", "efficientnet_b0"])
def test_with_the_sample_as_one_batch_evaluation_is_training_mode(tiny: Any, name: str) -> None:
    """Every layer then has exactly the statistics it normalised by, dropout and stochastic depth off."""
    spec = MODELS[name]
    network = build_model(spec, seed=0)
    sample = sample_of(tiny, batch_size=48)
    in_training = measure_statistics(network, sample, spec, PLACEMENT, "float32")

    np.testing.assert_allclose(logits_of(network, sample, spec, PLACEMENT), in_training, atol=2e-4)
    assert np.ptp(in_training, axis=0).min() > 1e-3


def test_nothing_but_the_statistics_is_touched(tiny: Any, random_cnn: str) -> None:
    """Parameters, momenta, counters and the random generator: as before; no dropout draws anything."""
    spec = MODELS[random_cnn]
    network = build_model(spec, seed=0)
    for number, layer in enumerate(normalisations(network).values()):
        layer.momentum = 0.1 / (1 + number)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    momenta_before, generator_before = momenta(network), torch.get_rng_state()
    running = statistics_of(network)
    measure_statistics(network, sample_of(tiny, batch_size=16), spec, PLACEMENT, "float32")
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}

    assert changed == {name for name in running if not name.endswith("num_batches_tracked")}
    assert momenta(network) == momenta_before == (0.05, 0.1)
    assert torch.equal(torch.get_rng_state(), generator_before)
    load_statistics(network, running)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_failure_while_measuring_leaves_the_network_as_it_was(tiny: Any) -> None:
    """An image gone in the middle of it."""
    spec = MODELS["test_cnn"]
    network = build_model(spec, seed=0)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    sample = sample_of(tiny, batch_size=16)
    (tiny.root / sample.images.rows[-1].path).unlink()

    with pytest.raises(Exception, match="is gone"):
        measure_statistics(network, sample, spec, PLACEMENT, "float32")
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert momenta(network) == (0.1,)


def test_every_network_says_which_statistics_it_has() -> None:
    """The library of EfficientNet-B0 averages ten times as slowly as the others; ConvNeXt has nothing to average."""
    found = {name: momenta(MODELS[name].build()) for name in LISTED}

    assert found == {
        "resnet50": (0.1,),
        "efficientnet_b0": (pytest.approx(0.01),),
        "convnext_tiny": (),
        "efficientnet_b0_torchvision": (0.1,),
        "efficientnet_lite0": (pytest.approx(0.01),),
    }


def slow(name: str, momentum: float, monkeypatch: pytest.MonkeyPatch) -> str:
    """A copy of the network `name` whose running statistics follow at `momentum`."""
    spec = MODELS[name]

    def build() -> nn.Module:
        network = spec.build()
        for layer in normalisations(network).values():
            layer.momentum = momentum
        return network

    build.__module__ = spec.build.__module__
    monkeypatch.setitem(MODELS, f"{name}_slow", replace(spec, name=f"{name}_slow", build=build))
    return f"{name}_slow"


def test_a_constant_of_the_library_changes_no_figure(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Momentum 0.1 and 0.001: the same weights, history and statistics; only the running figures differ.

    With the running statistics the slow network looks untrained.
    """
    usual = train_model(tiny.request(epochs=4))
    late = train_model(tiny.request(model=slow("test_cnn", 0.001, monkeypatch), epochs=4))
    ignored = {"images_per_s", "elapsed_s", "remeasuring_s", "comparison_s"}
    ignored |= {"val_auc_running", "val_loss_running", "sample_loss_running"}
    histories = [[log.model_dump(exclude=ignored) for log in one.history] for one in (usual, late)]
    states = [load(tiny.store.path_of(one.checkpoint))["state"] for one in (usual, late)]

    assert histories[0] == histories[1]
    assert usual.best_epoch == late.best_epoch
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert late.kept.val_auc is not None
    assert late.kept.val_auc > 0.9
    assert late.kept.sample_loss_running is not None
    assert late.kept.sample_loss_training_mode is not None
    assert late.kept.sample_loss_running > late.kept.sample_loss_training_mode + 0.2
    assert late.kept.sample_loss is not None
    assert late.kept.sample_loss < late.kept.sample_loss_training_mode + 0.02
    assert late.batch_norm is not None
    assert (late.batch_norm.momenta, late.batch_norm.n_layers) == ((0.001,), 2)
    assert late.batch_norm.n_sample_images == 48


def test_only_the_epoch_that_is_kept_is_compared(tiny: Any) -> None:
    """The others spare those passes, and change no figure; the loss in training mode costs nothing and is in all."""
    trained = train_model(tiny.request(epochs=6, patience=6, recipes={"test_cnn": {"learning_rate": 0.1}}))
    for log in trained.history:
        figures = (log.sample_loss, log.val_loss_running, log.val_auc_running)
        kept = log.epoch == trained.best_epoch
        assert [figure is not None for figure in figures] == [kept] * 3
        assert (log.comparison_s > 0) == kept
        assert log.remeasuring_s > 0
        assert log.sample_loss_training_mode is not None
    assert sum(is_better(b, a) for a, b in itertools.pairwise(trained.history)) > 0
    assert trained.elapsed_s >= trained.history[-1].elapsed_s + trained.kept.comparison_s


def test_statistics_in_bfloat16_are_those_in_float32(tiny: Any) -> None:
    """Rounding averages out: log-odds differ by a hundredth of their spread, where a sample of 512 costs a tenth."""
    spec = MODELS["test_cnn"]
    network = build_model(spec, seed=0)
    sample = sample_of(tiny, batch_size=16)
    odds = []
    for precision in ("float32", "bfloat16"):
        measure_statistics(network, sample, spec, PLACEMENT, precision)
        odds.append(np.diff(logits_of(network, sample, spec, PLACEMENT), axis=1))

    assert np.abs(odds[1] - odds[0]).max() > 0
    assert np.sqrt(np.mean((odds[1] - odds[0]) ** 2)) < 0.02 * odds[0].std()


def test_the_running_statistics_are_those_of_a_training_without_measuring(tiny: Any, random_cnn: str) -> None:
    """Epochs of steps alone: weights and running statistics to the last bit as in the stored checkpoint."""
    request = tiny.request(model=random_cnn, epochs=2, precision="float32")
    trained = train_model(request)
    spec = MODELS[random_cnn]
    rows = rows_of(read_assignments(tiny.store.read(tiny.split.assignments)), "train")
    images = TrainingImages(
        rows,
        tiny.root,
        size_px=32,
        crop_scale_min=request.train.crop_scale_min,
        augmentations=augmentations(request.train, 32),
        seed=1,
    )
    loader = BatchLoader(images, batch_size=16)
    placement = Placement(device=torch.device("cpu"), memory_format="channels_last")
    network = placement.network(build_model(spec, seed=1))
    optimizer = optimizer_of(network, spec.recipe)
    for epoch in range(1, trained.best_epoch + 1):
        training.seed_epoch(1, epoch)
        batches = loader.shuffled(seed=1, epoch=epoch)
        settings = settings_of(spec, placement=placement)
        training.train_one_epoch(network, optimizer, batches, settings, epoch=epoch, n_steps=loader.n_steps)
    stored = build_model(spec, seed=0)
    running = load_checkpoint(tiny.store, trained.checkpoint, stored, model=random_cnn)
    remeasured = statistics_of(stored)
    load_statistics(stored, running)

    assert all(torch.equal(stored.state_dict()[name], value) for name, value in network.state_dict().items())
    assert not torch.equal(remeasured["1.running_mean"], running["1.running_mean"])


def test_a_network_without_batch_normalisation_has_nothing_to_measure(
    tiny: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Said by an empty record, no time spent, no second figure."""
    spec = MODELS["test_cnn"]

    def build() -> nn.Module:
        network = spec.build()
        network.set_submodule("norm_1", nn.GroupNorm(2, 16))
        network.set_submodule("norm_2", nn.Identity())
        return network

    build.__module__ = spec.build.__module__
    monkeypatch.setitem(MODELS, "group_cnn", replace(spec, name="group_cnn", build=build))
    trained = train_model(tiny.request(model="group_cnn", epochs=1))

    assert trained.batch_norm is None
    assert trained.kept.sample_loss_training_mode is None
    assert trained.kept.val_auc_running is None
    assert trained.kept.remeasuring_s == 0
    network = build_model(MODELS["group_cnn"], seed=0)
    assert load_checkpoint(tiny.store, trained.checkpoint, network, model="group_cnn") == {}
