"""Validate the images and list the usable ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect import task

from medcompare.base.artifacts import ArtifactStore
from medcompare.data import manifest
from medcompare.training import progress
from tasks.cache import RETRIES, STORED, content_key, redact_tracebacks

if TYPE_CHECKING:
    from pathlib import Path

    from medcompare.config.data import DataConfig
    from medcompare.data.fingerprint import SourceFingerprint
    from medcompare.data.records import DatasetManifest
    from medcompare.data.sources.listing import ImageSource


@redact_tracebacks
@task(
    name="ingest",
    task_run_name="ingest{variant}",
    # The fingerprint covers every file's bytes; `source` says where the files lie, and of `data`
    # only `rules` (limits) can change the answer.
    cache_policy=content_key(ignore=("source", "data", "store", "variant"), with_texts=True),
    **RETRIES,
    **STORED,
)
def ingest(
    fingerprint: SourceFingerprint,
    rules: tuple[float, int, int, bool, str],  # noqa: ARG001 - the cache key
    source: ImageSource,
    data: DataConfig,
    store: Path,
    variant: str = "",  # noqa: ARG001 - tells sets of images apart in the run's page
) -> DatasetManifest:
    """Decode every image once; exclude what is unreadable or contradicts itself."""
    return manifest.ingest(
        source,
        data,
        ArtifactStore(store),
        expected=fingerprint.digest,
        comparing=progress.file_counter("comparing pairs of images that look alike"),
    )
