"""When a run starts a Prefect server of its own, and that the server ends with the run."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from flows.temporary_server import prefect_is_set_up

ROOT = Path(__file__).resolve().parents[2]
RUN = """
import os, sys, time, urllib.request
from flows.temporary_server import start_temporary_server
start_temporary_server()
url = os.environ["PREFECT_API_URL"]
print(url, urllib.request.urlopen(url + "/health", timeout=120).read().decode(), flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(
    "variable",
    ["PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH", "PREFECT_SERVER_EPHEMERAL_ENABLED"],
)
def test_a_variable_decides(variable: str, tmp_path: Path) -> None:
    """Whoever names a server or a profile is not given another one."""
    home = {"PREFECT_HOME": str(tmp_path / "home")}
    assert not prefect_is_set_up(home, tmp_path)
    assert prefect_is_set_up({**home, variable: "x"}, tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("home/profiles.toml", ""),
        (".env", ""),
        ("prefect.toml", ""),
        ("pyproject.toml", "[tool.prefect.api]\n"),
    ],
)
def test_a_file_decides(name: str, content: str, tmp_path: Path) -> None:
    """So does every file in which Prefect keeps its settings; another pyproject.toml does not."""
    (tmp_path / "home").mkdir()
    (tmp_path / "pyproject.toml").write_text("[tool.ruff]\n")
    environment = {"PREFECT_HOME": str(tmp_path / "home")}
    assert not prefect_is_set_up(environment, tmp_path)
    (tmp_path / name).write_text(content)
    assert prefect_is_set_up(environment, tmp_path)


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


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(f"{url}/health", timeout=5).close()  # noqa: S310 - our own server
    except urllib.error.URLError:
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
