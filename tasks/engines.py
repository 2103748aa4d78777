"""Prefect's task runners: threads of this process, or the workers of a cluster of Dask or Ray."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

from prefect.task_runners import ThreadPoolTaskRunner

from medcompare.base.errors import TrainingError
from medcompare.runs.cluster import GPU

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prefect.client.schemas.objects import State
    from prefect.task_runners import TaskRunner

    from medcompare.runs.cluster import Cluster


def runner_of(cluster: Cluster | None, max_workers: int) -> TaskRunner[Any]:
    """The runner for `cluster`; without one, up to `max_workers` threads."""
    if cluster is None:
        return ThreadPoolTaskRunner(max_workers=max_workers)
    runner: TaskRunner[Any]
    if cluster.engine == "dask":
        from prefect_dask import DaskTaskRunner

        runner = DaskTaskRunner(address=cluster.address)
    else:
        from prefect_ray import RayTaskRunner

        runner = RayTaskRunner(address=cluster.address)
    return runner


@contextlib.contextmanager
def asking_for(cluster: Cluster | None) -> Iterator[None]:
    """Within it, what is submitted gets the cores and the GPUs of one training."""
    with contextlib.ExitStack() as stack:
        if cluster is not None and cluster.engine == "ray":
            from prefect_ray.context import remote_options

            stack.enter_context(remote_options(num_cpus=cluster.n_threads, num_gpus=cluster.n_gpus))
        elif cluster is not None and cluster.n_gpus:
            import dask

            stack.enter_context(dask.annotate(resources={GPU: cluster.n_gpus}))
        yield


def cancel(future: Any) -> None:  # noqa: ANN401 - of three libraries
    """Let `future` not begin, or end, as far as its library can."""
    if hasattr(future, "cancel"):
        future.cancel()
    else:
        import ray

        ray.cancel(future)


def given_up() -> bool:
    """Whether the task of this thread runs on a worker of Dask for a run that has ended: it cannot be interrupted."""
    if "distributed" not in sys.modules:
        return False
    import distributed

    try:
        worker = distributed.get_worker()
        return bool(worker.state.tasks[worker.get_current_task()].state == "cancelled")
    except (ValueError, KeyError, AttributeError):  # no worker, or nothing that it knows of
        return False


def final_state(future: Any, label: str) -> State[Any]:  # noqa: ANN401 - of three libraries
    """How the task of `future` ended.

    Raises
    ------
    TrainingError
        If Dask gave it up, as its workers died again and again: there is no state of it then.
    """
    status = getattr(future.wrapped_future, "status", "")
    if status in {"error", "lost", "cancelled"}:
        why = type(future.wrapped_future.exception()).__name__ if status == "error" else status
        msg = (
            f"{label}: the cluster lost it ({why}), often because its workers were killed for lack of memory; see "
            "their log, and start again: it goes on from its last checkpoint"
        )
        raise TrainingError(msg, transient=True)
    state: State[Any] = future.state
    return state
