"""Where an error was raised and what to do about it, for the history, the mail and the log."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING

from medcompare.base.errors import STAGE_ATTRIBUTE, DiskFullError, InputError, TrainingError
from medcompare.base.language import message

if TYPE_CHECKING:
    from collections.abc import Iterator

BETWEEN_STAGES = message("between the stages")
INTERRUPTED = message(
    "Start it again: what was finished is reused, and trainings go on from where they were saved."
)


@contextmanager
def in_stage(name: str) -> Iterator[None]:
    """Mark an error that leaves the block as raised in the stage `name`; the innermost stage wins."""
    try:
        yield
    except BaseException as error:
        if not hasattr(error, STAGE_ATTRIBUTE):
            setattr(error, STAGE_ATTRIBUTE, name)
        raise


def stage_of(error: BaseException) -> str:
    """Stage that `error` was raised in, in words."""
    return str(getattr(error, STAGE_ATTRIBUTE, BETWEEN_STAGES))


def remedy_of(error: BaseException) -> str:
    """What to do about `error`, in a sentence that names no file."""
    if isinstance(error, InputError):
        return message(
            "Change the input or the setting that the log of the run names: the same input fails again."
        )
    is_full = isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}
    if is_full or isinstance(error, DiskFullError):
        return message(
            "Free some disk: medcompare prune shows what can be deleted. Then start the run again."
        )
    if isinstance(error, TrainingError) and not error.transient:
        return message(
            "Change the settings of the training that the log of the run names: the same training fails again."
        )
    if not isinstance(error, Exception):
        return INTERRUPTED
    return message("Read the log of the run, then start it again: what was finished is reused.")
