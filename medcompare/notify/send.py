"""Sending one mail: what each recipient's server said, and whether trying again can help.

`send` never raises for what a mail server does: it returns an outcome per recipient, so
that the outbox can keep what was not delivered. Faults of three kinds are told apart:
those that pass (server down, greylisting), those in the settings (login, certificate),
and refusals of this mail or this recipient.
"""

from __future__ import annotations

import base64
import contextlib
import logging
import re
import smtplib
import ssl
import time
from email.policy import SMTP
from typing import TYPE_CHECKING, Literal

from medcompare.base.errors import ConfigError
from medcompare.base.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from email.message import EmailMessage

    from medcompare.notify.settings import MailConfig

FaultKind = Literal["transient", "settings", "refused"]

BACK_OFF_S = (2.0, 10.0)
"""Pauses before the second and the third attempt."""

TRANSIENT_CODES = range(400, 500)
TOO_LARGE = 552
LONGEST_DETAIL = 300
ADDRESS = re.compile(r"[^\s<>:;,\"]+@[^\s<>:;,\"]+")

logger = logging.getLogger(__name__)


class Fault(Record):
    """Why a mail was not taken, and what to do."""

    kind: FaultKind
    code: int | None = None
    detail: str
    remedy: str


class RecipientOutcome(Record):
    """What became of the mail for one recipient."""

    recipient: str
    fault: Fault | None = None

    @property
    def delivered(self) -> bool:
        """Whether the server took the mail for this recipient."""
        return self.fault is None


class Delivery(Record):
    """What became of one mail."""

    outcomes: tuple[RecipientOutcome, ...]
    n_attempts: int

    @property
    def delivered(self) -> tuple[str, ...]:
        """Recipients the server took the mail for."""
        return tuple(outcome.recipient for outcome in self.outcomes if outcome.fault is None)

    @property
    def waiting(self) -> tuple[str, ...]:
        """Recipients for whom trying again later, or mending the settings, can help."""
        return tuple(o.recipient for o in self.outcomes if o.fault is not None and o.fault.kind != "refused")

    @property
    def refused(self) -> tuple[str, ...]:
        """Recipients for whom the mail was refused for good."""
        return tuple(o.recipient for o in self.outcomes if o.fault is not None and o.fault.kind == "refused")


def send(
    message: EmailMessage,
    config: MailConfig,
    *,
    recipients: Sequence[str] | None = None,
    back_off_s: Sequence[float] = BACK_OFF_S,
    sleep: Callable[[float], None] = time.sleep,
) -> Delivery:
    """Send `message`, again after a pause where the fault may pass.

    Parameters
    ----------
    message : EmailMessage
        As `medcompare.notify.message` builds it.
    config : MailConfig
        Server and login.
    recipients : sequence of str, optional
        Those still waiting for it; by default ``config.recipients``.
    back_off_s : sequence of float
        Pauses between attempts, seconds; their number plus one is that of the attempts.
    sleep : callable
        Waits; exchanged in tests.

    Returns
    -------
    Delivery
        One outcome per recipient, in order. A recipient for whom the server took the mail
        is never sent it again.
    """
    wanted = tuple(config.recipients if recipients is None else recipients)
    content = message.as_bytes(policy=SMTP)
    faults: dict[str, Fault | None] = {}
    pending = wanted
    attempt = 0
    for attempt, pause in enumerate((0.0, *back_off_s), start=1):
        if pause:
            sleep(pause)
        faults |= _attempt(content, config, pending)
        pending = tuple(
            name for name in pending if (fault := faults[name]) is not None and fault.kind == "transient"
        )
        if not pending:
            break
        fault = faults[pending[0]]
        logger.warning("mail not delivered in attempt %d: %s", attempt, fault.detail if fault else "")
    outcomes = tuple(RecipientOutcome(recipient=name, fault=faults[name]) for name in wanted)
    delivery = Delivery(outcomes=outcomes, n_attempts=attempt)
    logger.info("mail taken for %d of %d recipients", len(delivery.delivered), len(wanted))
    return delivery


def _attempt(content: bytes, config: MailConfig, recipients: Sequence[str]) -> dict[str, Fault | None]:
    faults: dict[str, Fault | None] = dict.fromkeys(recipients)
    try:
        with connected(config) as server:
            refused = server.sendmail(config.sender, list(recipients), content)
    except smtplib.SMTPRecipientsRefused as error:
        refused = error.recipients
        # Where the server hangs up among the recipients, the rest was never asked for.
        unasked = _fault(
            "transient", f"{config.host} ended the connection", "tried again with the next run", config
        )
        faults = dict.fromkeys(recipients, unasked)
    except (OSError, smtplib.SMTPException, ConfigError) as error:
        fault = fault_of(error, config)
        return dict.fromkeys(recipients, fault)
    for name, (code, reply) in refused.items():
        faults[name] = _reply_fault(code, reply, config, "check the address")
    return faults


@contextlib.contextmanager
def connected(config: MailConfig) -> Iterator[smtplib.SMTP]:
    """Connection to the server, encrypted and logged in as the settings say.

    Certificates are verified against the system's authorities or ``config.ca_file``;
    there is no way around. Where STARTTLS is asked for and not offered, nothing is sent.

    Raises
    ------
    ConfigError
        If ``ca_file`` cannot be read.
    OSError, smtplib.SMTPException
        As `smtplib` raises them; `fault_of` puts them into words.
    """
    context = None if config.security == "none" else _tls_context(config)
    server: smtplib.SMTP
    if config.security == "tls":
        server = smtplib.SMTP_SSL(config.host, config.port, timeout=config.timeout_s, context=context)
    else:
        server = smtplib.SMTP(config.host, config.port, timeout=config.timeout_s)
    try:
        server.ehlo_or_helo_if_needed()
        if config.security == "starttls":
            server.starttls(context=context)
            server.ehlo()
        if config.username is not None and config.password is not None:
            server.login(config.username, config.password.get_secret_value())
        yield server
        # What was taken is taken: a server that dies at the farewell changes nothing.
        with contextlib.suppress(OSError, smtplib.SMTPException):
            server.quit()
    finally:
        server.close()


def probe(config: MailConfig) -> int | None:
    """Connect, encrypt and log in without sending anything; returns the server's size limit in bytes.

    Raises
    ------
    ConfigError, OSError, smtplib.SMTPException
        As `connected` does.
    """
    with connected(config) as server:
        server.ehlo_or_helo_if_needed()
        server.noop()
        limit = server.esmtp_features.get("size", "")
    return int(limit) if limit.isdigit() and int(limit) > 0 else None


def _tls_context(config: MailConfig) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=None if config.ca_file is None else str(config.ca_file))
    except (OSError, ssl.SSLError) as error:
        msg = f"ca_file {config.ca_file} cannot be used ({error}): name a PEM file with the authority's certificate"
        raise ConfigError(msg) from None
    # Python 3.10 and newer ask for this much by themselves, but a system's OpenSSL may be set lower.
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def fault_of(error: Exception, config: MailConfig) -> Fault:
    """What `error`, raised while sending, means for trying again."""
    where = f"{config.host}:{config.port}"
    if isinstance(error, ConfigError):
        return _fault("settings", str(error), "correct the setting", config)
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return _reply_fault(
            error.smtp_code, error.smtp_error, config, "check username and password", kind="settings"
        )
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return _fault(
            "settings", f"{where}: {error}", "the server does not offer this: check security and port", config
        )
    if isinstance(error, smtplib.SMTPResponseException):
        too_large = error.smtp_code == TOO_LARGE
        remedy = (
            "lower max_attachment_bytes, so that the report is linked"
            if too_large
            else "ask the server's postmaster"
        )
        about_us = isinstance(
            error, smtplib.SMTPSenderRefused | smtplib.SMTPConnectError | smtplib.SMTPHeloError
        )
        kind: FaultKind = "settings" if about_us and not too_large else "refused"
        return _reply_fault(error.smtp_code, error.smtp_error, config, remedy, kind=kind)
    if isinstance(error, ssl.SSLCertVerificationError):
        detail = f"{where}: the server's certificate is not trusted ({error.verify_message or error})"
        return _fault(
            "settings", detail, "name its authority with ca_file, or the host the certificate is for", config
        )
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError | TimeoutError | ConnectionError):
        return _fault("transient", f"{where}: {_words(error)}", "tried again with the next run", config)
    if isinstance(error, ssl.SSLError):
        detail = f"{where}: no encrypted connection ({error.reason or error})"
        return _fault(
            "settings", detail, "check security and port: 587 is usual for starttls, 465 for tls", config
        )
    return _fault(
        "transient", f"{where}: {_words(error)}", "tried again with the next run; check host and port", config
    )


def _reply_fault(
    code: int, reply: bytes | str, config: MailConfig, remedy: str, *, kind: FaultKind = "refused"
) -> Fault:
    text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else reply
    if code in TRANSIENT_CODES or code <= 0:  # smtplib gives -1 where the server hung up
        kind, remedy = "transient", "tried again with the next run"
    return _fault(kind, f"{config.host} answered {code} {text}", remedy, config, code=code)


def _fault(
    kind: FaultKind, detail: str, remedy: str, config: MailConfig, *, code: int | None = None
) -> Fault:
    # Servers quote the recipient; an outcome names it already, and a log needs no addresses.
    detail = ADDRESS.sub("(an address)", _without_secret(detail, config))
    line = " ".join("".join(c if c.isprintable() else " " for c in detail).split())
    return Fault(kind=kind, code=code, detail=line[:LONGEST_DETAIL], remedy=remedy)


def _without_secret(text: str, config: MailConfig) -> str:
    """`text` without the password, also where a server echoes it as it travelled."""
    if config.password is None:
        return text
    secret, name = config.password.get_secret_value(), config.username or ""
    for plain in (secret, f"\0{name}\0{secret}", f"{name}\0{name}\0{secret}"):
        encoded = base64.b64encode(plain.encode()).decode()
        text = text.replace(encoded, "[secret]")
        text = text.replace(plain, "[secret]") if plain else text
    return text


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
