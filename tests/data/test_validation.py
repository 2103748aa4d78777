"""What one image file is, and whether it can be used."""

from __future__ import annotations

import gzip
import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from medcompare.base.artifacts import sha256_of_bytes
from medcompare.data import validation as validate
from medcompare.data.validation import (
    ImageMeasurement,
    image_warnings,
    measure_file,
    measure_image,
    reject_reason,
)

if TYPE_CHECKING:
    from pathlib import Path


def encoded(mode: str = "RGB", size: tuple[int, int] = (40, 50), form: str = "PNG", **options: Any) -> bytes:
    """An image of seeded noise in the given mode and format."""
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    if mode == "I;16":
        image = Image.fromarray(rng.integers(0, 65536, (size[1], size[0]), dtype=np.uint16))
    elif mode == "F":
        image = Image.fromarray(rng.random((size[1], size[0]), dtype=np.float32))
    else:
        image = Image.fromarray(pixels).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, format=form, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("form", "mode"),
    [("PNG", "RGB"), ("JPEG", "RGB"), ("TIFF", "RGB"), ("BMP", "RGB"), ("PNG", "L"), ("PNG", "P")],
)
def test_good_images(form: str, mode: str) -> None:
    """Format, size and mode are as written, and nothing is held against the file."""
    content = encoded(mode, form=form)

    found = measure_image(content)

    assert (found.format, found.width_px, found.height_px, found.mode) == (form, 40, 50, mode)
    assert found.sha256 == sha256_of_bytes(content)
    assert found.n_bytes == len(content)
    assert reject_reason(found, min_side_px=40) is None
    assert image_warnings(found) == ()


@pytest.mark.parametrize(
    ("content", "reason", "detail"),
    [
        pytest.param(b"", "empty file", "0 bytes", id="empty"),
        pytest.param(b"not an image at all", "not an image", "no known image format in 19 bytes", id="text"),
        pytest.param(encoded(form="JPEG")[:-400], "truncated", "truncated", id="cut-off JPEG"),
        pytest.param(encoded()[:-900], "truncated", "truncated", id="cut-off PNG"),
        pytest.param(encoded(form="BMP")[:-900], "truncated", "truncated", id="cut-off BMP"),
        pytest.param(encoded()[:10], "not an image", "10 bytes", id="cut-off header"),
        pytest.param(encoded()[:60] + b"\0" * 40 + encoded()[100:], "damaged", "", id="overwritten PNG"),
    ],
)
def test_unusable_content(content: bytes, reason: str, detail: str) -> None:
    """Every kind of damage is a finding with a reason, never an exception."""
    found = measure_image(content)

    assert found.reason == reason
    assert detail in found.detail
    assert reject_reason(found, min_side_px=1) == (found.reason, found.detail)


def test_findings_are_the_same_each_time() -> None:
    """No memory address or other accident stands in a detail."""
    for content in (b"", b"text", encoded()[:-900], encoded(form="JPEG")[:-400]):
        assert measure_image(content) == measure_image(content)
        assert "0x" not in measure_image(content).detail


def test_file_that_cannot_be_opened(tmp_path: Path) -> None:
    """A missing file and a folder are findings, too."""
    assert measure_file(tmp_path / "gone.png", max_bytes=100).reason == "cannot be opened"


def test_file_is_measured_like_its_content(tmp_path: Path) -> None:
    """Reading from disk adds nothing."""
    (tmp_path / "a.png").write_bytes(encoded())

    assert measure_file(tmp_path / "a.png", max_bytes=10_000) == measure_image(encoded())


def test_too_many_pixels_by_header() -> None:
    """A small file that claims to be enormous is refused before it fills the memory."""
    bomb = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(bomb, format="PNG")

    found = measure_image(bomb.getvalue())

    assert found.reason == "too many pixels"
    assert "400000000" in found.detail


def test_too_many_pixels_below_pillows_own_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the limit and twice the limit Pillow only warns: here it is a refusal."""
    monkeypatch.setattr(validate, "MAX_PIXELS", 1999)

    assert measure_image(encoded()).detail == "40 x 50 pixels, limit 1999"


@pytest.mark.parametrize(("preview", "accepted"), [((20, 20), True), ((16, 10), True), ((30, 30), False)])
def test_a_preview_is_no_further_frame(preview: tuple[int, int], accepted: bool) -> None:  # noqa: FBT001
    """Pages of at most half the sides of the first are previews: the first counts, and that is said."""
    buffer = io.BytesIO()
    page = Image.effect_noise((40, 40), 50).convert("RGB")
    page.save(
        buffer, format="TIFF", save_all=True, append_images=[page.resize(preview), page.resize((10, 10))]
    )

    found = measure_image(buffer.getvalue())

    assert (reject_reason(found, min_side_px=8) is None) == accepted
    assert (found.width_px, found.pixel_sha256) == (40, measure_image(saved(page)).pixel_sha256)
    said = "with smaller preview pages, of which only the first page is used"
    assert (said in image_warnings(found)) == accepted


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (gzip.compress(b"volume", mtime=0), "a gzip archive"),
        (b"PK\x03\x04" + bytes(40), "a zip archive"),
        (bytes(344) + b"n+1\0", "a NIfTI volume"),
        (b"<!DOCTYPE html><html></html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "a pointer of Git LFS"),
        (b"\x93NUMPY\x01\x00", "a numpy array"),
    ],
    ids=["gzip", "zip", "NIfTI", "HTML", "LFS", "NumPy"],
)
def test_what_is_no_image_is_named(content: bytes, detail: str, tmp_path: Path) -> None:
    """Under whatever ending it comes."""
    (tmp_path / "a.png").write_bytes(content)

    found = measure_file(tmp_path / "a.png", max_bytes=1000)

    assert found.reason == "not an image"
    assert found.detail.startswith(detail)


def test_whole_slides_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scan too large to decode is said to be one."""
    buffer = io.BytesIO()
    Image.new("RGB", (60, 60)).save(
        buffer, format="TIFF", description="Aperio Image Library v12 |AppMag = 40"
    )
    monkeypatch.setattr(validate, "MAX_PIXELS", 3599)

    assert measure_image(buffer.getvalue()).detail.endswith("a whole-slide image, cut it into patches")


def saved(image: Image.Image) -> bytes:
    """The image as PNG."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def test_too_small() -> None:
    """The shorter side counts, and the limit itself is allowed."""
    found = measure_image(encoded(size=(90, 31)))

    assert reject_reason(found, min_side_px=31) is None
    assert reject_reason(found, min_side_px=32) == (
        "too small",
        "90 x 31 pixels; to use such images: --set data.min_side_px=31",
    )


def test_several_frames() -> None:
    """An animation or a stack of pages does not say which image is meant."""
    buffer = io.BytesIO()
    pages = [Image.new("RGB", (40, 40), shade) for shade in ("red", "green", "blue")]
    pages[0].save(buffer, format="TIFF", save_all=True, append_images=pages[1:])

    found = measure_image(buffer.getvalue())

    assert found.n_frames == 3
    assert reject_reason(found, min_side_px=32) == (
        "several frames",
        "3 frames: store the one that counts on its own",
    )


def test_preview_of_a_camera_is_no_second_image() -> None:
    """MPO files hold a preview beside the image."""
    found = ImageMeasurement(format="MPO", width_px=64, height_px=64, mode="RGB", n_frames=2)

    assert reject_reason(found, min_side_px=32) is None


def test_floating_point_pixels_are_set_aside() -> None:
    """Unless the setting says which values are black and white; what is no number never counts."""
    found = measure_image(encoded("F", form="TIFF"))

    assert (reject_reason(found, min_side_px=32) or "")[0] == "values without a range"
    assert reject_reason(found, min_side_px=32, intensity_range="0,1") is None
    empty = io.BytesIO()
    Image.fromarray(np.full((40, 40), np.nan, np.float32)).save(empty, "TIFF")
    found = measure_image(empty.getvalue())
    assert (found.reason, "NaN" in found.detail) == ("values without a range", True)


@pytest.mark.parametrize(
    ("content", "phrase"),
    [
        pytest.param(encoded("CMYK", form="JPEG"), "in CMYK colours", id="CMYK"),
        pytest.param(encoded("RGBA"), "with transparency", id="alpha"),
        pytest.param(encoded("LA"), "with transparency", id="grey and alpha"),
    ],
)
def test_oddities(content: bytes, phrase: str) -> None:
    """What is converted on the way is said."""
    found = measure_image(content)

    assert reject_reason(found, min_side_px=32) is None
    assert len(image_warnings(found)) == 1
    assert image_warnings(found)[0].startswith(phrase)


def test_rotation_mark() -> None:
    """EXIF orientation is noticed."""
    exif = Image.Exif()
    exif[274] = 6

    found = measure_image(encoded(form="JPEG", exif=exif))

    assert found.orientation == 6
    assert image_warnings(found) == ("with a rotation mark (EXIF), which is applied before use",)


def test_pixel_digest_sees_pixels_only() -> None:
    """Compression and container do not count; size and colours do."""
    png, slow_png, bmp = encoded(), encoded(compress_level=0), encoded(form="BMP")
    digests = {measure_image(content).pixel_sha256 for content in (png, slow_png, bmp)}

    assert len({measure_image(content).sha256 for content in (png, slow_png, bmp)}) == 3
    assert len(digests) == 1
    assert measure_image(encoded(form="JPEG")).pixel_sha256 not in digests
    flat = {measure_image(encoded(size=size)).pixel_sha256 for size in ((40, 50), (50, 40))}
    assert len(flat) == 2
