"""Splits of random data sets: nothing in two subsets, nothing lost, and names decide nothing."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from PIL import Image

from medcompare.base.artifacts import ArtifactStore
from medcompare.base.errors import DataError
from medcompare.config.data import DataConfig, SplitConfig
from medcompare.data import draw
from medcompare.data.manifest import ingest
from medcompare.data.sources.resolve import resolve_source
from medcompare.data.split import TOLERANCE, split
from tests.data.test_split import manifest_of, read_assignments

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from medcompare.data.records import DatasetSplit


@pytest.fixture(scope="module", autouse=True)
def _few_draws() -> Iterator[None]:
    """50 draws of a grouped split in place of 1,000, which only come closer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(draw, "DRAW_BUDGET", 0)
        yield


QUICK = settings(max_examples=40, deadline=None, derandomize=True)
FRACTIONS = st.tuples(st.sampled_from([0.1, 0.2, 0.35, 0.6]), st.sampled_from([0.125, 0.3, 0.5]))


@dataclass(frozen=True, kw_only=True)
class Images:
    """What is known of each image, in any order."""

    y: list[int]
    patients: list[str] | None
    pixels: list[str]
    """The same name: the same pixels."""
    content: list[str]
    """The same name: the same bytes."""
    looks: list[str]
    """The same name: near-duplicates."""
    sites: list[str]
    """Of any number of values, rare ones among them."""

    def units(self) -> list[int]:
        """Unit of each image: whoever shares a patient, pixels or bytes, directly or through others."""
        units, before = list(range(len(self.y))), []
        while units != before:
            before = units
            for key in (self.looks, self.pixels, self.content, self.patients or self.content):
                first: dict[str, int] = {}
                for name, unit in zip(key, units, strict=True):
                    first[name] = min(unit, first.get(name, unit))
                units = [first[name] for name in key]
        return units


@st.composite
def data_sets(draw: st.DrawFn, *, n_patients: tuple[int, int] = (15, 60)) -> Images:
    """Patients of one to many images, of one class or both; copies within and across them."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    most, mixed = draw(st.sampled_from([1, 2, 8])), draw(st.booleans())
    copied = draw(st.sampled_from([0.0, 0.05, 0.2]))
    images: list[tuple[int, str, str, str, str]] = []
    for patient in range(draw(st.integers(*n_patients))):
        label = int(rng.random() < 0.4)
        for _ in range(rng.integers(1, most + 1)):
            new = f"{len(images)}"
            if images and rng.random() < copied:
                y, _, pixels, content, looks = images[rng.integers(len(images))]
                of_kind = ((pixels, content), (pixels, f"{pixels} again"), (new, new))[rng.integers(3)]
                images.append((y, f"p{patient}", *of_kind, looks))
            else:
                y = int(rng.random() < 0.5) if mixed else label
                images.append((y, f"p{patient}", new, new, new))
    known = draw(st.booleans())
    n_sites = draw(st.sampled_from([1, 2, 5, 12]))
    return Images(
        y=[image[0] for image in images],
        patients=[image[1] for image in images] if known else None,
        pixels=[image[2] for image in images],
        content=[image[3] for image in images],
        looks=[image[4] for image in images],
        sites=[f"{int(rng.geometric(0.5)) % n_sites}" for _ in images],
    )


def partition(
    images: Images, fractions: tuple[float, float], store: ArtifactStore, by: str | None = None
) -> tuple[DatasetSplit, pd.DataFrame]:
    """The split and its table, ordered as `images`; a data set that is too small is another test's matter."""
    config = SplitConfig(test_fraction=fractions[0], validation_fraction=fractions[1], stratify_by=by)
    manifest = manifest_of(
        store,
        images.y,
        patients=images.patients,
        content=images.content,
        sites=images.sites,
        copies=[
            (content, group, kind)
            for kind, groups in (("same pixels", images.pixels), ("near-duplicate", images.looks))
            for content, group in dict(zip(images.content, groups, strict=True)).items()
        ],
    )
    try:
        result = split(manifest, config, seed=7, store=store)
    except DataError:
        reject()
    table = read_assignments(result, store).set_index("case_id")
    assert sorted(table.index) == sorted(f"case-{i}" for i in range(len(images.y)))  # each once
    return result, table.loc[[f"case-{i}" for i in range(len(images.y))]]


@QUICK
@given(data_sets(), FRACTIONS, st.sampled_from([None, "site"]))
def test_nothing_stands_in_two_subsets(
    tmp_path_factory: pytest.TempPathFactory, images: Images, fractions: tuple[float, float], by: str | None
) -> None:
    """Patients, bytes, pixels and near-duplicates on one side each; every image in one subset; counts that add up."""
    result, table = partition(images, fractions, ArtifactStore(tmp_path_factory.getbasetemp()), by)

    for name in ("patients", "content", "pixels", "looks"):
        pairs = set(zip(getattr(images, name) or [], table["subset"], strict=False))
        assert len(pairs) == len({key for key, _ in pairs}), name
    for summary in result.subsets:
        labels = table.loc[table["subset"] == summary.subset, "label"]
        assert summary.class_counts == ((labels == 0).sum(), (labels == 1).sum())
        assert summary.n_images == len(labels)
        assert min(summary.class_counts) > 0
    assert sum(summary.n_images for summary in result.subsets) == len(images.y)


@QUICK
@given(data_sets(), FRACTIONS)
def test_fractions_are_as_close_as_groups_allow(
    tmp_path_factory: pytest.TempPathFactory, images: Images, fractions: tuple[float, float]
) -> None:
    """In units to the nearest; in images no further off than the largest unit; classes alike; every miss is said."""
    result, table = partition(images, fractions, ArtifactStore(tmp_path_factory.getbasetemp()))
    units = np.array(images.units())
    _, sizes = np.unique(units, return_counts=True)
    n_test, n_val = (len(set(units[table["subset"] == subset])) for subset in ("test", "val"))

    for summary in result.subsets:
        off = abs(summary.fraction - summary.target_fraction)
        said = any(note.startswith(f"The {summary.subset} subset holds") for note in result.notes)
        assert said == (off > TOLERANCE)
    for n, wanted in ((n_test, fractions[0] * len(sizes)), (n_val, fractions[1] * (len(sizes) - n_test))):
        assert abs(n - wanted) <= 0.5 or n in (2, 3)  # one of each class, and of patients with both
    if min(n_test, n_val) <= 3:
        return
    for summary in result.subsets:
        assert abs(summary.n_images - summary.target_fraction * len(units)) <= sizes.max() + 1
        for label in (0, 1) if sizes.max() == 1 else ():
            wanted = summary.target_fraction * images.y.count(label)
            assert abs(summary.class_counts[label] - wanted) < 2


@cache
def picture(name: str) -> bytes:
    """Noise of its own for every name; ``again``: the same pixels in other bytes."""
    seed, _, again = name.partition(" ")
    pixels = np.random.default_rng(int(seed)).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG", compress_level=9 if again else 1)
    return file.getvalue()


@settings(QUICK, max_examples=10)
@given(data_sets(n_patients=(15, 25)), st.integers(0, 2**32 - 1))
def test_names_and_rows_decide_nothing(
    tmp_path_factory: pytest.TempPathFactory, images: Images, seed: int
) -> None:
    """Other names of files, folders and patients, other order of the rows: the same subset for the same content."""
    sides = []
    for order, letter in (
        (np.arange(len(images.y)), "a"),
        (np.random.default_rng(seed).permutation(len(images.y)), "b"),
    ):
        folder = tmp_path_factory.mktemp("renamed")
        with (folder / "table.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["path", "label", "patient_id"][: 2 + bool(images.patients)])
            for n, i in enumerate(order):
                name = f"{letter}{n:03}.png" if letter == "a" else f"{n % 3}/{letter}{n:03}.png"
                (folder / name).parent.mkdir(exist_ok=True)
                (folder / name).write_bytes(picture(images.content[i]))
                patient = [images.patients[i][:: 1 if letter == "a" else -1]] if images.patients else []
                rows.writerow([name, ("benign", "cancer")[images.y[i]], *patient])
        data, store = DataConfig(source=str(folder / "table.csv")), ArtifactStore(folder / "store")
        try:
            manifest = ingest(resolve_source(data, demo_root=folder), data, store)
            table = read_assignments(split(manifest, SplitConfig(), seed=7, store=store), store)
        except DataError:
            reject()
        assert len(table) == len(images.y)
        sides.append(sorted(zip(table["sha256"], table["subset"], strict=True)))
    assert sides[0] == sides[1]
