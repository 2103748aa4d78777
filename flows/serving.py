"""Server, worker and report pages on this machine, for a trial: ``make serve``.

``python -m flows.serving run`` keeps them running until Ctrl-C; ``start`` does so in the background.
For every night by itself there are the units in ``deploy/systemd``, see docs/operations.md. There is
no pid file that could be out of date: what runs is found by a variable in its environment.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import platform
import shlex
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil

from medcompare.base.file_access import keep_private, open_lock
from medcompare.base.terminal import ExitStatus
from medcompare.runs.prefect_server import bypass_proxy, bypasses_proxy

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

LOOPBACK, POOL = "127.0.0.1", "medcompare"
CHECKOUT = Path(__file__).resolve().parent.parent
FOLDER = CHECKOUT / ".medcompare/serve"
LOG = FOLDER / "serve.log"
SETTINGS = CHECKOUT / "deploy/systemd/medcompare.env"  # of Prefect, as in the units
MARK = "MEDCOMPARE_SERVE"
"""In the environment of all that is started here, flow runs included, and of nothing else: the folder."""

AUTH = ("PREFECT_SERVER_API_AUTH_STRING", "PREFECT_API_AUTH_STRING")
KEPT_SETTINGS = ("PREFECT_LOGGING_", "PREFECT_SERVER_SERVICES_", "PREFECT_WORKER_", "PREFECT_TASKS_")
"""Settings of the caller that are passed on. Where the server is and keeps things is decided here."""

WORKER_NAME = platform.node() or "this machine"
START_LIMIT_S = 240.0  # a first start makes the database
CANCEL_LIMIT_S = 40.0
GRACE_S = 15.0
RESTART_PAUSE_S = 5.0
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Place:
    """Ports and addresses of the server and of the report pages."""

    port: int
    reports_port: int

    @property
    def ui(self) -> str:
        """Address of Prefect's pages."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def api(self) -> str:
        """Address for ``PREFECT_API_URL``."""
        return f"{self.ui}/api"

    @property
    def reports(self) -> str:
        """Address of the report pages."""
        return f"http://{LOOPBACK}:{self.reports_port}"


def environment(place: Place, caller: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Environment of the programs: that of `caller`, most of its ``PREFECT_*`` left out, and our settings."""
    lines = SETTINGS.read_text(encoding="utf-8").splitlines()
    ours = dict(line.split("=", 1) for line in lines if line.startswith(("PREFECT_", "DO_NOT_", "PYTHON")))
    kept = {
        name: value
        for name, value in caller.items()
        if not name.startswith("PREFECT_") or name.startswith(KEPT_SETTINGS)
    }
    bypass_proxy(kept)  # the worker must not ask a proxy for our server
    password = next(filter(None, map(caller.get, AUTH)), None)
    return {
        **ours,
        **kept,
        **(dict.fromkeys(AUTH, password) if password else {}),
        "PREFECT_HOME": str(CHECKOUT / ".medcompare/prefect"),
        "PREFECT_API_URL": place.api,
        "PREFECT_SERVER_UI_API_URL": place.api,
        "PREFECT_LOGGING_EXTRA_LOGGERS": "medcompare",
        "MEDCOMPARE_LINK_BASE": place.reports,
        MARK: str(FOLDER),
    }


def commands(place: Place) -> dict[str, list[str]]:
    """Command line of each program."""
    python = f"{shlex.quote(sys.executable)} -m"
    # As in deploy/systemd: what crashed goes on, and of the missed nights the last is kept.
    before = " && ".join(
        f"{python} flows.{step}" for step in (f"serving wait --port {place.port}", "recover")
    )
    worker = f"{python} prefect worker start --pool {POOL} --type process --name {shlex.quote(WORKER_NAME)}"
    reports = f"{python} flows.reports --port {place.reports_port}"
    return {
        "server": shlex.split(f"{python} prefect server start --host {LOOPBACK} --port {place.port}"),
        "worker": ["/bin/sh", "-c", f"{before} && exec {worker}"],
        "reports": shlex.split(reports),
    }


def ask(place: Place, path: str, body: object = None) -> Any:  # noqa: ANN401 - any JSON
    """Answer of the server's API at `path`; a POST where there is a `body`."""
    name, _, password = next(filter(None, map(os.environ.get, AUTH)), "").partition(":")
    answer = httpx.request(
        "GET" if body is None else "POST",
        f"{place.api}{path}",
        json=body,
        auth=(name, password) if password else None,
        timeout=10,
        trust_env=False,  # an HTTP proxy is not asked for a server on this machine
    ).raise_for_status()
    return answer.json() if answer.content else None


def answering(place: Place, *, since: float) -> dict[str, bool]:
    """Whether each program answers; the worker, whether it has told the server so after `since`."""
    answers = dict.fromkeys(("server", "worker", "reports"), False)
    with contextlib.suppress(httpx.HTTPError, ValueError):
        answers["server"] = ask(place, "/health") is True
        answers["worker"] = any(
            worker["name"] == WORKER_NAME
            and worker["status"] == "ONLINE"
            and datetime.fromisoformat(worker["last_heartbeat_time"]).timestamp() >= since
            for worker in ask(place, f"/work_pools/{POOL}/workers/filter", {})
        )
    with contextlib.suppress(httpx.HTTPError):
        answers["reports"] = httpx.get(place.reports, timeout=5, trust_env=False).is_success
    return answers


def end_runs(place: Place) -> None:
    """End the flow runs that are going as cancelled, with their processes.

    A worker that is stopped waits for its runs, which may take hours. A run whose worker was killed
    goes on by itself and is ended here.
    """
    going = {"state": {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}}
    query = {"flow_runs": going, "work_pools": {"name": {"any_": [POOL]}}}
    told: set[str] = set()
    runs: list[dict[str, Any]] = []

    def set_state(run: dict[str, Any], kind: str) -> None:
        state = {"type": kind, "name": kind.capitalize(), "message": "make serve-stop ended the worker"}
        ask(place, f"/flow_runs/{run['id']}/set_state", {"state": state, "force": False})

    with contextlib.suppress(httpx.HTTPError, ValueError):
        deadline = time.monotonic() + CANCEL_LIMIT_S
        while (runs := ask(place, "/flow_runs/filter", query)) and time.monotonic() < deadline:
            for run in (run for run in runs if run["id"] not in told):
                say(f"run '{run['name']}' is cancelled; started again, it repeats no finished stage")
                set_state(run, "CANCELLING")
                told.add(run["id"])
            time.sleep(0.5)
    end(processes()["runs"])
    with contextlib.suppress(httpx.HTTPError, ValueError):
        for run in runs:
            set_state(run, "CANCELLED")


def processes() -> dict[str, list[psutil.Process]]:
    """What was started from this checkout and still runs: the main process, programs, and flow runs."""
    found: dict[str, list[psutil.Process]] = {"main": [], "programs": [], "runs": []}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            variables = process.environ()
            if variables.get(MARK) == str(FOLDER):
                is_main = process.cmdline()[1:4] == ["-m", "flows.serving", "run"]
                kind = "runs" if "PREFECT__FLOW_RUN_ID" in variables else "main" if is_main else "programs"
                found[kind].append(process)
    return found


def end(ended: Iterable[psutil.Process], *, grace_s: float = GRACE_S) -> None:
    """End processes: SIGTERM first, SIGKILL after `grace_s` seconds."""
    left = list(ended)
    for number, wait_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 5.0)):
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        left = psutil.wait_procs(left, timeout=wait_s)[1]


def is_taken(port: int) -> bool:
    """Whether another program listens on `port`."""
    try:
        socket.create_server((LOOPBACK, port)).close()
    except OSError:
        return True
    return False


def run(place: Place) -> int:
    """Keep the programs running until Ctrl-C or SIGTERM, then end runs and programs; the exit status."""
    if os.environ.get(MARK) != str(FOLDER):  # the settings, and the mark by which this process is found
        os.execve(sys.executable, [sys.executable, "-m", "flows.serving", *sys.argv[1:]], environment(place))  # noqa: S606
    FOLDER.mkdir(parents=True, exist_ok=True)
    lock = open_lock(FOLDER / ".lock")  # held until this process ends
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("error: make serve runs already")
        return ExitStatus.FAILURE
    for number in STOP_SIGNALS:
        signal.signal(number, signal.default_int_handler)
    error = None
    try:
        error = keep_running(place)
    except KeyboardInterrupt:
        say("stopping ...")
    finally:
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        end_runs(place)
        end(processes()["programs"])
    if error:
        say(f"error: {error}; everything is stopped")
    return ExitStatus.FAILURE if error else ExitStatus.SUCCESS


def keep_running(place: Place) -> str:
    """Start the programs, and again what ends after all have answered; returns why they did not."""
    children: dict[str, subprocess.Popen[bytes]] = {}
    began, since, ready = time.monotonic(), time.time(), False
    while True:
        for name, command in commands(place).items():
            status = children[name].poll() if name in children else None
            if status is not None:
                if not ready:
                    return f"{name} ended with status {status}"
                say(f"{name} ended with status {status} and is started again")
                time.sleep(RESTART_PAUSE_S)
            if name not in children or status is not None:
                # A session of its own: Ctrl-C is for this process, which ends runs before the server.
                children[name] = subprocess.Popen(  # noqa: S603 - commands of our own
                    command, cwd=CHECKOUT, stdin=subprocess.DEVNULL, start_new_session=True
                )
        if not ready:
            silent = [name for name, answers in answering(place, since=since).items() if not answers]
            ready = not silent
            if ready:
                say_what_next(place)
            elif time.monotonic() > began + START_LIMIT_S:
                return f"no answer within {START_LIMIT_S:.0f} s from: {', '.join(silent)}"
        time.sleep(0.5)


def start(place: Place) -> int:
    """Start `run` in the background and wait until everything answers; the exit status."""
    found = processes()
    if found["main"]:
        other = place_of(found["main"][0])
        if (other.port, other.reports_port) != (place.port, place.reports_port):
            say(f"error: it runs already, on port {other.port}; to move it: make serve-stop, then again")
            return ExitStatus.BAD_INPUT
        say("It runs already.")
        say_what_next(place)
        return status(place)
    end(found["programs"])  # left over where the main process was killed
    for port, variable in ((place.port, "SERVE_PORT"), (place.reports_port, "REPORTS_PORT")):
        if is_taken(port):
            say(
                f"error: port {port} is taken (lsof -i :{port} says by what): make serve {variable}={port + 100}"
            )
            return ExitStatus.BAD_INPUT
    FOLDER.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        LOG.replace(LOG.with_suffix(".log.1"))
    say("Starting server, worker and report pages: about 20 seconds, the first time longer ...")
    ports = ["--port", str(place.port), "--reports-port", str(place.reports_port)]
    since = time.time()
    with LOG.open("ab") as log:
        main = subprocess.Popen(  # noqa: S603 - this module
            [sys.executable, "-m", "flows.serving", "run", *ports],
            cwd=CHECKOUT,
            env=environment(place),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        while main.poll() is None:
            if all(answering(place, since=since).values()):
                return say_what_next(place)
            time.sleep(0.5)
    except KeyboardInterrupt:
        say("interrupted: what was started is stopped again")
        main.terminate()
        main.wait()
        return ExitStatus.INTERRUPTED
    lines = LOG.read_text(encoding="utf-8", errors="replace").splitlines()[-20:]
    say("\n    ".join([f"error: it did not start; the end of {LOG}:", *lines]))
    return ExitStatus.FAILURE


def say_what_next(place: Place) -> int:
    """Addresses, and the commands to type next; success."""
    hosts = "" if bypasses_proxy(os.environ) else environment(place).get("NO_PROXY", "")
    say(
        f"\nRuns     {place.ui}\nReports  {place.reports}\n\nNext, from {CHECKOUT}:\n"
        f"  source {Path(sys.executable).with_name('activate')}\n  export PREFECT_API_URL={place.api}\n"
        + (f"  export NO_PROXY={hosts} no_proxy={hosts}\n" if hosts else "")
        + "  prefect deploy --all                                # once, and after every change of prefect.yaml\n"
        "  prefect deployment run compare/manual --watch       # a run now: the demonstration data\n"
        "  make serve-stop                                     # stop everything"
    )
    return ExitStatus.SUCCESS


def place_of(process: psutil.Process) -> Place:
    """Ports that a process found by `processes` was given."""
    variables = process.environ()
    ports = [httpx.URL(variables[name]).port or 0 for name in ("PREFECT_API_URL", "MEDCOMPARE_LINK_BASE")]
    return Place(ports[0], ports[1])


def stop(_: Place) -> int:
    """Stop everything; flow runs that are going end as cancelled. The exit status."""
    found = processes()
    everything = [process for some in found.values() for process in some]
    if not everything:
        say("Nothing runs.")
        return ExitStatus.SUCCESS
    end_runs(place_of(everything[0]))
    end(found["main"], grace_s=3 * GRACE_S)
    end(processes()["programs"])
    if left := [process.pid for some in processes().values() for process in some]:
        say(f"error: processes {left} cannot be ended: look at them with ps")
        return ExitStatus.FAILURE
    say("Stopped.")
    return ExitStatus.SUCCESS


def status(place: Place) -> int:
    """Say what answers; the exit status is 0 where everything does."""
    found = processes()
    if found["main"]:
        place = place_of(found["main"][0])
    addresses = {"server": place.ui, "worker": f"pool {POOL}", "reports": place.reports}
    answers = answering(place, since=time.time() - 120)
    for name, answer in answers.items():
        say(f"{name:8} {'answers' if answer else 'does not answer':16} {addresses[name]}")
    say(f"process  {found['main'][0].pid} keeps them running" if found["main"] else "Not running: make serve")
    return ExitStatus.SUCCESS if found["main"] and all(answers.values()) else ExitStatus.FAILURE


def wait(place: Place) -> int:
    """Wait until the server answers: for a service manager, after it has started the server."""
    deadline = time.monotonic() + START_LIMIT_S
    while not answering(place, since=0)["server"]:
        if time.monotonic() > deadline:
            say(f"error: no Prefect server answers at {place.api} within {START_LIMIT_S:.0f} s")
            return ExitStatus.FAILURE
        time.sleep(0.5)
    return ExitStatus.SUCCESS


ACTIONS = {"run": run, "start": start, "stop": stop, "status": status, "wait": wait}


def say(text: str) -> None:
    """Print at once: the next line may take a minute. A reader that is gone stops nothing."""
    with contextlib.suppress(BrokenPipeError):
        print(text, flush=True)


def _port(text: str) -> int:
    number = int(text) if text.isdigit() else 0
    if not 1024 <= number <= 65535:
        msg = f"'{text}' is not a port from 1024 to 65535"
        raise argparse.ArgumentTypeError(msg)
    return number


def build_parser() -> argparse.ArgumentParser:
    """Parser of ``python -m flows.serving``."""
    parser = argparse.ArgumentParser(
        prog="python -m flows.serving",
        description="Server, worker and report pages on this machine, for a trial.",
        epilog="Exit status: 0 success, 1 failure, 2 bad input (a port is taken), 130 interrupted.",
    )
    parser.add_argument("action", choices=tuple(ACTIONS))
    parser.add_argument("--port", type=_port, default=4200, help="port of the server (default: 4200)")
    parser.add_argument(
        "--reports-port", type=_port, help="port of the reports (default: the one after the server's)"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run, start, stop or look at the programs; returns the exit status."""
    keep_private()  # for the server and the worker, too
    parser = build_parser()
    arguments = parser.parse_args(argv)
    place = Place(arguments.port, arguments.reports_port or arguments.port + 1)
    if place.reports_port == place.port:
        parser.error(f"--port and --reports-port are both {place.port}")
    return ACTIONS[arguments.action](place)


if __name__ == "__main__":
    sys.exit(main())
