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

from medcompare.base.store_lock import free_gpus, machine_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from medcompare.training.requests import TrainingRequest, TrialRequest

Answer = TypeVar("Answer")
Request = TypeVar("Request", "TrainingRequest", "TrialRequest")

GPU_LIMIT = "gpu"
LEASE_S = 60.0
"""A slot is renewed while its task runs; that of a process that was killed is free again after so long."""
PAUSES_S = (1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0)
"""Between questions to a server that does not answer: one that starts again needs half a minute."""
NO_ANSWER = (httpx.TransportError, ConcurrencySlotAcquisitionError)

logger = logging.getLogger("medcompare.gpu")


@contextmanager
def with_devices(request: Request, *, label: str, on_cluster: bool) -> Iterator[Request]:
    """`request` of a training with GPUs that are free, and a slot of the limit ``gpu`` for each (`on_the_machine`)."""
    n, store = request.n_devices, request.store_root
    with (
        on_the_machine(store, n_slots=n if request.n_gpus else 1, label=label, on_cluster=on_cluster),
        free_gpus(store, request.device_index, n=n, n_gpus=request.n_gpus) as first,
    ):
        yield request.model_copy(update={"device_index": first})


@contextmanager
def on_the_machine(
    store: Path, *, alone: bool = False, n_slots: int = 1, label: str, on_cluster: bool = False
) -> Iterator[None]:
    """Hold slots of the limit ``gpu``, and share the machine with other runs or have it `alone`.

    A cluster gives each task its GPU itself: `on_cluster`, no slot is taken.

    Inside the task, not by its tag: a result that is reused needs no slot, and asking the
    server for one takes a second. Without such a limit, as on a laptop, nothing is asked for. A limit
    below `n_slots` is taken whole: such a training runs alone.
    A server that starts again meanwhile is waited for; work that is done is never lost for a slot
    that could not be given back, as its lease ends by itself.
    """
    stack = ExitStack()
    limit = None if on_cluster else patient(_limit)
    if limit is not None:
        n_slots = max(1, min(n_slots, limit))
        patient(lambda: stack.enter_context(concurrency(GPU_LIMIT, occupy=n_slots, lease_duration=LEASE_S)))
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


def _limit() -> int | None:
    """Its slots, if it is there. Asked first: to take one that is not there costs seconds, and a warning each time."""
    with get_client(sync_client=True) as client:
        try:
            return client.read_global_concurrency_limit_by_name(GPU_LIMIT).limit
        except ObjectNotFound:
            return None
