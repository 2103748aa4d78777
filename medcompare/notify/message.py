"""The mails: what stands in the subject, the body and the attachment.

Bodies hold the verdict, the key figures and what changed; never a path, a file name or
a patient's id (`medcompare.base.discretion`). Every number is formatted here, the templates
only place it.
"""

from __future__ import annotations

import re
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid
from functools import cache
from typing import TYPE_CHECKING

import jinja2
from pydantic import Field

from medcompare import __version__
from medcompare.base.code_identity import PACKAGE_ROOT
from medcompare.base.discretion import discreet
from medcompare.base.errors import MedcompareError
from medcompare.base.formatting import (
    NOT_MEASURED,
    format_count,
    format_duration,
    format_estimate,
    format_median,
    format_milliseconds,
    format_time,
)
from medcompare.base.record import Record
from medcompare.models.zoo import MODELS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from pathlib import Path

    from medcompare.notify.settings import MailConfig
    from medcompare.runs.changes import Changes
    from medcompare.runs.summary import RunSummary

TEMPLATES = PACKAGE_ROOT.parent / "templates"
PDF_NAME = "report.pdf"
MOST_SUBJECT_CHARACTERS = 150
MOST_CHANGES = 12
MOST_MODELS_SIDE_BY_SIDE = 3


class MailError(MedcompareError):
    """A mail could not be made."""


class MailContent(Record):
    """Everything a mail's body says, formatted."""

    subject: str
    failed: bool
    synthetic: bool
    headline: str
    sentence: str
    caveats: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    table: str = Field(default="", description="The same table for plain text.")
    facts: tuple[tuple[str, str], ...]
    changes: tuple[str, ...] = ()
    remedy: str | None = None
    attachment: str = ""
    link: str | None = None
    link_text: str = ""
    footer: str


def should_mail(config: MailConfig, run: RunSummary, changes: Changes | None = None) -> bool:
    """Whether `run` is to be mailed, by ``config.when``.

    A first verdict counts as a changed one. A failed run is mailed with 'always' and
    with 'failure'.
    """
    if "always" in config.when:
        return True
    if run.status != "completed":
        return "failure" in config.when
    return "verdict_change" in config.when and (
        changes is None or changes.previous is None or changes.verdict_changed is True
    )


def build_report_mail(
    run: RunSummary,
    changes: Changes | None,
    config: MailConfig,
    *,
    pdf: Path | None,
    now: datetime,
    link: str | None = None,
) -> EmailMessage:
    """Mail about a completed run.

    Parameters
    ----------
    run : RunSummary
        The run, with its verdict.
    changes : Changes or None
        What changed since the run before it.
    config : MailConfig
        Sender, recipients, and the limit above which the PDF is linked.
    pdf : Path or None
        The report; attached under a neutral name.
    now : datetime
        Date of the mail, with a time zone.
    link : str, optional
        Web address of the report.

    Returns
    -------
    EmailMessage
        Plain text, HTML, and the PDF.

    Raises
    ------
    MailError
        If the run has no verdict or the PDF cannot be read.
    """
    if run.verdict is None:
        msg = f"run '{run.name}' is {run.status} and has no verdict: use build_failure_mail"
        raise MailError(msg)
    changed = changes is not None and changes.verdict_changed is True
    parts = [f"{title_of(run)}: {run.verdict.headline}"]
    parts += ["verdict changed"] if changed else []
    parts += ["synthetic data"] if run.synthetic else []
    figures = _figures(run)
    # Few models stand side by side, which also fits a telephone; many stand below each other.
    table = tuple(zip(*figures, strict=True)) if len(run.models) <= MOST_MODELS_SIDE_BY_SIDE else figures
    content, attachment_text = _attachment(pdf, config, has_link=link is not None)
    body = MailContent(
        subject=one_line(f"{parts[0]}{' (' + ', '.join(parts[1:]) + ')' if parts[1:] else ''}"),
        failed=False,
        synthetic=run.synthetic,
        headline=run.verdict.headline,
        sentence=run.verdict.sentence,
        caveats=run.verdict.caveats,
        columns=table[0],
        rows=tuple(table[1:]),
        table=text_table(figures[0], figures[1:]),
        facts=tuple(_facts(run)),
        changes=_shortened(changes.sentences) if changes is not None else (),
        attachment=attachment_text,
        link=link,
        link_text="Open the report",
        footer=_footer(),
    )
    return _message(
        body, config, now=now, pdf=content, pdf_name=f"medcompare-report-{run.started_at[:10]}.pdf"
    )


def build_failure_mail(
    run: RunSummary,
    config: MailConfig,
    *,
    now: datetime,
    link: str | None = None,
    keep: Iterable[str] = (),
    private: Iterable[str] = (),
) -> EmailMessage:
    """Mail about a run that failed or crashed: stage, cause and remedy.

    Parameters
    ----------
    run : RunSummary
        The run, with its failure; the cause is made discreet here.
    config : MailConfig
        Sender and recipients.
    now : datetime
        Date of the mail, with a time zone.
    link : str, optional
        Web address of the run, where its log can be read.
    keep, private : iterable of str
        As in `medcompare.base.discretion.discreet`.

    Raises
    ------
    MailError
        If the run did not fail.
    """
    if run.failure is None:
        msg = f"run '{run.name}' is {run.status} and has no failure to report: use build_report_mail"
        raise MailError(msg)
    ours = [
        name
        for spec in MODELS.values()
        for name in (spec.name, spec.display_name, *spec.display_name.split())
    ]
    kept = {*keep, *ours}

    def clean(text: str) -> str:
        return discreet(text, keep=kept, private=private)

    stage = clean(run.failure.stage)
    kind = clean(run.failure.kind)
    body = MailContent(
        subject=one_line(f"{title_of(run)}: the run {run.status} in {stage}"),
        failed=True,
        synthetic=run.synthetic,
        headline=f"The run {run.status} in {stage}",
        sentence=f"{kind}: {clean(run.failure.cause)}",
        facts=tuple(_facts(run)),
        remedy=clean(run.failure.remedy) if run.failure.remedy else "The log of the run says more.",
        attachment="No report was made. Names of files and values were left out here; the log of the run holds them.",
        link=link,
        link_text="Open the run",
        footer=_footer(),
    )
    return _message(body, config, now=now)


def title_of(run: RunSummary) -> str:
    """Name of the data set for a subject line; of a path or file name only the stem is used."""
    name = re.split(r"[/\\]", run.data_name.rstrip("/\\"))[-1]
    return one_line(re.sub(r"\.(?:csv|tsv|txt|zip)$", "", name, flags=re.IGNORECASE)) or "unnamed data"


def one_line(text: str) -> str:
    """`text` as a header can carry it: no control characters, blanks joined, not too long."""
    visible = "".join(character if character.isprintable() else " " for character in text)
    line = " ".join(visible.split())
    return (
        line if len(line) <= MOST_SUBJECT_CHARACTERS else f"{line[: MOST_SUBJECT_CHARACTERS - 1].rstrip()}…"
    )


def _attachment(pdf: Path | None, config: MailConfig, *, has_link: bool) -> tuple[bytes | None, str]:
    """The PDF where it is to be attached, and what the body says about it."""
    elsewhere = (
        "it stands behind the link below" if has_link else "it stands in the folder of the run on the server"
    )
    if pdf is None:
        return None, f"The report is not attached; {elsewhere}."
    try:
        size = pdf.stat().st_size
        if size > config.max_attachment_bytes:
            megabytes = f"{size / 1e6:.1f} MB, limit {config.max_attachment_bytes / 1e6:g} MB"
            return None, f"The report is too large to attach ({megabytes}); {elsewhere}."
        return pdf.read_bytes(), "The full report is attached as a PDF."
    except OSError as error:
        msg = f"the report {pdf} cannot be read for the mail: {error.strerror or error}"
        raise MailError(msg) from error


def _figures(run: RunSummary) -> tuple[tuple[str, ...], ...]:
    """Head, then one row per model."""
    rows: list[tuple[str, ...]] = [
        ("", "AUC", "Sensitivity", "Specificity", "Latency per image", "Training time")
    ]
    rows += [
        (
            row.display_name,
            format_estimate(row.auc),
            format_estimate(row.sensitivity),
            format_estimate(row.specificity),
            format_median(row.latency_ms_median, row.latency_ms_median_ci, format_milliseconds),
            NOT_MEASURED if row.training_time_s is None else format_duration(row.training_time_s),
        )
        for row in run.models
    ]
    return tuple(rows)


def _facts(run: RunSummary) -> Iterable[tuple[str, str]]:
    yield "Data set", title_of(run)
    if run.n_images is not None:
        patients = "" if run.n_patients is None else f" of {format_count(run.n_patients)} patients"
        yield "Images", f"{format_count(run.n_images)}{patients}"
    yield "Started", format_time(f"{run.started_at[:19]}+00:00")
    if run.duration_s is not None:
        yield "Took", format_duration(run.duration_s)


def _shortened(sentences: Sequence[str]) -> tuple[str, ...]:
    if len(sentences) <= MOST_CHANGES:
        return tuple(sentences)
    return (*sentences[: MOST_CHANGES - 1], f"And {len(sentences) - MOST_CHANGES + 1} more, in the report.")


def _footer() -> str:
    return f"Sent by medcompare {__version__}. The software is a research tool, not a medical device."


@cache
def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=jinja2.select_autoescape(enabled_extensions=("html.j2",), default=False),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _message(
    body: MailContent,
    config: MailConfig,
    *,
    now: datetime,
    pdf: bytes | None = None,
    pdf_name: str = PDF_NAME,
) -> EmailMessage:
    message = EmailMessage(policy=SMTP)
    message["From"] = config.sender
    message["To"] = ", ".join(config.recipients)
    message["Subject"] = body.subject
    message["Date"] = format_datetime(now)
    # The same id in every attempt, so that mail systems can drop a copy that was sent twice.
    message["Message-ID"] = make_msgid(domain=config.sender.rpartition("@")[2])
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    values = body.model_dump()
    text = _templates().get_template("mail.txt.j2").render(**values)
    message.set_content(text, cte="quoted-printable")
    html = _templates().get_template("mail.html.j2").render(**values)
    message.add_alternative(html, subtype="html", cte="quoted-printable")
    if pdf is not None:
        message.add_attachment(pdf, maintype="application", subtype="pdf", filename=pdf_name)
    return message


def text_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A list per model for plain text: mail programs break wide tables."""
    width = max((len(column) for column in columns), default=0)
    blocks = []
    for row in rows:
        lines = [row[0]]
        lines += [f"  {column:<{width}}  {value}" for column, value in zip(columns[1:], row[1:], strict=True)]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)
