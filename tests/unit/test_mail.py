"""Mails reach real servers, over TLS and with a login; what cannot be sent is told apart."""

from __future__ import annotations

import base64
import logging
import socket
import ssl
from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import SMTP
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr, ValidationError

from medcompare import mail
from medcompare.changes import what_changed
from medcompare.errors import ConfigError
from medcompare.mail import probe, send
from medcompare.mail_config import MailConfig, checked_address, mail_config_from_environment
from medcompare.mail_message import MailError, build_failure_mail, build_report_mail, should_mail, title_of
from medcompare.run_summary import Failure
from medcompare.stats.records import Outcome
from tests.unit.mail_servers import (
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
from tests.unit.sample_runs import figures, summary, verdict

if TYPE_CHECKING:
    from email.message import EmailMessage
    from pathlib import Path

# Some tests log in without encryption on purpose.
pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")

NOW = datetime(2026, 11, 22, 3, tzinfo=UTC)
PDF = b"%PDF-1.7 " + bytes(range(256)) * 40
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


def _report(mail_config: MailConfig, pdf: Path | None, **changes: Any) -> EmailMessage:
    run = summary(2, **changes)
    return build_report_mail(run, what_changed(summary(1), run), mail_config, pdf=pdf, now=NOW)


def _text(message: EmailMessage, kind: str = "plain") -> str:
    body = message.get_body((kind,))
    assert body is not None
    return str(body.get_content()).replace("\r\n", "\n")


def _attachments(message: EmailMessage) -> dict[str | None, bytes]:
    return {part.get_filename(): part.get_content() for part in message.iter_attachments()}


# What a mail says


def test_a_report_mail_says_verdict_figures_and_changes(pdf: Path) -> None:
    """Both bodies carry the same facts, and the PDF comes back byte for byte."""
    message = _report(config(25), pdf, data_fingerprint="e" * 64, n_images=903)

    assert message["Subject"] == "oral: Prefer EfficientNet-B0"
    assert message["To"] == "board@hospital.example, chief@hospital.example"
    for kind in ("plain", "html"):
        text = _text(message, kind)
        for fact in (
            "Prefer EfficientNet-B0",
            "EfficientNet-B0 is as accurate within the margin and cheaper.",
            "0.910 (0.860 to 0.960)",
            "12.5\u202fms",
            "10\u202fmin 00\u202fs",
            "Data: 851 → 903 images (+52).",
            "The margins are software defaults.",
            "attached as a PDF",
        ):
            assert fact in text, (kind, fact)
    assert _attachments(message) == {"medcompare-report-2026-11-02.pdf": PDF}


def test_the_subject_says_that_the_verdict_changed_and_that_data_are_synthetic() -> None:
    """A reader who sees only the subject is not misled."""
    other = verdict(outcome=Outcome.NOT_ENOUGH_DATA, model=None, headline="Not enough data")

    message = _report(config(25), None, verdict=other, synthetic=True)

    assert message["Subject"] == "oral: Not enough data (verdict changed, synthetic data)"
    assert "SYNTHETIC DATA" in _text(message)
    assert "these figures say nothing about patients" in _text(message, "html")


@pytest.mark.parametrize(
    ("values", "link", "words"),
    [
        ({"max_attachment_bytes": 1000}, None, "too large to attach (0.0 MB, limit 0.001 MB); it stands in the folder"),
        (
            {"max_attachment_bytes": 1000, "link_base": "https://reports.example/runs/"},
            "https://reports.example/runs/2026-11-02_oral/report.pdf",
            "it stands behind the link",
        ),
    ],
)
def test_a_large_report_is_linked_instead(pdf: Path, values: dict[str, Any], link: str | None, words: str) -> None:
    """Above the limit nothing is attached, and the body says where the report is."""
    message = _report(config(25, **values), pdf)

    assert _attachments(message) == {}
    assert words in _text(message)
    assert words in _text(message, "html")
    if link is not None:
        assert link in _text(message)
        assert f'href="{link}"' in _text(message, "html")


def test_a_report_of_exactly_the_limit_is_attached(pdf: Path) -> None:
    """The limit itself is still allowed."""
    assert _attachments(_report(config(25, max_attachment_bytes=len(PDF)), pdf)) != {}
    assert _attachments(_report(config(25, max_attachment_bytes=len(PDF) - 1), pdf)) == {}


def test_a_mail_without_what_it_is_about_is_refused(pdf: Path) -> None:
    """A report needs a verdict and a PDF, a failure needs a cause."""
    with pytest.raises(MailError, match="has no verdict"):
        build_report_mail(summary(status="failed"), None, config(25), pdf=None, now=NOW)
    with pytest.raises(MailError, match="has no failure"):
        build_failure_mail(summary(), config(25), now=NOW)
    pdf.unlink()
    with pytest.raises(MailError, match=r"report\.pdf cannot be read"):
        build_report_mail(summary(), None, config(25), pdf=pdf, now=NOW)


def test_many_models_stand_below_each_other() -> None:
    """Up to three models are columns, more are rows; every figure is there either way."""
    models = tuple(figures(f"m{k}", f"Model {k}", 0.8 + 0.01 * k) for k in range(5))

    text = _text(_report(config(25), None, models=models), "html")

    assert text.count("<tr>\n<th scope=\"row\"") == 5
    assert all(f"0.8{k}0 (" in text for k in range(5))


def test_html_is_escaped() -> None:
    """A headline cannot bring markup along."""
    message = _report(config(25), None, verdict=verdict(sentence="<script>alert(1)</script> & more"))

    assert "<script>" not in _text(message, "html")
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in _text(message, "html")
    assert "<script>alert(1)</script> & more" in _text(message)


SECRETS_OF_A_RUN = ("Jane", "Doe", "P-0123", "ISIC_0012345", "smith_john", "IMG_0045", "4711", "/mnt", ".png", ".csv", "Müller")


@pytest.mark.parametrize(
    "cause",
    [
        "/mnt/scans of Jane/Jane Middle Doe.png cannot be read: truncated file",
        "manifest row 12 of /mnt/x/Doe.csv: ISIC_0012345/IMG_0045.png: no such file",
        "patient 'P-0123' stands on two sides",
        "patient 4711 and patient Müller have opposite labels",
        "smith_john has no image; ISIC_0012345 neither",
        "C:\\Users\\Jane\\IMG_0045.tif: cannot be read",
        "[Errno 2] No such file or directory: 'Doe, Jane.csv'",
    ],
)
def test_no_file_name_and_no_patient_leaves_in_a_failure_mail(cause: str) -> None:
    """Neither subject nor body, in whatever encoding, holds a name from the data."""
    run = summary(
        status="failed",
        data_name="/mnt/Jane/oral.csv",
        failure=Failure(stage=f"ingest of {cause}", kind="DataError", cause=cause, remedy=f"mend {cause}"),
    )

    message = build_failure_mail(run, config(25), now=NOW)

    everything = "\n".join([str(message["Subject"]), _text(message), _text(message, "html")])
    assert not [secret for secret in SECRETS_OF_A_RUN if secret in everything]
    assert title_of(run) == "oral"
    assert message["Subject"].startswith("oral: the run failed in ingest of ")


def test_no_path_and_no_case_leaves_in_a_report_mail(pdf: Path) -> None:
    """Folders of the run, of the data and of the store stay at home."""
    other = {"data": {"source": "/mnt/Jane_Doe/images"}, "out": "/mnt/Jane_Doe/runs"}

    message = _report(config(25), pdf, config=other, host="janes-machine")

    everything = message.as_string() + _text(message) + _text(message, "html")
    for secret in ("Jane", "janes", "/mnt", "runs/x", "report.html"):
        assert secret not in everything


def test_a_failure_mail_names_stage_cause_and_remedy() -> None:
    """What can be said without names from the data is said."""
    run = summary(
        status="failed",
        failure=Failure(
            stage="training of ResNet-50",
            kind="TrainingError",
            cause="training of resnet50: loss is not finite in epoch 3, step 120 (learning rate 0.01)",
            remedy="lower the learning rate with --set train.recipes.resnet50.learning_rate",
        ),
    )

    message = build_failure_mail(run, config(25), now=NOW, link="https://prefect.example/runs/1")

    assert message["Subject"] == "oral: the run failed in training of ResNet-50"
    text = _text(message)
    assert "TrainingError: training of resnet50: loss is not finite in epoch 3, step 120 (learning rate 0.01)" in text
    assert "What to do: lower the learning rate with --set" in text
    assert "Open the run: https://prefect.example/runs/1" in text


def test_words_that_the_caller_calls_private_go_too() -> None:
    """An id that is an ordinary word is taken out when it is known to be one."""
    run = summary(status="failed", failure=Failure(stage="split", kind="DataError", cause="training rose too early"))

    message = build_failure_mail(run, config(25), now=NOW, private=("training",))

    assert "training" not in _text(message)


@pytest.mark.parametrize(
    ("when", "status", "changed", "expected"),
    [
        (("always",), "completed", False, True),
        (("always",), "failed", None, True),
        (("failure",), "completed", True, False),
        (("failure",), "failed", None, True),
        (("failure",), "crashed", None, True),
        (("verdict_change",), "completed", True, True),
        (("verdict_change",), "completed", False, False),
        (("verdict_change",), "failed", None, False),
        (("verdict_change", "failure"), "failed", None, True),
    ],
)
def test_mail_is_sent_only_when_asked_for(
    when: tuple[str, ...], status: str, changed: bool | None, expected: bool  # noqa: FBT001 - parametrised
) -> None:
    """Always, on another verdict, on failure: each alone and together."""
    other = {"verdict": verdict(model="resnet50")} if changed else {}
    run = summary(2, status=status, **other)

    assert should_mail(config(25, when=when), run, what_changed(summary(1), run)) is expected


def test_the_first_verdict_is_news() -> None:
    """With nothing before it, a verdict counts as changed."""
    assert should_mail(config(25, when=("verdict_change",)), summary(), what_changed(None, summary()))


# Settings


@pytest.mark.parametrize(
    "address",
    ["board@hospital.example", "a.b+c@x-y.example", "root@localhost", "o'brien@h.example", "x@xn--mnchen-3ya.example"],
)
def test_good_addresses(address: str) -> None:
    """Ordinary addresses pass as they are."""
    assert checked_address(address) == address


@pytest.mark.parametrize(
    "address",
    [
        "board",
        "board@",
        "@hospital.example",
        "a b@hospital.example",
        "a..b@hospital.example",
        ".a@hospital.example",
        "a@hospital..example",
        "a@-hospital.example",
        "Board <board@hospital.example>",
        "a@b.example, c@d.example",
        "a@b.example;c@d.example",
        "a@münchen.example",
        "board@hospital.example\r\nBcc: spy@evil.example",
        "board@hospital.example\n",
        "board\r@hospital.example",
        "board@hospital.example\x00",
        "a" * 65 + "@hospital.example",
        "a@" + "b" * 60 + "." + "c" * 60 + "." + "d" * 60 + "." + "e" * 60 + "." + "f" * 30,
        "",
    ],
)
def test_bad_addresses_are_refused_everywhere(address: str) -> None:
    """No injection, no list in one address, no nonsense: as recipient and as sender."""
    with pytest.raises(ValueError, match=r"is not an e-mail address|line break|too long"):
        checked_address(address)
    with pytest.raises(ValidationError, match="recipients"):
        config(25, recipients=(address,))
    with pytest.raises(ValidationError, match="sender"):
        config(25, sender=address)


def test_a_data_set_name_cannot_inject_a_header() -> None:
    """Line breaks in any part of the subject become blanks."""
    message = _report(config(25), None, data_name="oral\r\nBcc: spy@evil.example\n\nbody\x00\u2028x")

    parsed = message_from_bytes(message.as_bytes(policy=SMTP), policy=SMTP)
    assert parsed["Bcc"] is None
    assert parsed["Subject"] == "oral Bcc: spy@evil.example body x: Prefer EfficientNet-B0"
    assert len(_report(config(25), None, data_name="x" * 500)["Subject"]) == 150


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"username": "u"}, "belong together"),
        ({"host": "mail.example", "username": "u", "password": "p"}, "would send the password in clear"),
        ({"recipients": ("a@b.example", "A@B.example")}, "named twice"),
        ({"recipients": ()}, "recipients"),
        ({"host": "bad host\r\n"}, "not the name or address of a mail server"),
        ({"link_base": "javascript:alert(1)"}, "not an address that begins with https"),
        ({"link_base": "https://x.example/\"onclick"}, "not an address that begins with https"),
        ({"when": ("sometimes",)}, "when"),
        ({"port": 0}, "port"),
    ],
)
def test_bad_settings_are_refused(values: dict[str, Any], message: str) -> None:
    """Each with the field and the reason."""
    with pytest.raises(ValidationError, match=message):
        config(25, **values) if "port" not in values else config(**values)


def test_the_password_is_never_shown() -> None:
    """Neither the representation nor JSON holds it."""
    mail_config = config(25, username=USER, password=PASSWORD)

    assert isinstance(mail_config.password, SecretStr)
    for shown in (repr(mail_config), str(mail_config), mail_config.model_dump_json(), str(mail_config.model_dump())):
        assert PASSWORD not in shown


def test_settings_come_from_the_environment() -> None:
    """Lists between commas, usual ports, empty values as not set."""
    environment = {
        "MEDCOMPARE_SMTP_HOST": "mail.example",
        "MEDCOMPARE_SMTP_SECURITY": "tls",
        "MEDCOMPARE_SMTP_USERNAME": USER,
        "MEDCOMPARE_SMTP_PASSWORD": PASSWORD,
        "MEDCOMPARE_SMTP_SENDER": "reports@hospital.example",
        "MEDCOMPARE_SMTP_RECIPIENTS": "a@b.example, c@d.example",
        "MEDCOMPARE_SMTP_WHEN": "verdict_change,failure",
        "MEDCOMPARE_SMTP_CA_FILE": "",
        "PATH": "/usr/bin",
    }

    found = mail_config_from_environment(environment)

    assert found is not None
    assert (found.port, found.security, found.ca_file) == (465, "tls", None)
    assert found.recipients == ("a@b.example", "c@d.example")
    assert found.when == ("verdict_change", "failure")
    assert found.password is not None
    assert found.password.get_secret_value() == PASSWORD
    assert mail_config_from_environment({"PATH": "/usr/bin", "MEDCOMPARE_SMTP_HOST": ""}) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"MEDCOMPARE_SMTP_HOST": ""}, "not MEDCOMPARE_SMTP_HOST"),
        ({"MEDCOMPARE_SMTP_SENDER": ""}, "MEDCOMPARE_SMTP_SENDER: Field required"),
        ({"MEDCOMPARE_SMTP_PORT": "many"}, "MEDCOMPARE_SMTP_PORT: "),
        ({"MEDCOMPARE_SMTP_SECURTY": "tls"}, "MEDCOMPARE_SMTP_SECURTY: no such setting; known: MEDCOMPARE_SMTP_HOST"),
        ({"MEDCOMPARE_SMTP_PASSWORD": PASSWORD}, "belong together"),
    ],
)
def test_bad_environment_names_the_variable(changes: dict[str, str], message: str) -> None:
    """The message names the variable and never quotes the password."""
    environment = {
        "MEDCOMPARE_SMTP_HOST": "mail.example",
        "MEDCOMPARE_SMTP_SENDER": "reports@hospital.example",
        "MEDCOMPARE_SMTP_RECIPIENTS": "a@b.example",
    }

    with pytest.raises(ConfigError, match=message) as caught:
        mail_config_from_environment(environment | changes)

    assert PASSWORD not in str(caught.value)


# Sending to real servers


@pytest.mark.parametrize("security", ["none", "starttls", "tls"])
@pytest.mark.parametrize("login", [False, True], ids=["open", "login"])
def test_a_mail_arrives_whole(
    certificates: Certificates, pdf: Path, security: str, login: bool  # noqa: FBT001 - parametrised
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
        message = _report(mail_config, pdf)

        delivery = send(message, mail_config)

    assert delivery.delivered == mail_config.recipients
    assert delivery.n_attempts == 1
    [(recipients, received)] = mailbox.mails
    assert recipients == mail_config.recipients
    assert received["Subject"] == message["Subject"]
    assert _text(received) == _text(message)
    assert _attachments(received) == _attachments(message)


def test_lines_that_begin_with_a_dot_arrive(pdf: Path) -> None:
    """A lone dot does not end the mail early."""
    mailbox = Mailbox()
    with mail_server(mailbox) as port:
        send(_report(config(port), pdf, verdict=verdict(sentence="first\n.\n..second")), config(port))

    [(_, received)] = mailbox.mails
    assert "first\n.\n..second" in _text(received)


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_certificate_nobody_vouches_for_is_refused(certificates: Certificates, security: str) -> None:
    """Without the authority's file nothing is sent, and the remedy names the setting."""
    mailbox = Mailbox()
    with mail_server(mailbox, certificates=certificates, security=security) as port:
        delivery = send(_report(config(port), None), config(port, security=security), back_off_s=())

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
        fault = send(_report(mail_config, None), mail_config, back_off_s=()).outcomes[0].fault

    assert fault is not None
    assert fault.kind == "settings"
    assert "not trusted" in fault.detail


def test_no_starttls_means_no_mail() -> None:
    """A server without STARTTLS gets neither password nor mail: nothing is downgraded."""
    mailbox = Mailbox()
    with mail_server(mailbox) as port:
        mail_config = config(port, security="starttls", username=USER, password=PASSWORD)
        delivery = send(_report(mail_config, None), mail_config)

    assert mailbox.mails == []
    assert delivery.n_attempts == 1
    assert delivery.outcomes[0].fault is not None
    assert "STARTTLS" in delivery.outcomes[0].fault.detail
    assert delivery.outcomes[0].fault.kind == "settings"


def test_tls_against_a_plain_server_is_a_wrong_setting() -> None:
    """A mixed-up port is said, not retried for ever."""
    with mail_server(Mailbox()) as port:
        fault = send(_report(config(port), None), config(port, security="tls"), back_off_s=()).outcomes[0].fault

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
            port, security="starttls", ca_file=certificates.authority, username=USER, password="wrong secret"
        )
        delivery = send(_report(mail_config, None), mail_config)

    assert delivery.n_attempts == 1
    fault = delivery.outcomes[0].fault
    assert fault is not None
    assert (fault.kind, fault.code) == ("settings", 535)
    assert "username and password" in fault.remedy
    assert "wrong secret" not in caplog.text + delivery.model_dump_json()


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
        delivery = send(_report(mail_config, None), mail_config)

    shown = caplog.text + delivery.model_dump_json()
    plain = base64.b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode()
    assert not [secret for secret in (*PASSWORDS_AS_SENT, plain) if secret in shown]
    assert "[secret]" in shown


def test_one_refused_recipient_does_not_keep_the_others_from_it() -> None:
    """Each recipient has an outcome: taken, refused for good, to be tried again."""
    mailbox = Mailbox(replies={"gone@hospital.example": "550 no such user", "full@hospital.example": "452 mailbox full"})
    recipients = ("board@hospital.example", "gone@hospital.example", "full@hospital.example")
    with mail_server(mailbox) as port:
        mail_config = config(port, recipients=recipients)
        pauses: list[float] = []
        delivery = send(_report(mail_config, None), mail_config, back_off_s=(1, 5), sleep=pauses.append)

    assert delivery.delivered == ("board@hospital.example",)
    assert delivery.refused == ("gone@hospital.example",)
    assert delivery.waiting == ("full@hospital.example",)
    assert [recipients for recipients, _ in mailbox.mails] == [("board@hospital.example",)]  # not sent it twice
    assert pauses == [1, 5]
    assert delivery.n_attempts == 3


def test_all_recipients_refused() -> None:
    """Nothing is sent and nothing is tried again."""
    mailbox = Mailbox(replies=dict.fromkeys(config(25).recipients, "550 no such user"))
    with mail_server(mailbox) as port:
        delivery = send(_report(config(port), None), config(port))

    assert delivery.refused == config(port).recipients
    assert (mailbox.mails, delivery.n_attempts) == ([], 1)


def test_a_server_that_hangs_up_among_recipients_has_taken_nothing() -> None:
    """421 at the second of three: the first and third are not taken for delivered."""
    recipients = ("a@hospital.example", "b@hospital.example", "c@hospital.example")
    with mail_server(Mailbox(replies={"b@hospital.example": "421 going down"})) as port:
        mail_config = config(port, recipients=recipients)
        delivery = send(_report(mail_config, None), mail_config, back_off_s=())

    assert delivery.delivered == ()
    assert delivery.waiting == recipients


def test_a_passing_fault_is_retried_until_it_passes() -> None:
    """Two temporary refusals, then the mail is taken, once."""
    mailbox = Mailbox(data_replies=["451 try later", "451 try later"])
    pauses: list[float] = []
    with mail_server(mailbox) as port:
        delivery = send(_report(config(port), None), config(port), back_off_s=(2, 10), sleep=pauses.append)

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
        delivery = send(_report(config(port), None), config(port))

    fault = delivery.outcomes[0].fault
    assert fault is not None
    assert (fault.kind, delivery.n_attempts) == (kind, 1)
    assert remedy in fault.remedy


def test_a_mail_above_the_servers_limit_says_so(pdf: Path) -> None:
    """The limit a server announces is met with a remedy, before the mail travels."""
    mailbox = Mailbox()
    with mail_server(mailbox, data_size_limit=5000) as port:
        fault = send(_report(config(port), pdf), config(port)).outcomes[0].fault

    assert fault is not None
    assert (fault.kind, fault.code) == ("refused", 552)
    assert "max_attachment_bytes" in fault.remedy
    assert mailbox.mails == []


def test_nobody_listens() -> None:
    """A server that is down is tried again, then the mail waits."""
    port = free_port()
    pauses: list[float] = []

    delivery = send(_report(config(port), None), config(port), back_off_s=(2, 10), sleep=pauses.append)

    assert delivery.waiting == config(port).recipients
    assert (delivery.n_attempts, pauses) == (3, [2, 10])
    fault = delivery.outcomes[0].fault
    assert fault is not None
    assert fault.kind == "transient"
    assert f"{LOOPBACK}:{port}: Connection refused" in fault.detail


def test_a_server_that_dies_in_the_middle_has_not_taken_the_mail(pdf: Path) -> None:
    """Hanging up during the transfer is a fault that may pass, in every attempt."""
    with raw_server(dies_in_transfer) as port:
        delivery = send(_report(config(port), pdf), config(port), back_off_s=(0.01,))

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
        fault = send(_report(config(port), None), config(port, timeout_s=0.3), back_off_s=()).outcomes[0].fault

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
        delivery = send(_report(config(port), None), config(port))

    assert delivery.delivered == config(port).recipients


def test_an_authority_file_that_cannot_be_read_is_a_wrong_setting(tmp_path: Path) -> None:
    """The message names the file and the setting."""
    with mail_server(Mailbox()) as port:
        mail_config = config(port, security="starttls", ca_file=tmp_path / "absent.pem")
        fault = send(_report(mail_config, None), mail_config).outcomes[0].fault
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
        good = config(port, security="starttls", ca_file=certificates.authority, username=USER, password=PASSWORD)

        assert probe(good) == 12345

    assert mailbox.mails == []


def test_encryption_always_verifies(certificates: Certificates) -> None:
    """Certificate and host name are checked, nothing older than TLS 1.2 is spoken, with and without an own authority."""
    for ca_file in (None, certificates.authority):
        context = mail._tls_context(config(25, security="tls", ca_file=ca_file))

        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
