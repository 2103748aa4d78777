"""Partition the images into training, validation and test subsets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect import task

from medcompare.base.artifacts import ArtifactStore
from medcompare.data import split as splitting
from tasks.cache import RETRIES, STORED, content_key, redact_tracebacks

if TYPE_CHECKING:
    from pathlib import Path

    from medcompare.config.data import SplitConfig
    from medcompare.data.records import DatasetManifest, DatasetSplit


@redact_tracebacks
@task(
    name="split",
    task_run_name="split",
    cache_policy=content_key(ignore=("store",), with_texts=True),
    **RETRIES,
    **STORED,
)
def split(manifest: DatasetManifest, config: SplitConfig, seed: int, store: Path) -> DatasetSplit:
    """Stratified, and grouped by patient where patients are known."""
    return splitting.split(manifest, config, seed=seed, store=ArtifactStore(store))
