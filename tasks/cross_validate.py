"""Figures of every model on every fold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect import task

from medcompare.base.artifacts import ArtifactStore
from medcompare.predictions.join import scored_cases
from medcompare.stats.folds import cross_validation
from tasks.cache import RETRIES, STORED, content_key, redact_tracebacks

if TYPE_CHECKING:
    from pathlib import Path

    from medcompare.config.schema import EvaluateConfig
    from medcompare.predictions.records import Predictions
    from medcompare.stats.records import CrossValidation


@redact_tracebacks
@task(
    name="cross-validate",
    task_run_name="cross-validate",
    cache_policy=content_key(ignore=("store",), with_texts=True),
    **RETRIES,
    **STORED,
)
def cross_validate(
    predictions: tuple[tuple[Predictions, ...], ...],
    n_train: tuple[int, ...],
    pairs: tuple[tuple[str, str], ...],
    n_repeats: int,
    evaluate: EvaluateConfig,
    store: Path,
) -> CrossValidation:
    """Figures of every model on every fold."""
    cases, how = ArtifactStore(store), evaluate.per_patient
    return cross_validation(
        [
            (
                scored_cases(of_fold, cases, "test").per_patient(how),
                scored_cases(of_fold, cases, "val").per_patient(how),
                n,
            )
            for of_fold, n in zip(predictions, n_train, strict=True)
        ],
        pairs,
        n_repeats=n_repeats,
        evaluate=evaluate,
    )
