"""Lines for people who use the command line, answers on one stream and complaints on the other; how commands end."""

from __future__ import annotations

import sys
from enum import IntEnum


class ExitStatus(IntEnum):
    """How a command ended, for scripts and pipelines."""

    SUCCESS = 0
    FAILURE = 1
    BAD_INPUT = 2
    OTHER_VERDICT = 3
    INTERRUPTED = 130


def say(text: str) -> None:
    """Write `text` and a line end to standard output."""
    sys.stdout.write(f"{text}\n")


def complain(text: str) -> None:
    """Write `text` and a line end to standard error."""
    sys.stderr.write(f"{text}\n")
