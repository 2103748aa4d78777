"""What a training holds in memory over many epochs: a part of `benchmarks.training`.

The tests' images and, unless another is asked for, their network: an epoch takes a fraction of a second, and whatever
an epoch leaves behind shows all the sooner. A checkpoint is written every second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import psutil
from scipy import stats

from medcompare.training.worker import child
from medcompare.training.worker.process import run_training
from tests.training.conftest import make_data

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from medcompare.training.requests import TrainingRequest


class Held(NamedTuple):
    """Resident memory after an epoch, bytes."""

    training: int
    loading: int
    """By all processes that load for it."""
    parent: int
    """By this process, which waits for it."""


def held_by_epoch(request: TrainingRequest) -> list[Held]:
    """What one training holds after each of its epochs."""
    held: list[Held] = []
    loading: list[psutil.Process] = []

    def after_event(event: Mapping[str, Any]) -> None:
        if event["event"] == "epoch":
            [training] = map(psutil.Process, child._live)  # noqa: SLF001 - the only one
            loading[:] = loading or training.children(recursive=True)
            processes = ([training], loading, [psutil.Process()])
            held.append(Held(*(sum(one.memory_info().rss for one in group) for group in processes)))

    run_training(request, on_event=after_event)
    return held


def line(model: str, n_epochs: int, n_trainings: int, num_workers: int, folder: Path) -> str:
    """Line about trainings with `num_workers` loading processes.

    Slopes are least squares over the second half of the epochs, as libraries, caches and kept memory fill up in the
    first; the interval is Student's over the trainings, whose processes share nothing.
    """
    data = make_data(folder)
    options: dict[str, Any] = {
        "epochs": n_epochs,
        "patience": n_epochs,
        "num_workers": num_workers,
        "checkpoint_every_s": 1,
        "ema_decay": 0.9,
    }
    second_half = slice(n_epochs // 2, n_epochs)
    trainings = np.array(
        [
            held_by_epoch(data.request(model=model, seed=seed, **options))[second_half]
            for seed in range(n_trainings)
        ],
        dtype=np.float64,
    )  # trainings, epochs, processes
    parts = [model, str(num_workers)]
    parts += [f"{np.median(trainings[:, at, 0]) / 1e6:.1f}" for at in (0, -1)]
    for process in range(len(Held._fields)):
        slopes = np.polyfit(np.arange(trainings.shape[1]), trainings[:, :, process].T / 1e3, 1)[0]
        half = stats.t.ppf(0.975, len(slopes) - 1) * stats.sem(slopes)
        parts.append(f"{slopes.mean():.2f} ({slopes.mean() - half:.2f} to {slopes.mean() + half:.2f})")
    return "| " + " | ".join(parts) + " |"


COLUMNS = (
    "network",
    "loading processes",
    "training after half of the epochs, MB",
    "after the last, MB",
    *(f"{who}, kB per epoch (95% interval)" for who in ("training", "loading", "its parent")),
)


def measure(model: str, n_epochs: int, n_trainings: int, *, folder: Path) -> None:
    """Print a table: trainings without loading processes, and with two."""
    print("| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|", flush=True)
    for num_workers in (0, 2):
        print(line(model, n_epochs, n_trainings, num_workers, folder / f"{num_workers}"), flush=True)
