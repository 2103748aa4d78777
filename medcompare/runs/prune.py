"""Free the disk of what no kept run needs; a dry run unless told otherwise.

``medcompare prune`` says what would go; ``--delete`` does it, while no run uses the store.
Kept are the newest runs, what their records refer to, and whatever is recent. Only places that
this software fills are looked at. What is deleted can be computed again; reports are deleted
only with ``--reports``.
"""

from __future__ import annotations

import os
import re
import shutil
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import psutil

from medcompare.base.errors import ConfigError, DataError
from medcompare.base.formatting import format_bytes
from medcompare.runs.folder import LATEST
from medcompare.runs.history import EARLIER_FILE, HISTORY_FOLDER, history_path, list_runs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime


KEEP_RUNS, KEEP_DAYS = 30, 60.0
SPARED = timedelta(hours=24)
"""Nothing younger is deleted, even where nothing refers to it: a run may still come back to it."""
OBJECTS, RESULTS, RESULTS_JSON = "objects", "results", "results.json"
LEFTOVERS = (
    "objects/**/.*.part",
    "results/.*.part",
    "outbox/.*.part",
    "history/.*.part",
    "scratch-*",
    "pixels/*/.*.part",
    "speeds/.*.part",
)
"""What writers and trainings that died leave in a store."""
INTERRUPTED = ("resume/*", "replay/*", "kernels/*")
"""Checkpoints of trainings that were cut off and not gone on with, touched at every checkpoint; batches of those
whose loss was not finite; compiled kernels for one hardware and version of torch, touched by every training that
uses them."""
UNPACKED = ("unpacked/*", "remote/*")
"""Images that came in an archive or from an address; touched whenever a run reads them."""
MEASURED = "measured/*"
"""What was measured of images, a file for each version of the code that measures; touched by every run."""
PIXELS = "pixels/*/[!.]*"
"""Decoded images; touched by every training or prediction that uses them."""
DIGEST = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
PARTIAL = re.compile(r"\..+\.(?P<pid>\d+)\.partial")


Kind = Literal[
    "run folder",
    "unfinished run",
    "cached result",
    "stored file",
    "unpacked folder",
    "measurement file",
    "decoded image",
    "leftover",
]


class Removal(NamedTuple):
    """One thing to delete."""

    kind: Kind
    path: Path
    n_bytes: int


class PrunePlan(NamedTuple):
    """What would be deleted, in an order that is safe to interrupt, and what is kept."""

    removals: tuple[Removal, ...]
    kept_runs: tuple[str, ...]
    n_kept_bytes: int
    """Of stored files and cached results."""
    n_reports_left: int
    """Older runs whose folders stay."""

    @property
    def n_bytes(self) -> int:
        """What deleting would free."""
        return sum(removal.n_bytes for removal in self.removals)


def plan_pruning(
    out: Path,
    store: Path,
    *,
    now: datetime,
    keep_runs: int = KEEP_RUNS,
    keep_days: float = KEEP_DAYS,
    reports: bool = False,
) -> PrunePlan:
    """Decide what may go, before anything is touched.

    Kept are the newest `keep_runs` runs, runs, cached results and unpacked images younger than `keep_days`, and
    what these refer to; the runs are those in `out` and those of the history in other folders. With `reports` the
    folders of the other runs go as well.

    Raises
    ------
    ConfigError
        If `store` is no store, or a number is too small.
    DataError
        If the record of a kept run cannot be read: what it refers to is then unknown.
    HistoryError
        If the history cannot be read.
    """
    if not any((store / name).exists() for name in (OBJECTS, RESULTS, HISTORY_FOLDER, EARLIER_FILE)):
        msg = f"--store {store}: this is no store of medcompare (no '{OBJECTS}', no '{RESULTS}')"
        raise ConfigError(msg)
    if keep_runs < 1 or not keep_days >= 0:
        msg = f"--keep-runs must be at least 1 and --keep-days at least 0 (given: {keep_runs}, {keep_days:g})"
        raise ConfigError(msg)
    spared = (now - SPARED).timestamp()
    recent = min(spared, now.timestamp() - keep_days * 86_400)

    ages = {folder: _modified_at(folder) for folder in _run_folders(out, store)}
    newest = sorted(ages, key=lambda folder: (ages[folder], folder.name), reverse=True)
    kept = {
        *newest[:keep_runs],
        *(folder for folder in newest if ages[folder] >= recent),
        (out / LATEST).resolve(),
    }
    old_runs = [folder for folder in newest if folder not in kept]

    objects = {path: path.name.partition(".")[0] for path in _files(store / OBJECTS)}
    stored = set(objects.values())
    of_runs = {digest for folder in newest if folder in kept for digest in _digests_of_run(folder)} & stored
    needed, old_results = set(of_runs), []
    for path in _files(store / RESULTS):
        digests = set(DIGEST.findall(path.read_text(encoding="utf-8", errors="replace"))) & stored
        if path.stat().st_mtime >= recent or digests & of_runs:
            needed |= digests
        else:
            old_results.append(path)
    old_objects = [
        path for path, digest in objects.items() if digest not in needed and path.stat().st_mtime < spared
    ]
    unpacked = (path for pattern in UNPACKED for path in sorted(store.glob(pattern)) if path.is_dir())
    leftovers = (
        path for pattern in LEFTOVERS for path in sorted(store.glob(pattern)) if not path.is_symlink()
    )
    interrupted = (path for pattern in INTERRUPTED for path in sorted(store.glob(pattern)))
    removals = (
        *(_removal("run folder", path) for path in old_runs if reports),
        *(_removal("unfinished run", path) for path in _unfinished(out) if path.stat().st_mtime < spared),
        *(_removal("cached result", path) for path in old_results),
        *(_removal("stored file", path) for path in old_objects),
        *(_removal("unpacked folder", path) for path in unpacked if path.stat().st_mtime < recent),
        *(
            _removal("measurement file", path)
            for path in store.glob(MEASURED)
            if path.stat().st_mtime < recent
        ),
        *(
            _removal("decoded image", path)
            for path in sorted(store.glob(PIXELS))
            if path.stat().st_mtime < recent
        ),
        *(_removal("leftover", path) for path in leftovers if path.stat().st_mtime < spared),
        *(_removal("leftover", path) for path in interrupted if path.stat().st_mtime < recent),
    )
    return PrunePlan(
        removals=removals,
        kept_runs=tuple(folder.name for folder in newest if folder in kept),
        n_kept_bytes=_size([*objects, *_files(store / RESULTS)]) - _size([*old_objects, *old_results]),
        n_reports_left=0 if reports else len(old_runs),
    )


def _run_folders(out: Path, store: Path) -> set[Path]:
    # One store may serve several folders of runs: those in the history count as well.
    recorded = [Path(run.files.folder) for run in list_runs(history_path(store)) if run.files is not None]
    found = [path for path in _children(out) if not path.is_symlink() and not path.name.startswith(".")]
    return {path.resolve() for path in (*found, *recorded) if path.is_dir()}


def _modified_at(folder: Path) -> float:
    results = folder / RESULTS_JSON
    return (results if results.is_file() else folder).stat().st_mtime


def _digests_of_run(folder: Path) -> set[str]:
    digests: set[str] = set()
    for path in sorted(folder.glob("*.json")):
        try:
            digests.update(DIGEST.findall(path.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError) as error:
            msg = (
                f"{path} cannot be read ({error}): it is not known what this run refers to, so nothing is deleted; "
                "repair the file or move the run folder away"
            )
            raise DataError(msg) from error
    return digests


def _unfinished(out: Path) -> Iterator[Path]:
    """Folders of runs, or of deletions, whose process is gone."""
    for path in _children(out):
        match = PARTIAL.fullmatch(path.name)
        if match is not None and path.is_dir() and not psutil.pid_exists(int(match["pid"])):
            yield path


def _children(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _files(folder: Path) -> list[Path]:
    """Regular files below `folder`; links are never followed."""
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink() and not path.name.startswith(".")
    ]


def _removal(kind: Kind, path: Path) -> Removal:
    return Removal(kind, path, _size(path.rglob("*") if path.is_dir() else [path]))


def _size(paths: Iterable[Path]) -> int:
    return sum(path.lstat().st_size for path in paths if path.is_file() or path.is_symlink())


def delete(plan: PrunePlan, store: Path) -> tuple[int, list[str]]:
    """Delete what `plan` names; returns the bytes freed, and what could not be deleted, with the reason."""
    freed, left = 0, []
    for _, path, n_bytes in plan.removals:
        try:
            if path.is_dir():
                # First hidden in one step: an interrupted deletion leaves no half report.
                hidden = path.with_name(f".{path.name.lstrip('.')}.{os.getpid()}.partial")
                shutil.rmtree(path.rename(hidden))
            else:
                path.unlink()
        except OSError as error:
            left.append(f"{path} ({error.strerror or error})")
        else:
            freed += n_bytes
    for folder in _children(store / OBJECTS):
        if folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir()):
            folder.rmdir()
    return freed, left


def describe(plan: PrunePlan, *, every_item: bool = False) -> Iterator[str]:
    """`plan` in lines for a terminal."""
    for kind in dict.fromkeys(removal.kind for removal in plan.removals):
        chosen = [removal for removal in plan.removals if removal.kind == kind]
        plural = "" if len(chosen) == 1 else "s"
        yield f"  {len(chosen):>6} {kind + plural:<18} {format_bytes(sum(r.n_bytes for r in chosen)):>10}"
        if every_item:
            yield from (f"           {removal.path}  {format_bytes(removal.n_bytes)}" for removal in chosen)
    if not plan.removals:
        yield "  nothing"
    plural = "" if len(plan.kept_runs) == 1 else "s"
    yield f"Kept: {len(plan.kept_runs)} run{plural}, {format_bytes(plan.n_kept_bytes)} of the cache"
    if plan.n_reports_left:
        yield (
            f"Note: {plan.n_reports_left} older run folders stay, with their reports; "
            "files that only they refer to are not kept (--reports deletes the folders too)"
        )
