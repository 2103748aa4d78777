"""The assessment: predictions in, the same statistics, verdict and report out; no training.

Trigger      ``python -m flows.assess``, or a manual run from the Prefect UI.
Caching      the statistics are keyed on the content of the tables, the settings and the code.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    # See flows/compare.py: bad input is refused before Prefect is imported.
    from medcompare.cli.app import main

    sys.exit(main(["assess", *sys.argv[1:]]))

from pathlib import Path

from prefect import flow
from prefect.logging import get_run_logger

from flows.lifecycle import RunLifecycle, parameter, run_recorded, title
from flows.recover import after_crash
from medcompare.base.artifacts import write_atomically
from medcompare.base.language import message
from medcompare.config.schema import AssessConfig
from medcompare.config.settings_table import set_by_user
from medcompare.predictions.table import read_tables
from medcompare.report.collect import gather_assessment, words_of_tables
from medcompare.report.fonts import require_fonts
from medcompare.runs.folder import now, run_folder
from medcompare.runs.provenance import SETTINGS_FILE, collect_provenance, settings_to_repeat
from medcompare.runs.result import RunResult, run_result
from medcompare.runs.stages import in_stage
from tasks.assess import assess_predictions
from tasks.cache import run_cached


def data_name_given() -> str:
    """Name of the table, from the parameters the run was started with, which may be anything."""
    given = parameter("config", "predictions")
    return "predictions" if given is None else Path(given).stem


@flow(
    name="assess",
    description="Compare models from their predictions alone, without training.",
    flow_run_name=lambda: title(data_name_given()),
    on_crashed=[after_crash],
    persist_result=False,
    # Done below instead, so that a bad value reads the same here and on the command line.
    validate_parameters=False,
)
def assess(config: AssessConfig) -> RunResult:
    """Read and check the tables, compute every figure, decide, report."""
    # A caller gets the result of the state.
    return run_recorded(AssessConfig, config, kind="assess", data_name=data_name_given(), work=_assess)  # type: ignore[return-value]


def _assess(config: AssessConfig, name: str, lifecycle: RunLifecycle) -> RunResult:
    logger, started_at = get_run_logger(), now()
    with in_stage(message("checks before work")):
        tables = read_tables(config)
        require_fonts(words_of_tables(config, tables))
        for note in (*tables.notes, *tables.caveats):
            logger.info(note)
    with run_folder(config.out, name) as folder:
        assessment = run_cached(
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
        # How the files were written down is no part of the statistics, nor of their cache key.
        assessment = assessment.model_copy(update={"notes": (*assessment.notes, *tables.notes)})
        write_atomically(folder / "config.json", config.model_dump_json(indent=2).encode())
        write_atomically(folder / SETTINGS_FILE, settings_to_repeat(config))
        provenance = collect_provenance(config, run_name=name, started_at=started_at, gpu=None)
        inputs = gather_assessment(
            config,
            run_name=name,
            assessment=assessment,
            tables=tables,
            provenance=provenance,
            context=lifecycle.look_back(
                folder=config.out / name,
                assessment=assessment,
                provenance=provenance,
                data_fingerprint=tables.digest,
            ),
        )
        files = lifecycle.report(inputs, folder, config.report.pdf_time_limit_s)
    result = run_result(config.out, name, assessment.verdict, files.no_pdf)
    lifecycle.end(inputs, result)
    logger.info("verdict: %s", assessment.verdict.headline)
    return result
