"""Locks of the store: the same work is done once, cost is measured in quiet, and housekeeping waits for runs.

The locks are the kernel's (``flock``): they are freed when their process dies, however it
dies, so that a crashed run never blocks another.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import math
import os
import time
from typing import TYPE_CHECKING

from medcompare.base.errors import MedcompareError
from medcompare.base.file_access import open_lock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

IN_USE_FILE = ".in-use.lock"
LOCKS_FOLDER = "locks"
MACHINE_FILE = "machine.lock"
"""Lock that whatever loads the machine shares, and a measurement of cost holds alone."""
BUCKET_DIGITS = 3
"""Lock files are shared by keys that begin alike: 4096 at most, so that none need be deleted."""
POLL_S = 0.2

logger = logging.getLogger(__name__)


class StoreBusyError(MedcompareError):
    """The store is in use in a way that excludes what was asked for."""


def work_lock_path(store: Path, key: str) -> Path:
    """Lock file of the work whose result has the cache key `key`."""
    return store / LOCKS_FOLDER / f"{hashlib.sha256(key.encode()).hexdigest()[:BUCKET_DIGITS]}.lock"


def acquire_lock(
    path: Path, *, shared: bool = False, timeout_s: float = math.inf, waiting: str = ""
) -> int | None:
    """Hold the lock at `path`, alone or `shared`; close the descriptor that is returned to release it.

    Parameters
    ----------
    path : Path
        Lock file; made where it is missing.
    shared : bool
        Whether others may share the lock.
    timeout_s : float
        How long to wait, seconds.
    waiting : str
        What to log, once, where the lock has to be waited for.

    Returns
    -------
    int or None
        Descriptor; None where `timeout_s` passed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = open_lock(path)
    deadline = time.monotonic() + timeout_s
    try:
        while True:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
                return descriptor
            if time.monotonic() >= deadline:
                os.close(descriptor)
                return None
            if waiting:
                logger.info("%s", waiting)
                waiting = ""
            # Asked again and again, not waited for in the kernel, so that Ctrl-C ends it.
            time.sleep(POLL_S)
    except BaseException:
        os.close(descriptor)
        raise


@contextlib.contextmanager
def machine_lock(store: Path, *, alone: bool, label: str) -> Iterator[None]:
    """Share the machine with other runs of the same store, or have it `alone`.

    What is measured while another run trains says little about a model; a measurement
    therefore waits for the trainings and predictions of other runs, and they for it.
    """
    waiting = f"{label}: waiting until the other run on this store leaves the machine " + (
        "to itself" if alone else "free (it measures cost)"
    )
    with _held(acquire_lock(store / LOCKS_FOLDER / MACHINE_FILE, shared=not alone, waiting=waiting)):
        yield


@contextlib.contextmanager
def free_gpus(store: Path, planned: int, *, n: int, n_gpus: int) -> Iterator[int]:
    """Take `n` neighbouring GPUs that no other training of the store uses, and give the number of the first.

    Trainings take different times: which GPUs are free is known only when one begins. Where all are in use, as more
    trainings were asked for than there are GPUs for, those that were `planned` are shared.

    Parameters
    ----------
    store : Path
        The store.
    planned : int
        The first of the GPUs to share where none are free.
    n, n_gpus : int
        GPUs of this training, and of the machine; 0: there is nothing to choose from, as on a processor.
    """
    with contextlib.ExitStack() as held:
        choosing = acquire_lock(store / LOCKS_FOLDER / "gpus.lock") if n_gpus else None
        with _held(choosing):
            for first in range(0, n_gpus - n + 1, n):
                with contextlib.ExitStack() as block:
                    locks = [
                        block.enter_context(
                            _held(acquire_lock(store / LOCKS_FOLDER / f"gpu-{number}.lock", timeout_s=0))
                        )
                        for number in range(first, first + n)
                    ]
                    if None not in locks:
                        held.enter_context(block.pop_all())
                        planned = first
                        break
        yield planned


@contextlib.contextmanager
def store_in_use(store: Path) -> Iterator[None]:
    """Hold the store while a run reads and writes it; any number of runs may.

    Waits while housekeeping deletes, which takes seconds.
    """
    with _held(acquire_lock(store / IN_USE_FILE, shared=True)):
        yield


@contextlib.contextmanager
def store_alone(store: Path) -> Iterator[None]:
    """Hold the store alone, for deleting.

    Raises
    ------
    StoreBusyError
        If a run holds it.
    """
    with _held(acquire_lock(store / IN_USE_FILE, timeout_s=0)) as descriptor:
        if descriptor is None:
            msg = f"a run is using {store}: nothing is deleted meanwhile; try again when it has ended"
            raise StoreBusyError(msg)
        yield


@contextlib.contextmanager
def _held(descriptor: int | None) -> Iterator[int | None]:
    try:
        yield descriptor
    finally:
        if descriptor is not None:
            os.close(descriptor)
