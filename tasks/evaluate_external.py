"""The finished models on another hospital's images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect import task

from medcompare.base.artifacts import ArtifactStore
from medcompare.predictions.join import scored_cases
from medcompare.stats.external import on_external
from tasks.cache import RETRIES, STORED, content_key, redact_tracebacks

if TYPE_CHECKING:
    from pathlib import Path

    from medcompare.config.schema import DecideConfig, EvaluateConfig
    from medcompare.data.records import DatasetSplit
    from medcompare.predictions.costs import CostMeasurement
    from medcompare.predictions.records import Predictions
    from medcompare.stats.records import ExternalSet, ModelEvaluation


@redact_tracebacks
@task(
    name="evaluate external set",
    task_run_name="evaluate on {name}",
    cache_policy=content_key(ignore=("store",), with_texts=True),
    **RETRIES,
    **STORED,
)
def evaluate_external(
    name: str,
    predictions: tuple[Predictions, ...],
    internal: tuple[Predictions, ...],
    evaluations: tuple[ModelEvaluation, ...],
    costs: tuple[CostMeasurement, ...],
    evaluate: EvaluateConfig,
    rule: DecideConfig,
    seed: int,
    split: DatasetSplit,
    store: Path,
) -> ExternalSet:
    """Figures at the frozen thresholds, and how far they are from those of the internal test."""
    cases = ArtifactStore(store)
    return on_external(
        name,
        scored_cases(predictions, cases, "test").per_patient(evaluate.per_patient),
        scored_cases(internal, cases, "val").per_patient(evaluate.per_patient),
        evaluations,
        costs=costs,
        evaluate=evaluate.model_copy(update={"subgroups": ()}),
        rule=rule,
        seed=seed,
        shared=split.shared,
        notes=split.notes,
    )
