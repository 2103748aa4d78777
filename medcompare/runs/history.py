"""The history: one small JSON file per run in a folder of the store, the whole `RunSummary`.

`results.json` cannot take its place: runs that failed or crashed have none, and reading those of
1,000 runs took 5 s or more where reading 1,000 summaries takes under half a second. A file is
replaced in one step, so that runs at the same time cannot disturb each other.
"""

from __future__ import annotations

import os
import platform
import sqlite3
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import psutil
from pydantic import ValidationError

from medcompare.base.artifacts import write_atomically
from medcompare.base.errors import ConfigError, MedcompareError, cannot_write
from medcompare.base.file_access import locked
from medcompare.base.language import message
from medcompare.runs.summary import Failure, RunSummary, failed_run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

HISTORY_FOLDER = "history"
EARLIER_FILE = "history.sqlite3"
"""Where versions before 0.2 kept the runs; taken over when it is met."""
STALE_AFTER = timedelta(hours=72)
"""A run of another machine counts as crashed after so long without an end."""
CLOCK_TOLERANCE_S = 5.0


class HistoryError(MedcompareError):
    """The history cannot be read or written; the message ends with the remedy."""

    public = message("the history cannot be read or written")


def history_path(store: Path) -> Path:
    """Where the history of a store is kept."""
    return store / HISTORY_FOLDER


def record_run(path: Path, summary: RunSummary) -> None:
    """Write one run, begun or ended, replacing an earlier record of the same ``run_id``.

    Raises
    ------
    DiskFullError, ConfigError
        As `cannot_write`.
    HistoryError
        If the record cannot be written for another reason.
    """
    with _errors_of(path):
        _take_over(path)
        _write(path, summary)


def list_runs(
    path: Path,
    *,
    limit: int | None = None,
    status: str | None = None,
    data_name: str | None = None,
    series: str | None = None,
) -> tuple[RunSummary, ...]:
    """Runs by time of start, newest first; empty where there is no history yet.

    At most `limit`, and only those with the given status, data set and series.

    Raises
    ------
    HistoryError
        If a record cannot be read.
    """
    with _errors_of(path):
        _take_over(path)
        files = path.iterdir() if os.path.lexists(path) else ()
        runs = [_read(file) for file in files if file.suffix == ".json"]
    wanted = {"status": status, "data_name": data_name, "series": series}
    chosen = [
        run for run in runs if all(value in (None, getattr(run, name)) for name, value in wanted.items())
    ]
    return tuple(sorted(chosen, key=_order, reverse=True)[:limit])


def _order(run: RunSummary) -> tuple[str, str]:
    return run.started_at, run.run_id


def find_run(path: Path, text: str) -> RunSummary:
    """The one run whose id or name is `text`, or whose id or name begins with it.

    ``latest`` is the run that started last, ``latest~1`` the one before it, and so on.

    Raises
    ------
    ConfigError
        If no run fits, or several do.
    HistoryError
        If the history cannot be read.
    """
    runs = list_runs(path)
    word, _, back = text.partition("~")
    if word == "latest" and (back.isdigit() or not back):
        if int(back or 0) < len(runs):
            return runs[int(back or 0)]
        msg = f"'{text}': the history holds {len(runs)} runs"
        raise ConfigError(msg)
    exact = [run for run in runs if text in (run.run_id, run.name)]
    found = exact or [run for run in runs if run.run_id.startswith(text) or run.name.startswith(text)]
    if len(found) == 1:
        return found[0]
    if not found:
        known = ", ".join(run.name for run in runs[:5]) or "none yet"
        msg = f"no run is called '{text}'; the latest are: {known}"
        raise ConfigError(msg)
    several = ", ".join(f"{run.name} ({run.run_id})" for run in found[:5])
    msg = f"'{text}' fits {len(found)} runs: {several}; write more of the name, or the id"
    raise ConfigError(msg)


def earlier_runs(runs: Sequence[RunSummary], run: RunSummary) -> tuple[RunSummary, ...]:
    """The completed ones of `runs` that began before `run` in its series; order is kept."""
    return tuple(
        other
        for other in runs
        if (other.status, other.series) == ("completed", run.series) and _order(other) < _order(run)
    )


def mark_crashed_runs(
    path: Path,
    *,
    host: str,
    now: datetime,
    is_alive: Callable[[RunSummary], bool] | None = None,
) -> tuple[RunSummary, ...]:
    """Mark runs as crashed whose process is gone without having recorded an end; returns them.

    `is_alive` is asked about runs of this `host` only; those of other machines are given up after `STALE_AFTER`.
    """
    is_alive = is_alive or process_is_alive
    if not list_runs(path, status="running"):
        return ()
    marked = []
    with _errors_of(path), locked(path / ".lock"):  # of two runs that begin at once, one marks
        for run in list_runs(path, status="running"):
            if run.host == host and run.pid is not None:
                crashed = not is_alive(run)
                cause = public = message(
                    "the process of the run ended without a result: it was killed or the machine went down"
                )
            else:
                crashed = now - datetime.fromisoformat(run.started_at) > STALE_AFTER
                cause = public = message("no end was recorded within 72 hours")  # `STALE_AFTER`
            # Read again: it may have recorded its end just before it ended.
            if crashed and _read(_file_of(path, run)).status == "running":
                failure = Failure(
                    stage=message("an unfinished stage"),
                    kind="Crash",
                    cause=cause,
                    public=public,
                    remedy=message(
                        "Look for lack of memory or a restart of the machine; then start it again."
                    ),
                )
                marked.append(failed_run(run, failure=failure, finished_at=now, status="crashed"))
                _write(path, marked[-1])
    return tuple(marked)


def process_is_alive(run: RunSummary) -> bool:
    """Whether the process of `run` still goes on this machine; a reused process id does not count."""
    try:
        process = psutil.Process(run.pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        created = process.create_time()
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
    # The process of a run is older than the run; one that is younger only took over its number.
    return bool(created <= datetime.fromisoformat(run.started_at).timestamp() + CLOCK_TOLERANCE_S)


def this_host() -> str:
    """Name of this machine, as in ``RunSummary.host``."""
    return platform.node()


def _file_of(path: Path, run: RunSummary) -> Path:
    return path / f"{run.run_id}.json"


def _write(path: Path, run: RunSummary) -> None:
    write_atomically(_file_of(path, run), run.model_dump_json(indent=1).encode())


def _read(file: Path) -> RunSummary:
    try:
        return RunSummary.model_validate_json(file.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        is_newer = any(one["type"] in {"extra_forbidden", "literal_error"} for one in error.errors())
        remedy = "update medcompare, a newer version wrote it" if is_newer else "move it away, it is damaged"
        msg = f"history {file}: {where}: {first['msg']}: {remedy}"
        raise HistoryError(msg) from None


def _take_over(path: Path) -> None:
    """Write the runs of a history of an earlier version into this one, and rename its file."""
    earlier = path.with_name(EARLIER_FILE)
    if not earlier.is_file():
        return
    path.mkdir(parents=True, exist_ok=True)
    with locked(path / ".lock"):
        if earlier.is_file():
            with closing(sqlite3.connect(earlier)) as connection:
                for (text,) in connection.execute("SELECT summary FROM runs").fetchall():
                    _write(path, RunSummary.model_validate_json(text))
            earlier.rename(earlier.with_suffix(".sqlite3.taken-over"))


@contextmanager
def _errors_of(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        known = cannot_write(error, path)
        if known is not error:
            raise known from error
        msg = f"history {path}: {error.strerror or error}: move away what is in its place"
        raise HistoryError(msg) from error
    except (sqlite3.Error, ValidationError) as error:
        msg = f"history {path.with_name(EARLIER_FILE)} of an earlier version cannot be read: move it away"
        raise HistoryError(msg) from error
