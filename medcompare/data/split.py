"""The partition into training, validation and test images, without leaks.

What belongs together stays together: images of one patient, copies of one file, files
with the same pixels, near-duplicates. Such images form one unit, and the split is made by units.

A split that came with the images, or one by a column such as the hospital, is kept where that is asked for: what
it separates although it belongs together is counted and refused, or removed from training.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from medcompare.base.errors import DataError, MedcompareError
from medcompare.base.language import message, t, tn
from medcompare.base.record import SUBSETS
from medcompare.data.draw import MIN_UNITS_PER_CLASS, OFF_TARGET, draw, levels_of, mixed, reached, units_by
from medcompare.data.published import held_out, leaks, leaks_removed, method_of_kept, no_leaks, words_of
from medcompare.data.records import PUBLISHED, DatasetSplit, SubsetSummary
from medcompare.data.tables import read_images, read_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from medcompare.base.artifacts import ArtifactStore
    from medcompare.base.record import Subset
    from medcompare.config.data import SplitConfig
    from medcompare.data.draw import Units
    from medcompare.data.records import DatasetManifest

KINDS = {
    "patient_id": message("patients"),
    "sha256": message("groups of identical files"),
    "same pixels": message("groups of the same pixels"),
    "near-duplicate": message("groups of near-duplicates"),
    "augmented copy": message("groups of augmented copies"),
}
SIDES: dict[Subset, str] = {"train": "training", "val": "validation"}
N_NAMED = 5
"""So many images are named in an error message."""

TOLERANCE = 0.02
"""Deviation of an achieved share from its target that is reported in a note."""


def split(manifest: DatasetManifest, config: SplitConfig, *, seed: int, store: ArtifactStore) -> DatasetSplit:
    """Assign the images of `manifest` to training, validation and test.

    Parameters
    ----------
    manifest : DatasetManifest
        Usable images.
    config : SplitConfig
        ``test_fraction`` of all images; ``validation_fraction`` of the rest.
    seed : int
        Same content, fractions and seed: same partition, whatever the names of the files
        and the order in which they were listed.
    store : ArtifactStore
        Holds the manifest's tables, receives the assignments.

    Returns
    -------
    DatasetSplit
        With what was achieved, not only what was asked for.

    Raises
    ------
    DataError
        If the images or patients are too few for both classes in every subset, or a published split that
        is to be kept has a patient or copies of an image in two subsets.
    MedcompareError
        If a unit ended up in two subsets, which would be an error of this module.
    """
    table = read_images(manifest, store)
    grouped = manifest.n_patients is not None
    by = config.stratify_by
    levels = None if by is None else levels_of(table[by])
    keys = _keys(table, manifest, store)[1]
    # The table is sorted by content digest, hence so are the units: names do not count.
    units = units_by(keys, table["label"].to_numpy(), levels)
    rng = np.random.default_rng(seed)
    if config.hold_out is not None:
        table[PUBLISHED] = held_out(table, config.hold_out, manifest)
    published = PUBLISHED in table
    notes: list[str] = []
    if published:
        table, notes = _without_leaks(table, units, config, manifest)
        keys = [key[table.index] for key in keys]
        levels = None if levels is None else levels[table.index]
        units = units_by(keys, table["label"].to_numpy(), levels)
        method, table["subset"] = _kept(table.pop(PUBLISHED), units, config, rng, manifest)
        targets = {subset: float((table["subset"] == subset).mean()) for subset in SUBSETS}
    else:
        _check_enough(units, manifest, grouped=grouped)
        method, table["subset"] = (
            _method(units, by, grouped=grouped),
            _drawn(units, config, rng)[units.of_image],
        )
        targets = _targets(config)
    _check_both_classes(
        [summary_of(subset, table, targets[subset], grouped=grouped) for subset in SUBSETS],
        manifest,
        grouped=grouped,
        instead=words_of(config).instead if published else None,
    )
    if levels is not None:
        notes.append(reached(table, levels, units, targets, manifest))
    assignments = store.write(table.to_csv(index=False, lineterminator="\n").encode(), ".csv")
    # What is proven and counted is the stored table, which all later stages read.
    table = read_table(assignments, store)
    copies, keys = _keys(table, manifest, store)
    disjoint = _verified(table, keys)
    train, val, test = (summary_of(subset, table, targets[subset], grouped=grouped) for subset in SUBSETS)
    n_copies = units_by(copies, table["label"].to_numpy()).class_counts.sum(axis=1)
    return DatasetSplit(
        assignments=assignments,
        subsets=(train, val, test),
        classes=manifest.classes,
        method=method,
        grouped_by="patient_id" if grouped else None,
        stratified_by=by,
        disjoint=disjoint,
        n_duplicates_kept_together=int(n_copies[n_copies > 1].sum()),
        seed=seed,
        notes=(*notes, *_notes((train, val, test), units, grouped=grouped)),
        manifest_fingerprint=manifest.fingerprint,
    )


def random_split(
    partition: DatasetSplit, manifest: DatasetManifest, *, seed: int, store: ArtifactStore
) -> tuple[DatasetSplit, int] | None:
    """What a careless split would have been: single images drawn at random, as many of each class in each subset.

    Parameters
    ----------
    partition : DatasetSplit
        The split that keeps together what belongs together.
    manifest : DatasetManifest
        Names the copies.
    seed : int
        Of the draw.
    store : ArtifactStore
        Holds the tables, receives the assignments.

    Returns
    -------
    tuple of (DatasetSplit, int) or None
        The split, which proves nothing disjoint, and of how many of its test images the patient, or a copy, is in
        training or validation. None where each image stands for itself: a random split is then no other split.
    """
    table = read_table(partition.assignments, store)
    units = units_of(table, manifest, store)
    if len(np.unique(units)) == len(units):
        return None
    rng = np.random.default_rng((seed, 1))
    subset = table["subset"].to_numpy(dtype=object)
    for label in (0, 1):
        of_class = np.flatnonzero(table["label"] == label)
        subset[of_class] = rng.permutation(subset[of_class])
    table["subset"] = subset
    is_test = subset == "test"
    n_leaked = int(np.isin(units[is_test], units[~is_test]).sum())
    grouped = partition.grouped_by is not None
    train, val, test = (
        summary_of(one.subset, table, one.target_fraction, grouped=grouped) for one in partition.subsets
    )
    return partition.model_copy(
        update={
            "assignments": store.write(table.to_csv(index=False, lineterminator="\n").encode(), ".csv"),
            "subsets": (train, val, test),
            "method": t("Single images at random, stratified by class"),
            "disjoint": (),
            "notes": (),
        }
    ), n_leaked


def _drawn(units: Units, config: SplitConfig, rng: np.random.Generator) -> NDArray[np.object_]:
    """Subset of each unit."""
    everyone = np.arange(len(units.class_counts))
    test = draw(units, everyone, config.test_fraction, rng)
    rest = np.setdiff1d(everyone, test)
    val = draw(units, rest, config.validation_fraction, rng)
    subset = np.full(len(everyone), "train", dtype=object)
    subset[val], subset[test] = "val", "test"
    return subset


def _without_leaks(
    table: pd.DataFrame, units: Units, config: SplitConfig, manifest: DatasetManifest
) -> tuple[pd.DataFrame, list[str]]:
    """Images that stay where a published split is kept, and a sentence about those that do not.

    Of what is on two sides, the test images stay; where there are none, the validation images do.
    """
    published, words = table[PUBLISHED].to_numpy(), words_of(config)
    leaked = leaks(published, units.of_image)
    if not leaked.any():
        return table, [no_leaks(config)]
    on_test = (published == "test") & np.isin(units.of_image, units.of_image[leaked])
    n_of = {side: n for side in SIDES if (n := int((leaked & (published == side)).sum()))}
    n_test, n_all = int(on_test.sum()), int((published == "test").sum())
    if config.leaks == "refuse":
        sides = ", ".join(f"{n} {SIDES[side]}" for side, n in n_of.items())
        first = np.flatnonzero(leaked)[:N_NAMED]
        others = [np.flatnonzero((units.of_image == units.of_image[i]) & ~leaked)[0] for i in first]
        path = table["path"].to_numpy()
        named = "; ".join(f"{path[i]} with {path[other]}" for i, other in zip(first, others, strict=True))
        msg = (
            f"{manifest.name}: images of {words.name} ({sides}) are copies of an image, or belong to a patient, of "
            f"another subset; this concerns {n_test} of its {n_all} test images: {named}"
            f"{'; ...' if leaked.sum() > N_NAMED else ''}. Remove them from training and validation: "
            f"--set split.leaks=remove; or {words.instead}."
        )
        raise DataError(msg)
    cases = table["case_id"].to_numpy()[leaked]
    return table[~leaked], [leaks_removed(config, n_of, n_test, n_all, cases.tolist())]


def _kept(
    published: pd.Series[str],
    units: Units,
    config: SplitConfig,
    rng: np.random.Generator,
    manifest: DatasetManifest,
) -> tuple[str, NDArray[np.object_]]:
    """What was done, and the subset of each image: as published, validation drawn where there is none."""
    subset, words = published.to_numpy(dtype=object), words_of(config)
    if (subset == "val").any():
        if config.stratify_by is not None:
            msg = (
                f"{manifest.name}: the published split has validation images of its own, so that nothing is drawn that "
                f"could be stratified by {config.stratify_by}. Leave out --stratify-by, or {words.instead}."
            )
            raise DataError(msg)
        return t("The published split, kept as it is"), subset
    members = np.unique(units.of_image[subset == "train"])
    if ((units.class_counts[members] > 0).sum(axis=0) < MIN_UNITS_PER_CLASS - 1).any():
        after = _removed(manifest, len(subset))
        msg = (
            f"{manifest.name}: {words.training} of a class are too few to draw validation images from{after}. You can "
            f"{words.instead}."
        )
        raise DataError(msg)
    val = draw(units, members, config.validation_fraction, rng)
    subset = np.where(np.isin(units.of_image, val), "val", subset).astype(object)
    return method_of_kept(config), subset


def _keys(
    table: pd.DataFrame, manifest: DatasetManifest, store: ArtifactStore
) -> tuple[list[pd.Series[str]], list[pd.Series[str]]]:
    """What images belong together by: as copies of one another, and by anything."""
    copies = [table["sha256"], *_copy_keys(manifest, table["sha256"], store)]
    return copies, copies if manifest.n_patients is None else [*copies, table["patient_id"]]


def units_of(table: pd.DataFrame, manifest: DatasetManifest, store: ArtifactStore) -> NDArray[np.intp]:
    """Number of the unit of each image of `table`: images of one patient, and copies, are one unit."""
    return units_by(_keys(table, manifest, store)[1], table["label"].to_numpy(dtype=np.int64)).of_image


def verified_apart(
    table: pd.DataFrame, manifest: DatasetManifest, store: ArtifactStore
) -> tuple[tuple[str, int], ...]:
    """(kind, number) of what belongs together and is in one subset each of `table`; raises where it is not."""
    return _verified(table, _keys(table, manifest, store)[1])


def _copy_keys(manifest: DatasetManifest, shas: pd.Series[str], store: ArtifactStore) -> list[pd.Series[str]]:
    """For each kind of copies the group of every image; a file that is no such copy is its own."""
    if manifest.copies is None:
        return []
    copies = pd.read_csv(io.BytesIO(store.read(manifest.copies)), dtype=str)
    return [
        shas.map(dict(zip(rows["sha256"], rows["copy_group"], strict=True))).fillna(shas).rename(kind)
        for kind, rows in copies.groupby("kind")
    ]


def _targets(config: SplitConfig) -> dict[Subset, float]:
    rest = 1 - config.test_fraction
    return {
        "train": rest * (1 - config.validation_fraction),
        "val": rest * config.validation_fraction,
        "test": config.test_fraction,
    }


def summary_of(subset: Subset, table: pd.DataFrame, target: float, *, grouped: bool) -> SubsetSummary:
    """What `subset` of `table` holds, where `target` of all images was asked for; patients only if `grouped`."""
    part = table[table["subset"] == subset]
    n_positive = int((part["label"] == 1).sum())
    n_patients = patients_by_class = None
    if grouped:
        n_patients = int(part["patient_id"].nunique())
        by_label = part.groupby("label")["patient_id"].nunique()
        patients_by_class = (int(by_label.get(0, 0)), int(by_label.get(1, 0)))
    return SubsetSummary(
        subset=subset,
        n_images=len(part),
        class_counts=(len(part) - n_positive, n_positive),
        n_patients=n_patients,
        patients_by_class=patients_by_class,
        fraction=len(part) / len(table),
        target_fraction=target,
        positive_fraction=n_positive / len(part) if len(part) else None,
    )


def _check_enough(units: Units, manifest: DatasetManifest, *, grouped: bool) -> None:
    noun = "patients" if grouped else "different images"
    for label, name in enumerate(manifest.classes):
        n_units = int((units.class_counts[:, label] > 0).sum())
        if n_units < MIN_UNITS_PER_CLASS:
            msg = (
                f"{manifest.name}: class '{name}' has {n_units} {noun}; at least {MIN_UNITS_PER_CLASS} are needed, "
                "one each for training, validation and test. Add data."
            )
            raise DataError(msg)


def _removed(manifest: DatasetManifest, n_left: int) -> str:
    """How many images went as they are on two sides of a split that is kept, where any did."""
    n = manifest.n_images - n_left
    if not n:
        return ""
    return f" after {n} that share a patient or a copy with another subset were removed (split.leaks)"


def _check_both_classes(
    subsets: Sequence[SubsetSummary],
    manifest: DatasetManifest,
    *,
    grouped: bool,
    instead: str | None,
) -> None:
    for summary in subsets:
        for label, name in enumerate(manifest.classes):
            if summary.class_counts[label] == 0:
                fraction = "test_fraction" if summary.subset == "test" else "validation_fraction"
                remedy = instead or f"raise split.{fraction}"
                n = sum(one.class_counts[label] for one in subsets)
                after = _removed(manifest, sum(one.n_images for one in subsets))
                msg = (
                    f"{manifest.name}: the {summary.subset} subset ({summary.n_images} images) would hold no image of "
                    f"class '{name}', of which there {'is 1' if n == 1 else f'are {n}'} in all{after}. Add "
                    f"{'patients' if grouped else 'images'} of that class, or {remedy}."
                )
                raise DataError(msg)


def _verified(table: pd.DataFrame, keys: Iterable[pd.Series[str]]) -> tuple[tuple[str, int], ...]:
    """(kind, number) of patients, and of groups of copies, in the finished table: each is in one subset."""
    found = []
    for key in keys:
        groups = table.groupby(key.to_numpy())["subset"].agg(["nunique", "size"])
        torn = int((groups["nunique"] > 1).sum())
        if torn:
            msg = f"the split separated what belongs together ({key.name}: {torn} values in two subsets)"
            raise MedcompareError(msg)
        n = len(groups) if key.name == "patient_id" else int((groups["size"] > 1).sum())
        found.append((KINDS[str(key.name)], n))
    return tuple(found)


def _method(units: Units, by: str | None, *, grouped: bool) -> str:
    strata = t("class") if by is None else t("class and {column}", column=by)
    if grouped:
        return t(
            "StratifiedShuffleSplit over patients, stratified by {strata}; of many seeded draws the one whose class "
            "proportions, counted in images and in patients, come closest to the target",
            strata=strata,
        )
    if len(units.class_counts) < len(units.of_image):
        return t(
            "StratifiedShuffleSplit over images, stratified by {strata}, copies of an image kept in one subset",
            strata=strata,
        )
    return t("StratifiedShuffleSplit over images, stratified by {strata}", strata=strata)


def _notes(subsets: Iterable[SubsetSummary], units: Units, *, grouped: bool) -> list[str]:
    notes = [
        t(OFF_TARGET[summary.subset], share=100 * summary.fraction, target=100 * summary.target_fraction)
        for summary in subsets
        if abs(summary.fraction - summary.target_fraction) > TOLERANCE
    ]
    n_mixed = int(mixed(units.class_counts).sum())
    if grouped and n_mixed:
        notes.append(
            tn(
                "{n} patient has images of both classes.",
                "{n:,} patients have images of both classes.",
                n_mixed,
            )
        )
    return notes
