"""The folds of a cross-validation beside the held-out test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect import task

from medcompare.base.artifacts import ArtifactStore
from medcompare.data import folds
from tasks.cache import RETRIES, STORED, content_key, redact_tracebacks

if TYPE_CHECKING:
    from pathlib import Path

    from medcompare.data.records import DatasetManifest, DatasetSplit


@redact_tracebacks
@task(
    name="folds",
    task_run_name="folds",
    cache_policy=content_key(ignore=("store",), with_texts=True),
    **RETRIES,
    **STORED,
)
def fold_splits(
    split: DatasetSplit, manifest: DatasetManifest, n_folds: int, n_repeats: int, seed: int, store: Path
) -> tuple[DatasetSplit, ...]:
    """A split per fold, the same for every model."""
    return folds.fold_splits(
        split, manifest, n_folds=n_folds, n_repeats=n_repeats, seed=seed, store=ArtifactStore(store)
    )
