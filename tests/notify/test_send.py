"""Mails reach real servers, over TLS and with a login; what cannot be sent is told apart."""

from __future__ import annotations

import base64
import logging
import ssl
from typing import TYPE_CHECKING

import pytest

from medcompare.base.errors import ConfigError
from medcompare.notify import send as mail
from medcompare.notify.send import probe, send
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

# Some tests log in without encryption on purpose.
pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
WRONG = "a wrong secret"
PASSWORDS_AS_SENT = (PASSWORD, base64.b64encode(PASSWORD.encode()).decode())


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """A certificate for the loopback address, and its authority."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def pdf(tmp_path: Path) -> Path:
    """A report on the disk, in a folder whose name must not be mailed."""
    path = tmp_path / "Jane_Doe_1962" / "report.pdf"
    path.parent.mkdir()
    path.write_bytes(PDF)
    return path


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

        delivery = send(message, mail_config)

    assert delivery.delivered == mail_config.recipients
    assert delivery.n_attempts == 1
    [(recipients, received)] = mailbox.mails
    assert recipients == mail_config.recipients
    assert received["Subject"] == message["Subject"]
    assert body_text(received) == body_text(message)
    assert attachments(received) == attachments(message)


def test_lines_that_begin_with_a_dot_arrive(pdf: Path) -> None:
    """A lone dot does not end the mail early."""
    mailbox = Mailbox()
    with mail_server(mailbox) as port:
        send(report_mail(config(port), pdf, verdict=verdict(sentence="first\n.\n..second")), config(port))

    [(_, received)] = mailbox.mails
    assert "first\n.\n..second" in body_text(received)


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_certificate_nobody_vouches_for_is_refused(certificates: Certificates, security: str) -> None:
    """Without the authority's file nothing is sent, and the remedy names the setting."""
    mailbox = Mailbox()
    with mail_server(mailbox, certificates=certificates, security=security) as port:
        delivery = send(report_mail(config(port), None), config(port, security=security), back_off_s=())

    assert mailbox.mails == []
    assert delivery.waiting == config(port).recipients
    fault = delivery.outcomes[0].fault
    assert fault is not None
    assert (fault.kind, "certificate is not trusted" in fault.detail) == ("settings", True)
    assert "ca_file" in fault.remedy


def test_a_certificate_for_another_host_is_refused(certificates: Certificates) -> None:
    """A trusted authority is not enough: the name must be the one asked for."""
    with mail_server(Mailbox(), certificates=certificates, security="starttls") as port:
        mail_config = config(port, host="localhost", security="starttls", ca_file=certificates.authority)
        fault = send(report_mail(mail_config, None), mail_config, back_off_s=()).outcomes[0].fault

    assert fault is not None
    assert fault.kind == "settings"
    assert "not trusted" in fault.detail


def test_no_starttls_means_no_mail() -> None:
    """A server without STARTTLS gets neither password nor mail: nothing is downgraded."""
    mailbox = Mailbox()
    with mail_server(mailbox) as port:
        mail_config = config(port, security="starttls", username=USER, password=PASSWORD)
        delivery = send(report_mail(mail_config, None), mail_config)

    assert mailbox.mails == []
    assert delivery.n_attempts == 1
    assert delivery.outcomes[0].fault is not None
    assert "STARTTLS" in delivery.outcomes[0].fault.detail
    assert delivery.outcomes[0].fault.kind == "settings"


def test_tls_against_a_plain_server_is_a_wrong_setting() -> None:
    """A mixed-up port is said, not retried for ever."""
    with mail_server(Mailbox()) as port:
        fault = (
            send(report_mail(config(port), None), config(port, security="tls"), back_off_s=())
            .outcomes[0]
            .fault
        )

    assert fault is not None
    assert fault.kind == "settings"
    assert "587 is usual for starttls" in fault.remedy


def test_a_wrong_password_is_a_wrong_setting_and_stays_secret(
    certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    """One attempt, a fault that can be mended, and no trace of the password."""
    caplog.set_level(logging.DEBUG)
    with mail_server(Mailbox(), certificates=certificates, security="starttls", login=True) as port:
        mail_config = config(
            port, security="starttls", ca_file=certificates.authority, username=USER, password=WRONG
        )
        delivery = send(report_mail(mail_config, None), mail_config)

    assert delivery.n_attempts == 1
    fault = delivery.outcomes[0].fault
    assert fault is not None
    assert (fault.kind, fault.code) == ("settings", 535)
    assert "username and password" in fault.remedy
    assert WRONG not in caplog.text + delivery.model_dump_json()


def test_a_server_that_echoes_the_login_does_not_spread_it(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever form the password takes in a reply, it is taken out."""

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

    caplog.set_level(logging.DEBUG)
    with raw_server(echo) as port:
        mail_config = config(port, username=USER, password=PASSWORD)
        delivery = send(report_mail(mail_config, None), mail_config)

    shown = caplog.text + delivery.model_dump_json()
    plain = base64.b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode()
    assert not [secret for secret in (*PASSWORDS_AS_SENT, plain) if secret in shown]
    assert "[secret]" in shown


def test_one_refused_recipient_does_not_keep_the_others_from_it() -> None:
    """Each recipient has an outcome: taken, refused for good, to be tried again."""
    mailbox = Mailbox(
        replies={"gone@hospital.example": "550 no such user", "full@hospital.example": "452 mailbox full"}
    )
    recipients = ("board@hospital.example", "gone@hospital.example", "full@hospital.example")
    with mail_server(mailbox) as port:
        mail_config = config(port, recipients=recipients)
        pauses: list[float] = []
        delivery = send(report_mail(mail_config, None), mail_config, back_off_s=(1, 5), sleep=pauses.append)

    assert delivery.delivered == ("board@hospital.example",)
    assert delivery.refused == ("gone@hospital.example",)
    assert delivery.waiting == ("full@hospital.example",)
    assert [recipients for recipients, _ in mailbox.mails] == [
        ("board@hospital.example",)
    ]  # not sent it twice
    assert pauses == [1, 5]
    assert delivery.n_attempts == 3


def test_all_recipients_refused() -> None:
    """Nothing is sent and nothing is tried again."""
    mailbox = Mailbox(replies=dict.fromkeys(config(25).recipients, "550 no such user"))
    with mail_server(mailbox) as port:
        delivery = send(report_mail(config(port), None), config(port))

    assert delivery.refused == config(port).recipients
    assert (mailbox.mails, delivery.n_attempts) == ([], 1)


def test_a_server_that_hangs_up_among_recipients_has_taken_nothing() -> None:
    """421 at the second of three: the first and third are not taken for delivered."""
    recipients = ("a@hospital.example", "b@hospital.example", "c@hospital.example")
    with mail_server(Mailbox(replies={"b@hospital.example": "421 going down"})) as port:
        mail_config = config(port, recipients=recipients)
        delivery = send(report_mail(mail_config, None), mail_config, back_off_s=())

    assert delivery.delivered == ()
    assert delivery.waiting == recipients


def test_a_passing_fault_is_retried_until_it_passes() -> None:
    """Two temporary refusals, then the mail is taken, once."""
    mailbox = Mailbox(data_replies=["451 try later", "451 try later"])
    pauses: list[float] = []
    with mail_server(mailbox) as port:
        delivery = send(
            report_mail(config(port), None), config(port), back_off_s=(2, 10), sleep=pauses.append
        )

    assert delivery.delivered == config(port).recipients
    assert (delivery.n_attempts, pauses, len(mailbox.mails)) == (3, [2, 10], 1)


@pytest.mark.parametrize(
    ("mailbox", "kind", "remedy"),
    [
        (Mailbox(data_replies=["554 looks like spam"]), "refused", "postmaster"),
        (Mailbox(sender_reply="550 not allowed to send"), "settings", "postmaster"),
        (Mailbox(sender_reply="552 too big"), "refused", "max_attachment_bytes"),
    ],
)
def test_refusals_for_good_are_not_retried(mailbox: Mailbox, kind: str, remedy: str) -> None:
    """Refused content, sender or size: one attempt, with what to do."""
    with mail_server(mailbox) as port:
        delivery = send(report_mail(config(port), None), config(port))

    fault = delivery.outcomes[0].fault
    assert fault is not None
    assert (fault.kind, delivery.n_attempts) == (kind, 1)
    assert remedy in fault.remedy


def test_a_mail_above_the_servers_limit_says_so(pdf: Path) -> None:
    """The limit a server announces is met with a remedy, before the mail travels."""
    mailbox = Mailbox()
    with mail_server(mailbox, data_size_limit=5000) as port:
        fault = send(report_mail(config(port), pdf), config(port)).outcomes[0].fault

    assert fault is not None
    assert (fault.kind, fault.code) == ("refused", 552)
    assert "max_attachment_bytes" in fault.remedy
    assert mailbox.mails == []


def test_nobody_listens() -> None:
    """A server that is down is tried again, then the mail waits."""
    port = free_port()
    pauses: list[float] = []

    delivery = send(report_mail(config(port), None), config(port), back_off_s=(2, 10), sleep=pauses.append)

    assert delivery.waiting == config(port).recipients
    assert (delivery.n_attempts, pauses) == (3, [2, 10])
    fault = delivery.outcomes[0].fault
    assert fault is not None
    assert fault.kind == "transient"
    assert f"{LOOPBACK}:{port}: Connection refused" in fault.detail


def test_a_server_that_dies_in_the_middle_has_not_taken_the_mail(pdf: Path) -> None:
    """Hanging up during the transfer is a fault that may pass, in every attempt."""
    with raw_server(dies_in_transfer) as port:
        delivery = send(report_mail(config(port), pdf), config(port), back_off_s=(0.01,))

    assert delivery.waiting == config(port).recipients
    assert delivery.n_attempts == 2
    assert delivery.outcomes[0].fault is not None
    assert delivery.outcomes[0].fault.kind == "transient"


def test_a_server_that_never_answers_costs_the_time_limit_only() -> None:
    """Silence ends after timeout_s."""

    def silent(connection: socket.socket) -> None:
        connection.settimeout(2)
        connection.recv(1)

    with raw_server(silent) as port:
        fault = (
            send(report_mail(config(port), None), config(port, timeout_s=0.3), back_off_s=())
            .outcomes[0]
            .fault
        )

    assert fault is not None
    assert fault.kind == "transient"
    assert "timed out" in fault.detail


def test_a_farewell_that_fails_does_not_undo_a_delivery() -> None:
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
        delivery = send(report_mail(config(port), None), config(port))

    assert delivery.delivered == config(port).recipients


def test_an_authority_file_that_cannot_be_read_is_a_wrong_setting(tmp_path: Path) -> None:
    """The message names the file and the setting."""
    with mail_server(Mailbox()) as port:
        mail_config = config(port, security="starttls", ca_file=tmp_path / "absent.pem")
        fault = send(report_mail(mail_config, None), mail_config).outcomes[0].fault
        with pytest.raises(ConfigError, match=r"ca_file .*absent\.pem cannot be used"):
            probe(mail_config)

    assert fault is not None
    assert fault.kind == "settings"


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
