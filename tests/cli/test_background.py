"""Programs in the background: real processes are started, found again, mistaken for none, stopped."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from medcompare.cli.background import (
    BackgroundError,
    Program,
    end_processes,
    one_at_a_time,
    port_is_free,
    read_pid_file,
    run_to_end,
    running_process,
    start_program,
    stop_program,
    tail,
    wait_until,
    who_listens,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SLEEP = "import time; time.sleep(60)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
CHILD = (
    "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', '{}'], **{}); "
    "print('up', flush=True); time.sleep(60)"
)


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """Builder of a program that runs a line of Python; whatever it started is gone at the end."""
    built: list[Program] = []

    def build(code: str, *, name: str = "thing") -> Program:
        command = (sys.executable, "-c", code)
        built.append(
            Program(
                name=name,
                command=command,
                folder=tmp_path / "serve",
                cwd=tmp_path,
                environment=dict(os.environ),
            )
        )
        return built[-1]

    yield build
    for one in built:
        stop_program(one.pid_file, grace_s=0.1)


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until `condition`, ten seconds at most."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_started_program_is_found_again_and_stopped(program: Callable[..., Program]) -> None:
    """The pid file leads to it; after the stop there is neither process nor file."""
    one = program(SLEEP)
    process = start_program(one)
    found = running_process(one.pid_file)

    assert found is not None
    assert found[0] == process
    assert os.getsid(process.pid) == process.pid, "a Ctrl-C in the terminal must not reach it"
    assert stop_program(one.pid_file, grace_s=5) == f"process {process.pid} ended"
    assert not process.is_running()
    assert not one.pid_file.exists()
    assert stop_program(one.pid_file, grace_s=5) is None


def test_a_pid_file_of_a_dead_process_is_noticed(program: Callable[..., Program]) -> None:
    """After a crash the file is still there, and means nothing."""
    one = program(SLEEP)
    process = start_program(one)
    process.kill()
    process.wait()

    assert one.pid_file.exists()
    assert running_process(one.pid_file) is None
    assert stop_program(one.pid_file, grace_s=1) == "was not running; its old pid file is gone"


@pytest.mark.parametrize("changed", ["command", "created", "both"])
def test_a_number_given_to_another_process_is_noticed(program: Callable[..., Program], changed: str) -> None:
    """Neither another command line nor another time of start is taken for our program, nor stopped."""
    other = start_program(program(SLEEP))
    ours = program("pass", name="ours")
    record = {
        "pid": other.pid,
        "created": other.create_time() - (3600 if changed in {"created", "both"} else 0),
        "command": [sys.executable, "-c", "pass" if changed in {"command", "both"} else SLEEP],
        "port": 4200,
    }
    ours.pid_file.write_text(json.dumps(record), encoding="utf-8")

    assert running_process(ours.pid_file) is None
    assert stop_program(ours.pid_file, grace_s=1) is not None
    assert other.is_running()


@pytest.mark.parametrize("content", ["", "4242", "{}", '{"pid": "x"}', "[1]", '{"pid": 1, "created": null}'])
def test_a_damaged_pid_file_means_nothing(tmp_path: Path, content: str) -> None:
    """A file cut short by a full disk stops nobody."""
    path = tmp_path / "thing.pid"
    path.write_text(content, encoding="utf-8")

    assert read_pid_file(path) is None
    assert running_process(path) is None


def test_what_ignores_the_first_signal_is_killed(program: Callable[..., Program]) -> None:
    """A stop ends, whatever the program does with SIGTERM."""
    one = program(STUBBORN)
    process = start_program(one)
    wait_for(lambda: "up" in one.log.read_text())

    assert stop_program(one.pid_file, grace_s=0.3) == f"process {process.pid} killed after 0 s"
    assert not process.is_running()


@pytest.mark.parametrize("own_session", [False, True])
def test_children_end_with_their_program(program: Callable[..., Program], *, own_session: bool) -> None:
    """Also those in a session of their own, as the processes of flow runs are."""
    one = program(CHILD.format(SLEEP, {"start_new_session": own_session}))
    process = start_program(one)
    wait_for(lambda: "up" in one.log.read_text() and bool(process.children()))
    children = process.children()

    stop_program(one.pid_file, grace_s=5)

    assert [child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children] == [False]


def test_processes_that_others_started_are_ended_too(program: Callable[..., Program]) -> None:
    """As those of runs whose worker died: with their children, and also where they ignore SIGTERM."""
    parent, stubborn = (
        start_program(program(CHILD.format(SLEEP, {}))),
        start_program(program(STUBBORN, name="b")),
    )
    wait_for(lambda: bool(parent.children()) and "up" in (program(SLEEP).folder / "b.log").read_text())
    everyone = [parent, *parent.children(), stubborn]

    end_processes([parent, stubborn], grace_s=0.3)

    assert [one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in everyone] == [False] * 3
    end_processes([parent], grace_s=0.3)


def test_waiting_ends_with_the_program_and_shows_its_last_words(program: Callable[..., Program]) -> None:
    """Whoever waits learns at once that it is dead, and why."""
    one = program("print('the port is taken'); raise SystemExit(3)")
    process = start_program(one)

    with pytest.raises(BackgroundError, match=r"thing ended while it started.*\n\s+the port is taken"):
        wait_until(one, process, lambda: False, timeout_s=30)


def test_waiting_has_a_limit(program: Callable[..., Program]) -> None:
    """A program that never answers is given up, with the end of its log."""
    one = program(SLEEP)
    process = start_program(one)

    with pytest.raises(
        BackgroundError, match=r"thing did not answer within 0 seconds.*\n.*nothing was written"
    ):
        wait_until(one, process, lambda: False, timeout_s=0.3)


def test_a_command_that_does_not_exist_is_named(tmp_path: Path) -> None:
    """One sentence instead of a traceback."""
    one = Program(name="x", command=("/no/such/program",), folder=tmp_path, cwd=tmp_path, environment={})

    with pytest.raises(BackgroundError, match=r"x: /no/such/program cannot be started \(No such file"):
        start_program(one)


def test_a_step_in_the_foreground_succeeds_or_says_why(program: Callable[..., Program]) -> None:
    """Status, signal and time limit each make a message with the end of the log."""
    run_to_end(program("pass"), timeout_s=30)
    with pytest.raises(BackgroundError, match=r"thing failed with status 4; .*\n\s+no server"):
        run_to_end(program("print('no server'); raise SystemExit(4)"), timeout_s=30)
    with pytest.raises(BackgroundError, match="thing was ended by SIGKILL"):
        run_to_end(program(f"import os; os.kill(os.getpid(), {int(signal.SIGKILL)})"), timeout_s=30)
    with pytest.raises(BackgroundError, match="thing took longer than 0 seconds"):
        run_to_end(program(SLEEP), timeout_s=0.3)


def test_a_taken_port_and_its_owner_are_seen() -> None:
    """Before anything is started; a port that is just being closed counts as free."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]

        assert not port_is_free(port)
        assert who_listens(port).endswith((f"process {os.getpid()}", "another program"))
        client = socket.create_connection(("127.0.0.1", port))
        accepted, _ = listener.accept()
        accepted.close()
        client.close()
    assert port_is_free(port)


def test_two_at_once_take_turns(tmp_path: Path) -> None:
    """The second is told so; afterwards the folder is free."""
    with (
        one_at_a_time(tmp_path),
        pytest.raises(BackgroundError, match="is at work in this folder"),
        one_at_a_time(tmp_path),
    ):
        pass
    with one_at_a_time(tmp_path):
        pass


def test_the_end_of_a_log(tmp_path: Path) -> None:
    """The last lines, indented; a log that is missing or empty is said to be."""
    (tmp_path / "log").write_text("".join(f"{n}\n" for n in range(40)), encoding="utf-8")
    (tmp_path / "empty").touch()

    assert tail(tmp_path / "log", n_lines=2) == "    38\n    39"
    assert tail(tmp_path / "none") == "    (no log: No such file or directory)"
    assert tail(tmp_path / "empty") == "    (nothing was written)"
