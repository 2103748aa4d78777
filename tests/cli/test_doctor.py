"""The doctor finds what is wrong, says what to do, and harms nothing."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import tomllib
import unicodedata
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from medcompare.base.errors import ConfigError
from medcompare.cli import doctor_checks as checks
from medcompare.cli.app import main
from medcompare.cli.doctor import guarded, run_checks, verdict
from medcompare.models.zoo import MODELS
from medcompare.notify.message import build_report_mail
from medcompare.notify.outbox import outbox_folder, queue
from medcompare.report import fonts
from medcompare.runs.history import history_path, record_run
from tests.notify.mail_servers import (
    PASSWORD,
    USER,
    Mailbox,
    config,
    free_port,
    mail_server,
    make_certificates,
)
from tests.runs.sample_runs import summary
from tests.web import web_server

if TYPE_CHECKING:
    from medcompare.cli.doctor_checks import Found

PREFECT = version("prefect")
WRONG = "a wrong secret"


def _healthy(server_version: str = PREFECT) -> dict[str, tuple[int, str]]:
    return {"/api/health": (200, "true"), "/api/admin/version": (200, json.dumps(server_version))}


def test_a_pdf_is_really_made() -> None:
    """The rendering check passes here, where the report's tests pass too."""
    result = checks.check_rendering()

    assert result.status == "ok"
    assert "made a PDF" in result.detail
    assert checks.check_fonts().status == "ok"


def test_scripts_without_a_font_are_named() -> None:
    """The doctor names exactly the scripts in which names are refused before work, and the packages."""
    result = checks.check_fonts()
    refused = [script for script, letters in fonts.SCRIPTS.items() if fonts.undrawable(letters)]
    for script in refused:
        with pytest.raises(ConfigError) as refusal:
            fonts.require_fonts([("class name", fonts.SCRIPTS[script])])
        package = re.search(r"apt-get install (\S+)\)", str(refusal.value))
        assert package is not None
        assert package[1] in str(result.remedy)

    named = result.detail.partition("no font here has them: ")[2]
    assert named == ", ".join(refused)
    assert (result.remedy is None) == (not refused)
    # What DejaVu has is never named, on any machine.
    assert {"Arabic", "Cyrillic", "Georgian", "Greek", "Hebrew"}.isdisjoint(refused)


def test_every_script_has_letters_of_its_own() -> None:
    """The sample letters of a script are of that script, by their Unicode names."""
    words = {"Chinese": "CJK", "Japanese": "HIRAGANA", "Korean": "HANGUL"}
    for script, letters in fonts.SCRIPTS.items():
        assert unicodedata.name(letters[0]).startswith(words.get(script, script.upper())), script


def test_no_server_is_asked_for_where_none_is_set() -> None:
    """Neither Prefect nor mail is required."""
    assert checks.check_prefect_server({}).status == "ok"
    assert checks.check_mail({}).status == "ok"


def test_a_healthy_server_of_the_same_version() -> None:
    """Health and version are asked for, and the login is shown but never printed."""
    with web_server(_healthy()) as (url, asked):
        result = checks.check_prefect_server(
            {"PREFECT_API_URL": f"{url}/api", "PREFECT_API_AUTH_STRING": "admin:hush"}
        )

    assert result.status == "ok"
    assert PREFECT in result.detail
    assert {one.login for one in asked} == {"Basic " + base64.b64encode(b"admin:hush").decode()}
    assert "hush" not in str(result)


@pytest.mark.parametrize(
    ("answers", "status", "words"),
    [
        (_healthy("3.1.0"), "warn", "runs 3.1.0, this client is"),
        (_healthy() | {"/api/health": (200, "false")}, "fail", "not healthy"),
        (_healthy() | {"/api/health": (401, "no")}, "fail", "answered 401"),
        ({}, "fail", "answered 404"),
        (_healthy() | {"/api/admin/version": (200, "<html>")}, "fail", "is not Prefect"),
    ],
)
def test_a_server_that_will_not_do(answers: dict[str, tuple[int, str]], status: str, words: str) -> None:
    """Each with what it said and what to do."""
    with web_server(answers) as (url, _):
        result = checks.check_prefect_server({"PREFECT_API_URL": f"{url}/api"})

    assert result.status == status
    assert words in result.detail
    assert result.remedy


def test_a_server_that_is_not_there() -> None:
    """Refused connections and nonsense addresses; a login in the address is not printed."""
    gone = checks.check_prefect_server({"PREFECT_API_URL": f"http://user:hush@127.0.0.1:{free_port()}/api"})
    assert gone.status == "fail"
    assert "hush" not in str(gone)
    assert "prefect server start" in str(gone.remedy)
    assert checks.check_prefect_server({"PREFECT_API_URL": "file:///etc/passwd"}).status == "fail"


def _smtp(port: int, **values: str) -> dict[str, str]:
    return {
        "MEDCOMPARE_SMTP_HOST": "127.0.0.1",
        "MEDCOMPARE_SMTP_PORT": str(port),
        "MEDCOMPARE_SMTP_SENDER": "reports@hospital.example",
        "MEDCOMPARE_SMTP_RECIPIENTS": "board@hospital.example",
    } | {f"MEDCOMPARE_SMTP_{name.upper()}": value for name, value in values.items()}


def test_the_mail_server_is_logged_in_to_and_nothing_is_sent(tmp_path: Path) -> None:
    """A good login is ok, a wrong one fails with its remedy, and no password is printed."""
    certificates = make_certificates(tmp_path)
    mailbox = Mailbox()
    with mail_server(mailbox, certificates=certificates, security="starttls", login=True) as port:
        settings = {"ca_file": str(certificates.authority), "username": USER}
        good = checks.check_mail(_smtp(port, **settings, password=PASSWORD))
        bad = checks.check_mail(_smtp(port, **settings, password=WRONG))

    assert (good.status, bad.status) == ("ok", "fail")
    assert f"logged in as {USER}" in good.detail
    assert "username and password" in str(bad.remedy)
    assert "secret" not in str(bad)
    assert PASSWORD not in str(good)
    assert mailbox.mails == []


def test_a_mail_server_that_takes_less_than_we_attach() -> None:
    """A limit below max_attachment_bytes is found before a report bounces."""
    with mail_server(Mailbox(), data_size_limit=1_380_000) as port:
        result = checks.check_mail(_smtp(port, security="none"))
        assert checks.check_mail(_smtp(port, security="none", max_attachment_bytes="900000")).status == "ok"

    assert result.status == "warn"
    assert "MEDCOMPARE_SMTP_MAX_ATTACHMENT_BYTES=1000000" in str(result.remedy)


def test_a_mail_server_that_is_not_there_and_settings_that_are_wrong() -> None:
    """The variable or the address is named."""
    gone = checks.check_mail(_smtp(free_port(), security="none"))
    assert (gone.status, gone.remedy) == ("fail", "check host, port and firewall")
    assert "Connection refused" in gone.detail

    wrong = checks.check_mail(_smtp(25, recipients="nobody"))
    assert wrong.status == "fail"
    assert "MEDCOMPARE_SMTP_RECIPIENTS" in wrong.detail


def test_disk(tmp_path: Path) -> None:
    """The nearest folder that exists is looked at; nothing is left behind."""
    assert checks.check_disk("out", tmp_path / "not" / "yet").detail.endswith(f"free in {tmp_path}")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("in the way")
    blocked = checks.check_disk("store", tmp_path / "file" / "x")
    assert (blocked.status, blocked.remedy) == ("fail", "name another folder with --store")


def test_little_disk(tmp_path: Path) -> None:
    """Below one limit a look, below the other a failure; both say what frees space."""
    huge = 10**18
    little = checks.check_disk("out", tmp_path, little_bytes=huge)
    none = checks.check_disk("out", tmp_path, none_bytes=huge)

    assert (little.status, none.status) == ("warn", "fail")
    assert "medcompare prune" in str(little.remedy)
    assert "medcompare prune" in str(none.remedy)


def test_shared_memory(tmp_path: Path) -> None:
    """A system without it is fine; a container's usual 64 MB deserve a look."""
    assert checks.check_shared_memory(tmp_path / "absent").status == "ok"
    assert checks.check_shared_memory(tmp_path).status == "ok"
    little = checks.check_shared_memory(tmp_path, little_bytes=10**18)
    assert little.status == "warn"
    assert "--shm-size" in str(little.remedy)


def _absent(name: str) -> str:
    raise PackageNotFoundError(name)


@pytest.mark.parametrize(
    ("prefect", "fastapi", "status"),
    [
        ("3.8.8", "0.150.0", "ok"),
        ("3.8.12", "0.139.0", "ok"),
        ("3.8.7", "0.150.0", "fail"),
        ("3.9.0", "0.150.0", "fail"),
        ("2.20.0", "0.150.0", "fail"),
        ("3.8.8", "0.151.0", "fail"),
        ("3.8.8", "0.154.2", "fail"),
        ("3.8.8", "0.138.0", "fail"),
    ],
)
def test_versions_of_prefect(prefect: str, fastapi: str, status: str) -> None:
    """Those that were tried are ok; those known to break are named before they do."""
    result = checks.check_prefect_version(
        {"prefect": prefect, "fastapi": fastapi, "sqlalchemy": "2.0.44"}.__getitem__
    )

    assert result.status == status
    assert (result.remedy is None) == (status == "ok")


def test_versions_are_those_of_the_project() -> None:
    """What the doctor allows stands in pyproject.toml alone, and its remedy is what stands there."""
    wanted = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"][
        "dependencies"
    ]
    versions = {"prefect": "3.8.8", "fastapi": "0.154.0", "sqlalchemy": "2.1.0"}

    result = checks.check_prefect_version(versions.__getitem__)

    spelt = {line.replace(" ", "") for line in wanted}
    named = re.findall(r"'(\w+)([^']*)'", str(result.remedy))
    assert [name for name, _ in named] == ["fastapi", "sqlalchemy"]
    for name, bounds in named:
        (line,) = [one for one in spelt if one.startswith(name)]
        assert set(line.removeprefix(name).split(",")) == set(bounds.split(","))


def test_prefect_is_not_installed() -> None:
    """The missing distribution is named."""
    assert checks.check_prefect_version(_absent).detail == "prefect is not installed"


def test_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing files are named, with where to put them; files that are there are found."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    file = MODELS["resnet50"].weights["V1"].filename

    missing = checks.check_weights(("resnet50",), tmp_path)
    assert missing.status == "warn"
    assert file in missing.detail
    assert str(tmp_path / "home/hub/checkpoints") in str(missing.remedy)

    (tmp_path / file).write_bytes(b"weights")
    assert checks.check_weights(("resnet50",), tmp_path).status == "ok"


def test_outbox_and_history(tmp_path: Path) -> None:
    """Waiting mails are pointed out, a damaged history fails."""
    assert checks.check_outbox(tmp_path).status == "ok"
    assert checks.check_history(tmp_path).detail == "no run recorded yet"

    mail = build_report_mail(summary(), None, config(25), pdf=None, now=datetime.now(UTC))
    queue(mail, ("a@b.example",), outbox_folder(tmp_path))
    record_run(history_path(tmp_path), summary())
    assert checks.check_outbox(tmp_path).detail == "1 mails wait, 0 were refused for good"
    assert checks.check_history(tmp_path).detail == "1 runs, the last completed (2026-11-01_oral)"

    history_path(tmp_path / "broken").mkdir(parents=True)
    (history_path(tmp_path / "broken") / "run.json").write_bytes(b"not JSON")
    assert checks.check_history(tmp_path / "broken").status == "fail"


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_a_history_of_another_user(tmp_path: Path) -> None:
    """The remedy is a permission, not a new history."""
    record_run(history_path(tmp_path), summary())
    history_path(tmp_path).chmod(0)
    result = checks.check_history(tmp_path)
    assert result.remedy is not None
    assert result.remedy.startswith("let this user read and write")


def test_folders_that_an_earlier_version_left_open(tmp_path: Path) -> None:
    """The store and finished runs are named with the command that closes them; other folders are the user's."""
    out, store = tmp_path / "my runs", tmp_path / "store"
    assert checks.check_access(out, store).status == "ok"
    for folder in (store, out / "a", out / "b", out / "notes"):
        folder.mkdir(parents=True)
        folder.chmod(0o755)
    for name in ("a", "b"):
        (out / name / "results.json").touch()

    found = checks.check_access(out, store)
    assert found.detail == f"{store} and 2 more can be read by everybody on this machine"
    assert found.remedy == f"chmod -R o-rwx {store} '{out}'"

    subprocess.run(found.remedy, shell=True, check=True)  # noqa: S602 - what the user would type
    assert checks.check_access(out, store).status == "ok"
    assert (out / "a").stat().st_mode & 0o777 == 0o750


def test_code(tmp_path: Path) -> None:
    """Outside a clone the commit cannot be told."""
    assert checks.check_code(tmp_path).status == "warn"


def test_a_check_that_breaks_is_a_failed_check() -> None:
    """The others are still shown."""

    def broken() -> Found:
        msg = "surprise"
        raise RuntimeError(msg)

    result = guarded(broken)

    assert result.status == "fail"
    assert "RuntimeError: surprise" in result.detail


def test_every_result_that_is_not_ok_has_a_remedy(tmp_path: Path) -> None:
    """All checks run, on whatever machine this is, and leave nothing behind."""
    results = run_checks(tmp_path / "runs", tmp_path / "store", environment={})

    assert len(results) == 15
    assert [name for name, found in results.items() if found.status != "ok" and not found.remedy] == []
    assert list(tmp_path.iterdir()) == []


def test_the_closing_line() -> None:
    """Counts of what failed and what deserves a look."""
    assert verdict(["ok", "ok"]) == "This machine is ready: 2 checks, none failed."
    assert verdict(["ok", "warn"]) == "This machine is ready: 2 checks, none failed; 1 deserves a look."
    assert verdict(["fail", "warn", "ok"]) == "1 of 3 checks failed."


def test_exit_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """1 where a check failed, 2 for bad input, and the table says what to do."""
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{free_port()}/api")
    places = ["--out", str(tmp_path / "runs"), "--store", str(tmp_path / "store")]

    assert main(["doctor", *places]) == 1
    said = capsys.readouterr().out
    assert "FAIL" in said
    assert "→ start it (make serve, or prefect server start" in said

    assert main(["doctor", *places, "--json"]) == 1
    found = {row["name"]: row["status"] for row in json.loads(capsys.readouterr().out)}
    assert found["Prefect server"] == "fail"

    assert main(["doctor", "--weights-dir", str(tmp_path / "absent")]) == 2


@pytest.mark.slow
def test_deep_check_imports_torch() -> None:
    """Torch is really imported, in a process of its own."""
    assert checks.check_torch(deep=True).status in {"ok", "warn"}
