"""Another hospital's images, held against the main data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect import task

from medcompare.base.artifacts import ArtifactStore
from medcompare.data import external
from tasks.cache import RETRIES, STORED, content_key, redact_tracebacks

if TYPE_CHECKING:
    from pathlib import Path

    from medcompare.config.data import SplitConfig
    from medcompare.data.records import DatasetManifest, DatasetSplit


@redact_tracebacks
@task(
    name="external set",
    task_run_name="external set {name}",
    cache_policy=content_key(ignore=("store",), with_texts=True),
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
