"""Real mail servers on the loopback interface for the tests of mail, outbox and doctor."""

# ruff: noqa: ARG001, ARG002, N802 - names and parameters of the handlers are those of aiosmtpd

from __future__ import annotations

import contextlib
import ipaddress
import socket
import ssl
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import SMTP
from typing import TYPE_CHECKING, Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from medcompare.notify.settings import MailConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from email.message import EmailMessage
    from pathlib import Path

LOOPBACK = "127.0.0.1"
USER, PASSWORD = "reports", "correct horse battery staple"


@dataclass(frozen=True)
class Certificates:
    """A server's certificate and the authority that signed it."""

    authority: Path
    certificate: Path
    key: Path

    def server_context(self) -> ssl.SSLContext:
        """TLS settings of the server."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.certificate, self.key)
        return context


def make_certificates(folder: Path) -> Certificates:
    """Make an authority and a certificate for the loopback address that it signs."""
    now = datetime.now(UTC)
    authority_key, server_key = (
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP256R1()),
    )
    authority_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test authority")])

    def builder(name: x509.Name, public_key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(authority_name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
        )

    authority_id = x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key())
    authority = (
        builder(authority_name, authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=True,
                crl_sign=True,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .add_extension(authority_id, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    server_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, LOOPBACK)])
    certificate = (
        builder(server_name, server_key.public_key())
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(LOOPBACK))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority_id), critical=False
        )
        .sign(authority_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    paths = Certificates(folder / "authority.pem", folder / "server.pem", folder / "server.key")
    paths.authority.write_bytes(authority.public_bytes(pem))
    paths.certificate.write_bytes(certificate.public_bytes(pem))
    paths.key.write_bytes(
        server_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


@dataclass
class Mailbox:
    """What a server received, and what it is to refuse."""

    mails: list[tuple[tuple[str, ...], EmailMessage]] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    replies: dict[str, str] = field(default_factory=dict)
    """Reply to RCPT by recipient; others are taken."""
    data_replies: list[str] = field(default_factory=list)
    """Replies to DATA, one after the other; then mails are taken."""
    sender_reply: str | None = None
    n_connections: int = 0

    def handle_connection(self) -> None:
        """Count a session."""
        self.n_connections += 1

    async def handle_EHLO(
        self, server: Any, session: Any, envelope: Any, hostname: str, responses: list[str]
    ) -> list[str]:
        """Take everybody's greeting, and count it."""
        self.n_connections += 1
        session.host_name = hostname
        return responses

    async def handle_MAIL(
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        """Take or refuse the sender."""
        if self.sender_reply is not None:
            return self.sender_reply
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        """Take or refuse a recipient."""
        if address in self.replies:
            return self.replies[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        """Take or refuse a mail."""
        if self.data_replies:
            return self.data_replies.pop(0)
        self.raw.append(envelope.content)
        self.mails.append((tuple(envelope.rcpt_tos), message_from_bytes(envelope.content, policy=SMTP)))
        return "250 OK"


def _authenticate(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
    good = isinstance(data, LoginPassword) and (data.login, data.password) == (
        USER.encode(),
        PASSWORD.encode(),
    )
    return AuthResult(success=good, handled=False)


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def mail_server(
    mailbox: Mailbox,
    *,
    certificates: Certificates | None = None,
    security: str = "none",
    login: bool = False,
    port: int | None = None,
    **options: Any,
) -> Iterator[int]:
    """A running server; yields its port."""
    if login:
        options |= {
            "authenticator": _authenticate,
            "auth_required": True,
            "auth_require_tls": security == "starttls",
        }
    if security == "starttls":
        assert certificates is not None
        options |= {"tls_context": certificates.server_context(), "require_starttls": True}
    ssl_context = certificates.server_context() if security == "tls" and certificates is not None else None
    controller = Controller(
        mailbox,
        hostname=LOOPBACK,
        port=port or free_port(),
        ssl_context=ssl_context,
        ready_timeout=20,
        **options,
    )
    if ssl_context is not None:
        # The controller's own readiness check trusts only the system's authorities.
        controller._trigger_server = lambda: socket.create_connection((LOOPBACK, controller.port), 5).close()  # type: ignore[method-assign]
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()


@contextlib.contextmanager
def raw_server(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server that says whatever `talk` says, to one connection after the other; yields its port."""
    with socket.create_server((LOOPBACK, 0)) as listener:
        listener.settimeout(0.1)
        stop = threading.Event()

        def serve() -> None:
            while not stop.is_set():
                with contextlib.suppress(TimeoutError, OSError):
                    connection, _ = listener.accept()
                    with connection:
                        connection.settimeout(5)
                        talk(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            stop.set()
            thread.join(10)


def dies_in_transfer(connection: socket.socket) -> None:
    """Take a mail until its body begins to arrive, then hang up."""
    connection.sendall(b"220 dying.example\r\n")
    lines = connection.makefile("rb")
    for line in lines:
        command = line[:4].upper()
        if command == b"DATA":
            connection.sendall(b"354 go ahead\r\n")
            connection.recv(200)
            connection.shutdown(socket.SHUT_RDWR)
            return
        connection.sendall(b"250 OK\r\n")


def config(port: int, **values: Any) -> MailConfig:
    """Settings for a server on the loopback interface."""
    defaults: dict[str, Any] = {
        "host": LOOPBACK,
        "port": port,
        "security": "none",
        "sender": "reports@hospital.example",
        "recipients": ("board@hospital.example", "chief@hospital.example"),
        "timeout_s": 5,
    }
    return MailConfig(**(defaults | values))
