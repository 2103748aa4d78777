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


logger = logging.getLogger("medcompare.report")


@redact_tracebacks
@task(name="report", task_run_name="report", cache_policy=NO_CACHE, persist_result=False, **RETRIES)
def write_report(inputs: ReportInputs, folder: Path) -> ReportFiles:
    """PDF, HTML and results.json in `folder`."""
    logger.info("writing the report")
    return render.write_report(inputs, folder)
