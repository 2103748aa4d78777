"""Grey levels of more than 8 bits become 8: over one range for all images of a data set.

An image's own smallest and largest value would make brightness depend on the picture; the range of its type leaves
12 bits in a file of 16 nearly black. So values are measured first, and the range chosen afterwards from all images.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from medcompare.base.language import tn
from medcompare.config.data import FULL_INTENSITY, intensity_limits
from medcompare.data.decoding import LARGEST, MIN_USED
from medcompare.data.file_facts import small_picture_of_grey
from medcompare.data.validation import image_warnings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from medcompare.data.decoding import Range
    from medcompare.data.exclusions import Images
    from medcompare.data.measured import Measured
    from medcompare.data.validation import ImageMeasurement


@dataclass(frozen=True, kw_only=True)
class Ranges:
    """In which range each image of more than 8 bits is shown."""

    common: Range | None
    """That of all; None: each has that of its own type."""
    of_image: dict[int, Range | None]
    """By the place of each such image."""

    def shown(self, image: ImageMeasurement) -> ImageMeasurement:
        """What was measured of an image over its own range, as it is over the one in which it is shown."""
        return image if image.span is None else _shown(image, self.common)


def chosen_range(setting: str, spans: NDArray[np.float64], types: Iterable[Range | None]) -> Range | None:
    """The range of all images; None where each has that of its own type (``full``).

    With ``auto`` it is that of the bits in use: from 0 to the next power of two less one, or what the bits stored of a
    DICOM file can hold; where the images use less than a quarter of that, from their smallest to their largest value.

    Parameters
    ----------
    setting : str
        ``data.intensity_range``.
    spans : ndarray of shape (n, 2)
        Smallest and largest value of each image.
    types : iterable
        Ranges of the types that occur; None: not said.
    """
    if setting == FULL_INTENSITY:
        return None
    limits = intensity_limits(setting)
    if limits is not None:
        return limits
    low, high = float(spans[:, 0].min()), float(spans[:, 1].max())
    of_bits = (0.0, 2.0 ** max(int(high).bit_length(), 8) - 1)
    known = [of_bits if each is None else each for each in types]
    lowest, highest = min(low, *(each[0] for each in known)), max(high, *(each[1] for each in known))
    if high - low >= MIN_USED * (highest - lowest):
        return lowest, highest
    return low, high if high > low else low + 1


def in_one_range(usable: Images, kept: Measured, setting: str) -> tuple[Images, Ranges, list[str]]:
    """`usable` with what is said of its deep images as they are shown, their ranges, and a sentence about them."""
    places = np.flatnonzero(usable.deep)
    if not len(places):
        return usable, Ranges(common=None, of_image={}), []
    spans, types = np.zeros((len(places), 2)), set()
    for k, one in enumerate(kept.measurements(usable.number[places])):
        spans[k] = one.span
        types.add(one.type_range)
    ranges = Ranges(common=chosen_range(setting, spans, types), of_image={})
    phrases = {phrase: which for which, phrase in enumerate(usable.phrases)}
    said = usable.said.copy()
    for place, one in zip(places.tolist(), kept.measurements(usable.number[places]), strict=True):
        shown = ranges.shown(one)
        said[place] = phrases.setdefault(image_warnings(shown), len(phrases))
        ranges.of_image[place] = ranges.common or shown.grey_range
    return (
        replace(usable, said=said, phrases=list(phrases)),
        ranges,
        _sentences(spans, ranges.common, setting),
    )


def _shown(image: ImageMeasurement, common: Range | None) -> ImageMeasurement:
    """What was measured of an image over its own range, as it is over the range of all."""
    grey_range = common or image.type_range or (0.0, float(LARGEST))
    low, high = image.span or grey_range
    width = grey_range[1] - grey_range[0]
    slope = (high - low) / width
    start = ((grey_range[1] - high) if image.inverted else (low - grey_range[0])) / width
    levels = np.clip(np.rint(255 * start + slope * np.arange(256)), 0, 255)
    quality = image.quality and replace(
        image.quality,
        spread=image.quality.spread * slope,
        percentile_5=float(levels[int(image.quality.percentile_5)]),
        percentile_99=float(levels[int(image.quality.percentile_99)]),
    )
    picture = image.small_picture and small_picture_of_grey(image.small_picture, levels.astype(np.uint8))
    return replace(image, grey_range=grey_range, quality=quality, small_picture=picture)


def _sentences(spans: NDArray[np.float64], common: Range | None, setting: str) -> list[str]:
    if common is None:
        return [
            tn(
                "{n} image with more than 8 bits per pixel, shown over the full range of the type "
                "(data.intensity_range).",
                "{n:,} images with more than 8 bits per pixel, shown over the full range of the type "
                "(data.intensity_range).",
                len(spans),
            )
        ]
    said = tn(
        "{n} image with more than 8 bits per pixel: values from {low:g} to {high:g}, shown from {black:g} (black) to "
        "{white:g} (white) in all of them (data.intensity_range={setting}).",
        "{n:,} images with more than 8 bits per pixel: values from {low:g} to {high:g}, shown from {black:g} (black) "
        "to {white:g} (white) in all of them (data.intensity_range={setting}).",
        len(spans),
        low=spans[:, 0].min(),
        high=spans[:, 1].max(),
        black=common[0],
        white=common[1],
        setting=setting,
    )
    little = np.ptp(spans, axis=1) < MIN_USED * (common[1] - common[0])
    if little.any():
        low, high = spans[little, 0].min(), np.median(spans[little, 1])
        said += " " + tn(
            "{n} of them uses less than a quarter of that and has little contrast: if few very bright pixels are the "
            "reason, set the range, e.g. --set data.intensity_range={limits}",
            "{n:,} of them use less than a quarter of that and have little contrast: if few very bright pixels are the "
            "reason, set the range, e.g. --set data.intensity_range={limits}",
            int(little.sum()),
            limits=f"{low:.0f},{high:.0f}",
        )
    return [said]
