"""Runs that crashed, missed nights, slots, and two runs at once, against a real Prefect server."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterIdempotencyKey, FlowRunFilterTags
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL
from prefect.states import AwaitingRetry, Cancelled, Cancelling, Crashed, Pending, Running

from flows.compare import compare
from flows.deployment_steps import ensure_gpu_limit
from flows.recover import (
    CRASHED_TWICE,
    RESUMED,
    START_AGAIN,
    after_crash,
    recover,
    start_lost_runs,
    superseded,
)
from medcompare.base.hardware import usable_cores
from medcompare.cli.app import main
from medcompare.config.train import TrainConfig
from medcompare.runs.folder import partial_folder
from medcompare.runs.history import history_path, list_runs, record_run, this_host
from medcompare.runs.stages import INTERRUPTED
from medcompare.runs.summary import failed_run, failure_of, start_of_run
from medcompare.training.worker.process import plan_parallel
from tasks.gpu import GPU_LIMIT, LEASE_S, on_the_machine
from tests.flows.conftest import set_mail_server
from tests.flows.file_modes import GROUP, modes_below, too_open, watched, wrong
from tests.flows.small_runs import ONE_MODEL, run, small_config
from tests.notify.mail_servers import Mailbox, mail_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

    from medcompare.runs.summary import RunSummary

pytestmark = pytest.mark.timeout(900)  # real trainings, on a machine that may be busy

ROOT = Path(__file__).resolve().parents[2]
LONG_S = 120
NO_PROCESS = 2**22 - 1
"""Above the largest process id that a kernel gives out by default."""


@pytest.fixture
def client() -> Iterator[SyncPrefectClient]:
    """A client of the test server; the limit of the accelerator is gone before and after."""
    with get_client(sync_client=True) as found:
        with contextlib.suppress(ObjectNotFound):
            found.delete_global_concurrency_limit_by_name(GPU_LIMIT)
        yield found
        with contextlib.suppress(ObjectNotFound):
            found.delete_global_concurrency_limit_by_name(GPU_LIMIT)


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
    """The limit is made once, and belongs to people from then on; a slot is held while the task runs."""

    def test_is_made_for_this_machine_and_only_once(self, client: SyncPrefectClient) -> None:
        """One slot per GPU; without one, two where there are two cores."""
        expected = plan_parallel(2, TrainConfig()).n_gpus or min(2, usable_cores())

        assert ensure_gpu_limit() == {"gpu_slots": expected}
        assert ensure_gpu_limit() == {"gpu_slots": expected}
        assert slots(client) == (expected, 0)
        named = [one.name for one in client.read_global_concurrency_limits(limit=200)]
        assert named.count(GPU_LIMIT) == 1

    def test_a_number_set_by_a_person_is_kept(self, client: SyncPrefectClient) -> None:
        """Also where the limit was made in the form of limits."""
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=GPU_LIMIT, limit=7))

        assert ensure_gpu_limit() == {"gpu_slots": 7}
        assert slots(client) == (7, 0)

    def test_a_slot_is_held_under_a_short_lease(self, client: SyncPrefectClient, tmp_path: Path) -> None:
        """The server takes the slot of a killed process back when its lease ends: within a minute."""
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=GPU_LIMIT, limit=3))
        go_on = threading.Event()

        @task(name="a real training")
        def training() -> str:
            with on_the_machine(tmp_path, label="a real training"):
                assert go_on.wait(LONG_S)
            return "trained"

        @flow(name="holds a slot")
        def training_flow() -> str:
            return training()

        answers: list[str] = []
        thread = threading.Thread(target=lambda: answers.append(training_flow()))
        thread.start()
        try:
            until(lambda: slots(client) == (3, 1))
        finally:
            go_on.set()
            thread.join(LONG_S)
        assert answers == ["trained"]
        assert slots(client) == (3, 0)
        assert LEASE_S <= 60


# --- runs that crashed ---------------------------------------------------------------------------------


@pytest.fixture
def deployment(client: SyncPrefectClient) -> Iterator[UUID]:
    """A deployment that no worker serves."""
    made = client.create_deployment(
        client.create_flow(compare), name=f"night {time.monotonic_ns()}", concurrency_limit=1
    )
    yield made
    client.delete_deployment(made)


@pytest.fixture
def mails(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mailbox]:
    """What is mailed meanwhile."""
    mailbox = Mailbox()
    with mail_server(mailbox) as port:
        set_mail_server(monkeypatch, port, when="failure")
        yield mailbox


def killed(client: SyncPrefectClient, root: Path, deployment: UUID | None, *, state: Any = None) -> FlowRun:
    """A run that was training when its process was killed, as history and server know it."""
    parameters = {"config": {"store": str(root / "store")}}
    flow_run = (
        client.create_flow_run(compare, parameters=parameters, name="killed")
        if deployment is None
        else client.create_flow_run_from_deployment(deployment, parameters=parameters, name="killed")
    )
    client.set_flow_run_state(flow_run.id, Running(), force=True)
    if state is not None:
        client.set_flow_run_state(flow_run.id, state, force=True)
    record_killed(root, str(flow_run.id))

    @task(name="train resnet50")
    def training() -> None:
        """Never called."""

    client.create_task_run(training, flow_run.id, dynamic_key="0", name="train resnet50", state=Running())
    return client.read_flow_run(flow_run.id)


def record_killed(root: Path, run_id: str) -> None:
    """A run in the history whose process is gone, and the folder that it was filling."""
    begun = start_of_run(
        {"out": str(root / "runs")},
        run_id=run_id,
        name="2026-11-22_020000_two-classes",
        kind="compare",
        data_name="two-classes",
        seed=0,
        started_at=datetime(2026, 11, 22, 2, tzinfo=UTC),
        host=this_host(),
        pid=NO_PROCESS,
    )
    record_run(history_path(root / "store"), begun)
    partial_folder(root / "runs", begun.name, NO_PROCESS).mkdir(parents=True)


def row(root: Path) -> RunSummary:
    """The only run of the history."""
    [found] = list_runs(history_path(root / "store"))
    return found


def resumed(client: SyncPrefectClient, flow_run: FlowRun) -> FlowRun | None:
    """The run that goes on with `flow_run`; there is at most one."""
    key = FlowRunFilterIdempotencyKey(any_=[f"resume of {flow_run.id}"])
    found = client.read_flow_runs(flow_run_filter=FlowRunFilter(idempotency_key=key))
    assert len(found) <= 1
    return found[0] if found else None


def told(mails: Mailbox) -> list[str]:
    """Subject and text of every mail."""
    return [
        f"{message['Subject']}\n{message.get_body(('plain',)).get_content()}"  # type: ignore[union-attr]
        for _, message in mails.mails
    ]


def as_one_line(text: str) -> str:
    """`text` without its line breaks."""
    return " ".join(text.split())


@pytest.mark.parametrize("marked_by_worker", [True, False], ids=["worker lives", "worker died too"])
def test_a_killed_run_of_a_deployment_goes_on_once(
    client: SyncPrefectClient, deployment: UUID, tmp_path: Path, mails: Mailbox, *, marked_by_worker: bool
) -> None:
    """Marked with stage and cause, cleaned up, mailed, started again; after a second crash only mailed."""
    state = Crashed(message="Process exited with status code: -9.") if marked_by_worker else None
    flow_run = killed(client, tmp_path, deployment, state=state)

    after_crash(compare, flow_run, flow_run.state)  # type: ignore[arg-type] # it has one

    assert client.read_flow_run(flow_run.id).state_type == StateType.CRASHED
    again = resumed(client, flow_run)
    assert again is not None
    assert (again.state_type, again.deployment_id) == (StateType.SCHEDULED, deployment)
    assert again.parameters == flow_run.parameters
    assert {one.state_type for one in client.read_task_runs() if one.flow_run_id == flow_run.id} == {
        StateType.CRASHED
    }
    crashed = row(tmp_path)
    assert crashed.status == "crashed"
    assert crashed.failure is not None
    assert (crashed.failure.stage, crashed.failure.remedy) == ("train resnet50", RESUMED)
    assert "it was killed or the machine went down" in crashed.failure.cause
    assert list((tmp_path / "runs").iterdir()) == []
    [mail] = told(mails)
    assert mail.startswith("two-classes: the run crashed in train resnet50")
    assert RESUMED in as_one_line(mail)
    assert recover(tmp_path / "store") == []  # nothing is left to do

    client.set_flow_run_state(again.id, Running(), force=True)
    record_killed(tmp_path, str(again.id))
    assert recover(tmp_path / "store") == [
        "run '2026-11-22_020000_two-classes' of 2026-11-22T02:00 UTC crashed",
        f"run '{again.name}' is marked Crashed",
    ]
    assert client.read_flow_run(again.id).state_type == StateType.CRASHED
    assert resumed(client, again) is None
    [_, second] = told(mails)
    assert CRASHED_TWICE in as_one_line(second)
    assert recover(tmp_path / "store") == []
    limit = client.read_global_concurrency_limit_by_name(f"deployment:{deployment}")
    assert limit.active_slots == 0


@pytest.mark.parametrize(
    ("state", "goes_on"),
    [
        (Crashed(message="Execution was terminated by SIGTERM."), True),
        (Running(), True),  # it was killed before it could tell the server
        (Cancelled(), False),
        (AwaitingRetry(), False),  # whoever ended it has asked for it again
    ],
)
def test_a_run_that_the_system_interrupted_goes_on(
    client: SyncPrefectClient,
    deployment: UUID,
    tmp_path: Path,
    mails: Mailbox,
    state: Any,
    *,
    goes_on: bool,
) -> None:
    """Once, with a mail, as after a crash; what somebody cancelled or has asked for again is left alone."""
    flow_run = killed(client, tmp_path, deployment, state=state)
    failure = failure_of(KeyboardInterrupt(), "train resnet50", remedy=INTERRUPTED)
    ended = failed_run(row(tmp_path), failure=failure, finished_at=datetime.now(UTC), status="interrupted")
    record_run(history_path(tmp_path / "store"), ended)

    recover(tmp_path / "store")
    recover(tmp_path / "store")

    assert (resumed(client, flow_run) is not None) is goes_on
    assert [mail.splitlines()[0] for mail in told(mails)] == goes_on * [
        "two-classes: the run was interrupted in train resnet50"
    ]
    found = row(tmp_path)
    assert found.status == "interrupted"
    assert found.failure is not None
    assert found.failure.remedy == (RESUMED if goes_on else INTERRUPTED)


def test_a_run_that_was_killed_while_it_started_is_started_once(
    client: SyncPrefectClient, deployment: UUID
) -> None:
    """Which no history knows; a run of another machine's worker, and one whose process is there, are left alone."""

    def starting(name: str, worker: str, made: FlowRun | None = None) -> FlowRun:
        parameters = {"config": {"name": name}}
        made = made or client.create_flow_run_from_deployment(deployment, parameters=parameters, name=name)
        labels = {"prefect.worker.type": "process", "prefect.worker.name": worker}
        client.update_flow_run_labels(made.id, labels)  # type: ignore[arg-type] # a mutable mapping of any values
        client.set_flow_run_state(made.id, Pending(), force=True)
        return made

    lost, elsewhere = starting("lost", this_host()), starting("elsewhere", "another machine")
    there = starting("there", this_host())
    process = subprocess.Popen(
        [sys.executable, "-c", "input()"],
        env={**os.environ, "PREFECT__FLOW_RUN_ID": str(there.id)},
        stdin=subprocess.PIPE,
    )
    try:
        said = start_lost_runs()
        again = resumed(client, lost)
        assert again is not None
        assert said == ["run 'lost' is marked Crashed", f"run 'lost' is started again as '{again.name}'"]
        assert again.parameters == lost.parameters
        assert start_lost_runs() == []
        starting("", this_host(), again)
        assert start_lost_runs() == [f"run '{again.name}' is marked Crashed"]
        assert resumed(client, again) is None
        for one in (elsewhere, there):
            assert client.read_flow_run(one.id).state_type == StateType.PENDING
    finally:
        process.kill()
        process.communicate()
        for one in (elsewhere, there):
            client.delete_flow_run(one.id)


def test_a_lost_run_whose_deployment_is_gone_is_not_started_again(client: SyncPrefectClient) -> None:
    """It is said, and what else is to be done goes on."""
    made = client.create_deployment(client.create_flow(compare), name=f"night {time.monotonic_ns()}")
    labels = {"prefect.worker.type": "process", "prefect.worker.name": this_host()}
    lost = client.create_flow_run_from_deployment(made, name="lost")
    client.update_flow_run_labels(lost.id, labels)  # type: ignore[arg-type] # a mutable mapping of any values
    client.set_flow_run_state(lost.id, Pending(), force=True)
    client.delete_deployment(made)

    assert start_lost_runs() == [
        "run 'lost' is marked Crashed",
        "run 'lost' is not started again: its deployment is gone",
    ]
    assert start_lost_runs() == []


def test_a_killed_run_without_a_deployment_is_mailed_about(
    client: SyncPrefectClient, tmp_path: Path, mails: Mailbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who started it must start it again; the command says what was done, and the second time nothing."""
    flow_run = killed(client, tmp_path, None)

    assert main(["recover", "--store", str(tmp_path / "store")]) == 0
    first = capsys.readouterr().out.splitlines()
    assert main(["recover", "--store", str(tmp_path / "store")]) == 0

    assert first == [
        "run '2026-11-22_020000_two-classes' of 2026-11-22T02:00 UTC crashed",
        "run 'killed' is marked Crashed",
    ]
    assert capsys.readouterr().out == ""
    assert client.read_flow_run(flow_run.id).state_type == StateType.CRASHED
    [mail] = told(mails)
    assert START_AGAIN in as_one_line(mail)


def test_a_run_that_ended_or_is_being_cancelled_is_not_started_again(
    client: SyncPrefectClient, deployment: UUID, tmp_path: Path
) -> None:
    """Whatever the history missed: only what was running goes on."""
    flow_run = killed(client, tmp_path, deployment, state=Cancelling())

    recover(tmp_path / "store")

    assert client.read_flow_run(flow_run.id).state_type == StateType.CANCELLING
    failure = row(tmp_path).failure
    assert failure is not None
    assert (failure.stage, failure.remedy) == ("an unfinished stage", START_AGAIN)


def test_every_run_recovers_those_before_it(
    client: SyncPrefectClient, images: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The run that found it goes its own way; both are in the history."""
    for path in (images / "non_cancer").iterdir():
        path.unlink()
    (images / "non_cancer").rmdir()
    flow_run = killed(client, tmp_path, None)

    done = run(small_config(images, tmp_path))

    newest, oldest = list_runs(history_path(tmp_path / "store"))
    assert (newest.run_id, newest.status) == (str(done.flow_run_id), "failed")
    assert (oldest.run_id, oldest.status) == (str(flow_run.id), "crashed")
    assert "run 'killed' is marked Crashed" in caplog.text


def test_recover_says_what_is_wrong_with_a_history(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that is no history: one line, status 1."""
    history_path(tmp_path).write_bytes(b"not a database" * 100)

    assert main(["recover", "--store", str(tmp_path)]) == 1
    assert re.match(r"error: history .*: Not a directory: move away", capsys.readouterr().err)


def test_of_missed_nights_the_last_is_kept() -> None:
    """Per deployment and schedule; one that is overdue alone is kept."""
    nightly, other = uuid4(), uuid4()
    every_night, weekly = uuid4(), uuid4()

    def overdue(deployment: object, schedule: object, night: int) -> SimpleNamespace:
        due = datetime(2026, 11, night, 2, tzinfo=UTC)
        return SimpleNamespace(
            deployment_id=deployment, created_by=SimpleNamespace(id=schedule), expected_start_time=due
        )

    nights = [overdue(nightly, every_night, night) for night in (20, 22, 21)]
    alone = [overdue(nightly, weekly, 18), overdue(other, every_night, 19)]

    assert superseded([*nights, *alone]) == [nights[0], nights[2]]
    assert superseded([]) == []


@pytest.mark.slow  # the lock itself is tested in test_cache
def test_two_runs_at_once_train_once(images: Path, tmp_path: Path, client: SyncPrefectClient) -> None:
    """Two processes on one store: the work is done by one, waited for by the other; the reports agree.

    Both are for the group, which reads everything although they were started with a umask of 077.
    """
    data = images.rename(tmp_path / f"twins-{time.monotonic_ns()}")
    config = small_config(data, tmp_path, models=ONE_MODEL)
    file = tmp_path / "run.toml"
    file.write_text(
        f"""
models = ["test_cnn"]
seeds = 1
file_access = "group"
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
            umask=0o077,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    try:
        with watched(config.store, config.out) as seen:
            outputs = [process.communicate(timeout=240) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert wrong(modes_below(config.store, config.out), GROUP) == {}
    assert too_open(seen, GROUP) == {}

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
