"""The history: one row per run in an embedded SQLite file, safe for runs at the same time.

The standard library's `sqlite3` does all that is needed; an ORM would add a dependency
and a layer for one table. A row holds the whole `RunSummary` as JSON, and beside it the
few columns that are searched. The layout of the table carries a version and is brought
up to date when the file is opened.
"""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import shutil
import sqlite3
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import psutil
from pydantic import ValidationError

from medcompare.base.errors import MedcompareError
from medcompare.runs.summary import Failure, RunSummary, failed_run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

HISTORY_FILE = "history.sqlite3"
BUSY_TIMEOUT_S = 30.0
FULL_BELOW_BYTES = 100_000
"""Less than one row and its journal need."""
STALE_AFTER = timedelta(hours=72)
"""A run of another machine counts as crashed after so long without an end."""

CLOCK_TOLERANCE_S = 5.0

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE runs (
        run_id TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        series TEXT NOT NULL,
        status TEXT NOT NULL,
        started_at TEXT NOT NULL,
        finished_at TEXT,
        data_name TEXT NOT NULL,
        summary TEXT NOT NULL
    )
    """,
    "CREATE INDEX runs_by_time ON runs (started_at)",
)
"""Step n brings a file of version n to version n + 1; steps are only ever appended."""


class HistoryError(MedcompareError):
    """The history cannot be read or written; the message ends with the remedy."""


def history_path(store: Path) -> Path:
    """Where the history of a store is kept."""
    return store / HISTORY_FILE


def record_run(path: Path, summary: RunSummary) -> None:
    """Write one run, replacing an earlier record of the same ``run_id``.

    Parameters
    ----------
    path : Path
        File of the history; made where it is missing.
    summary : RunSummary
        The run, begun or ended.

    Raises
    ------
    HistoryError
        If the file cannot be written, is no history, or was made by a newer version.
    """
    with _opened(path) as connection:
        _insert(connection, summary)


def list_runs(
    path: Path,
    *,
    limit: int | None = None,
    status: str | None = None,
    data_name: str | None = None,
    series: str | None = None,
) -> tuple[RunSummary, ...]:
    """Runs by time of start, newest first; empty where there is no history yet.

    Parameters
    ----------
    path : Path
        File of the history.
    limit : int, optional
        At most so many.
    status, data_name, series : str, optional
        Only runs with this value.

    Raises
    ------
    HistoryError
        If the file cannot be read, is no history, or was made by a newer version.
    """
    if not os.path.lexists(path):
        return ()
    wanted = {"status": status, "data_name": data_name, "series": series}
    conditions = [(column, value) for column, value in wanted.items() if value is not None]
    where = " AND ".join(f"{column} = ?" for column, _ in conditions) or "1"
    query = f"SELECT summary FROM runs WHERE {where} ORDER BY started_at DESC, run_id DESC LIMIT ?"  # noqa: S608 - fixed columns
    with _opened(path) as connection:
        rows = connection.execute(
            query, [*(value for _, value in conditions), -1 if limit is None else limit]
        )
        return tuple(_summary(path, row[0]) for row in rows)


def find_run(path: Path, text: str) -> RunSummary:
    """The one run whose id or name is `text`, or whose id or name begins with it.

    ``latest`` is the run that started last, ``latest~1`` the one before it, and so on.

    Raises
    ------
    HistoryError
        If no run fits, or several do.
    """
    runs = list_runs(path)
    word, _, back = text.partition("~")
    if word == "latest" and (back.isdigit() or not back):
        if int(back or 0) < len(runs):
            return runs[int(back or 0)]
        msg = f"'{text}': the history holds {len(runs)} runs"
        raise HistoryError(msg)
    exact = [run for run in runs if text in (run.run_id, run.name)]
    found = exact or [run for run in runs if run.run_id.startswith(text) or run.name.startswith(text)]
    if len(found) == 1:
        return found[0]
    if not found:
        known = ", ".join(run.name for run in runs[:5]) or "none yet"
        msg = f"no run is called '{text}'; the latest are: {known}"
        raise HistoryError(msg)
    several = ", ".join(f"{run.name} ({run.run_id})" for run in found[:5])
    msg = f"'{text}' fits {len(found)} runs: {several}; write more of the name, or the id"
    raise HistoryError(msg)


def last_completed(
    path: Path, *, data_name: str | None = None, series: str | None = None, before: RunSummary | None = None
) -> RunSummary | None:
    """The last run that ended well, None where there is none.

    Parameters
    ----------
    path : Path
        File of the history.
    data_name, series : str, optional
        Only runs with this value.
    before : RunSummary, optional
        Only runs that started before this one, which itself never counts.
    """
    for run in list_runs(path, status="completed", data_name=data_name, series=series):
        if before is None or (run.started_at, run.run_id) < (before.started_at, before.run_id):
            return run
    return None


def series_until(path: Path, run: RunSummary, *, n_runs: int = 30) -> tuple[RunSummary, ...]:
    """The last `n_runs` completed runs of the series of `run` up to itself, oldest first.

    `run` is the last of them whether or not it has been recorded yet.
    """
    earlier = [
        other
        for other in list_runs(path, status="completed", series=run.series)
        if (other.started_at, other.run_id) < (run.started_at, run.run_id)
    ]
    return (*reversed(earlier[: max(0, n_runs - 1)]), run)


def mark_crashed_runs(
    path: Path,
    *,
    host: str,
    now: datetime,
    is_alive: Callable[[RunSummary], bool] | None = None,
    stale_after: timedelta = STALE_AFTER,
) -> tuple[RunSummary, ...]:
    """Mark runs as crashed whose process is gone without having recorded an end.

    Parameters
    ----------
    path : Path
        File of the history.
    host : str
        This machine: only its own processes can be asked for.
    now : datetime
        With a time zone; becomes the end of the crashed runs.
    is_alive : callable, optional
        Whether the process of a run of this machine still goes.
    stale_after : timedelta
        Runs of other machines are given up after so long.

    Returns
    -------
    tuple of RunSummary
        The runs that were marked.
    """
    is_alive = is_alive or process_is_alive
    if not os.path.lexists(path):
        return ()
    marked = []
    with _opened(path) as connection:
        # Taken for writing at once: an end recorded meanwhile must not be overwritten.
        connection.execute("BEGIN IMMEDIATE")
        for row in connection.execute("SELECT summary FROM runs WHERE status = 'running'").fetchall():
            run = _summary(path, row[0])
            if run.host == host and run.pid is not None:
                crashed = not is_alive(run)
                cause = (
                    "the process of the run ended without a result: it was killed or the machine went down"
                )
            else:
                crashed = now - datetime.fromisoformat(run.started_at) > stale_after
                cause = f"no end was recorded within {stale_after.total_seconds() / 3600:.0f} hours"
            if crashed:
                failure = Failure(
                    stage="an unfinished stage",
                    kind="Crash",
                    cause=cause,
                    remedy="Look for lack of memory or a restart of the machine; then start it again.",
                )
                marked.append(failed_run(run, failure=failure, finished_at=now, status="crashed"))
                _insert(connection, marked[-1])
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
    """Name of this machine, as it stands in ``RunSummary.host``."""
    return platform.node()


def schema_version(path: Path) -> int:
    """Version of the table's layout in the file at `path`."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrate(connection: sqlite3.Connection, path: Path, migrations: Sequence[str] = MIGRATIONS) -> None:
    """Bring the table's layout up to date, in one transaction.

    Raises
    ------
    HistoryError
        If the file was made by a newer version of this software.
    """
    if _version(connection) == len(migrations):
        return
    connection.execute("BEGIN IMMEDIATE")  # two runs may open a new file at once: one migrates
    try:
        for step in migrations[_known_version(connection, path, len(migrations)) :]:
            connection.execute(step)
        connection.execute(f"PRAGMA user_version = {len(migrations)}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _known_version(connection: sqlite3.Connection, path: Path, newest: int) -> int:
    found = _version(connection)
    if found > newest:
        msg = (
            f"{path} was written by a newer version of medcompare (layout {found}, known: {newest}): "
            "update this one, or name another --store"
        )
        raise HistoryError(msg)
    return found


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    _insist_on_file(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(
            sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        ) as connection:
            _use_write_ahead_log(connection)
            migrate(connection, path)
            yield connection
            if connection.in_transaction:
                connection.execute("COMMIT")
    except (sqlite3.Error, OSError) as error:
        msg = f"history {path}: {error}: {_remedy(path, error)}"
        raise HistoryError(msg) from error


def _insist_on_file(path: Path) -> None:
    """Raise where something else stands at `path`: SQLite says of all of it that it cannot open it."""
    if path.is_symlink() and not path.exists():
        msg = f"history {path} is a link to a file that is gone: bring that file back, or remove the link"
        raise HistoryError(msg)
    if path.exists() and not path.is_file():
        msg = f"history {path} is no file: move it away; a new history is begun with the next run"
        raise HistoryError(msg)


def _remedy(path: Path, error: Exception) -> str:
    number = getattr(error, "errno", None)
    if "full" in str(error) or number == errno.ENOSPC or _is_full(path.parent):
        return "free space on the disk"
    if number in (errno.EACCES, errno.EPERM) or _is_closed(path):
        return "let this user read and write the file and its folder, or name another --store"
    return "if the file is damaged, move it away: a new one is begun with the next run"


def _is_closed(path: Path) -> bool:
    """Whether this user may not read and write the file, or not add the journal beside it."""
    return not os.access(path.parent, os.W_OK | os.X_OK) or (
        path.exists() and not os.access(path, os.R_OK | os.W_OK)
    )


def _is_full(folder: Path) -> bool:
    """Whether there is no room for a page of a database: SQLite may call that an error of the disk."""
    with contextlib.suppress(OSError):
        return shutil.disk_usage(folder).free < FULL_BELOW_BYTES
    return False


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Readers do not wait for writers; where the file system cannot, SQLite keeps its rollback journal."""
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            # SQLite does not wait by itself here when two processes open a new file at once.
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            break
    connection.execute("PRAGMA synchronous = FULL")


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _insert(connection: sqlite3.Connection, run: RunSummary) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO runs (run_id, name, series, status, started_at, finished_at, data_name, summary) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            run.run_id,
            run.name,
            run.series,
            run.status,
            run.started_at,
            run.finished_at,
            run.data_name,
            run.model_dump_json(),
        ),
    )


def _summary(path: Path, text: str) -> RunSummary:
    try:
        return RunSummary.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        msg = f"history {path}: a run cannot be read ({where}: {first['msg']}): update medcompare"
        raise HistoryError(msg) from error
