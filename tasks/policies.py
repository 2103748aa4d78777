"""What every task shares: cache key, retry rule, tags, and trust in cached files."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from prefect.cache_policies import INPUTS, CachePolicy
from prefect.futures import wait
from prefect.logging import get_run_logger

from medcompare.artifacts import ArtifactStore, artifacts_in
from medcompare.code_identity import code_digest
from medcompare.errors import ArtifactError, InputError, TrainingError
from medcompare.models.zoo import MODELS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from prefect import Task
    from prefect.client.schemas.objects import State, TaskRun
    from prefect.context import TaskRunContext

Result = TypeVar("Result")

TORCH = ("torch", "torchvision", "efficientnet-pytorch", "pillow")
STATISTICS = ("numpy", "scipy", "scikit-learn", "statsmodels")
GPU_TAG = "gpu"


@dataclass(kw_only=True)
class CodeOf(CachePolicy):
    """Key on the code that does the work and the libraries that matter.

    Keyword-only on purpose: the first positional field of Prefect's base class is
    ``key_storage``, and a misplaced argument would be accepted silently.
    """

    module: str
    libraries: tuple[str, ...] = field(default=())
    model_argument: str | None = None
    """Task argument that names a model: that model's own file counts too, the others' do not."""

    def compute_key(
        self,
        task_ctx: TaskRunContext,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],  # noqa: ARG002 - Prefect's signature
        **kwargs: Any,  # noqa: ARG002, ANN401 - Prefect's signature
    ) -> str:
        """Digest of the task's name and code."""
        also: tuple[str, ...] = ()
        if self.model_argument is not None:
            also = (MODELS[str(inputs[self.model_argument])].build.__module__,)
        code = code_digest(self.module, also=also, libraries=self.libraries)
        return hashlib.sha256(f"{task_ctx.task.task_key}\n{code}".encode()).hexdigest()


def content_key(
    module: str,
    *,
    ignore: tuple[str, ...] = (),
    libraries: tuple[str, ...] = (),
    model_argument: str | None = None,
) -> CachePolicy:
    """Cache key of a stage: its inputs but for `ignore`, and the code of `module`.

    `ignore` names arguments that say where or how to work and cannot change the
    answer: folders, thread counts, time limits.
    """
    inputs: CachePolicy = INPUTS
    for name in ignore:
        inputs = inputs - name
    return inputs + CodeOf(module=module, libraries=libraries, model_argument=model_argument)


def can_heal(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:  # noqa: ARG001 - Prefect's signature
    """Whether trying again can help: never for bad input, never for a loss that is not finite."""
    error = state.result(raise_on_failure=False)
    if isinstance(error, InputError):
        return False
    if isinstance(error, TrainingError):
        return error.transient
    return isinstance(error, OSError | ArtifactError)


RETRIES: dict[str, Any] = {"retries": 2, "retry_delay_seconds": [2, 10], "retry_condition_fn": can_heal}
STORED: dict[str, Any] = {"persist_result": True, "result_serializer": "json", "log_prints": False}


def results_folder(store: Path) -> Path:
    """Folder of Prefect's stored results, beside the files they refer to."""
    return (store / "results").resolve()


def is_intact(record: object, store: Path) -> str | None:
    """None where every file `record` refers to is there and unaltered, else what is wrong."""
    artifacts = ArtifactStore(store)
    for artifact in artifacts_in(record):
        try:
            artifacts.path_of(artifact)
        except ArtifactError as error:
            return str(error)
    return None


def run_trusted(task: Task[..., Result], store: Path, /, **inputs: Any) -> Result:  # noqa: ANN401 - a task's inputs
    """Result of `task`, computed anew where a cached one refers to a lost or altered file."""
    return run_side_by_side(task, store, [inputs])[0]


def run_side_by_side(
    task: Task[..., Result], store: Path, jobs: Sequence[dict[str, Any]], *, at_once: int = 1
) -> list[Result]:
    """Results of `task` for each of `jobs`, in order; up to `at_once` run at the same time.

    A result that comes back from the cache is trusted only if every file it refers to is
    there and unaltered; otherwise that job runs again and the log says so.
    """
    logger = get_run_logger()
    stored = task.with_options(result_storage=results_folder(store))
    states = _run(stored, dict(enumerate(jobs)), at_once)
    results = {}
    broken = {}
    for index, state in states.items():
        results[index] = state.result()
        problem = is_intact(results[index], store)
        label = _label(task, jobs[index])
        if problem is not None:
            logger.warning("%s: the cached result cannot be used (%s); computing it anew", label, problem)
            broken[index] = jobs[index]
        elif state.name == "Cached":
            logger.info("%s: nothing it depends on has changed, earlier result reused", label)
    for index, state in _run(stored.with_options(refresh_cache=True), broken, at_once).items():
        results[index] = state.result()
    return [results[index] for index in range(len(jobs))]


def _run(task: Task[..., Result], jobs: dict[int, dict[str, Any]], at_once: int) -> dict[int, State[Result]]:
    if len(jobs) <= 1:  # no thread needed
        return {index: task(**job, return_state=True) for index, job in jobs.items()}
    slots = threading.BoundedSemaphore(at_once)
    futures = {}
    for index, job in jobs.items():
        slots.acquire()
        futures[index] = task.submit(**job)
        futures[index].add_done_callback(lambda _: slots.release())
    wait(list(futures.values()))
    return {index: future.state for index, future in futures.items()}


def _label(task: Task[..., Any], job: dict[str, Any]) -> str:
    return f"{task.name} {job['model']}" if "model" in job else task.name
