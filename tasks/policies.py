"""What every task shares: cache key, retry rule, tags, and trust in cached files."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from prefect.cache_policies import INPUTS, CachePolicy
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


def run_trusted(task: Task[..., Result], store: Path, **inputs: Any) -> Result:  # noqa: ANN401 - a task's inputs
    """Result of `task`, computed anew where a cached one refers to a lost or altered file."""
    return run_side_by_side(task, store, [inputs])[0]


def run_side_by_side(
    task: Task[..., Result], store: Path, jobs: Sequence[dict[str, Any]], *, names: Sequence[str] | None = None
) -> list[Result]:
    """Results of `task` for each of `jobs`, in order; several jobs run at the same time.

    A result that comes back from the cache is trusted only if every file it refers to is
    there and unaltered; otherwise that job runs again and the log says so.
    """
    logger = get_run_logger()
    stored = task.with_options(result_storage=results_folder(store))

    def run(chosen: Task[..., Result], pending: list[int]) -> dict[int, Result]:
        if len(pending) == 1:  # no thread needed: the log reads in order
            return {index: chosen(**jobs[index]) for index in pending}
        futures = {index: chosen.submit(**jobs[index]) for index in pending}
        return {index: future.result() for index, future in futures.items()}

    results = run(stored, list(range(len(jobs))))
    broken = []
    for index, record in results.items():
        problem = is_intact(record, store)
        if problem is not None:
            label = names[index] if names else task.name
            logger.warning("%s: the cached result cannot be used (%s); computing it anew", label, problem)
            broken.append(index)
    if broken:
        results.update(run(stored.with_options(refresh_cache=True), broken))
    return [results[index] for index in range(len(jobs))]
