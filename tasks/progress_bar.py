"""Progress of one training: in the terminal, in the log, on the run's page in the orchestrator."""

from __future__ import annotations

import logging
import re
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import httpx
from prefect import runtime
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.client.orchestration import get_client

from medcompare.base.errors import TrainingError
from medcompare.models.zoo import find_model
from medcompare.training import progress
from tasks.engines import given_up

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from uuid import UUID

logger = logging.getLogger("medcompare.train")
PERCENT = 100
MIN_S = 10.0


class ProgressBar:
    """A progress artifact; trouble with it is logged once and never stops a training.

    Parameters
    ----------
    training : str
        Name of the model and which of its trainings it is, for the artifact's key.
    display_name : str
        For people.
    """

    def __init__(self, training: str, display_name: str) -> None:
        self._key, self._name = re.sub(r"[^a-z0-9]+", "-", f"training-{training}".lower()), display_name
        self._artifact: UUID | None = None
        self._broken = False
        self._next = 0.0

    def show(self, share: float, words: str, *, now: bool = False) -> None:
        """Show that `share` (0 to 1) is done, with the latest figures in `words`.

        At most once every `MIN_S` seconds, except where it must be `now`: each time is a
        request to the server.
        """
        if self._broken or (not now and time.monotonic() < self._next):
            return
        self._next = time.monotonic() + MIN_S
        percent = round(share * PERCENT, 1)
        try:
            if self._artifact is None:
                self._artifact = create_progress_artifact(  # type: ignore[assignment] # called from a thread
                    percent, key=self._key, description=words
                )
            else:
                update_progress_artifact(self._artifact, percent, description=words)
        except Exception:
            self._broken = True
            logger.warning(
                "%s: its progress cannot be shown; the training goes on", self._name, exc_info=True
            )


class RunStillThere:
    """Asks now and then whether the run of this task goes on: a cluster does not end what it has begun."""

    def __init__(self) -> None:
        self._next = time.monotonic() + MIN_S

    def check(self) -> None:
        """Raise TrainingError where the run has ended; a server that does not answer says nothing about that."""
        ended = given_up()
        if time.monotonic() > self._next:
            self._next = time.monotonic() + MIN_S
            with suppress(httpx.HTTPError), get_client(sync_client=True) as client:
                state = client.read_flow_run(runtime.flow_run.id).state
                ended |= state is not None and (state.is_final() or state.is_cancelling())
        if ended:
            msg = "its run has ended on another machine: the training ends too, and keeps its checkpoints"
            raise TrainingError(msg)


@contextmanager
def shown(model: str, variant: str, *, away: bool = False) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Show a training of `model` for the time of the block, which hands the given function its events.

    Where it is `away` from the machine of its run, it ends when the run does.
    """
    name = f"{find_model(model).display_name}{variant}"
    bar, run = ProgressBar(f"{model}{variant}", name), RunStillThere()

    def on_event(event: Mapping[str, Any]) -> None:
        if away:
            run.check()
        progress.report(name, event)
        is_epoch = event["event"] == "epoch"
        line = progress.epoch_line(name, event)
        if is_epoch:
            logger.info("%s", line)
        bar.show(progress.share_done(event), line, now=is_epoch)

    try:
        yield on_event
    finally:
        progress.finished(name)
