"""The partition: no leaks, close proportions, the same for the same content and seed."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from medcompare.base.artifacts import ArtifactStore, sha256_of_bytes
from medcompare.base.errors import DataError, MedcompareError
from medcompare.config.data import DataConfig, SplitConfig
from medcompare.data import split as splitting
from medcompare.data.manifest import ingest
from medcompare.data.records import DatasetManifest, DatasetSplit
from medcompare.data.sources.resolve import resolve_source
from medcompare.data.split import random_split, split

if TYPE_CHECKING:
    from collections.abc import Sequence

REAL_DATA = Path(os.environ.get("MEDCOMPARE_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    """An empty store."""
    return ArtifactStore(tmp_path)


def read_assignments(partition: DatasetSplit, store: ArtifactStore) -> pd.DataFrame:
    """Table of images with their ``subset``."""
    table = pd.read_csv(io.BytesIO(store.read(partition.assignments)), dtype=str, keep_default_na=False)
    return table.astype({"label": int})


def manifest_of(
    store: ArtifactStore,
    y: Sequence[int],
    *,
    patients: Sequence[str] | None = None,
    content: Sequence[str] | None = None,
    copies: Sequence[tuple[str, str, str]] = (),
    names: str = "img",
    sites: Sequence[str] | None = None,
) -> DatasetManifest:
    """A manifest of images that exist as digests only; `content` says which are copies."""
    shas = [sha256_of_bytes((content[i] if content else str(i)).encode()) for i in range(len(y))]
    table = pd.DataFrame(
        {
            "case_id": [f"case-{i}" for i in range(len(y))],
            "path": [f"{names}{i}.png" for i in range(len(y))],
            "label": list(y),
            "patient_id": list(patients) if patients else "",
            "sha256": shas,
            "width_px": 64,
            "height_px": 64,
            "mode": "RGB",
            **({"site": list(sites)} if sites else {}),
        }
    ).sort_values(["sha256", "patient_id"])
    copy_table = pd.DataFrame(
        [(sha256_of_bytes(name.encode()), group, kind) for name, group, kind in copies],
        columns=["sha256", "copy_group", "kind"],
    )
    images = store.write(table.to_csv(index=False).encode(), ".csv")
    return DatasetManifest(
        name="made up",
        synthetic=True,
        classes=("non_cancer", "cancer"),
        class_counts=(len(y) - sum(y), sum(y)),
        n_found=len(y),
        n_images=len(y),
        n_patients=len(set(patients)) if patients else None,
        n_rejected=0,
        rejected_by_reason=(),
        n_duplicate_groups=0,
        n_conflicting_groups=0,
        image_sizes=(("64x64", len(y)),),
        extra_columns=("site",) if sites else (),
        fingerprint=sha256_of_bytes(repr(sorted(shas)).encode()),
        images=images,
        rejected=store.write(b"path,label,reason,detail\n", ".csv"),
        copies=store.write(copy_table.to_csv(index=False).encode(), ".csv") if copies else None,
    )


def subsets_by(manifest: DatasetManifest, store: ArtifactStore, column: str, *, seed: int = 0) -> pd.Series:
    """Number of subsets that each value of `column` stands in."""
    table = read_assignments(split(manifest, SplitConfig(), seed=seed, store=store), store)
    return table.groupby(column)["subset"].nunique()


def test_exact_proportions_without_patients(store: ArtifactStore) -> None:
    """200 images, 30 % positive: 140/20/40 with 42/6/12 positive."""
    manifest = manifest_of(store, [1] * 60 + [0] * 140)

    result = split(manifest, SplitConfig(), seed=3, store=store)

    assert [(s.subset, s.n_images, s.class_counts) for s in result.subsets] == [
        ("train", 140, (98, 42)),
        ("val", 20, (14, 6)),
        ("test", 40, (28, 12)),
    ]
    assert [s.fraction for s in result.subsets] == pytest.approx([0.7, 0.1, 0.2])
    assert [s.target_fraction for s in result.subsets] == pytest.approx([0.7, 0.1, 0.2])
    assert [s.positive_fraction for s in result.subsets] == pytest.approx([0.3, 0.3, 0.3])
    assert result.grouped_by is None
    assert result.method == "StratifiedShuffleSplit over images, stratified by class"
    assert result.manifest_fingerprint == manifest.fingerprint
    assert result.notes == ()
    table = read_assignments(result, store)
    assert len(table) == 200
    assert table["subset"].value_counts().to_dict() == {"train": 140, "test": 40, "val": 20}


def test_other_fractions(store: ArtifactStore) -> None:
    """The fractions asked for are met and recorded."""
    config = SplitConfig(test_fraction=0.3, validation_fraction=0.5)

    result = split(manifest_of(store, [0, 1] * 100), config, seed=0, store=store)

    assert [s.n_images for s in result.subsets] == [70, 70, 60]
    assert [s.target_fraction for s in result.subsets] == pytest.approx([0.35, 0.35, 0.3])


def test_same_seed_same_split_whatever_the_names(store: ArtifactStore) -> None:
    """Content and seed decide: names, patient names and order do not."""
    y = [0, 1] * 60
    patients = [f"p{i // 4}" for i in range(120)]
    first = manifest_of(store, y, patients=patients)
    renamed = manifest_of(store, y, patients=[f"z{p[::-1]}" for p in patients], names="other")

    results = [
        read_assignments(split(m, SplitConfig(), seed=5, store=store), store) for m in (first, renamed)
    ]

    sides = [dict(zip(table["sha256"], table["subset"], strict=True)) for table in results]
    assert sides[0] == sides[1]
    assert split(first, SplitConfig(), seed=5, store=store) == split(
        first, SplitConfig(), seed=5, store=store
    )
    other_seed = read_assignments(split(first, SplitConfig(), seed=6, store=store), store)
    assert dict(zip(other_seed["sha256"], other_seed["subset"], strict=True)) != sides[0]


@pytest.mark.parametrize("seed", range(5))
def test_patients_never_straddle(store: ArtifactStore, seed: int) -> None:
    """Random patients of 1 to 12 images, some with both classes: one side each, proportions close."""
    rng = np.random.default_rng(seed)
    y, patients = [], []
    for patient in range(120):
        share = rng.choice([0.0, 0.0, 0.0, 0.5, 1.0])
        for _ in range(rng.integers(1, 13)):
            y.append(int(rng.random() < share))
            patients.append(f"p{patient}")
    manifest = manifest_of(store, y, patients=patients)

    result = split(manifest, SplitConfig(), seed=seed, store=store)

    table = read_assignments(result, store)
    assert table.groupby("patient_id")["subset"].nunique().max() == 1
    assert result.grouped_by == "patient_id"
    assert result.disjoint == (("groups of identical files", 0), ("patients", 120))
    prevalence = sum(y) / len(y)
    for summary in result.subsets:
        assert summary.fraction == pytest.approx(summary.target_fraction, abs=0.015)
        assert summary.positive_fraction == pytest.approx(prevalence, abs=0.02)
        part = table[table["subset"] == summary.subset]
        assert summary.n_patients == part["patient_id"].nunique()
        assert summary.patients_by_class == tuple(
            part[part["label"] == label]["patient_id"].nunique() for label in (0, 1)
        )
    assert sum(summary.n_patients or 0 for summary in result.subsets) == 120


@pytest.mark.parametrize("seed", range(5))
def test_copies_never_straddle(store: ArtifactStore, seed: int) -> None:
    """Every third image is there twice: copies share a side, and the method says so."""
    content = [str(i if i % 3 else i // 6 * 6) for i in range(240)]
    y = [(int(name) // 2) % 2 for name in content]
    manifest = manifest_of(store, y, content=content)

    result = split(manifest, SplitConfig(), seed=seed, store=store)

    assert subsets_by(manifest, store, "sha256", seed=seed).max() == 1
    assert result.method.endswith("copies of an image kept in one subset")
    assert result.n_duplicates_kept_together == 80


def test_copies_join_patients(store: ArtifactStore) -> None:
    """A picture filed under two patients ties both to one side, and chains reach further."""
    patients = [f"p{i // 3}" for i in range(180)]
    content = [str(i) for i in range(180)]
    for i in range(0, 30, 3):
        # The first image of a patient is the second of the next: ten patients in a chain.
        content[i + 4] = content[i]
    y = [0] * 90 + [1] * 90
    manifest = manifest_of(store, y, patients=patients, content=content)

    table = read_assignments(split(manifest, SplitConfig(), seed=1, store=store), store)

    chain = table[table["patient_id"].isin([f"p{i}" for i in range(11)])]
    assert len(set(chain["subset"])) == 1
    assert table.groupby("sha256")["subset"].nunique().max() == 1


@pytest.mark.parametrize("seed", range(3))
def test_copies_of_every_kind_never_straddle(store: ArtifactStore, seed: int) -> None:
    """Groups of both kinds are kept together, and so are chains of them: 20 images in all from 0 to 19."""
    copies = [(str(i), f"pixels{i // 2}", "same pixels") for i in range(100)]
    copies += [(str(i), f"near{(i + 1) // 2}", "near-duplicate") for i in range(1, 19)]
    manifest = manifest_of(store, [(i // 20) % 2 for i in range(200)], copies=copies)

    result = split(manifest, SplitConfig(), seed=seed, store=store)

    table = read_assignments(result, store)
    for kind in ("same pixels", "near-duplicate"):
        group_of = {sha256_of_bytes(name.encode()): group for name, group, k in copies if k == kind}
        tied = table[table["sha256"].isin(group_of)]
        assert tied.groupby(tied["sha256"].map(group_of))["subset"].nunique().max() == 1
    chain = {sha256_of_bytes(str(i).encode()) for i in range(20)}
    assert len(set(table[table["sha256"].isin(chain)]["subset"])) == 1
    assert result.n_duplicates_kept_together == 100


def test_one_huge_patient_is_said(store: ArtifactStore) -> None:
    """Where a patient holds a third of all images no fraction can be met, and a note says so."""
    y = [0] * 50 + [i % 2 for i in range(100)]
    patients = ["huge"] * 50 + [f"p{i // 4}" for i in range(100)]

    result = split(manifest_of(store, y, patients=patients), SplitConfig(), seed=0, store=store)

    assert all(summary.class_counts[0] > 0 and summary.class_counts[1] > 0 for summary in result.subsets)
    assert any("patients have images of both classes" in note for note in result.notes)


def test_missed_target_is_said(store: ArtifactStore) -> None:
    """Six patients of 20 images: fractions come in steps of a sixth."""
    y = [int(i // 20 >= 3) for i in range(120)]

    result = split(
        manifest_of(store, y, patients=[f"p{i // 20}" for i in range(120)]),
        SplitConfig(test_fraction=0.4, validation_fraction=0.5),
        seed=0,
        store=store,
    )

    assert [s.n_images for s in result.subsets] == [40, 40, 40]
    assert result.notes == tuple(
        f"The {subset} subset holds 33.3% of the images where {asked} was asked for: "
        "groups that stay together allow no closer fit."
        for subset, asked in (("train", "30.0%"), ("val", "30.0%"), ("test", "40.0%"))
    )


@pytest.mark.parametrize(
    ("y", "patients", "message"),
    [
        pytest.param(
            [0] * 50 + [1] * 2, None, "'cancer' has 2 different images; at least 3", id="two images"
        ),
        pytest.param(
            [0] * 50 + [1] * 50,
            [f"p{i}" for i in range(50)] + [f"q{i // 25}" for i in range(50)],
            "'cancer' has 2 patients; at least 3",
            id="two patients",
        ),
        pytest.param(
            [0] * 97 + [1] * 3,
            None,
            r"would hold no image of class 'cancer', of which there are \d+ in all\. Add images of that "
            r"class, or raise split\.validation_fraction",
            id="no positive in validation",
        ),
        pytest.param(
            [0] * 97 + [1] * 3,
            [f"p{i}" for i in range(100)],
            "Add patients of that class",
            id="no positive patient in validation",
        ),
    ],
)
def test_too_little_data(
    store: ArtifactStore, y: list[int], patients: list[str] | None, message: str
) -> None:
    """A subset without a class is refused with the remedy."""
    with pytest.raises(DataError, match=message):
        split(manifest_of(store, y, patients=patients), SplitConfig(), seed=0, store=store)


@pytest.mark.parametrize("key", ["patient_id", "sha256", "near-duplicate"])
def test_torn_group_is_an_error(key: str) -> None:
    """The check after the fact does find what is in two subsets, whatever it belongs together by."""
    table = pd.DataFrame({key: ["a", "a", "b"], "subset": ["train", "test", "val"]})

    with pytest.raises(MedcompareError, match=rf"separated .*\({key}: 1 values in two subsets\)"):
        splitting._verified(table, [table[key]])


def test_every_patient_has_both_classes(store: ArtifactStore) -> None:
    """One stratum only is no problem."""
    y = [0, 1, 0] * 40

    result = split(
        manifest_of(store, y, patients=[f"p{i // 3}" for i in range(120)]), SplitConfig(), seed=0, store=store
    )

    assert [s.n_patients for s in result.subsets] == [28, 4, 8]


@pytest.mark.slow
def test_large_data_set_is_quick(store: ArtifactStore) -> None:
    """A hundred thousand images of twenty thousand patients within half a minute."""
    n = 100_000
    manifest = manifest_of(
        store, [int(i % 50 < 5) for i in range(n)], patients=[f"p{i // 5}" for i in range(n)]
    )

    result = split(manifest, SplitConfig(), seed=0, store=store)

    assert [s.positive_fraction for s in result.subsets] == pytest.approx([0.1] * 3, abs=0.002)


def test_isic_patients(store: ArtifactStore) -> None:
    """Real patients with both classes, 39 of 601 images positive: grouped, and balanced all the same."""
    place = REAL_DATA / "isic2020-patients" / "manifest.csv"
    if not place.is_file():
        pytest.skip("the public data set isic2020-patients is not here")
    data = DataConfig(source=str(place))
    manifest = ingest(resolve_source(data, demo_root=place.parent), data, store)

    result = split(manifest, SplitConfig(), seed=0, store=store)

    assert (manifest.n_images, manifest.class_counts, manifest.n_patients) == (601, (562, 39), 130)
    table = pd.read_csv(io.BytesIO(store.read(result.assignments)))
    assert table.groupby("patient_id")["subset"].nunique().max() == 1
    assert [s.class_counts[1] for s in result.subsets] == [27, 4, 8]
    for summary in result.subsets:
        assert summary.fraction == pytest.approx(summary.target_fraction, abs=0.01)


def at_three_sites(store: ArtifactStore, *, travels: bool = False) -> DatasetManifest:
    """60 patients of two images at the sites A, B and C; one of B was seen at A as well."""
    sites = ["ABC"[i // 2 % 3] for i in range(120)]
    sites[3] = "A" if travels else sites[3]
    y = [i // 2 // 3 % 2 for i in range(120)]
    return manifest_of(store, y, patients=[f"P{i // 2}" for i in range(120)], sites=sites)


def test_a_site_is_held_out(store: ArtifactStore) -> None:
    """All its images, and no other, are the test; validation is drawn from the others by patient."""
    parted = split(at_three_sites(store), SplitConfig(hold_out="site=B,C"), seed=0, store=store)
    table = read_assignments(parted, store)

    counts = pd.crosstab(table["site"], table["subset"])[["test", "train", "val"]]
    assert counts.to_numpy().tolist() == [[0, 36, 4], [40, 0, 0], [40, 0, 0]]
    assert table.groupby("patient_id")["subset"].nunique().max() == 1
    assert parted.method.startswith("All images with site=B,C are held out for the test; validation images")


def test_a_patient_of_two_sites_is_refused_or_removed_from_training(store: ArtifactStore) -> None:
    """By default with both ways on; with `leaks` the image of site A goes, and the note names it by case."""
    manifest = at_three_sites(store, travels=True)

    with pytest.raises(
        DataError, match=r"images of the split by site=B \(1 training\) are .* split\.leaks=remove; or hold"
    ):
        split(manifest, SplitConfig(hold_out="site=B"), seed=0, store=store)
    parted = split(manifest, SplitConfig(hold_out="site=B", leaks="remove"), seed=0, store=store)

    table = read_assignments(parted, store)
    assert len(table) == 119
    assert set(table.loc[table["site"] == "B", "subset"]) == {"test"}
    assert "case-3." in parted.notes[0]


def test_a_subset_without_a_class_says_what_was_removed(store: ArtifactStore) -> None:
    """All positive patients were at both sites: none of their 20 images is left to train on."""
    y = [int(i < 40) for i in range(80)]
    sites = ["AB"[i % 2] if i < 40 else "AAAB"[i // 2 % 4] for i in range(80)]
    manifest = manifest_of(store, y, patients=[f"P{i // 2}" for i in range(80)], sites=sites)

    with pytest.raises(DataError, match=r"too few .* after 20 that share a patient .* hold out other"):
        split(manifest, SplitConfig(hold_out="site=B", leaks="remove"), seed=0, store=store)


@pytest.mark.parametrize(
    ("hold_out", "message"),
    [
        ("site=D", r"no image has site=D; values there are: A \(40\), B \(40\), C \(40\)"),
        ("site=A,B,C", "too few"),
    ],
)
def test_a_wrong_value_is_refused(hold_out: str, message: str, store: ArtifactStore) -> None:
    """With those that there are."""
    with pytest.raises(DataError, match=message):
        split(at_three_sites(store), SplitConfig(hold_out=hold_out), seed=0, store=store)


def test_a_value_with_a_comma_is_one_value(store: ArtifactStore) -> None:
    """Where the data has it."""
    sites = ["York, UK" if i % 3 else "Lyon" for i in range(60)]
    manifest = manifest_of(store, [i // 3 % 2 for i in range(60)], sites=sites)

    table = read_assignments(
        split(manifest, SplitConfig(hold_out="site=York, UK"), seed=0, store=store), store
    )

    assert (table["subset"] == "test").sum() == 40


def test_two_ways_to_name_the_test_images_are_refused() -> None:
    """A published split that is kept has its own."""
    with pytest.raises(ValueError, match="choose one of the two"):
        SplitConfig(hold_out="site=B", published="keep")


def cohort(n_patients: int, *, seed: int, rare: int = 0) -> dict[str, list[str]]:
    """Labels, patients and sites of patients with one to six images; the class goes with the site."""
    rng = np.random.default_rng(seed)
    found: dict[str, list[str]] = {"y": [], "patients": [], "sites": []}
    for patient in range(n_patients):
        site = "rare" if patient < rare else "ABC"[int(rng.choice(3, p=[0.6, 0.3, 0.1]))]
        label = int(rng.random() < {"A": 0.3, "B": 0.6}.get(site, 0.5))
        for _ in range(rng.integers(1, 7)):
            found["y"].append(label)
            found["patients"].append(f"p{patient}")
            found["sites"].append(site)
    return found


def off_by_site(table: pd.DataFrame) -> float:
    """Largest distance of the share of a site within a class of the test subset from 20 %."""
    is_test = (table["subset"] == "test").groupby([table["label"], table["site"]]).mean()
    return float((is_test - 0.2).abs().max())


def test_a_column_is_spread_evenly(store: ArtifactStore) -> None:
    """Site and class together are nearer to their shares than by class alone, in each of four draws of patients."""
    by_class, by_both = [], []
    for seed in range(4):
        manifest = manifest_of(store, **cohort(200, seed=seed))
        for config, off in ((SplitConfig(), by_class), (SplitConfig(stratify_by="site"), by_both)):
            found = split(manifest, config, seed=seed, store=store)
            off.append(off_by_site(read_assignments(found, store)))
            assert found.stratified_by == config.stratify_by

    assert max(by_both) < 0.1
    assert np.mean(by_both) < np.mean(by_class) / 3


def test_how_well_a_column_was_spread_is_said(store: ArtifactStore) -> None:
    """The range over groups of class and site, in the table as it is; what is too rare is named."""
    manifest = manifest_of(store, **cohort(200, seed=1, rare=2))

    found = split(manifest, SplitConfig(stratify_by="site"), seed=0, store=store)

    assert "stratified by class and site" in found.method
    table = read_assignments(found, store)
    table = table[table["site"] != "rare"]
    is_test = (table["subset"] == "test").groupby([table["label"], table["site"]]).mean()
    [note] = [one for one in found.notes if one.startswith("Stratified by site")]
    assert "of the images of each of 6 groups of class and site" in note
    assert f"{is_test.min():.1%} to {is_test.max():.1%} are for the test (20.0% asked for)" in note
    assert "Groups of fewer than 3 patients cannot be in every subset: " in note
    assert "site rare (" in note


def test_many_numbers_are_cut_at_their_quartiles(store: ArtifactStore) -> None:
    """Ages of patients: four ranges for each class."""
    data = cohort(120, seed=2)
    ages = [str(20 + int(patient[1:]) % 60) for patient in data["patients"]]
    manifest = manifest_of(store, data["y"], patients=data["patients"], sites=ages)

    found = split(manifest, SplitConfig(stratify_by="site"), seed=0, store=store)

    assert "each of 8 groups of class and site" in found.notes[0]


def test_a_column_of_names_is_refused(store: ArtifactStore) -> None:
    """Nothing can be spread where every patient has a value of its own."""
    data = cohort(60, seed=3)
    manifest = manifest_of(
        store, data["y"], patients=data["patients"], sites=[f"x{p}" for p in data["patients"]]
    )

    with pytest.raises(DataError, match=r"60 values of 'site', none of them of 3 patients of a class"):
        split(manifest, SplitConfig(stratify_by="site"), seed=0, store=store)


def test_a_held_out_site_leaves_the_validation_to_be_stratified(store: ArtifactStore) -> None:
    """The test images are those of the site; the others are spread by another column, or the same."""
    manifest = manifest_of(store, **cohort(200, seed=4))

    found = split(manifest, SplitConfig(hold_out="site=B", stratify_by="site"), seed=0, store=store)

    table = read_assignments(found, store)
    rest = table[table["subset"] != "test"]
    share = (rest["subset"] == "val").groupby([rest["label"], rest["site"]]).mean()
    of_large = share[rest.groupby([rest["label"], rest["site"]])["patient_id"].nunique() >= 8]
    assert len(of_large) >= 2
    assert (of_large - 0.125).abs().max() < 0.03


def test_a_careless_split_has_the_same_sizes_and_separates_patients(store: ArtifactStore) -> None:
    """As many images of each class in each subset; the images whose patient is on both sides are counted."""
    manifest = manifest_of(store, **cohort(80, seed=5))
    partition = split(manifest, SplitConfig(), seed=0, store=store)

    found = random_split(partition, manifest, seed=0, store=store)

    assert found is not None
    careless, n_leaked = found
    assert [one.class_counts for one in careless.subsets] == [one.class_counts for one in partition.subsets]
    assert careless.assignments != partition.assignments
    assert careless.disjoint == ()
    table = read_assignments(careless, store)
    is_test = table["subset"] == "test"
    assert (
        n_leaked == table.loc[is_test, "patient_id"].isin(set(table.loc[~is_test, "patient_id"])).sum() > 20
    )
    assert random_split(partition, manifest, seed=0, store=store) == found
    again = random_split(partition, manifest, seed=1, store=store)
    assert again is not None
    assert again[0].assignments != careless.assignments


def test_without_groups_there_is_no_careless_split(store: ArtifactStore) -> None:
    """Each image stands for itself: a random split would be just another one."""
    manifest = manifest_of(store, [0, 1] * 40)

    assert (
        random_split(split(manifest, SplitConfig(), seed=0, store=store), manifest, seed=0, store=store)
        is None
    )
