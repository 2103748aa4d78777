"""From a decoded image to what the network is given, without torch.

torch resizes uint8 images with weights of 16 bits; Pillow with weights of 22, which differs by a grey level in many
pixels. So that a score does not depend on the engine, torch's arithmetic is done here: differences are one grey
level in about one pixel of a million, where a weight is a tie of rounding.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medcompare.handover.records import Preprocessing
    from medcompare.models.spec import Interpolation

MAX_WEIGHT = 1 << 15
MAX_PRECISION = 22
CHUNK_VALUES = 1 << 22
"""So many values are held as float32 at once, of however large an image."""

CUBIC = -0.5
"""Of antialiased bicubic interpolation, as in Pillow."""


@lru_cache(maxsize=64)  # images of a scanner have few sizes
def _weights(n_in: int, n_out: int, mode: Interpolation) -> tuple[Any, int]:
    """Whole weights, (n_out, n_in), and their binary places, as ATen/native/cpu/UpSampleKernel.cpp computes them."""
    scale = n_in / n_out
    stretch = max(scale, 1.0)
    support = (1.0 if mode == "bilinear" else 2.0) * stretch
    rows, columns, values = [], [], []
    for i in range(n_out):
        centre = scale * (i + 0.5)
        among = np.arange(max(int(centre - support + 0.5), 0), min(int(centre + support + 0.5), n_in))
        x = np.abs((among - centre + 0.5) * (1.0 / stretch))
        if mode == "bilinear":
            weight = np.clip(1 - x, 0, None)
        else:
            near = ((CUBIC + 2) * x - (CUBIC + 3)) * x * x + 1
            far = ((CUBIC * x - 5 * CUBIC) * x + 8 * CUBIC) * x - 4 * CUBIC
            weight = np.where(x < 1, near, np.where(x < 2, far, 0))
        rows.append(np.full(len(among), i))
        columns.append(among)
        values.append(weight / weight.sum())
    weights = np.concatenate(values)
    precision = 0
    while precision < MAX_PRECISION and int(0.5 + weights.max() * (1 << (precision + 1))) < MAX_WEIGHT:
        precision += 1
    whole = np.trunc(weights * (1 << precision) + np.copysign(0.5, weights))
    # Products and sums of these stay below 2**24: float32 holds them exactly, and multiplies fast.
    matrix = sparse.csr_matrix(
        (whole.astype(np.float32), (np.concatenate(rows), np.concatenate(columns))), shape=(n_out, n_in)
    )
    return matrix, precision


def _along_first(pixels: NDArray[np.uint8], n_out: int, mode: Interpolation) -> NDArray[np.uint8]:
    """`pixels` (n_in, ...) resized to (n_out, ...)."""
    if len(pixels) == n_out:
        return pixels
    matrix, precision = _weights(len(pixels), n_out, mode)
    flat = pixels.reshape(len(pixels), -1)
    levels = np.empty((n_out, flat.shape[1]), np.uint8)
    step = max(1, CHUNK_VALUES // len(pixels))
    for start in range(0, flat.shape[1], step):
        sums = matrix @ flat[:, start : start + step].astype(np.float32)
        whole = (sums.astype(np.int32) + (1 << (precision - 1))) >> precision
        levels[:, start : start + step] = np.clip(whole, 0, 255)
    return levels.reshape(n_out, *pixels.shape[1:])


def centre_crop(pixels: NDArray[np.uint8], how: Preprocessing) -> NDArray[np.uint8]:
    """The square that the network sees: `medcompare.training.transforms.evaluation_crop` without torch.

    Parameters
    ----------
    pixels : ndarray of shape (height, width, 3), uint8
        As `medcompare.data.decoding.decode_rgb` gives them.
    how : Preprocessing
        Sizes in pixels, and interpolation.

    Returns
    -------
    ndarray of shape (3, size_px, size_px), uint8
    """
    height, width = pixels.shape[:2]
    if height <= width:
        new_height, new_width = how.resize_px, int(how.resize_px * width / height)
    else:
        new_height, new_width = int(how.resize_px * height / width), how.resize_px
    top, left = round((new_height - how.size_px) / 2), round((new_width - how.size_px) / 2)
    across = _along_first(pixels.transpose(1, 0, 2), new_width, how.interpolation)[left : left + how.size_px]
    whole = _along_first(np.ascontiguousarray(across.transpose(1, 0, 2)), new_height, how.interpolation)
    return np.ascontiguousarray(whole[top : top + how.size_px].transpose(2, 0, 1))
