"""When a run starts a Prefect server of its own, and that the server ends with the run."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, get_current_settings
from prefect.utilities.annotations import quote
from prefect.utilities.engine import resolve_inputs_sync

from flows.temporary_server import asked_again_soon, without_heartbeats
from medcompare.runs.prefect_server import TEMPORARY_SERVER
from tasks.cache import unlinked

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

ROOT = Path(__file__).resolve().parents[2]
RUN = """
import os, sys, time, urllib.request
from flows.temporary_server import start_temporary_server
start_temporary_server()
url = os.environ["PREFECT_API_URL"]
print(url, urllib.request.urlopen(url + "/health", timeout=120).read().decode(), flush=True)
sys.stdin.read()
"""


START = "from flows.temporary_server import start_temporary_server; start_temporary_server()"


@pytest.mark.parametrize(
    ("variables", "file", "content"),
    [
        ({"PREFECT_API_URL": "http://127.0.0.1:4/api"}, "unrelated.toml", ""),
        ({"PREFECT_PROFILE": "local"}, "unrelated.toml", ""),
        ({"PREFECT_SERVER_EPHEMERAL_ENABLED": "false"}, "unrelated.toml", ""),
        ({}, "prefect.toml", '[api]\nurl = "http://127.0.0.1:4/api"\n'),
        (
            {},
            "home/profiles.toml",
            'active = "a"\n[profiles.a]\nPREFECT_API_URL = "http://127.0.0.1:4/api"\n',
        ),
    ],
    ids=["address", "profile", "none allowed", "settings file", "active profile"],
)
def test_whoever_has_configured_a_server_gets_no_other(
    variables: dict[str, str], file: str, content: str, tmp_path: Path
) -> None:
    """Neither a variable nor a file in which Prefect keeps its settings is overruled."""
    (tmp_path / "home").mkdir()
    (tmp_path / file).write_text(content)
    code = f"import os; {START}; print(os.environ.get('MEDCOMPARE_TEMPORARY_SERVER'))"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment |= {"PREFECT_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT), **variables}
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )

    assert run.stdout == "None\n"


@pytest.mark.parametrize("ours", [True, False], ids=["our server", "another"])
def test_only_our_own_server_gets_no_heartbeats(ours: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001 - a parameter of the test
    """An automation of a server that stays may look for them; and nothing else of the settings changes."""
    monkeypatch.setenv(TEMPORARY_SERVER, "1") if ours else monkeypatch.delenv(TEMPORARY_SERVER, raising=False)
    before = get_current_settings()
    with without_heartbeats():
        within = get_current_settings()

    without = before.copy_with_update({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None})
    assert before.flows.heartbeat_frequency is not None
    assert within == (without if ours else before)
    assert get_current_settings() == before


@pytest.mark.parametrize("ours", [True, False], ids=["our server", "another"])
def test_only_without_pages_no_arrows_are_looked_for(ours: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001 - a parameter of the test
    """The task gets the same object either way."""
    monkeypatch.setenv(TEMPORARY_SERVER, "1") if ours else monkeypatch.delenv(TEMPORARY_SERVER, raising=False)
    given = {"a": "value"}
    found = unlinked(given)

    assert isinstance(found, quote) is ours
    (resolved,) = resolve_inputs_sync({"one": found}).values()
    assert resolved is given


@pytest.mark.parametrize(("status", "wait"), [(503, "0.1"), (200, None), (423, None)])
def test_a_writer_who_met_another_is_asked_again_at_once(status: int, wait: str | None) -> None:
    """Of all answers only that for a locked database says when to ask again; the rest of it stays."""

    async def answering(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": [(b"x", b"1")]})
        await send({"type": "http.response.body", "body": b"why"})

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(asked_again_soon(answering))
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            return await client.get("/")

    response = asyncio.run(ask())

    assert response.status_code == status
    assert response.headers.get("Retry-After") == wait
    assert (response.headers["x"], response.content) == ("1", b"why")


@pytest.mark.slow
@pytest.mark.parametrize("end", ["exit", "kill"])
def test_the_server_answers_and_ends_with_the_run(end: str, tmp_path: Path) -> None:
    """The API is up in a run that ends by itself or is killed, and gone soon after."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment |= {"PREFECT_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)}
    run = subprocess.Popen(
        [sys.executable, "-c", RUN],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=environment,
    )
    assert run.stdin is not None
    assert run.stdout is not None
    url, answer = run.stdout.readline().split()
    assert answer == "true"
    if end == "kill":
        run.kill()
    else:
        run.stdin.close()
    run.wait(30)
    deadline = time.monotonic() + 30
    while _answers(url) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not _answers(url)


def test_a_run_that_is_refused_does_not_wait_for_its_server(tmp_path: Path) -> None:
    """It is ended before it has made its database; nobody has asked it anything."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment |= {"PREFECT_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [sys.executable, "-c", f"import os; {START}; print(os.environ['PREFECT_API_URL'])"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )

    assert not _answers(run.stdout.strip())
    assert not list(tmp_path.rglob("prefect.db"))


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(f"{url}/health", timeout=5).close()  # noqa: S310 - our own server
    except OSError:  # refused, or closed while it ends
        return False
    return True


CUT_OFF = """
import os, socket, time, urllib.request
from flows.temporary_server import start_temporary_server
start_temporary_server()
url = os.environ["PREFECT_API_URL"]
urllib.request.urlopen(url + "/health", timeout=120).read()
port = int(url.split(":")[2].split("/")[0])
under_way = socket.create_connection(("127.0.0.1", port))
lines = ["POST /api/flows/filter HTTP/1.1", "Host: x", "Content-Type: application/json", "Content-Length: 9"]
under_way.sendall("\\r\\n".join([*lines, "", ""]).encode())  # the body never follows
time.sleep(1)
"""


@pytest.mark.slow
def test_a_request_under_way_at_the_end_is_no_traceback(tmp_path: Path) -> None:
    """Nobody waits for its answer any more: a run that ended well says nothing after its last line."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment |= {"PREFECT_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)}

    run = subprocess.run(
        [sys.executable, "-c", CUT_OFF],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
        timeout=300,
        check=False,
    )

    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
