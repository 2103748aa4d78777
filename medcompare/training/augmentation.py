"""Random changes of training images, as a list: each step has the drawing of its own numbers.

Numbers come from a stream that belongs to the image and the epoch (`random_stream`), so neither
loading processes nor resuming change them. A new step goes at the end of the list: the numbers
of those before it stay as they are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from medcompare.training.transforms import resized

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from medcompare.config.schema import TrainConfig
    from medcompare.models.spec import Interpolation

ASPECT_RATIOS = (3 / 4, 4 / 3)
CROP_TRIES = 10
FLIP_PROBABILITY = 0.5


class Augmentation(Protocol):
    """One step. Loading processes get a copy of it, so it is pickled."""

    def __call__(self, image: Tensor, rng: np.random.Generator) -> Tensor:
        """`image` (3, height, width), uint8, changed by numbers of `rng` alone."""
        ...


def augmentations(
    train: TrainConfig, size_px: int, interpolation: Interpolation = "bilinear"
) -> tuple[Augmentation, ...]:
    """Steps for every training image, in this order; the result is a square of `size_px` pixels."""
    return (RandomResizedCrop(size_px, train.crop_scale_min, interpolation), RandomHorizontalFlip())


class Crop(NamedTuple):
    """Part of an image, pixels."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True)
class RandomResizedCrop:
    """As torchvision's: area uniform in [scale_min, 1] of the image's, aspect ratio log-uniform in [3/4, 4/3]."""

    size_px: int
    scale_min: float
    interpolation: Interpolation = "bilinear"

    def draw(self, height: int, width: int, rng: np.random.Generator) -> Crop:
        """Draw a part; after ten misses the largest centred one with an admissible aspect ratio."""
        draws = rng.random((CROP_TRIES, 4))
        log_low, log_high = (math.log(ratio) for ratio in ASPECT_RATIOS)
        for u_area, u_ratio, u_top, u_left in draws.tolist():
            area = height * width * (self.scale_min + (1 - self.scale_min) * u_area)
            ratio = math.exp(log_low + (log_high - log_low) * u_ratio)
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < w <= width and 0 < h <= height:
                return Crop(int(u_top * (height - h + 1)), int(u_left * (width - w + 1)), h, w)
        low, high = ASPECT_RATIOS
        h, w = height, width
        if width / height < low:
            h = round(width / low)
        elif width / height > high:
            w = round(height * high)
        return Crop((height - h) // 2, (width - w) // 2, h, w)

    def __call__(self, image: Tensor, rng: np.random.Generator) -> Tensor:
        """A random part of `image`, resized to a square."""
        crop = self.draw(image.shape[1], image.shape[2], rng)
        part = image[:, crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]
        return resized(part, self.size_px, self.size_px, self.interpolation)


@dataclass(frozen=True)
class RandomHorizontalFlip:
    """Mirror left and right, half of the time."""

    probability: float = FLIP_PROBABILITY

    def __call__(self, image: Tensor, rng: np.random.Generator) -> Tensor:
        """`image`, mirrored or not."""
        return image.flip(-1) if rng.random() < self.probability else image
