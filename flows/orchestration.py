"""What the flows ask of the Prefect server beside running: slots, and runs that died without a word."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, GlobalConcurrencyLimitUpdate
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterEndTime,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    TaskRunFilter,
    TaskRunFilterFlowRunId,
    TaskRunFilterState,
    TaskRunFilterStateType,
    TaskRunFilterTags,
)
from prefect.client.schemas.objects import State, StateType
from prefect.states import Crashed, Scheduled

from medcompare.config.schema import TrainConfig
from medcompare.training.worker.process import plan_parallel
from tasks.gpu import GPU_LIMIT
from tasks.policies import GPU_TAG

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from prefect.client.orchestration import SyncPrefectClient

DEPLOYMENT_LIMIT = "deployment:"
"""How the server names the limits of deployments, before the deployment's id."""
GOING = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
DEFAULT_PAIR = 2
RESUMED_WITHIN = timedelta(hours=24)

logger = logging.getLogger("medcompare.orchestration")


def ensure_gpu_limit() -> int:
    """Create the concurrency limit ``gpu`` where there is none; a number set by a person is kept.

    Returns
    -------
    int
        Slots of the limit: one per GPU; without a GPU, trainings of the default pair that this
        machine does side by side.
    """
    with get_client(sync_client=True) as client:
        existing = {limit.name: limit.limit for limit in client.read_global_concurrency_limits(limit=200)}
        if GPU_LIMIT in existing:
            return existing[GPU_LIMIT]
        plan = plan_parallel(DEFAULT_PAIR, TrainConfig())
        slots = plan.n_gpus or plan.n_parallel
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=GPU_LIMIT, limit=slots))
        return slots


def clear_up_after(crashed_runs: Iterable[str] = ()) -> list[str]:
    """Tell the server of runs that died, and free the slots they hold.

    Parameters
    ----------
    crashed_runs : iterable of str
        Ids of flow runs whose process is known to be gone.

    Returns
    -------
    list of str
        What was done, in sentences.
    """
    done = []
    with get_client(sync_client=True) as client:
        ids = [UUID(run) for run in crashed_runs]
        if ids:
            done += _mark_crashed(client, ids)
        done += _free_slots(client)
    return done


def resume_crashed(now: datetime, *, within: timedelta = RESUMED_WITHIN) -> dict[str, str]:
    """Schedule again, once, what a crash interrupted; its finished stages and saved epochs are reused.

    A run that crashed twice is left alone: what ended it may end it again.

    Parameters
    ----------
    now : datetime
        With a time zone.
    within : timedelta
        Older crashes are left alone.

    Returns
    -------
    dict of str to str
        Id and name of the runs that were scheduled again.
    """
    crashed = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.CRASHED])),
        deployment_id=FlowRunFilterDeploymentId(is_null_=False),
        end_time=FlowRunFilterEndTime(after_=now - within),
    )
    resumed = {}
    with get_client(sync_client=True) as client:
        for run in client.read_flow_runs(flow_run_filter=crashed):
            if run.run_count <= 1:
                state: State[Any] = Scheduled(
                    scheduled_time=now, message="It crashed; it goes on where it was."
                )
                client.set_flow_run_state(run.id, state, force=True)
                resumed[str(run.id)] = run.name
    return resumed


def _mark_crashed(client: SyncPrefectClient, ids: Sequence[UUID]) -> list[str]:
    going = FlowRunFilter(
        id=FlowRunFilterId(any_=list(ids)), state=FlowRunFilterState(type=FlowRunFilterStateType(any_=GOING))
    )
    runs = client.read_flow_runs(flow_run_filter=going)
    for run in runs:
        for task_run in client.read_task_runs(
            task_run_filter=TaskRunFilter(
                flow_run_id=TaskRunFilterFlowRunId(any_=[run.id]),
                state=TaskRunFilterState(type=TaskRunFilterStateType(any_=GOING)),
            )
        ):
            gone: State[Any] = Crashed(message="The process of the run is gone.")
            client.set_task_run_state(task_run.id, gone, force=True)
        message = "The process of the run is gone; it was marked by a later run or by flows.recover."
        client.set_flow_run_state(run.id, Crashed(message=message), force=True)
    return [f"run '{run.name}' is marked Crashed" for run in runs]


def _free_slots(client: SyncPrefectClient) -> list[str]:
    """Give back slots that no running task or flow run accounts for.

    The server frees the slots of a dead process when their lease ends, but forgets leases
    when it is itself restarted.
    """
    freed = []
    for limit in client.read_global_concurrency_limits(limit=200):
        if limit.name == GPU_LIMIT:
            in_use = len(
                client.read_task_runs(
                    task_run_filter=TaskRunFilter(
                        tags=TaskRunFilterTags(all_=[GPU_TAG]),
                        state=TaskRunFilterState(type=TaskRunFilterStateType(any_=GOING)),
                    )
                )
            )
        elif limit.name.startswith(DEPLOYMENT_LIMIT):
            deployment = UUID(limit.name.removeprefix(DEPLOYMENT_LIMIT))
            in_use = len(
                client.read_flow_runs(
                    flow_run_filter=FlowRunFilter(
                        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=GOING))
                    ),
                    deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment])),
                )
            )
        else:
            continue
        if in_use < limit.active_slots:
            client.update_global_concurrency_limit(
                limit.name, GlobalConcurrencyLimitUpdate(active_slots=in_use)
            )
            freed.append(f"{limit.active_slots - in_use} slot(s) of the limit '{limit.name}' given back")
    return freed
