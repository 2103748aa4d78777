"""What grey levels say: every planted defect is named, and a good picture is not."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image, ImageFilter

from medcompare.base.artifacts import ArtifactStore
from medcompare.base.errors import DataError
from medcompare.config.data import DataConfig
from medcompare.data.manifest import ingest
from medcompare.data.quality import centre_warning, is_named_mask, measure_quality
from medcompare.data.sources.resolve import resolve_source
from medcompare.data.tables import read_rejected
from medcompare.data.validation import image_warnings, measure_image
from tests.data.test_copies import picture, saved

if TYPE_CHECKING:
    from pathlib import Path

    from medcompare.data.records import DatasetManifest


def crisp(seed: int, size: int = 128) -> Image.Image:
    """A picture with detail down to single pixels."""
    noise = np.random.default_rng(seed).normal(0, 12, (size, size, 3))
    return Image.fromarray(np.clip(np.asarray(picture(seed, size)) + noise, 0, 255).astype(np.uint8))


def mask(size: int = 64) -> Image.Image:
    """A white square on black."""
    levels = np.zeros((size, size), np.uint8)
    levels[size // 3 : size // 2, size // 4 : size // 2] = 255
    return Image.fromarray(levels)


def flat(level: float, seed: int = 0) -> Image.Image:
    """A field of one level with the noise of a sensor."""
    noise = np.random.default_rng(seed).normal(level, 1.5, (64, 64))
    return Image.fromarray(np.clip(noise, 0, 255).astype(np.uint8))


@pytest.mark.parametrize(
    ("image", "phrase"),
    [
        pytest.param(flat(128), "with almost no contrast", id="empty field"),
        pytest.param(crisp(1).point(lambda v: v * 0.3), "underexposed", id="dark"),
        pytest.param(crisp(1).point(lambda v: 240 + v * 0.08), "overexposed", id="bright"),
        pytest.param(crisp(1).filter(ImageFilter.GaussianBlur(4)), "blurred", id="out of focus"),
        pytest.param(crisp(1).crop((0, 0, 128, 40)), "with one side more than 2.9 times", id="strip"),
        pytest.param(mask(), "of two grey levels only", id="mask"),
        pytest.param(
            mask().resize((200, 200), Image.Resampling.BICUBIC), "of two grey levels only", id="resized mask"
        ),
        pytest.param(mask().convert("1"), "of two grey levels only", id="mask of one bit"),
    ],
)
@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_planted_defects_are_named(image: Image.Image, phrase: str, form: str) -> None:
    """One phrase each, whether stored without or with loss."""
    if form == "JPEG":
        image = image.convert("L")

    found = image_warnings(measure_image(saved(image, form, **({"quality": 95} if form == "JPEG" else {}))))

    assert len(found) == 1
    assert found[0].startswith(phrase)


@pytest.mark.parametrize("seed", range(8))
def test_good_pictures_are_not_named(seed: int) -> None:
    """Neither as they are, nor compressed, nor at half the size."""
    for image in (crisp(seed), crisp(seed).resize((64, 64))):
        for form in ("PNG", "JPEG"):
            assert image_warnings(measure_image(saved(image, form))) == ()


def test_figures_are_those_of_numpy() -> None:
    """Spread and percentiles are taken from the histogram."""
    grey = picture(2).convert("L")
    levels = np.asarray(grey)

    found = measure_quality(grey)

    assert found.spread == pytest.approx(levels.std())
    assert abs(found.percentile_5 - np.percentile(levels, 5)) <= 1
    assert abs(found.percentile_99 - np.percentile(levels, 99)) <= 1
    assert found.n_levels == 0


@pytest.mark.parametrize(
    ("path", "image", "expected"),
    [
        ("benign/benign (1)_mask.png", mask(), True),
        ("benign/benign (1)_mask_1.png", mask(), True),
        ("benign/a_segmentation.png", mask(), True),
        ("benign/masks/a.png", mask(), True),
        ("benign/a_mask.png", Image.new("L", (40, 40)), True),
        ("benign/a_mask.png", picture(1).convert("L"), False),
        ("benign/a.png", mask(), False),
        ("benign/damask.png", mask(), False),
        ("unmasked/a.png", mask(), False),
    ],
)
def test_a_mask_has_the_name_and_the_levels(path: str, image: Image.Image, expected: bool) -> None:  # noqa: FBT001
    """Either alone is not enough to exclude a file."""
    assert is_named_mask(path, measure_quality(image)) == expected


def test_centre_squares() -> None:
    """Said with the count and the worst case."""
    assert centre_warning([(100, 100), (150, 100)]) == []
    (sentence,) = centre_warning([(100, 100), (160, 100), (100, 400)])
    assert sentence.startswith("2 of 3 images")
    assert "(least: 25%)" in sentence


def take_in(folder: Path, store: ArtifactStore, **changes: object) -> DatasetManifest:
    """Ingest with the usual limits."""
    data = DataConfig.model_validate({"source": str(folder), **changes})
    return ingest(resolve_source(data, demo_root=folder), data, store)


def test_masks_beside_images_are_left_out(tmp_path: Path) -> None:
    """They are counted with their reason, and do not count as damaged files; other damage still does."""
    for i in range(20):
        place = tmp_path / "set" / ("cancer" if i < 10 else "non_cancer")
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{i}.png").write_bytes(saved(crisp(i)))
        (place / f"{i}_mask.png").write_bytes(saved(mask(64 + i).convert("1")))
    (tmp_path / "set" / "cancer" / "drawing.png").write_bytes(saved(mask(90)))
    store = ArtifactStore(tmp_path / "store")

    manifest = take_in(tmp_path / "set", store)

    assert (manifest.n_images, manifest.rejected_by_reason) == (21, (("segmentation mask", 20),))
    assert set(read_rejected(manifest, store)["detail"]) == {"called so, and of one or two grey levels"}
    assert "1 image of two grey levels only, like segmentation masks." in manifest.warnings
    for i in range(2):
        (tmp_path / "set" / "cancer" / f"bad{i}.png").write_bytes(io.BytesIO(b"text").getvalue())
    with pytest.raises(DataError, match=r"2 of 23 files .* cannot be used \(8\.7%"):
        take_in(tmp_path / "set", store)
