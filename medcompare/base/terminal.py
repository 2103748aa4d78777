"""Lines for people who use the command line: answers on one stream, complaints on the other."""

from __future__ import annotations

import sys


def say(text: str) -> None:
    """Write `text` and a line end to standard output."""
    sys.stdout.write(f"{text}\n")


def complain(text: str) -> None:
    """Write `text` and a line end to standard error."""
    sys.stderr.write(f"{text}\n")
