"""Cached results: their locks, the files they refer to, and what is tried again."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from prefect import flow, task
from prefect.cache_policies import INPUTS
from prefect.locking.protocol import LockManager
from prefect.states import Failed

from medcompare.base.artifacts import Artifact, ArtifactStore
from medcompare.base.errors import ArtifactError, DataError, TrainingError, UnexpectedError
from medcompare.runs.stages import stage_of
from tasks.cache import (
    STORED,
    StoreLocks,
    _mark_as_used,
    is_retryable,
    map_cached,
    redact_tracebacks,
    results_folder,
    run_cached,
)
from tasks.gpu import GPU_LIMIT
from tasks.ingest import ingest
from tasks.measure_cost import measure_cost
from tasks.predict import predict
from tasks.train import train

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_one_holder_at_a_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A second holder waits, in this process and in another; the first may ask twice; release is the holder's."""
    one, two = StoreLocks(tmp_path), StoreLocks(tmp_path)
    assert isinstance(one, LockManager)
    assert one.acquire_lock("key", "a") is True
    assert one.acquire_lock("key", "a") is True
    for other in (one, two):
        assert other.acquire_lock("key", "b", acquire_timeout=0) is False
        assert other.wait_for_lock("key", 0) is False
    assert asyncio.run(two.aacquire_lock("key", "b", 0)) is asyncio.run(two.await_for_lock("key", 0)) is False
    assert caplog.messages == []
    with caplog.at_level(logging.INFO, "medcompare"):  # not what Prefect does meanwhile
        assert two.acquire_lock("key", "b", acquire_timeout=0.5) is False
    assert caplog.messages == ["a task: another run is doing the same work; waiting for its result"]
    one.release_lock("key", "b")
    assert (one.is_locked("key"), one.is_lock_holder("key", "a"), two.is_locked("key")) == (True, True, False)
    one.release_lock("key", "a")
    assert two.wait_for_lock("key", 0) is asyncio.run(two.await_for_lock("key", 0)) is True
    assert one.acquire_lock("key", "c", acquire_timeout=0)  # whoever only waited holds nothing


def test_a_task_holds_its_lock_and_releases_it_however_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Held while it works; free after a result, after an error, and where the result comes from the cache."""
    events: list[str] = []
    acquire, release = StoreLocks.acquire_lock, StoreLocks.release_lock

    def acquiring(self: StoreLocks, key: str, holder: str, *rest: float) -> bool:
        events.append("acquired")
        return acquire(self, key, holder, *rest)

    def releasing(self: StoreLocks, key: str, holder: str) -> None:
        events.append("released")
        release(self, key, holder)
        assert not self.is_locked(key)

    monkeypatch.setattr(StoreLocks, "acquire_lock", acquiring)
    monkeypatch.setattr(StoreLocks, "release_lock", releasing)

    @task(cache_policy=INPUTS, **STORED)
    def half(number: int) -> int:
        events.append("worked")
        if number % 2:
            msg = f"{number} is odd"
            raise DataError(msg)
        return number // 2

    @flow
    def halves(numbers: tuple[int, ...]) -> list[int]:
        return map_cached(half, tmp_path, [{"number": one} for one in numbers], max_workers=1)

    assert halves((4,)) == [2]
    assert halves((4,)) == [2]
    assert events == ["acquired", "worked", "released", "acquired", "released"]
    with pytest.raises(DataError, match="7 is odd") as caught:
        halves((7,))
    assert stage_of(caught.value) == "half"
    assert events[-3:] == ["acquired", "worked", "released"]
    assert halves((4, 8, 12)) == [2, 4, 6]
    assert events.count("acquired") == events.count("released") == 6


def test_a_result_is_reused_only_with_the_files_it_refers_to(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Reused, and marked as used, while its file is there; computed again otherwise, alone, and the log says so."""
    worked: list[str] = []
    barrier = threading.Barrier(2)
    together: list[bool] = []

    @task(cache_policy=INPUTS, **STORED)
    def write(model: str) -> Artifact:
        worked.append(model)
        if model == "bad":
            msg = "no image"
            raise DataError(msg)
        if model in "cdef":  # two at a time, or one after the other
            try:
                barrier.wait(0.2 if model in "cd" else 20)
            except threading.BrokenBarrierError:
                together.append(False)
            else:
                together.append(True)
        return ArtifactStore(tmp_path).write(model.encode(), ".txt")

    @flow
    def steps() -> None:
        first = run_cached(write, tmp_path, model="a")
        (stored,) = (tmp_path / "results").iterdir()
        os.utime(stored, (0, 0))
        assert run_cached(write, tmp_path, model="a") == first
        assert worked == ["a"]
        assert stored.stat().st_mtime > 0
        told = [one for one in caplog.messages if one.startswith("write")]
        assert told == ["write a: nothing it depends on has changed, earlier result reused"]

        path = ArtifactStore(tmp_path).path_of(first)
        path.unlink()
        caplog.clear()
        results = map_cached(write, tmp_path, [{"model": "b"}, {"model": "a"}])
        assert [ArtifactStore(tmp_path).read(one) for one in results] == [b"b", b"a"]
        assert worked == ["a", "b", "a"]
        (warning,) = (one for one in caplog.records if one.levelname == "WARNING")
        assert warning.getMessage().startswith("write a: the cached result cannot be used (")
        assert first.path in warning.getMessage()
        assert warning.getMessage().endswith("); computing it again")
        assert "earlier result reused" not in caplog.text

        run_cached(write, tmp_path, fresh=True, model="b")
        assert worked == ["a", "b", "a", "b"]

        for models, at_most in (("cd", {}), ("ef", {"max_workers": 2})):
            barrier.reset()
            map_cached(write, tmp_path, [{"model": model} for model in models], **at_most)
        assert together == [False, False, True, True]

        with pytest.raises(DataError, match="no image") as caught:
            map_cached(write, tmp_path, [{"model": "a"}, {"model": "bad"}])
        assert stage_of(caught.value) == "write bad"

    steps()
    assert results_folder(Path("here")) == Path.cwd() / "here" / "results"


def test_a_result_without_a_file_is_marked_in_silence(tmp_path: Path) -> None:
    """Pruned meanwhile, or never stored: housekeeping has nothing to see."""
    for metadata in (SimpleNamespace(storage_key="pruned"), None):
        _mark_as_used(SimpleNamespace(data=SimpleNamespace(metadata=metadata)), tmp_path)  # type: ignore[arg-type] # only the key counts
    _mark_as_used(SimpleNamespace(data=None), tmp_path)  # type: ignore[arg-type]


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Python's own answer to Ctrl-C, which a shell takes from what it starts in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("after_s", [0, 1], ids=["while they are handed over", "while they are waited for"])
def test_an_interrupt_starts_no_more_work(tmp_path: Path, after_s: int, interruptible: None) -> None:  # noqa: ARG001
    """Ctrl-C while the first of three works: it is let end, and no other begins."""
    worked: list[int] = []

    @task(cache_policy=INPUTS, **STORED)
    def interrupted(number: int) -> int:
        worked.append(number)
        time.sleep(after_s)
        os.kill(os.getpid(), signal.SIGINT)  # to the process: it wakes the main thread, which waits
        time.sleep(0.5)
        return number

    @flow
    def work() -> None:
        map_cached(interrupted, tmp_path, [{"number": number} for number in range(3)], max_workers=1)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert worked == [0]


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (DataError("an image is missing"), False),
        (TrainingError("the loss is not finite"), False),
        (TrainingError("the device is busy", transient=True), True),
        (OSError(5, "input/output error"), True),
        (ArtifactError("a file is lost"), True),
        (ValueError("a mistake in the code"), False),
    ],
)
def test_only_what_may_pass_is_tried_again(error: Exception, *, again: bool) -> None:
    """Never bad input, a loss that is not finite or a mistake in the code."""
    assert is_retryable(None, None, Failed(data=error)) is again  # type: ignore[arg-type] # only the state counts


def test_stages_are_tried_three_times_and_keep_their_results_readable() -> None:
    """After 5 and 30 s; what loads the accelerator counts against the limit of that name."""
    for stage in (ingest, train, predict, measure_cost):
        assert (stage.retries, stage.retry_delay_seconds) == (2, [5, 30])
        assert (stage.persist_result, stage.result_serializer, stage.log_prints) == (True, "json", False)
    assert measure_cost.tags == {GPU_LIMIT}


def test_errors_are_redacted_and_nothing_else() -> None:
    """Arguments and result pass as they are; of an unforeseen error, class and place alone."""

    @redact_tracebacks
    @task
    def divide(one: int, *, by: int, patient: str = "") -> float:
        if not by:
            raise ValueError(patient)
        return one / by

    assert divide.fn(6, by=4) == 1.5
    with pytest.raises(UnexpectedError, match="ValueError") as caught:
        divide.fn(6, by=0, patient="Mustermann")
    assert "Mustermann" not in str(caught.value)
    assert caught.value.__context__ is None
