"""``make serve`` for real: everything comes up, deploys without a question, and goes down to nothing."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from flows import serving
from flows.serving import AUTH, Place, end, environment, is_taken, processes
from medcompare.cli.app import main
from medcompare.config.registry import NightConfig
from medcompare.handover.registry import ModelRegistry
from medcompare.runs.history import history_path, list_runs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.flows.small_runs import First

ROOT = Path(__file__).resolve().parents[2]
CODE = ("flows", "tasks", "medcompare", "templates", "deploy", "prefect.yaml")


def free_ports() -> tuple[int, int]:
    """Two free ports."""
    with socket.socket() as one, socket.socket() as two:
        for listener in (one, two):
            listener.bind(("127.0.0.1", 0))
        return one.getsockname()[1], two.getsockname()[1]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code with a git remote, as somebody who has just cloned it has."""
    folder = tmp_path_factory.mktemp("clone")
    for name in CODE:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    if shutil.which("git"):
        for command in (
            ["init", "-q"],
            ["remote", "add", "origin", "https://git.example.org/medcompare.git"],
        ):
            subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


def search_path(clone: Path) -> str:
    """The clone's code before any other."""
    return os.pathsep.join(part for part in (str(clone), os.environ.get("PYTHONPATH")) if part)


def get(address: str, body: dict[str, Any] | None = None) -> Any:
    """Answer of a server of ours, as JSON; a POST where there is a body."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data, {"Content-Type": "application/json"})  # noqa: S310 - http on loopback
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - as above
        return json.loads(answer.read())


def serve(clone: Path, action: str, port: int, reports_port: int) -> subprocess.CompletedProcess[str]:
    """The command that ``make serve`` runs, in the clone and with its code."""
    ports = ("--port", str(port), "--reports-port", str(reports_port))
    return subprocess.run(
        [sys.executable, "-m", "medcompare", "serve", action, *ports],
        cwd=clone,
        env={**os.environ, "PYTHONPATH": search_path(clone)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


@pytest.fixture(scope="module")
def place(clone: Path) -> Iterator[Place]:
    """Everything running, on free ports; stopped at the end, whatever happened."""
    port, reports_port = free_ports()
    done = serve(clone, "start", port, reports_port)
    try:
        assert done.returncode == 0, done.stdout + done.stderr
        yield Place(port, reports_port)
    finally:
        serve(clone, "stop", port, reports_port)


def ours(clone: Path) -> dict[str, psutil.Process]:
    """Living processes that work in the clone, by a word of their command line."""
    found = {}
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(clone) and process.status() != psutil.STATUS_ZOMBIE:
                line = " ".join(process.cmdline())
                words = ("serve run", "server start", "worker start", "medcompare reports")
                found[next((word for word in words if word in line), line)] = process
        except psutil.Error:
            continue
    return found


def eventually(condition: Callable[[], bool]) -> bool:
    """Whether `condition` comes true within a minute and a half."""
    deadline = time.monotonic() + 90
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.5)
    return condition()


def deploy(clone: Path, place: Place, *options: str) -> subprocess.CompletedProcess[str]:
    """``prefect deploy --all`` with nothing set but the address of the server."""
    return subprocess.run(
        [sys.executable, "-m", "prefect", *options, "deploy", "--all"],
        cwd=clone,
        env={**os.environ, "PREFECT_API_URL": place.api, "PYTHONPATH": search_path(clone)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_second_call_says_what_runs_already(place: Place, clone: Path) -> None:
    """Nothing is started twice, and the next commands are printed again."""
    before = ours(clone)
    done = serve(clone, "start", place.port, place.reports_port)

    assert done.returncode == 0, done.stdout
    assert "It runs already" in done.stdout
    assert f"export PREFECT_API_URL={place.api}\n" in done.stdout
    assert ours(clone) == before
    assert sorted(before) == ["medcompare reports", "serve run", "server start", "worker start"]
    assert serve(clone, "status", place.port, place.reports_port).returncode == 0


def test_another_port_is_refused_while_it_runs(place: Place, clone: Path) -> None:
    """The message says where it runs and how to move it."""
    done = serve(clone, "start", *free_ports())

    assert done.returncode == 2
    assert f"it runs already, on port {place.port}; to move it: make serve-stop" in done.stderr


def test_pages_ask_the_server_they_came_from(place: Place) -> None:
    """On any port; and no third party is asked for anything."""
    settings = get(f"{place.ui}/ui-settings")
    server = get(f"{place.api}/admin/settings")["server"]

    assert settings["api_url"] == place.api
    assert settings["default_ui"] == "v1"
    assert server["analytics_enabled"] is False


def test_deploys_without_a_question(place: Place, clone: Path) -> None:
    """In a terminal, where Prefect would ask: every deployment is made, from this folder."""
    terminal, other_end = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "prefect", "deploy", "--all"],
        cwd=clone,
        env={**os.environ, "PREFECT_API_URL": place.api, "PYTHONPATH": search_path(clone), "TERM": "xterm"},
        stdin=other_end,
        stdout=other_end,
        stderr=other_end,
        start_new_session=True,
    )
    os.close(other_end)
    shown, deadline = b"", time.monotonic() + 120
    while child.poll() is None and time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                shown += os.read(terminal, 1 << 16)
            except OSError:  # how Linux says that the other end is closed
                break
    child.kill() if time.monotonic() >= deadline else child.wait(timeout=30)
    os.close(terminal)
    assert child.returncode == 0, shown.decode()[-2000:]

    deployments = get(f"{place.api}/deployments/filter", {})
    assert sorted(one["name"] for one in deployments) == [
        "assess",
        "manual",
        "nightly",
        "predict",
        "registry",
    ]
    for one in deployments:
        step = {"prefect.deployments.steps.set_working_directory": {"directory": str(clone.resolve())}}
        assert one["pull_steps"] == [step]
        assert one["job_variables"]["working_dir"] == str(clone.resolve())


def test_a_schedule_makes_runs(place: Place, clone: Path) -> None:
    """The server plans the coming nights: with a wrong version of its database library it plans none."""
    deadline, planned = time.monotonic() + 30, []
    while not planned and time.monotonic() < deadline:
        time.sleep(0.5)
        planned = get(
            f"{place.api}/flow_runs/filter",
            {"deployments": {"name": {"any_": ["nightly"]}}, "sort": "EXPECTED_START_TIME_ASC"},
        )

    assert len(planned) >= 3, (clone / ".medcompare/serve/serve.log").read_text()[-3000:]
    first = datetime.fromisoformat(planned[0]["expected_start_time"])
    assert first.minute == 0
    assert timedelta(0) < first - datetime.now(UTC) <= timedelta(hours=25)


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--no-prompt",)], ids=["no terminal", "told not to ask"])
def test_deploys_from_a_script(place: Place, clone: Path, options: tuple[str, ...]) -> None:
    """Without a terminal, where a question would be an error; deploying again updates."""
    done = deploy(clone, place, *options)

    assert (done.returncode, done.stdout.count("successfully created")) == (0, 5), done.stderr


@pytest.mark.slow
def test_a_night_of_the_registry_runs_on_the_worker(
    place: Place, clone: Path, first: First, exported: Path, tmp_path: Path
) -> None:
    """As the deployment of that name: decided, drawn and in the history; no name of an image reaches the server."""
    half = [shutil.copytree(first.images, tmp_path / name) for name in ("reference", "new")]
    for k, folder in enumerate(half):
        for file in sorted(folder.rglob("*.png"))[k::2]:
            file.unlink()
    values = {
        "reference": {"source": str(half[0])},
        "data": {"source": str(half[1])},
        "store": str(tmp_path / "store"),
        "out": str(tmp_path / "pages"),
        "evaluate": {"n_resamples": 200},
    }
    registry = ModelRegistry(NightConfig.model_validate(values).registry, tmp_path / "store")
    for _ in range(2):
        registry.add(exported, by="Dr. Ada", because="to try it")
    assert deploy(clone, place).returncode == 0
    (made,) = get(f"{place.api}/deployments/filter", {"deployments": {"name": {"any_": ["registry"]}}})

    run = get(f"{place.api}/deployments/{made['id']}/create_flow_run", {"parameters": {"config": values}})

    def state() -> dict[str, Any]:
        return dict(get(f"{place.api}/flow_runs/{run['id']}")["state"])

    assert eventually(lambda: state()["type"] in {"COMPLETED", "FAILED", "CRASHED"}), state()
    assert (state()["type"], state()["message"]) == (
        "COMPLETED",
        "Version 1 (Test CNN) remains the champion",
    ), state()

    def logged() -> str:
        logs = get(f"{place.api}/logs/filter", {"logs": {"flow_run_id": {"any_": [run["id"]]}}})
        return "\n".join(line["message"] for line in logs)

    assert eventually(lambda: "New images: 40; left out, as seen before: 0; not scored: 0" in logged()), (
        logged()
    )
    assert "medcompare: Version 1 (Test CNN) remains the champion" in logged()
    assert not re.search(r"\d{3}\.png", logged())
    assert "Version 1 (Test CNN) remains the champion" in (
        tmp_path / "pages" / "nights-medcompare.html"
    ).read_text("utf-8")
    assert [one.kind for one in list_runs(history_path(tmp_path / "store"))] == ["night"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["server start", "worker start", "medcompare reports"])
def test_a_program_that_dies_is_started_again(place: Place, clone: Path, name: str) -> None:
    """Without a command, and the others are left alone."""
    assert eventually(lambda: len(ours(clone)) == 4)  # a worker that was just started again has preparations
    before = ours(clone)
    before[name].kill()

    # The preparations of a worker are a fourth process, too, before it is there.
    assert eventually(lambda: len(now := ours(clone)) == 4 and now.get(name) not in {None, before[name]})
    assert eventually(lambda: serve(clone, "status", place.port, place.reports_port).returncode == 0)
    assert {one for one, process in ours(clone).items() if before[one] != process} == {name}


@pytest.mark.slow
def test_what_a_killed_main_process_left_is_replaced(place: Place, clone: Path) -> None:
    """The next start ends it and starts everything again."""
    assert eventually(lambda: len(ours(clone)) == 4)  # a worker that was just started again has preparations
    before = ours(clone)
    before["serve run"].kill()
    left = serve(clone, "status", place.port, place.reports_port)
    done = serve(clone, "start", place.port, place.reports_port)

    assert left.returncode == 1
    assert "Not running: make serve" in left.stdout
    assert done.returncode == 0, done.stdout
    assert ours(clone).keys() == before.keys()
    assert not {*ours(clone).values()} & {*before.values()}


def test_stop_leaves_nothing_and_can_be_repeated(place: Place, clone: Path) -> None:
    """Afterwards no process works in the clone, and a second stop says so."""
    assert len(ours(clone)) == 4
    done = serve(clone, "stop", place.port, place.reports_port)

    assert (done.returncode, done.stdout) == (0, "Stopped.\n")
    assert ours(clone) == {}
    again = serve(clone, "stop", place.port, place.reports_port)
    assert (again.returncode, again.stdout) == (0, "Nothing runs.\n")


def test_a_taken_port_is_refused_before_anything_starts(clone: Path) -> None:
    """One message: which port, and what to type instead."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = serve(clone, "start", port, free_ports()[0])

    assert done.returncode == 2
    assert f"error: port {port} is taken" in done.stderr
    assert re.search(r"make serve SERVE_PORT=\d+\n", done.stderr)
    assert ours(clone) == {}


@pytest.mark.slow
def test_what_was_started_is_taken_down_when_a_part_fails(clone: Path, tmp_path: Path) -> None:
    """A worker that cannot start stops the server, too, and why is shown."""
    broken = tmp_path / "broken"
    shutil.copytree(clone, broken, ignore=shutil.ignore_patterns(".medcompare"))
    (broken / "flows" / "recover.py").write_text("raise SystemExit('no disk today')", encoding="utf-8")
    done = serve(broken, "start", *free_ports())

    assert done.returncode == 1
    assert re.search(
        r"no disk today\n(.*\n)*    error: worker ended with status 1; everything is stopped", done.stderr
    )
    assert ours(broken) == {}


# --- without a server ------------------------------------------------------------------------------


def test_a_profile_of_the_user_is_not_touched() -> None:
    """Where the server is and keeps things is decided here; settings of how it logs are passed on."""
    caller = {
        "PATH": "/bin",
        "PREFECT_HOME": "/elsewhere",
        "PREFECT_API_URL": "https://api.example.org",
        "PREFECT_API_KEY": "k",
        "PREFECT_PROFILE": "mine",
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": "postgresql://elsewhere",
        "PREFECT_LOGGING_LEVEL": "DEBUG",
    }
    given = environment(Place(4370, 4371), caller)

    assert given["PREFECT_HOME"] == str(ROOT / ".medcompare/prefect")
    assert given["PREFECT_API_URL"] == given["PREFECT_SERVER_UI_API_URL"] == "http://127.0.0.1:4370/api"
    assert given["MEDCOMPARE_LINK_BASE"] == "http://127.0.0.1:4371"
    assert (given["PATH"], given["PREFECT_LOGGING_LEVEL"]) == ("/bin", "DEBUG")
    assert not {"PREFECT_API_KEY", "PREFECT_PROFILE", "PREFECT_SERVER_DATABASE_CONNECTION_URL", *AUTH} & {
        *given
    }


@pytest.mark.parametrize("name", AUTH)
def test_a_password_holds_for_server_and_worker(name: str) -> None:
    """Set either of the two: on a machine with other users the pages then ask for it."""
    given = environment(Place(4370, 4371), {name: "me:secret"})

    assert [given[one] for one in AUTH] == ["me:secret", "me:secret"]


@pytest.mark.parametrize("text", ["0", "80", "65536", "x", ""])
def test_ports_are_checked(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A port that cannot be is refused with its range."""
    assert main(["serve", "start", "--port", text]) == 2
    assert re.match("error: Invalid value for '--port': Input should be", capsys.readouterr().err)


def test_server_and_reports_need_two_ports(capsys: pytest.CaptureFixture[str]) -> None:
    """The same port twice is refused before anything starts."""
    assert main(["serve", "start", "--port", "4370", "--reports-port", "4370"]) == 2
    assert "are both 4370" in capsys.readouterr().err


SLEEP = "import time; print('up', flush=True); time.sleep(60)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEP}"


def test_processes_of_this_checkout_are_told_from_others_and_ended() -> None:
    """By what is in their environment; one that ignores SIGTERM is killed, others are left alone."""
    mark = {serving.MARK: str(serving.FOLDER)}
    given = [
        (SLEEP, mark),
        (STUBBORN, {**mark, "PREFECT__FLOW_RUN_ID": "a"}),
        (SLEEP, {serving.MARK: "/other"}),
    ]
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code], env={**os.environ, **variables}, stdout=subprocess.PIPE
        )
        for code, variables in given
    ]
    try:
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == b"up\n"
        found = {kind: [one.pid for one in some] for kind, some in processes().items()}
        assert found == {"main": [], "programs": [started[0].pid], "runs": [started[1].pid]}
        end([one for some in processes().values() for one in some], grace_s=0.3)

        assert started[2].poll() is None
        assert processes() == {"main": [], "programs": [], "runs": []}
    finally:
        for process in started:
            process.kill()
            process.communicate()


def test_a_taken_port_is_seen() -> None:
    """Before anything is started; a port that is just being closed counts as free."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        assert is_taken(port)
        client = socket.create_connection(("127.0.0.1", port))
        accepted, _ = listening.accept()
        accepted.close()
        client.close()
    assert not is_taken(port)
