"""Figures of one model on the test subset, at a threshold frozen on the validation subset."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Literal

from prefect import task

from medcompare.base.artifacts import ArtifactStore
from medcompare.predictions.join import running_scores, scored_cases
from medcompare.stats import evaluation
from medcompare.stats.running_statistics import with_running
from tasks.cache import RETRIES, STORED, content_key, redact_tracebacks

if TYPE_CHECKING:
    from pathlib import Path

    from medcompare.config.schema import EvaluateConfig
    from medcompare.predictions.records import Predictions
    from medcompare.stats.records import ModelEvaluation

SUBSETS: tuple[Literal["test", "val"], ...] = ("test", "val")

logger = logging.getLogger("medcompare.evaluate")


@redact_tracebacks
@task(
    name="evaluate",
    task_run_name="evaluate {model}",
    cache_policy=content_key(ignore=("store",), with_texts=True),
    **RETRIES,
    **STORED,
)
def evaluate(
    model: str, predictions: Predictions, config: EvaluateConfig, seed: int, store: Path
) -> ModelEvaluation:
    """Every figure of `model` with its interval."""
    cases = ArtifactStore(store)
    test, validation = (
        scored_cases((predictions,), cases, subset, subgroups=config.subgroups or ()).per_patient(
            config.per_patient
        )
        for subset in SUBSETS
    )
    figures = evaluation.evaluate_model(
        test, validation, model, display_name=predictions.display_name, evaluate=config, seed=seed
    )
    running = running_scores(predictions, cases, "test", per_patient=config.per_patient)
    figures = with_running(figures, test, running, level=config.level)
    logger.info(
        "%s on the test subset, at threshold %.3f (origin: %s)\n%s\n\n%s",
        predictions.display_name,
        figures.operating_point.threshold,
        figures.operating_point.chosen_on,
        evaluation.classification_report_text(figures),
        evaluation.confusion_matrix_text(figures),
    )
    return figures
