"""Mails about sample runs, and how to look into them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from medcompare.notify.message import build_report_mail
from medcompare.runs.changes import what_changed
from tests.runs.sample_runs import summary

if TYPE_CHECKING:
    from email.message import EmailMessage
    from pathlib import Path

    from medcompare.notify.settings import MailConfig

NOW = datetime(2026, 11, 22, 3, tzinfo=UTC)
PDF = b"%PDF-1.7 " + bytes(range(256)) * 40


def report_mail(
    mail_config: MailConfig, pdf: Path | None, *, link: str | None = None, **changes: Any
) -> EmailMessage:
    """Mail about the run of the second night."""
    run = summary(2, **changes)
    return build_report_mail(run, what_changed(summary(1), run), mail_config, pdf=pdf, now=NOW, link=link)


def body_text(message: EmailMessage, kind: str = "plain") -> str:
    """Body of a mail, with plain line ends."""
    body = message.get_body((kind,))
    assert body is not None
    return str(body.get_content()).replace("\r\n", "\n")


def attachments(message: EmailMessage) -> dict[str | None, bytes]:
    """Attached files by name."""
    return {part.get_filename(): part.get_content() for part in message.iter_attachments()}
