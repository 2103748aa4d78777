"""One epoch of a training: the pass over the training subset, and what it led to."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import nn

from medcompare.base.errors import TrainingError
from medcompare.training.batch_statistics import load_statistics, measure_statistics, statistics_of
from medcompare.training.dataset import BatchLoader
from medcompare.training.options import training_mode
from medcompare.training.passes import GradientPasses
from medcompare.training.scoring import (
    area_under_roc,
    balanced_accuracy,
    logits_of,
    positive_probability,
    weighted_loss,
)
from medcompare.training.stopping import stop_asked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from medcompare.training.dataset import Batch
    from medcompare.training.recipes import FitSettings

READ_EVERY = {"cuda": 16, "mps": 16}
"""Steps between two readings of the losses from a GPU, which wait for all that it computes."""


class NotFiniteError(TrainingError):
    """The loss of a batch is not finite; the network is as it was before that step."""

    def __init__(self, message: str, epoch: int, step: int) -> None:
        super().__init__(message)
        self.epoch, self.step = epoch, step


@dataclass(kw_only=True)
class EpochProgress:
    """How far an epoch has come: what a training cut off in the middle of one goes on from."""

    step: int = 0
    """Steps done."""
    loss_sum: float = 0.0
    """Of all images, each with the weight of its class."""
    weight_sum: float = 0.0
    n_images: int = 0
    elapsed_s: float = 0.0
    learning_rate: float = 0.0
    """Of the head, at the start of the epoch."""


class EpochTraining(NamedTuple):
    """What one pass over the training subset gave."""

    loss: float
    n_images: int
    elapsed_s: float


class EpochValidation(NamedTuple):
    """Figures of one pass over the validation subset."""

    loss: float
    auc: float | None
    balanced_accuracy: float


def seed_epoch(seed: int, epoch: int, *step_and_rank: int) -> None:
    """Seed torch's global generators, which dropout and stochastic depth draw from.

    The CPU's generator keeps only the low 32 bits of what it is given, so seed and epoch
    are mixed into 32 bits rather than put side by side. On several devices each step is seeded, for each rank
    differently: so that a training that was cut off needs no rank's state but the first one's.
    """
    torch.manual_seed(int(np.random.SeedSequence([seed, epoch, *step_and_rank]).generate_state(1)[0]))


def train_one_epoch(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Iterator[Batch],
    settings: FitSettings,
    *,
    epoch: int,
    n_steps: int,
    progress: EpochProgress | None = None,
    passes: GradientPasses | None = None,
    on_step: Callable[[int, float, float], None] | None = None,
    after_update: Callable[[], None] | None = None,
    after_step: Callable[[], None] | None = None,
) -> EpochTraining:
    """One pass over the training subset.

    Parameters
    ----------
    network, optimizer
        Changed in place.
    batches : iterator of Batch
        The images, already shuffled and cropped; those of the steps that `progress` has not done.
    settings : FitSettings
        Class weights, precision, placement.
    epoch, n_steps : int
        For messages.
    progress : EpochProgress, optional
        What was done of this epoch; brought up to date with each reading of the losses: after each step on a
        processor; on a GPU after every 16th, the last, and the one after which the training is told to end.
    passes : GradientPasses, optional
        Over batches of `network`; one for the whole training, as it learns what fits into memory.
    on_step : callable, optional
        Called with step (from 1), the epoch's mean loss so far, and images/s so far, after each reading.
    after_update : callable, optional
        Called after each step of the optimiser.
    after_step : callable, optional
        Called last, when network, optimiser and `progress` belong together.

    Returns
    -------
    EpochTraining
        Loss: class-weighted mean over all images, in training mode, as the weights changed.

    Raises
    ------
    NotFiniteError
        If the loss is not finite: never transient, as the same would happen again.
    TrainingError
        If memory runs out for two images at once.
    """
    progress = EpochProgress() if progress is None else progress
    passes = GradientPasses(network, settings) if passes is None else passes
    options, ranks = settings.options, settings.placement.ranks
    training_mode(network, settings.spec.head, frozen=epoch <= options.frozen_epochs)
    started = time.perf_counter() - progress.elapsed_s
    losses = Losses(progress, settings, epoch=epoch, n_steps=n_steps)
    every = READ_EVERY.get(settings.placement.device.type, 1)
    stand_still = torch.zeros((), device=settings.placement.device)

    def report() -> None:
        progress.elapsed_s = time.perf_counter() - started
        if on_step is not None:
            on_step(progress.step, losses.mean, progress.n_images / progress.elapsed_s)
        if after_step is not None:
            after_step()

    for step, batch in enumerate(batches, start=progress.step + 1):
        if ranks.size > 1:
            seed_epoch(settings.seed, epoch, step, ranks.number)
        loss = passes(batch)
        losses.add(loss, batch.of_all or batch.labels.tolist())
        read_now = step % every == 0 or stop_asked()
        if read_now:
            losses.read()
        elif optimizer.param_groups[0].get("fused"):
            # From a loss that is not finite the weights stand still until it is read, as with a gradient scaler.
            stand_still = torch.maximum(stand_still, 1 - loss.isfinite().float())
            optimizer.found_inf = stand_still  # type: ignore[attr-defined]
        if options.clip_norm is not None:
            passes.scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(network.parameters(), options.clip_norm)
        passes.scaler.step(optimizer)
        passes.scaler.update()
        if after_update is not None:
            after_update()
        if read_now:
            report()
    if losses.read():
        report()
    return EpochTraining(losses.mean, progress.n_images, time.perf_counter() - started)


class Losses:
    """Class-weighted mean loss of an epoch, read from the device every few steps.

    Parameters
    ----------
    progress : EpochProgress
        Brought up to date with each reading.
    settings : FitSettings
        Class weights; and what a message names.
    epoch, n_steps : int
        For a message.
    """

    def __init__(self, progress: EpochProgress, settings: FitSettings, *, epoch: int, n_steps: int) -> None:
        self._progress, self._settings = progress, settings
        self._epoch, self._n_steps = epoch, n_steps
        self._waiting: list[tuple[Tensor, float, int]] = []

    @property
    def mean(self) -> float:
        """Of the steps that were read."""
        return self._progress.loss_sum / self._progress.weight_sum

    def add(self, loss: Tensor, labels: Sequence[int]) -> None:
        """Keep the mean loss of a batch, to be read later."""
        weight = sum(self._settings.class_weights[label] for label in labels)
        self._waiting.append((loss, weight, len(labels)))

    def read(self) -> bool:
        """Wait for the device; False where nothing was left to read.

        Raises
        ------
        NotFiniteError
            If a loss is not finite.
        """
        if not self._waiting:
            return False
        values = torch.stack([value for value, *_ in self._waiting]).tolist()
        for value, (_, weight, n_images) in zip(values, self._waiting, strict=True):
            self._progress.step += 1
            if not math.isfinite(value):
                step = self._progress.step
                when = f"epoch {self._epoch}, step {step} of {self._n_steps}"
                raise NotFiniteError(not_finite("training loss", self._settings, when), self._epoch, step)
            self._progress.loss_sum += value * weight
            self._progress.weight_sum += weight
            self._progress.n_images += n_images
        self._waiting.clear()
        return True


def validate_epoch(network: nn.Module, loader: BatchLoader, settings: FitSettings) -> EpochValidation:
    """Figures on the images of `loader`, from float32 forward passes in evaluation mode."""
    y_true = np.asarray(loader.images.labels, dtype=np.int64)
    return _figures(logits_of(network, loader, settings.spec, settings.placement), y_true, settings)


def _figures(
    logits: NDArray[np.float64], y_true: NDArray[np.int64], settings: FitSettings
) -> EpochValidation:
    if not np.isfinite(logits).all():
        return EpochValidation(math.nan, None, math.nan)
    return EpochValidation(
        loss=weighted_loss(logits, y_true, settings.class_weights),
        auc=area_under_roc(y_true, positive_probability(logits)),
        balanced_accuracy=balanced_accuracy(y_true, logits.argmax(axis=1)),
    )


COMPARED_IMAGES = 128
"""Images of the sample whose losses in training and evaluation mode are compared: as each is its own control,
few show the gap that matters (`training_findings.MAX_LOSS_GAP`)."""


class Remeasured(NamedTuple):
    """Batch statistics that belong to the weights, measured on the sample and loaded into the network."""

    loss: float | None
    """Of the first images of the sample, in training mode; None where it is not finite."""
    elapsed_s: float


def remeasure(network: nn.Module, sample: BatchLoader, settings: FitSettings) -> Remeasured:
    """Give `network` batch statistics that belong to its weights."""
    started = time.perf_counter()
    logits = measure_statistics(network, sample, settings.spec, settings.placement, settings.precision)
    compared = np.asarray(sample.images.labels[:COMPARED_IMAGES], dtype=np.int64)
    loss = _figures(logits[: len(compared)], compared, settings).loss
    return Remeasured(_finite(loss), time.perf_counter() - started)


def compare_statistics(
    network: nn.Module,
    running: Mapping[str, Tensor],
    sample: BatchLoader,
    validation: BatchLoader,
    settings: FitSettings,
) -> dict[str, float | None]:
    """What re-measuring changed: of the epoch that is kept, as it takes as long as a good part of one.

    Parameters
    ----------
    network : nn.Module
        With the measured statistics, which it has again afterwards.
    running : mapping
        The library's own, of the same weights.
    sample, validation : BatchLoader
        The images.
    settings : FitSettings
        How they are scored.

    Returns
    -------
    dict
        Fields of `EpochLog`: figures with the library's running statistics, the loss of the same
        images in evaluation mode, and the time this took.
    """
    started = time.perf_counter()
    compared = BatchLoader(sample.images.first(COMPARED_IMAGES), batch_size=sample.batch_size)
    in_evaluation = validate_epoch(network, compared, settings).loss
    own = statistics_of(network)
    load_statistics(network, running)
    val_running, compared_running = (
        validate_epoch(network, loader, settings) for loader in (validation, compared)
    )
    load_statistics(network, own)
    return {
        "sample_loss": _finite(in_evaluation),
        "sample_loss_running": _finite(compared_running.loss),
        "val_loss_running": _finite(val_running.loss),
        "val_auc_running": val_running.auc,
        "comparison_s": time.perf_counter() - started,
    }


def _finite(loss: float) -> float | None:
    return loss if math.isfinite(loss) else None


def not_finite(what: str, settings: FitSettings, when: str) -> str:
    """Message about a loss that is not finite, with the remedy."""
    model, rate = settings.spec.name, settings.recipe.learning_rate
    message = (
        f"{model}: the {what} is not finite at {when} (learning rate {rate:g}, {settings.precision}). "
        f"Lower the learning rate: --set train.recipes.{model}.learning_rate={rate / 10:g}"
    )
    return message + (" or use --set train.precision=float32" if settings.precision != "float32" else "")
