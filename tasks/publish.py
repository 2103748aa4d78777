"""Show a finished run on its page in the orchestrator: verdict, data, pictures, link."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect import task
from prefect.artifacts import create_link_artifact, create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from medcompare.base.language import t
from medcompare.report.run_page import run_page
from tasks.cache import RETRIES, redact_tracebacks

if TYPE_CHECKING:
    from pathlib import Path

    from medcompare.report.inputs import ReportInputs
    from medcompare.report.run_page import Pictures
    from medcompare.runs.result import NoPdf


@redact_tracebacks
@task(name="publish", task_run_name="publish", cache_policy=NO_CACHE, persist_result=False, **RETRIES)
def publish(
    inputs: ReportInputs, report: Path, link: str | None, no_pdf: NoPdf | None, pictures: Pictures | None
) -> None:
    """Artifacts of the run; `report` is the PDF on this machine, or the HTML without one, `link` its web address."""
    page = run_page(inputs, report=report, link=link, no_pdf=no_pdf, pictures=pictures)
    create_markdown_artifact(page.verdict, key="verdict", description=t("Recommendation and key figures"))
    create_markdown_artifact(page.data, key="data", description=t("Images found, excluded and used"))
    # Markdown, not image artifacts: those print the whole embedded picture as an address below it.
    create_markdown_artifact(page.figures, key="figures", description=t("ROC curves and confusion matrices"))
    if link is not None:
        text = t("Report ({kind})", kind=report.suffix.lstrip(".").upper())
        create_link_artifact(link, key="report", link_text=text, description=t("The whole report"))
