"""What may be deleted from a store, and why: decided in full before anything is touched.

Kept are the newest runs, whatever their records refer to, and whatever is recent. Only
places this software fills are looked at; anything else in the folders is left alone.
"""

from __future__ import annotations

import os
import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from medcompare.base.artifacts import OUTBOX_FOLDER
from medcompare.base.errors import ConfigError, DataError
from medcompare.base.record import Record
from medcompare.runs.folder import LATEST
from medcompare.runs.history import HISTORY_FILE, history_path, list_runs, process_is_alive, this_host

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Kind = Literal["run folder", "unfinished run", "cached result", "stored file", "leftover"]

OBJECTS, RESULTS, RESULTS_JSON = "objects", "results", "results.json"
SCRATCH, RESUME = "scratch-", "resume"
DIGEST = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
PARTIAL = re.compile(r"\.(?P<name>.+)\.(?P<pid>\d+)\.partial")
DELETED = re.compile(r"\..+\.deleted")


class PrunePolicy(Record):
    """What is kept."""

    keep_runs: int = Field(default=30, ge=1, le=100_000, description="The newest runs, whatever their age.")
    keep_days: float = Field(
        default=60, ge=0, le=36_500, description="Runs and results younger than this, days."
    )
    in_progress_hours: float = Field(
        default=24,
        ge=1,
        le=8760,
        description="Nothing younger is touched: it may belong to a run in progress.",
    )
    reports: bool = Field(default=False, description="Delete old run folders too, with their reports.")


class Removal(Record):
    """One thing to delete."""

    kind: Kind
    path: Path
    n_bytes: int = Field(ge=0)
    modified_at: float = Field(description="Seconds since 1970; checked again before deleting.")
    reason: str


class PrunePlan(Record):
    """What would be deleted, in an order that is safe to interrupt, and what is kept."""

    removals: tuple[Removal, ...]
    kept_runs: tuple[str, ...]
    n_kept_files: int = Field(description="Stored files and cached results that are kept.")
    n_kept_bytes: int
    n_other_bytes: int = Field(
        description="Other content of the store, such as demonstration data: left alone."
    )
    in_progress: tuple[str, ...] = Field(description="Signs of runs that are going on.")
    notes: tuple[str, ...] = ()

    @property
    def n_bytes(self) -> int:
        """What deleting would free."""
        return sum(removal.n_bytes for removal in self.removals)


class _Run(Record):
    name: str
    folder: Path
    modified_at: float


def plan_pruning(out: Path, store: Path, policy: PrunePolicy, *, now: datetime) -> PrunePlan:
    """Decide what may go.

    Parameters
    ----------
    out : Path
        Folder of the runs. Runs that the store's history knows in other folders count too.
    store : Path
        The store.
    policy : PrunePolicy
        What is kept.
    now : datetime
        With a time zone.

    Returns
    -------
    PrunePlan
        Removals in order: run folders, then cached results, then stored files, so that
        what refers goes before what is referred to.

    Raises
    ------
    ConfigError
        If `store` is no store.
    DataError
        If the record of a kept run cannot be read: what it refers to is then unknown.
    HistoryError
        If the history cannot be read.
    """
    if not any((store / name).exists() for name in (OBJECTS, RESULTS, HISTORY_FILE)):
        msg = f"--store {store}: this is no store of medcompare (no '{OBJECTS}', no '{RESULTS}')"
        raise ConfigError(msg)
    recent = (now - timedelta(days=policy.keep_days)).timestamp()
    untouchable = (now - timedelta(hours=policy.in_progress_hours)).timestamp()
    runs = sorted(_runs(out, store), key=lambda run: (run.modified_at, run.name), reverse=True)
    latest = _latest(out)
    kept = [
        run
        for i, run in enumerate(runs)
        if i < policy.keep_runs or run.modified_at >= min(recent, untouchable) or run.folder == latest
    ]
    objects = {path: path.stat() for path in _files(store / OBJECTS)}
    known = {_digest(path): path for path in objects}
    referenced = {digest for run in kept for digest in _digests_of_run(run.folder)} & known.keys()

    kept_results, old_results = _sort_results(
        store, referenced, known, recent=recent, untouchable=untouchable
    )
    referenced |= {digest for digests in kept_results.values() for digest in digests}
    old_objects = [
        path
        for path, stat in objects.items()
        if _digest(path) not in referenced and stat.st_mtime < untouchable
    ]
    dropped_runs = [run for run in runs if run not in kept]
    removals = [
        *(
            _folder_removal(run.folder, "run folder", "older than what is kept")
            for run in dropped_runs
            if policy.reports
        ),
        *_unfinished(out, untouchable),
        *(_file_removal(path, "cached result", reason) for path, reason in old_results),
        *(_file_removal(path, "stored file", _why(path)) for path in sorted(old_objects)),
        *_leftovers(store, untouchable, taken=set(old_objects)),
    ]
    kept_files = [*kept_results, *(path for path in objects if path not in set(old_objects))]
    notes = []
    if dropped_runs and not policy.reports:
        notes.append(
            f"{len(dropped_runs)} older run folders stay, with their reports; "
            "files that only they refer to are not kept (--reports deletes the folders too)"
        )
    return PrunePlan(
        removals=tuple(removals),
        kept_runs=tuple(run.name for run in kept),
        n_kept_files=len(kept_files),
        n_kept_bytes=sum(path.stat().st_size for path in kept_files),
        n_other_bytes=_other_bytes(store),
        in_progress=tuple(_in_progress(out, store)),
        notes=tuple(notes),
    )


def _runs(out: Path, store: Path) -> Iterator[_Run]:
    folders = [
        path
        for path in _children(out)
        if path.is_dir() and not path.is_symlink() and not path.name.startswith(".")
    ]
    # One store may serve several folders of runs: those in the history count as well.
    recorded = [Path(run.files.folder) for run in list_runs(history_path(store)) if run.files is not None]
    seen: set[Path] = set()
    for folder in [*folders, *recorded]:
        resolved = folder.resolve()
        if resolved in seen or not resolved.is_dir():
            continue
        seen.add(resolved)
        results = resolved / RESULTS_JSON
        modified_at = (results if results.is_file() else resolved).stat().st_mtime
        yield _Run(name=folder.name, folder=resolved, modified_at=modified_at)


def _latest(out: Path) -> Path | None:
    link = out / LATEST
    return link.resolve() if link.is_symlink() else None


def _digests_of_run(folder: Path) -> set[str]:
    digests: set[str] = set()
    for path in sorted(folder.glob("*.json")):
        try:
            digests.update(DIGEST.findall(path.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError) as error:
            msg = (
                f"{path} cannot be read ({error}): it is not known what this run refers to, so nothing is deleted; "
                "mend the file or move the run folder away"
            )
            raise DataError(msg) from error
    return digests


def _sort_results(
    store: Path, referenced: set[str], known: dict[str, Path], *, recent: float, untouchable: float
) -> tuple[dict[Path, set[str]], list[tuple[Path, str]]]:
    """Cached results that are kept, with the stored files they refer to; and those that may go, with the reason."""
    kept: dict[Path, set[str]] = {}
    old: list[tuple[Path, str]] = []
    for path in _files(store / RESULTS):
        # A cached result that cannot be read as text is of no use to anybody, but is kept while recent.
        named = set(DIGEST.findall(path.read_text(encoding="utf-8", errors="replace")))
        digests = named & known.keys()
        modified_at = path.stat().st_mtime
        if modified_at >= min(recent, untouchable) or digests & referenced:
            kept[path] = digests
        else:
            gone = named and not digests
            old.append(
                (
                    path,
                    "the files it refers to are gone"
                    if gone
                    else "older than what is kept, used by no kept run",
                )
            )
    return kept, old


def _digest(path: Path) -> str:
    return path.name.partition(".")[0]


def _why(path: Path) -> str:
    return (
        "no kept run and no kept result refers to it"
        if DIGEST.fullmatch(_digest(path))
        else "not a stored file's name"
    )


def _unfinished(out: Path, untouchable: float) -> Iterator[Removal]:
    for path in _children(out):
        match = PARTIAL.fullmatch(path.name)
        if (
            match is not None
            and path.is_dir()
            and path.stat().st_mtime < untouchable
            and not _alive(int(match["pid"]), path)
        ):
            yield _folder_removal(path, "unfinished run", "its process is gone")
        elif DELETED.fullmatch(path.name) and path.is_dir():
            yield _folder_removal(path, "unfinished run", "an earlier deletion was interrupted")


def _leftovers(store: Path, untouchable: float, *, taken: set[Path]) -> Iterator[Removal]:
    """Temporary files of writers that died."""
    for folder in (store / OBJECTS, store / RESULTS, store / OUTBOX_FOLDER):
        for path in _files(folder, hidden=True):
            if path.suffix == ".part" and path not in taken and path.stat().st_mtime < untouchable:
                yield _file_removal(path, "leftover", "its writer died")
    # What a training keeps beside the store while it runs, and the state it would resume from.
    for path in _children(store):
        if path.name.startswith(SCRATCH) and path.is_dir() and path.stat().st_mtime < untouchable:
            yield _folder_removal(path, "leftover", "its training died")
        elif DELETED.fullmatch(path.name) and path.is_dir():
            yield _folder_removal(path, "leftover", "an earlier deletion was interrupted")
    for path in _files(store / RESUME):
        if path.stat().st_mtime < untouchable:
            yield _file_removal(path, "leftover", "no training came back to resume from it")


def _in_progress(out: Path, store: Path) -> Iterator[str]:
    for path in _children(out):
        match = PARTIAL.fullmatch(path.name)
        if match is not None and _alive(int(match["pid"]), path):
            yield f"run '{match['name']}' is being written by process {match['pid']}"
    for run in list_runs(history_path(store), status="running"):
        if run.pid is not None and run.host == this_host() and process_is_alive(run):
            yield f"run '{run.name}' is going on in process {run.pid}"


def _alive(pid: int, path: Path) -> bool:
    """Whether the process that fills `path` is still there; a younger process only took over its number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        return Path(f"/proc/{pid}").stat().st_mtime <= path.stat().st_mtime
    except OSError:
        return True


def _children(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _files(folder: Path, *, hidden: bool = False) -> list[Path]:
    """Regular files below `folder`; links are never followed."""
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink() and (path.name.startswith(".") is False or hidden)
    ]


def _file_removal(path: Path, kind: Kind, reason: str) -> Removal:
    stat = path.stat()
    return Removal(kind=kind, path=path, n_bytes=stat.st_size, modified_at=stat.st_mtime, reason=reason)


def _folder_removal(path: Path, kind: Kind, reason: str) -> Removal:
    return Removal(
        kind=kind, path=path, n_bytes=_size(path.rglob("*")), modified_at=path.stat().st_mtime, reason=reason
    )


def _other_bytes(store: Path) -> int:
    return _size(
        path
        for child in _children(store)
        if child.name not in {OBJECTS, RESULTS}
        for path in (child, *child.rglob("*"))
    )


def _size(paths: Iterable[Path]) -> int:
    return sum(path.lstat().st_size for path in paths if path.is_file() or path.is_symlink())
