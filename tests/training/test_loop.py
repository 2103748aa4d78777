"""Training: repeatable, resumable, honest about what it kept and why it stopped."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from medcompare.base.artifacts import ArtifactStore
from medcompare.base.errors import DataError, TrainingError
from medcompare.config.train import RecipeOverride
from medcompare.data.assignments import read_assignments, rows_of
from medcompare.models.registry import build_model
from medcompare.models.zoo import MODELS
from medcompare.training import epoch as epoch_of_training
from medcompare.training import events
from medcompare.training import loop as training
from medcompare.training.augmentation import augmentations
from medcompare.training.checkpoints import load, load_checkpoint
from medcompare.training.dataset import BatchLoader, TrainingImages
from medcompare.training.epoch import EpochProgress, Losses
from medcompare.training.loop import train_model
from medcompare.training.recipes import FitSettings
from medcompare.training.records import EpochLog
from medcompare.training.replay import replay
from medcompare.training.scoring import Placement
from medcompare.training.state import has_progressed, is_better, resume_key

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import nn

    from medcompare.training.records import TrainedModel

TIMES = {"images_per_s", "elapsed_s", "remeasuring_s", "comparison_s"}


def figures(trained: TrainedModel) -> list[dict[str, Any]]:
    """The history without its times."""
    return [log.model_dump(exclude=TIMES) for log in trained.history]


def epoch_log(epoch: int, val_auc: float | None, val_loss: float) -> EpochLog:
    """One line of a history."""
    return EpochLog(
        epoch=epoch,
        learning_rate=0.1,
        train_loss=0.5,
        val_loss=val_loss,
        val_auc=val_auc,
        val_balanced_accuracy=0.5,
        images_per_s=1.0,
        elapsed_s=1.0,
    )


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_same_request_gives_the_same_history_and_checkpoint(tiny: Any, precision: str) -> None:
    """To the last digit, whatever the state of the global generators; another seed differs."""
    first = train_model(tiny.request(precision=precision))
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002 - the global generator is what must not matter
    second = train_model(tiny.request(precision=precision))
    other = train_model(tiny.request(precision=precision, seed=2))

    assert figures(first) == figures(second)
    assert first.checkpoint == second.checkpoint
    assert figures(first) != figures(other)
    assert first.precision == precision
    assert first.memory_format == "channels_last"


def test_a_network_learns(tiny: Any) -> None:
    """The loss falls and the validation AUC leaves chance behind."""
    trained = train_model(tiny.request(epochs=8, patience=8))

    assert trained.history[-1].train_loss < trained.history[0].train_loss / 2
    assert trained.history[trained.best_epoch - 1].val_auc > 0.9
    assert trained.n_images_seen == 8 * 48
    assert trained.recipe == "Adam, learning rate 0.01, weight decay 0"
    assert trained.class_weights == (1.0, 1.0)


def test_dropout_and_stochastic_depth_follow_the_seed(random_cnn: str) -> None:
    """Equal initial weights, order and crops: only what the network draws in training differs.

    A seed that reached the order of the images alone would pass a test of whole trainings.
    """
    network = build_model(MODELS[random_cnn], seed=0).train()
    images = torch.rand(16, 3, 32, 32, generator=torch.Generator().manual_seed(0))

    def drawn(seed: int, epoch: int) -> list[float]:
        training.seed_epoch(seed, epoch)
        return network(images).flatten().tolist()

    places = [(seed, epoch) for seed in (0, 1, 7, 2**31 - 1) for epoch in (1, 2)]
    assert drawn(1, 1) == drawn(1, 1)
    assert len({tuple(drawn(*place)) for place in places}) == len(places)


def test_float16_learns_as_float32_does_and_goes_on_from_a_checkpoint(
    tiny: Any, cut_off: Callable[..., None]
) -> None:
    """The loss is scaled, so that small gradients are kept; the scale is in the checkpoint."""
    request = tiny.request(epochs=3, precision="float16", checkpoint_every_s=0, clip_norm=1.0)
    whole = train_model(request)
    plain = train_model(tiny.request(epochs=3, precision="float32", clip_norm=1.0))
    losses = [[log.train_loss for log in one.history] for one in (whole, plain)]
    assert losses[0] == pytest.approx(losses[1], abs=0.02)
    assert losses[0] != losses[1]
    assert whole.precision == "float16"

    cut_off(request, (2, 2))
    assert figures(train_model(request)) == figures(whole)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_loading_processes_do_not_change_the_history(tiny: Any, random_cnn: str, precision: str) -> None:
    """Crops depend on (seed, epoch, index) alone, and a loader draws nothing the network would draw."""
    runs = [
        train_model(tiny.request(model=random_cnn, epochs=3, num_workers=count, precision=precision))
        for count in (0, 1, 2)
    ]

    assert figures(runs[0]) == figures(runs[1]) == figures(runs[2])
    assert len({run.checkpoint.sha256 for run in runs}) == 1


@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize("cut", [(1, 1), (1, 2), (2, 3), (4, 3)])
def test_a_training_cut_off_resumes_to_the_same_end(
    tiny: Any, random_cnn: str, monkeypatch: pytest.MonkeyPatch, cut: tuple[int, int], num_workers: int
) -> None:
    """Cut off at any step and tried again: to the last byte as if nothing had happened.

    The network draws random numbers and averages batch statistics; the second attempt loads its
    images in another process and finds the global generator elsewhere. It starts at the very step
    that was cut off, before its state could be saved.
    """
    request = tiny.request(model=random_cnn, epochs=4, patience=4, checkpoint_every_s=0)
    whole = train_model(request)
    steps: list[tuple[int, int]] = []

    def cut_off(event: Mapping[str, Any]) -> None:
        if event["event"] == "progress":
            steps.append((event["epoch"], event["step"]))
            if steps.count(cut) == 1 and steps[-1] == cut:
                message = "power cut"
                raise OSError(message)

    monkeypatch.setattr(events, "PROGRESS_EVERY_S", 0.0)
    with pytest.raises(OSError, match="power cut"):
        train_model(request, emit=cut_off)
    torch.manual_seed(99)
    other = request.train.model_copy(update={"num_workers": num_workers})
    resumed = train_model(request.model_copy(update={"train": other}), emit=cut_off)

    every = [(epoch, step) for epoch in range(1, 5) for step in range(1, 4)]
    assert steps == every[: every.index(cut) + 1] + every[every.index(cut) :]
    assert figures(resumed) == figures(whole)
    assert resumed.checkpoint == whole.checkpoint
    assert resumed.best_epoch == whole.best_epoch
    assert resumed.n_images_seen == whole.n_images_seen
    assert list((request.store_root / "resume").iterdir()) == []


@pytest.mark.parametrize(("n_damaged", "goes_on"), [(1, (2, 2)), (2, (1, 1))])
def test_damaged_checkpoints_are_said_and_those_before_them_used(  # noqa: PLR0917 - one row per case
    tiny: Any,
    random_cnn: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    n_damaged: int,
    goes_on: tuple[int, int],
) -> None:
    """One byte is wrong in the last, or in both that are kept: never trusted, never fatal, the same end."""
    request = tiny.request(model=random_cnn, epochs=2, checkpoint_every_s=0)
    whole = train_model(request)
    steps: list[tuple[int, int]] = []

    def cut_off(event: Mapping[str, Any]) -> None:
        if event["event"] == "progress":
            steps.append((event["epoch"], event["step"]))
            if steps.count((2, 3)) == 1 and steps[-1] == (2, 3):
                message = "power cut"
                raise OSError(message)

    monkeypatch.setattr(events, "PROGRESS_EVERY_S", 0.0)
    with pytest.raises(OSError, match="power cut"):
        train_model(request, emit=cut_off)
    kept = sorted((request.store_root / "resume").glob("*/*"))
    # Three steps and an end of the first epoch, two steps of the second.
    assert [path.name[:8] for path in kept] == ["00000005", "00000006"]
    for path in kept[2 - n_damaged :]:
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
    before = len(steps)
    resumed = train_model(request, emit=cut_off)

    assert steps[before] == goes_on
    assert [record.message.count("is damaged") for record in caplog.records].count(1) == n_damaged
    assert resumed.checkpoint == whole.checkpoint
    assert figures(resumed) == figures(whole)


def test_resuming_is_keyed_on_what_determines_a_training(tiny: Any) -> None:
    """Another seed or learning rate resumes nothing; another folder or thread count does."""
    base = tiny.request()
    key = resume_key(base, "float32", "cpu")
    faster = tiny.request(recipes={"test_cnn": RecipeOverride(learning_rate=0.1)})
    others = tiny.request(recipes={"resnet50": RecipeOverride(learning_rate=0.1)})

    assert resume_key(base.model_copy(update={"n_threads": 3}), "float32", "cpu") == key
    assert resume_key(others, "float32", "cpu") == key
    assert resume_key(faster, "float32", "cpu") != key
    assert resume_key(tiny.request(seed=5), "float32", "cpu") != key
    assert resume_key(base, "bfloat16", "cpu") != key


@pytest.mark.parametrize("read_every", [1, 2, 100])
def test_losses_are_the_same_however_rarely_they_are_read(read_every: int) -> None:
    """Three batches of classes that weigh 1 and 3, by hand; the step that is not finite is named, not the last."""
    settings = FitSettings(
        spec=MODELS["test_cnn"],
        recipe=MODELS["test_cnn"].recipe,
        epochs=1,
        patience=1,
        class_weights=(1.0, 3.0),
        seed=0,
        placement=Placement(device=torch.device("cpu"), memory_format="contiguous"),
        precision="float32",
    )
    progress = EpochProgress()
    losses = Losses(progress, settings, epoch=1, n_steps=3)
    for step, (loss, labels) in enumerate([(0.5, [0, 1]), (0.25, [0]), (2.0, [1, 1])], start=1):
        losses.add(torch.tensor(loss), labels)
        if step % read_every == 0:
            losses.read()
    losses.read()
    assert losses.mean == (4 * 0.5 + 1 * 0.25 + 6 * 2.0) / 11
    assert (progress.step, progress.n_images) == (3, 5)

    broken = Losses(EpochProgress(), settings, epoch=1, n_steps=3)
    for loss in (0.5, math.inf, 0.5):
        broken.add(torch.tensor(loss), [0])
    with pytest.raises(TrainingError, match="not finite at epoch 1, step 2 of 3"):
        broken.read()


def test_a_loss_that_is_not_finite_says_when_and_what_to_do(tiny: Any) -> None:
    """An absurd learning rate: epoch, step, rate and remedy; trying again cannot help."""
    request = tiny.request(
        recipes={"test_cnn": RecipeOverride(optimizer="sgd", learning_rate=10.0, weight_decay=10.0)},
        epochs=40,
        precision="float32",
    )

    with pytest.raises(
        TrainingError, match=r"not finite at .*epoch \d+.*learning rate 10.*learning_rate=1"
    ) as caught:
        train_model(request)
    assert not caught.value.transient


@pytest.mark.parametrize("read_every", [1, 16])
def test_the_batch_whose_loss_is_not_finite_is_kept_for_replay(
    tiny: Any, random_cnn: str, monkeypatch: pytest.MonkeyPatch, read_every: int
) -> None:
    """A weight is made infinite before step 5: that batch, as the loader gives it, and no name of a file.

    The message names the command, and what it says names epoch, step, images and the layer. Also where losses
    are read rarely, as from a GPU: one weight is infinite, those that an update would have spoiled are not.
    """
    monkeypatch.setitem(epoch_of_training.READ_EVERY, "cpu", read_every)
    request = tiny.request(model=random_cnn, precision="float32")

    def build() -> nn.Module:
        network = _true_build()
        steps = iter(range(1, 100))

        def spoil(module: nn.Module, _inputs: object) -> None:
            if module.training and next(steps) == 5:
                with torch.no_grad():
                    module.get_submodule("head").bias.fill_(math.inf)

        network.register_forward_pre_hook(spoil)
        return network

    _true_build = MODELS[random_cnn].build
    build.__module__ = _true_build.__module__
    monkeypatch.setitem(MODELS, random_cnn, replace(MODELS[random_cnn], build=build))
    with pytest.raises(
        TrainingError, match=r"at epoch 2, step 2 of 3 .*python -m medcompare\.training\.replay"
    ) as caught:
        train_model(request)
    path = Path(str(caught.value).rsplit(" ", 1)[1])
    kept = load(path)
    rows = rows_of(read_assignments(tiny.store.read(tiny.split.assignments)), "train")
    images = TrainingImages(
        rows,
        tiny.root,
        size_px=32,
        crop_scale_min=request.train.crop_scale_min,
        augmentations=augmentations(request.train, 32),
        seed=1,
    )
    fifth = list(BatchLoader(images, batch_size=16).shuffled(seed=1, epoch=2))[1]
    said = replay(path)

    assert path == tiny.store.root / "replay" / "random_cnn-seed1-2-2.safetensors"
    assert torch.equal(kept["images"], fifth.images)
    assert torch.equal(kept["labels"], fifth.labels)
    assert not any(
        row.path.encode() in path.read_bytes() or row.case_id.encode() in path.read_bytes() for row in rows
    )
    assert said[0].startswith("random_cnn, seed 1: epoch 2, step 2, 16 images, trained in float32; 1 of ")
    assert said[1].startswith("float32: loss nan; scores of images [0, 1, 2")
    assert said[1].endswith("first in layer 'head'")


def test_patience_ends_a_training_that_no_longer_improves(tiny: Any) -> None:
    """A learning rate of almost nothing: the first epochs stay the best, then it stops."""
    request = tiny.request(
        epochs=30, patience=2, recipes={"test_cnn": RecipeOverride(optimizer="sgd", learning_rate=1e-12)}
    )
    trained = train_model(request)

    assert trained.stopped_early
    last_progress = max(
        log.epoch
        for log in trained.history
        if log.val_auc > max((old.val_auc for old in trained.history[: log.epoch - 1]), default=-1)
    )
    assert len(trained.history) == last_progress + 2


@pytest.mark.parametrize(
    ("new", "best", "better", "progressed"),
    [
        pytest.param((0.8, 0.5), None, True, True, id="first epoch"),
        pytest.param((0.9, 0.9), (0.8, 0.1), True, True, id="higher AUC, whatever the loss"),
        pytest.param((0.8, 0.4), (0.8, 0.5), True, False, id="same AUC, lower loss"),
        pytest.param((0.8, 0.5), (0.8, 0.5), False, False, id="nothing new: the earlier stays"),
        pytest.param((0.7, 0.1), (0.8, 0.5), False, False, id="lower AUC"),
        pytest.param((None, 0.4), (None, 0.5), True, True, id="one class: the loss decides"),
    ],
)
def test_which_checkpoint_is_kept(
    new: tuple[float | None, float],
    best: tuple[float | None, float] | None,
    *,
    better: bool,
    progressed: bool,
) -> None:
    """Highest validation AUC, then lowest loss, then the earliest; patience looks at AUC alone."""
    new_log, best_log = epoch_log(2, *new), epoch_log(1, *best) if best else None

    assert is_better(new_log, best_log) is better
    assert has_progressed(new_log, best_log) is progressed


def test_the_checkpoint_is_that_of_the_best_epoch(tiny: Any) -> None:
    """Its scores on the validation subset give the best epoch's validation AUC."""
    from medcompare.training.inference import predict_subsets
    from medcompare.training.requests import PredictionRequest
    from medcompare.training.scoring import area_under_roc

    trained = train_model(tiny.request(epochs=6, patience=6, seed=4))
    request = PredictionRequest(
        trained=trained,
        train=tiny.request().train,
        split=tiny.split,
        data_root=tiny.root,
        store_root=tiny.store.root,
        n_threads=1,
    )
    table = tiny.store.read(predict_subsets(request).table).decode().splitlines()[1:]
    cells = [line.split(",") for line in table]
    y_true = np.array([int(row[1]) for row in cells if row[3] == "val"])
    y_score = np.array([float(row[4]) for row in cells if row[3] == "val"])

    assert area_under_roc(y_true, y_score) == trained.history[trained.best_epoch - 1].val_auc


def test_a_rest_of_one_image_breaks_no_batch_normalisation(tiny_of: Callable[..., Any]) -> None:
    """A network whose last map is one pixel, 48 images in batches of 47: the 48th joins them."""
    tiny = tiny_of()
    trained = train_model(tiny.request(model="resnet50", epochs=1, batch_size=47))

    assert trained.n_images_seen == 48
    assert trained.n_parameters == 23_512_130


def test_a_validation_subset_of_one_class_is_judged_by_its_loss(
    tiny: Any, resplit: Callable[..., Any]
) -> None:
    """No AUC, never NaN; the record says how the checkpoint was chosen."""
    rows = [row for row in tiny.rows if row[-1] != "val" or row[2] == "1"]
    trained = train_model(resplit(tiny, rows).request(epochs=2))

    assert [log.val_auc for log in trained.history] == [None, None]
    assert trained.selection.startswith("lowest validation loss")


def test_a_training_subset_of_one_class_is_refused(tiny: Any, resplit: Callable[..., Any]) -> None:
    """Weights of the classes would be undefined."""
    rows = [row for row in tiny.rows if row[-1] != "train" or row[2] == "1"]

    with pytest.raises(DataError, match="0 negative and 24 positive images; both are needed"):
        train_model(resplit(tiny, rows).request())


def test_a_training_subset_of_one_image_is_refused(tiny: Any, resplit: Callable[..., Any]) -> None:
    """There is nothing to learn from it."""
    rows = [row for row in tiny.rows if row[-1] != "train"]
    rows.append(next(row for row in tiny.rows if row[-1] == "train"))

    with pytest.raises(DataError, match=r"holds too few images, 1; at least 2"):
        train_model(resplit(tiny, rows).request())


def test_an_image_changed_since_ingest_stops_the_training(tiny: Any) -> None:
    """The file is named."""
    row = next(row for row in tiny.rows if row[-1] == "train")
    (tiny.root / row[1]).write_bytes(b"something else")

    with pytest.raises(DataError, match=f"{row[1]} changed since ingest"):
        train_model(tiny.request())


def test_events_carry_what_a_progress_line_shows(tiny: Any) -> None:
    """One epoch event per epoch, with its log, before the epoch that is kept is compared; all fields in every event."""
    events: list[dict[str, Any]] = []
    trained = train_model(tiny.request(epochs=2), emit=lambda event: events.append(dict(event)))
    keys = {"event", "model", "epoch", "epochs", "step", "steps", "loss", "val_auc", "images_per_s", "eta_s"}

    epochs = [event for event in events if event["event"] == "epoch"]
    compared = {"sample_loss", "sample_loss_running", "val_loss_running", "val_auc_running", "comparison_s"}
    logs = [EpochLog.model_validate(event["log"]).model_dump(exclude=compared) for event in epochs]
    assert logs == [log.model_dump(exclude=compared) for log in trained.history]
    assert all(keys <= set(event) for event in events)
    assert epochs[-1]["eta_s"] == 0
    assert all(math.isfinite(event["eta_s"]) for event in events)


def test_the_stored_checkpoint_loads_into_the_model(tiny: Any, tmp_path: Path) -> None:
    """Every entry, strictly."""
    trained = train_model(tiny.request(epochs=1))
    network = build_model(MODELS["test_cnn"], seed=0)

    load_checkpoint(ArtifactStore(tmp_path / "store"), trained.checkpoint, network, model="test_cnn")
