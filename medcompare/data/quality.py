"""What the grey levels of an image say of it: contrast, exposure, focus, and whether it is a mask.

Measured once, judged apart. Nothing here excludes an image but a segmentation mask that is called one: what looks
dark or soft to a rule may be just what the camera makes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal

import numpy as np

from medcompare.base.language import t, tn

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray
    from PIL import Image

MIN_SPREAD = 3.0
"""Standard deviation of the grey levels (0 to 255) below which an image shows nothing: noise of a sensor and of JPEG
stays below it on an empty field."""

DARK, BRIGHT = 82, 242
"""Underexposed: 99 % of the pixels darker; overexposed: 95 % brighter. The limits of CleanVision (0.32 and 0.95 of the
range)."""

MAX_BLUR = 0.7
"""Share of its fine detail that an image keeps when it is blurred once more (the idea of Crete and others 2007, The
blur effect: a blurred image loses little). Of 426 images of two public sets and of drawn tissue the highest was 0.25,
of the same after a Gaussian blur of 2.5 pixels the lowest 0.81."""

MIN_ASPECT = 0.35
"""Shorter side by longer side; the limit of CleanVision."""

MIN_CENTRE = 2 / 3
"""Share of an image in its centre square below which it is said that the networks do not see the rest."""

MASK: Literal["segmentation mask"] = "segmentation mask"
"""Reason of exclusion."""

MASK_TOLERANCE, MASK_SHARE, MASK_DISTANCE = 8, 0.95, 64
"""A mask has nearly all pixels within so many levels of one of two levels that lie further apart: edges are smoothed,
and JPEG adds ripples."""

FOCUS_PX = 512
"""Focus is measured in a centre square of at most this side."""

_LEVELS = np.arange(256.0)
_PARTS = np.array([0.01, 0.05, 0.99])

_MASK_NAME = re.compile(
    r"(?:^|[_\-. (])(?:masks?|seg(?:mentation)?|ground_?truth|gt|annotations?)(?:[_\-. ]?\(?\d+\)?)?\)?$",
    re.IGNORECASE,
)
_MASK_FOLDER = re.compile(r"(?:masks?|segmentations?|ground_?truth|annotations?)$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Quality:
    """Figures of the grey levels, 0 to 255."""

    spread: float
    """Standard deviation."""
    percentile_5: float
    percentile_99: float
    blur: float
    """Share of fine detail left after blurring; 0 where there is none."""
    n_levels: int
    """1 or 2 where so few levels hold nearly all pixels, otherwise 0."""


def measure_quality(grey: Image.Image) -> Quality:
    """Figures of an image of mode L."""
    counts = np.array(grey.histogram(), dtype=float)
    shares = counts / counts.sum()
    mean = float(shares @ _LEVELS)
    lowest, low, high = shares.cumsum().searchsorted(_PARTS).tolist()
    near = shares[max(lowest - MASK_TOLERANCE, 0) : lowest + MASK_TOLERANCE + 1].sum()
    near += shares[
        max(high, lowest + 2 * MASK_TOLERANCE + 1) - MASK_TOLERANCE : high + MASK_TOLERANCE + 1
    ].sum()
    n_levels = 0
    if near >= MASK_SHARE:
        n_levels = 2 if high - lowest >= MASK_DISTANCE else int(high - lowest <= 2 * MASK_TOLERANCE)
    return Quality(
        spread=float(np.sqrt(shares @ (_LEVELS - mean) ** 2)),
        percentile_5=float(low),
        percentile_99=float(high),
        blur=_blur(grey),
        n_levels=n_levels,
    )


def _blur(grey: Image.Image) -> float:
    values = np.asarray(grey)
    height, width = values.shape
    top, left = max(height - FOCUS_PX, 0) // 2, max(width - FOCUS_PX, 0) // 2
    values = values[top : top + FOCUS_PX, left : left + FOCUS_PX]
    height, width = values.shape
    # Whole numbers of 16 bits, of which a processor adds many at once, in one row: numpy takes rows one by one. What
    # then runs over from one row into the next are columns at the edge, which do not count.
    flat = values.astype(np.int16).ravel()
    detail = _detail(flat, width, width)
    return _detail(_mean_of_nine(flat, width), width, width - 2) / detail if detail > 0 else 0.0


def _detail(flat: NDArray[np.int16], width: int, n_columns: int) -> float:
    """Variance of the differences of each pixel from the mean of its four neighbours, times four, within 8 bits.

    Of an image with rows of `width` pixels, of which the first `n_columns` count.
    """
    n = (len(flat) // width - 2) * (n_columns - 2)
    if len(flat) < 3 * width or n_columns < 3:
        return 0.0
    differences = 4 * flat[width:-width]
    for neighbours in (
        flat[: -2 * width],
        flat[2 * width :],
        flat[width - 1 : -width - 1],
        flat[width + 1 : len(flat) - width + 1],
    ):
        differences -= neighbours
    np.clip(differences, -128, 127, out=differences)
    rows = differences.reshape(-1, width)
    rows[:, 0] = 0
    rows[:, n_columns - 1 :] = 0
    found = differences.astype(np.float32)
    # A dot product is many times faster than numpy's variance.
    return max(float(found @ found) / n - (float(found.sum()) / n) ** 2, 0.0)


def _mean_of_nine(flat: NDArray[np.int16], width: int) -> NDArray[np.int16]:
    """Rounded to whole levels; the last two columns mean nothing."""
    means = flat[: -2 * width] + flat[width:-width]
    means += flat[2 * width :]
    sums = means[:-2] + means[1:-1]
    sums += means[2:]
    sums += 4
    np.floor_divide(sums, 9, out=means[:-2])
    return means


def is_named_mask(path: str, quality: Quality) -> bool:
    """Whether a file is a segmentation mask by its name, or its folder's, and by its pixels: one or two grey levels."""
    pure = PurePosixPath(path)
    named = _MASK_NAME.search(pure.stem) or any(_MASK_FOLDER.match(part) for part in pure.parts[:-1])
    return bool(named) and quality.n_levels > 0


def quality_phrases(quality: Quality, width_px: int, height_px: int) -> list[str]:
    """What a person should know, in phrases that fit after a count of images."""
    found = []
    if quality.spread < MIN_SPREAD:
        return [t("with almost no contrast")]
    if quality.n_levels == 2:
        found.append(t("of two grey levels only, like segmentation masks"))
    elif quality.percentile_99 < DARK:
        found.append(t("underexposed (99% of the pixels darker than a third of the range)"))
    elif quality.percentile_5 > BRIGHT:
        found.append(t("overexposed (95% of the pixels nearly white)"))
    elif quality.blur > MAX_BLUR:
        found.append(t("blurred"))
    if min(width_px, height_px) / max(width_px, height_px) < MIN_ASPECT:
        found.append(
            t("with one side more than {times:.1f} times as long as the other", times=1 / MIN_ASPECT)
        )
    return found


def centre_warning(sizes: Iterable[tuple[int, int]]) -> list[str]:
    """A sentence where images are so wide or high that their centre square is a small part of them."""
    shares = [min(size) / max(size) for size in sizes]
    narrow = [share for share in shares if share < MIN_CENTRE]
    if not narrow:
        return []
    sentence = tn(
        "{n} of {n_all:,} images is so wide or high that its centre square, which is all that the networks see, is "
        "less than two thirds of it (least: {least:.0f}%). Cut or pad it to a square if what counts may lie outside.",
        "{n:,} of {n_all:,} images are so wide or high that their centre square, which is all that the networks see, "
        "is less than two thirds of them (least: {least:.0f}%). Cut or pad them to squares if what counts may lie "
        "outside.",
        len(narrow),
        n_all=len(shares),
        least=100 * min(narrow),
    )
    return [sentence]
