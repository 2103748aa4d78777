"""Locks between runs: real processes hold them, wait for them and die with them."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from medcompare.base.work_lock import LOCKS_FOLDER, lock_machine, lock_work

if TYPE_CHECKING:
    from collections.abc import Iterator

    from medcompare.base.work_lock import WorkLock

ROOT = Path(__file__).resolve().parents[2]
HOLDER = """
import pathlib, sys
from medcompare.base.work_lock import lock_machine, lock_work
store = pathlib.Path(sys.argv[1])
with {lock}:
    print("held", flush=True)
    sys.stdin.readline()
print("released", flush=True)
"""
WORK = 'lock_work(store, "train-abc", label="train test_cnn")'
ALONE = 'lock_machine(store, alone=True, label="measuring cost")'
SHARED = 'lock_machine(store, alone=False, label="train test_cnn")'
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
    """Takes a lock in a thread, so that the test can see it wait."""

    def __init__(self, store: Path, lock: str) -> None:
        super().__init__(daemon=True)
        self._store, self._lock = store, lock
        self.held: WorkLock | None = None

    def run(self) -> None:
        """Wait, then hold."""
        names = {"lock_work": lock_work, "lock_machine": lock_machine, "store": self._store}
        self.held = eval(self._lock, names)  # noqa: S307 - our own three constants


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


def held_at_once(store: Path, lock: str) -> bool:
    """Whether `lock` is to be had now; it is released again."""
    waiter = Waiter(store, lock)
    waiter.start()
    waiter.join(1.0)
    if waiter.held is None:
        return False
    waiter.held.release()
    return True


@pytest.mark.parametrize(
    ("first", "second", "waiting"),
    [
        (WORK, WORK, "train test_cnn: another run is doing this very work; waiting for its result"),
        (
            SHARED,
            ALONE,
            "measuring cost: waiting until the other run on this store leaves the machine to itself",
        ),
        (
            ALONE,
            SHARED,
            "train test_cnn: waiting until the other run on this store leaves the machine free (it measures cost)",
        ),
        (
            ALONE,
            ALONE,
            "measuring cost: waiting until the other run on this store leaves the machine to itself",
        ),
    ],
)
def test_the_second_waits_until_the_first_releases(
    first: str, second: str, waiting: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It says so once, however long it waits, and goes on as soon as the other process lets go."""
    caplog.set_level(logging.INFO, "medcompare.base.work_lock")
    with other_process(tmp_path, first) as process:
        waiter = Waiter(tmp_path, second)
        waiter.start()
        until_said(caplog, waiting)
        time.sleep(0.7)  # several polls
        assert waiter.held is None
        process.communicate("go on\n")
        waiter.join(LONG_S)

    assert waiter.held is not None
    waiter.held.release()
    assert [record.getMessage() for record in caplog.records] == [waiting]
    assert open_locks(tmp_path) == 0


def test_other_work_and_shared_use_do_not_wait(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Trainings of two runs share the machine; different work has different locks."""
    caplog.set_level(logging.INFO, "medcompare.base.work_lock")
    with other_process(tmp_path, SHARED), other_process(tmp_path, WORK):
        assert held_at_once(tmp_path, SHARED)
        assert held_at_once(tmp_path, 'lock_work(store, "train-xyz", label="train")')
        assert not held_at_once(tmp_path, WORK)
        assert held_at_once(tmp_path / "elsewhere", WORK)
    assert caplog.text.count("waiting") == 1


@pytest.mark.parametrize("lock", [WORK, ALONE])
def test_a_killed_holder_blocks_nobody(lock: str, tmp_path: Path) -> None:
    """Its lock goes with the process, without a word and without a file to clean up."""
    with other_process(tmp_path, lock) as process:
        process.send_signal(signal.SIGKILL)
        process.wait(LONG_S)
        assert held_at_once(tmp_path, lock)


def test_release_twice_and_from_another_thread(tmp_path: Path) -> None:
    """A second release does nothing: it must not close a descriptor that is somebody else's by then."""
    lock = lock_work(tmp_path, "one", label="one")
    releasing = threading.Thread(target=lock.release)
    releasing.start()
    releasing.join()
    with (tmp_path / "other").open("w") as other:  # takes the number of the closed descriptor
        lock.release()
        assert os.fstat(other.fileno()).st_size == 0
    assert held_at_once(tmp_path, 'lock_work(store, "one", label="one")')


def test_ctrl_c_while_waiting_leaves_nothing_open(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Who stops waiting neither holds the lock later nor leaks its descriptor."""
    caplog.set_level(logging.INFO, "medcompare.base.work_lock")
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
                lock_work(tmp_path, "train-abc", label="train test_cnn")
        finally:
            signal.signal(signal.SIGINT, before)
        pressing.join()
        assert open_locks(tmp_path) == 0
    assert held_at_once(tmp_path, WORK)


def test_the_number_of_lock_files_is_bounded(tmp_path: Path) -> None:
    """Keys share files by the first three hexadecimal digits of their digest, so that none need be deleted."""
    for number in range(40):
        lock_work(tmp_path, f"key {number}", label="x").release()
    lock_machine(tmp_path, alone=False, label="x").release()

    names = {path.name for path in (tmp_path / LOCKS_FOLDER).iterdir()}
    assert "machine.lock" in names
    assert all(len(name) == 3 + len(".lock") for name in names - {"machine.lock"})
