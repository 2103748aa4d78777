"""Two runs on one store: the same work is done once, and cost is measured in quiet.

The locks are the kernel's (``flock``): they are freed when their process dies, however it
dies, so that a crashed run never blocks another.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Self

from medcompare.base.file_access import open_lock

if TYPE_CHECKING:
    from pathlib import Path

LOCKS_FOLDER = "locks"
QUIET = "machine"
"""Lock that whatever loads the machine shares, and a measurement of cost holds alone."""
BUCKET_DIGITS = 3
"""Lock files are shared by keys that begin alike: 4096 at most, so that none need be deleted."""
POLL_S = 0.2

logger = logging.getLogger(__name__)


class WorkLock:
    """One held lock: a context manager, or to be released from any thread."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor
        self._guard = threading.Lock()

    def __enter__(self) -> Self:
        """Held already."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let the next one in."""
        self.release()

    def release(self) -> None:
        """Let the next one in."""
        with self._guard:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None


def lock_work(store: Path, key: str, *, label: str) -> WorkLock:
    """Wait until no other run does the work called `key`, then hold it.

    Parameters
    ----------
    store : Path
        The store that both runs use.
    key : str
        Cache key of the work.
    label : str
        The work in plain words; logged where it has to be waited for.

    Returns
    -------
    WorkLock
        To be released when the result is stored: whoever waited then finds it.
    """
    bucket = hashlib.sha256(key.encode()).hexdigest()[:BUCKET_DIGITS]
    waiting = f"{label}: another run is doing this very work; waiting for its result"
    return _acquire(store, bucket, fcntl.LOCK_EX, waiting)


def lock_machine(store: Path, *, alone: bool, label: str) -> WorkLock:
    """Share the machine with other runs of the same store, or have it `alone`.

    What is measured while another run trains says little about a model; a measurement
    therefore waits for the trainings and predictions of other runs, and they for it.
    """
    waiting = f"{label}: waiting until the other run on this store leaves the machine " + (
        "to itself" if alone else "free (it measures cost)"
    )
    return _acquire(store, QUIET, fcntl.LOCK_EX if alone else fcntl.LOCK_SH, waiting)


def _acquire(store: Path, name: str, kind: int, waiting: str) -> WorkLock:
    folder = store / LOCKS_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = open_lock(folder / f"{name}.lock")
    try:
        said = False
        while True:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
                return WorkLock(descriptor)
            if not said:
                logger.info("%s", waiting)
                said = True
            # Asked again and again, not waited for in the kernel, so that Ctrl-C ends it.
            time.sleep(POLL_S)
    except BaseException:
        os.close(descriptor)
        raise
