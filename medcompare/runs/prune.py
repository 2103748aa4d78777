"""Housekeeping: free the disk of what no kept run needs; a dry run unless told otherwise.

``python -m flows.prune`` says what would go; ``--delete`` does it. What is deleted can
always be computed anew; reports are deleted only with ``--reports``.
"""

from __future__ import annotations

import argparse
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from medcompare.base.errors import ConfigError, InputError, MedcompareError
from medcompare.base.file_access import keep_private
from medcompare.base.formatting import format_bytes
from medcompare.base.record import Record
from medcompare.base.store_lock import StoreBusyError, store_alone
from medcompare.base.terminal import complain, say
from medcompare.runs.prune_plan import OBJECTS, PrunePlan, PrunePolicy, Removal, plan_pruning

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SUCCESS, FAILURE, BAD_INPUT = 0, 1, 2


class PruneResult(Record):
    """What was deleted."""

    plan: PrunePlan
    n_deleted: int
    n_bytes: int
    skipped: tuple[tuple[str, str], ...] = ()
    """(path, why) of what could not be deleted, or was changed meanwhile."""


def prune(out: Path, store: Path, policy: PrunePolicy, *, now: datetime) -> PruneResult:
    """Plan and delete, with the store held so that no run begins in between.

    Parameters as in `medcompare.runs.prune_plan.plan_pruning`.

    Raises
    ------
    StoreBusyError
        If a run is in progress; nothing is deleted.
    ConfigError, DataError, HistoryError
        As `plan_pruning` does; nothing is deleted.
    """
    plan_pruning(out, store, policy, now=now)  # a folder that is no store must not gain a lock file
    with store_alone(store):
        plan = plan_pruning(out, store, policy, now=now)
        if plan.in_progress:
            msg = f"{'; '.join(plan.in_progress)}: nothing is deleted meanwhile; try again when it has ended"
            raise StoreBusyError(msg)
        n_deleted = n_bytes = 0
        skipped = []
        for removal in plan.removals:
            problem = _delete(removal)
            if problem is None:
                n_deleted, n_bytes = n_deleted + 1, n_bytes + removal.n_bytes
            else:
                skipped.append((str(removal.path), problem))
        _remove_empty_folders(store / OBJECTS)
    return PruneResult(plan=plan, n_deleted=n_deleted, n_bytes=n_bytes, skipped=tuple(skipped))


def _delete(removal: Removal) -> str | None:
    """Delete one thing; returns why not, where it stays."""
    path = removal.path
    try:
        if path.stat().st_mtime != removal.modified_at:
            return "changed meanwhile"
        if path.is_dir():
            # First out of sight in one step: an interrupted deletion leaves no half report.
            hidden = path.parent / f".{path.name.lstrip('.').removesuffix('.deleted')}.{os.getpid()}.deleted"
            path.rename(hidden)
            shutil.rmtree(hidden)
        else:
            path.unlink()
    except OSError as error:
        return error.strerror or str(error)
    return None


def _remove_empty_folders(folder: Path) -> None:
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_dir() and not path.is_symlink() and not any(path.iterdir()):
            path.rmdir()


def describe(plan: PrunePlan, *, every_item: bool = False) -> Iterator[str]:
    """`plan` in lines for a terminal."""
    kinds = dict.fromkeys(removal.kind for removal in plan.removals)
    for kind in kinds:
        chosen = [removal for removal in plan.removals if removal.kind == kind]
        plural = "" if len(chosen) == 1 else "s"
        yield f"  {len(chosen):>6} {kind + plural:<18} {format_bytes(sum(r.n_bytes for r in chosen)):>10}"
        if every_item:
            yield from (
                f"           {removal.path}  {format_bytes(removal.n_bytes)}  {removal.reason}"
                for removal in chosen
            )
    if not plan.removals:
        yield "  nothing"
    plural = "" if len(plan.kept_runs) == 1 else "s"
    yield (
        f"Kept: {len(plan.kept_runs)} run{plural}, {plan.n_kept_files} files of the cache "
        f"({format_bytes(plan.n_kept_bytes)}), and {format_bytes(plan.n_other_bytes)} of other content"
    )
    yield from (f"Note: {note}" for note in plan.notes)
    yield from (f"In progress: {sign}; --delete would be refused now" for sign in plan.in_progress)


def build_parser() -> argparse.ArgumentParser:
    """Parser of ``python -m flows.prune``."""
    defaults = PrunePolicy()
    parser = argparse.ArgumentParser(
        prog="python -m flows.prune",
        description="Free the disk of stored files that no kept run needs. Without --delete nothing is touched.",
        epilog="Exit status: 0 success, 2 bad input, 1 failure (also: a run is in progress).",
    )
    parser.add_argument(
        "--out", metavar="DIR", type=Path, default=Path("runs"), help="folder of the runs (default: runs)"
    )
    parser.add_argument(
        "--store",
        metavar="DIR",
        type=Path,
        default=Path(".medcompare"),
        help="folder of the cache (default: .medcompare)",
    )
    parser.add_argument(
        "--keep-runs", metavar="N", type=int, default=defaults.keep_runs,
        help=f"keep what the newest N runs refer to (default: {defaults.keep_runs})",
    )  # fmt: skip
    parser.add_argument(
        "--keep-days", metavar="D", type=float, default=defaults.keep_days,
        help=f"keep what is younger than D days, too (default: {defaults.keep_days:g})",
    )  # fmt: skip
    parser.add_argument(
        "--in-progress-hours", metavar="H", type=float, default=defaults.in_progress_hours,
        help=f"never touch anything younger than H hours (default: {defaults.in_progress_hours:g})",
    )  # fmt: skip
    parser.add_argument(
        "--reports", action="store_true", help="delete the folders of older runs too, with their reports"
    )
    parser.add_argument(
        "--delete", action="store_true", help="really delete (default: only say what would go)"
    )
    parser.add_argument("--list", dest="every_item", action="store_true", help="list every file")
    parser.add_argument("--json", action="store_true", help="print the plan or the result as JSON")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Prune from the command line; returns the exit status."""
    keep_private()
    arguments = build_parser().parse_args(argv)
    try:
        policy = _policy(arguments)
        now = datetime.now(UTC)
        if not arguments.delete:
            plan = plan_pruning(arguments.out, arguments.store, policy, now=now)
            if arguments.json:
                say(plan.model_dump_json(indent=1))
                return SUCCESS
            say("\n".join(["Would delete:", *describe(plan, every_item=arguments.every_item)]))
            say(f"This would free {format_bytes(plan.n_bytes)}. Nothing was deleted; add --delete to do it.")
            return SUCCESS
        result = prune(arguments.out, arguments.store, policy, now=now)
    except InputError as error:
        complain(f"error: {error}")
        return BAD_INPUT
    except MedcompareError as error:
        complain(f"error: {error}")
        return FAILURE
    if arguments.json:
        say(result.model_dump_json(indent=1))
    else:
        say("\n".join(["Deleted:", *describe(result.plan, every_item=arguments.every_item)]))
        for path, why in result.skipped:
            complain(f"left: {path} ({why})")
        say(f"Freed {format_bytes(result.n_bytes)}.")
    return FAILURE if result.skipped else SUCCESS


def _policy(arguments: argparse.Namespace) -> PrunePolicy:
    try:
        return PrunePolicy(
            keep_runs=arguments.keep_runs,
            keep_days=arguments.keep_days,
            in_progress_hours=arguments.in_progress_hours,
            reports=arguments.reports,
        )
    except ValidationError as error:
        first = error.errors()[0]
        message = first["msg"][:1].lower() + first["msg"][1:]
        msg = f"--{str(first['loc'][0]).replace('_', '-')}: {message} (given: {first['input']})"
        raise ConfigError(msg) from None
