"""Cross-validation beside the held-out test: the folds, and the figures on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect import task

from medcompare.base.artifacts import ArtifactStore
from medcompare.data import folds
from medcompare.predictions.join import scored_cases
from medcompare.stats.folds import cross_validation
from tasks.cache import RETRIES, STORED, content_key, redact_tracebacks

if TYPE_CHECKING:
    from pathlib import Path

    from medcompare.config.schema import EvaluateConfig
    from medcompare.data.records import DatasetManifest, DatasetSplit
    from medcompare.predictions.records import Predictions
    from medcompare.stats.records import CrossValidation


@redact_tracebacks
@task(name="folds", task_run_name="folds", cache_policy=content_key(ignore=("store",)), **RETRIES, **STORED)
def fold_splits(
    split: DatasetSplit, manifest: DatasetManifest, n_folds: int, n_repeats: int, seed: int, store: Path
) -> tuple[DatasetSplit, ...]:
    """A split per fold, the same for every model."""
    return folds.fold_splits(
        split, manifest, n_folds=n_folds, n_repeats=n_repeats, seed=seed, store=ArtifactStore(store)
    )


@redact_tracebacks
@task(
    name="cross-validate",
    task_run_name="cross-validate",
    cache_policy=content_key(ignore=("store",)),
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
