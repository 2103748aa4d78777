"""Crops, resizing and normalisation; augmentation without hidden state.

Training: RandomResizedCrop and RandomHorizontalFlip; evaluation: Resize and CenterCrop
(bilinear with antialiasing, as torchvision computes them); both then Normalize. The
random numbers of a crop are a pure function of (seed, epoch, index): neither the number
of loading processes nor anyone's use of a global generator changes them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

ASPECT_RATIOS = (3 / 4, 4 / 3)
CROP_TRIES = 10
FLIP_PROBABILITY = 0.5
STREAM_CROPS, STREAM_ORDER, STREAM_SAMPLE = 0, 1, 2


class Crop(NamedTuple):
    """Part of an image, pixels, and whether it is mirrored."""

    top: int
    left: int
    height: int
    width: int
    flipped: bool


def evaluation_resize_px(image_size_px: int, resize_px: int | None) -> int:
    """Shorter side before the centre crop, pixels; by default image_size_px x 256/224."""
    return resize_px if resize_px is not None else round(image_size_px * 256 / 224)


def random_stream(seed: int, stream: int, *position: int) -> np.random.Generator:
    """Generator that depends on nothing but its arguments (counter-based: Philox).

    `position` is at most two numbers below 2**32: an epoch, and an image's index.
    """
    word = 0
    for number in position:
        word = (word << 32) | number
    return np.random.Generator(np.random.Philox(key=np.array([seed | stream << 32, word], dtype=np.uint64)))


def random_crop(height: int, width: int, *, scale_min: float, rng: np.random.Generator) -> Crop:
    """Crop and mirror decision drawn as RandomResizedCrop and RandomHorizontalFlip draw theirs.

    Area uniform in [scale_min, 1] of the image's, aspect ratio log-uniform in [3/4, 4/3];
    after ten misses the largest centred crop with an admissible aspect ratio.
    """
    draws = rng.random((CROP_TRIES, 4))
    flipped = bool(rng.random() < FLIP_PROBABILITY)
    log_low, log_high = (math.log(ratio) for ratio in ASPECT_RATIOS)
    for u_area, u_ratio, u_top, u_left in draws.tolist():
        area = height * width * (scale_min + (1 - scale_min) * u_area)
        ratio = math.exp(log_low + (log_high - log_low) * u_ratio)
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return Crop(int(u_top * (height - h + 1)), int(u_left * (width - w + 1)), h, w, flipped)
    low, high = ASPECT_RATIOS
    h, w = height, width
    if width / height < low:
        h = round(width / low)
    elif width / height > high:
        w = round(height * high)
    return Crop((height - h) // 2, (width - w) // 2, h, w, flipped)


def resized(image: Tensor, height: int, width: int) -> Tensor:
    """`image` (3, h, w), uint8, resized bilinearly with antialiasing."""
    if image.shape[1:] == (height, width):
        return image
    return functional.interpolate(image[None], size=(height, width), mode="bilinear", antialias=True)[0]


def training_crop(image: Tensor, crop: Crop, size_px: int) -> Tensor:
    """The part `crop` of `image`, resized to a square of `size_px` pixels."""
    part = image[:, crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]
    part = resized(part, size_px, size_px)
    return part.flip(-1) if crop.flipped else part


def evaluation_crop(image: Tensor, *, resize_px: int, size_px: int) -> Tensor:
    """Shorter side of `image` resized to `resize_px`, then its centre square of `size_px` pixels."""
    height, width = image.shape[1:]
    if height <= width:
        new_height, new_width = resize_px, int(resize_px * width / height)
    else:
        new_height, new_width = int(resize_px * height / width), resize_px
    whole = resized(image, new_height, new_width)
    top, left = round((new_height - size_px) / 2), round((new_width - size_px) / 2)
    return whole[:, top : top + size_px, left : left + size_px]


def normalised(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """`images` (n, 3, h, w), uint8, scaled to [0, 1], less `mean`, over `std`, float32."""
    shape = (1, 3, 1, 1)
    mean_, std_ = (torch.tensor(values, device=images.device).reshape(shape) for values in (mean, std))
    return images.to(torch.float32).mul_(1 / 255).sub_(mean_).div_(std_)
