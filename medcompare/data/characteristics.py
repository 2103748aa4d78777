"""What the images of a split are of: further columns of the manifest, counted per subset and class."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from medcompare.data.assignments import SUBSETS
from medcompare.data.records import MAX_LEVELS, ORIGINAL, PUBLISHED, Characteristic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from medcompare.base.record import Subset
    from medcompare.data.assignments import ImageRow
    from medcompare.data.records import Quartiles


def characteristics(rows: Sequence[ImageRow]) -> tuple[Characteristic, ...]:
    """Counts of every further column of the manifest, per subset and class: who is in which subset.

    Parameters
    ----------
    rows : sequence of ImageRow
        All images of the split.

    Returns
    -------
    tuple of Characteristic
        Column by column in the order of the manifest: one row per value where there are at
        most `MAX_LEVELS`, one with quartiles where there are more and all are numbers, and
        one for blanks where there are any. Columns that hold neither, and columns in which
        every value belongs to one patient only, such as a name or number of the patient, are
        left out: they would say who the patients are, not what they are like.
    """
    found: list[Characteristic] = []
    of_test, of_training, of_class = _groups(rows)
    for k, (column, _) in enumerate(rows[0].extra if rows else ()):
        n_before = len(found)
        values = [row.extra[k][1].strip() for row in rows]
        levels = {value for value in values if value}
        if not levels or _names_patients(rows, values):
            continue
        numbers = {level: number for level in levels if (number := _number(level)) is not None}
        numeric = len(numbers) == len(levels)
        coded: NDArray[np.float64]
        if len(levels) <= MAX_LEVELS:
            ordered = sorted(levels, key=lambda level: (numbers[level] if numeric else 0.0, level))
            found += [
                Characteristic(column=column, level=level, counts=_counts(rows, [v == level for v in values]))
                for level in ordered
            ]
            coded = np.array([[v == level for level in ("", *ordered)] for v in values], dtype=np.float64)
        elif numeric:
            coded = np.array([[numbers.get(v, math.nan)] for v in values])
            found.append(
                Characteristic(
                    column=column,
                    level=None,
                    counts=_counts(rows, [v != "" for v in values]),
                    quartiles=_quartiles(rows, [numbers.get(v) for v in values]),
                )
            )
        else:
            continue
        if "" in values:
            found.append(
                Characteristic(column=column, level="", counts=_counts(rows, [v == "" for v in values]))
            )
        found[n_before] = found[n_before].model_copy(
            update={
                "difference_test": standardised_difference(coded[of_test], coded[of_training]),
                "difference_class": standardised_difference(coded[of_class], coded[~of_class]),
            }
        )
    return tuple(found)


def chosen_subgroups(
    subgroups: tuple[str, ...] | None, columns: Sequence[str], tabulated: Sequence[Characteristic]
) -> tuple[str, ...]:
    """Columns to report by subgroup: those named, otherwise every further column of two to `MAX_LEVELS` values.

    With either goes the original class, where several were put together: which of them does a model miss?

    Parameters
    ----------
    subgroups : tuple of str or None
        Columns named, which there are; None: none was, empty: none is wanted.
    columns : sequence of str
        Further columns of the images.
    tabulated : sequence of Characteristic
        From `characteristics`.

    Returns
    -------
    tuple of str
    """
    if subgroups is None:
        levels = Counter(row.column for row in tabulated if row.level)
        return tuple(name for name in columns if name != PUBLISHED and (levels[name] > 1 or name == ORIGINAL))
    unnamed = {ORIGINAL}.intersection(columns).difference(subgroups) if subgroups else ()
    return (*subgroups, *unnamed)


def standardised_difference(first: NDArray[np.float64], second: NDArray[np.float64]) -> float | None:
    """How far two groups lie apart, in standard deviations; by custom more than 0.1 is worth a look.

    Of one number (Austin 2009, Statistics in Medicine 28:3083, equation 1), or of the shares of several levels
    (Yang and Dalton 2012, SAS Global Forum, paper 335: Mahalanobis' distance of the shares).

    Parameters
    ----------
    first, second : ndarray of shape (n, k)
        A value, or an indicator of each level, of every image; rows with a missing value do not count.

    Returns
    -------
    float or None
        None where a group is empty, or where neither varies and they differ.
    """
    first, second = (group[~np.isnan(group).any(axis=1)] for group in (first, second))
    if not (len(first) and len(second)):
        return None
    difference = first.mean(axis=0) - second.mean(axis=0)
    # Divided by n, as the variance of a share is p (1 - p).
    spread = sum(np.atleast_2d(np.cov(group, rowvar=False, bias=True)) for group in (first, second)) / 2
    if not difference.any():
        return 0.0
    # Shares add up to 1, so that one direction has no spread, but for rounding.
    inverse = np.linalg.pinv(spread, rcond=1e-10, hermitian=True)
    if not np.allclose(spread @ inverse @ difference, difference):
        return None
    return float(np.sqrt(difference @ inverse @ difference))


def _groups(
    rows: Sequence[ImageRow],
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Which images are of the test subset, of the training subset, and positive."""
    subset = np.array([row.subset for row in rows], dtype=str)
    return subset == "test", subset == "train", np.array([row.label == 1 for row in rows], dtype=bool)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _names_patients(rows: Sequence[ImageRow], values: Sequence[str]) -> bool:
    """Whether no two patients (without ids: images) share a value, so that a value names one of them."""
    owners: dict[str, set[str]] = {}
    for row, value in zip(rows, values, strict=True):
        if value:
            owners.setdefault(value, set()).add(row.patient_id or row.case_id)
    return len(owners) > 1 and all(len(each) == 1 for each in owners.values())


def _counts(
    rows: Sequence[ImageRow], chosen: Sequence[bool]
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    counts = {subset: [0, 0] for subset in SUBSETS}
    for row, is_chosen in zip(rows, chosen, strict=True):
        counts[row.subset][row.label] += is_chosen  # type: ignore[index] # the split's own subsets
    train, val, test = ((counts[subset][0], counts[subset][1]) for subset in SUBSETS)
    return train, val, test


def _quartiles(
    rows: Sequence[ImageRow], numbers: Sequence[float | None]
) -> tuple[Quartiles | None, Quartiles | None, Quartiles | None]:
    """Quartiles per subset, by linear interpolation (numpy's default)."""

    def of(subset: Subset) -> Quartiles | None:
        known = [n for row, n in zip(rows, numbers, strict=True) if row.subset == subset and n is not None]
        if not known:
            return None
        low, middle, high = np.quantile(known, (0.25, 0.5, 0.75)).tolist()
        return low, middle, high

    return of("train"), of("val"), of("test")
