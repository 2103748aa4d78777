"""What the network is given without torch is what it is given with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from medcompare.handover.preprocessing import centre_crop
from medcompare.handover.records import Preprocessing
from medcompare.training.transforms import evaluation_crop

if TYPE_CHECKING:
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
