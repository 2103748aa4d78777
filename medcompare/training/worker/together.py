"""Children that compute together: all end with the first that fails, and what it said is what is reported."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextvars import copy_context

from medcompare.base.errors import PeerError
from medcompare.training.worker.child import POLL_S, terminate

CAUSE_S = 60.0
"""A rank that lost the others waits so long for what they say: one may still be keeping a batch."""

Ask = Callable[[int, Callable[[int], None]], str]
"""Runs the child of a rank to its end; given its number, and what wants to know its process id."""


def run_together(n: int, ask: Ask) -> str:
    """Run the children of `n` ranks, the first of them in this thread, and return its answer.

    Raises
    ------
    Exception
        What the rank that failed first raised; one that only lost the others is not it, where another knows more.
    """
    pids: list[int] = []
    failed: list[Exception] = []
    first_ended = threading.Event()

    def further(number: int) -> None:
        try:
            ask(number, pids.append)
        except PeerError as error:
            failed.append(error)
        except Exception as error:  # noqa: BLE001 - raised below
            failed.append(error)
            while not first_ended.wait(POLL_S):  # it may not even have begun
                terminate(pids)

    # In the context of this thread, so that what they log is that of its task.
    threads = [
        threading.Thread(target=copy_context().run, args=(further, number), daemon=True)
        for number in range(1, n)
    ]
    for thread in threads:
        thread.start()
    answer, until = None, 0.0
    try:
        answer = ask(0, pids.append)
        until = time.monotonic() + CAUSE_S
    except PeerError as error:
        failed.append(error)
        until = time.monotonic() + CAUSE_S
    except Exception as error:  # noqa: BLE001 - raised below
        failed.append(error)
    finally:
        first_ended.set()
        while any(thread.is_alive() for thread in threads):
            if time.monotonic() >= until or any(not isinstance(error, PeerError) for error in failed):
                terminate(pids)
            time.sleep(POLL_S / 10)
    if answer is not None:
        return answer
    raise next((error for error in failed if not isinstance(error, PeerError)), failed[0])
