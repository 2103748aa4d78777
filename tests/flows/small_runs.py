"""Small real runs of both flows, and how to look at what they left on the Prefect server."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterId,
)

from flows.assess import assess
from flows.compare import compare
from medcompare.config import AssessConfig, CompareConfig

if TYPE_CHECKING:
    from email.message import EmailMessage
    from pathlib import Path
    from uuid import UUID

    from prefect.client.schemas.objects import Artifact, FlowRun, State

    from medcompare.run_result import RunResult

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

    def copy(self, root: Path, *, with_images: bool = False) -> Path:
        """Copy store and runs to `root`; returns the folder of images to go on with."""
        for name in ("store", "runs"):
            shutil.copytree(self.root / name, root / name, symlinks=True)
        return shutil.copytree(self.images, root / self.images.name) if with_images else self.images


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
        "out": root / "runs",
        "store": root / "store",
        "data": {"source": str(images), **changes.pop("data", {})},
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


def run(config: CompareConfig | AssessConfig | dict[str, Any]) -> Done:
    """Run the flow that `config` belongs to, to whatever end."""
    flow = assess if isinstance(config, AssessConfig) else compare
    state = flow(config, return_state=True)
    flow_run_id = state.state_details.flow_run_id
    assert flow_run_id is not None
    with get_client(sync_client=True) as client:
        tasks = client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id])))
    return Done(flow_run_id, state, {one.name: str(one.state_name) for one in tasks})


def cached(done: Done) -> set[str]:
    """Names of the tasks whose earlier result was reused."""
    return {name for name, state in done.tasks.items() if state == "Cached"}
