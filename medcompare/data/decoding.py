"""From the bytes of an image file to red, green and blue, the same way everywhere.

EXIF orientation is applied, transparency dropped, palettes, greyscale and CMYK are
converted, 16-bit greyscale is scaled by the full range of its type (never by the image's
own minimum and maximum, which would make brightness depend on the picture), and of
several frames the first counts.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

import medcompare.data.dicom  # noqa: F401 - Pillow opens DICOM once this is imported
from medcompare.base.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

DEEP_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N")


def insist_on_whole_files() -> None:
    """Let Pillow refuse truncated files: WeasyPrint, once imported, makes it accept them."""
    ImageFile.LOAD_TRUNCATED_IMAGES = False


def decode_rgb(content: bytes, *, name: str) -> NDArray[np.uint8]:
    """Pixels of the image in `content`.

    Parameters
    ----------
    content : bytes
        A whole image file.
    name : str
        What to call it in messages.

    Returns
    -------
    ndarray of shape (height, width, 3), uint8
        Red, green, blue.

    Raises
    ------
    DataError
        If it cannot be decoded, or its pixel values have no defined range.
    """
    insist_on_whole_files()
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            upright = ImageOps.exif_transpose(image)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        msg = f"image {name} cannot be decoded: {error}"
        raise DataError(msg) from error
    if upright.mode in DEEP_MODES:
        values = np.asarray(upright).astype(np.int64)
        if values.min() < 0 or values.max() > np.iinfo(np.uint16).max:
            msg = f"image {name} has pixel values outside 0 to 65535; save it with 8 or 16 bits per pixel"
            raise DataError(msg)
        # 65535 / 255 = 257: white stays white.
        grey = ((values + 128) // 257).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if upright.mode == "F":
        msg = f"image {name} has floating-point pixels, whose range is not defined; save it with 8 or 16 bits"
        raise DataError(msg)
    return np.array(upright.convert("RGB"))
