"""Splits that are not drawn: published ones, recognised by the usual words, and those by a column."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medcompare.base.errors import DataError
from medcompare.base.hosts import split_at_commas
from medcompare.base.language import message, t
from medcompare.base.record import SUBSETS
from medcompare.data.columns import listed
from medcompare.data.spelling import plain, words

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from medcompare.base.record import Subset
    from medcompare.config.data import SplitConfig
    from medcompare.data.records import DatasetManifest

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


@dataclass(frozen=True, kw_only=True)
class SplitWords:
    """How a split that is not drawn is called, what else its images can be, and what could be done instead."""

    name: str
    training: str
    instead: str


def words_of(config: SplitConfig) -> SplitWords:
    """How the split of `config` is called where it is not drawn."""
    if config.hold_out is None:
        return SplitWords(
            name="the published split",
            training="the published training images",
            instead="pool all images and split them again: --published-split pool",
        )
    return SplitWords(
        name=f"the split by {config.hold_out}",
        training="the other images",
        instead="hold out other images, or draw the test: leave out --hold-out",
    )


def held_out(table: pd.DataFrame, hold_out: str, manifest: DatasetManifest) -> NDArray[np.object_]:
    """``test`` for the images that `hold_out` names, ``train`` for the others.

    Parameters
    ----------
    table : DataFrame
        The images with their further columns.
    hold_out : str
        ``COLUMN=VALUE`` or ``COLUMN=VALUE,VALUE``, of a column that there is; a value with a comma where it has that.
    manifest : DatasetManifest
        Names the data.

    Returns
    -------
    ndarray of shape (n_images,)

    Raises
    ------
    DataError
        If there is no such value; the message names those that there are.
    """
    column, _, values = hold_out.partition("=")
    present = table[column].str.strip()
    wanted = {values.strip()} if values.strip() in set(present) else set(split_at_commas(values))
    missing = sorted(wanted - set(present))
    if missing:
        counts = Counter(present).most_common()
        there = listed([f"{value or '(blank)'} ({n})" for value, n in counts])
        msg = f"{manifest.name}: no image has {column}={missing[0]}; values there are: {there}. Correct --hold-out."
        raise DataError(msg)
    held: NDArray[np.object_] = np.where(present.isin(wanted), "test", "train").astype(object)
    return held


IMAGES_OF: dict[Subset, str] = {"train": message("{n} training"), "val": message("{n} validation")}
N_CASES = 20
"""So many images are named in the report."""


def no_leaks(config: SplitConfig) -> str:
    """A sentence where a split that is kept has nothing on two sides."""
    if config.hold_out is None:
        return t("No patient and no copy of an image is in two subsets of the published split.")
    return t(
        "No patient and no copy of an image is in two subsets of the split by {column}.",
        column=config.hold_out,
    )


def leaks_removed(
    config: SplitConfig, n_of: Mapping[Subset, int], n_test: int, n_all: int, cases: Sequence[str]
) -> str:
    """A sentence about the images that were removed, by subset; `n_test` of `n_all` test images are concerned."""
    shown, n_more = ", ".join(cases[:N_CASES]), len(cases) - N_CASES
    facts = {
        "sides": ", ".join(t(IMAGES_OF[side], n=n) for side, n in n_of.items()),
        "n_test": n_test,
        "n_all": n_all,
        "cases": t("{names} and {n} more", names=shown, n=n_more) if n_more > 0 else shown,
    }
    if config.hold_out is None:
        return t(
            "Images of the published split ({sides}) are copies of an image, or belong to a patient, of another "
            "subset; this concerns {n_test:,} of its {n_all:,} test images. Removed from training and validation "
            "(split.leaks): {cases}.",
            **facts,
        )
    return t(
        "Images of the split by {column} ({sides}) are copies of an image, or belong to a patient, of another subset; "
        "this concerns {n_test:,} of its {n_all:,} test images. Removed from training and validation (split.leaks): "
        "{cases}.",
        column=config.hold_out,
        **facts,
    )


def method_of_kept(config: SplitConfig) -> str:
    """How the subsets came about where the test images are kept and validation images drawn."""
    if config.hold_out is None:
        return t(
            "The published test images, kept as they are; validation images drawn from the published training images "
            "by StratifiedShuffleSplit, what belongs together kept together"
        )
    return t(
        "All images with {column} are held out for the test; validation images drawn from the other images by "
        "StratifiedShuffleSplit, what belongs together kept together",
        column=config.hold_out,
    )
