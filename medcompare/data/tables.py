"""The stored tables of a manifest, read back."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from medcompare.base.artifacts import ArtifactStore
    from medcompare.base.record import Artifact
    from medcompare.data.records import DatasetManifest, DatasetSplit


def read_images(manifest: DatasetManifest, store: ArtifactStore) -> pd.DataFrame:
    """Table of usable images: text columns, but for ``label``, ``width_px`` and ``height_px``.

    Raises
    ------
    ArtifactError
        If the stored table is missing or was altered.
    """
    return read_table(manifest.images, store)


def read_split(split: DatasetSplit, store: ArtifactStore) -> pd.DataFrame:
    """The same of the images of a split, with their ``subset``."""
    return read_table(split.assignments, store)


def read_table(images: Artifact, store: ArtifactStore) -> pd.DataFrame:
    """A stored table of images; raises like `read_images`."""
    table = pd.read_csv(io.BytesIO(store.read(images)), dtype=str, keep_default_na=False)
    return table.astype({"label": int, "width_px": int, "height_px": int})


def read_rejected(manifest: DatasetManifest, store: ArtifactStore) -> pd.DataFrame:
    """Table of files excluded, all columns text; raises like `read_images`."""
    return pd.read_csv(io.BytesIO(store.read(manifest.rejected)), dtype=str, keep_default_na=False)
