"""The history keeps every run, also when several write at once."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from medcompare.runs import history
from medcompare.runs.history import (
    HistoryError,
    find_run,
    last_completed,
    list_runs,
    mark_crashed_runs,
    migrate,
    process_is_alive,
    record_run,
    schema_version,
    series_until,
)
from medcompare.runs.summary import utc_text
from tests.runs.sample_runs import summary

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Path of a history that does not exist yet."""
    return tmp_path / "store" / "history.sqlite3"


def test_a_run_comes_back_as_it_was_recorded(file: Path) -> None:
    """Every field survives, intervals to the last digit."""
    run = summary()

    record_run(file, run)

    assert list_runs(file) == (run,)


def test_an_absent_history_is_empty_and_stays_absent(file: Path) -> None:
    """Reading makes no file."""
    assert list_runs(file) == ()
    assert last_completed(file) is None
    assert mark_crashed_runs(file, host="ward7", now=NOW) == ()
    assert not file.exists()


def test_recording_again_replaces(file: Path) -> None:
    """A run is recorded when it begins and again when it ends: one row remains."""
    record_run(file, summary(status="running"))
    record_run(file, summary())

    assert [run.status for run in list_runs(file)] == ["completed"]


def test_runs_are_listed_newest_first_and_filtered(file: Path) -> None:
    """Order is that of the start, in whatever time zone it was given."""
    record_run(file, summary(3, started_at="2026-11-03T01:00:00+02:00"))  # 23:00 UTC of the day before
    record_run(file, summary(2, started_at="2026-11-02T23:30:00+00:00", data_name="skin"))
    record_run(file, summary(4, status="failed", series="manual"))

    assert [run.run_id for run in list_runs(file)] == ["run-4", "run-2", "run-3"]
    assert [run.run_id for run in list_runs(file, limit=1)] == ["run-4"]
    assert [run.run_id for run in list_runs(file, status="completed")] == ["run-2", "run-3"]
    assert [run.run_id for run in list_runs(file, data_name="skin")] == ["run-2"]
    assert [run.run_id for run in list_runs(file, series="manual")] == ["run-4"]


def test_last_completed_skips_failures_other_data_and_later_runs(file: Path) -> None:
    """The run to compare with is the one before, of the same series, that ended well."""
    for run in (
        summary(1),
        summary(2, data_name="skin"),
        summary(3, status="failed"),
        summary(4),
        summary(5),
    ):
        record_run(file, run)

    assert last_completed(file, data_name="oral", before=summary(4)) == summary(1)
    assert last_completed(file, before=summary(4)) == summary(2, data_name="skin")
    assert last_completed(file, series="nightly") == summary(5)
    assert last_completed(file, before=summary(1)) is None


def test_a_series_ends_with_the_run_itself(file: Path) -> None:
    """The last runs, oldest first, whether or not the present one is recorded."""
    for night in (1, 2, 3, 4):
        record_run(file, summary(night))
    record_run(file, summary(9, series="manual"))

    assert [run.run_id for run in series_until(file, summary(5), n_runs=3)] == ["run-3", "run-4", "run-5"]
    assert [run.run_id for run in series_until(file, summary(4), n_runs=3)] == ["run-2", "run-3", "run-4"]
    assert [run.run_id for run in series_until(file, summary(1), n_runs=1)] == ["run-1"]


def test_a_run_is_found_by_name_id_beginning_or_age(file: Path) -> None:
    """What a person types in a terminal."""
    for night in (1, 2, 11):
        record_run(file, summary(night))

    assert find_run(file, "run-1").run_id == "run-1"  # exact, though run-11 begins so too
    assert find_run(file, "2026-11-02").run_id == "run-2"
    assert find_run(file, "latest").run_id == "run-11"
    assert find_run(file, "latest~2").run_id == "run-1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2026-11-1", "no run is called"),
        ("2026-11", "fits 2 runs"),
        ("nothing", "no run is called 'nothing'; the latest are: 2026-11-02_oral"),
        ("latest~2", "holds 2 runs"),
    ],
)
def test_a_run_that_is_not_clear_is_refused(file: Path, text: str, message: str) -> None:
    """The message says what there is."""
    record_run(file, summary(1))
    record_run(file, summary(2))

    with pytest.raises(HistoryError, match=message):
        find_run(file, text)


def _record_many(file: Path, first: int) -> None:
    for number in range(first, first + 15):
        record_run(file, summary(1, run_id=f"run-{number}"))


def test_concurrent_runs_lose_nothing(file: Path) -> None:
    """Four processes that create and fill the same new file at once leave every row."""
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_record_many, args=(file, 100 * k)) for k in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)

    assert [worker.exitcode for worker in workers] == [0] * 4
    assert {run.run_id for run in list_runs(file)} == {
        f"run-{100 * k + n}" for k in range(4) for n in range(15)
    }


def test_the_file_uses_a_write_ahead_log_and_carries_its_version(file: Path) -> None:
    """Readers do not wait for writers, and the layout can be told."""
    record_run(file, summary())

    with sqlite3.connect(file) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert schema_version(file) == len(history.MIGRATIONS)


def test_an_older_layout_is_brought_up_to_date_and_keeps_its_rows(file: Path) -> None:
    """A file of the first version gains what later steps add."""
    file.parent.mkdir()
    run = summary()
    with sqlite3.connect(file, isolation_level=None) as connection:
        migrate(connection, file, history.MIGRATIONS[:1])
        connection.execute(
            "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                run.run_id,
                run.name,
                run.series,
                run.status,
                run.started_at,
                run.finished_at,
                "oral",
                run.model_dump_json(),
            ),
        )
    assert schema_version(file) == 1

    assert list_runs(file) == (run,)
    assert schema_version(file) == len(history.MIGRATIONS)
    with sqlite3.connect(file) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'index'")]
    assert "runs_by_time" in names


def test_a_failed_migration_changes_nothing(file: Path) -> None:
    """A step that fails is rolled back with all before it."""
    record_run(file, summary())

    with (
        sqlite3.connect(file, isolation_level=None) as connection,
        pytest.raises(sqlite3.Error, match="no such table"),
    ):
        migrate(connection, file, (*history.MIGRATIONS, "CREATE TABLE more (x)", "DROP TABLE absent"))

    assert schema_version(file) == len(history.MIGRATIONS)
    assert list_runs(file) == (summary(),)


def test_a_newer_layout_is_refused(file: Path) -> None:
    """An old program never writes into a file it does not understand."""
    record_run(file, summary())
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA user_version = 99")

    with pytest.raises(HistoryError, match="newer version of medcompare"):
        record_run(file, summary(2))


def test_a_file_that_is_no_history_is_named(file: Path) -> None:
    """Damage is said, with what to do."""
    file.parent.mkdir()
    file.write_bytes(b"not a database" * 100)

    with pytest.raises(HistoryError, match=r"history\.sqlite3: .*move it away"):
        list_runs(file)


def test_a_full_disk_is_not_called_damage(small_disk: Path) -> None:
    """Neither of a new history, nor of one that was there before; the remedy is space."""
    file = small_disk / "history.sqlite3"
    record_run(file, summary())
    with contextlib.suppress(OSError), (small_disk / "fill").open("wb") as fill:
        while True:
            fill.write(bytes(4096))
            fill.flush()

    for place in (file, small_disk / "another" / "history.sqlite3"):
        with pytest.raises(HistoryError, match=r"history .*: free space on the disk$"):
            record_run(place, summary(run_id="next"))


def test_a_row_that_cannot_be_read_is_named(file: Path) -> None:
    """A row with unknown fields raises and says which field."""
    record_run(file, summary())
    with sqlite3.connect(file) as connection:
        connection.execute("""UPDATE runs SET summary = json_set(summary, '$.surprise', 1)""")

    with pytest.raises(HistoryError, match="surprise"):
        list_runs(file)


def test_runs_whose_process_is_gone_are_marked_crashed(file: Path) -> None:
    """Only running runs, only those of this machine, or those that are too old."""
    record_run(file, summary(1, status="running", pid=1))
    record_run(file, summary(2, status="running", pid=2))
    record_run(file, summary(3))
    record_run(
        file,
        summary(4, status="running", host="elsewhere", started_at=(NOW - timedelta(hours=100)).isoformat()),
    )
    record_run(
        file,
        summary(5, status="running", host="elsewhere", started_at=(NOW - timedelta(hours=2)).isoformat()),
    )

    marked = mark_crashed_runs(file, host="ward7", now=NOW, is_alive=lambda run: run.pid == 2)

    assert {run.run_id for run in marked} == {"run-1", "run-4"}
    assert {run.run_id: run.status for run in list_runs(file)} == {
        "run-1": "crashed",
        "run-2": "running",
        "run-3": "completed",
        "run-4": "crashed",
        "run-5": "running",
    }
    crashed = find_run(file, "run-1")
    assert crashed.finished_at == utc_text(NOW)
    assert crashed.failure is not None
    assert crashed.failure.cause == (
        "the process of the run ended without a result: it was killed or the machine went down"
    )
    assert mark_crashed_runs(file, host="ward7", now=NOW, is_alive=lambda run: run.pid == 2) == ()


def test_a_process_is_known_by_id_and_age() -> None:
    """Our own process is alive; an ended one is not; nor is one that reuses an old id."""
    now = datetime.now(UTC)
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()

    assert process_is_alive(summary(status="running", pid=os.getpid(), started_at=utc_text(now)))
    assert not process_is_alive(summary(status="running", pid=ended.pid, started_at=utc_text(now)))
    assert not process_is_alive(
        summary(status="running", pid=os.getpid(), started_at=utc_text(now - timedelta(days=300)))
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"status": "completed", "verdict": None}, "needs a verdict"),
        ({"status": "completed", "finished_at": None}, "needs finished_at"),
        ({"status": "failed", "failure": None}, "needs a failure"),
        ({"started_at": "yesterday"}, "not a moment in ISO 8601"),
        ({"started_at": "2026-11-01T02:00:00"}, "no time zone"),
    ],
)
def test_an_incomplete_summary_is_refused(changes: dict[str, object], message: str) -> None:
    """What the history promises is checked when a run is recorded."""
    with pytest.raises(ValidationError, match=message):
        summary(**changes)
