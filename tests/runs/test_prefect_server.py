"""The Prefect server a run will use: asked directly, never through a proxy, and named where it is gone."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest

from medcompare.cli.doctor_checks import check_prefect_server, check_proxy
from medcompare.runs.prefect_server import (
    ServerError,
    bypass_proxy,
    bypasses_proxy,
    check_prefect_home,
    check_proxies,
    check_server,
)
from tests.notify.mail_servers import free_port
from tests.web import web_server

ROOT = Path(__file__).resolve().parents[2]
FAR_PROXY = "http://10.255.255.1:3128"
PREFECT = version("prefect")


def plain_environment(tmp_path: Path, **more: str) -> dict[str, str]:
    """Variables of the tests without any of Prefect's and any proxy, with `more`."""
    dropped = re.compile("prefect_.*|.*_proxy", re.IGNORECASE)
    kept = {name: value for name, value in os.environ.items() if not dropped.fullmatch(name)}
    return kept | {"PREFECT_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)} | more


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
@pytest.mark.parametrize("kept", [{}, {"NO_PROXY": ".intra.example"}, {"no_proxy": ".intra.example"}])
def test_the_client_of_prefect_asks_this_machine_directly(
    variable: str, kept: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """httpx, which Prefect uses, goes past a proxy of any spelling, and the user's own exceptions stay."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    with web_server({}) as (proxy, through_proxy), web_server({"/x": (200, "yes")}) as (url, _):
        for name, value in {variable: proxy, **kept}.items():
            monkeypatch.setenv(name, value)
        httpx.get(f"{url}/x", timeout=10)
        assert through_proxy, "without a word in NO_PROXY the proxy is asked"
        bypass_proxy(os.environ)
        through_proxy.clear()
        assert httpx.get(f"{url}/x", timeout=10).text == "yes"
        assert httpx.get(f"{url.replace('127.0.0.1', 'localhost')}/x", timeout=10).text == "yes"
        assert through_proxy == []
    assert bypasses_proxy(os.environ)
    hosts = [os.environ[name].split(",") for name in ("NO_PROXY", "no_proxy")]
    assert hosts[0] == hosts[1] == [*(".intra.example" for _ in kept), "127.0.0.1", "localhost", "::1"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {}),
        ({"NO_PROXY": "a"}, {"NO_PROXY": "a"}),
        ({"https_proxy": FAR_PROXY, "NO_PROXY": "*"}, {"NO_PROXY": "*", "no_proxy": "*"}),
        (
            {"https_proxy": FAR_PROXY, "NO_PROXY": "a, 127.0.0.1", "no_proxy": "b"},
            {"NO_PROXY": "a,127.0.0.1,localhost,::1", "no_proxy": "b,127.0.0.1,localhost,::1"},
        ),
        # The small letters win, also where they are empty: then nothing was excepted.
        (
            {"HTTP_PROXY": FAR_PROXY, "NO_PROXY": "a", "no_proxy": ""},
            {"NO_PROXY": "a,127.0.0.1,localhost,::1", "no_proxy": "127.0.0.1,localhost,::1"},
        ),
    ],
)
def test_what_the_user_excepted_stays(before: dict[str, str], after: dict[str, str]) -> None:
    """Nothing is taken away, and nothing is set where there is no proxy."""
    environment = dict(before)
    bypass_proxy(environment)
    bypass_proxy(environment)
    assert {n: v for n, v in environment.items() if n.lower() == "no_proxy"} == after


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("socks://127.0.0.1:1080", "begins with socks://"),  # as GNOME sets it
        ("ftp://proxy", "begins with ftp://"),
    ],
)
def test_a_proxy_that_no_client_takes_is_refused_by_name(value: str, words: str) -> None:
    """Prefect's client cannot even be made with it; the password in it is not printed."""
    with pytest.raises(ServerError, match=f"ALL_PROXY {words}.*unset ALL_PROXY"):
        check_proxies({"ALL_PROXY": value.replace("://", "://me:hush@")})
    result = check_proxy({"ALL_PROXY": value})
    assert result.status == "fail"
    assert "hush" not in str(result)


def test_a_socks_proxy_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the package it is taken."""
    environment = {"all_proxy": "socks5h://127.0.0.1:1080"}
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ServerError, match="socksio is missing"):
        check_proxies(environment)
    monkeypatch.undo()
    monkeypatch.setattr("importlib.util.find_spec", lambda _: object())
    check_proxies(environment)
    check_proxies({"HTTP_PROXY": "proxy:3128", "https_proxy": FAR_PROXY})


def test_the_doctor_tells_of_proxies() -> None:
    """A proxy that would be asked for the own server is a warning, with the line to type."""
    assert check_proxy({}).status == "ok"
    asked = check_proxy({"HTTP_PROXY": FAR_PROXY, "NO_PROXY": ".intra.example"})
    assert asked.status == "warn"
    assert "export NO_PROXY=.intra.example,127.0.0.1,localhost,::1 no_proxy=" in str(asked.remedy)
    assert check_proxy({"HTTP_PROXY": FAR_PROXY, "NO_PROXY": "::1,localhost,127.0.0.1"}).status == "ok"


HEALTHY = {"/api/health": (200, "true"), "/api/admin/version": (200, json.dumps(PREFECT))}
PAGE = (200, "<html>")
"""What a server of pages answers for any address."""


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ({}, "answered 404"),
        ({"/api/health": PAGE, "/api/admin/version": PAGE}, "what answers there is not Prefect"),
        (HEALTHY | {"/api/admin/version": (200, '"2.20.4"')}, "that server is Prefect 2.20.4"),
        (HEALTHY | {"/api/health": (401, "no")}, "answered 401"),
        (HEALTHY | {"/api/health": (200, "false")}, "not healthy"),
    ],
)
def test_a_server_that_will_not_do(answers: dict[str, tuple[int, str]], words: str, tmp_path: Path) -> None:
    """Each with the setting, where it was made, and what to do."""
    with web_server(answers) as (url, _):
        environment = plain_environment(tmp_path, PREFECT_API_URL=f"{url}/api")
        with pytest.raises(ServerError, match=words) as caught:
            check_server(environment, tmp_path, timeout_s=10)
        assert check_prefect_server(environment, tmp_path).status == "fail"
    assert "set by the variable PREFECT_API_URL" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "origin", "remedy"),
    [
        (".env", "export PREFECT_API_URL='{url}'\n", "the file", "remove it from"),
        ("prefect.toml", '[api]\nurl = "{url}"\n', "the file", "remove it from"),
        ("pyproject.toml", '[tool.prefect.api]\nurl = "{url}"\n', "the file", "remove it from"),
        (
            "home/profiles.toml",
            'active = "ward"\n[profiles.ward]\nPREFECT_API_URL = "{url}"\n',
            "the profile 'ward'",
            "prefect config unset -y PREFECT_API_URL",
        ),
    ],
)
def test_the_place_of_a_setting_is_named(
    name: str, content: str, origin: str, remedy: str, tmp_path: Path
) -> None:
    """An address may be left over in any file that Prefect reads; its login is never printed."""
    (tmp_path / "home").mkdir()
    (tmp_path / name).write_text(content.replace("{url}", f"http://me:hush@127.0.0.1:{free_port()}/api"))
    with pytest.raises(ServerError) as caught:
        check_server(plain_environment(tmp_path), tmp_path, timeout_s=5)
    assert origin in caught.value.detail
    assert "Connection refused" in caught.value.detail
    assert remedy in caught.value.remedy
    assert "hush" not in str(caught.value)


def test_a_good_server_is_used(tmp_path: Path) -> None:
    """Asked directly though there is a proxy, also where its version is not told; none is no error."""
    environment = plain_environment(tmp_path, http_proxy=FAR_PROXY)
    assert check_server(environment, tmp_path, timeout_s=5) is None
    with web_server(HEALTHY) as (url, asked):
        assert (
            check_server(environment | {"PREFECT_API_URL": f"{url}/api/"}, tmp_path, timeout_s=5) == PREFECT
        )
        assert [one.path for one in asked] == ["/api/health", "/api/admin/version"]
    with web_server({"/api/health": (200, "true")}) as (url, _):
        assert check_server(environment | {"PREFECT_API_URL": f"{url}/api"}, tmp_path, timeout_s=5) is None


def test_the_folder_of_prefect_must_be_writable(tmp_path: Path) -> None:
    """A new account has no home yet, which is made; where none can be made, the variable is named."""
    check_prefect_home({"PREFECT_HOME": str(tmp_path / "new" / "home")})
    assert list((tmp_path / "new" / "home").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(
        ServerError, match=r"/file/home, which cannot be written \(Not a directory\).*PREFECT_HOME="
    ):
        check_prefect_home({"PREFECT_HOME": str(tmp_path / "file" / "home")})


def refused(tmp_path: Path, **variables: str) -> str:
    """What the command line says to a table it could assess, with these variables: one sentence, nothing written."""
    table = tmp_path / "predictions.csv"
    rows = [f"case-{i},{i % 2},{(i * 37 % 101) / 101:.4f}" for i in range(80)]
    table.write_text("\n".join(["case_id,y_true,resnet50", *rows]))
    done = subprocess.run(
        [sys.executable, "-m", "flows.assess", "--predictions", str(table)],
        cwd=tmp_path,
        env=plain_environment(tmp_path, **variables),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "runs").exists()
    return done.stderr


def test_a_run_asks_for_a_writable_folder_of_prefect(tmp_path: Path) -> None:
    """One sentence and status 2, before Prefect is started."""
    (tmp_path / "file").touch()

    assert refused(tmp_path, PREFECT_HOME=str(tmp_path / "file" / "home")).startswith(
        "error: Prefect keeps its database in "
    )


def test_a_left_over_address_is_refused_with_both_remedies(tmp_path: Path) -> None:
    """On the command line: status 2, one sentence, nothing begun, nothing written."""
    url = f"http://127.0.0.1:{free_port()}/api"
    said = refused(tmp_path, PREFECT_API_URL=url)

    for words in (f"error: PREFECT_API_URL is {url}", "make serve", "unset PREFECT_API_URL"):
        assert words in said


@pytest.mark.slow
def test_a_run_behind_a_proxy_completes(tmp_path: Path) -> None:
    """As on a hospital's workstation: the proxy is set, answers for nobody, and is not asked."""
    table = tmp_path / "predictions.csv"
    rows = [f"case-{i},{i % 2},{(i * 37 % 101) / 101:.4f}" for i in range(80)]
    table.write_text("\n".join(["case_id,y_true,resnet50", *rows]))
    with web_server({}) as (proxy, through_proxy):
        names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
        done = subprocess.run(
            [sys.executable, "-m", "flows.assess", "--predictions", str(table)],
            cwd=tmp_path,
            env=plain_environment(tmp_path, **dict.fromkeys(names, proxy)),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert (done.returncode, through_proxy) == (0, []), done.stderr
