"""The registry on a real MLflow server on this machine, and behind servers that answer something else or nothing."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from http.server import ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from medcompare.base.errors import RegistryError
from medcompare.cli.app import main
from medcompare.config.registry import RegistrySettings
from medcompare.handover.night import night
from medcompare.handover.night_end import finished, logged
from medcompare.handover.registry import NIGHTS, ROLES, ModelRegistry, check_reached
from medcompare.runs.history import history_path, list_runs
from tests.flows.test_registry import FIRST_NIGHT, config, ended, half, runs_called
from tests.notify.mail_servers import free_port
from tests.web import QuietHandler, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.flows.small_runs import First

MLFLOW = os.environ.get("MEDCOMPARE_TEST_MLFLOW", "")
needs_server = pytest.mark.skipif(
    not MLFLOW,
    reason="needs mlflow with its server: python -m venv pages && pages/bin/pip install mlflow, then "
    "MEDCOMPARE_TEST_MLFLOW=pages/bin/mlflow",
)
BY = ["--by", "Dr. Ada", "--because", "first of its kind"]


def fetched(url: str | urllib.request.Request) -> bytes:
    """What a server of this machine answers."""
    with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 - http
        return bytes(answer.read())


@contextmanager
def served(folder: Path, port: int) -> Iterator[str]:
    """An MLflow server that keeps everything in `folder`; killed with all its processes in the end."""
    folder.mkdir(exist_ok=True)
    address = f"http://127.0.0.1:{port}"
    places = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    places += ["--artifacts-destination", str(folder / "artifacts"), "--serve-artifacts"]
    with (folder / "log").open("ab") as log:
        server = subprocess.Popen(
            [
                shutil.which(MLFLOW) or MLFLOW,
                "server",
                *("--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
                *places,
            ],
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=os.environ
            | {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        )
    try:
        for _ in range(1200):
            try:
                fetched(f"{address}/health")
                break
            except OSError:
                assert server.poll() is None, (folder / "log").read_text("utf-8")
                time.sleep(0.1)
        yield address
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


class Answering(ThreadingHTTPServer):
    """A server of one answer."""

    status, body, kind = 200, b"<html><body>Sign in, your ticket is 4711</body></html>", "text/html"


class Answer(QuietHandler):
    """What it answers to whatever is asked."""

    server: Answering

    def do_GET(self) -> None:  # noqa: N802 - the library's name
        """Answer every request alike."""
        self.answer(self.server.status, self.server.body, Content_Type=self.server.kind)

    do_POST = do_GET  # noqa: N815 - the library's name


class Failing(ThreadingHTTPServer):
    """Passes calls on to a real server until `left` of those that change something are used up."""

    to, left, answer_lost = "", 10**9, False


class Passing(QuietHandler):
    """One call, passed on or cut off."""

    server: Failing

    def _pass_on(self) -> None:
        changes = self.command != "GET" and "/search" not in self.path
        self.server.left -= changes
        cut = self.server.left < 0
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if cut and not (self.server.answer_lost and self.server.left == -1):
            self.close_connection = True
            return
        asked = urllib.request.Request(  # noqa: S310 - of this machine
            self.server.to + self.path, data=body or None, method=self.command
        )
        if "Content-Type" in self.headers:
            asked.add_header("Content-Type", self.headers["Content-Type"])
        try:
            status, found = 200, fetched(asked)
        except urllib.error.HTTPError as error:
            status, found = error.code, error.read()
        if cut:
            self.close_connection = True
            return
        self.answer(status, found)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass_on  # noqa: N815 - the library's names


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (200, "answers, and not as an MLflow server: another program, another path or a proxy"),
        (404, "answers, and not as an MLflow server"),
        (401, "asks who you are: give the user and the password as MLFLOW_TRACKING_USERNAME"),
        (403, r"refuses this user or this name of the server: .* \(mlflow server --allowed-hosts\)"),
        (502, "answers with errors: it is too busy, or what it stands in front of is down"),
    ],
)
def test_what_is_no_registry_is_told_apart(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    said: str,
) -> None:
    """A page of a proxy is neither taken for an empty registry nor repeated; a password is never said."""
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ada")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "lovelace-1815")
    server = Answering(("127.0.0.1", 0), Answer)
    server.status = status
    with running(server) as address:
        assert main(["registry", "--uri", address, "--store", str(tmp_path)]) == 1
    told = "".join(capsys.readouterr())
    assert re.search(f"error: the registry {address} {said}", told)
    assert not re.search("4711|lovelace", told)


def test_a_server_that_is_not_there_is_told_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody listens; and encryption where there is none."""
    address = f"http://127.0.0.1:{free_port()}"
    assert main(["registry", "--uri", address, "--store", str(tmp_path)]) == 1
    assert f"{address} does not answer: nobody listens there" in capsys.readouterr().err
    with running(Answering(("127.0.0.1", 0), Answer)) as plain:
        encrypted = plain.replace("http:", "https:")
        assert main(["registry", "--uri", encrypted, "--store", str(tmp_path)]) == 1
    assert f"{encrypted} has no encryption, or a certificate that" in capsys.readouterr().err


def test_a_database_without_its_driver_says_which(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As PostgreSQL, for which MLflow brings none."""
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    assert main(["registry", "--uri", "postgresql://127.0.0.1:1/db", "--store", str(tmp_path)]) == 1
    assert "needs a package that is not there: python -m pip install psycopg2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("uri", "artifacts", "reached"),
    [
        ("http://mlflow.example:5000", "/srv/mlruns/1", False),
        ("http://mlflow.example:5000", "file:///srv/mlruns/1", False),
        ("http://mlflow.example:5000", "mlflow-artifacts:/1", True),
        ("http://mlflow.example:5000", "s3://bucket/1", True),
        ("http://127.0.0.1:5000", "/srv/mlruns/1", True),
        ("sqlite:////data/mlflow.db", "file:///data/artifacts", True),
    ],
)
def test_a_folder_of_another_machine_is_not_written_to_here(
    uri: str, artifacts: str, *, reached: bool
) -> None:
    """A server that serves no artifacts names its own folder, which would be made on this machine."""
    with (
        nullcontext()
        if reached
        else pytest.raises(RegistryError, match="a folder of its own machine and passes none")
    ):
        check_reached(uri, artifacts)


@pytest.mark.slow
@pytest.mark.timeout(1200)  # servers start in seconds, or in a minute where cores are few
@needs_server
def test_everything_goes_through_a_server(
    first: First,
    exported: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Add, nights, promote and roll back; another machine sees the same; and the server goes down after a night."""
    reference, new = half(first.images, tmp_path / "reference", 0), half(first.images, tmp_path / "new", 1)
    settings = config(tmp_path, reference, new)
    port = free_port()
    with served(tmp_path / "server", port) as address:
        settings = settings.model_copy(
            update={"registry": settings.registry.model_copy(update={"uri": address})}
        )
        at = ["--uri", address, "--store", str(settings.store)]
        report = first.root / "runs" / "latest" / "report.pdf"
        for role in ("champion", "challenger"):
            assert main(["registry", "add", str(exported), "--report", str(report), *BY, *at]) == 0
            assert f"is the {role} of medcompare" in capsys.readouterr().out
        registry = ModelRegistry(settings.registry, settings.store)
        one = night(settings, registry, at=FIRST_NIGHT)
        _, page = ended(settings, registry, one)

        (all_nights,) = runs_called(registry, NIGHTS)
        kept = fetched(f"{address}/get-artifact?run_id={all_nights.info.run_id}&path=nights.html")
        assert kept == page.read_bytes()
        source = runs_called(registry, "Export: Test CNN")[0]
        assert source.info.artifact_uri.startswith("mlflow-artifacts:")
        found = fetched(f"{address}/get-artifact?run_id={source.info.run_id}&path=report.pdf")
        assert found == report.read_bytes()

        there = ModelRegistry(settings.registry, tmp_path / "another machine")
        copy = there.role("champion")
        assert copy is not None
        assert copy.folder.is_relative_to(tmp_path / "another machine")
        assert {path.name: path.read_bytes() for path in copy.folder.iterdir()} == {
            path.name: path.read_bytes() for path in exported.iterdir()
        }
        there.remember(looks=1)
        assert "kept in another store" in night(settings, there, at=FIRST_NIGHT).notes[-1]

        assert main(["registry", "promote", "2", *BY, *at]) == 0
        capsys.readouterr()
        assert main(["registry", *at]) == 0
        shown = capsys.readouterr()
        assert re.search(r"champion +version 2 .*\n.*\nprevious +version 1 ", shown.out)
        assert f"registry    {address}/#/models/medcompare?workflowType=machine_learning" in shown.out
        assert "🏃" not in shown.out + shown.err
        assert main(["registry", "rollback", *BY, *at]) == 0
        two = night(settings, registry, at=FIRST_NIGHT + timedelta(days=1))

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    run, _, page = finished(settings, registry, two)
    assert list_runs(history_path(settings.store))[0].name == run.name
    with pytest.raises(
        RegistryError,
        match=r"the night is done, and MLflow does not have it .* (nobody listens|in the middle)",
    ):
        logged(registry, two, run, page)
    with pytest.raises(RegistryError, match="nobody listens there"):
        registry.add(exported, by="Dr. Ada", because="would be the champion of an empty registry")
    with served(tmp_path / "server", port):
        again = ModelRegistry(settings.registry, settings.store)
        assert again.role("champion").number == "1"  # type: ignore[union-attr]
        logged(again, two, run, page)
        assert runs_called(again, "Night 2: hold")


@pytest.mark.slow
@pytest.mark.timeout(1200)  # servers start in seconds, or in a minute where cores are few
@needs_server
@pytest.mark.parametrize("answer_lost", [False, True])
def test_a_promotion_that_is_cut_off_leaves_a_champion_and_the_way_back(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, answer_lost: bool
) -> None:
    """The server dies before, or after, each change that a promotion makes; the same command then ends it."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with served(tmp_path / "server", free_port()) as address:
        real = ModelRegistry(RegistrySettings(uri=address), tmp_path)
        for _ in range(2):
            real.add(exported, by="Dr. Ada", because="a model")
        proxy = Failing(("127.0.0.1", 0), Passing)
        proxy.to, proxy.answer_lost = address, answer_lost
        cut = 0
        with running(proxy) as between:
            unsure = ModelRegistry(RegistrySettings(uri=between), tmp_path)
            for n_changes in range(100):
                real.remember(looks=3)
                proxy.left = n_changes
                try:
                    unsure.crown("2", action="promote", by="Dr. Ada", because="it is better")
                except RegistryError:
                    cut += 1
                else:
                    break
                numbers = {role: one.number for role in ROLES if (one := real.role(role)) is not None}
                assert numbers in (
                    {"champion": "1", "challenger": "2"},
                    {"champion": "2", "previous": "1"},
                ), n_changes
                if numbers["champion"] == "1":
                    assert real.looks == 3
                    real.crown("2", action="promote", by="Dr. Ada", because="it is better")
                real.crown("1", action="roll back", by="Dr. Ada", because="the next attempt")
                real._client.set_registered_model_alias("medcompare", "challenger", "2")
    assert cut >= 5
