"""What a file tells without its picture being understood: raw material of `medcompare.stats.shortcuts`."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from medcompare.data.validation import ImageMeasurement

SIDE = 12
"""Side of the thumbnail, pixels: too few to show cells or the outline of a lesion."""

N_BINS = 8
"""Per channel of the histogram of colours."""

N_COLOUR = 3 * N_BINS
N_THUMBNAIL = 3 * SIDE * SIDE

MAX_IMAGES = 20_000
"""Of so many images, drawn by their digests, is more kept: enough for an interval of half a percent."""

FILE_FACTS = np.dtype(
    [
        ("sha256", "S64"),
        ("n_bytes", "<i8"),
        ("format", "S12"),
        ("colour", "u1", (N_COLOUR,)),
        ("thumbnail", "u1", (N_THUMBNAIL,)),
        ("contrast", "<f4"),
        ("blur", "<f4"),
    ]
)
"""Contrast and blur are ``spread`` and ``blur`` of `medcompare.data.quality.Quality`."""


def small_picture(image: Image.Image) -> bytes:
    """Histogram of colours, as shares of 255, and thumbnail: `N_COLOUR` and `N_THUMBNAIL` bytes."""
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    counts = np.reshape(rgb.histogram(), (N_COLOUR, -1)).sum(axis=1)
    shares = np.rint(255 * counts / (rgb.width * rgb.height)).astype(np.uint8)
    thumbnail: bytes = rgb.resize((SIDE, SIDE), Image.Resampling.BOX).tobytes()
    return bytes(shares.tobytes() + thumbnail)


def own_levels(grey: Image.Image) -> bytes:
    """What `small_picture_of_grey` needs of an image whose range is not chosen yet: it has its own in 256 levels."""
    small = grey.resize((SIDE, SIDE), Image.Resampling.BOX).tobytes()
    return bytes(np.asarray(grey.histogram(), dtype=np.float32).tobytes() + small)


def small_picture_of_grey(measured: bytes, levels: NDArray[np.uint8]) -> bytes:
    """`small_picture` of a grey image from `own_levels`; `levels`: what each of its 256 levels is shown as."""
    counts = np.bincount(levels // (256 // N_BINS), np.frombuffer(measured[:1024], np.float32), N_BINS)
    shares = np.rint(255 * counts / counts.sum()).astype(np.uint8)
    thumbnail = levels[np.frombuffer(measured[1024:], np.uint8)]
    return bytes(np.tile(shares, 3).tobytes() + np.repeat(thumbnail, 3).tobytes())


def is_kept(sha256: str, n_files: int) -> bool:
    """Whether an image is one of about `MAX_IMAGES`; its digest decides, so that no name or order matters."""
    return int(sha256[:15], 16) * n_files < MAX_IMAGES * 16**15


def write_file_facts(images: Iterable[ImageMeasurement]) -> bytes:
    """Facts of the images that have a small picture, each content once, as an array of `FILE_FACTS`."""
    rows: dict[str, Any] = {
        str(image.sha256): (
            str(image.sha256).encode(),
            image.n_bytes,
            (image.format or "").encode(),
            np.frombuffer(image.small_picture[:N_COLOUR], np.uint8),
            np.frombuffer(image.small_picture[N_COLOUR:], np.uint8),
            image.quality.spread,
            image.quality.blur,
        )
        for image in images
        if image.small_picture and image.quality is not None
    }
    out = io.BytesIO()
    np.save(out, np.array([rows[sha256] for sha256 in sorted(rows)], dtype=FILE_FACTS), allow_pickle=False)
    return out.getvalue()


def read_file_facts(content: bytes) -> NDArray[np.void]:
    """The array of `write_file_facts`, sorted by digest."""
    facts: NDArray[np.void] = np.load(io.BytesIO(content), allow_pickle=False)
    return facts
