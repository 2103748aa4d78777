"""Server, worker and report pages on this machine, for a trial: ``make serve``.

``medcompare serve run`` keeps them running until Ctrl-C; ``start`` does so in the background.
For every night by itself there are the units in ``deploy/systemd``, see docs/operations.md. There is
no pid file that could be out of date: what runs is found by a variable in its environment.
"""

from __future__ import annotations

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
from typing import TYPE_CHECKING, Any, NoReturn

import httpx
import psutil

from medcompare.base.errors import ConfigError, MedcompareError
from medcompare.base.file_access import open_lock
from medcompare.runs.prefect_server import bypass_proxy, bypasses_proxy

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LOOPBACK, POOL = "127.0.0.1", "medcompare"
CHECKOUT = Path(__file__).resolve().parent.parent
FOLDER = CHECKOUT / ".medcompare/serve"
LOG = FOLDER / "serve.log"
SETTINGS = CHECKOUT / "deploy/systemd/medcompare.env"  # of Prefect, as in the units
MARK = "MEDCOMPARE_SERVE"
"""In the environment of all that is started here, flow runs included, and of nothing else: the folder."""

RUN = ("medcompare", "serve", "run")
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

    def __post_init__(self) -> None:
        if self.port == self.reports_port:
            msg = f"--port and --reports-port are both {self.port}"
            raise ConfigError(msg)

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
    """Environment of the programs: that of `caller`, most of its ``PREFECT_*`` left out, and our settings.

    Raises
    ------
    ConfigError
        If this is no checkout.
    """
    if not SETTINGS.is_file():
        msg = f"medcompare serve needs a checkout of the project: there is no {SETTINGS}"
        raise ConfigError(msg)
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
    before = f"{python} medcompare serve wait --port {place.port} && {python} medcompare recover"
    worker = f"{python} prefect worker start --pool {POOL} --type process --name {shlex.quote(WORKER_NAME)}"
    reports = f"{python} medcompare reports --port {place.reports_port}"
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
                is_main = process.cmdline()[1:5] == ["-m", *RUN]
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


def run(place: Place) -> None:
    """Keep the programs running until Ctrl-C or SIGTERM, then end runs and programs.

    Raises
    ------
    MedcompareError
        If it runs already, or a program does not start.
    """
    if os.environ.get(MARK) != str(FOLDER):  # the settings, and the mark by which this process is found
        os.execve(sys.executable, run_command(place), environment(place))  # noqa: S606
    FOLDER.mkdir(parents=True, exist_ok=True)
    lock = open_lock(FOLDER / ".lock")  # held until this process ends
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        msg = "make serve runs already"
        raise MedcompareError(msg) from None
    for number in STOP_SIGNALS:
        signal.signal(number, signal.default_int_handler)
    try:
        keep_running(place)
    except KeyboardInterrupt:
        say("stopping ...")
        raise
    finally:
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        end_runs(place)
        end(processes()["programs"])


def run_command(place: Place) -> list[str]:
    """Command line of `run`."""
    ports = ["--port", str(place.port), "--reports-port", str(place.reports_port)]
    return [sys.executable, "-m", *RUN, *ports]


def keep_running(place: Place) -> NoReturn:
    """Start the programs, and again what ends after all have answered; a MedcompareError where they do not."""
    children: dict[str, subprocess.Popen[bytes]] = {}
    began, since, ready = time.monotonic(), time.time(), False
    while True:
        for name, command in commands(place).items():
            status = children[name].poll() if name in children else None
            if status is not None:
                if not ready:
                    msg = f"{name} ended with status {status}; everything is stopped"
                    raise MedcompareError(msg)
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
                msg = (
                    f"no answer within {START_LIMIT_S:.0f} s from: {', '.join(silent)}; everything is stopped"
                )
                raise MedcompareError(msg)
        time.sleep(0.5)


def start(place: Place) -> bool:
    """Start `run` in the background, wait until everything answers, and say whether it does.

    Raises
    ------
    ConfigError
        If it runs already on another port, or a port is taken.
    MedcompareError
        If a program does not start; the message holds the end of the log.
    """
    found = processes()
    if found["main"]:
        other = place_of(found["main"][0])
        if (other.port, other.reports_port) != (place.port, place.reports_port):
            msg = f"it runs already, on port {other.port}; to move it: make serve-stop, then again"
            raise ConfigError(msg)
        say("It runs already.")
        say_what_next(place)
        return status(place)
    end(found["programs"])  # left over where the main process was killed
    for port, variable in ((place.port, "SERVE_PORT"), (place.reports_port, "REPORTS_PORT")):
        if is_taken(port):
            msg = f"port {port} is taken (lsof -i :{port} says by what): make serve {variable}={port + 100}"
            raise ConfigError(msg)
    FOLDER.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        LOG.replace(LOG.with_suffix(".log.1"))
    say("Starting server, worker and report pages: about 20 seconds, the first time longer ...")
    since = time.time()
    with LOG.open("ab") as log:
        main = subprocess.Popen(  # noqa: S603 - a command of our own
            run_command(place),
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
                say_what_next(place)
                return True
            time.sleep(0.5)
    except KeyboardInterrupt:
        say("what was started is stopped again")
        main.terminate()
        main.wait()
        raise
    lines = LOG.read_text(encoding="utf-8", errors="replace").splitlines()[-20:]
    msg = "\n    ".join([f"it did not start; the end of {LOG}:", *lines])
    raise MedcompareError(msg)


def say_what_next(place: Place) -> None:
    """Print addresses, and the commands to type next."""
    hosts = "" if bypasses_proxy(os.environ) else environment(place).get("NO_PROXY", "")
    say(
        f"\nRuns     {place.ui}\nReports  {place.reports}\n\nNext, from {CHECKOUT}:\n"
        f"  source {Path(sys.executable).with_name('activate')}\n  export PREFECT_API_URL={place.api}\n"
        + (f"  export NO_PROXY={hosts} no_proxy={hosts}\n" if hosts else "")
        + "  prefect deploy --all                                # once, and after every change of prefect.yaml\n"
        "  prefect deployment run compare/manual --watch       # a run now: the demonstration data\n"
        "  make serve-stop                                     # stop everything"
    )


def place_of(process: psutil.Process) -> Place:
    """Ports that a process found by `processes` was given."""
    variables = process.environ()
    ports = [httpx.URL(variables[name]).port or 0 for name in ("PREFECT_API_URL", "MEDCOMPARE_LINK_BASE")]
    return Place(ports[0], ports[1])


def stop(_: Place) -> None:
    """Stop everything; flow runs that are going end as cancelled. A MedcompareError names what cannot be stopped."""
    found = processes()
    everything = [process for some in found.values() for process in some]
    if not everything:
        say("Nothing runs.")
        return
    end_runs(place_of(everything[0]))
    end(found["main"], grace_s=3 * GRACE_S)
    end(processes()["programs"])
    if left := [process.pid for some in processes().values() for process in some]:
        msg = f"processes {left} cannot be ended: look at them with ps"
        raise MedcompareError(msg)
    say("Stopped.")


def status(place: Place) -> bool:
    """Print what answers; returns whether everything does."""
    found = processes()
    if found["main"]:
        place = place_of(found["main"][0])
    addresses = {"server": place.ui, "worker": f"pool {POOL}", "reports": place.reports}
    answers = answering(place, since=time.time() - 120)
    for name, answer in answers.items():
        say(f"{name:8} {'answers' if answer else 'does not answer':16} {addresses[name]}")
    say(f"process  {found['main'][0].pid} keeps them running" if found["main"] else "Not running: make serve")
    return bool(found["main"]) and all(answers.values())


def wait(place: Place) -> None:
    """Wait until the server answers, for a service manager that has started it; else a MedcompareError."""
    deadline = time.monotonic() + START_LIMIT_S
    while not answering(place, since=0)["server"]:
        if time.monotonic() > deadline:
            msg = f"no Prefect server answers at {place.api} within {START_LIMIT_S:.0f} s"
            raise MedcompareError(msg)
        time.sleep(0.5)


def say(text: str) -> None:
    """Print at once: the next line may take a minute. A reader that is gone stops nothing."""
    with contextlib.suppress(BrokenPipeError):
        print(text, flush=True)
