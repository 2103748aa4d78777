"""What the network is given without torch is what it is given with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from medcompare.data.decoding import decode_rgb
from medcompare.data.validation import usable_pixels
from medcompare.handover.images import load_image
from medcompare.handover.preprocessing import centre_crop
from medcompare.handover.records import Preprocessing
from medcompare.training.transforms import evaluation_crop
from tests.data.test_intensity import colours
from tests.data.test_validation import encoded

if TYPE_CHECKING:
    from pathlib import Path

    from medcompare.models.spec import Interpolation


def preprocessing(**changes: object) -> Preprocessing:
    """For images of 8 bits, 32 pixels."""
    values = {
        "resize_px": 37,
        "size_px": 32,
        "interpolation": "bilinear",
        "grey_range": None,
        "deep_images": "refused",
        "min_side_px": 32,
        "max_file_mb": 400,
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
        "log_class_weights": (0.0, 0.0),
    }
    return Preprocessing.model_validate(values | changes)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_crops_are_those_of_the_training(mode: Interpolation) -> None:
    """Of 60 sizes, larger and smaller, wide and tall: at most one pixel in 10,000 differs, by one grey level."""
    rng = np.random.default_rng(1)
    n_different = n_pixels = 0
    for height, width, resize in zip(
        rng.integers(20, 300, 60), rng.integers(20, 300, 60), rng.integers(33, 90, 60), strict=True
    ):
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        how = preprocessing(resize_px=int(resize), interpolation=mode)
        image = torch.from_numpy(pixels).permute(2, 0, 1)
        expected = evaluation_crop(image, resize_px=int(resize), size_px=32, mode=mode).numpy()
        apart = np.abs(centre_crop(pixels, how).astype(int) - expected)
        assert apart.max() <= 1
        n_different += int((apart > 0).sum())
        n_pixels += apart.size

    assert n_different <= n_pixels / 10_000


def test_an_image_of_the_right_size_is_cut_only() -> None:
    """No resizing, so that every value is one of the image."""
    pixels = np.arange(37 * 37 * 3, dtype=np.int64).astype(np.uint8).reshape(37, 37, 3)

    # round(2.5) is 2, as in training.
    assert np.array_equal(centre_crop(pixels, preprocessing()), pixels[2:34, 2:34].transpose(2, 0, 1))


@pytest.mark.parametrize("deep", ["refused", "range", "type"])
def test_dark_colours_of_16_bits_are_scored_where_they_were_trained_on(deep: str, tmp_path: Path) -> None:
    """With ``data.intensity_range=full``, by their upper 8 bits; otherwise refused, as in training."""
    values = np.random.default_rng(1).integers(0, 4096, (37, 37, 3))
    (tmp_path / "a.png").write_bytes(colours(values))

    found = load_image(tmp_path / "a.png", preprocessing(deep_images=deep, grey_range=(0.0, 4095.0)))

    if deep == "type":
        assert found.crop is not None
        np.testing.assert_array_equal(found.crop, (values >> 8)[2:34, 2:34].transpose(2, 0, 1))
    else:
        assert found.why_not.startswith("values without a range: 16 bits per channel")


@pytest.mark.parametrize(
    ("mode", "form", "options"),
    [
        ("RGB", "PNG", {}),
        ("RGB", "JPEG", {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"}),
        ("CMYK", "JPEG", {}),
        ("I;16", "PNG", {}),
        ("P", "PNG", {}),
        ("RGBA", "PNG", {}),
    ],
    ids=["RGB", "turned", "CMYK", "16 bits", "palette", "transparent"],
)
def test_what_is_checked_is_what_is_decoded(mode: str, form: str, options: dict[str, object]) -> None:
    """An image is decoded once, and has the pixels that the trainings decode."""
    content = encoded(mode, form=form, **options)

    found, pixels = usable_pixels(
        content, min_side_px=32, intensity_range="auto", grey_range=(100.0, 60_000.0)
    )

    assert found.reason is None
    assert pixels is not None
    np.testing.assert_array_equal(pixels, decode_rgb(content, name="", grey_range=(100.0, 60_000.0)))
    assert pixels.shape == ((40, 50, 3) if "exif" in options else (50, 40, 3))
