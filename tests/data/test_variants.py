"""Augmented copies by name: proposed by stems, confirmed in pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from medcompare.base.artifacts import ArtifactStore
from medcompare.config.data import DataConfig, SplitConfig
from medcompare.data.manifest import ingest
from medcompare.data.sources.resolve import resolve_source
from medcompare.data.split import split
from medcompare.data.variants import stem_of, variant_groups
from tests.data.test_copies import picture, saved
from tests.data.test_split import read_assignments

if TYPE_CHECKING:
    from pathlib import Path

    from medcompare.data.records import DatasetManifest


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("aug_Y1_0_4711.jpg", "y1"),
        ("aug_N12_0_1.jpg", "n12"),
        ("augmented-X.png", "x"),
        ("X_transformed_7_.png", "x"),
        ("X_flipped.png", "x"),
        ("X_hflip_rot90.png", "x"),
        ("img 3 (1).png", "img 3"),
        ("img 3 - Copy (2).png", "img 3"),
        ("X_copy.png", "x"),
        ("X_rotated_15.png", "x"),
    ],
)
def test_names_of_variants(name: str, stem: str) -> None:
    """The stem is what stays without the words of augmentation."""
    assert stem_of(f"yes/{name}") == (stem, True)


@pytest.mark.parametrize(
    "name", ["IMG_0001.png", "carrot.png", "patient03_slice07.png", "OSCC_400x_12.jpg", "august_1.png"]
)
def test_other_names(name: str) -> None:
    """Numbers and words that only resemble are left alone."""
    assert stem_of(name) == (name.split(".", maxsplit=1)[0].lower(), False)


def test_groups_have_a_variant_and_few_files() -> None:
    """The original comes first; numbered files without an end are images of their own."""
    paths = ["b/X_flip.png", "a/X.png", "a/Y.png", "c/Y.jpg", "Z (1).png", "Z (2).png", "Q (1).png", "Q.png"]
    paths += [f"benign ({i}).png" for i in range(101)]

    assert variant_groups(paths) == [[7, 6], [1, 0]]


def varied(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Turned by up to 12 degrees, the border cut off, brighter or darker."""
    turned = image.rotate(float(rng.uniform(-12, 12)), resample=Image.Resampling.BILINEAR).crop(
        (12, 12, 116, 116)
    )
    factor = float(rng.uniform(0.8, 1.2))
    return turned.point(lambda value: value * factor)


def take_in(folder: Path, store: ArtifactStore) -> DatasetManifest:
    """Ingest as it is."""
    data = DataConfig(source=str(folder))
    return ingest(resolve_source(data, demo_root=folder), data, store)


def test_variants_share_a_side(tmp_path: Path) -> None:
    """Twelve pictures of each class in four variants: 96 variants of 24, none on two sides."""
    rng = np.random.default_rng(3)
    for i in range(24):
        place = tmp_path / "set" / ("cancer" if i % 2 else "non_cancer")
        place.mkdir(parents=True, exist_ok=True)
        for k in range(4):
            (place / f"aug_P{i}_0_{k}.jpg").write_bytes(saved(varied(picture(i), rng), "JPEG", quality=85))
    store = ArtifactStore(tmp_path / "store")

    manifest = take_in(tmp_path / "set", store)

    assert ("augmented copy", 24, 96) in manifest.copies_by_kind
    assert any(
        sentence.startswith("Variants by their names: 96, of images: 24; confirmed in the pixels of 7")
        for sentence in manifest.warnings
    )
    table = read_assignments(split(manifest, SplitConfig(), seed=1, store=store), store)
    stems = table["path"].str.extract(r"(P\d+)_")[0]
    assert table.groupby(stems)["subset"].nunique().max() == 1


def test_names_alone_are_not_enough(tmp_path: Path) -> None:
    """Different pictures called like variants are no copies, but the one pair among them that is stays together."""
    for i in range(24):
        place = tmp_path / "set" / ("cancer" if i % 2 else "non_cancer")
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{i // 4}_rot{i}.png").write_bytes(saved(picture(i)))
    rotated = picture(0).rotate(9, resample=Image.Resampling.BICUBIC)
    (tmp_path / "set" / "non_cancer" / "0_rot99.png").write_bytes(saved(rotated))

    manifest = take_in(tmp_path / "set", ArtifactStore(tmp_path / "store"))

    assert manifest.copies_by_kind == (("augmented copy", 1, 2),)
