"""What every task shares: cache key, lock, retry rule, and a check of the files behind a cached result."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import math
import os
from dataclasses import dataclass
from errno import ECONNREFUSED
from functools import wraps
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

import httpx
from prefect import runtime
from prefect.cache_policies import INPUTS, CachePolicy
from prefect.filesystems import RemoteFileSystem
from prefect.futures import wait
from prefect.locking.protocol import LockManager
from prefect.logging import get_run_logger
from prefect.utilities.annotations import quote

from medcompare.base.artifacts import ArtifactStore, artifacts_in, sha256_of_bytes
from medcompare.base.code_identity import code_digest
from medcompare.base.errors import (
    ArtifactError,
    InputError,
    SharedStoreError,
    TrainingError,
    cannot_write,
    redact,
)
from medcompare.base.language import texts_digest
from medcompare.base.shared_store import local_copy, shared_store_of
from medcompare.base.store_lock import acquire_lock, work_lock_path
from medcompare.models.zoo import find_model
from medcompare.runs.prefect_server import TEMPORARY_SERVER
from medcompare.runs.stages import in_stage
from medcompare.training.worker.child import all_ended
from tasks.engines import asking_for, cancel, final_state, runner_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prefect import Task
    from prefect.client.schemas.objects import State, TaskRun
    from prefect.context import TaskRunContext

    from medcompare.runs.cluster import Cluster

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
Value = TypeVar("Value")

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
    with_texts: bool = False
    """Whether the result holds sentences of the report, in the language that was spoken when they were made."""

    def compute_key(
        self,
        task_ctx: TaskRunContext,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],  # noqa: ARG002 - Prefect's signature
        **kwargs: Any,  # noqa: ARG002, ANN401 - Prefect's signature
    ) -> str:
        """Digest of the task's name and code."""
        code = code_digest(*self.modules(task_ctx.task, inputs))
        texts = f"\n{texts_digest()}" if self.with_texts else ""
        # Not Prefect's key of the task, which changes with the folder of this project and with every line above.
        name = f"{task_ctx.task.fn.__module__}.{task_ctx.task.fn.__qualname__}"
        return hashlib.sha256(f"{name}\n{code}{texts}".encode()).hexdigest()

    def modules(self, task: Task[..., Any], inputs: dict[str, Any]) -> tuple[str, ...]:
        """Where the work begins: the task's own module, those named beside it, the model's file."""
        found = [task.fn.__module__, *self.also]
        if self.model_argument is not None:
            spec = find_model(str(inputs[self.model_argument]))
            found.append(spec.build.__module__)
            if self.with_equivalent and spec.maintained_equivalent is not None:
                found.append(find_model(spec.maintained_equivalent).build.__module__)
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


def is_retryable(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:  # noqa: ARG001 - Prefect's signature
    """Whether trying again can help: never for bad input, never for a loss that is not finite."""
    error = state.result(raise_on_failure=False)
    if isinstance(error, InputError):
        return False
    if isinstance(error, TrainingError):
        return error.transient
    return isinstance(error, OSError | ArtifactError | SharedStoreError)


def redact_tracebacks(task: Task[Parameters, Result]) -> Task[Parameters, Result]:
    """`task`, whose errors repeat no data: Prefect writes them to its log and database in full."""
    work = task.fn

    @wraps(work)
    def guarded(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        try:
            return work(*args, **kwargs)
        except httpx.TransportError:
            failure: Exception = ConnectionRefusedError(ECONNREFUSED, "the Prefect server does not answer")
        except Exception as error:  # noqa: BLE001 - whatever it is, it is raised below
            store = signature(work).bind(*args, **kwargs).arguments.get("store")
            failure = redact(error, store if isinstance(store, Path) else None)
        raise failure  # here, where the first error is not its context

    task.fn = guarded
    return task


RETRIES: dict[str, Any] = {"retries": 2, "retry_delay_seconds": [5, 30], "retry_condition_fn": is_retryable}
STORED: dict[str, Any] = {"persist_result": True, "result_serializer": "json", "log_prints": False}


class StoreLocks(LockManager):
    """Prefect's locks on stored results, held by the kernel: a run that dies leaves none behind.

    Prefect's own `FileSystemLockManager` leaves its files behind where a process is killed, and the
    next run would wait for ever.

    Parameters
    ----------
    store : Path
        The store that runs share; whoever comes second waits for the result of the first and reuses it.
    bucket : str, optional
        Where the work is done on another machine, the bucket that `store` is a copy of: its own copy has the locks.
        Machines do not wait for each other there; the same work done twice gives the same files.
    """

    def __init__(self, store: Path, bucket: str | None = None) -> None:
        self._store, self._bucket = store, bucket
        self._held: dict[str, tuple[str, int]] = {}

    def acquire_lock(
        self,
        key: str,
        holder: str,
        acquire_timeout: float | None = None,
        hold_timeout: float | None = None,  # noqa: ARG002 - Prefect's signature
    ) -> bool:
        """Wait until no other run computes the result `key`, then hold it."""
        if not self.is_lock_holder(key, holder):
            label = runtime.task_run.name or "a task"
            store = self._store if self._bucket is None else local_copy(self._bucket)
            try:
                descriptor = acquire_lock(
                    work_lock_path(store, key),
                    timeout_s=math.inf if acquire_timeout is None else acquire_timeout,
                    waiting=f"{label}: another run is doing the same work; waiting for its result",
                )
            except OSError as error:
                raise cannot_write(error, store) from None
            if descriptor is None:
                return False
            self._held[key] = (holder, descriptor)
        return True

    def release_lock(self, key: str, holder: str) -> None:
        """Let the next one in."""
        if self.is_lock_holder(key, holder):
            os.close(self._held.pop(key)[1])

    def is_locked(self, key: str) -> bool:
        """Whether this process holds the lock of `key`."""
        return key in self._held

    def is_lock_holder(self, key: str, holder: str) -> bool:
        """Whether `holder` holds the lock of `key`."""
        return key in self._held and self._held[key][0] == holder

    def wait_for_lock(self, key: str, timeout: float | None = None) -> bool:
        """Wait until nobody computes the result `key`."""
        is_free = self.acquire_lock(key, "reader", timeout)
        self.release_lock(key, "reader")
        return is_free

    async def aacquire_lock(self, *arguments: Any) -> bool:  # noqa: ANN401 - those of `acquire_lock`
        """`acquire_lock`, in a thread."""
        return await asyncio.to_thread(self.acquire_lock, *arguments)

    async def await_for_lock(self, key: str, timeout: float | None = None) -> bool:  # noqa: ASYNC109 - Prefect's
        """`wait_for_lock`, in a thread."""
        return await asyncio.to_thread(self.wait_for_lock, key, timeout)


def results_folder(store: Path) -> Path:
    """Folder of Prefect's stored results, beside the files they refer to."""
    return (store / "results").resolve()


def _result_storage(store: Path) -> Path | RemoteFileSystem:
    """Where Prefect keeps results: in `store`, or in the bucket that it is a copy of."""
    shared = shared_store_of(store)
    if shared is None:
        return results_folder(store)
    block = RemoteFileSystem(basepath=f"{shared.address}/results", settings={"use_listings_cache": False})
    # It holds the address alone: credentials stay in the environment of each machine.
    block.save(f"medcompare-{sha256_of_bytes(shared.address.encode())[:16]}", overwrite=True)
    return block


def is_intact(record: object, store: Path) -> str | None:
    """None where every file `record` refers to is there and unaltered, else what is wrong."""
    artifacts = ArtifactStore(store)
    for artifact in artifacts_in(record):
        try:
            artifacts.path_of(artifact)
        except ArtifactError as error:
            return str(error)
    return None


def run_cached(
    task: Task[..., Result],
    store: Path,
    /,
    *,
    fresh: bool = False,
    **inputs: Any,  # noqa: ANN401 - a task's inputs
) -> Result:
    """Result of `task`, computed again if `fresh`, or where a cached one refers to a lost or altered file."""
    return map_cached(task.with_options(refresh_cache=True) if fresh else task, store, [inputs])[0]


def map_cached(
    task: Task[..., Result],
    store: Path,
    jobs: Sequence[dict[str, Any]],
    *,
    max_workers: int = 1,
    cluster: Cluster | None = None,
) -> list[Result]:
    """Results of `task` for each of `jobs`, in order; up to `max_workers` run at the same time, or on a `cluster`.

    A result that comes back from the cache is used only if every file it refers to is
    there and unaltered; otherwise that job runs again and the log says so. Where another
    run on the same store is doing the same work, its result is waited for and reused.
    """
    logger = get_run_logger()
    shared = shared_store_of(store)
    locks = StoreLocks(
        store.resolve(), shared.address if cluster is not None and shared is not None else None
    )
    locked = task.cache_policy.configure(lock_manager=locks, isolation_level="SERIALIZABLE")
    stored = task.with_options(result_storage=_result_storage(store), cache_policy=locked)
    states = _run(stored, jobs, max_workers, cluster)
    results = [_result(state, task, job) for state, job in zip(states, jobs, strict=True)]
    broken = []
    for index, (job, state) in enumerate(zip(jobs, states, strict=True)):
        problem = is_intact(results[index], store)
        if problem is not None:
            logger.warning(
                "%s: the cached result cannot be used (%s); computing it again", _label(task, job), problem
            )
            broken.append(index)
        elif state.name == "Cached":
            logger.info("%s: nothing it depends on has changed, earlier result reused", _label(task, job))
            _mark_as_used(state, store)
    again = [jobs[index] for index in broken]
    repaired = _run(stored.with_options(refresh_cache=True), again, max_workers, cluster)
    for index, state in zip(broken, repaired, strict=True):
        results[index] = _result(state, task, jobs[index])
    return results


def run_each(
    task: Task[..., Result], jobs: Sequence[dict[str, Any]], *, cluster: Cluster | None
) -> list[Result]:
    """Results of `task`, which keeps none, for each of `jobs`, in order; on a `cluster` where there is one."""
    states = _run(task, jobs, 1, cluster)
    return [_result(state, task, job) for state, job in zip(states, jobs, strict=True)]


def _run(
    task: Task[..., Result], jobs: Sequence[dict[str, Any]], max_workers: int, cluster: Cluster | None
) -> list[State[Result]]:
    """Final state of `task` for each of `jobs`."""
    labels = [_label(task, job) for job in jobs]
    if cluster is None:
        jobs = [{name: unlinked(value) for name, value in job.items()} for job in jobs]
    if not jobs or (len(jobs) == 1 and cluster is None):  # no thread needed
        states = []
        for label, job in zip(labels, jobs, strict=True):
            with in_stage(label):
                states.append(task(**job, return_state=True))
        return states
    with in_stage(task.name), contextlib.ExitStack() as end, runner_of(cluster, max_workers) as runner:
        futures = []
        try:
            with asking_for(cluster):
                for job in jobs:
                    futures.append(runner.submit(task, job))  # noqa: PERF401 - those begun before an interrupt count
            wait([*futures])
        except BaseException:
            # Ctrl-C, SIGTERM or a cancellation: leaving the runner would wait for the trainings to end.
            for future in futures:
                cancel(future.wrapped_future)
            end.enter_context(all_ended())
            raise
        return [final_state(future, label) for future, label in zip(futures, labels, strict=True)]


def unlinked(value: Value) -> Value:
    """`value` as an input of a task in which Prefect does not look for results of other tasks.

    It looks at each of 100,000 values of a report three times to draw arrows, and a run's own server has no pages.
    """
    return cast("Value", quote(value)) if TEMPORARY_SERVER in os.environ else value


def _result(state: State[Result], task: Task[..., Result], job: dict[str, Any]) -> Result:
    with in_stage(_label(task, job)):
        return state.result()


def _mark_as_used(state: State[Any], store: Path) -> None:
    """Let housekeeping see that a stored result is still in use: it goes by the time of last use."""
    key = getattr(getattr(state.data, "metadata", None), "storage_key", None)
    if key is not None:
        with contextlib.suppress(FileNotFoundError):
            os.utime(results_folder(store) / key)


def _label(task: Task[..., Any], job: dict[str, Any]) -> str:
    return f"{task.name} {job['model']}{job.get('variant', '')}" if "model" in job else task.name
