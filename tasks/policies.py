"""What every task shares: cache key, retry rule, tags, and trust in cached files."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from dataclasses import dataclass
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from prefect.cache_policies import INPUTS, CachePolicy
from prefect.futures import wait
from prefect.logging import get_run_logger

from medcompare.base.artifacts import ArtifactStore, artifacts_in
from medcompare.base.code_identity import code_digest
from medcompare.base.discretion import without_data
from medcompare.base.errors import ArtifactError, InputError, TrainingError
from medcompare.base.work_lock import lock_work
from medcompare.models.zoo import MODELS
from medcompare.runs.stages import in_stage

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from prefect import Task
    from prefect.client.schemas.objects import State, TaskRun
    from prefect.context import TaskRunContext

    from medcompare.base.work_lock import WorkLock

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

GPU_TAG = "gpu"
"""Tasks that load the accelerator, or the processor in its place; limited by `tasks.gpu`."""


@dataclass(kw_only=True)
class CodeOf(CachePolicy):
    """Key on the code that does the work and the libraries it imports.

    Keyword-only on purpose: the first positional field of Prefect's base class is
    ``key_storage``, and a misplaced argument would be accepted silently.
    """

    also: tuple[str, ...] = ()
    """Modules of the work that the task's imports do not reach, as it is done in another process."""
    model_argument: str | None = None
    """Task argument that names a model: that model's own file counts too, the others' do not."""
    with_equivalent: bool = False
    """Whether the file of the model's equivalent in a maintained library counts as well."""

    def compute_key(
        self,
        task_ctx: TaskRunContext,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],  # noqa: ARG002 - Prefect's signature
        **kwargs: Any,  # noqa: ARG002, ANN401 - Prefect's signature
    ) -> str:
        """Digest of the task's name and code."""
        code = code_digest(*self.modules(task_ctx.task, inputs))
        return hashlib.sha256(f"{task_ctx.task.task_key}\n{code}".encode()).hexdigest()

    def modules(self, task: Task[..., Any], inputs: dict[str, Any]) -> tuple[str, ...]:
        """Where the work begins: the task's own module, those named beside it, the model's file."""
        found = [task.fn.__module__, *self.also]
        if self.model_argument is not None:
            spec = MODELS[str(inputs[self.model_argument])]
            found.append(spec.build.__module__)
            if self.with_equivalent and spec.maintained_equivalent is not None:
                found.append(MODELS[spec.maintained_equivalent].build.__module__)
        return tuple(found)


def content_key(*, ignore: tuple[str, ...] = (), **code: Any) -> CachePolicy:  # noqa: ANN401 - as `CodeOf` takes them
    """Cache key of a stage: its inputs but for `ignore`, and the code that does the work.

    `ignore` names arguments that say where or how to work and cannot change the
    answer: folders, thread counts, time limits. `code` are the fields of `CodeOf`.
    """
    inputs: CachePolicy = INPUTS
    for name in ignore:
        inputs = inputs - name
    return inputs + CodeOf(**code)


def can_heal(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:  # noqa: ARG001 - Prefect's signature
    """Whether trying again can help: never for bad input, never for a loss that is not finite."""
    error = state.result(raise_on_failure=False)
    if isinstance(error, InputError):
        return False
    if isinstance(error, TrainingError):
        return error.transient
    return isinstance(error, OSError | ArtifactError)


def keeps_data_out(task: Task[Parameters, Result]) -> Task[Parameters, Result]:
    """`task`, whose errors repeat no data: Prefect writes them to its log and database in full."""
    work = task.fn

    @wraps(work)
    def guarded(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        try:
            return work(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is raised below
            failure = without_data(error)
        raise failure  # here, where the first error is not its context

    task.fn = guarded
    return task


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


def run_trusted(
    task: Task[..., Result],
    store: Path,
    /,
    *,
    fresh: bool = False,
    **inputs: Any,  # noqa: ANN401 - a task's inputs
) -> Result:
    """Result of `task`, computed anew if `fresh`, or where a cached one refers to a lost or altered file."""
    return run_side_by_side(task.with_options(refresh_cache=True) if fresh else task, store, [inputs])[0]


def run_side_by_side(
    task: Task[..., Result], store: Path, jobs: Sequence[dict[str, Any]], *, at_once: int = 1
) -> list[Result]:
    """Results of `task` for each of `jobs`, in order; up to `at_once` run at the same time.

    A result that comes back from the cache is trusted only if every file it refers to is
    there and unaltered; otherwise that job runs again and the log says so. Where another
    run on the same store is doing the same work, its result is waited for and reused.
    """
    logger = get_run_logger()
    stored = task.with_options(result_storage=results_folder(store))
    with in_stage(task.name):  # for what comes from outside while all are waited for
        states = _run(stored, dict(enumerate(jobs)), store, at_once)
    results = {}
    broken = {}
    for index, state in states.items():
        label = _label(task, jobs[index])
        results[index] = _result(state, label)
        problem = is_intact(results[index], store)
        if problem is not None:
            logger.warning("%s: the cached result cannot be used (%s); computing it anew", label, problem)
            broken[index] = jobs[index]
        elif state.name == "Cached":
            logger.info("%s: nothing it depends on has changed, earlier result reused", label)
            _mark_as_used(state, store)
    for index, state in _run(stored.with_options(refresh_cache=True), broken, store, at_once).items():
        results[index] = _result(state, _label(task, jobs[index]))
    return [results[index] for index in range(len(jobs))]


def _run(
    task: Task[..., Result], jobs: dict[int, dict[str, Any]], store: Path, at_once: int
) -> dict[int, State[Result]]:
    if len(jobs) <= 1:  # no thread needed
        states = {}
        for index, job in jobs.items():
            with in_stage(_label(task, job)), _lock(task, job, store):
                states[index] = task(**job, return_state=True)
        return states
    slots = threading.BoundedSemaphore(at_once)
    futures = {}
    for index, job in jobs.items():
        slots.acquire()
        lock = _lock(task, job, store)
        futures[index] = task.submit(**job)
        futures[index].add_done_callback(partial(_let_next_in, lock, slots))
    wait(list(futures.values()))
    return {index: future.state for index, future in futures.items()}


def _lock(task: Task[..., Any], job: dict[str, Any], store: Path) -> WorkLock:
    """Lock under which `job` is done once among all runs on `store`; release it when the result is stored."""
    key = task.cache_policy.compute_key(_TaskOnly(task), job, {})  # type: ignore[arg-type]
    return lock_work(store, f"{task.task_key} {key}", label=_label(task, job))


def _let_next_in(lock: WorkLock, slots: threading.Semaphore, _: object) -> None:
    lock.release()
    slots.release()


@dataclass(frozen=True)
class _TaskOnly:
    """As much of Prefect's context as a cache policy of ours looks at."""

    task: Task[..., Any]


def _result(state: State[Result], label: str) -> Result:
    with in_stage(label):
        return state.result()


def _mark_as_used(state: State[Any], store: Path) -> None:
    """Let housekeeping see that a stored result is still in use: it goes by the time of last use."""
    key = getattr(getattr(state.data, "metadata", None), "storage_key", None)
    if key is not None:
        with contextlib.suppress(FileNotFoundError):
            os.utime(results_folder(store) / key)


def _label(task: Task[..., Any], job: dict[str, Any]) -> str:
    return f"{task.name} {job['model']}" if "model" in job else task.name
