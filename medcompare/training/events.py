"""Progress of a training as plain mappings: a few a second while an epoch runs, one at its end."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medcompare.training.records import EpochLog

EventHandler = Callable[[Mapping[str, Any]], None]

PROGRESS_EVERY_S = 0.2


class EpochReporter:
    """Reports one epoch.

    Parameters
    ----------
    emit : callable or None
        Gets the events; None: nothing is sent.
    model : str
        Name in the events.
    epoch, epochs, steps : int
        This epoch (from 1), the most there can be, and batches in each.
    val_auc : float or None
        Validation AUC of the epoch before.
    mean_epoch_s : float or None
        Mean time of the epochs before, for the time left.
    """

    def __init__(
        self,
        emit: EventHandler | None,
        *,
        model: str,
        epoch: int,
        epochs: int,
        steps: int,
        val_auc: float | None,
        mean_epoch_s: float | None,
    ) -> None:
        self._emit = emit
        self._common = {"model": model, "epoch": epoch, "epochs": epochs, "steps": steps}
        self._epochs_after = epochs - epoch
        self._steps = steps
        self._val_auc = val_auc
        self._mean_epoch_s = mean_epoch_s
        self._started = time.perf_counter()
        self._sent = -math.inf

    def step(self, step: int, loss: float, images_per_s: float) -> None:
        """Report a step, unless another was reported a moment ago."""
        now = time.perf_counter()
        if self._emit is None or now - self._sent < PROGRESS_EVERY_S:
            return
        self._sent = now
        in_epoch = now - self._started
        whole = self._mean_epoch_s or in_epoch * self._steps / step
        figures = {"step": step, "loss": loss, "val_auc": self._val_auc, "images_per_s": images_per_s}
        eta_s = whole * self._epochs_after + max(0.0, whole - in_epoch)
        self._emit({"event": "progress", **self._common, **figures, "eta_s": eta_s})

    def epoch_end(self, log: EpochLog) -> None:
        """Report the figures of the whole epoch."""
        if self._emit is None:
            return
        figures = {"step": self._steps, "loss": log.train_loss, "val_auc": log.val_auc}
        eta_s = log.elapsed_s / log.epoch * self._epochs_after
        figures |= {"images_per_s": log.images_per_s, "eta_s": eta_s}
        self._emit({"event": "epoch", **self._common, **figures, "log": log.model_dump(mode="json")})
