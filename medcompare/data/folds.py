"""Cross-validation beside the held-out test: the development images in folds, the same for every model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medcompare.base.errors import DataError
from medcompare.base.record import SUBSETS
from medcompare.data.split import summary_of, units_of, verified_apart
from medcompare.data.tables import read_split

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.model_selection import StratifiedGroupKFold

    from medcompare.base.artifacts import ArtifactStore
    from medcompare.data.records import DatasetManifest, DatasetSplit


def fold_splits(
    split: DatasetSplit,
    manifest: DatasetManifest,
    *,
    n_folds: int,
    n_repeats: int,
    seed: int,
    store: ArtifactStore,
) -> tuple[DatasetSplit, ...]:
    """The training and validation images of `split` as a split per fold; its test images are in none.

    Each fold is held out once per repetition. Of the others, as large a share as in `split` is validation:
    checkpoint and threshold are chosen on it, so that the held-out fold is as unseen as a test.

    Parameters
    ----------
    split : DatasetSplit
        Split of the run.
    manifest : DatasetManifest
        What its images belong together by.
    n_folds, n_repeats : int
        Folds, and how often they are drawn anew.
    seed : int
        Same content and seed: same folds.
    store : ArtifactStore
        Holds the tables, receives the assignments.

    Returns
    -------
    tuple of DatasetSplit
        ``n_repeats * n_folds``; the "test" subset of each is its held-out fold.

    Raises
    ------
    DataError
        If the patients or images of a class are too few for so many folds.
    """
    table = read_split(split, store)
    table = table[table["subset"] != "test"].reset_index(drop=True)
    units, y = units_of(table, manifest, store), table["label"].to_numpy()
    noun = "patients" if split.grouped_by else "images"
    for label, name in enumerate(split.classes):
        n_units = len(np.unique(units[y == label]))
        if n_units < n_folds + 1:
            msg = (
                f"folds: {manifest.name} has {n_units} {noun} of class '{name}' outside the test subset, too few for "
                f"{n_folds} folds; at most --folds {max(n_units - 1, 0)} can be made"
            )
            raise DataError(msg)
    n_val, n_dev = split.subsets[1].n_images, split.subsets[0].n_images + split.subsets[1].n_images
    found = []
    for repeat in range(n_repeats):
        for rest, held_out in _folds(n_folds, seed + repeat).split(table, y, units):
            inner = _folds(max(2, round(n_dev / n_val)), seed + repeat)
            _, chosen = next(inner.split(table.iloc[rest], y[rest], units[rest]))
            subset = np.full(len(table), "train", dtype=object)
            subset[held_out], subset[rest[chosen]] = "test", "val"
            found.append(_of_fold(table.assign(subset=subset), split, manifest, n_folds, store))
    return tuple(found)


def _folds(n_folds: int, seed: int) -> StratifiedGroupKFold:
    from sklearn.model_selection import StratifiedGroupKFold  # noqa: PLC0415 - takes a second, and most runs find this done

    return StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)


def _of_fold(
    table: pd.DataFrame, split: DatasetSplit, manifest: DatasetManifest, n_folds: int, store: ArtifactStore
) -> DatasetSplit:
    grouped = split.grouped_by is not None
    subsets = [summary_of(subset, table, 0.0, grouped=grouped) for subset in SUBSETS]
    if any(0 in one.class_counts for one in subsets):
        msg = f"folds: with {n_folds} folds of {manifest.name} a class would be missing in one; choose fewer folds"
        raise DataError(msg)
    return split.model_copy(
        update={
            "assignments": store.write(table.to_csv(index=False, lineterminator="\n").encode(), ".csv"),
            "subsets": tuple(one.model_copy(update={"target_fraction": one.fraction}) for one in subsets),
            "method": "StratifiedGroupKFold",
            "disjoint": verified_apart(table, manifest, store),
            "notes": (),
        }
    )
