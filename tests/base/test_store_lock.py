"""Locks of the store: real processes hold them, wait for them and die with them."""

from __future__ import annotations

import contextlib
import logging
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from medcompare.base.store_lock import LOCKS_FOLDER, acquire_lock, free_gpus, machine_lock, work_lock_path

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
HOLDER = """
import pathlib, sys
from medcompare.base.store_lock import acquire_lock, free_gpus, machine_lock, work_lock_path
store = pathlib.Path(sys.argv[1])
with {lock}:
    print("held", flush=True)
    sys.stdin.readline()
"""
WORK = 'open(acquire_lock(work_lock_path(store, "train-abc"), waiting="train: waiting for its result"))'
OTHER_WORK = WORK.replace("abc", "xyz")
ALONE = 'machine_lock(store, alone=True, label="measuring cost")'
SHARED = 'machine_lock(store, alone=False, label="train test_cnn")'
LONG_S = 60


@contextlib.contextmanager
def other_process(store: Path, lock: str) -> Iterator[subprocess.Popen[str]]:
    """A process that holds `lock` until a line is written to it, or it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER.format(lock=lock), str(store)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


class Waiter(threading.Thread):
    """Takes a lock in a thread and releases it again."""

    def __init__(self, store: Path, lock: str) -> None:
        super().__init__(daemon=True)
        self._store, self._lock = store, lock
        self.held = threading.Event()
        self.start()

    def run(self) -> None:
        """Wait, then hold for a moment."""
        with eval(self._lock, globals() | {"store": self._store}):  # noqa: S307 - our own constants
            self.held.set()


def held_at_once(store: Path, lock: str) -> bool:
    """Whether `lock` is free."""
    return Waiter(store, lock).held.wait(1.0)


def until_said(caplog: pytest.LogCaptureFixture, text: str) -> None:
    """Return when `text` is in the log."""
    deadline = time.monotonic() + LONG_S
    while text not in caplog.text:
        assert time.monotonic() < deadline, f"never said: {text}"
        time.sleep(0.02)


def open_locks(store: Path) -> int:
    """Descriptors this process has open on lock files of `store`."""
    found = 0
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found += str(store / LOCKS_FOLDER) in str(link.readlink())
    return found


TO_ITSELF = "measuring cost: waiting until the other run on this store leaves the machine to itself"
FREE = "train test_cnn: waiting until the other run on this store leaves the machine free (it measures cost)"


@pytest.mark.parametrize(
    ("first", "second", "waiting"),
    [
        (WORK, WORK, "train: waiting for its result"),
        (SHARED, ALONE, TO_ITSELF),
        (ALONE, SHARED, FREE),
        (ALONE, ALONE, TO_ITSELF),
    ],
)
def test_the_second_waits_until_the_first_releases(
    first: str, second: str, waiting: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It says so once, however long it waits, and goes on as soon as the other process lets go."""
    caplog.set_level(logging.INFO, "medcompare.base.store_lock")
    with other_process(tmp_path, first) as process:
        waiter = Waiter(tmp_path, second)
        until_said(caplog, waiting)
        assert not waiter.held.wait(0.7)  # several polls
        process.communicate("go on\n")
        waiter.join(LONG_S)

    assert waiter.held.is_set()
    assert [record.getMessage() for record in caplog.records] == [waiting]
    assert open_locks(tmp_path) == 0


def test_other_work_and_shared_use_do_not_wait(tmp_path: Path) -> None:
    """Trainings of two runs share the machine; different work has different locks."""
    with other_process(tmp_path, SHARED), other_process(tmp_path, WORK):
        assert held_at_once(tmp_path, SHARED)
        assert held_at_once(tmp_path, OTHER_WORK)
        assert not held_at_once(tmp_path, WORK)
        assert held_at_once(tmp_path / "elsewhere", WORK)


@pytest.mark.parametrize("lock", [WORK, ALONE])
def test_a_killed_holder_blocks_nobody(lock: str, tmp_path: Path) -> None:
    """Its lock goes with the process, without a file to clean up."""
    with other_process(tmp_path, lock) as process:
        process.send_signal(signal.SIGKILL)
        process.wait(LONG_S)
        assert held_at_once(tmp_path, lock)


def test_waiting_ends_in_time(tmp_path: Path) -> None:
    """None where the time passed; no descriptor is left open."""
    path = work_lock_path(tmp_path, "train-abc")
    with other_process(tmp_path, WORK):
        assert acquire_lock(path, timeout_s=0) is None
    assert open_locks(tmp_path) == 0


def test_ctrl_c_while_waiting_leaves_nothing_open(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Who stops waiting neither holds the lock later nor leaks its descriptor."""
    caplog.set_level(logging.INFO, "medcompare.base.store_lock")
    with other_process(tmp_path, WORK):

        def interrupt() -> None:
            until_said(caplog, "waiting for its result")
            signal.raise_signal(signal.SIGINT)

        # Tests that a shell started in the background inherit that Ctrl-C is ignored.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        pressing = threading.Thread(target=interrupt)
        pressing.start()
        try:
            with pytest.raises(KeyboardInterrupt):
                acquire_lock(work_lock_path(tmp_path, "train-abc"), waiting="waiting for its result")
        finally:
            signal.signal(signal.SIGINT, before)
        pressing.join()
        assert open_locks(tmp_path) == 0
    assert held_at_once(tmp_path, WORK)


def test_the_number_of_lock_files_is_bounded(tmp_path: Path) -> None:
    """Keys share files by the first three hexadecimal digits of their digest, so that none need be deleted."""
    names = {work_lock_path(tmp_path, f"key {number}").name for number in range(40)}
    assert all(len(name) == 3 + len(".lock") for name in names)
    with machine_lock(tmp_path, alone=False, label="x"):
        assert [path.name for path in (tmp_path / LOCKS_FOLDER).iterdir()] == ["machine.lock"]


def test_a_training_takes_gpus_that_are_free(tmp_path: Path) -> None:
    """Not those it was planned for, where a training that takes longer has these; whole blocks of neighbours."""
    pair, single = {"n": 2, "n_gpus": 5}, {"n": 1, "n_gpus": 5}
    with free_gpus(tmp_path, 0, **pair) as first, free_gpus(tmp_path, 0, **pair) as second:
        with free_gpus(tmp_path, 2, **pair) as planned, free_gpus(tmp_path, 0, **single) as last:
            assert (first, second, planned, last) == (0, 2, 2, 4)
        assert first == 0
    with other_process(tmp_path, "free_gpus(store, 0, n=1, n_gpus=5)") as process:
        with free_gpus(tmp_path, 0, **pair) as beside:
            assert beside == 2
        process.kill()
        process.wait()
    with free_gpus(tmp_path, 2, **pair) as again, free_gpus(tmp_path, 7, n=2, n_gpus=0) as on_a_processor:
        assert (again, on_a_processor) == (0, 7)
