"""The assessment: predictions in, the same statistics, verdict and report out; no training.

Trigger      ``python -m flows.assess``, or a manual run from the Prefect UI.
Caching      the statistics are keyed on the content of the tables, the settings and the code.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    # See flows/compare.py: bad input is refused before Prefect is imported.
    from flows.assess_command import main

    sys.exit(main())

from prefect import flow
from prefect.logging import get_run_logger

from medcompare.artifacts import write_atomically
from medcompare.config import AssessConfig
from medcompare.predictions import read_tables
from medcompare.preflight import check_folders
from medcompare.provenance import collect_provenance
from medcompare.report_inputs import gather_assessment
from medcompare.run_folder import now, run_folder, run_name
from medcompare.run_result import RunResult, run_result
from medcompare.settings_table import set_by_user
from tasks.assess import assess_predictions
from tasks.policies import run_trusted
from tasks.report import write_report


@flow(
    name="assess",
    description="Compare models from their predictions alone, without training.",
    persist_result=False,
)
def assess(config: AssessConfig) -> RunResult:
    """Read and check the tables, compute every figure, decide, report."""
    logger, started_at = get_run_logger(), now()
    check_folders(config)
    tables = read_tables(config)
    name = run_name(config.out, config.name, started_at=started_at, data_name=config.predictions.stem)
    with run_folder(config.out, name) as folder:
        assessment = run_trusted(
            assess_predictions,
            config.store,
            digest=tables.digest,
            test=tables.test,
            validation=tables.validation,
            costs=tables.costs,
            thresholds=config.thresholds,
            evaluate=config.evaluate,
            rule=config.decide,
            seed=config.seed,
            set_by_user=set_by_user(config),
        )
        write_atomically(folder / "config.json", config.model_dump_json(indent=2).encode())
        inputs = gather_assessment(
            config,
            run_name=name,
            assessment=assessment,
            test=tables.test,
            provenance=collect_provenance(config, started_at=started_at, gpu=None),
        )
        write_report(inputs, folder)
    logger.info("verdict: %s", assessment.verdict.headline)
    return run_result(config.out, name, assessment.verdict)
