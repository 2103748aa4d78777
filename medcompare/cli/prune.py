"""``medcompare prune``: free the disk of what no kept run needs."""

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from medcompare.base.formatting import format_bytes
from medcompare.base.store_lock import store_alone
from medcompare.cli.options import OutFolder, StoreFolder
from medcompare.cli.terminal import ExitStatus, complain
from medcompare.runs.prune import KEEP_DAYS, KEEP_RUNS, delete, describe, plan_pruning


def prune(
    *,
    out: OutFolder = Path("runs"),
    store: StoreFolder = Path(".medcompare"),
    keep_runs: Annotated[
        int, typer.Option(metavar="N", min=1, help="Keep what the newest N runs refer to.")
    ] = KEEP_RUNS,
    keep_days: Annotated[
        float, typer.Option(metavar="D", help="Keep what is younger than D days, too.")
    ] = KEEP_DAYS,
    reports: Annotated[
        bool, typer.Option("--reports", help="Delete the folders of older runs too, with their reports.")
    ] = False,
    really: Annotated[
        bool, typer.Option("--delete", help="Really delete; without it, only say what would go.")
    ] = False,
    every_item: Annotated[bool, typer.Option("--list", help="List every file.")] = False,
) -> ExitStatus:
    """Show, or delete, what no kept run needs.

    Without --delete nothing is touched. While a run uses the store, nothing is deleted.
    """
    planned = partial(
        plan_pruning,
        out,
        store,
        now=datetime.now(UTC),
        keep_runs=keep_runs,
        keep_days=keep_days,
        reports=reports,
    )
    plan = planned()  # also: a folder that is no store must not gain a lock file
    if not really:
        print("\n".join(["Would delete:", *describe(plan, every_item=every_item)]))
        print(f"This would free {format_bytes(plan.n_bytes)}. Nothing was deleted; add --delete to do it.")
        return ExitStatus.SUCCESS
    with store_alone(store):
        plan = planned()
        freed, left = delete(plan, store)
    print("\n".join(["Deleted:", *describe(plan, every_item=every_item)]))
    for sentence in left:
        complain(f"left: {sentence}")
    print(f"Freed {format_bytes(freed)}.")
    return ExitStatus.FAILURE if left else ExitStatus.SUCCESS
