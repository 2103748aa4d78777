"""From the bytes of an image file to red, green and blue, the same way everywhere.

EXIF orientation is applied, transparency dropped, palettes, greyscale and CMYK are
converted, grey levels of more than 8 bits are scaled over one range for all images
(`medcompare.data.intensity`), and of several frames the first counts.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from medcompare.base.errors import DataError
from medcompare.data.dicom import is_inverted  # Pillow opens DICOM once this is imported

if TYPE_CHECKING:
    from numpy.typing import NDArray

DEEP_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")
"""Pillow's names of grey levels of more than 8 bits, also in floating point."""


LARGEST = 65_535
"""Of 16 bits."""

MIN_USED = 0.25
"""Share of the range of the bits that values have to span: below it two bits or more of the eight would be unused."""

Range = tuple[float, float]
"""(value shown black, value shown white)."""


def insist_on_whole_files() -> None:
    """Let Pillow refuse truncated files: WeasyPrint, once imported, makes it accept them."""
    ImageFile.LOAD_TRUNCATED_IMAGES = False


def has_sixteen_bit_channels(image: Image.Image) -> bool:
    """Whether an image that is not decoded yet holds 16 bits in each of several channels: Pillow keeps the upper 8."""
    return image.mode not in DEEP_MODES and any(
        _SIXTEEN_BITS.search(str(tile[-1])) for tile in getattr(image, "tile", ())
    )


_SIXTEEN_BITS = re.compile(r";16[BLN]")
"""In what Pillow calls the layout of the bytes; 16 bits for three colours together are ``BGR;16``."""


def decode_rgb(content: bytes, *, name: str, grey_range: Range | None = None) -> NDArray[np.uint8]:
    """Pixels of the image in `content`.

    Parameters
    ----------
    content : bytes
        A whole image file.
    name : str
        What to call it in messages.
    grey_range : tuple of (float, float), optional
        Values shown black and white where it has more than 8 bits per pixel.

    Returns
    -------
    ndarray of shape (height, width, 3), uint8
        Red, green, blue.

    Raises
    ------
    DataError
        If it cannot be decoded, or has more than 8 bits per pixel and no `grey_range` is given.
    """
    insist_on_whole_files()
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            if grey_range is not None or image.mode not in DEEP_MODES:
                return rgb_of(image, grey_range)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        msg = f"image {name} cannot be decoded: {error}"
        raise DataError(msg) from error
    msg = f"image {name} has more than 8 bits per pixel, and no range to show them in"
    raise DataError(msg)


def rgb_of(image: Image.Image, grey_range: Range | None) -> NDArray[np.uint8]:
    """Pixels of an open image as `decode_rgb` gives them; one of more than 8 bits needs `grey_range`."""
    upright = ImageOps.exif_transpose(image)
    if upright.mode in DEEP_MODES and grey_range is not None:
        grey = eight_bits(np.asarray(upright), grey_range, inverted=is_inverted(image))
        return np.repeat(grey[:, :, None], 3, axis=2)
    return np.array(upright.convert("RGB"))


def eight_bits(values: NDArray[Any], grey_range: Range, *, inverted: bool = False) -> NDArray[np.uint8]:
    """`values` as grey levels from 0 to 255, clipped to `grey_range`; `inverted`: high values are dark."""
    low, high = grey_range
    # Four bytes per pixel: a float32 tells all values of 16 bits apart.
    share = np.clip((values.astype(np.float32) - np.float32(low)) / np.float32(high - low), 0, 1)
    return np.asarray(255 * (1 - share if inverted else share) + np.float32(0.5), dtype=np.uint8)
