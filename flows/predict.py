"""Scores of new images by an exported network, as a deployment: each night, or by hand from the Prefect UI.

Trigger      a run of the deployment ``predict``; ``medcompare predict`` does the same without Prefect.
Caching      none: a run that is cut off goes on in its own table when it is started again.
"""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.logging import get_run_logger

from flows.lifecycle import parameter
from medcompare.base.errors import DataError, redact
from medcompare.base.file_access import files_readable_by
from medcompare.config.errors import validated
from medcompare.config.predict import PredictConfig
from medcompare.handover.predict import predict as score
from medcompare.handover.predict import sentences


def _name() -> str:
    return f"scores {parameter('config', 'scores') or ''}".strip()


@flow(
    name="predict",
    description="Score new images with an exported network.",
    flow_run_name=_name,
    persist_result=False,
    # Done below instead, so that a bad value reads the same here and on the command line.
    validate_parameters=False,
)
def predict(config: PredictConfig) -> dict[str, Any]:
    """Score the images, and write the table of them and that of their patients.

    Raises
    ------
    DataError
        If some could not be scored, with the tables written; or if none can be.
    """
    logger = get_run_logger()
    artifact = create_progress_artifact(progress=0.0, description="Images scored")
    shown = 0.0

    def tell(done: int, in_all: int) -> None:
        nonlocal shown
        share = 100 * done / max(in_all, 1)
        if share >= shown + 1:
            shown = share
            update_progress_artifact(artifact_id=artifact, progress=share)  # type: ignore[arg-type] # an id here

    try:
        with files_readable_by("owner"):
            scores = score(validated(PredictConfig, config), progress=tell)
    except Exception as error:  # noqa: BLE001 - nothing of the data may reach the server
        raise redact(error) from None
    for line in (*scores.notes, *sentences(scores, named=False)):
        logger.info("%s", line)
    if scores.counts["not_scored"]:
        msg = f"{scores.counts['not_scored']} images could not be scored: column not_scored of {scores.table.name}"
        raise DataError(msg)
    return {
        "table": str(scores.table),
        "patients": scores.patients and str(scores.patients),
        **scores.counts,
    }
