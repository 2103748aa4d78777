"""How a run looks in a terminal: short lines, no tracebacks for bad input.

Only the command line uses this; a worker keeps Prefect's own log format.
"""

from __future__ import annotations

import logging
import os
import re
from typing import TYPE_CHECKING

from medcompare.base.errors import MedcompareError
from medcompare.runs.prefect_server import TEMPORARY_SERVER

if TYPE_CHECKING:
    from rich.console import Console

NOISE = re.compile(
    r"Finished in state (Completed|Cached)|Beginning flow run|Starting temporary server|Stopping temporary server"
    r"|docs\.prefect\.io|Created task run|Submitted task run|Executing '"
)

NOWHERE = re.compile(r"View at http")
"""Prefect's link to its pages, which a temporary server does not have."""

OWN_WORDS = re.compile(
    r"Finished in state (Failed|Crashed|AwaitingRetry)\(|Crash detected!|Still processing items: \d"
)


def prepare_environment() -> None:
    """Shorten Prefect's terminal format; must be called before Prefect is imported."""
    for name, value in {
        "PREFECT_LOGGING_FORMATTERS_STANDARD_FORMAT": "%(asctime)s  %(message)s",
        "PREFECT_LOGGING_FORMATTERS_STANDARD_FLOW_RUN_FMT": "%(asctime)s  %(message)s",
        "PREFECT_LOGGING_FORMATTERS_STANDARD_TASK_RUN_FMT": "%(asctime)s  %(message)s",
        "PREFECT_LOGGING_FORMATTERS_STANDARD_DATEFMT": "%H:%M:%S",
    }.items():
        os.environ.setdefault(name, value)


class _Readable(logging.Filter):
    """Drops the orchestrator's own chatter, and tracebacks of errors that say it all."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if record.levelno <= logging.INFO and NOISE.search(message):
            return False
        if TEMPORARY_SERVER in os.environ and NOWHERE.search(message):
            return False
        # What ends the run is printed once, in plain words, as the last line.
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, MedcompareError | KeyboardInterrupt):
            return False
        return not OWN_WORDS.search(message)


def install_filter() -> Console | None:
    """Filter Prefect's terminal handlers; returns their console (None where there is none).

    Imports Prefect, which takes a second or two.
    """
    from prefect.logging.configuration import setup_logging

    setup_logging()
    for handler in logging.getLogger().handlers:
        console: Console | None = getattr(handler, "console", None)
        if console is not None:
            handler.addFilter(_Readable())
            return console
    return None
