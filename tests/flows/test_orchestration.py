"""Slots of the accelerator, runs that crashed, and two runs at once, against a real Prefect server."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, GlobalConcurrencyLimitUpdate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterTags,
    TaskRunFilter,
    TaskRunFilterName,
)
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL
from prefect.states import Crashed, Running

from flows.orchestration import GPU_LIMIT, clear_up_after, ensure_gpu_limit, resume_crashed
from medcompare.config.schema import TrainConfig
from medcompare.runs.history import history_path, list_runs
from medcompare.training.worker.process import plan_parallel
from tasks.gpu import on_the_machine
from tasks.policies import GPU_TAG
from tests.flows.small_runs import ONE_MODEL, small_config

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient

pytestmark = pytest.mark.timeout(900)  # real trainings, on a machine that may be busy

ROOT = Path(__file__).resolve().parents[2]
LONG_S = 120


@pytest.fixture
def client() -> Iterator[SyncPrefectClient]:
    """A client of the test server; the limit of the accelerator is gone before and after."""
    with get_client(sync_client=True) as found:
        with contextlib.suppress(ObjectNotFound):
            found.delete_global_concurrency_limit_by_name(GPU_LIMIT)
        yield found
        with contextlib.suppress(ObjectNotFound):
            found.delete_global_concurrency_limit_by_name(GPU_LIMIT)


@flow(name="holds nothing")
def idle() -> None:
    """A flow to hang runs on."""


def until(condition: Any) -> None:
    """Return when `condition()` is true."""
    deadline = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def slots(client: SyncPrefectClient) -> tuple[int, int]:
    """(Slots, slots in use) of the accelerator."""
    limit = client.read_global_concurrency_limit_by_name(GPU_LIMIT)
    return limit.limit, limit.active_slots


class TestGpuLimit:
    """The limit is made once, and belongs to people from then on."""

    def test_is_made_for_this_machine_and_only_once(self, client: SyncPrefectClient) -> None:
        """One slot per GPU; without one, as many as trainings run side by side here."""
        plan = plan_parallel(2, TrainConfig())
        expected = plan.n_gpus or plan.n_parallel

        assert ensure_gpu_limit() == expected
        assert ensure_gpu_limit() == expected
        assert slots(client) == (expected, 0)
        named = [one.name for one in client.read_global_concurrency_limits(limit=200)]
        assert named.count(GPU_LIMIT) == 1

    def test_a_number_set_by_a_person_is_kept(self, client: SyncPrefectClient) -> None:
        """Somebody knows better than we do; also where the limit was made in the form of limits."""
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=GPU_LIMIT, limit=7))

        assert ensure_gpu_limit() == 7
        assert slots(client) == (7, 0)


class TestSlots:
    """What a dead process held is given back; what a living one holds is not."""

    def test_stale_slots_are_given_back(self, client: SyncPrefectClient) -> None:
        """Nothing runs: every slot is free again, and the second look finds nothing to do."""
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=GPU_LIMIT, limit=3))
        client.update_global_concurrency_limit(GPU_LIMIT, GlobalConcurrencyLimitUpdate(active_slots=2))

        assert clear_up_after() == [f"2 slot(s) of the limit '{GPU_LIMIT}' given back"]
        assert slots(client) == (3, 0)
        assert clear_up_after() == []

    def test_slots_of_running_tasks_are_kept(self, client: SyncPrefectClient, tmp_path: Path) -> None:
        """A task that really runs keeps its slot while two stale ones are given back; it ends as it would."""
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=GPU_LIMIT, limit=3))
        go_on = threading.Event()

        @task(name="a real training", tags=[GPU_TAG])
        def occupied() -> str:
            with on_the_machine(tmp_path, label="a real training"):
                assert go_on.wait(LONG_S)
            return "trained"

        @flow(name="holds a slot")
        def occupying() -> str:
            return occupied()

        answers: list[str] = []
        thread = threading.Thread(target=lambda: answers.append(occupying()))
        thread.start()
        try:
            mine = TaskRunFilter(name=TaskRunFilterName(like_="a real training"))
            until(
                lambda: [one.state_name for one in client.read_task_runs(task_run_filter=mine)] == ["Running"]
            )
            until(lambda: slots(client) == (3, 1))
            client.update_global_concurrency_limit(GPU_LIMIT, GlobalConcurrencyLimitUpdate(active_slots=3))

            assert clear_up_after() == [f"2 slot(s) of the limit '{GPU_LIMIT}' given back"]
            assert slots(client) == (3, 1)
        finally:
            go_on.set()
            thread.join(LONG_S)
        assert answers == ["trained"]
        until(lambda: slots(client) == (3, 0))

    def test_limits_of_others_are_left_alone(self, client: SyncPrefectClient) -> None:
        """Only the accelerator's and our deployments' limits are ours to mend."""
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name="scanner", limit=2))
        client.update_global_concurrency_limit("scanner", GlobalConcurrencyLimitUpdate(active_slots=2))
        try:
            assert clear_up_after() == []
            assert client.read_global_concurrency_limit_by_name("scanner").active_slots == 2
        finally:
            client.delete_global_concurrency_limit_by_name("scanner")

    def test_the_slot_of_a_deployment_is_given_back(self, client: SyncPrefectClient) -> None:
        """A night that died would keep the next one waiting for ever."""
        deployment = make_deployment(client, concurrency_limit=1)
        limit = f"deployment:{deployment}"
        client.update_global_concurrency_limit(limit, GlobalConcurrencyLimitUpdate(active_slots=1))
        try:
            assert clear_up_after() == [f"1 slot(s) of the limit '{limit}' given back"]
            assert client.read_global_concurrency_limit_by_name(limit).active_slots == 0
        finally:
            client.delete_deployment(deployment)


def make_deployment(client: SyncPrefectClient, **options: Any) -> UUID:
    """A deployment that no worker serves."""
    return client.create_deployment(client.create_flow(idle), name=f"night {time.monotonic_ns()}", **options)


class TestCrashed:
    """Runs whose process is gone."""

    def test_run_and_tasks_are_marked_and_their_slots_given_back(self, client: SyncPrefectClient) -> None:
        """The server believed both were running; a run that ended well is not touched."""
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=GPU_LIMIT, limit=2))
        client.update_global_concurrency_limit(GPU_LIMIT, GlobalConcurrencyLimitUpdate(active_slots=1))
        died = client.create_flow_run(idle, name="died", state=Running())

        @task(name="was training", tags=[GPU_TAG])
        def training() -> None:
            """Never called."""

        task_run = client.create_task_run(
            training, died.id, dynamic_key="0", extra_tags=[GPU_TAG], state=Running()
        )
        well = idle(return_state=True).state_details.flow_run_id
        assert well is not None

        assert clear_up_after([str(died.id), str(well)]) == [
            "run 'died' is marked Crashed",
            f"1 slot(s) of the limit '{GPU_LIMIT}' given back",
        ]

        assert client.read_flow_run(died.id).state_type == StateType.CRASHED
        assert client.read_task_run(task_run.id).state_type == StateType.CRASHED
        assert client.read_flow_run(well).state_type == StateType.COMPLETED
        assert slots(client) == (2, 0)
        assert clear_up_after([str(died.id)]) == []

    def test_a_crashed_run_of_a_deployment_goes_on_once(self, client: SyncPrefectClient) -> None:
        """Neither one without a deployment, nor one that crashed twice or long ago."""
        now = datetime.now(UTC)
        deployment = make_deployment(client)
        try:
            crashed = client.create_flow_run_from_deployment(deployment, name="crashed")
            running = client.create_flow_run_from_deployment(deployment, name="running")
            for one in (crashed, running):
                client.set_flow_run_state(one.id, Running(), force=True)
            client.set_flow_run_state(crashed.id, Crashed(), force=True)
            alone = client.create_flow_run(idle, name="no deployment", state=Running())
            client.set_flow_run_state(alone.id, Crashed(), force=True)

            assert resume_crashed(now + timedelta(days=3)) == {}
            assert resume_crashed(now) == {str(crashed.id): "crashed"}
            state = client.read_flow_run(crashed.id).state
            assert state is not None
            assert state.type == StateType.SCHEDULED
            assert client.read_flow_run(running.id).state_type == StateType.RUNNING
            assert client.read_flow_run(alone.id).state_type == StateType.CRASHED

            for state in (Running(), Crashed()):
                client.set_flow_run_state(crashed.id, state, force=True)
            assert resume_crashed(now) == {}
            assert client.read_flow_run(crashed.id).state_type == StateType.CRASHED
        finally:
            client.delete_deployment(deployment)


def test_two_runs_at_once_train_once(images: Path, tmp_path: Path, client: SyncPrefectClient) -> None:
    """Two processes on one store: the work is done by one, waited for by the other; the reports agree."""
    data = images.rename(tmp_path / f"twins-{time.monotonic_ns()}")
    config = small_config(data, tmp_path, models=ONE_MODEL)
    file = tmp_path / "run.toml"
    file.write_text(
        f"""
models = ["test_cnn"]
out = "{config.out}"
store = "{config.store}"
[data]
source = "{data}"
[train]
image_size_px = 32
epochs = 2
batch_size = 16
initial_weights = "none"
device = "cpu"
precision = "float32"
[evaluate]
n_resamples = 200
[cost]
n_warmup = 1
n_repeats = 10
throughput_batch = 2
"""
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "flows.compare", "--config", str(file)],
            cwd=ROOT,
            env={**os.environ, "PREFECT_API_URL": PREFECT_API_URL.value()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    try:
        outputs = [process.communicate(timeout=240) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], outputs

    runs = list_runs(history_path(config.store))
    assert [one.status for one in runs] == ["completed", "completed"]
    assert len({one.name for one in runs}) == 2
    results = []
    for one in runs:
        assert one.files is not None
        assert Path(one.files.pdf).read_bytes().startswith(b"%PDF")
        results.append(json.loads(Path(one.files.results).read_text()))
    assert results[0]["assessment"] == results[1]["assessment"]
    assert results[0]["trained"] == results[1]["trained"]

    ours = FlowRunFilter(tags=FlowRunFilterTags(all_=[data.name]))
    states = Counter((one.name, one.state_name) for one in client.read_task_runs(flow_run_filter=ours))
    for stage in ("ingest", "split", "train", "predict", "evaluate", "measure cost of", "decide"):
        name = stage if stage in {"ingest", "split", "decide"} else f"{stage} test_cnn"
        assert (states[name, "Completed"], states[name, "Cached"]) == (1, 1), states
