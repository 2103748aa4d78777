"""One image file: what it is, and whether it can be used.

Measuring is apart from judging: pixels are read once, limits may change. Every image is
decoded in full, because a header says nothing about what a transfer cut off.
"""

from __future__ import annotations

import hashlib
import io
import os
import struct
import zlib
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from medcompare.base.artifacts import CHUNK_BYTES, sha256_of_bytes
from medcompare.base.language import t
from medcompare.config.data import FULL_INTENSITY, intensity_limits
from medcompare.data.decoding import (
    DEEP_MODES,
    LARGEST,
    MIN_USED,
    Range,
    eight_bits,
    has_sixteen_bit_channels,
    insist_on_whole_files,
    rgb_of,
)
from medcompare.data.dicom import FORMAT as DICOM
from medcompare.data.dicom import (
    SHOWN_BY_WINDOW,
    SHOWN_IN_FULL,
    TYPE_RANGE,
    NoImageError,
    UnknownCompressionError,
    is_inverted,
)
from medcompare.data.disguises import is_slide, what_it_is
from medcompare.data.file_facts import own_levels, small_picture
from medcompare.data.perceptual_hash import SIDE_PX
from medcompare.data.quality import Quality, measure_quality, quality_phrases
from medcompare.data.reading import NotRegularError, open_regular

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

Reason = Literal[
    "cannot be opened",
    "not a regular file",
    "too large",
    "empty file",
    "not an image",
    "truncated",
    "damaged",
    "too many pixels",
    "too small",
    "several frames",
    "values without a range",
    "no decoder",
    "opposite labels",
    "near-duplicate with opposite label",
    "segmentation mask",
]
"""Why a file is excluded, in the words of the report."""

MAX_PIXELS = 89_478_485
"""Images with more pixels are not decoded. The limit is Pillow's own: a file of a few
kilobytes can claim to be enormous and fill the memory."""

UPRIGHT = 1
"""EXIF orientation of an image that needs no turning."""


@dataclass(frozen=True, kw_only=True)
class ImageMeasurement:
    """What one file is; ``reason`` is None where it decoded completely.

    ``pixel_sha256`` digests size and decoded RGB values: equal for two files that differ only
    in compression or metadata. ``orientation`` is the EXIF value (1 = upright). ``thumbnail`` holds
    `SIDE_PX` x `SIDE_PX` grey levels, for the search of near-duplicates. ``preview_px`` holds the sizes of further
    frames where all are smaller than the first, as previews are. ``span`` holds the smallest and largest value of
    an image of more than 8 bits, which is to be shown over ``grey_range`` (`medcompare.data.intensity`) and whose type
    holds ``type_range`` where a header says so; ``inverted``: high values are dark. ``peak`` is the highest of the
    upper 8 bits of an image with 16 in each of several channels. ``small_picture`` is that of
    `medcompare.data.file_facts`.
    """

    sha256: str | None = None
    n_bytes: int = 0
    format: str | None = None
    width_px: int = 0
    height_px: int = 0
    mode: str = ""
    n_frames: int = 1
    preview_px: tuple[tuple[int, int], ...] = ()
    orientation: int = UPRIGHT
    has_alpha: bool = False
    span: Range | None = None
    type_range: Range | None = None
    grey_range: Range | None = None
    inverted: bool = False
    peak: int | None = None
    pixel_sha256: str | None = None
    thumbnail: bytes = b""
    quality: Quality | None = None
    small_picture: bytes = b""
    reason: Reason | None = None
    detail: str = ""


def measure_file(
    path: Path, *, max_bytes: int, measure: Callable[[bytes], ImageMeasurement] | None = None
) -> ImageMeasurement:
    """Measure the file at `path`; one that cannot be opened is a finding, not an error.

    Parameters
    ----------
    path : Path
        Anything: what is no regular file is not opened.
    max_bytes : int
        Larger files are not read. Of the others the header is read first, and the rest only held
        where it is that of an image of acceptable size.
    measure : callable, optional
        What measures the content; `measure_image` by default.
    """
    measure = measure or measure_image
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > max_bytes:
                detail = f"{size / 1e6:,.0f} MB, limit {max_bytes / 1e6:,.0f} (data.max_file_mb)"
                return ImageMeasurement(n_bytes=size, reason="too large", detail=detail)
            if size > CHUNK_BYTES:
                found, _ = _opened(file, size)
                file.seek(0)
                if found.reason is not None:
                    digest = hashlib.file_digest(file, "sha256")  # type: ignore[arg-type] # a BufferedReader
                    return replace(found, sha256=digest.hexdigest())
            return measure(file.read(max_bytes))
    except NotRegularError as error:
        return ImageMeasurement(reason="not a regular file", detail=str(error))
    except OSError as error:
        return ImageMeasurement(reason="cannot be opened", detail=error.strerror or type(error).__name__)


def _opened(
    file: IO[bytes], size: int, sha256: str | None = None
) -> tuple[ImageMeasurement, Image.Image | None]:
    """What the header says of the image in `file`, of `size` bytes, with the reason or the image."""

    def refused(reason: Reason, detail: str, **known: Any) -> tuple[ImageMeasurement, None]:  # noqa: ANN401 - fields
        return ImageMeasurement(sha256=sha256, n_bytes=size, reason=reason, detail=detail, **known), None

    if size == 0:
        return refused("empty file", "0 bytes")
    try:
        image = Image.open(file)
        width, height = image.size
        slide = is_slide(image)
    except UnidentifiedImageError:
        return refused("not an image", what_it_is(file) or f"no known image format in {size} bytes")
    except NoImageError as error:
        return refused("not an image", str(error))
    except Image.DecompressionBombError as error:
        return refused("too many pixels", str(error))
    except _DECODE_ERRORS as error:
        return refused(_damage(error), _short(error))
    known: dict[str, Any] = dict(format=image.format or "", width_px=width, height_px=height, mode=image.mode)  # noqa: C408
    if width * height > MAX_PIXELS:
        advice = ": a whole-slide image, cut it into patches" if slide else ""
        return refused("too many pixels", f"{width} x {height} pixels, limit {MAX_PIXELS}{advice}", **known)
    return ImageMeasurement(sha256=sha256, n_bytes=size, **known), image


def measure_image(content: bytes, *, small: bool = True) -> ImageMeasurement:
    """Decode `content` in full and say what it is.

    Parameters
    ----------
    content : bytes
        A whole image file.
    small : bool
        Whether to make the small picture, which is kept of some images only.

    Returns
    -------
    ImageMeasurement
        With ``reason`` and ``detail`` where decoding was not possible.
    """
    insist_on_whole_files()
    measured, image = _opened(io.BytesIO(content), len(content), sha256_of_bytes(content))
    if image is None:
        return measured
    try:
        with image:
            about = _decoded(image)
            grey = _grey(image)
            return replace(
                measured,
                **about,
                pixel_sha256=_pixel_digest(image),
                thumbnail=grey.resize((SIDE_PX, SIDE_PX), Image.Resampling.BOX).tobytes(),
                quality=measure_quality(grey),
                small_picture=(own_levels(grey) if about["span"] else small_picture(image)) if small else b"",
                orientation=image.getexif().get(ExifTags.Base.Orientation, UPRIGHT),
                has_alpha=image.has_transparency_data,
                inverted=is_inverted(image),
            )
    except _NOT_DECODED as error:
        return _undecoded(measured, error)


def _undecoded(measured: ImageMeasurement, error: BaseException) -> ImageMeasurement:
    """`measured` with the reason why decoding was not possible."""
    if isinstance(error, _NoNumbersError):
        return replace(measured, reason="values without a range", detail=str(error))
    if isinstance(error, UnknownCompressionError):
        return replace(measured, reason="no decoder", detail=str(error))
    return replace(measured, reason=_damage(error), detail=_short(error))


def _decoded(image: Image.Image) -> dict[str, Any]:
    """What `reject_reason` goes by besides the header."""
    has_more_bits = has_sixteen_bit_channels(image)
    image.load()
    n_frames = int(getattr(image, "n_frames", 1))
    return {
        "span": _span(image),
        "peak": int(np.asarray(image.convert("RGB")).max()) if has_more_bits else None,
        "type_range": image.info.get(TYPE_RANGE),
        "n_frames": n_frames,
        "preview_px": _previews(image) if n_frames > 1 and image.format == "TIFF" else (),
    }


def usable_pixels(
    content: bytes, *, min_side_px: int, intensity_range: str, grey_range: Range | None
) -> tuple[ImageMeasurement, NDArray[np.uint8] | None]:
    """What a network sees of an image, or why it sees nothing; measures no more than that takes.

    Parameters
    ----------
    content : bytes
        A whole image file.
    min_side_px, intensity_range : int, str
        As of `reject_reason`.
    grey_range : tuple of (float, float), optional
        Values shown black and white of an image of more than 8 bits; None: that of its type.

    Returns
    -------
    ImageMeasurement
        With ``reason`` and ``detail`` where it cannot be used.
    ndarray of shape (height, width, 3), uint8, or None
        As `decode_rgb` gives them.
    """
    insist_on_whole_files()
    measured, image = _opened(io.BytesIO(content), len(content), sha256_of_bytes(content))
    if image is None:
        return measured, None
    try:
        with image:
            measured = replace(measured, **_decoded(image))
            found = reject_reason(measured, min_side_px=min_side_px, intensity_range=intensity_range)
            if found is not None:
                return replace(measured, reason=found[0], detail=found[1]), None
            return measured, rgb_of(image, grey_range or measured.type_range or (0.0, float(LARGEST)))
    except _NOT_DECODED as error:
        return _undecoded(measured, error), None


def reject_reason(
    measurement: ImageMeasurement, *, min_side_px: int, intensity_range: str = "auto"
) -> tuple[Reason, str] | None:
    """Why an image must be excluded, as (reason, detail); None where it can be used.

    Parameters
    ----------
    measurement : ImageMeasurement
        What `measure_image` found.
    min_side_px : int
        Shortest side that is accepted, pixels.
    intensity_range : str
        The setting ``data.intensity_range``: with two numbers any values have a range.

    Returns
    -------
    tuple of (str, str) or None
        The first reason that applies.
    """
    if measurement.reason is not None:
        return measurement.reason, measurement.detail
    width, height = measurement.width_px, measurement.height_px
    if min(width, height) < min_side_px:
        short = min(width, height)
        return "too small", (f"{width} x {height} pixels; to use such images: --set data.min_side_px={short}")
    if measurement.n_frames > 1 and measurement.format != "MPO" and not measurement.preview_px:
        # MPO is the JPEG of many cameras: the further frame is a preview of the first.
        detail = f"{measurement.n_frames} frames: store the one that counts on its own"
        return "several frames", detail
    span, peak = measurement.span, measurement.peak
    if peak is not None and peak < MIN_USED * 255 and intensity_range != FULL_INTENSITY:
        detail = f"16 bits per channel, of which less than {MIN_USED:.0%} of the range is used: save it with 8 bits"
        return (
            "values without a range",
            f"{detail}; to use the upper 8 bits: --set data.intensity_range={FULL_INTENSITY}",
        )
    if span is None or measurement.format == DICOM or intensity_limits(intensity_range) is not None:
        return None
    if measurement.mode == "F" or span[0] < 0 or span[1] > LARGEST:
        limits = f"{span[0]:g},{span[1]:g}"
        detail = f"values {limits.replace(',', ' to ')}: say which are black and white"
        return "values without a range", f"{detail}, e.g. --set data.intensity_range={limits}"
    return None


def image_warnings(measurement: ImageMeasurement) -> tuple[str, ...]:
    """What a person should know about an image that can be used: phrases that fit after a count."""
    found = []
    if measurement.format == DICOM:
        found.append(t(SHOWN_BY_WINDOW if measurement.span is None else SHOWN_IN_FULL))
    if measurement.preview_px:
        found.append(t("with smaller preview pages, of which only the first page is used"))
    if measurement.mode == "CMYK":
        found.append(t("in CMYK colours, converted to RGB without a colour profile"))
    if measurement.peak is not None:
        found.append(t("with 16 bits per colour channel, of which the upper 8 are used"))
    if measurement.has_alpha:
        found.append(t("with transparency, which is dropped"))
    if measurement.orientation != UPRIGHT:
        found.append(t("with a rotation mark (EXIF), which is applied before use"))
    if measurement.quality is not None:
        found += quality_phrases(measurement.quality, measurement.width_px, measurement.height_px)
    return tuple(found)


_DECODE_ERRORS = (
    OSError,
    SyntaxError,  # Pillow's way to say that a PNG or TIFF is malformed
    ValueError,
    IndexError,
    KeyError,
    TypeError,
    EOFError,
    MemoryError,
    OverflowError,
    struct.error,
    zlib.error,
    NotImplementedError,
)
"""What Pillow's decoders raise on malformed files; a damaged image must not end the run."""


def _damage(error: BaseException) -> Reason:
    text = str(error).lower()
    cut_off = ("truncated", "unexpected end", "eof", "not enough image data", "unrecognized data stream")
    return "truncated" if isinstance(error, EOFError) or any(mark in text for mark in cut_off) else "damaged"


def _short(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    # Pillow names the memory address of a stream: useless, and different in every run.
    return text.split("<_io", maxsplit=1)[0].strip()[:200]


def _previews(image: Image.Image) -> tuple[tuple[int, int], ...]:
    """Sizes of the further frames, where each has at most half of each side of the first; otherwise none."""
    width, height = image.size
    sizes = []
    for frame in range(1, image.n_frames):  # type: ignore[attr-defined] # a TIFF
        image.seek(frame)
        sizes.append(image.size)
    image.seek(0)
    return tuple(sizes) if all(2 * w <= width and 2 * h <= height for w, h in sizes) else ()


class _NoNumbersError(Exception):
    """Pixels that hold no numbers have no range."""


_NOT_DECODED = (_NoNumbersError, UnknownCompressionError, *_DECODE_ERRORS)


def _span(image: Image.Image) -> Range | None:
    """Smallest and largest value of an image of more than 8 bits."""
    if image.mode not in DEEP_MODES:
        return None
    values = np.asarray(image)
    if not np.isfinite(values).all():
        msg = "values that are no numbers (NaN or infinite); save it with 8 or 16 bits"
        raise _NoNumbersError(msg)
    return float(values.min()), float(values.max())


def _pixel_digest(image: Image.Image) -> str:
    """Digest of size and colours, the latter as `decode_rgb` hands them to the networks."""
    if image.mode in DEEP_MODES:
        # The values: in which range they are shown is not known yet.
        values = np.asarray(image).astype(np.float32 if image.mode == "F" else np.int32)
        digest = sha256_of_bytes((-values if is_inverted(image) else values).tobytes())
    else:
        digest = sha256_of_bytes((image if image.mode == "RGB" else image.convert("RGB")).tobytes())
    return sha256_of_bytes(f"{image.width}x{image.height} {digest}".encode())


def _grey(image: Image.Image) -> Image.Image:
    """The image in 256 grey levels, a deep one by its own range: 12 bits of 16 would leave few levels."""
    if image.mode not in DEEP_MODES:
        return image.convert("L")
    values = np.asarray(image)
    low, high = float(values.min()), float(values.max())
    inverted = is_inverted(image)
    return Image.fromarray(eight_bits(values, (low, high if high > low else low + 1), inverted=inverted))
