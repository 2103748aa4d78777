"""No mail is lost because a server is down, a file is damaged or two runs send at once."""

from __future__ import annotations

import multiprocessing
import threading
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import SMTP
from typing import TYPE_CHECKING

import pytest

from medcompare.notify.message import build_report_mail
from medcompare.notify.outbox import (
    REFUSED,
    WAITING,
    OutboxError,
    outbox_folder,
    queue,
    refused,
    send_waiting,
    waiting,
)
from tests.notify.mail_servers import Mailbox, config, dies_in_transfer, free_port, mail_server, raw_server
from tests.notify.sample_mails import PDF, attachments
from tests.runs.sample_runs import summary

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence
    from email.message import EmailMessage
    from pathlib import Path

    from medcompare.notify.settings import MailConfig

NOW = datetime(2026, 11, 22, 3, tzinfo=UTC)
GONE, FULL = "gone@hospital.example", "full@hospital.example"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An outbox that does not exist yet."""
    return outbox_folder(tmp_path / "store")


@pytest.fixture
def pdf(tmp_path: Path) -> Path:
    """A report on the disk."""
    path = tmp_path / "report.pdf"
    path.write_bytes(PDF)
    return path


def _mail(name: str = "oral", pdf: Path | None = None, now: datetime = NOW) -> EmailMessage:
    return build_report_mail(summary(data_name=name), None, config(25), pdf=pdf, now=now)


def _deliver(
    message: EmailMessage, config: MailConfig, folder: Path, *, night: int = 0, pauses_s: Sequence[float] = ()
) -> None:
    now = NOW + timedelta(days=night)
    queue(message, config.recipients, folder, now=now)
    send_waiting(config, folder, now=now, pauses_s=pauses_s)


def _read(path: Path) -> EmailMessage:
    return message_from_bytes(path.read_bytes(), policy=SMTP)


def _subjects(mailbox: Mailbox) -> list[str]:
    return [str(message["Subject"]).partition(":")[0] for _, message in mailbox.mails]


def test_a_mail_that_is_taken_leaves_nothing_behind(folder: Path) -> None:
    """Delivered as it was built, without our own headers, and the outbox is empty."""
    mailbox, mail = Mailbox(), _mail()
    names = mail.keys()
    with mail_server(mailbox) as port:
        _deliver(mail, config(port), folder)

    [(recipients, received)] = mailbox.mails
    assert recipients == config(port).recipients
    assert [name for name in received if name not in {"X-Peer", "X-MailFrom", "X-RcptTo"}] == names
    assert waiting(folder) == refused(folder) == []


def test_what_a_dead_server_did_not_take_is_sent_with_the_next_runs_oldest_first(
    folder: Path, pdf: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Two nights without a server, then one with: three mails, in order, whole."""
    port = free_port()
    for night, name in enumerate(("first", "second")):
        _deliver(_mail(name, pdf), config(port), folder, night=night)
        assert len(waiting(folder)) == night + 1
    assert "Connection refused" in caplog.text
    assert "2 mail(s) wait in the outbox" in caplog.text

    mailbox = Mailbox()
    with mail_server(mailbox, port=port):
        _deliver(_mail("third", pdf), config(port), folder, night=2)

    assert _subjects(mailbox) == ["first", "second", "third"]
    assert waiting(folder) == []
    assert [list(attachments(message).values()) for _, message in mailbox.mails] == [[PDF]] * 3


def test_a_server_that_dies_in_the_middle_loses_nothing(folder: Path, pdf: Path) -> None:
    """The mail is still there after every attempt, and is delivered later under the same id."""
    mail = _mail(pdf=pdf)
    with raw_server(dies_in_transfer) as port:
        _deliver(mail, config(port), folder, pauses_s=(0.01,))
    assert len(waiting(folder)) == 1

    mailbox = Mailbox()
    with mail_server(mailbox) as port:
        send_waiting(config(port), folder, now=NOW)

    assert mailbox.mails[0][1]["Message-ID"] == mail["Message-ID"]


def test_a_passing_fault_is_retried_until_it_passes(folder: Path) -> None:
    """Two temporary refusals, then the mail is taken, once."""
    mailbox, pauses = Mailbox(data_replies=["451 try later", "451 try later"]), list[float]()
    queue(_mail(), config(25).recipients, folder, now=NOW)
    with mail_server(mailbox) as port:
        send_waiting(config(port), folder, now=NOW, pauses_s=(2, 10), sleep=pauses.append)

    assert pauses == [2, 10]
    assert _subjects(mailbox) == ["oral"]
    assert waiting(folder) == []


def test_only_those_who_wait_get_it_later(folder: Path) -> None:
    """Who has the mail is not sent it again; who refused it is written down, however long the addresses."""
    long = f"{'x' * 64}@{'y' * 60}.{'z' * 60}.example"
    recipients = ("board@hospital.example", GONE, FULL, long)
    mailbox = Mailbox(replies={GONE: "550 no such user", FULL: "452 full", long: "452 full"})
    with mail_server(mailbox) as port:
        _deliver(_mail(), config(port, recipients=recipients), folder)
        [path] = waiting(folder)
        assert _read(path)[WAITING].split(", ") == [FULL, long]
        assert _read(path)[REFUSED] == GONE

        mailbox.replies = {}
        send_waiting(config(port, recipients=recipients), folder, now=NOW)

    assert [recipients for recipients, _ in mailbox.mails] == [("board@hospital.example",), (FULL, long)]
    assert waiting(folder) == []
    [kept] = refused(folder)  # because one recipient never got it
    assert (_read(kept)[REFUSED], _read(kept)[WAITING]) == (GONE, None)


def test_a_mail_refused_for_good_is_kept_aside(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is neither tried for ever nor thrown away, and holds up nothing."""
    mailbox, pauses = Mailbox(data_replies=["554 looks like spam"]), list[float]()
    queue(_mail("spam"), config(25).recipients, folder, now=NOW)
    with mail_server(mailbox) as port:
        send_waiting(config(port), folder, now=NOW, pauses_s=(2, 10), sleep=pauses.append)
        _deliver(_mail("ham"), config(port), folder)

    assert (waiting(folder), pauses, _subjects(mailbox)) == ([], [], ["ham"])
    [path] = refused(folder)
    assert _read(path)["Subject"].startswith("spam")
    assert "554 looks like spam" in caplog.text


def test_a_mail_nobody_takes_does_not_hold_up_the_others(folder: Path) -> None:
    """A recipient who always answers 'later' delays only that mail; after two weeks it is kept aside."""
    mailbox = Mailbox(replies={FULL: "452 full"})
    with mail_server(mailbox) as port:
        _deliver(_mail("stuck"), config(port, recipients=(FULL,)), folder)
        _deliver(_mail("fresh"), config(port), folder, night=1)
        assert (_subjects(mailbox), len(waiting(folder))) == (["fresh"], 1)

        send_waiting(config(port), folder, now=NOW + timedelta(days=15), pauses_s=())

    assert waiting(folder) == []
    assert len(refused(folder)) == 1


def test_a_dead_server_is_asked_twice_not_once_per_mail(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Ten waiting mails do not mean ten times the wait."""
    for number in range(10):
        queue(_mail(f"mail {number}"), ("a@b.example",), folder, now=NOW + timedelta(seconds=number))

    send_waiting(config(free_port()), folder, now=NOW, pauses_s=())

    assert caplog.text.count("Connection refused") == 2
    assert len(waiting(folder)) == 10


def test_wrong_settings_keep_the_mail_for_when_they_are_right(folder: Path) -> None:
    """A server that refuses the sender has not refused the mail, and is not asked again in the same run."""
    mailbox, pauses = Mailbox(sender_reply="550 not allowed to send"), list[float]()
    queue(_mail(), config(25).recipients, folder, now=NOW)
    with mail_server(mailbox) as port:
        send_waiting(config(port), folder, now=NOW, pauses_s=(2, 10), sleep=pauses.append)
        assert (len(waiting(folder)), pauses) == (1, [])
        mailbox.sender_reply = None
        send_waiting(config(port), folder, now=NOW)

    assert _subjects(mailbox) == ["oral"]


def test_a_damaged_file_is_put_aside_and_the_rest_is_sent(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One bad file does not hold up the mails behind it."""
    queue(_mail("good"), ("a@b.example",), folder, now=NOW)
    (folder / "20200101T000000000000-x.eml").write_bytes(b"\xff{not a mail\nFrom: x\n")
    (folder / "20200101T000000000001-x.eml").write_bytes(
        f"{WAITING}: a@b.example\r\nDate: Sun, 22 Nov 2026 03:00:00 -0000\r\n\r\nwithout a time zone".encode()
    )

    mailbox = Mailbox()
    with mail_server(mailbox) as port:
        send_waiting(config(port), folder, now=NOW)

    assert _subjects(mailbox)[-1] == "good"
    assert waiting(folder) == []
    assert [path.stem for path in refused(folder)] == ["20200101T000000000000-x", "20200101T000000000001-x"]
    assert caplog.text.count("is no mail that can be sent") == 2


def test_an_outbox_that_cannot_be_used_says_so(tmp_path: Path, folder: Path) -> None:
    """The error names the folder and the remedy; a mail that is kept stays kept."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutboxError, match=r"outbox .*free space, or correct the permissions"):
        queue(_mail(), ("a@b.example",), tmp_path / "file")

    queue(_mail(), ("a@b.example",), folder)
    (folder / ".lock").mkdir()
    with pytest.raises(OutboxError, match=r"outbox .*free space, or correct the permissions"):
        send_waiting(config(free_port()), folder)
    assert len(waiting(folder)) == 1


def test_no_outbox_nothing_to_send(folder: Path) -> None:
    """A first run without mail makes no folder."""
    send_waiting(config(free_port()), folder)
    assert not folder.exists()


def _deliver_some(folder: Path, port: int, first: int) -> None:
    for number in range(first, first + 5):
        _deliver(_mail(f"mail {number}"), config(port), folder)


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
    assert waiting(folder) == []


def _deliver_one(folder: Path, port: int) -> None:
    _deliver(_mail("interrupted"), config(port, timeout_s=60), folder)


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
        _deliver(_mail("next"), config(port), folder, night=1)

    assert _subjects(mailbox) == ["interrupted", "next"]
    assert waiting(folder) == []


def test_the_log_names_neither_recipients_nor_subjects(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Counts and reasons only."""
    caplog.set_level("DEBUG")
    answer = "452 <board@hospital.example>: full"
    with mail_server(Mailbox(replies=dict.fromkeys(config(25).recipients, answer))) as port:
        _deliver(_mail("secret study"), config(port), folder)

    text = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("medcompare"))
    assert "<(an address)>: full" in text
    assert "taken for 0 of 2 recipients" in text
    assert "secret study" not in text
    assert "board@" not in text
