"""``medcompare history``: recorded runs in the terminal."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from medcompare.cli.terminal import console
from medcompare.runs.summary import RunStatus


def history(
    *,
    store: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of the cache.", exists=True, file_okay=False)
    ] = Path(".medcompare"),
    limit: Annotated[
        int, typer.Option("--limit", "-n", metavar="N", min=1, help="How many runs.", show_default=True)
    ] = 20,
    data: Annotated[str | None, typer.Option(metavar="NAME", help="Only runs on this data set.")] = None,
    series: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only runs of this series, e.g. of one deployment.")
    ] = None,
    status: Annotated[RunStatus | None, typer.Option(help="Only runs with this status.")] = None,
    compare: Annotated[
        tuple[str, str] | None, typer.Option(metavar="A B", help="What changed from run A to run B.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List recorded runs, or say what changed between two of them.

    The newest come first. A run is named by its name, its id, the beginning of either, or as 'latest',
    'latest~1', ...
    """
    from medcompare.runs.changes import what_changed
    from medcompare.runs.history import find_run, history_path, list_runs
    from medcompare.runs.history_view import NARROW_BELOW, as_plain, figures_table, runs_table

    path, out = history_path(store), console()
    if compare is not None:
        before, after = find_run(path, compare[0]), find_run(path, compare[1])
        changes = what_changed(before, after)
        if as_json:
            print_json(changes.model_dump(mode="json"))
            return
        out.print(Text(f"{before.name} → {after.name}", style="bold"))
        for sentence in changes.sentences:
            out.print(Text(f"  {sentence}"))
        if changes.figures:
            out.print()
            out.print(figures_table(changes))
        return
    runs = list_runs(path, limit=limit, status=status, data_name=data, series=series)
    if as_json:
        print_json([as_plain(run) for run in runs])
    elif runs:
        out.print(runs_table(runs, narrow=out.width < NARROW_BELOW))
    else:
        print("No runs recorded that fit." if path.is_dir() else "No runs recorded yet.")


def print_json(value: object) -> None:
    """Print plain values for programs."""
    print(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False))
