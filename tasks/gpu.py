"""Whoever loads the accelerator takes a slot of the limit ``gpu``, where the server has one."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, TypeVar

import httpx
from prefect.client.orchestration import get_client
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectNotFound

from medcompare.base.store_lock import machine_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

Answer = TypeVar("Answer")

GPU_LIMIT = "gpu"
LEASE_S = 60.0
"""A slot is renewed while its task runs; that of a process that was killed is free again after so long."""
PAUSES_S = (1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0)
"""Between questions to a server that does not answer: one that starts again needs half a minute."""
NO_ANSWER = (httpx.TransportError, ConcurrencySlotAcquisitionError)

logger = logging.getLogger("medcompare.gpu")


@contextmanager
def on_the_machine(
    store: Path, *, alone: bool = False, label: str, on_cluster: bool = False
) -> Iterator[None]:
    """Hold a slot of the limit ``gpu``, and share the machine with other runs or have it `alone`.

    A cluster gives each task its GPU itself: `on_cluster`, no slot is taken.

    Inside the task, not by its tag: a result that is reused needs no slot, and asking the
    server for one takes a second. Without such a limit, as on a laptop, nothing is asked for.
    A server that starts again meanwhile is waited for; work that is done is never lost for a slot
    that could not be given back, as its lease ends by itself.
    """
    stack = ExitStack()
    if not on_cluster and patient(_limit_exists):
        patient(lambda: stack.enter_context(concurrency(GPU_LIMIT, occupy=1, lease_duration=LEASE_S)))
    try:
        with machine_lock(store, alone=alone, label=label):
            yield
    finally:
        try:
            stack.close()
        except NO_ANSWER:
            logger.warning(
                "%s: the server did not answer, so the slot of '%s' is free again in %.0f s",
                *(label, GPU_LIMIT, LEASE_S),
            )


def patient(ask: Callable[[], Answer], *, pauses_s: Sequence[float] = PAUSES_S) -> Answer:
    """The answer to `ask`, asked again where the server does not answer.

    Raises
    ------
    httpx.TransportError, ConcurrencySlotAcquisitionError
        If it does not after the last of `pauses_s`, seconds.
    """
    for pause_s in pauses_s:
        try:
            return ask()
        except NO_ANSWER:
            logger.warning("the Prefect server does not answer; asking again in %.0f s", pause_s)
            time.sleep(pause_s)
    return ask()


def _limit_exists() -> bool:
    """Asked first: to take a slot of a limit that is not there costs seconds, and a warning each time."""
    with get_client(sync_client=True) as client:
        try:
            client.read_global_concurrency_limit_by_name(GPU_LIMIT)
        except ObjectNotFound:
            return False
    return True
