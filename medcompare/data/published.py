"""Splits that others published: recognised by the usual words, never taken for classes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from medcompare.base.record import SUBSETS
from medcompare.data.spelling import plain, words

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from medcompare.base.record import Subset

WORDS: dict[str, Subset] = {
    **dict.fromkeys(words("train training trn"), "train"),
    **dict.fromkeys(words("val valid validate validation valida dev development tuning tune"), "val"),
    **dict.fromkeys(words("test testing tst holdout"), "test"),
}
FILLERS = words("set data dataset subset split images imgs image img folder part cases samples")
HEADERS = words(
    "split splits subset set partition phase usage datasplit datasetsplit fold splitname traintest traintestsplit "
    "trainvaltest dataset"
)
"""What a column that holds the words is called, without capitals, blanks and signs."""

HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")


def subset_of(name: str) -> Subset | None:
    """Subset that a folder, or a cell, is named after; None for any other name.

    Capitals, digits, signs and words such as "set" or "images" do not count: ``Training_Data``,
    ``test-set``, ``VALID``, ``imagesTrain`` and ``trainset`` are recognised.
    """
    parts = [part.casefold() for part in re.split(r"[\W\d_]+", HUMP.sub(" ", name)) if part]
    kept = [part for part in parts if part not in FILLERS]
    return WORDS.get(kept[0].removesuffix("set")) if len(kept) == 1 else None


def subsets_of(names: Collection[str]) -> dict[str, Subset]:
    """`names` of subsets, where these are the parts of a split: at least two different ones; else empty."""
    found = {name: subset for name in names if (subset := subset_of(name)) is not None}
    return found if len(set(found.values())) > 1 else {}


def column_of_split(columns: Mapping[str, Sequence[str]]) -> str | None:
    """The column of a table that says which subset each row is in; None without one."""
    for name, cells in columns.items():
        levels = {cell for cell in cells if cell}
        if plain(name) in HEADERS and subsets_of(levels).keys() == levels:
            return name
    return None


def leaks(published: NDArray[np.object_], of_group: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Which images of a published split share a patient or a picture with a subset that counts for more.

    Parameters
    ----------
    published : ndarray of shape (n_images,)
        Subset of each image.
    of_group : ndarray of shape (n_images,)
        Group of each image: patients, copies, whatever must stay on one side.

    Returns
    -------
    ndarray of shape (n_images,), bool
        Training images of a group that also has validation or test images, and validation
        images of one that has test images. Without them no group is on two sides.
    """
    rank = np.array([SUBSETS.index(subset) for subset in published])
    highest = np.zeros(of_group.max() + 1, dtype=np.intp)
    np.maximum.at(highest, of_group, rank)
    torn: NDArray[np.bool_] = rank < highest[of_group]
    return torn
