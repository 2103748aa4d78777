"""Sending one mail over SMTP: which recipients the server did not take it for, and why.

Kept on `smtplib` rather than prefect-email 0.4.3, whose block sets no time limit, takes no
certificate authority of one's own, and reports no refused recipients.
"""

from __future__ import annotations

import base64
import contextlib
import re
import smtplib
import ssl
from email.policy import SMTP
from typing import TYPE_CHECKING, Literal

from medcompare.base.errors import ConfigError
from medcompare.base.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from email.message import EmailMessage

    from medcompare.notify.settings import MailConfig

FaultKind = Literal["transient", "server", "settings", "refused"]

TRANSIENT_CODES = range(400, 500)
TOO_LARGE = 552
MAX_DETAIL_CHARACTERS = 300
NEXT_RUN = "tried again with the next run"
ADDRESS = re.compile(r"[^\s<>:;,\"]+@[^\s<>:;,\"]+")


class Fault(Record):
    """Why a mail was not taken, and what to do.

    ``transient``: this mail may be taken later; ``server``: nobody answers; ``settings``: login,
    certificate or sender are wrong; ``refused``: this mail or recipient will never be taken.
    """

    kind: FaultKind
    code: int | None = None
    detail: str
    remedy: str


def send(message: EmailMessage, config: MailConfig, recipients: Sequence[str]) -> dict[str, Fault]:
    """Send `message` once; problems are returned, never raised.

    Returns
    -------
    dict
        Recipient to fault, for those the server did not take the mail for.
    """
    try:
        with connected(config) as server:
            answers = server.sendmail(config.sender, list(recipients), message.as_bytes(policy=SMTP))
            faults = {}
    except smtplib.SMTPRecipientsRefused as error:
        answers = error.recipients
        # Where the server hangs up among the recipients, the rest was never asked for.
        unasked = _fault("transient", f"{config.host} ended the connection", NEXT_RUN, config)
        faults = dict.fromkeys(recipients, unasked)
    except (OSError, smtplib.SMTPException, ConfigError) as error:
        return dict.fromkeys(recipients, fault_of(error, config))
    return faults | {
        name: _reply_fault(code, reply, config, "check the address")
        for name, (code, reply) in answers.items()
    }


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
        # The mail was taken: a server that hangs up now changes nothing.
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
    passing = ssl.SSLEOFError | ssl.SSLZeroReturnError | TimeoutError | ConnectionError
    if isinstance(error, ssl.SSLError) and not isinstance(error, passing):
        detail = f"{where}: no encrypted connection ({error.reason or error})"
        return _fault(
            "settings", detail, "check security and port: 587 is usual for starttls, 465 for tls", config
        )
    return _fault("server", f"{where}: {_words(error)}", f"{NEXT_RUN}; check host and port", config)


def _reply_fault(
    code: int, reply: bytes | str, config: MailConfig, remedy: str, *, kind: FaultKind = "refused"
) -> Fault:
    text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else reply
    if code in TRANSIENT_CODES or code <= 0:  # smtplib gives -1 where the server hung up
        kind, remedy = "transient", NEXT_RUN
    return _fault(kind, f"{config.host} answered {code} {text}", remedy, config, code=code)


def _fault(
    kind: FaultKind, detail: str, remedy: str, config: MailConfig, *, code: int | None = None
) -> Fault:
    # Servers quote the recipient, and a log needs no addresses.
    detail = ADDRESS.sub("(an address)", _without_secret(detail, config))
    line = " ".join("".join(c if c.isprintable() else " " for c in detail).split())
    return Fault(kind=kind, code=code, detail=line[:MAX_DETAIL_CHARACTERS], remedy=remedy)


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
