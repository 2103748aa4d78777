"""Distances from the training images, against scipy; and what they tell apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import LedoitWolf

from medcompare.handover.likeness import PIXEL_STATISTICS, Space, TrainingImages, pixel_statistics

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def test_distances_are_those_of_scipy() -> None:
    """To the nearer class mean, in the pooled covariance of Ledoit and Wolf."""
    rng = np.random.default_rng(3)
    labels = np.repeat([0, 1], [30, 50])
    features = rng.normal(size=(80, 6)) @ rng.normal(size=(6, 6)) + 4 * labels[:, None]
    means = [features[labels == label].mean(axis=0) for label in (0, 1)]
    covariance = LedoitWolf(assume_centered=True).fit(features - np.stack(means)[labels]).covariance_
    inverse, new = np.linalg.inv(covariance), rng.normal(size=(5, 6), scale=9)

    found = Space.fitted(features, labels).distances(new)

    expected = [min(mahalanobis(one, mean, inverse) for mean in means) for one in new]
    assert found.tolist() == pytest.approx(expected, rel=1e-4)


def test_features_that_are_all_alike_flag_nothing() -> None:
    """A network that gives every image the same features has no distances."""
    space = Space.fitted(np.ones((8, 3)), np.array([0, 1] * 4))

    assert space.distances(np.ones((2, 3))).tolist() == [0, 0]


def test_statistics_of_pixels_by_hand() -> None:
    """A board of 2 x 2 grey levels, and one of pure red."""
    board = np.tile(np.array([[0, 200], [100, 100]], np.uint8), (3, 1, 1))
    red = np.zeros((3, 2, 2), np.uint8)
    red[0] = 255
    contrast = np.std([0, 200, 100, 100])

    found = pixel_statistics([board, red])

    assert found.shape == (2, len(PIXEL_STATISTICS))
    # Down: |100 - 0| and |100 - 200|; across: |200 - 0| and |100 - 100|.
    assert found[0] == pytest.approx([100, contrast, (100 + 100) / contrast, 1 / 3, 1 / 3], rel=1e-6)
    assert found[1] == pytest.approx([0.299 * 255, 0, 0, 1, 0], abs=1e-4)


def images(rng: np.random.Generator, n: int) -> NDArray[np.uint8]:
    """Crops (n, 3, 24, 24) in one colour, of another brightness each, with a little noise."""
    brightness = rng.normal(1, 0.05, (n, 1, 1, 1))
    tissue = np.array([200.0, 120, 170]).reshape(1, 3, 1, 1) * brightness
    return np.clip(tissue + rng.normal(0, 6, (n, 3, 24, 24)), 0, 255).astype(np.uint8)


@pytest.fixture
def fitted() -> TrainingImages:
    """From 400 images, and 200 for the limits, whose features say only which class it is."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 600)
    features = np.eye(2)[labels] + rng.normal(0, 1e-3, (600, 2))
    pixels = pixel_statistics(images(rng, 600))
    return TrainingImages.fitted(
        (features[:400], pixels[:400]), labels[:400], (features[400:], pixels[400:]), quantile=0.99
    )


def test_noise_negatives_and_other_colours_are_unlike_whatever_the_features_say(
    fitted: TrainingImages, tmp_path: Path
) -> None:
    """Features of a class, as a settled network gives them; the same after reading back."""
    fitted.write(tmp_path / "features.safetensors")
    read = TrainingImages.read(tmp_path / "features.safetensors")
    like = images(np.random.default_rng(1), 1000)
    strange = {
        "noise": np.random.default_rng(2).integers(0, 256, (5, 3, 24, 24), dtype=np.uint8),
        "negative": 255 - like[:5],
        "colours swapped": like[:5, [1, 2, 0]],
        "grey": np.repeat(like[:5, :1], 3, axis=1),
    }
    for name, crops in strange.items():
        far = read.distances(np.eye(2)[[0, 1, 0, 1, 0]], pixel_statistics(crops))
        assert (far > 1).all(), name
    features = np.eye(2)[np.arange(1000) % 2]
    flagged = read.distances(features, pixel_statistics(like)) > 1
    assert flagged.mean() < 0.03


def test_odd_features_are_unlike_whatever_the_pixels_say(fitted: TrainingImages) -> None:
    """And no more than the promised share of the validation images is flagged."""
    pixels = pixel_statistics(images(np.random.default_rng(1), 1))
    assert fitted.distances(np.array([[0.5, 0.5]]), pixels)[0] > 1


@pytest.mark.parametrize("quantile", [0.9, 0.99])
def test_both_limits_together_flag_the_promised_share_of_the_validation_images(quantile: float) -> None:
    """Whatever the two have to do with each other."""
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 2, 1000)
    features, pixels = rng.normal(size=(1000, 4)), rng.normal(size=(1000, 5))
    validation = features[500:], pixels[500:]

    found = TrainingImages.fitted((features[:500], pixels[:500]), labels[:500], validation, quantile=quantile)

    flagged = (found.distances(*validation) > 1).mean()
    assert 0.5 * (1 - quantile) <= flagged <= 1 - quantile


def test_what_differs_where_nothing_did_is_infinitely_far() -> None:
    """Images all alike, in training and in validation."""
    same = np.ones((8, 3)), np.ones((8, 5))

    found = TrainingImages.fitted(same, np.array([0, 1] * 4), same, quantile=0.9)

    assert found.distances(np.ones((1, 3)), np.ones((1, 5))).tolist() == [0]
