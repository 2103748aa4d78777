"""From bytes to pixels: every kind of file, with values known beforehand."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from medcompare.base.errors import DataError
from medcompare.data.decoding import decode_rgb


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    """`image` as a file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def test_plain_colours_come_through_unchanged() -> None:
    """A lossless file, exactly."""
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)

    assert np.array_equal(decode_rgb(encoded(Image.fromarray(pixels)), name="a"), pixels)


def test_sixteen_bits_are_scaled_by_the_range_given() -> None:
    """Black stays black, white white; rounded to the nearest, and clipped."""
    grey = np.array([[0, 128, 129, 257, 32768, 65535]], dtype=np.uint16)
    pixels = decode_rgb(encoded(Image.fromarray(grey)), name="a", grey_range=(0, 65535))
    clipped = decode_rgb(encoded(Image.fromarray(grey)), name="a", grey_range=(128, 638))

    assert clipped[0, :, 1].tolist() == [0, 0, 1, 65, 255, 255]

    assert pixels[0, :, 0].tolist() == [0, 0, 1, 1, 128, 255]
    assert np.array_equal(pixels[..., 0], pixels[..., 2])


def test_the_orientation_mark_is_applied() -> None:
    """EXIF orientation 6: turned a quarter clockwise."""
    pixels = np.zeros((2, 3, 3), dtype=np.uint8)
    pixels[0, 0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = decode_rgb(encoded(Image.fromarray(pixels), exif=exif), name="a")

    assert turned.shape == (3, 2, 3)
    assert turned[0, 1].tolist() == [255, 255, 255]


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "1"])
def test_other_modes_become_colours(mode: str) -> None:
    """White stays white; transparency is dropped."""
    image = Image.new("RGB", (4, 4), "white").convert(mode)

    assert decode_rgb(encoded(image), name="a").tolist() == [[[255, 255, 255]] * 4] * 4


def test_cmyk_becomes_colours() -> None:
    """No ink is white."""
    image = Image.new("CMYK", (2, 2), (0, 0, 0, 0))

    assert decode_rgb(encoded(image, "TIFF"), name="a").min() == 255


def test_deep_values_need_a_range() -> None:
    """Of floating point as well, also below zero; without a range nothing is guessed."""
    for values in (np.array([[-1, 0, 1, 3]], np.float32), np.array([[-1, 0, 1, 3]], np.int32)):
        content = encoded(Image.fromarray(values), "TIFF")
        with pytest.raises(DataError, match=r"image scan\.tif has more than 8 bits per pixel, and no range"):
            decode_rgb(content, name="scan.tif")
        found = decode_rgb(content, name="scan.tif", grey_range=(-1, 2))
        assert found[0, :, 2].tolist() == [0, 85, 170, 255]


def test_damage_is_named() -> None:
    """No image, and half an image."""
    with pytest.raises(DataError, match="image a cannot be decoded"):
        decode_rgb(b"nothing of the kind", name="a")
    whole = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)))
    with pytest.raises(DataError, match="image b cannot be decoded"):
        decode_rgb(whole[: len(whole) // 2], name="b")
