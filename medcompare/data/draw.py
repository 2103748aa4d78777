"""Draws of units: stratified by class, and by a column of the data where that is asked for.

Where every unit is of one class and of about one size, scikit-learn's StratifiedShuffleSplit
over units is the answer. With patients of unequal size or of both classes no single draw is
exact, so many seeded draws are made and the one whose proportions come closest is kept;
only counts are looked at, never images or results.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from medcompare.base.errors import DataError, MedcompareError
from medcompare.base.language import message, t, tn
from medcompare.base.record import SUBSETS
from medcompare.data.columns import listed
from medcompare.data.groups import connected
from medcompare.data.records import MAX_LEVELS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from medcompare.base.record import Subset
    from medcompare.data.records import DatasetManifest

MIN_UNITS_PER_CLASS = 3
"""One for each subset."""

SHARES: dict[Subset, str] = {
    "train": message("{low:.1f}% to {high:.1f}% are for training ({target:.1f}% asked for)"),
    "val": message("{low:.1f}% to {high:.1f}% are for validation ({target:.1f}% asked for)"),
    "test": message("{low:.1f}% to {high:.1f}% are for the test ({target:.1f}% asked for)"),
}

OFF_TARGET: dict[Subset, str] = {
    "train": message(
        "The train subset holds {share:.1f}% of the images where {target:.1f}% was asked for: groups that stay "
        "together allow no closer fit."
    ),
    "val": message(
        "The val subset holds {share:.1f}% of the images where {target:.1f}% was asked for: groups that stay "
        "together allow no closer fit."
    ),
    "test": message(
        "The test subset holds {share:.1f}% of the images where {target:.1f}% was asked for: groups that stay "
        "together allow no closer fit."
    ),
}

DRAW_BUDGET = 400_000
MIN_DRAWS, MAX_DRAWS = 50, 1000
"""Draws of a grouped split: budget / units, within these bounds; about a second at most."""

N_RANGES = 4
"""A column of many numbers is cut at its quartiles to stratify by it."""


@dataclass(frozen=True, kw_only=True)
class Units:
    """Indivisible sets of images, ordered by content."""

    of_image: NDArray[np.intp]
    """Unit of each image, shape (n_images,)."""
    class_counts: NDArray[np.int64]
    """Images of each unit by class, shape (n_units, 2)."""
    group_counts: NDArray[np.int64] | None
    """Images of each unit by class and level of a column, shape (n_units, 2 * n_levels); None without a column."""


def units_by(
    keys: Iterable[pd.Series[str]], y: NDArray[np.int64], levels: pd.Series[str] | None = None
) -> Units:
    """Connected components of images that share a value in any of `keys`, in the order of their first images.

    Parameters
    ----------
    keys : iterable of Series of shape (n_images,)
        What images belong together by.
    y : ndarray of shape (n_images,)
        0/1 labels.
    levels : Series of shape (n_images,), optional
        Of the column to stratify by.

    Returns
    -------
    Units
    """
    images, first_with_same = [], []
    for key in keys:
        codes, _ = pd.factorize(key)
        _, first = np.unique(codes, return_index=True)
        images.append(np.arange(len(y)))
        first_with_same.append(first[codes])
    of_image = connected(len(y), np.concatenate(images), np.concatenate(first_with_same))
    n_units = int(of_image.max(initial=-1)) + 1

    def counts(of: NDArray[np.int64], n: int) -> NDArray[np.int64]:
        found = np.zeros((n_units, n), dtype=np.int64)
        np.add.at(found, (of_image, of), 1)
        return found

    groups = None
    if levels is not None:
        codes, names = pd.factorize(levels, sort=True)
        groups = counts(2 * codes + y, 2 * len(names))
    return Units(of_image=of_image, class_counts=counts(y, 2), group_counts=groups)


def levels_of(cells: pd.Series[str]) -> pd.Series[str]:
    """Values of a column to stratify by; more than `MAX_LEVELS` numbers are cut at their quartiles."""
    values = cells.str.strip()
    filled = values != ""
    numbers = pd.to_numeric(values[filled], errors="coerce")
    if numbers.nunique() > MAX_LEVELS and bool(np.isfinite(numbers).all()):
        values = values.copy()
        values[filled] = pd.qcut(numbers, N_RANGES, duplicates="drop").astype(str)
    return values.where(filled, "(blank)")


def draw(
    units: Units, members: NDArray[np.intp], fraction: float, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Units among `members` that hold about `fraction` of each class, and of each level of a column, in order.

    Parameters
    ----------
    units : Units
        All of them.
    members : ndarray of int
        Those to draw from.
    fraction : float
        Share to draw.
    rng : Generator
        Gives the seed of the draws.

    Returns
    -------
    ndarray of int

    Raises
    ------
    MedcompareError
        If no draw was made, which would be an error of this module.
    """
    from sklearn.model_selection import StratifiedShuffleSplit  # noqa: PLC0415 - takes a second, and most runs find this done

    counts = units.class_counts[members]
    groups = None if units.group_counts is None else units.group_counts[members]
    strata = _strata(counts)
    # As many units as the fraction says, but never none of a class on either side.
    n_strata = len(np.unique(strata))
    n_drawn = int(np.clip(round(fraction * len(members)), n_strata, len(members) - n_strata))
    if groups is not None:
        strata = _finer(strata, groups, min(n_drawn, len(members) - n_drawn))
    sizes = counts.sum(axis=1)
    uniform = bool((sizes == sizes[0]).all()) and not bool(mixed(counts).any()) and groups is None
    n_draws = 1 if uniform else int(np.clip(DRAW_BUDGET // len(members), MIN_DRAWS, MAX_DRAWS))
    shuffle = StratifiedShuffleSplit(
        n_splits=n_draws, test_size=n_drawn, random_state=int(rng.integers(2**31 - 1))
    )
    best: NDArray[np.intp] | None = None
    best_miss = np.inf
    for _, drawn in shuffle.split(np.zeros(len(members)), strata):
        miss = _miss(counts, groups, drawn, fraction)
        if miss < best_miss:
            best, best_miss = drawn, miss
    if best is None:
        msg = f"no draw of {n_drawn} out of {len(members)} units was made"
        raise MedcompareError(msg)
    return np.sort(members[best])


def _miss(
    counts: NDArray[np.int64], groups: NDArray[np.int64] | None, drawn: NDArray[np.intp], fraction: float
) -> float:
    """How far a draw is from `fraction`: images and units of each class, and the share of images in the wrong place."""
    holders = counts > 0
    shares = np.concatenate(
        [counts[drawn].sum(axis=0) / counts.sum(axis=0), holders[drawn].sum(axis=0) / holders.sum(axis=0)]
    )
    miss = float(np.abs(shares - fraction).sum())
    if groups is not None:
        # Counted in images, so that a rare level does not outweigh the others.
        wanted = fraction * groups.sum(axis=0)
        miss += float(np.abs(groups[drawn].sum(axis=0) - wanted).sum() / (fraction * groups.sum()))
    return miss


def mixed(counts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which units have images of both classes."""
    both: NDArray[np.bool_] = np.all(counts > 0, axis=1)
    return both


def _strata(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """0: negative only, 1: some positive, 2: both classes, where that leaves some in 1.

    A stratum of one unit cannot be split over two sides, so it joins the largest.
    """
    strata = (counts[:, 1] > 0).astype(np.int64)
    both = mixed(counts)
    if both.sum() > 1 and (counts[~both, 1] > 0).sum() > 1:
        strata[both] = 2
    return _without_single_units(strata)


def _without_single_units(strata: NDArray[np.int64]) -> NDArray[np.int64]:
    names, sizes = np.unique(strata, return_counts=True)
    for name in names[sizes == 1]:
        strata[strata == name] = names[np.argmax(sizes)]
    return strata


def _finer(strata: NDArray[np.int64], groups: NDArray[np.int64], limit: int) -> NDArray[np.int64]:
    """`strata` divided by the level that most images of a unit have, the largest parts first.

    A draw has room for one unit of each of `limit` strata; what is sparse stays with its class.
    """
    n = groups.shape[1]
    finer = n * (strata + 1) + groups.argmax(axis=1)
    names, sizes = np.unique(finer, return_counts=True)
    room = limit - len(np.unique(strata))
    largest = names[np.argsort(-sizes, kind="stable")][: max(room, 0)]
    kept = np.isin(finer, np.intersect1d(largest, names[sizes > 1]))
    return _without_single_units(np.where(kept, finer, strata))


def reached(
    table: pd.DataFrame,
    levels: pd.Series[str],
    units: Units,
    targets: dict[Subset, float],
    manifest: DatasetManifest,
) -> str:
    """How evenly each group of class and level is spread over the subsets, in words.

    Parameters
    ----------
    table : DataFrame
        With ``label`` and ``subset`` of each image.
    levels : Series of shape (n_images,)
        From `levels_of`; its name is that of the column.
    units : Units
        Of the same images.
    targets : dict
        Share of the images that was asked for, by subset.
    manifest : DatasetManifest
        Names data and classes.

    Returns
    -------
    str

    Raises
    ------
    DataError
        If no group has a patient, or a different image, for each subset.
    """
    by, noun = levels.name, "different images" if manifest.n_patients is None else "patients"
    names = table["label"].map(dict(enumerate(manifest.classes))) + f", {by} " + levels
    shares = pd.crosstab(names, table["subset"], normalize="index")
    enough = pd.Series(units.of_image, table.index).groupby(names).nunique() >= MIN_UNITS_PER_CLASS
    if not enough.any():
        msg = (
            f"{manifest.name}: {levels.nunique()} values of '{by}', none of them of {MIN_UNITS_PER_CLASS} {noun} of "
            "a class: there is nothing to stratify by. Name a column of few values, or leave out --stratify-by."
        )
        raise DataError(msg)
    parts = [
        t(
            SHARES[subset],
            low=100 * float(shares.loc[enough, subset].min()),
            high=100 * float(shares.loc[enough, subset].max()),
            target=100 * targets[subset],
        )
        for subset in SUBSETS
    ]
    sentence = t(
        "Stratified by {column} as well (split.stratify_by): of the images of each of {n} groups of class and "
        "{column}, {shares}.",
        column=by,
        n=int(enough.sum()),
        shares=", ".join(parts),
    )
    if enough.all():
        return sentence
    counts = names.value_counts().sort_index()[~enough]
    groups = listed(
        [
            tn("{group} ({n} image)", "{group} ({n:,} images)", int(n), group=name)
            for name, n in counts.items()
        ]
    )
    if manifest.n_patients is None:
        few = t(
            "Groups of fewer than {needed} different images cannot be in every subset: {groups}.",
            needed=MIN_UNITS_PER_CLASS,
            groups=groups,
        )
    else:
        few = t(
            "Groups of fewer than {needed} patients cannot be in every subset: {groups}.",
            needed=MIN_UNITS_PER_CLASS,
            groups=groups,
        )
    return f"{sentence} {few}"
