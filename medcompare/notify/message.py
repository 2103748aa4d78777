"""The mails: subject, body and attachment.

Bodies hold the verdict, the key metrics and what changed; never a path, a file name or a
patient's id. Of a failure they name the stage, the kind of error and what to do, in constant
words: its message stays in the log of the run. Numbers are formatted here.
"""

from __future__ import annotations

import re
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid
from functools import cache
from typing import TYPE_CHECKING, Any

import jinja2

from medcompare import __version__
from medcompare.base.code_identity import TEMPLATES
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
from medcompare.base.language import message, spoken, t, tn

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

    from medcompare.notify.settings import MailConfig
    from medcompare.runs.changes import Changes
    from medcompare.runs.summary import RunSummary

MAX_SUBJECT_CHARACTERS = 150
MAX_CHANGES = 12
MAX_MODELS_AS_COLUMNS = 3
NIGHT = "night"
"""A run of the registry: of new images, not of a test subset, and without training."""
ENDED = {
    "failed": message("The run failed in {stage}"),
    "crashed": message("The run crashed in {stage}"),
    "interrupted": message("The run was interrupted in {stage}"),
}
"""How a run ended that made no report, by its status."""
EMPTY = dict.fromkeys(("remedy", "columns", "rows", "table", "caveats", "changes"), ())
"""What only some mails have."""


class MailError(MedcompareError):
    """A mail could not be made."""


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
    """Mail about a completed run: plain text, HTML, and the PDF, which is linked instead where it is too large.

    Raises
    ------
    MailError
        If the run has no verdict or the PDF cannot be read.
    """
    if run.verdict is None:
        msg = f"run '{run.name}' is {run.status} and has no verdict: use build_failure_mail"
        raise MailError(msg)
    # The headline of a night is the change itself.
    changed = changes is not None and changes.verdict_changed is True and run.kind != NIGHT
    notes = [t("verdict changed")] if changed else []
    notes += [t("synthetic data")] if run.synthetic else []
    notes += [t("no PDF")] if run.no_pdf is not None else []
    metrics = _metrics(run)
    # Few models are columns, which also fits a telephone; many are rows.
    table = tuple(zip(*metrics, strict=True)) if len(run.models) <= MAX_MODELS_AS_COLUMNS else metrics
    content, about_report = _attachment(pdf, config, has_link=link is not None)
    if run.no_pdf is not None:
        about_report = t(
            "There is no PDF of this report: {how}. The whole report is {file} in the folder of the run on the "
            "server, where medcompare pdf with the name of that folder makes the PDF.",
            how=t(run.no_pdf.how),
            file="report.html",
        )
    if run.kind == NIGHT:
        about_report = t(
            "The page of all nights is {file} in the folder of runs on the server.",
            file=f"nights-{title_of(run)}.html",
        )
    mail = _message(
        f"{title_of(run)}: {run.verdict.headline}{' (' + ', '.join(notes) + ')' if notes else ''}",
        run,
        config,
        now=now,
        failed=False,
        headline=run.verdict.headline,
        sentence=run.verdict.sentence,
        caveats=run.verdict.caveats,
        columns=table[0],
        rows=table[1:],
        table=text_table(metrics[0], metrics[1:]),
        changes=_shortened(changes.sentences) if changes is not None else (),
        attachment=about_report,
        link=link,
        link_text=t("Open the report"),
    )
    if content is not None:
        name = f"medcompare-report-{run.started_at[:10]}.pdf"
        mail.add_attachment(content, maintype="application", subtype="pdf", filename=name)
    return mail


def build_failure_mail(
    run: RunSummary, config: MailConfig, *, now: datetime, link: str | None = None
) -> EmailMessage:
    """Mail about a run that ended without a report: stage, kind of error and remedy, with a link to the run.

    Raises
    ------
    MailError
        If the run did not fail.
    """
    failure = run.failure
    if failure is None:
        msg = f"run '{run.name}' is {run.status} and has no failure to report: use build_report_mail"
        raise MailError(msg)
    ended = t(ENDED.get(run.status, ENDED["failed"]), stage=t(failure.stage))
    kind, public = failure.kind, t(failure.public) if failure.public else ""
    return _message(
        f"{title_of(run)}: {ended[:1].lower()}{ended[1:]}",
        run,
        config,
        now=now,
        failed=True,
        headline=ended,
        sentence=f"{kind}: {public}" if public else kind,
        remedy=t(failure.remedy) if failure.remedy else t("The log of the run says more."),
        attachment=t("No report was made. The log of the run has the details, which are never mailed."),
        link=link,
        link_text=t("Open the run"),
    )


def title_of(run: RunSummary) -> str:
    """Name of the data set for a subject line; of a path or file name only the stem is used."""
    name = re.split(r"[/\\]", run.data_name.rstrip("/\\"))[-1]
    return one_line(re.sub(r"\.(?:csv|tsv|txt|zip)$", "", name, flags=re.IGNORECASE)) or t("unnamed data")


def one_line(text: str) -> str:
    """`text` as a header can carry it: no control characters, blanks joined, not too long."""
    visible = "".join(character if character.isprintable() else " " for character in text)
    line = " ".join(visible.split())
    return line if len(line) <= MAX_SUBJECT_CHARACTERS else f"{line[: MAX_SUBJECT_CHARACTERS - 1].rstrip()}…"


def _attachment(pdf: Path | None, config: MailConfig, *, has_link: bool) -> tuple[bytes | None, str]:
    """The PDF where it is to be attached, and what the body says about it."""
    elsewhere = t("see the link below") if has_link else t("it is in the folder of the run on the server")
    if pdf is None:
        return None, t("The report is not attached; {elsewhere}.", elsewhere=elsewhere)
    try:
        size = pdf.stat().st_size
        if size > config.max_attachment_bytes:
            return None, t(
                "The report is too large to attach ({size:.1f} MB, limit {limit:g} MB); {elsewhere}.",
                size=size / 1e6,
                limit=config.max_attachment_bytes / 1e6,
                elsewhere=elsewhere,
            )
        return pdf.read_bytes(), t("The full report is attached as a PDF.")
    except OSError as error:
        msg = f"the report {pdf} cannot be read for the mail: {error.strerror or error}"
        raise MailError(msg) from error


def _metrics(run: RunSummary) -> tuple[tuple[str, ...], ...]:
    """Head, then one row per model; a night has no cost."""
    rows: list[tuple[str, ...]] = [
        (
            "",
            t("AUC"),
            t("Sensitivity"),
            t("Specificity"),
            t("Latency per image"),
            t("Training time"),
        )
    ]
    rows += [
        (
            row.display_name,
            format_estimate(row.auc),
            format_estimate(row.sensitivity),
            format_estimate(row.specificity),
            format_median(row.latency_ms_median, row.latency_ms_median_ci, format_milliseconds),
            t(NOT_MEASURED) if row.training_time_s is None else format_duration(row.training_time_s),
        )
        for row in run.models
    ]
    return tuple(row[:4] for row in rows) if run.kind == NIGHT else tuple(rows)


def _facts(run: RunSummary) -> Iterator[tuple[str, str]]:
    yield t("Model") if run.kind == NIGHT else t("Data set"), title_of(run)
    if run.n_images is not None:
        images = format_count(run.n_images)
        if run.n_patients is not None:
            images = tn(
                "{images} of {n} patient", "{images} of {n:,} patients", run.n_patients, images=images
            )
        yield t("New images") if run.kind == NIGHT else t("Images"), images
    yield t("Started"), format_time(f"{run.started_at[:19]}+00:00")
    if run.duration_s is not None:
        yield t("Took"), format_duration(run.duration_s)


def _shortened(sentences: Sequence[str]) -> tuple[str, ...]:
    if len(sentences) <= MAX_CHANGES:
        return tuple(sentences)
    n = len(sentences) - MAX_CHANGES + 1
    return (
        *sentences[: MAX_CHANGES - 1],
        tn("And {n} more, in the report.", "And {n:,} more, in the report.", n),
    )


@cache
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=jinja2.select_autoescape(enabled_extensions=("html.j2",), default=False),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(t=t, language=spoken)
    return environment


def _message(
    subject: str,
    run: RunSummary,
    config: MailConfig,
    *,
    now: datetime,
    **values: Any,  # noqa: ANN401 - what the templates ask for
) -> EmailMessage:
    mail = EmailMessage(policy=SMTP)
    mail["From"] = config.sender
    mail["To"] = ", ".join(config.recipients)
    mail["Subject"] = one_line(subject)
    mail["Date"] = format_datetime(now)
    # The same id in every attempt, so that mail systems can drop a copy that was sent twice.
    mail["Message-ID"] = make_msgid(domain=config.sender.rpartition("@")[2])
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Auto-Response-Suppress"] = "All"
    values = (
        EMPTY
        | values
        | {
            "subject": mail["Subject"],
            "synthetic": run.synthetic,
            "metrics": t("Metrics on the new images of this night, with confidence intervals")
            if run.kind == NIGHT
            else t("Metrics on the test images, with confidence intervals"),
            "noted": t("To know") if run.kind == NIGHT else t("Limitations"),
            "facts": tuple(_facts(run)),
            "footer": t(
                "Sent by medcompare {version}. The software is a research tool, not a medical device.",
                version=__version__,
            ),
        }
    )
    text, html = (_templates().get_template(name).render(values) for name in ("mail.txt.j2", "mail.html.j2"))
    mail.set_content(text, cte="quoted-printable")
    mail.add_alternative(html, subtype="html", cte="quoted-printable")
    return mail


def text_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A list per model for plain text: mail programs break wide tables."""
    width = max((len(column) for column in columns), default=0)
    blocks = []
    for row in rows:
        lines = [row[0]]
        lines += [f"  {column:<{width}}  {value}" for column, value in zip(columns[1:], row[1:], strict=True)]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)
