"""Whoever loads the accelerator takes a slot of the limit ``gpu``, where the server has one."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from prefect.client.orchestration import get_client
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectNotFound

from medcompare.base.store_lock import machine_lock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GPU_LIMIT = "gpu"
LEASE_S = 60.0
"""A slot is renewed while its task runs; that of a process that was killed is free again after so long."""


@contextmanager
def on_the_machine(store: Path, *, alone: bool = False, label: str) -> Iterator[None]:
    """Hold a slot of the limit ``gpu``, and share the machine with other runs or have it `alone`.

    Inside the task, not by its tag: a result that is reused needs no slot, and asking the
    server for one takes a second. Without such a limit, as on a laptop, nothing is asked for.
    """
    slot = concurrency(GPU_LIMIT, occupy=1, lease_duration=LEASE_S) if _limit_exists() else nullcontext()
    with slot, machine_lock(store, alone=alone, label=label):
        yield


def _limit_exists() -> bool:
    """Asked first: to take a slot of a limit that is not there costs seconds, and a warning each time."""
    with get_client(sync_client=True) as client:
        try:
            client.read_global_concurrency_limit_by_name(GPU_LIMIT)
        except ObjectNotFound:
            return False
    return True
