"""Write the report; never cached, as every page names its own run."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from prefect import task
from prefect.cache_policies import NO_CACHE

from medcompare.report import render
from tasks.cache import RETRIES, redact_tracebacks

if TYPE_CHECKING:
    from pathlib import Path

    from medcompare.report.inputs import ReportFiles, ReportInputs
    from medcompare.report.run_page import Pictures


logger = logging.getLogger("medcompare.report")


@redact_tracebacks
@task(name="report", task_run_name="report", cache_policy=NO_CACHE, persist_result=False, **RETRIES)
def write_report(
    inputs: ReportInputs, folder: Path, pdf_time_limit_s: float, pictures: Pictures
) -> ReportFiles:
    """HTML and results.json in `folder`, and the PDF, which may take so many seconds.

    `pictures` are drawn while the PDF is made, for the page of the run, which comes next.
    """
    logger.info("writing the report")
    files = render.write_report(
        inputs, folder, pdf_time_limit_s=pdf_time_limit_s, meanwhile=lambda: pictures.markdown
    )
    if files.no_pdf is not None:
        logger.error("no PDF: %s", files.no_pdf.cause)
    return files
