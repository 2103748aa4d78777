"""Recorded runs in the terminal: a table of them, or two side by side.

``medcompare history`` lists; ``--compare A B`` says what changed from A to B.
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from medcompare.base.errors import InputError
from medcompare.base.formatting import (
    MINUS,
    format_count,
    format_duration,
    format_estimate,
    format_number,
)
from medcompare.base.terminal import ExitStatus, complain, say
from medcompare.runs.changes import Changes, what_changed
from medcompare.runs.history import HistoryError, find_run, history_path, list_runs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medcompare.runs.changes import FigureChange
    from medcompare.runs.summary import RunSummary

STATUS_COLOURS = {"completed": "green", "failed": "red", "crashed": "red", "running": "cyan"}
MISSING = "\u2013"
WIDTH_WITHOUT_TERMINAL, NARROW_BELOW = 200, 120


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
        return run.verdict.headline
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


def build_parser() -> argparse.ArgumentParser:
    """Parser of ``medcompare history``."""
    parser = argparse.ArgumentParser(
        prog="medcompare history",
        description="List recorded runs, newest first, or say what changed between two of them.",
        epilog="A run is named by its name, its id, the beginning of either, or as 'latest', 'latest~1', ... "
        "Exit status: 0 success, 2 bad input, 1 failure.",
    )
    parser.add_argument(
        "--store",
        metavar="DIR",
        type=Path,
        default=Path(".medcompare"),
        help="folder of the cache (default: .medcompare)",
    )
    parser.add_argument(
        "-n", "--limit", metavar="N", type=_positive, default=20, help="how many runs (default: 20)"
    )
    parser.add_argument("--data", metavar="NAME", help="only runs on this data set")
    parser.add_argument("--series", metavar="NAME", help="only runs of this series, e.g. of one deployment")
    parser.add_argument("--status", choices=list(STATUS_COLOURS), help="only runs with this status")
    parser.add_argument("--compare", nargs=2, metavar=("A", "B"), help="what changed from run A to run B")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _positive(text: str) -> int:
    value = int(text) if text.isdigit() else 0
    if value < 1:
        msg = f"'{text}' is not a number from 1 on"
        raise argparse.ArgumentTypeError(msg)
    return value


def main(argv: Sequence[str] | None = None) -> int:
    """List or compare runs from the command line; returns the exit status."""
    arguments = build_parser().parse_args(argv)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL)
    path = history_path(arguments.store)
    if not arguments.store.is_dir():
        complain(f"error: --store {arguments.store}: no such folder")
        return ExitStatus.BAD_INPUT
    try:
        if arguments.compare:
            return _compare(console, path, *arguments.compare, as_json=arguments.json)
        runs = list_runs(
            path,
            limit=arguments.limit,
            status=arguments.status,
            data_name=arguments.data,
            series=arguments.series,
        )
    except (HistoryError, InputError) as error:
        complain(f"error: {error}")
        return ExitStatus.FAILURE
    if arguments.json:
        say(json.dumps([as_plain(run) for run in runs], indent=1, ensure_ascii=False, allow_nan=False))
    elif runs:
        console.print(runs_table(runs, narrow=console.width < NARROW_BELOW))
    else:
        console.print("No runs recorded that fit." if path.is_dir() else "No runs recorded yet.")
    return ExitStatus.SUCCESS


def _compare(console: Console, path: Path, first: str, second: str, *, as_json: bool) -> int:
    try:
        before, after = find_run(path, first), find_run(path, second)
    except HistoryError as error:
        complain(f"error: {error}")
        return ExitStatus.BAD_INPUT
    changes = what_changed(before, after)
    if as_json:
        say(json.dumps(changes.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False))
        return ExitStatus.SUCCESS
    console.print(Text(f"{before.name} → {after.name}", style="bold"))
    for sentence in changes.sentences:
        console.print(Text(f"  {sentence}"))
    if changes.figures:
        console.print()
        console.print(figures_table(changes))
    return ExitStatus.SUCCESS
