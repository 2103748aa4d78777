"""Write the report; never cached, as every page names its own run."""

from __future__ import annotations

import logging
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

from prefect import task
from prefect.cache_policies import NO_CACHE

from medcompare.report import render
from tasks.cache import RETRIES, redact_tracebacks

if TYPE_CHECKING:
    from pathlib import Path

    from medcompare.report.inputs import ReportFiles, ReportInputs


logger = logging.getLogger("medcompare.report")


@redact_tracebacks
@task(name="report", task_run_name="report", cache_policy=NO_CACHE, persist_result=False, **RETRIES)
def write_report(inputs: ReportInputs, folder: Path, pdf_time_limit_s: float) -> ReportFiles:
    """HTML and results.json in `folder`, and the PDF, which may take so many seconds."""
    logger.info("writing the report")
    # The page of the run, which is drawn next, needs seaborn, which takes a second to import.
    files = render.write_report(
        inputs, folder, pdf_time_limit_s=pdf_time_limit_s, meanwhile=partial(import_module, "seaborn")
    )
    if files.no_pdf is not None:
        logger.error("no PDF: %s", files.no_pdf.cause)
    return files
