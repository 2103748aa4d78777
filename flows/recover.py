"""Before a worker starts, go on with what a crash interrupted: ``medcompare recover``.

Runs whose process is gone are marked as crashed in the history and in Prefect, mailed about, and
started again, once; so are those that SIGTERM has ended, as on a machine that is drained. Of the nights that
were missed, only the last is made up for. Slots are not touched: the server frees those of a dead process when
their lease ends.

Prefect's worker marks a run as crashed whose process dies under it, and calls `after_crash`. Where
the worker dies as well, as in a power cut, nobody does; so every run and every worker looks
for such runs when it starts. An automation on missing heartbeats would set the state of the run, but
neither end its record in the history, nor mail through our settings, nor start it again once.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from medcompare.base.file_access import access_of, files_readable_by
from medcompare.runs.folder import partial_folder
from medcompare.runs.history import history_path, list_runs, mark_crashed_runs, record_run, this_host
from medcompare.runs.stages import INTERRUPTED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from prefect import Flow
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun, State, TaskRun

    from medcompare.runs.summary import RunSummary

DEFAULT_STORE = Path(".medcompare")
RESUMED_WITHIN = timedelta(hours=24)
MAX_RUNS = 100
PAGE = 200
RESUME = "resume of "
"""Before the id of a crashed run: key of the run that goes on with it. Prefect makes one run per key."""
RESUMED = "It was started again as a new run, which goes on where it was; there is nothing to do."
CRASHED_TWICE = (
    "It crashed or was interrupted twice and is not started again. If memory ran out, lower train.batch_size or "
    "train.max_parallel; then start it again: what was finished is reused."
)
START_AGAIN = (
    "Start it again: what was finished is reused. If memory ran out, lower train.batch_size or "
    "train.max_parallel first."
)


def recover(store: Path) -> list[str]:
    """Mark the runs on `store` that died, mail about them, and start those of a deployment again, once.

    Returns
    -------
    list of str
        What was done, in sentences.

    Raises
    ------
    HistoryError
        If the history cannot be read or written.
    """
    from prefect.client.orchestration import get_client

    now, path = datetime.now(UTC), history_path(store)
    with files_readable_by(access_of(path)):
        marked = {run.run_id for run in mark_crashed_runs(path, host=this_host(), now=now)}
        # Also those marked earlier: the server may have been away then.
        ended = [run for run in list_runs(path) if run.status in {"crashed", "interrupted"}]
        done: list[str] = []
        with get_client(sync_client=True) as client:
            for run in ended[:MAX_RUNS]:
                if run.run_id in marked:
                    done.append(f"run '{run.name}' of {run.started_at[:16]} UTC crashed")
                if (
                    run.run_id in marked
                    or now - datetime.fromisoformat(str(run.finished_at)) < RESUMED_WITHIN
                ):
                    done += _settle(client, run, store, is_new=run.run_id in marked)
    return done


def _settle(client: SyncPrefectClient, run: RunSummary, store: Path, *, is_new: bool) -> Iterator[str]:
    """Tell Prefect that `run` crashed, mail where the crash `is_new`, and start the run again if it may be.

    As a new run: the worker marks the old one as crashed once more after it has called `after_crash`. A run that was
    interrupted is one that crashed where Prefect takes it for that: the system has ended it, and nobody cancelled it.
    """
    from prefect.states import Crashed
    from prefect.utilities.urls import url_for

    from tasks.mail import mail

    flow_run = _going_or_crashed(client, run.run_id)
    unfinished = [] if flow_run is None else _unfinished_tasks(client, flow_run)
    twice = flow_run is not None and (flow_run.idempotency_key or "").startswith(RESUME)
    may_resume = flow_run is not None and flow_run.deployment_id is not None and not twice
    if run.failure is not None and run.failure.remedy == INTERRUPTED:
        is_new = may_resume or twice
    if is_new and run.failure is not None:
        _remove_partial_folder(run)
        remedy = RESUMED if may_resume else CRASHED_TWICE if twice else START_AGAIN
        stage = ", ".join(sorted(one.name for one in unfinished)) or run.failure.stage
        run = run.model_copy(
            update={"failure": run.failure.model_copy(update={"stage": stage, "remedy": remedy})}
        )
        record_run(history_path(store), run)
        mail.fn(run, store, link=url_for("flow-run", obj_id=run.run_id))
    if flow_run is None:
        return
    for one in unfinished:
        gone: State[Any] = Crashed(message="The process of the run is gone.")
        client.set_task_run_state(one.id, gone, force=True)
    yield from _gone(client, flow_run)
    if may_resume:
        yield from _start_again(client, flow_run)


def start_lost_runs() -> list[str]:
    """Start again, once, the runs of this machine's worker whose process is gone and that no history knows.

    They were killed while they started, as by what killed the worker: the server takes them for pending for ever.
    To be called while no worker runs here. Runs of a worker that is not called as this machine is are left alone.

    Returns
    -------
    list of str
        What was done, in sentences.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
    from prefect.client.schemas.objects import StateType

    begun = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.PENDING, StateType.RUNNING]))
    )
    done: list[str] = []
    with get_client(sync_client=True) as client:
        for flow_run in client.read_flow_runs(flow_run_filter=begun, limit=PAGE):
            labels = flow_run.labels
            if (labels.get("prefect.worker.type"), labels.get("prefect.worker.name")) != (
                "process",
                this_host(),
            ):
                continue
            if str(flow_run.id) not in _runs_of_processes():
                done += _gone(client, flow_run)
                if not (flow_run.idempotency_key or "").startswith(RESUME):
                    done += _start_again(client, flow_run)
    return done


def _runs_of_processes() -> set[str]:
    """Ids of the flow runs that processes of this machine belong to, as Prefect tells them."""
    found = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            found.add(process.environ().get("PREFECT__FLOW_RUN_ID", ""))
    return found


def _gone(client: SyncPrefectClient, flow_run: FlowRun) -> Iterator[str]:
    """Mark a run as crashed that is not marked yet."""
    from prefect.states import Crashed

    if not flow_run.state_type or flow_run.state_type.value != "CRASHED":
        lost: State[Any] = Crashed(message="The process of the run is gone.")
        client.set_flow_run_state(flow_run.id, lost, force=True)
        yield f"run '{flow_run.name}' is marked Crashed"


def _start_again(client: SyncPrefectClient, flow_run: FlowRun) -> Iterator[str]:
    """Start a run of a deployment again that was not yet."""
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterIdempotencyKey
    from prefect.exceptions import ObjectNotFound

    key = f"{RESUME}{flow_run.id}"
    resumed = FlowRunFilter(idempotency_key=FlowRunFilterIdempotencyKey(any_=[key]))
    if flow_run.deployment_id and not client.read_flow_runs(flow_run_filter=resumed):
        try:
            client.read_deployment(flow_run.deployment_id)
        except ObjectNotFound:
            yield f"run '{flow_run.name}' is not started again: its deployment is gone"
            return
        again = client.create_flow_run_from_deployment(
            flow_run.deployment_id, parameters=flow_run.parameters, idempotency_key=key
        )
        yield f"run '{flow_run.name}' is started again as '{again.name}'"


def _going_or_crashed(client: SyncPrefectClient, run_id: str) -> FlowRun | None:
    """The run as the server knows it; None where it is unknown, as on a temporary server, or has another end."""
    from prefect.exceptions import ObjectNotFound

    try:
        flow_run = client.read_flow_run(run_id)  # type: ignore[arg-type] # the text of an id will do
    except ObjectNotFound:
        return None
    going = {"RUNNING", "PENDING", "CRASHED"}
    return flow_run if flow_run.state_type and flow_run.state_type.value in going else None


def _unfinished_tasks(client: SyncPrefectClient, flow_run: FlowRun) -> list[TaskRun]:
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    mine = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run.id]))
    tasks = client.read_task_runs(flow_run_filter=mine)
    return [one for one in tasks if one.state is None or not one.state.is_final()]


def _remove_partial_folder(run: RunSummary) -> None:
    """Remove what a dead run had written of its report."""
    out = json.loads(run.config_json).get("out")
    if out and run.pid is not None:
        shutil.rmtree(partial_folder(Path(out), run.name, run.pid), ignore_errors=True)


def after_crash(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:  # noqa: ARG001 - as Prefect calls it
    """`recover` on the store of a run that crashed: a hook, called by the worker whose run was killed."""
    from prefect.logging.loggers import flow_run_logger

    config = flow_run.parameters.get("config")
    named = config.get("store") if isinstance(config, dict) else getattr(config, "store", None)
    for sentence in recover(Path(named or DEFAULT_STORE)):
        flow_run_logger(flow_run).warning("%s", sentence)


def superseded(runs: Sequence[Any]) -> list[Any]:
    """Overdue runs that a newer overdue run of the same deployment and schedule replaces.

    Parameters
    ----------
    runs : sequence of FlowRun
        Overdue runs that a schedule made.
    """
    newest = {}
    for run in sorted(runs, key=lambda run: run.expected_start_time):
        newest[run.deployment_id, run.created_by and run.created_by.id] = run
    return [run for run in runs if run not in newest.values()]


def skip_missed_runs() -> list[str]:
    """Skip all but the newest overdue run of each schedule; returns what was skipped, in sentences.

    Prefect has no such setting: while no worker runs, its server keeps every scheduled run and hands
    all of them to the next worker. Runs that a person asked for are kept.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterExpectedStartTime,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )
    from prefect.client.schemas.objects import StateType
    from prefect.states import Cancelled

    overdue = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
        expected_start_time=FlowRunFilterExpectedStartTime(before_=datetime.now(UTC)),
    )
    with get_client(sync_client=True) as client:
        found: list[Any] = []
        while page := client.read_flow_runs(flow_run_filter=overdue, limit=PAGE, offset=len(found)):
            found.extend(page)
        missed = superseded([run for run in found if run.auto_scheduled and run.deployment_id])
        for run in missed:
            why = "missed while no worker ran; only the last missed run is made up for"
            client.set_flow_run_state(run.id, Cancelled(name="Skipped", message=why))
    return [f"skipped {run.name} (due {run.expected_start_time:%Y-%m-%d %H:%M} UTC)" for run in missed]
