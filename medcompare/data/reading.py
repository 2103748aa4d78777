"""Reading files of others: only regular ones, never without a limit, never waiting for ever.

A pipe blocks whoever opens it, a device never ends, and a network drive that is gone lets every
read wait. Files are therefore looked at before they are opened, and read in threads that are
left behind where a limit passes: a thread that waits for a disk cannot be ended.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
import time
from contextvars import copy_context
from typing import TYPE_CHECKING, BinaryIO, Generic, TypeVar

from medcompare.base.artifacts import CHUNK_BYTES
from medcompare.base.errors import DataError
from medcompare.base.file_names import escape_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

Item = TypeVar("Item")
Result = TypeVar("Result")

BYTES_PER_MB = 1_000_000
TICK_S = 1.0
AHEAD_PER_THREAD = 8
"""Results that may wait to be taken, so that a million files are not held at once."""

KINDS = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISDIR, "a folder"),
)


class NotRegularError(OSError):
    """What was to be read is no regular file; the message says what it is."""


def open_regular(path: Path) -> BinaryIO:
    """The regular file at `path`, or the one a link leads to, opened for reading.

    Raises
    ------
    NotRegularError
        If it is anything else. Nothing is opened then.
    OSError
        If it cannot be opened.
    """
    _insist_on_regular(path.stat().st_mode)
    # It may have been exchanged since: then O_NONBLOCK keeps a pipe from blocking.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        _insist_on_regular(os.fstat(descriptor).st_mode)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _insist_on_regular(mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise NotRegularError(next((name for test, name in KINDS if test(mode)), "of no known kind"))


def read_regular(path: Path) -> bytes:
    """Content of the regular file at `path`, read in this thread; raises like `open_regular`.

    For files that ingest has already read within its time limits. It starts no thread: images
    are read in processes that were forked from one with threads.
    """
    with open_regular(path) as file:
        return file.read()


def read_each(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    names: Sequence[str],
    *,
    n_threads: int,
    file_timeout_s: float,
    timeout_minutes: float | None = None,
    stage: str = "reading",
) -> Iterator[Result]:
    """`function` of each of `items`, in order, in threads; what it raises is raised here.

    Parameters
    ----------
    function : callable
        Reads one item.
    items : sequence
        What to read.
    names : sequence of str
        Name of the items in messages.
    n_threads : int
        So many items are read at once.
    file_timeout_s : float
        Longest time for one item, seconds. Time counts only while this process runs.
    timeout_minutes : float, optional
        Longest time for all of them; None: no limit.
    stage : str
        What is being done, for the message.

    Raises
    ------
    DataError
        If a limit passes; names the file or the stage, and the setting.
    """
    crew = _Crew(function, items, limit=n_threads * AHEAD_PER_THREAD)
    for _ in range(min(n_threads, len(items))):
        threading.Thread(target=copy_context().run, args=(crew.work,), daemon=True).start()
    try:
        for index in range(len(items)):
            while not crew.has(index):
                crew.wait(TICK_S)
                _check_file(crew.longest(), names, file_timeout_s)
                _check_stage(crew.clock_s, stage, index, len(items), timeout_minutes)
            yield crew.take(index)
    finally:
        crew.dismiss()


def _check_file(longest: tuple[int, float] | None, names: Sequence[str], limit_s: float) -> None:
    if longest is None or longest[1] <= limit_s:
        return
    msg = (
        f"{escape_name(names[longest[0]])} was not read within {limit_s:g} s (data.file_timeout_s). Does its drive "
        "still answer? If it is only slow, allow more time, "
        f"e.g. --set data.file_timeout_s={10 * limit_s:g}"
    )
    raise DataError(msg)


def _check_stage(passed_s: float, stage: str, n_done: int, n_items: int, limit_minutes: float | None) -> None:
    if limit_minutes is None or passed_s <= 60 * limit_minutes:
        return
    so_far = f", {n_done} of {n_items} files done" if n_items > 1 else ""
    msg = (
        f"{stage} took more than {limit_minutes:g} minutes (data.timeout_minutes){so_far}. Does the drive still "
        "answer? If it is only slow, allow more time, "
        f"e.g. --set data.timeout_minutes={10 * limit_minutes:g}"
    )
    raise DataError(msg)


class _Crew(Generic[Item, Result]):
    """Threads that work through `items`; whoever waits for them may go without them."""

    def __init__(self, function: Callable[[Item], Result], items: Sequence[Item], *, limit: int) -> None:
        self.clock_s = 0.0
        """Time watched so far. A process that is stopped, or a machine asleep, keeps no file waiting."""
        self._function, self._items, self._limit = function, items, limit
        self._lock = threading.RLock()
        # Apart, so that a result wakes one thread and not all of them.
        self._arrived, self._has_room = threading.Condition(self._lock), threading.Condition(self._lock)
        self._next = self._taken = 0
        self._started: dict[int, float] = {}
        self._results: dict[int, tuple[Result | None, BaseException | None]] = {}
        self._dismissed = False

    def work(self) -> None:
        """Read item after item: the life of a thread."""
        while (index := self._begin()) is not None:
            result, failure = None, None
            try:
                result = self._function(self._items[index])
            except BaseException as error:  # noqa: BLE001 - raised where the result is taken
                failure = error
            with self._lock:
                del self._started[index]
                self._results[index] = result, failure
                self._arrived.notify()

    def _begin(self) -> int | None:
        with self._lock:
            while not self._dismissed and self._next < len(self._items) and self._is_far_ahead():
                self._has_room.wait()
            if self._dismissed or self._next >= len(self._items):
                return None
            index, self._next = self._next, self._next + 1
            self._started[index] = self.clock_s
            return index

    def _is_far_ahead(self) -> bool:
        return self._next - self._taken >= self._limit

    def has(self, index: int) -> bool:
        """Whether the result of item `index` is there."""
        with self._lock:
            return index in self._results

    def wait(self, tick_s: float) -> None:
        """Wait for any result, at most `tick_s` seconds."""
        with self._lock:
            began = time.monotonic()
            self._arrived.wait(tick_s)
            self.clock_s += min(time.monotonic() - began, 2 * tick_s)

    def longest(self) -> tuple[int, float] | None:
        """(index, seconds) of the item that has been read for longest; None where none is."""
        with self._lock:
            if not self._started:
                return None
            index = min(self._started, key=lambda i: (self._started[i], i))
            return index, self.clock_s - self._started[index]

    def take(self, index: int) -> Result:
        """Hand over a result, or raise what came in its place."""
        with self._lock:
            result, failure = self._results.pop(index)
            self._taken = index + 1
            self._has_room.notify()
        if failure is not None:
            raise failure
        return result  # type: ignore[return-value] # there, as nothing was raised

    def dismiss(self) -> None:
        """Let the threads end with what they are reading."""
        with self._lock:
            self._dismissed = True
            self._has_room.notify_all()


def sha256_of_regular(path: Path) -> str:
    """SHA-256 of the regular file at `path`; raises like `open_regular`."""
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
