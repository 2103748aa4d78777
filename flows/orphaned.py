"""A run whose worker is gone goes on: it reports to the server by itself.

The worker reads what its runs print. Where it is killed, the next line that a run prints
finds nobody at the other end; rich, through which Prefect prints, then ends the thread that
printed, a training among them, and the run crashed in the end with half of its work done.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console


def go_on_without_reader() -> None:
    """Let lines for the terminal be dropped once nobody reads them; the server's log gets them all the same."""
    for console in _consoles():
        # The hook that rich offers; by itself it raises SystemExit.
        vars(console)["on_broken_pipe"] = partial(setattr, console, "quiet", True)  # noqa: FBT003 - setattr's own order


def _consoles() -> Iterator[Console]:
    """Consoles behind the handlers of every logger."""
    known = [logging.root, *logging.root.manager.loggerDict.values()]
    for logger in known:
        if isinstance(logger, logging.Logger):
            for handler in logger.handlers:
                if hasattr(handler, "console"):
                    yield handler.console
