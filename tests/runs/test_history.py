"""The history keeps every run, also when several write at once."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from medcompare.base.errors import ConfigError, DiskFullError
from medcompare.runs.history import (
    HistoryError,
    earlier_runs,
    find_run,
    history_path,
    list_runs,
    mark_crashed_runs,
    process_is_alive,
    record_run,
)
from medcompare.runs.summary import utc_text
from tests.runs.sample_runs import summary

if TYPE_CHECKING:
    from collections.abc import Callable

    from medcompare.runs.summary import RunSummary

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Folder of a history that does not exist yet."""
    return history_path(tmp_path / "store")


def test_a_run_comes_back_as_it_was_recorded(file: Path) -> None:
    """Every field survives, intervals to the last digit."""
    run = summary()

    record_run(file, run)

    assert list_runs(file) == (run,)


def test_an_absent_history_is_empty_and_stays_absent(file: Path) -> None:
    """Reading makes no file."""
    assert list_runs(file) == ()
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


def test_earlier_runs_skip_failures_other_series_and_later_runs(file: Path) -> None:
    """The run to compare with is the one before, of the same series, that ended well."""
    for run in (summary(1), summary(2, series="manual"), summary(3, status="failed"), summary(4), summary(5)):
        record_run(file, run)
    runs = list_runs(file)

    assert earlier_runs(runs, summary(5)) == (summary(4), summary(1))  # not the run itself, recorded or not
    assert earlier_runs(runs, summary(4)) == (summary(1),)
    assert earlier_runs(runs, summary(1)) == ()


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

    with pytest.raises(ConfigError, match=message):
        find_run(file, text)


def _record_many(file: Path, first: int) -> None:
    for number in range(first, first + 15):
        record_run(file, summary(1, run_id=f"run-{number}"))


def test_concurrent_runs_lose_nothing(file: Path) -> None:
    """Four processes that create and fill the same new folder at once lose no run."""
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


def test_a_history_of_an_earlier_version_is_taken_over_once(file: Path) -> None:
    """Its runs are listed with the new ones, none twice, and its file is kept under another name."""
    file.parent.mkdir()
    earlier = file.parent / "history.sqlite3"
    with closing(sqlite3.connect(earlier)) as connection, connection:
        connection.execute("CREATE TABLE runs (run_id TEXT PRIMARY KEY, summary TEXT NOT NULL)")
        rows = [(run.run_id, run.model_dump_json()) for run in (summary(1), summary(2, status="failed"))]
        connection.executemany("INSERT INTO runs VALUES (?, ?)", rows)

    record_run(file, summary(3))

    assert list_runs(file) == (summary(3), summary(2, status="failed"), summary(1))
    assert [path.name for path in sorted(file.parent.iterdir())] == ["history", "history.sqlite3.taken-over"]

    earlier.write_bytes(b"not a database" * 100)
    with pytest.raises(
        HistoryError, match=r"history\.sqlite3 of an earlier version cannot be read: move it away"
    ):
        list_runs(file)


@pytest.mark.parametrize(
    "make", [Path.touch, lambda path: path.symlink_to("absent")], ids=["file", "dead link"]
)
def test_what_is_in_the_place_of_the_history_is_named(file: Path, make: Callable[[Path], None]) -> None:
    """Neither taken for an empty history nor replaced."""
    file.parent.mkdir()
    make(file)

    with pytest.raises(HistoryError, match=r"history .*/history: .*: move away what is in its place"):
        list_runs(file)
    with pytest.raises(HistoryError, match=r"history .*/history: .*: move away what is in its place"):
        record_run(file, summary())


def test_a_full_disk_is_not_called_damage(small_disk: Path) -> None:
    """Neither of a new history, nor of one that was there before; the remedy is space."""
    file = history_path(small_disk)
    record_run(file, summary())
    with contextlib.suppress(OSError), (small_disk / "fill").open("wb") as fill:
        while True:
            fill.write(bytes(4096))
            fill.flush()

    for place in (file, history_path(small_disk / "another")):
        with pytest.raises(DiskFullError, match=r"the disk is full: [\d.]+ MB free where .*history"):
            record_run(place, summary(run_id="next"))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda text: text[:-5], r"the file: Invalid JSON.*: move it away, it is damaged"),
        (lambda text: text.replace("seed", "sead"), r"seed: Field required: update medcompare"),
        (lambda text: text.replace("completed", "done"), r"status: Input should be .*: update medcompare"),
    ],
)
def test_a_record_that_cannot_be_read_is_named(file: Path, edit: Callable[[str], str], message: str) -> None:
    """The file, what is wrong and one remedy: a record of a newer version is not to be moved away."""
    record_run(file, summary())
    record = file / "run-1.json"
    record.write_text(edit(record.read_text()))

    with pytest.raises(HistoryError, match=rf"history .*run-1\.json: {message}"):
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


def test_an_end_recorded_meanwhile_is_not_overwritten(file: Path) -> None:
    """A run that ends while others ask for its process has not crashed."""
    record_run(file, summary(status="running"))

    def ends_now(_: RunSummary) -> bool:
        record_run(file, summary())
        return False

    assert mark_crashed_runs(file, host="ward7", now=NOW, is_alive=ends_now) == ()
    assert list_runs(file) == (summary(),)


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
        ({"run_id": "../run"}, "should match pattern"),
    ],
)
def test_an_incomplete_summary_is_refused(changes: dict[str, object], message: str) -> None:
    """What the history promises is checked when a run is recorded."""
    with pytest.raises(ValidationError, match=message):
        summary(**changes)
