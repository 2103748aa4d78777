"""A mail says what was found, and nothing that must stay on the machine."""

from __future__ import annotations

from email import message_from_bytes
from email.policy import SMTP
from typing import TYPE_CHECKING, Any

import pytest

from medcompare.base.errors import DataError
from medcompare.base.language import in_language
from medcompare.notify.message import MailError, build_failure_mail, build_report_mail, should_mail
from medcompare.runs.changes import what_changed
from medcompare.runs.result import NoPdf
from medcompare.runs.stages import remedy_of
from medcompare.runs.summary import failure_of
from medcompare.stats.records import Outcome
from tests.notify.mail_servers import (
    config,
)
from tests.notify.sample_mails import NOW, PDF, attachments, body_text, report_mail
from tests.runs.sample_runs import figures, summary, verdict

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def pdf(tmp_path: Path) -> Path:
    """A report on the disk, in a folder whose name must not be mailed."""
    path = tmp_path / "Jane_Doe_1962" / "report.pdf"
    path.parent.mkdir()
    path.write_bytes(PDF)
    return path


def test_a_report_mail_says_verdict_figures_and_changes(pdf: Path) -> None:
    """Both bodies carry the same facts, and the PDF comes back byte for byte."""
    message = report_mail(config(25), pdf, data_fingerprint="e" * 64, n_images=903)

    assert message["Subject"] == "oral: Prefer EfficientNet-B0"
    assert message["To"] == "board@hospital.example, chief@hospital.example"
    for kind in ("plain", "html"):
        text = body_text(message, kind)
        for fact in (
            "Prefer EfficientNet-B0",
            "EfficientNet-B0 is as accurate within the margin and cheaper.",
            "0.910 (0.860 to 0.960)",
            "12.5\u202fms (12.1 to 12.9)",
            "10\u202fmin 00\u202fs",
            "Data: 851 → 903 images (+52).",
            "The margins are software defaults.",
            "attached as a PDF",
        ):
            assert fact in text, (kind, fact)
    assert attachments(message) == {"medcompare-report-2026-11-02.pdf": PDF}


def test_a_mail_about_a_night_speaks_of_new_images() -> None:
    """A night of the registry has no test subset, no training, no PDF; and its headline is the change."""
    message = report_mail(
        config(25),
        None,
        kind="night",
        data_name="skin",
        n_images=120,
        verdict=verdict(headline="Promote version 2"),
    )

    assert message["Subject"] == "skin: Promote version 2"
    for kind in ("plain", "html"):
        text = body_text(message, kind)
        assert "Metrics on the new images of this night" in text
        assert "nights-skin.html" in text
        for other in ("test images", "Training time", "Latency", "Data set", "Limitations", "The report"):
            assert other not in text, (kind, other)


def test_the_subject_says_that_the_verdict_changed_and_that_data_are_synthetic() -> None:
    """A reader who sees only the subject is not misled."""
    other = verdict(outcome=Outcome.NOT_ENOUGH_DATA, model=None, headline="Not enough data")

    message = report_mail(config(25), None, verdict=other, synthetic=True)

    assert message["Subject"] == "oral: Not enough data (verdict changed, synthetic data)"
    assert "SYNTHETIC DATA" in body_text(message)
    assert "these results say nothing about patients" in body_text(message, "html")


@pytest.mark.parametrize(
    ("values", "link", "words"),
    [
        (
            {"max_attachment_bytes": 1000},
            None,
            "too large to attach (0.0 MB, limit 0.001 MB); it is in the folder",
        ),
        (
            {"max_attachment_bytes": 1000},
            "https://reports.example/runs/2026-11-02_oral/report.pdf",
            "see the link below",
        ),
    ],
)
def test_a_large_report_is_linked_instead(
    pdf: Path, values: dict[str, Any], link: str | None, words: str
) -> None:
    """Above the limit nothing is attached, and the body says where the report is."""
    message = report_mail(config(25, **values), pdf, link=link)

    assert attachments(message) == {}
    assert words in body_text(message)
    assert words in body_text(message, "html")
    if link is not None:
        assert link in body_text(message)
        assert f'href="{link}"' in body_text(message, "html")


def test_a_report_of_exactly_the_limit_is_attached(pdf: Path) -> None:
    """The limit itself is still allowed."""
    assert attachments(report_mail(config(25, max_attachment_bytes=len(PDF)), pdf)) != {}
    assert attachments(report_mail(config(25, max_attachment_bytes=len(PDF) - 1), pdf)) == {}


@pytest.mark.parametrize("link", [None, "https://reports.example/one/report.html"])
def test_a_report_without_a_pdf_says_why_and_what_makes_it(link: str | None) -> None:
    """The cause, which may hold data, stays on the machine."""
    no_pdf = NoPdf(cause="of Jane_Doe_1962", how="its process was killed, as memory ran out")
    message = report_mail(config(25), None, no_pdf=no_pdf, link=link)

    assert message["Subject"] == "oral: Prefer EfficientNet-B0 (no PDF)"
    assert attachments(message) == {}
    for kind in ("plain", "html"):
        text = " ".join(body_text(message, kind).split())
        assert (
            "There is no PDF of this report: its process was killed, as memory ran out. The whole report is "
            "report.html in the folder of the run on the server, where medcompare pdf with the name of that folder "
            "makes the PDF."
        ) in text
        assert (link is None) or link in text
        assert "Jane_Doe" not in text


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

    text = body_text(report_mail(config(25), None, models=models), "html")

    assert text.count('<tr>\n<th scope="row"') == 5
    assert all(f"0.8{k}0 (" in text for k in range(5))


def test_html_is_escaped() -> None:
    """A headline cannot bring markup along."""
    message = report_mail(config(25), None, verdict=verdict(sentence="<script>alert(1)</script> & more"))

    assert "<script>" not in body_text(message, "html")
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in body_text(message, "html")
    assert "<script>alert(1)</script> & more" in body_text(message)


def test_a_failure_mail_names_stage_kind_remedy_and_link_and_no_name_from_the_data() -> None:
    """The message of an error may hold names of files and patients: nothing of it is mailed."""
    cause = "/mnt/scans of Jane/Jane Doe.png of patient 4711, row ISIC_0012345 of cases.csv: cannot be read"
    error = DataError(cause)
    run = summary(
        status="failed",
        data_name="/mnt/Jane/oral.csv",
        failure=failure_of(error, "training of ResNet-50", remedy=remedy_of(error)),
    )
    assert run.failure is not None
    assert run.failure.cause == cause

    message = build_failure_mail(run, config(25), now=NOW, link="https://prefect.example/runs/1")

    assert message["Subject"] == "oral: the run failed in training of ResNet-50"
    text = body_text(message)
    assert "DataError: images, manifest or prediction table cannot be used" in text
    assert "What to do: Change the input or the setting that the log of the run names" in text
    assert "Open the run: https://prefect.example/runs/1" in text
    everything = message.as_string() + text + body_text(message, "html")
    secrets = ("Jane", "Doe", "4711", "ISIC", "/mnt", ".png", ".csv", "row ")
    assert not [secret for secret in secrets if secret in everything]


def test_no_path_and_no_case_leaves_in_a_report_mail(pdf: Path) -> None:
    """Folders of the run, of the data and of the store stay at home."""
    other = {"data": {"source": "/mnt/Jane_Doe/images"}, "out": "/mnt/Jane_Doe/runs"}

    message = report_mail(config(25), pdf, config=other, host="janes-machine")

    everything = message.as_string() + body_text(message) + body_text(message, "html")
    for secret in ("Jane", "janes", "/mnt", "runs/x", "report.html"):
        assert secret not in everything


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
    when: tuple[str, ...],
    status: str,
    changed: bool | None,  # noqa: FBT001 - parametrised
    expected: bool,  # noqa: FBT001 - parametrised
) -> None:
    """Always, on another verdict, on failure: each alone and together."""
    other = {"verdict": verdict(model="resnet50")} if changed else {}
    run = summary(2, status=status, **other)

    assert should_mail(config(25, when=when), run, what_changed(summary(1), run)) is expected


def test_the_first_verdict_is_news() -> None:
    """With nothing before it, a verdict counts as changed."""
    assert should_mail(config(25, when=("verdict_change",)), summary(), what_changed(None, summary()))


def test_a_data_set_name_cannot_inject_a_header() -> None:
    """Line breaks in any part of the subject become blanks."""
    message = report_mail(config(25), None, data_name="oral\r\nBcc: spy@evil.example\n\nbody\x00\u2028x")

    parsed = message_from_bytes(message.as_bytes(policy=SMTP), policy=SMTP)
    assert parsed["Bcc"] is None
    assert parsed["Subject"] == "oral Bcc: spy@evil.example body x: Prefer EfficientNet-B0"
    assert len(report_mail(config(25), None, data_name="x" * 500)["Subject"]) == 150


def test_mails_are_in_the_language_spoken() -> None:
    """Subject, both bodies and the sentences on changes; names of models and of the data set stay."""
    with in_language("de"):
        run = summary(3, n_images=1830, n_patients=1200)
        mail = build_report_mail(run, what_changed(summary(1), run), config(25), pdf=None, now=NOW)
        broken = summary(
            2, status="failed", failure=failure_of(DataError("scan.png"), "report"), verdict=None
        )
        failed = build_failure_mail(broken, config(25), now=NOW)
    for kind in ("plain", "html"):
        text = body_text(mail, kind)
        assert "1.830 von 1.200 Patienten" in text
        assert "0,910 (0,860 bis 0,960)" in text
        assert "EfficientNet-B0" in text
    assert '<html lang="de">' in body_text(mail, "html")
    assert "fehlgeschlagen (Schritt: Bericht)" in body_text(failed)
