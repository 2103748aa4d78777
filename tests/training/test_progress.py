"""Live lines in a terminal, also on a console that brings no styles of its own."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich.console import Console
from rich.theme import Theme

from medcompare.predictions.costs import CostMeasurement
from medcompare.training import progress

if TYPE_CHECKING:
    import pytest


def test_live_lines_show_the_latest_figures() -> None:
    """Epoch, validation AUC, speed and time left, on a console with a bare theme."""
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=140, theme=Theme({}, inherit=False))
    event = {
        "epoch": 2,
        "epochs": 5,
        "step": 3,
        "steps": 10,
        "loss": 0.5,
        "val_auc": 0.875,
        "images_per_s": 64.0,
        "eta_s": 75,
    }

    with progress.training_display(console):
        progress.report("ResNet-50", event)

    for words in ("ResNet-50", "epoch 2/5", "loss 0.500", "validation AUC 0.875", "64 images/s", "1:15 left"):
        assert words in out.getvalue()


def test_nothing_is_drawn_without_a_terminal() -> None:
    """A run started by a scheduler gets log lines only."""
    out = io.StringIO()

    with progress.training_display(Console(file=out, force_terminal=False)):
        progress.report("ResNet-50", {"epoch": 1, "epochs": 1})

    assert out.getvalue() == ""


def test_the_line_of_an_epoch_for_the_log() -> None:
    """Losses, validation AUC, speed and time left."""
    log = {"train_loss": 0.25, "val_loss": 0.5, "val_auc": 0.9, "images_per_s": 40.0}

    line = progress.epoch_line("ResNet-50", {"epoch": 1, "epochs": 3, "log": log, "eta_s": 12.4})

    assert line == (
        "ResNet-50 epoch 1 of 3, training loss 0.2500, validation loss 0.5000, validation AUC 0.900, "
        "40 images/s, 12 s left at most"
    )


COST = CostMeasurement(
    model="a",
    implementation="torchvision 0.29.2",
    latency_ms_median=34.66,
    latency_ms_median_ci=(34.1, 35.25),
    n_repeats=60,
    n_repeats_planned=60,
    other_load_cores=0.5,
)


def test_the_line_about_a_cost_for_the_log() -> None:
    """Library, median, interval and passes; and all that makes it doubtful, with the remedy."""
    plain = (
        "ResNet-50, as implemented by torchvision 0.29.2: 34.7\u202fms (34.1 to 35.2) per image, 60 passes"
    )
    assert progress.sentence_about_cost("ResNet-50", COST) == plain

    doubtful = COST.model_copy(
        update={
            "latency_ms_median_ci": None,
            "n_repeats": 3,
            "n_throughput_batches": 0,
            "n_throughput_batches_planned": 6,
            "other_load_cores": 2.34,
        }
    )
    assert progress.sentence_about_cost("ResNet-50", doubtful) == (
        "ResNet-50, as implemented by torchvision 0.29.2: 34.7\u202fms (no interval) per image, 3 passes; cut short by "
        "cost.budget_s (3 of 60 timed passes; 0 of 6 batches for the throughput) and disturbed, as other programs kept "
        "2.3 processor cores busy meanwhile: reused until it is measured again with --set cost.fresh=true"
    )


def test_a_long_list_is_counted(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line at each quarter, none for a short list, and each time where the last line is long ago."""
    caplog.set_level("INFO")
    long, short = progress.file_counter("long"), progress.file_counter("short")
    for done in range(1, 2001):
        long(done, 2000)
        short(min(done, 20), 20)
    assert caplog.messages == [f"long: {done} of 2000" for done in (500, 1000, 1500, 2000)]
    caplog.clear()
    monkeypatch.setattr(progress, "SLOW_S", -1.0)
    for done in (1, 2):
        progress.file_counter("slow")(done, 2000)
    assert caplog.messages == [f"slow: {done} of 2000, about 0 minutes left" for done in (1, 2)]
