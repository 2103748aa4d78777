"""Random changes of training images, as a list: each step has the drawing of its own numbers.

Numbers come from a stream that belongs to the image and the epoch (`random_stream`), so neither
loading processes nor resuming change them. First the crop, then the steps of ``train.augmentation`` in their order:
transforms of torchvision by name, but for the two below, whose numbers come from the stream itself.
"""

from __future__ import annotations

import ast
import difflib
import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch
from torchvision.transforms import v2

from medcompare.base.errors import ConfigError
from medcompare.training.transforms import resized

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from medcompare.config.train import TrainConfig
    from medcompare.models.spec import Interpolation

ASPECT_RATIOS = (3 / 4, 4 / 3)
CROP_TRIES = 10
FLIP_PROBABILITY = 0.5


class Augmentation(Protocol):
    """One step. Loading processes get a copy of it, so it is pickled."""

    def __call__(self, image: Tensor, rng: np.random.Generator) -> Tensor:
        """`image` (3, height, width), uint8, changed by numbers of `rng` alone."""
        ...


@dataclass(frozen=True)
class OfTorchvision:
    """A transform of torchvision v2, as it is written in the configuration: ``RandomRotation(degrees=90)``."""

    written: str

    @cache  # noqa: B019 - a few settings, for the life of the process
    def transform(self) -> v2.Transform:
        """The transform itself.

        Raises
        ------
        ConfigError
            If torchvision has no such transform, or it does not take these arguments.
        """
        try:
            return _transform(self.written)
        except (TypeError, ValueError, SyntaxError, RuntimeError, AttributeError) as error:
            msg = f"train.augmentation: '{self.written}' cannot be used: {error}"
            raise ConfigError(msg) from None

    def __call__(self, image: Tensor, rng: np.random.Generator) -> Tensor:
        """`image` transformed; torch's global generator, which it draws from, is left as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(rng.integers(2**32)))
            changed: Tensor = self.transform()(image)
        return changed


def _transform(written: str) -> v2.Transform:
    """What `written` calls, tried on a small image; literals alone are read, no code is run."""
    call = ast.parse(written, mode="eval").body
    name, positional, named = (
        (call.func, call.args, call.keywords) if isinstance(call, ast.Call) else (call, [], [])
    )
    kind = getattr(v2, name.id if isinstance(name, ast.Name) else "", None)
    if not (isinstance(kind, type) and issubclass(kind, v2.Transform)):
        near = difflib.get_close_matches(written.partition("(")[0], dir(v2), n=1)
        msg = f"torchvision v2 has no such transform{f'; did you mean {near[0]}?' if near else ''}"
        raise TypeError(msg)
    arguments = {str(each.arg): ast.literal_eval(each.value) for each in named}
    found = kind(*map(ast.literal_eval, positional), **arguments)
    with torch.random.fork_rng(devices=[]):
        changed = found(torch.zeros((3, 16, 16), dtype=torch.uint8))
    if not isinstance(changed, torch.Tensor) or (changed.shape, changed.dtype) != ((3, 16, 16), torch.uint8):
        msg = "it must leave size and kind (uint8) of the pixels as they are"
        raise TypeError(msg)
    return found


def check_augmentation(train: TrainConfig) -> None:
    """Raise ConfigError where a step of `train`, or of one model's recipe, is none that torchvision has."""
    for written in {step for model in ("", *train.recipes) for step in train.for_model(model).augmentation}:
        OfTorchvision(written).transform()


def augmentations(
    train: TrainConfig, size_px: int, interpolation: Interpolation = "bilinear"
) -> tuple[Augmentation, ...]:
    """Steps for every training image, in this order; the result is a square of `size_px` pixels."""
    own = {"RandomHorizontalFlip": RandomHorizontalFlip()}
    return (
        RandomResizedCrop(size_px, train.crop_scale_min, interpolation),
        *(own.get(written) or OfTorchvision(written) for written in train.augmentation),
    )


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
