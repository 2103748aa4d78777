"""Mails reach real servers, over TLS and with a login; what cannot be sent is told apart."""

from __future__ import annotations

import base64
import logging
import ssl
from typing import TYPE_CHECKING, Any

import pytest

from medcompare.base.errors import ConfigError
from medcompare.notify import send as mail
from medcompare.notify.send import Fault, probe, send
from tests.notify.mail_servers import (
    LOOPBACK,
    PASSWORD,
    USER,
    Certificates,
    Mailbox,
    config,
    dies_in_transfer,
    free_port,
    mail_server,
    make_certificates,
    raw_server,
)
from tests.notify.sample_mails import PDF, attachments, body_text, report_mail
from tests.runs.sample_runs import verdict

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from medcompare.notify.settings import MailConfig

# Some tests log in without encryption on purpose.
pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
WRONG = "a wrong secret"


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """A certificate for the loopback address, and its authority."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def pdf(tmp_path: Path) -> Path:
    """A report on the disk."""
    path = tmp_path / "report.pdf"
    path.write_bytes(PDF)
    return path


def faults_of(mail_config: MailConfig, pdf: Path | None = None, **run: Any) -> dict[str, Fault]:
    """What went wrong for whom when a mail was sent once to all its recipients."""
    return send(report_mail(mail_config, pdf, **run), mail_config, mail_config.recipients)


def fault_of(mail_config: MailConfig, pdf: Path | None = None) -> Fault:
    """The one fault that kept the mail from all recipients."""
    faults = faults_of(mail_config, pdf)
    assert tuple(faults) == mail_config.recipients
    [fault] = set(faults.values())
    return fault


@pytest.mark.parametrize("security", ["none", "starttls", "tls"])
@pytest.mark.parametrize("login", [False, True], ids=["open", "login"])
def test_a_mail_arrives_whole(
    certificates: Certificates,
    pdf: Path,
    security: str,
    login: bool,  # noqa: FBT001 - parametrised
) -> None:
    """In clear, over STARTTLS and over TLS, with and without a login: every byte arrives."""
    mailbox = Mailbox()
    with mail_server(mailbox, certificates=certificates, security=security, login=login) as port:
        mail_config = config(
            port,
            security=security,
            ca_file=None if security == "none" else certificates.authority,
            **({"username": USER, "password": PASSWORD} if login else {}),
        )
        message = report_mail(mail_config, pdf)

        assert send(message, mail_config, mail_config.recipients) == {}

    [(recipients, received)] = mailbox.mails
    assert recipients == mail_config.recipients
    assert received["Subject"] == message["Subject"]
    assert body_text(received) == body_text(message)
    assert attachments(received) == attachments(message)


def test_lines_that_begin_with_a_dot_arrive() -> None:
    """A lone dot does not end the mail early."""
    mailbox = Mailbox()
    with mail_server(mailbox) as port:
        faults_of(config(port), verdict=verdict(sentence="first\n.\n..second"))

    [(_, received)] = mailbox.mails
    assert "first\n.\n..second" in body_text(received)


@pytest.mark.parametrize(
    ("served", "asked", "trusted", "detail", "remedy"),
    [
        ("starttls", {"security": "starttls"}, False, "certificate is not trusted", "ca_file"),
        ("tls", {"security": "tls"}, False, "certificate is not trusted", "ca_file"),
        ("starttls", {"security": "starttls", "host": "localhost"}, True, "not trusted", "the host"),
        ("none", {"security": "starttls", "username": USER, "password": PASSWORD}, False, "STARTTLS", "port"),
        ("none", {"security": "tls"}, False, "no encrypted connection", "587 is usual for starttls"),
    ],
    ids=["unknown authority", "unknown authority, tls", "another host", "no starttls", "mixed-up port"],
)
def test_an_encryption_that_cannot_be_had_means_no_mail(
    *,
    certificates: Certificates,
    served: str,
    asked: dict[str, Any],
    trusted: bool,
    detail: str,
    remedy: str,
) -> None:
    """Neither password nor mail is sent, nothing is downgraded, and the remedy names the setting."""
    mailbox = Mailbox()
    with mail_server(mailbox, certificates=certificates, security=served) as port:
        fault = fault_of(config(port, ca_file=certificates.authority if trusted else None, **asked))

    assert mailbox.mails == []
    assert fault.kind == "settings"
    assert detail in fault.detail
    assert remedy in fault.remedy


def test_a_wrong_password_is_a_wrong_setting_and_stays_secret(
    certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    """The remedy names the settings, without a trace of the password."""
    caplog.set_level(logging.DEBUG)
    with mail_server(Mailbox(), certificates=certificates, security="starttls", login=True) as port:
        login = {"ca_file": certificates.authority, "username": USER, "password": WRONG}
        fault = fault_of(config(port, security="starttls", **login))

    assert (fault.kind, fault.code) == ("settings", 535)
    assert "username and password" in fault.remedy
    assert WRONG not in caplog.text + fault.model_dump_json()


def test_a_server_that_echoes_the_login_does_not_spread_it() -> None:
    """Whatever form the password takes in a reply, it is removed."""

    def echo(connection: socket.socket) -> None:
        connection.sendall(b"220 echo\r\n")
        for line in connection.makefile("rb"):
            if line.upper().startswith(b"EHLO"):
                connection.sendall(b"250-echo\r\n250 AUTH PLAIN LOGIN\r\n")
            elif line.upper().startswith(b"QUIT"):
                connection.sendall(b"221 bye\r\n")
                return
            else:
                connection.sendall(b"535 no: " + line.strip() + b" " + PASSWORD.encode() + b"\r\n")

    with raw_server(echo) as port:
        shown = fault_of(config(port, username=USER, password=PASSWORD)).model_dump_json()

    forms = (PASSWORD, f"\0{USER}\0{PASSWORD}")
    assert PASSWORD not in shown
    assert not [form for form in forms if base64.b64encode(form.encode()).decode() in shown]
    assert "[secret]" in shown


def test_one_refused_recipient_does_not_keep_the_others_from_it() -> None:
    """Taken, refused for good, to be tried again: each recipient by itself, without addresses in the words."""
    mailbox = Mailbox(
        replies={
            "gone@hospital.example": "550 no such user",
            "full@hospital.example": "452 <full@x.example> full",
        }
    )
    recipients = ("board@hospital.example", "gone@hospital.example", "full@hospital.example")
    with mail_server(mailbox) as port:
        faults = faults_of(config(port, recipients=recipients))

    assert {name: fault.kind for name, fault in faults.items()} == {
        "gone@hospital.example": "refused",
        "full@hospital.example": "transient",
    }
    assert faults["full@hospital.example"].detail == f"{LOOPBACK} answered 452 <(an address)> full"
    assert [recipients for recipients, _ in mailbox.mails] == [("board@hospital.example",)]


def test_a_server_that_hangs_up_among_recipients_has_taken_nothing() -> None:
    """421 at the second of three: the first and third do not count as delivered."""
    recipients = ("a@hospital.example", "b@hospital.example", "c@hospital.example")
    with mail_server(Mailbox(replies={"b@hospital.example": "421 going down"})) as port:
        faults = faults_of(config(port, recipients=recipients))

    assert {name: fault.kind for name, fault in faults.items()} == dict.fromkeys(recipients, "transient")


@pytest.mark.parametrize(
    ("mailbox", "kind", "remedy"),
    [
        (Mailbox(replies=dict.fromkeys(config(25).recipients, "550 no such user")), "refused", "address"),
        (Mailbox(data_replies=["554 looks like spam"]), "refused", "postmaster"),
        (Mailbox(data_replies=["451 try later"]), "transient", "next run"),
        (Mailbox(sender_reply="550 not allowed to send"), "settings", "postmaster"),
        (Mailbox(sender_reply="552 too big"), "refused", "max_attachment_bytes"),
    ],
)
def test_a_refusal_says_what_to_do(mailbox: Mailbox, kind: str, remedy: str) -> None:
    """All recipients, content, for now, sender or size."""
    with mail_server(mailbox) as port:
        fault = fault_of(config(port))

    assert fault.kind == kind
    assert remedy in fault.remedy
    assert mailbox.mails == []


def test_a_mail_above_the_servers_limit_says_so(pdf: Path) -> None:
    """The limit a server announces is met with a remedy, before the mail travels."""
    mailbox = Mailbox()
    with mail_server(mailbox, data_size_limit=5000) as port:
        fault = fault_of(config(port), pdf)

    assert (fault.kind, fault.code) == ("refused", 552)
    assert "max_attachment_bytes" in fault.remedy
    assert mailbox.mails == []


def test_a_server_that_is_down_hangs_up_or_never_answers(pdf: Path) -> None:
    """All may pass; silence ends after timeout_s."""

    def silent(connection: socket.socket) -> None:
        connection.settimeout(2)
        connection.recv(1)

    port = free_port()
    down = fault_of(config(port))
    with raw_server(dies_in_transfer) as dying:
        hung_up = fault_of(config(dying), pdf)
    with raw_server(silent) as mute:
        timed_out = fault_of(config(mute, timeout_s=0.3))

    assert {down.kind, hung_up.kind, timed_out.kind} == {"server"}
    assert f"{LOOPBACK}:{port}: Connection refused" in down.detail
    assert "timed out" in timed_out.detail


def test_hanging_up_after_the_mail_was_taken_does_not_undo_the_delivery() -> None:
    """The mail was taken; that the server then dies changes nothing."""

    def no_goodbye(connection: socket.socket) -> None:
        connection.sendall(b"220 x\r\n")
        in_data = False
        for line in connection.makefile("rb"):
            if in_data:
                if line == b".\r\n":
                    in_data = False
                    connection.sendall(b"250 taken\r\n")
            elif line.upper().startswith(b"DATA"):
                in_data = True
                connection.sendall(b"354 go\r\n")
            elif line.upper().startswith(b"QUIT"):
                return
            else:
                connection.sendall(b"250 OK\r\n")

    with raw_server(no_goodbye) as port:
        assert faults_of(config(port)) == {}


def test_an_authority_file_that_cannot_be_read_is_a_wrong_setting(tmp_path: Path) -> None:
    """The message names the file and the setting."""
    with mail_server(Mailbox()) as port:
        mail_config = config(port, security="starttls", ca_file=tmp_path / "absent.pem")
        assert fault_of(mail_config).kind == "settings"
        with pytest.raises(ConfigError, match=r"ca_file .*absent\.pem cannot be used"):
            probe(mail_config)


def test_the_probe_logs_in_and_sends_nothing(certificates: Certificates) -> None:
    """It returns the server's limit on the size of a mail."""
    mailbox = Mailbox()
    with mail_server(
        mailbox, certificates=certificates, security="starttls", login=True, data_size_limit=12345
    ) as port:
        good = config(
            port, security="starttls", ca_file=certificates.authority, username=USER, password=PASSWORD
        )

        assert probe(good) == 12345

    assert mailbox.mails == []


def test_encryption_always_verifies(certificates: Certificates) -> None:
    """Certificate and host name are checked, nothing older than TLS 1.2 is spoken, with any authority."""
    for ca_file in (None, certificates.authority):
        context = mail._tls_context(config(25, security="tls", ca_file=ca_file))

        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
