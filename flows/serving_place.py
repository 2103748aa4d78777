"""Where the programs of ``make serve`` are, how they are started, and what they answer."""

from __future__ import annotations

import base64
import json
import os
import platform
import sys
import urllib.request
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from flows import SERVER_WRITES
from medcompare.cli.background import LOOPBACK, Program
from medcompare.runs.prefect_server import bypass_proxy

if TYPE_CHECKING:
    from collections.abc import Mapping

POOL = "medcompare"
CHECKOUT = Path(__file__).resolve().parent.parent
FOLDER, HOME = Path(".medcompare/serve"), Path(".medcompare/prefect")
SERVER, WORKER, REPORTS = "server", "worker", "reports"
ORDER = (SERVER, WORKER, REPORTS)
"""In which the programs are started; they are stopped the other way round."""

AUTH = ("PREFECT_SERVER_API_AUTH_STRING", "PREFECT_API_AUTH_STRING")
KEPT_SETTINGS = ("PREFECT_LOGGING_", "PREFECT_SERVER_SERVICES_", "PREFECT_WORKER_", "PREFECT_TASKS_")
"""Settings of the caller that are passed on. Where the server is and keeps things is decided here."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Ports and folders of one set of programs."""

    port: int
    reports_port: int
    checkout: Path = CHECKOUT
    out: Path = Path("runs")

    @property
    def folder(self) -> Path:
        """Where pid files and logs are."""
        return self.checkout / FOLDER

    @property
    def ui(self) -> str:
        """Address of the pages."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def api(self) -> str:
        """Address for ``PREFECT_API_URL``."""
        return f"{self.ui}/api"

    @property
    def reports(self) -> str:
        """Address below which the folders of the runs open."""
        return f"http://{LOOPBACK}:{self.reports_port}"


def environment(place: Place, caller: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Environment of the programs.

    Parameters
    ----------
    place : Place
        Ports and folders.
    caller : mapping of str to str
        Environment that the command was given; most of its ``PREFECT_*`` is left out.
    """
    kept = {
        name: value
        for name, value in caller.items()
        if not name.startswith("PREFECT_") or name.startswith(KEPT_SETTINGS)
    }
    bypass_proxy(kept)  # the worker must not ask a proxy for our server
    password = next((caller[name] for name in AUTH if caller.get(name)), None)
    return kept | {
        "PREFECT_HOME": str(place.checkout / HOME),
        "PREFECT_API_URL": place.api,
        "PREFECT_SERVER_API_HOST": LOOPBACK,
        "PREFECT_SERVER_API_PORT": str(place.port),
        # The pages ask this address; without it they may ask the default port.
        "PREFECT_SERVER_UI_API_URL": place.api,
        # The newer pages ask a third party's server for settings, whatever the setting of analytics says.
        "PREFECT_SERVER_UI_V2_ENABLED": "false",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        # Kept in memory, as they are by default, the leases of slots are forgotten when the server restarts.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        **SERVER_WRITES,
        # Runs older than 90 days leave Prefect's database; our own history keeps them.
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": caller.get(
            "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED", "events,flow_runs"
        ),
        "PREFECT_LOGGING_EXTRA_LOGGERS": "medcompare",
        "MEDCOMPARE_LINK_BASE": place.reports,
        "PYTHONUNBUFFERED": "1",
        **(dict.fromkeys(AUTH, password) if password else {}),
    }


def programs(place: Place) -> dict[str, Program]:
    """The programs by name, in the order of `ORDER`."""
    python, variables = sys.executable, environment(place)
    prefect = (python, "-m", "prefect")
    commands = {
        SERVER: (*prefect, "server", "start", "--host", LOOPBACK, "--port", str(place.port)),
        WORKER: (*prefect, "worker", "start", "--pool", POOL, "--type", "process", "--name", worker_name()),
        REPORTS: (
            *(python, "-m", "flows.reports", "--out", str(place.out)),
            *("--port", str(place.reports_port)),
        ),
    }
    ports = {SERVER: place.port, WORKER: None, REPORTS: place.reports_port}
    return {
        name: Program(
            name=name,
            command=commands[name],
            folder=place.folder,
            cwd=place.checkout,
            environment=variables,
            port=ports[name],
        )
        for name in ORDER
    }


def worker_name() -> str:
    """How the worker of this machine is called in the pages."""
    return f"{platform.node() or 'this machine'}"


def ask(place: Place, path: str, body: object = None, *, caller: Mapping[str, str] = os.environ) -> Any:  # noqa: ANN401 - any JSON
    """Answer of the server's API at `path`; a POST where there is a `body`.

    Raises
    ------
    OSError
        If the server does not answer, or with an error.
    """
    request = urllib.request.Request(f"{place.api}{path}", headers={"Content-Type": "application/json"})  # noqa: S310 - http on loopback
    if body is not None:
        request.data = json.dumps(body).encode()
    password = next((caller[name] for name in AUTH if caller.get(name)), None)
    if password:
        request.add_header("Authorization", "Basic " + base64.b64encode(password.encode()).decode())
    # An HTTP proxy of the environment must not stand between two programs on one machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=10) as answer:
        content = answer.read()
    return json.loads(content) if content else None


def server_answers(place: Place) -> bool:
    """Whether a Prefect server answers."""
    try:
        return ask(place, "/health") is True
    except (OSError, ValueError):
        return False


def worker_polls(place: Place, *, since: float) -> bool:
    """Whether our worker has reported to the server after `since` (seconds since the epoch)."""
    try:
        workers = ask(place, f"/work_pools/{POOL}/workers/filter", {})
    except (OSError, ValueError):
        return False
    return any(
        worker["name"] == worker_name()
        and worker["status"] == "ONLINE"
        and datetime.fromisoformat(worker["last_heartbeat_time"]).timestamp() >= since
        for worker in workers
    )


def reports_answer(place: Place) -> bool:
    """Whether the web page of the reports answers."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{place.reports}/", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def unfinished_runs(place: Place) -> list[dict[str, Any]]:
    """Flow runs of our pool that are being worked on."""
    states = {"any_": ["RUNNING", "PENDING", "CANCELLING"]}
    found: list[dict[str, Any]] = ask(
        place,
        "/flow_runs/filter",
        {"flow_runs": {"state": {"type": states}}, "work_pools": {"name": {"any_": [POOL]}}, "limit": 50},
    )
    return found


def run_processes(place: Place) -> list[psutil.Process]:
    """Processes of flow runs that report to our server, also those whose worker is gone."""
    found = []
    for process in psutil.process_iter():
        try:
            variables = process.environ() if "prefect.engine" in process.cmdline() else {}
        except psutil.Error:
            continue
        if variables.get("PREFECT_API_URL") == place.api and "PREFECT__FLOW_RUN_ID" in variables:
            found.append(process)
    return found


def set_state(place: Place, run: dict[str, Any], kind: str) -> None:
    """Give a flow run the state `kind`, ``CANCELLING`` or ``CANCELLED``.

    Raises
    ------
    OSError
        If the server does not answer.
    """
    message = "make serve-stop took the worker down"
    state = {"type": kind, "name": kind.capitalize(), "message": message}
    ask(place, f"/flow_runs/{run['id']}/set_state", {"state": state, "force": False})
