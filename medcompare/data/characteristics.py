"""What the images of a split are of: further columns of the manifest, counted per subset and class."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from medcompare.data.assignments import SUBSETS
from medcompare.data.records import MAX_LEVELS, Characteristic

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    for k, (column, _) in enumerate(rows[0].extra if rows else ()):
        values = [row.extra[k][1].strip() for row in rows]
        levels = {value for value in values if value}
        if not levels or _names_patients(rows, values):
            continue
        numbers = {level: number for level in levels if (number := _number(level)) is not None}
        numeric = len(numbers) == len(levels)
        if len(levels) <= MAX_LEVELS:
            ordered = sorted(levels, key=lambda level: (numbers[level] if numeric else 0.0, level))
            found += [
                Characteristic(column=column, level=level, counts=_counts(rows, [v == level for v in values]))
                for level in ordered
            ]
        elif numeric:
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
    return tuple(found)


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
