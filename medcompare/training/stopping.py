"""A training that is told to end by SIGTERM is saved after the step that is under way, and ends.

So tell the service manager, `docker stop`, Kubernetes and SLURM, before they kill; and so does the run itself
(`medcompare.training.worker.child`) after Ctrl-C, a cancellation, or a SIGTERM of its own.
"""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from medcompare.base.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Iterator

_received: list[int] = []


class StoppedError(TrainingError):
    """The training was told to end; tried again, it goes on where it was."""

    def __init__(self) -> None:
        super().__init__(
            "stopped from outside (SIGTERM) and saved: the same command goes on from there", transient=True
        )


@contextmanager
def stoppable() -> Iterator[None]:
    """Within the block SIGTERM is only noted, for `stop_asked`; elsewhere it ends the process.

    In threads other than the main one, which signals do not reach, the block is an ordinary one.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda number, _: _received.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)
        _received.clear()


def stop_asked() -> bool:
    """Whether this process was told to end within `stoppable`."""
    return bool(_received)


def end_if_asked() -> None:
    """Raise StoppedError where this process was told to end."""
    if stop_asked():
        raise StoppedError
