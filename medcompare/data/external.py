"""Images of another hospital: all of them tested, none of them seen in training."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import numpy as np

from medcompare.base.errors import DataError, MedcompareError
from medcompare.base.formatting import join_words
from medcompare.base.language import in_language, localised, t, tn
from medcompare.config.data import AUTO_INTENSITY
from medcompare.data.copies import near_duplicates
from medcompare.data.measured import Measured
from medcompare.data.records import DatasetSplit
from medcompare.data.split import summary_of
from medcompare.data.tables import read_images, read_split

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd

    from medcompare.base.artifacts import ArtifactStore
    from medcompare.config.data import DataConfig, SplitConfig
    from medcompare.data.assignments import ImageRow
    from medcompare.data.records import DatasetManifest

N_NAMED = 5


def shown_alike(data: DataConfig, rows: Iterable[ImageRow]) -> tuple[DataConfig, tuple[str, ...]]:
    """Settings to read an external set with, so that its grey levels are shown as the networks know them.

    Parameters
    ----------
    data : DataConfig
        Settings of the main data; a range that is set is kept.
    rows : iterable of ImageRow
        Images of the main data, with the range that was chosen for them.

    Returns
    -------
    data : DataConfig
        With that range, where all images of more than 8 bits have it.
    notes : tuple of str
        What is to be said of it.
    """
    ranges = {row.grey_range for row in rows if row.grey_range is not None}
    if data.intensity_range != AUTO_INTENSITY or len(ranges) != 1:
        return data, ()
    low, high = (np.format_float_positional(limit, trim="-") for limit in ranges.pop())
    note = t(
        "Grey levels of more than 8 bits are shown from {low} (black) to {high} (white), as those of the main data.",
        low=localised(low),
        high=localised(high),
    )
    return data.model_copy(update={"intensity_range": f"{low},{high}"}), (note,)


def external_set(
    name: str,
    manifest: DatasetManifest,
    split: DatasetSplit,
    *,
    near: bool,
    config: SplitConfig,
    store: ArtifactStore,
) -> DatasetSplit:
    """All images of `manifest` as a test subset, apart from those the trainings have seen.

    Parameters
    ----------
    name : str
        What the user calls the set.
    manifest : DatasetManifest
        Usable images of the other hospital.
    split : DatasetSplit
        The main data, whose training and validation images must not be among them.
    near : bool
        Whether near-duplicates are looked for.
    config : SplitConfig
        ``leaks``: images that were seen are refused, or removed from the external set.
    store : ArtifactStore
        Holds the tables and what was measured of all images; receives the assignments.

    Returns
    -------
    DatasetSplit
        With empty training and validation subsets; its classes are named as those of `split`.

    Raises
    ------
    DataError
        If images of it are also in training or validation, byte by byte, pixel by pixel or as near-duplicates,
        and are not to be removed; or no image of a class is left.
    MedcompareError
        If what was measured of the images is gone.
    """
    ours, theirs = read_split(split, store), read_images(manifest, store)
    theirs["subset"] = "test"
    seen = _also_there(theirs, ours, store, near=near)
    in_training = {path for path, subset in seen.items() if subset != "test"}
    notes = []
    if in_training:
        if config.leaks == "refuse":
            named = "; ".join(sorted(in_training)[:N_NAMED]) + ("; ..." if len(in_training) > N_NAMED else "")
            with in_language("en"):
                found = _seen_in_training(len(in_training), len(theirs), name)
            msg = (
                f"{found}: {named}. To leave them out of the external set: --set split.leaks=remove; not to look for "
                "near-duplicates: --set data.near_duplicates=false."
            )
            raise DataError(msg)
        found = _seen_in_training(len(in_training), len(theirs), name)
        notes.append(t("{found}, and were left out of it (split.leaks).", found=found))
        theirs = theirs[~theirs["path"].isin(in_training)]
    n_tested, shared = len(seen) - len(in_training), []
    if n_tested:
        shared.append(("images", n_tested))
        notes.append(
            tn(
                "{n} image of {name} also in the internal test subset: the two tests are not independent.",
                "{n:,} images of {name} also in the internal test subset: the two tests are not independent.",
                n_tested,
                name=name,
            )
        )
    known = manifest.n_patients is not None and split.grouped_by is not None
    if known and (patients := set(theirs["patient_id"]) & set(ours["patient_id"])):
        shared.append(("patient ids", len(patients)))
        notes.append(
            tn(
                "{n} patient id of {name} also in the main data: if these are the same people, the set is not "
                "external.",
                "{n:,} patient ids of {name} also in the main data: if these are the same people, the set is not "
                "external.",
                len(patients),
                name=name,
            )
        )
    if manifest.classes != split.classes:
        notes.append(
            t(
                "{name}: {classes} are counted as {others}.",
                name=name,
                classes=join_words(manifest.classes),
                others=join_words(split.classes),
            )
        )
    for label, side in enumerate(split.classes):
        if not (theirs["label"] == label).any():
            msg = f"external set {name}: no image of {side} is left. Name another set."
            raise DataError(msg)
    grouped = manifest.n_patients is not None
    return DatasetSplit(
        assignments=store.write(theirs.to_csv(index=False, lineterminator="\n").encode(), ".csv"),
        subsets=(
            summary_of("train", theirs, 0.0, grouped=grouped),
            summary_of("val", theirs, 0.0, grouped=grouped),
            summary_of("test", theirs, 1.0, grouped=grouped),
        ),
        classes=split.classes,
        method=t("All images are tested; nothing is fitted to them"),
        grouped_by="patient_id" if grouped else None,
        disjoint=(),
        n_duplicates_kept_together=0,
        shared=tuple(shared),
        seed=split.seed,
        notes=tuple(notes),
        manifest_fingerprint=manifest.fingerprint,
    )


def _seen_in_training(n: int, n_all: int, name: str) -> str:
    return tn(
        "{n} image of {n_all:,} of the external set {name} is also in training or validation (the same file, the same "
        "pixels, or a near-duplicate)",
        "{n:,} images of {n_all:,} of the external set {name} are also in training or validation (the same file, the "
        "same pixels, or a near-duplicate)",
        n,
        n_all=n_all,
        name=name,
    )


def _also_there(
    theirs: pd.DataFrame, ours: pd.DataFrame, store: ArtifactStore, *, near: bool
) -> dict[str, str]:
    """Path of each external image that shows one of ours -> the subset that one is in; training counts most."""
    subset_of = dict(zip(ours["sha256"], ours["subset"], strict=True))
    found = {
        path: subset_of[sha]
        for path, sha in zip(theirs["path"], theirs["sha256"], strict=True)
        if sha in subset_of
    }
    if not near:
        return found
    shas = [*theirs["sha256"], *ours["sha256"]]
    with contextlib.closing(Measured(store.root)) as kept:
        number_of = kept.numbers(sorted(set(shas)))
        if len(number_of) < len(set(shas)):
            msg = "the measurements of some images are gone from the store; start the run again"
            raise MedcompareError(msg)
        numbers = np.array([number_of[sha] for sha in shas], dtype=np.int64)
        pixels = np.array([str(one.pixel_sha256).encode() for one in kept.measurements(numbers)])
        contents, first = np.unique(pixels, return_index=True)
        pairs = near_duplicates(contents, numbers[first], kept)
    # Images are known by their places: external ones first, then ours.
    places: dict[str, list[int]] = {}
    for place, content in enumerate(pixels):
        places.setdefault(content.decode(), []).append(place)
    together = [[*places[a], *places[b]] for a, b in pairs] + list(places.values())
    paths, subsets = list(theirs["path"]), list(ours["subset"])
    for group in together:
        mine = {subsets[place - len(paths)] for place in group if place >= len(paths)}
        if mine:
            side = "test" if mine == {"test"} else "train"
            for place in group:
                if place < len(paths) and found.get(paths[place]) in {None, "test"}:
                    found[paths[place]] = side
    return found
