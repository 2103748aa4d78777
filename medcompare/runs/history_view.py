"""Recorded runs in the terminal: a table of them, or two side by side, as ``medcompare history`` prints them."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from medcompare.base.formatting import (
    MINUS,
    format_count,
    format_duration,
    format_estimate,
    format_number,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medcompare.runs.changes import Changes, FigureChange
    from medcompare.runs.summary import RunSummary

STATUS_COLOURS = {
    "completed": "green",
    "failed": "red",
    "interrupted": "yellow",
    "crashed": "red",
    "running": "cyan",
}
MISSING = "\u2013"
NARROW_BELOW = 120


def runs_table(runs: Sequence[RunSummary], *, narrow: bool = False) -> Table:
    """Table of runs in the order given; a narrow one leaves time, duration and images out."""
    table = Table(title=None, header_style="bold", box=None, padding=(0, 2, 0, 0))
    table.add_column("Run", overflow="fold")
    table.add_column("Status", no_wrap=True)
    if not narrow:
        table.add_column("Started", no_wrap=True)
        table.add_column("Took", justify="right", no_wrap=True)
        table.add_column("Images", justify="right", no_wrap=True)
    table.add_column("AUC", overflow="fold")
    table.add_column("Verdict or cause", overflow="fold")
    for run in runs:
        more = (
            _local(run.started_at),
            MISSING if run.duration_s is None else format_duration(run.duration_s),
            MISSING if run.n_images is None else format_count(run.n_images),
        )
        table.add_row(
            Text(run.name),
            Text(run.status, style=STATUS_COLOURS[run.status]),
            *(() if narrow else more),
            Text("\n".join(_auc(run)) or MISSING),
            Text(_verdict_or_cause(run)),
        )
    return table


def figures_table(changes: Changes) -> Table:
    """Table of the metrics of two runs, before and after."""
    table = Table(header_style="bold", box=None, padding=(0, 2, 0, 0))
    for column in ("Model", "Metric"):
        table.add_column(column)
    for column in ("Before", "After", "Difference"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("Intervals")
    for change in changes.figures:
        is_time = change.figure == "training_time_s"
        overlap = {True: "overlap", False: "do not overlap", None: ""}[change.intervals_overlap]
        table.add_row(
            Text(change.display_name),
            "training time" if is_time else change.figure.replace("auc", "AUC"),
            *_before_after(change, is_time=is_time),
            overlap,
        )
    return table


def _before_after(change: FigureChange, *, is_time: bool) -> tuple[str, str, str]:
    def shown(value: float | None) -> str:
        if value is None:
            return MISSING
        return format_duration(value) if is_time else format_number(value)

    difference = change.difference
    if difference is None:
        return shown(change.before), shown(change.after), MISSING
    sign = "+" if difference > 0 else MINUS if difference < 0 else ""
    words = f"{sign}{format_duration(abs(difference))}"
    return (
        shown(change.before),
        shown(change.after),
        words if is_time else format_number(difference, signed=True),
    )


def _auc(run: RunSummary) -> list[str]:
    return [f"{row.display_name} {format_estimate(row.auc)}" for row in run.models]


def _verdict_or_cause(run: RunSummary) -> str:
    if run.verdict is not None:
        return (
            run.verdict.headline
            if run.no_pdf is None
            else f"{run.verdict.headline} (ended without PDF: {run.no_pdf.how})"
        )
    if run.failure is not None:
        first_line = run.failure.cause.partition("\n")[0].rstrip(": ")
        return f"{run.failure.stage}: {first_line}"
    return MISSING


def _local(moment: str) -> str:
    return f"{datetime.fromisoformat(moment).astimezone():%Y-%m-%d %H:%M}"


def as_plain(run: RunSummary) -> dict[str, Any]:
    """`run` as plain values for JSON, its configuration as a table instead of text."""
    plain = run.model_dump(mode="json")
    plain["config"] = json.loads(plain.pop("config_json"))
    return plain
