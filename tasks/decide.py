"""Compare the models in pairs and apply the decision rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect import task

from medcompare.base.artifacts import ArtifactStore
from medcompare.data.tables import read_split
from medcompare.predictions.join import scored_cases
from medcompare.stats import assessment
from medcompare.stats.external import with_external
from medcompare.stats.shortcuts import shortcuts
from tasks.cache import RETRIES, STORED, content_key, redact_tracebacks

if TYPE_CHECKING:
    from pathlib import Path

    from medcompare.config.schema import DecideConfig, EvaluateConfig
    from medcompare.data.records import DatasetManifest, DatasetSplit
    from medcompare.predictions.costs import CostMeasurement
    from medcompare.predictions.records import Predictions
    from medcompare.stats.records import Assessment, ExternalSet, ModelEvaluation


@redact_tracebacks
@task(
    name="decide",
    task_run_name="decide",
    cache_policy=content_key(ignore=("store",), with_texts=True),
    **RETRIES,
    **STORED,
)
def decide(
    predictions: tuple[Predictions, ...],
    evaluations: tuple[ModelEvaluation, ...],
    costs: tuple[CostMeasurement, ...],
    evaluate: EvaluateConfig,
    rule: DecideConfig,
    seed: int,
    set_by_user: tuple[str, ...],
    not_evaluated_as_trained: dict[str, str],
    not_converged: dict[str, str],
    manifest: DatasetManifest,
    split: DatasetSplit,
    external: tuple[ExternalSet, ...],
    store: Path,
) -> Assessment:
    """All statistics of the comparison, and the verdict."""
    cases = ArtifactStore(store)
    test = scored_cases(predictions, cases, "test", subgroups=evaluate.subgroups or ())
    validation = scored_cases(predictions, cases, "val", subgroups=evaluate.subgroups or ())
    found = assessment.assemble(
        test.per_patient(evaluate.per_patient),
        validation.per_patient(evaluate.per_patient),
        evaluations,
        costs,
        evaluate=evaluate,
        rule=rule,
        seed=seed,
        set_by_user=frozenset(set_by_user),
        not_evaluated_as_trained=not_evaluated_as_trained,
        not_converged=not_converged,
    )
    table = read_split(split, cases)
    easy = shortcuts(table, manifest, cases, test, level=evaluate.level, seed=seed)
    return with_external(found.model_copy(update={"shortcuts": easy}), external)
