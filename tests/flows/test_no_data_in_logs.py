"""An error that nobody foresaw: its place is told, what was being worked on stands nowhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId

from flows.lifecycle import run_recorded
from medcompare.base.errors import UnexpectedError
from medcompare.config.schema import AssessConfig
from medcompare.runs.history import history_path, list_runs
from medcompare.runs.result import RunResult
from tasks.cache import redact_tracebacks

if TYPE_CHECKING:
    from flows.lifecycle import RunLifecycle

ROOT = Path(__file__).resolve().parents[2]
PATIENT = "Mustermann"
TABLE = f"case_id,patient_id\ncase-1,{PATIENT} 1957-03-01\ncase-2,M\xfcller"
"""What cannot be written in ASCII; the error that says so carries the table whole."""


@redact_tracebacks
@task
def write(table: str) -> bytes:
    """Fail, with all of `table` in the error."""
    return table.encode("ascii")


def in_a_task(config: AssessConfig, name: str, lifecycle: RunLifecycle) -> RunResult:  # noqa: ARG001 - as `run_recorded` calls it
    """Planted in a task."""
    return write(TABLE)  # type: ignore[return-value] # never returns


def in_the_flow(config: AssessConfig, name: str, lifecycle: RunLifecycle) -> RunResult:  # noqa: ARG001 - as `run_recorded` calls it
    """Planted between tasks: a key that is a patient."""
    return {}[f"{PATIENT} 1957-03-01"]  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("work", "told_as"),
    [(in_a_task, ("UnicodeEncodeError", "in write")), (in_the_flow, ("KeyError", "in in_the_flow"))],
)
def test_an_unforeseen_error_repeats_no_data(
    work: Any,
    told_as: tuple[str, str],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Neither in the terminal nor in Prefect's logs, states and database, nor in the history."""
    kind, place = told_as

    @flow
    def planted() -> RunResult:
        given = {"predictions": tmp_path / "t.csv", "out": tmp_path / "runs", "store": tmp_path / "store"}
        return run_recorded(AssessConfig, given, kind="assess", data_name="t", work=work)  # type: ignore[return-value]

    state = planted(return_state=True)
    assert state.is_failed()
    with pytest.raises(UnexpectedError, match=kind) as caught:
        state.result()
    assert place in str(caught.value)
    assert caught.value.__context__ is None
    run_id = state.state_details.flow_run_id
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(run_id)
        tasks = client.read_task_runs()
        logs = client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run_id])))
    recorded = str(list_runs(history_path(tmp_path / "store")))
    assert kind in recorded
    printed = capfd.readouterr()
    told = [
        caplog.text,
        printed.out,
        printed.err,
        str(run.state),
        str([one.state for one in tasks]),
        recorded,
    ]
    told += [log.message for log in logs]
    for text in told:
        assert PATIENT not in text
        assert "1957-03" not in text


PLANTED = """
from medcompare.cli.running import run_command
from medcompare.cli.terminal import exit_status
def start():
    raise ValueError("could not convert string to float: 'Mustermann 1957-03-01'")
raise SystemExit(exit_status(lambda: run_command(lambda: start, None)))
"""


def test_nor_does_the_command_line(tmp_path: Path) -> None:
    """The last line of defence: status 1, class and place, no traceback."""
    done = subprocess.run(
        [sys.executable, "-c", PLANTED],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={
            "PYTHONPATH": str(ROOT),
            "PATH": "/usr/bin:/bin",
            "PREFECT_HOME": str(tmp_path),
            "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",  # it does not get as far as asking a server
        },
    )
    assert done.returncode == 1
    assert "failed: ValueError\n" in done.stderr
    assert "1957-03" not in done.stdout + done.stderr
    assert PATIENT not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
