"""What a person sees while networks train: one live line per model in a terminal.

Trainings report through `report`; where no display is open (no terminal, or a run
started by a scheduler) nothing is drawn and the log lines of each epoch remain.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, Progress, TextColumn
from rich.theme import Theme

from medcompare.base.formatting import format_median, format_milliseconds
from medcompare.base.language import in_language

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from rich.console import Console
    from rich.progress import TaskID

    from medcompare.data.records import DatasetManifest, DatasetSplit
    from medcompare.predictions.costs import CostMeasurement

SLOW_S = 60.0
LONG_LIST = 1000
"""Shorter lists of files take a moment; a line about each quarter would be noise."""

logger = logging.getLogger(__name__)


class TrainingDisplay:
    """Live lines, one per model; safe to call from the threads of parallel tasks."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("  {task.description}"),
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[figures]}"),
            TextColumn("{task.fields[left]}"),
            console=console,
            transient=True,
        )
        self._lines: dict[str, TaskID] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        """Start drawing."""
        # The orchestrator's console knows only its own styles; a bar needs rich's.
        self._console.push_theme(Theme())
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop drawing and take the lines away; the log keeps what was reached."""
        self._progress.stop()
        self._console.pop_theme()

    def update(self, name: str, event: Mapping[str, object]) -> None:
        """Show the latest figures of the training called `name`."""
        epoch, epochs = _number(event, "epoch", 1), _number(event, "epochs", 1)
        parts = []
        for key, words in (
            ("loss", "loss {:.3f}"),
            ("val_auc", "validation AUC {:.3f}"),
            ("images_per_s", "{:.0f} images/s"),
        ):
            value = event.get(key)
            if isinstance(value, int | float):
                parts.append(words.format(value))
        minutes, rest = divmod(round(_number(event, "eta_s", -1)), 60)
        fields = {
            "epoch": round(epoch),
            "epochs": round(epochs),
            "figures": "  ".join(parts),
            "left": f"{minutes}:{rest:02d} left" if minutes >= 0 else "",
        }
        with self._lock:
            if name not in self._lines:
                self._lines[name] = self._progress.add_task(name.ljust(16), total=1.0, **fields)  # type: ignore[arg-type]
            self._progress.update(self._lines[name], completed=share_done(event), **fields)  # type: ignore[arg-type]

    def finish(self, name: str) -> None:
        """Take the line of `name` away."""
        with self._lock:
            line = self._lines.pop(name, None)
            if line is not None:
                self._progress.remove_task(line)


def _number(event: Mapping[str, object], key: str, default: float) -> float:
    value = event.get(key)
    return float(value) if isinstance(value, int | float) else default


_display: TrainingDisplay | None = None


@contextmanager
def training_display(console: Console | None) -> Iterator[None]:
    """Show live lines on `console` for the time of the block; nothing where it is no terminal."""
    global _display  # noqa: PLW0603 - one terminal, one display
    if console is None or not console.is_terminal:
        yield
        return
    with TrainingDisplay(console) as _display:
        try:
            yield
        finally:
            _display = None


def report(name: str, event: Mapping[str, object]) -> None:
    """Show `event` of the training called `name`, where a display is open."""
    if _display is not None:
        _display.update(name, event)


def finished(name: str) -> None:
    """Take the line of `name` away, where a display is open."""
    if _display is not None:
        _display.finish(name)


def share_done(event: Mapping[str, object]) -> float:
    """Share of the epochs allowed that is done, 0 to 1; early stopping can end a training sooner."""
    epoch, epochs = _number(event, "epoch", 1), max(_number(event, "epochs", 1), 1)
    if event.get("event") == "epoch":
        return epoch / epochs
    return (epoch - 1 + _number(event, "step", 0) / max(_number(event, "steps", 1), 1)) / epochs


def epoch_line(name: str, event: Mapping[str, object]) -> str:
    """One line for the log at the end of an epoch: losses, validation AUC, speed, time left."""
    log = event.get("log")
    figures: Mapping[str, object] = log if isinstance(log, dict) else event
    parts = [f"{name} epoch {_number(event, 'epoch', 0):.0f} of {_number(event, 'epochs', 0):.0f}"]
    for key, words in (
        ("train_loss", "training loss {:.4f}"),
        ("val_loss", "validation loss {:.4f}"),
        ("val_auc", "validation AUC {:.3f}"),
        ("images_per_s", "{:.0f} images/s"),
    ):
        value = figures.get(key)
        if isinstance(value, int | float):
            parts.append(words.format(value))
    eta = event.get("eta_s")
    if isinstance(eta, int | float) and eta > 0:
        parts.append(f"{eta:.0f} s left at most")
    return ", ".join(parts)


def file_counter(what: str) -> Callable[[int, int], None]:
    """Callback for (done, in all) that logs a line at each quarter of a long list, and each minute of a slow one."""
    told, started = 0.0, time.monotonic()
    told_at = started

    def tell(done: int, in_all: int) -> None:
        nonlocal told, told_at
        share, now = done / in_all if in_all else 1.0, time.monotonic()
        if in_all >= LONG_LIST and (share >= told + 0.25 or now >= told_at + SLOW_S):
            told, told_at = share, now
            left = (now - started) * (1 / share - 1)
            rest = f", about {left / 60:.0f} minutes left" if left > SLOW_S else ""
            logger.info("%s: %d of %d%s", what, done, in_all, rest)

    return tell


def sentence_about_images(manifest: DatasetManifest) -> str:
    """What ingest found, in one line."""
    negative, positive = manifest.classes
    counts = f"{manifest.class_counts[1]} {positive}, {manifest.class_counts[0]} {negative}"
    line = f"{manifest.n_found} files found, {manifest.n_images} usable ({counts})"
    if manifest.n_patients is not None:
        line += f" of {manifest.n_patients} patients"
    if manifest.n_rejected:
        reasons = ", ".join(f"{count} {reason}" for reason, count in manifest.rejected_by_reason)
        line += f"; {manifest.n_rejected} excluded: {reasons}"
    if manifest.n_duplicate_groups:
        line += (
            f"; {manifest.n_duplicate_groups} groups of identical files, "
            f"{manifest.n_conflicting_groups} of them with opposite labels"
        )
    for kind, groups, files in manifest.copies_by_kind:
        line += f"; {files} files in {groups} groups: {kind}"
    return line


def sentence_about_split(partition: DatasetSplit) -> str:
    """What the split achieved, in one line."""
    negative, positive = partition.classes
    parts = [
        f"{one.subset} {one.n_images} ({one.class_counts[1]} {positive}, {one.class_counts[0]} {negative}"
        + (f", {one.n_patients} patients)" if one.n_patients is not None else ")")
        for one in partition.subsets
    ]
    return "; ".join(parts)


@in_language("en")  # it is for the log
def sentence_about_cost(name: str, cost: CostMeasurement) -> str:
    """What was measured, in one line, with all that makes it doubtful."""
    time = format_median(cost.latency_ms_median, cost.latency_ms_median_ci, format_milliseconds)
    line = f"{name}, as implemented by {cost.implementation}: {time} per image, {cost.n_repeats} passes"
    doubts = []
    if cost.cut_short:
        doubts.append(f"cut short by cost.budget_s ({'; '.join(cost.cut_short)})")
    if cost.disturbed:
        doubts.append(
            f"disturbed, as other programs kept {cost.other_load_cores:.1f} processor cores busy meanwhile"
        )
    if doubts:
        line += f"; {' and '.join(doubts)}: reused until it is measured again with --set cost.fresh=true"
    return line
