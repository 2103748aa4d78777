"""New images as the network is given them, or why one cannot be scored."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from medcompare.config.data import FULL_INTENSITY
from medcompare.data.reading import BYTES_PER_MB
from medcompare.data.validation import ImageMeasurement, measure_file, usable_pixels
from medcompare.handover.preprocessing import centre_crop

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from medcompare.handover.records import Preprocessing

EIGHT_BITS_ONLY = (
    "more than 8 bits per pixel, and the network was trained on images of 8 bits only: no values are known to be "
    "black and white; save it with 8 bits as the training images were"
)

INTENSITY = {"refused": "auto", "range": "0,1", "type": FULL_INTENSITY}
"""The setting that accepts what training did; with any two numbers all have a range."""

SETTINGS = re.compile(r"; to use |, e\.g\. --set | \(data\.")
"""Where a reason begins to name settings, which were those of the training."""


@dataclass(frozen=True, kw_only=True)
class LoadedImage:
    """One file."""

    sha256: str
    """Of its bytes; empty where it could not be read."""
    crop: NDArray[np.uint8] | None
    """(3, size, size); None where it cannot be scored."""
    why_not: str = ""


def load_image(path: Path, how: Preprocessing) -> LoadedImage:
    """Read, check, decode and crop the image at `path`; the same limits as in training.

    Never raises because of a file: one that cannot be used is a finding.
    """
    pixels = None

    def measure(content: bytes) -> ImageMeasurement:
        nonlocal pixels
        found, pixels = usable_pixels(
            content,
            min_side_px=how.min_side_px,
            intensity_range=INTENSITY[how.deep_images],
            grey_range=how.grey_range,
        )
        return found

    found = measure_file(path, max_bytes=how.max_file_mb * BYTES_PER_MB, measure=measure)
    sha256 = found.sha256 or ""
    deep = found.span is not None and found.reason in {None, "values without a range"}
    if deep and how.deep_images == "refused":
        return LoadedImage(sha256=sha256, crop=None, why_not=EIGHT_BITS_ONLY)
    if pixels is None:
        detail = SETTINGS.split(found.detail)[0]
        why_not = f"{found.reason}: {detail}" if detail else str(found.reason)
        return LoadedImage(sha256=sha256, crop=None, why_not=why_not)
    return LoadedImage(sha256=sha256, crop=centre_crop(pixels, how))
