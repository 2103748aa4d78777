"""Another hospital's images: held against the main data, then judged with the finished models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect import task

from medcompare.base.artifacts import ArtifactStore
from medcompare.data import external
from medcompare.predictions.join import scored_cases
from medcompare.stats.external import on_external
from tasks.cache import RETRIES, STORED, content_key, redact_tracebacks

if TYPE_CHECKING:
    from pathlib import Path

    from medcompare.config.data import SplitConfig
    from medcompare.config.schema import DecideConfig, EvaluateConfig
    from medcompare.data.records import DatasetManifest, DatasetSplit
    from medcompare.predictions.costs import CostMeasurement
    from medcompare.predictions.records import Predictions
    from medcompare.stats.records import ExternalSet, ModelEvaluation


@redact_tracebacks
@task(
    name="external set",
    task_run_name="external set {name}",
    cache_policy=content_key(ignore=("store",)),
    **RETRIES,
    **STORED,
)
def external_set(
    name: str,
    manifest: DatasetManifest,
    split: DatasetSplit,
    near_duplicates: bool,  # noqa: FBT001 - a task's arguments have names
    config: SplitConfig,
    store: Path,
) -> DatasetSplit:
    """All images of the set as a test subset, once none of them is among those of training."""
    return external.external_set(
        name, manifest, split, near=near_duplicates, config=config, store=ArtifactStore(store)
    )


@redact_tracebacks
@task(
    name="evaluate external set",
    task_run_name="evaluate on {name}",
    cache_policy=content_key(ignore=("store",)),
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
    notes: tuple[str, ...],
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
        notes=notes,
    )
