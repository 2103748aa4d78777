"""No mail is lost because a server is down, a file is damaged or two runs send at once."""

from __future__ import annotations

import multiprocessing
import os
import stat
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from medcompare.notify.message import build_report_mail
from medcompare.notify.outbox import (
    OutboxError,
    _locked,
    deliver,
    outbox_folder,
    queue,
    read_mail,
    send_waiting,
    waiting,
)
from tests.notify.mail_servers import Mailbox, config, dies_in_transfer, free_port, mail_server, raw_server
from tests.runs.sample_runs import summary

if TYPE_CHECKING:
    import socket
    from email.message import EmailMessage
    from pathlib import Path

NOW = datetime(2026, 11, 22, 3, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An outbox that does not exist yet."""
    return outbox_folder(tmp_path / "store")


@pytest.fixture
def pdf(tmp_path: Path) -> Path:
    """A report on the disk."""
    path = tmp_path / "report.pdf"
    path.write_bytes(b"%PDF-1.7 " + bytes(range(256)) * 10)
    return path


def _mail(name: str = "oral", pdf: Path | None = None) -> EmailMessage:
    return build_report_mail(summary(data_name=name), None, config(25), pdf=pdf, now=NOW)


def _subjects(mailbox: Mailbox) -> list[str]:
    return [str(message["Subject"]).partition(":")[0] for _, message in mailbox.mails]


def test_a_mail_that_is_taken_leaves_nothing_behind(folder: Path) -> None:
    """Delivered, and the outbox is empty."""
    mailbox = Mailbox()
    with mail_server(mailbox) as port:
        report = deliver(_mail(), config(port), folder)

    assert _subjects(mailbox) == ["oral"]
    assert waiting(folder) == ()
    assert (report.n_waiting, report.n_refused, report.busy) == (0, 0, False)
    assert report.sent[0].delivery.delivered == config(port).recipients


def test_what_a_dead_server_did_not_take_is_sent_with_the_next_runs_oldest_first(
    folder: Path, pdf: Path
) -> None:
    """Two nights without a server, then one with: three mails, in order, whole."""
    port = free_port()
    for night, name in enumerate(("first", "second")):
        report = deliver(
            _mail(name, pdf), config(port), folder, now=NOW + timedelta(days=night), back_off_s=()
        )
        assert report.n_waiting == night + 1
    assert "Connection refused" in "\n".join(report.sentences)

    mailbox = Mailbox()
    with mail_server(mailbox, port=port):
        report = deliver(_mail("third", pdf), config(port), folder, now=NOW + timedelta(days=2))

    assert _subjects(mailbox) == ["first", "second", "third"]
    assert waiting(folder) == ()
    for _, message in mailbox.mails:
        [attachment] = list(message.iter_attachments())
        assert attachment.get_content() == pdf.read_bytes()


def test_a_server_that_dies_in_the_middle_loses_nothing(folder: Path, pdf: Path) -> None:
    """The mail is still there, says why, and is delivered later under the same id."""
    mail = _mail(pdf=pdf)
    with raw_server(dies_in_transfer) as port:
        report = deliver(mail, config(port), folder, now=NOW, back_off_s=(0.01,))
    assert report.n_waiting == 1
    [path] = waiting(folder)
    head, kept = read_mail(path)
    assert head.n_attempts == 2
    assert head.last_fault is not None
    assert head.last_fault.kind == "transient"
    assert kept["Message-ID"] == mail["Message-ID"]

    mailbox = Mailbox()
    with mail_server(mailbox) as port:
        assert send_waiting(config(port), folder, now=NOW).n_waiting == 0

    assert mailbox.mails[0][1]["Message-ID"] == mail["Message-ID"]


def test_only_those_who_wait_get_it_later(folder: Path) -> None:
    """Who has the mail is not sent it again; who refused it is written down."""
    recipients = ("board@hospital.example", "gone@hospital.example", "full@hospital.example")
    mailbox = Mailbox(
        replies={"gone@hospital.example": "550 no such user", "full@hospital.example": "452 full"}
    )
    with mail_server(mailbox) as port:
        deliver(_mail(), config(port, recipients=recipients), folder, now=NOW, back_off_s=())
        [path] = waiting(folder)
        head, _ = read_mail(path)
        assert head.recipients == ("full@hospital.example",)
        assert head.delivered == ("board@hospital.example",)
        assert head.refusals[0][0] == "gone@hospital.example"
        assert "550 no such user" in head.refusals[0][1]

        del mailbox.replies["full@hospital.example"]
        report = send_waiting(config(port, recipients=recipients), folder, now=NOW)

    assert [recipients for recipients, _ in mailbox.mails] == [
        ("board@hospital.example",),
        ("full@hospital.example",),
    ]
    assert report.n_waiting == 0
    assert report.n_refused == 1  # kept aside, because one recipient never got it


def test_a_mail_refused_for_good_is_kept_aside(folder: Path) -> None:
    """It is not tried for ever, and not thrown away."""
    mailbox = Mailbox(data_replies=["554 looks like spam"])
    with mail_server(mailbox) as port:
        report = deliver(_mail("spam"), config(port), folder, now=NOW)
        again = deliver(_mail("ham"), config(port), folder, now=NOW)

    assert (report.n_waiting, report.n_refused) == (0, 1)
    assert (again.n_waiting, again.n_refused) == (0, 1)
    assert _subjects(mailbox) == ["ham"]
    [path] = (folder / "refused").iterdir()
    head, message = read_mail(path)
    assert message["Subject"].startswith("spam")
    assert "554 looks like spam" in head.refusals[0][1]
    assert "refused for good" in "\n".join(report.sentences)


def test_a_mail_nobody_takes_does_not_hold_up_the_others(folder: Path) -> None:
    """A recipient who always answers 'later' delays only that mail; after two weeks it is kept aside."""
    mailbox = Mailbox(replies={"full@hospital.example": "452 full"})
    with mail_server(mailbox) as port:
        stuck = config(port, recipients=("full@hospital.example",))
        deliver(_mail("stuck"), stuck, folder, now=NOW, back_off_s=())
        report = deliver(_mail("fresh"), config(port), folder, now=NOW + timedelta(days=1), back_off_s=())
        assert (_subjects(mailbox), report.n_waiting) == (["fresh"], 1)

        report = send_waiting(config(port), folder, now=NOW + timedelta(days=15), back_off_s=())

    assert (report.n_waiting, report.n_refused) == (0, 1)


def test_a_dead_server_is_asked_twice_not_once_per_mail(folder: Path) -> None:
    """Ten waiting mails do not mean ten times the wait."""
    for number in range(10):
        queue(_mail(f"mail {number}"), ("a@b.example",), folder, now=NOW + timedelta(seconds=number))
    pauses: list[float] = []

    report = send_waiting(config(free_port()), folder, now=NOW, back_off_s=(2, 10), sleep=pauses.append)

    assert [outcome.delivery.n_attempts for outcome in report.sent] == [3, 1]
    assert pauses == [2, 10]
    assert report.n_waiting == 10


def test_wrong_settings_keep_the_mail_for_when_they_are_right(folder: Path) -> None:
    """A server that refuses the sender has not refused the mail."""
    mailbox = Mailbox(sender_reply="550 not allowed to send")
    with mail_server(mailbox) as port:
        assert deliver(_mail(), config(port), folder, now=NOW).n_waiting == 1
        mailbox.sender_reply = None
        assert send_waiting(config(port), folder, now=NOW).n_waiting == 0

    assert _subjects(mailbox) == ["oral"]


def test_only_the_owner_can_read_the_outbox(folder: Path) -> None:
    """Folder 0700, files 0600, also under a lax umask and after a rewrite."""
    before = os.umask(0)
    try:
        path = queue(_mail(), ("full@hospital.example",), folder, now=NOW)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with mail_server(Mailbox(replies={"full@hospital.example": "452 full"})) as port:
            send_waiting(config(port), folder, now=NOW, back_off_s=())
    finally:
        os.umask(before)

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}


def test_a_damaged_file_is_put_aside_and_the_rest_is_sent(folder: Path) -> None:
    """One bad file does not hold up the mails behind it."""
    queue(_mail("good"), ("a@b.example",), folder, now=NOW)
    (folder / "20200101T000000000000-x.mail").write_bytes(b"{not json\nFrom: x\n")

    mailbox = Mailbox()
    with mail_server(mailbox) as port:
        report = send_waiting(config(port), folder, now=NOW)

    assert _subjects(mailbox) == ["good"]
    assert (report.n_waiting, report.n_refused) == (0, 1)
    with pytest.raises(OutboxError, match="is not a mail of the outbox"):
        read_mail(folder / "refused" / "20200101T000000000000-x.mail")


def test_an_outbox_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    """The error names the folder and the remedy."""
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(OutboxError, match=r"cannot be kept in .*free space, or mend the permissions"):
        queue(_mail(), ("a@b.example",), tmp_path / "file")


def test_an_outbox_that_cannot_be_locked_says_so(folder: Path) -> None:
    """The mail is kept; the error names the outbox and the remedy."""
    folder.mkdir(parents=True)
    (folder / ".lock").mkdir()

    with pytest.raises(OutboxError, match=r"outbox .*free space, or mend the permissions"):
        deliver(_mail(), config(free_port()), folder)

    assert len(waiting(folder)) == 1


def test_no_outbox_nothing_to_send(folder: Path) -> None:
    """A first run without mail makes no folder."""
    assert send_waiting(config(free_port()), folder).n_waiting == 0
    assert not folder.exists()


def test_while_another_run_sends_the_mail_waits_its_turn(folder: Path) -> None:
    """The mail is on the disk already, so whoever sends next sends it."""
    folder.mkdir(parents=True)
    mailbox = Mailbox()
    with mail_server(mailbox) as port, _locked(folder, 0):
        report = deliver(_mail(), config(port), folder, lock_wait_s=0.2)

    assert report.busy
    assert (report.n_waiting, mailbox.mails) == (1, [])
    assert "another run is sending" in report.sentences[0]


def _deliver_some(folder: Path, port: int, first: int) -> None:
    for number in range(first, first + 5):
        deliver(_mail(f"mail {number}"), config(port), folder)


def test_runs_at_the_same_time_send_every_mail_once(folder: Path) -> None:
    """Four processes, five mails each, twenty mails received, none twice."""
    mailbox = Mailbox()
    context = multiprocessing.get_context("fork")
    with mail_server(mailbox) as port:
        workers = [context.Process(target=_deliver_some, args=(folder, port, 10 * k)) for k in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(60)
        assert [worker.exitcode for worker in workers] == [0] * 4

    assert sorted(_subjects(mailbox)) == sorted(f"mail {10 * k + n}" for k in range(4) for n in range(5))
    assert waiting(folder) == ()


def _deliver_one(folder: Path, port: int) -> None:
    deliver(_mail("interrupted"), config(port, timeout_s=60), folder, now=NOW)


def test_a_run_that_is_killed_while_sending_loses_nothing_and_blocks_nobody(folder: Path) -> None:
    """SIGKILL during the transfer: the mail is there, the lock is free, and the next run sends both."""
    reached = threading.Event()

    def stall(connection: socket.socket) -> None:
        connection.sendall(b"220 slow\r\n")
        for line in connection.makefile("rb"):
            if line.upper().startswith(b"DATA"):
                reached.set()
                connection.recv(1)  # returns when the sender is gone
                return
            connection.sendall(b"250 OK\r\n")

    with raw_server(stall) as port:
        sender = multiprocessing.get_context("fork").Process(target=_deliver_one, args=(folder, port))
        sender.start()
        assert reached.wait(30)
        sender.kill()
        sender.join(30)
    assert len(waiting(folder)) == 1

    mailbox = Mailbox()
    with mail_server(mailbox) as port:
        report = deliver(_mail("next"), config(port), folder, now=NOW + timedelta(days=1), lock_wait_s=0)

    assert _subjects(mailbox) == ["interrupted", "next"]
    assert (report.busy, report.n_waiting) == (False, 0)


def test_the_log_names_neither_recipients_nor_subjects(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Sentences for the log hold counts and reasons only."""
    with mail_server(
        Mailbox(replies=dict.fromkeys(config(25).recipients, "452 <board@hospital.example>: full"))
    ) as port:
        report = deliver(_mail("secret study"), config(port), folder, now=NOW, back_off_s=())

    text = "\n".join(report.sentences) + caplog.text
    assert "<(an address)>: full" in text
    assert "taken for 0 of 2 recipients" in text
    assert "secret study" not in text
    assert "board@" not in text
