"""Crops: the very pixels of torchvision's transforms, from random numbers without hidden state."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from medcompare.config.train import TrainConfig
from medcompare.models.spec import IMAGENET_MEAN, IMAGENET_STD
from medcompare.training.augmentation import RandomHorizontalFlip, RandomResizedCrop, augmentations
from medcompare.training.transforms import (
    evaluation_crop,
    evaluation_resize_px,
    normalised,
    random_stream,
)

SHAPES = [(96, 96), (100, 141), (300, 97), (40, 64)]


def picture(height: int, width: int) -> torch.Tensor:
    """Random pixels in the layout a decoded image has."""
    pixels = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return torch.from_numpy(pixels).permute(2, 0, 1)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_training_crop_is_torchvisions_resized_crop(shape: tuple[int, int]) -> None:
    """Pixel for pixel, mirrored or not, and the two steps draw from one stream."""
    image = picture(*shape)
    crops, flips = steps = augmentations(TrainConfig(crop_scale_min=0.08), 64)
    assert (crops, flips) == (RandomResizedCrop(64, 0.08), RandomHorizontalFlip(0.5))
    for epoch in range(6):
        rng = random_stream(0, 0, epoch, 0)
        crop = RandomResizedCrop(64, 0.08).draw(*shape, rng)
        expected = functional.resized_crop(
            image, crop.top, crop.left, crop.height, crop.width, [64, 64], antialias=True
        )
        expected = functional.horizontal_flip(expected) if rng.random() < 0.5 else expected

        found, rng = image, random_stream(0, 0, epoch, 0)
        for step in steps:
            found = step(found, rng)
        assert torch.equal(found, expected)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("size", "resize"), [(64, 73), (64, 64), (33, 40), (224, 256)])
def test_an_evaluation_crop_is_torchvisions_resize_and_centre_crop(
    shape: tuple[int, int], size: int, resize: int
) -> None:
    """Pixel for pixel, upright and lying, smaller and larger."""
    image = picture(*shape)
    expected = v2.Compose([v2.Resize(resize, antialias=True), v2.CenterCrop(size)])(image)

    assert torch.equal(evaluation_crop(image, resize_px=resize, size_px=size), expected)


def test_normalisation_is_torchvisions() -> None:
    """To the last digit."""
    images = torch.stack([picture(32, 32), picture(33, 32)[:, 1:]])
    steps = [v2.ToDtype(torch.float32, scale=True), v2.Normalize(IMAGENET_MEAN, IMAGENET_STD)]

    assert torch.equal(normalised(images, IMAGENET_MEAN, IMAGENET_STD), v2.Compose(steps)(images))


def test_crops_are_distributed_as_torchvisions() -> None:
    """Two-sample Kolmogorov-Smirnov tests of area, shape and place over 4000 crops each."""
    height, width, scale_min = 120, 160, 0.2
    ours = [
        RandomResizedCrop(64, scale_min).draw(height, width, random_stream(1, 0, 1, index))
        for index in range(4000)
    ]
    torch.manual_seed(0)
    transform = v2.RandomResizedCrop(64, scale=(scale_min, 1.0))
    blank = torch.zeros(3, height, width, dtype=torch.uint8)
    theirs = [transform.make_params([blank]) for _ in range(4000)]

    for name in ("top", "left", "height", "width"):
        test = stats.ks_2samp([getattr(crop, name) for crop in ours], [crop[name] for crop in theirs])
        assert test.pvalue > 1e-3, name
    row, rng = torch.arange(2).reshape(1, 1, 2), random_stream(1, 0, 1, 0)
    flipped = [bool(RandomHorizontalFlip()(row, rng)[0, 0, 0]) for _ in range(4000)]
    assert np.mean(flipped) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(("shape", "expected"), [((400, 20), (27, 20)), ((20, 400), (20, 27))])
def test_a_picture_too_long_for_any_crop_gives_its_centre(
    shape: tuple[int, int], expected: tuple[int, int]
) -> None:
    """As torchvision falls back: the largest admissible part, from the middle."""
    crop = RandomResizedCrop(64, 0.9).draw(*shape, random_stream(0, 0, 1, 1))

    assert (crop.height, crop.width) == expected
    assert (crop.top, crop.left) == ((shape[0] - crop.height) // 2, (shape[1] - crop.width) // 2)


def test_random_numbers_depend_on_nothing_but_their_place() -> None:
    """Seed, stream, epoch and index: each changes them, nothing else does."""
    first = random_stream(1, 0, 2, 3).random(4).tolist()
    np.random.seed(5)  # noqa: NPY002 - the global generator is what must not matter

    assert random_stream(1, 0, 2, 3).random(4).tolist() == first
    others = [(2, 0, 2, 3), (1, 1, 2, 3), (1, 0, 3, 3), (1, 0, 2, 4), (1, 0, 3, 2), (2**31 - 1, 0, 2, 3)]
    drawn = [random_stream(*place).random(4).tolist() for place in others]
    assert first not in drawn
    assert len({tuple(values) for values in drawn}) == len(others)


def test_a_crop_of_the_whole_picture_at_its_own_size_changes_nothing() -> None:
    """No resizing where none is needed."""
    image = picture(64, 64)

    assert torch.equal(RandomResizedCrop(64, 1.0)(image, random_stream(0, 0, 1, 2)), image)


def test_the_shorter_side_follows_the_size() -> None:
    """256 for 224, unless the user says."""
    assert evaluation_resize_px(224, None) == 256
    assert evaluation_resize_px(64, None) == 73
    assert evaluation_resize_px(64, 64) == 64
