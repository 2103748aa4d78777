"""Who uses the store: runs share it, housekeeping wants it alone.

The lock is the kernel's (``flock``): it is freed when its process dies, however it dies,
so that a crashed run never blocks anything.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING

from medcompare.base.errors import MedcompareError
from medcompare.base.file_access import open_lock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

IN_USE_FILE = ".in-use.lock"


class StoreBusyError(MedcompareError):
    """The store is in use in a way that excludes what was asked for."""


@contextlib.contextmanager
def store_in_use(store: Path) -> Iterator[None]:
    """Hold the store while a run reads and writes it; any number of runs may.

    Waits while housekeeping deletes, which takes seconds.
    """
    with _open(store) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield


@contextlib.contextmanager
def store_alone(store: Path) -> Iterator[None]:
    """Hold the store alone, for deleting.

    Raises
    ------
    StoreBusyError
        If a run holds it.
    """
    with _open(store) as descriptor:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            msg = f"a run is using {store}: nothing is deleted meanwhile; try again when it has ended"
            raise StoreBusyError(msg) from None
        yield


@contextlib.contextmanager
def _open(store: Path) -> Iterator[int]:
    store.mkdir(parents=True, exist_ok=True)
    descriptor = open_lock(store / IN_USE_FILE)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
