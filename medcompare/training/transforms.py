"""Resizing, centre crop and normalisation, and the random numbers of a training.

Bilinear, or bicubic where the weights were trained so, with antialiasing, as torchvision computes them.
The random numbers of an image are a
pure function of (seed, epoch, index): neither the number of loading processes nor anyone's use of
a global generator changes them.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from medcompare.models.spec import Interpolation

STREAM_CROPS, STREAM_ORDER, STREAM_SAMPLE = 0, 1, 2


def evaluation_resize_px(image_size_px: int, resize_px: int | None, crop_pct: float = 224 / 256) -> int:
    """Shorter side before the centre crop, pixels; not set: image_size_px over the network's own `crop_pct`."""
    return resize_px if resize_px is not None else round(image_size_px / crop_pct)


def random_stream(seed: int, stream: int, *position: int) -> np.random.Generator:
    """Generator that depends on nothing but its arguments (counter-based: Philox).

    `position` is at most two numbers below 2**32: an epoch, and an image's index.
    """
    word = 0
    for number in position:
        word = (word << 32) | number
    return np.random.Generator(np.random.Philox(key=np.array([seed | stream << 32, word], dtype=np.uint64)))


def resized(image: Tensor, height: int, width: int, mode: Interpolation = "bilinear") -> Tensor:
    """`image` (3, h, w), uint8, resized with antialiasing."""
    if image.shape[1:] == (height, width):
        return image
    return functional.interpolate(image[None], size=(height, width), mode=mode, antialias=True)[0]


def training_limit_px(size_px: int, crop_scale_min: float) -> int:
    """Shorter side, pixels, above which training images are reduced to it before they are cropped.

    The smallest square crop of such an image still has `size_px` pixels of its own: area `crop_scale_min`
    of a side s has the side s * sqrt(crop_scale_min).
    """
    return math.ceil(size_px / math.sqrt(crop_scale_min))


def no_larger_than(image: Tensor, limit_px: int) -> Tensor:
    """`image` (3, h, w), uint8, its shorter side reduced to `limit_px` where it is longer."""
    height, width = image.shape[1:]
    share = limit_px / min(height, width)
    if share >= 1:
        return image
    return resized(image, round(share * height), round(share * width), "bicubic")


def evaluation_crop(
    image: Tensor, *, resize_px: int, size_px: int, mode: Interpolation = "bilinear"
) -> Tensor:
    """Shorter side of `image` resized to `resize_px`, then its centre square of `size_px` pixels."""
    height, width = image.shape[1:]
    if height <= width:
        new_height, new_width = resize_px, int(resize_px * width / height)
    else:
        new_height, new_width = int(resize_px * height / width), resize_px
    whole = resized(image, new_height, new_width, mode)
    top, left = round((new_height - size_px) / 2), round((new_width - size_px) / 2)
    return whole[:, top : top + size_px, left : left + size_px]


def normalised(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """`images` (n, 3, h, w), uint8, scaled to [0, 1], less `mean`, over `std`, float32."""
    mean_, std_ = (_per_channel(tuple(values), images.device) for values in (mean, std))
    return images.to(torch.float32).mul_(1 / 255).sub_(mean_).div_(std_)


@cache
def _per_channel(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Made once: each copy to a GPU would wait for all that it computes."""
    return torch.tensor(values, device=device).reshape(1, 3, 1, 1)
