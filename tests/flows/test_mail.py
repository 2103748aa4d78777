"""Mails about real runs, received by a real server; and runs that never fail because of one."""

from __future__ import annotations

import contextlib
import logging
import shutil
from typing import TYPE_CHECKING

import pytest
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL
from pydantic import SecretStr

from medcompare.cli.doctor import mail_from_server
from medcompare.cli.doctor_checks import check_mail
from medcompare.notify.outbox import outbox_folder, waiting
from medcompare.runs.history import history_path, list_runs
from tasks.mail_block import BLOCK_NAME, MedcompareMail, mail_config_from_block
from tests.flows.conftest import RECIPIENT, SENDER, WAITING, set_mail_server
from tests.flows.small_runs import run, small_config
from tests.notify.mail_servers import PASSWORD, USER, Mailbox, free_port, mail_server
from tests.notify.sample_mails import attachments, body_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import EmailMessage
    from pathlib import Path

    from tests.flows.small_runs import Assessed, First

pytestmark = pytest.mark.timeout(900)  # real trainings, on a machine that may be busy


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the caller's own settings reaches the runs."""
    for name in ("HOST", "PORT", "SECURITY", "SENDER", "RECIPIENTS", "USERNAME", "PASSWORD", "WHEN"):
        monkeypatch.delenv(f"MEDCOMPARE_SMTP_{name}", raising=False)


@pytest.fixture
def block() -> Iterator[MedcompareMail]:
    """Settings filled in in the orchestrator; saved by the test, deleted afterwards."""
    yield MedcompareMail(
        host="127.0.0.1",
        port=free_port(),
        security="none",
        username=USER,
        password=SecretStr(PASSWORD),
        sender=SENDER,
        recipients=[RECIPIENT],
    )
    with contextlib.suppress(ObjectNotFound, ValueError):
        MedcompareMail.delete(BLOCK_NAME)


def everything(message: EmailMessage) -> str:
    """Headers and bodies of a mail."""
    headers = "\n".join(f"{name}: {value}" for name, value in message.items())
    return headers + body_text(message) + body_text(message, "html")


def test_the_report_is_mailed(first: First) -> None:
    """Once, to whom it may concern: data set and verdict in the subject, the PDF attached whole."""
    [(recipients, message)] = first.mails

    assert recipients == (RECIPIENT,)
    assert message["From"] == SENDER
    assert message["Subject"] == f"two-classes: {first.result.headline}"
    [(name, content)] = attachments(message).items()
    assert name is not None
    assert name.startswith("medcompare-report-")
    assert name.endswith(".pdf")
    assert content.startswith(b"%PDF")
    assert content == (first.root / "runs/latest/report.pdf").read_bytes()
    [row] = list_runs(history_path(first.root / "store"))
    assert f"{row.models[0].auc.value:.3f}" in body_text(message)
    assert str(first.root) not in everything(message)
    assert waiting(outbox_folder(first.root / "store")) == []


def test_a_failure_is_mailed_without_any_name_of_a_file(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stage, kind of error and remedy; what was found at which place stays in the log."""
    for number in range(10):
        (images / "cancer" / f"{number:03d}.png").rename(images / "cancer" / f"smith-john-{number}.png")
        (images / "cancer" / f"smith-john-{number}.png").write_bytes(b"broken")
    mailbox = Mailbox()
    with mail_server(mailbox) as port:
        set_mail_server(monkeypatch, port, when="failure")
        run(small_config(images, tmp_path))

    [(_, message)] = mailbox.mails
    [row] = list_runs(history_path(tmp_path / "store"))
    assert row.failure is not None
    assert message["Subject"] == "two-classes: the run failed in ingest"
    text = body_text(message)
    assert "10 of 80 files" in row.failure.cause
    assert "DataError: images, manifest or prediction table cannot be used" in text
    assert (
        "Change the input or the setting that the log of the run names: the same input fails again." in text
    )
    for private in ("smith", "john", ".png", str(tmp_path), "/tmp", "127.0.0.1"):  # noqa: S108 - as text
        assert private not in everything(message)
    assert attachments(message) == {}


def test_a_failure_before_work_is_mailed(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One class only: the folder is not named in the mail, though it is in the log."""
    for path in (images / "non_cancer").iterdir():
        path.unlink()
    mailbox = Mailbox()
    with mail_server(mailbox) as port:
        set_mail_server(monkeypatch, port)
        run(small_config(images, tmp_path))

    [(_, message)] = mailbox.mails
    [row] = list_runs(history_path(tmp_path / "store"))
    assert row.failure is not None
    assert str(images) in row.failure.cause
    assert message["Subject"] == "two-classes: the run failed in checks before work"
    assert "one class only" in row.failure.cause
    assert "DataError: images, manifest" in body_text(message)
    assert str(images.parent) not in everything(message)


def test_a_dead_server_fails_no_run_and_the_mail_goes_with_the_next(
    unmailed: Assessed, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first run completes, its mail waits on the disk; the next run, which fails, sends both, oldest first.

    Whom the first run names gets its mail, and is named in none of its files.
    """
    assert unmailed.result.run_name == "lonely"
    assert unmailed.tasks == {
        "assess": "Completed",
        "report": "Completed",
        "publish": "Completed",
        "mail": "Completed",
    }
    shutil.copytree(unmailed.root / "store", tmp_path / "store")
    outbox = outbox_folder(tmp_path / "store")
    assert len(waiting(outbox)) == 1

    (images / "non_cancer").rename(tmp_path / "aside")
    mailbox = Mailbox()
    with mail_server(mailbox) as port:
        set_mail_server(monkeypatch, port)
        run(small_config(images, tmp_path))

    assert waiting(outbox) == []
    assert [recipients for recipients, _ in mailbox.mails] == [(WAITING,), (RECIPIENT,)]
    kept = [path for folder in ("runs", "store/history") for path in (unmailed.root / folder).rglob("*.*")]
    assert {"report.pdf", "report.html", "results.json"} <= {path.name for path in kept}
    assert len(kept) > 5
    assert [path for path in kept if path.is_file() and WAITING.encode() in path.read_bytes()] == []
    pdfs = [[*attachments(message).values()] for _, message in mailbox.mails]
    assert pdfs == [[(unmailed.root / "runs/lonely/report.pdf").read_bytes()], []]


def test_settings_come_from_the_block_and_the_environment_wins(
    images: Path,
    tmp_path: Path,
    block: MedcompareMail,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Filled in in the orchestrator, with a login; what the machine's environment says comes first."""
    caplog.set_level(logging.DEBUG)
    (images / "non_cancer").rename(tmp_path / "aside")
    config = small_config(images, tmp_path)
    assert mail_config_from_block() is None
    of_block, of_environment = Mailbox(), Mailbox()
    with (
        mail_server(of_block, port=block.port, login=True),
        mail_server(of_environment) as port,
    ):
        block.save(BLOCK_NAME, overwrite=True)
        found = mail_config_from_block()
        run(config)
        assert [recipients for recipients, _ in of_block.mails] == [(RECIPIENT,)]

        set_mail_server(monkeypatch, port, recipients="chief@hospital.example")
        run(config)

    assert len(of_block.mails) == 1
    assert [recipients for recipients, _ in of_environment.mails] == [("chief@hospital.example",)]
    assert found is not None
    assert found.password is not None
    assert (found.port, found.username, found.password.get_secret_value()) == (block.port, USER, PASSWORD)
    assert PASSWORD not in caplog.text


def test_the_doctor_tries_the_server_of_the_block(
    block: MedcompareMail, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a Prefect server is named: nobody filled it in, reached, gone; where none is, it is not asked."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    assert mail_from_server() is None
    monkeypatch.setenv("PREFECT_API_URL", PREFECT_API_URL.value())
    empty = check_mail({}, mail_from_server)
    mailbox = Mailbox()
    with mail_server(mailbox, port=block.port, login=True):
        block.save(BLOCK_NAME, overwrite=True)
        reached = check_mail({}, mail_from_server)
    gone = check_mail({}, mail_from_server)

    assert (empty.status, empty.detail) == (
        "ok",
        "MEDCOMPARE_SMTP_HOST is not set and no mail block is filled in: no mail is sent",
    )
    assert (reached.status, reached.detail) == (
        "ok",
        f"127.0.0.1:{block.port}, none, logged in as {USER}",
    )
    assert gone.status == "fail"
    assert mailbox.mails == []


def test_wrong_settings_fail_no_run_and_show_no_secret(odd: Assessed) -> None:
    """The log names the variable; the run completes, and nothing waits that could never be sent."""
    assert odd.result.run_name == "One night"
    assert odd.tasks["mail"] == "Completed"
    assert "no mail can be sent: the settings are wrong" in odd.log
    assert "MEDCOMPARE_SMTP_SENDER: 'nobody' is not an e-mail address" in odd.log
    assert PASSWORD not in odd.log
    assert waiting(outbox_folder(odd.root / "store")) == []
    assert [row.status for row in list_runs(history_path(odd.root / "store"))] == ["completed"]


def test_a_wrong_block_fails_no_run(
    images: Path, tmp_path: Path, block: MedcompareMail, caplog: pytest.LogCaptureFixture
) -> None:
    """A password without a name to log in with: said in the words of the form, without the password."""
    block.username = None
    block.save(BLOCK_NAME, overwrite=True)
    (images / "non_cancer").rename(tmp_path / "aside")

    done = run(small_config(images, tmp_path))

    assert done.tasks == {"mail": "Completed"}
    assert "username and password belong together" in caplog.text
    assert PASSWORD not in caplog.text
