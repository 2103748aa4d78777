"""Small real runs of both flows, and how to look at what they left on the Prefect server."""

from __future__ import annotations

import logging
import shutil
import time
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterId,
)

from flows.assess import assess
from flows.compare import compare
from medcompare.config.schema import AssessConfig, CompareConfig

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import EmailMessage
    from pathlib import Path

    from prefect.client.schemas.objects import Artifact, FlowRun, State

    from medcompare.runs.result import RunResult

MODELS = ("test_cnn", "efficientnet_b0")
ONE_MODEL = ("test_cnn",)
NEVER_CACHED = {"report", "publish", "mail"}
"""They name the run, show it or tell of it: another run must do them again."""

EVERY_STAGE = {
    "ingest",
    "split",
    *(
        f"{stage} {model}"
        for stage in ("train", "predict", "evaluate", "measure cost of")
        for model in MODELS
    ),
    "decide",
    "saliency test_cnn",  # images are too small for a map of the other
    *NEVER_CACHED,
}


@dataclass(frozen=True)
class Done:
    """A run that has ended."""

    flow_run_id: UUID
    state: State[Any]
    """As the server keeps it."""
    tasks: dict[str, str]
    """Final state of each task by name."""

    @property
    def result(self) -> RunResult:
        """What the flow handed back; raises what it raised."""
        found: RunResult = self.state.result()
        return found

    @property
    def run(self) -> FlowRun:
        """The flow run on the server."""
        with get_client(sync_client=True) as client:
            return client.read_flow_run(self.flow_run_id)

    @property
    def artifacts(self) -> dict[str, list[Artifact]]:
        """Artifacts of the run that its page shows, by key; stored results have none."""
        mine = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[self.flow_run_id]))
        with get_client(sync_client=True) as client:
            found: dict[str, list[Artifact]] = {}
            for artifact in client.read_artifacts(artifact_filter=mine):
                if artifact.key is not None:
                    found.setdefault(artifact.key, []).append(artifact)
            return found


@dataclass(frozen=True)
class First(Done):
    """The first run on a store, which other tests copy so that nothing is trained again."""

    images: Path
    root: Path
    mails: list[tuple[tuple[str, ...], EmailMessage]]
    seen: dict[Path, int]
    """Every mode that a path was seen with meanwhile: the bits of all looks together."""

    def copy(self, root: Path, *, with_images: bool = False) -> Path:
        """Copy store and runs to `root`; returns the folder of images to go on with."""
        for name in ("store", "runs"):
            shutil.copytree(self.root / name, root / name, symlinks=True)
        return shutil.copytree(self.images, root / self.images.name) if with_images else self.images


@dataclass(frozen=True)
class Assessed(Done):
    """An assessment that several tests look at."""

    root: Path
    log: str
    """Every line that was logged meanwhile."""


@contextmanager
def logged() -> Iterator[StringIO]:
    """Every line that is logged meanwhile, those of the flows too, which Prefect keeps from the root."""
    text, root = StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(text), root.level
    loggers = (root, logging.getLogger("prefect.flow_runs"))
    root.setLevel(logging.DEBUG)
    for one in loggers:
        one.addHandler(handler)
    try:
        yield text
    finally:
        root.setLevel(level)
        for one in loggers:
            one.removeHandler(handler)


def small_config(images: Path, root: Path, **changes: Any) -> CompareConfig:
    """A comparison of two networks that takes seconds; `changes` are laid on top."""
    train = {
        "image_size_px": 32,
        "epochs": 2,
        "batch_size": 16,
        "initial_weights": "none",
        "device": "cpu",
        "precision": "float32",
        **changes.pop("train", {}),
    }
    values = {
        "models": MODELS,
        "seeds": 1,
        "out": root / "runs",
        "store": root / "store",
        "data": {"source": str(images), **changes.pop("data", {})},
        # 12 cases of each class: an AUC is not estimated from fewer than ten.
        "split": {"test_fraction": 0.3},
        "train": train,
        "evaluate": {"n_resamples": 200},
        "cost": {"n_warmup": 1, "n_repeats": 10, "throughput_batch": 2},
    }
    return CompareConfig.model_validate(values | changes)


def small_assessment(first: First, root: Path, **changes: Any) -> AssessConfig:
    """An assessment of the predictions of `first`."""
    folder = first.root / "runs" / "latest"
    values = {
        "predictions": folder / "predictions_test.csv",
        "validation": folder / "predictions_validation.csv",
        "out": root / "runs",
        "store": root / "store",
        "evaluate": {"n_resamples": 200},
    }
    return AssessConfig.model_validate(values | changes)


RECORDED_WITHIN_S = 180.0
"""Three times what Prefect waits for its database: one write may fail and be repeated."""


def run(config: CompareConfig | AssessConfig | dict[str, Any]) -> Done:
    """Run the flow that `config` belongs to, to whatever end."""
    flow = assess if isinstance(config, AssessConfig) else compare
    with _finished_tasks() as finished:
        state = flow(config, return_state=True)
    flow_run_id = state.state_details.flow_run_id
    assert flow_run_id is not None
    return Done(flow_run_id, state, _final_states(flow_run_id, finished))


@contextmanager
def _finished_tasks() -> Iterator[set[UUID]]:
    """Ids of the task runs that end meanwhile, as the engine logs them in this process."""
    finished: set[UUID] = set()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage().startswith("Finished in state"):
                finished.add(UUID(str(record.task_run_id)))  # type: ignore[attr-defined] # Prefect's own

    logger, listener = logging.getLogger("prefect.task_runs"), Listener()
    logger.addHandler(listener)
    try:
        yield finished
    finally:
        logger.removeHandler(listener)


def _final_states(flow_run_id: UUID, finished: set[UUID]) -> dict[str, str]:
    """State names of the tasks of a run, once the server has recorded how those `finished` ended.

    It records them from events, some time after the run: what it knows just then may be short.
    """
    ours = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))
    deadline = time.monotonic() + RECORDED_WITHIN_S
    with get_client(sync_client=True) as client:
        while True:
            tasks = client.read_task_runs(flow_run_filter=ours)
            final = {one.id for one in tasks if one.state is not None and one.state.is_final()}
            if finished <= final:
                return {one.name: str(one.state_name) for one in tasks}
            if time.monotonic() > deadline:
                pytest.fail(f"{len(finished - final)} of {len(finished)} task runs were never recorded")
            time.sleep(0.2)


def cached(done: Done) -> set[str]:
    """Names of the tasks whose earlier result was reused."""
    return {name for name, state in done.tasks.items() if state == "Cached"}
