"""Grey levels of more than 8 bits: one range for all images, the same for every reader, said, and part of the keys."""

from __future__ import annotations

import io
import struct
import zlib
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from medcompare.base.artifacts import ArtifactStore
from medcompare.base.errors import DataError
from medcompare.config.data import DataConfig, SplitConfig
from medcompare.data.assignments import read_assignments
from medcompare.data.exclusions import usable_and_rejected
from medcompare.data.file_facts import N_COLOUR, read_file_facts, small_picture
from medcompare.data.intensity import in_one_range
from medcompare.data.manifest import ingest
from medcompare.data.measured import Measured
from medcompare.data.measuring import measure_files
from medcompare.data.quality import measure_quality
from medcompare.data.sources.resolve import resolve_source
from medcompare.data.split import split
from medcompare.data.validation import image_warnings, measure_image, reject_reason
from medcompare.report.hard_cases import Thumbnails
from medcompare.training.dataset import SubsetImages
from medcompare.training.identity import images_digest
from tests.data.test_dicom import content, dataset

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from medcompare.data.records import DatasetManifest, DatasetSplit

N = 12


def png(values: NDArray[Any]) -> bytes:
    """16 bits per pixel, whatever is in them."""
    buffer = io.BytesIO()
    Image.fromarray(values.astype(np.uint16)).save(buffer, "PNG")
    return buffer.getvalue()


def tiff(values: NDArray[Any]) -> bytes:
    """Whole numbers of 32 bits with a sign, or floating point."""
    buffer = io.BytesIO()
    kind = np.float32 if values.dtype.kind == "f" else np.int32
    Image.fromarray(values.astype(kind)).save(buffer, "TIFF")
    return buffer.getvalue()


def dicom(values: NDArray[Any], **tags: Any) -> bytes:
    """Without a window; 16 bits stored, of which 12 may be in use."""
    return content(dataset(values, **{"BitsStored": 16, "HighBit": 15, **tags}))


def colours(values: NDArray[Any]) -> bytes:
    """PNG of 16 bits in each of as many channels as `values` has, which Pillow does not write (PNG, 11.2)."""
    height, width, channels = values.shape
    rows = np.zeros((height, 1 + 2 * width * channels), np.uint8)  # each begins with the filter: none
    rows[:, 1:] = values.astype(">u2").reshape(height, -1).view(np.uint8)
    header = struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes())), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def colours_in_tiff(values: NDArray[Any]) -> bytes:
    """Uncompressed TIFF (6.0, section 6) of three channels of 16 bits."""
    height, width, _ = values.shape
    numbers = {
        256: width,
        257: height,
        259: 1,
        262: 2,
        273: 200,
        277: 3,
        278: height,
        279: 6 * width * height,
    }
    entries = [(tag, struct.pack("<HII", 4, 1, value)) for tag, value in numbers.items()]
    entries.append((258, struct.pack("<HII", 3, 3, 180)))
    directory = b"".join(struct.pack("<H", tag) + rest for tag, rest in sorted(entries))
    head = b"II*\0" + struct.pack("<IH", 8, len(entries)) + directory + bytes(4)
    return (head.ljust(180, b"\0") + struct.pack("<HHH", 16, 16, 16)).ljust(200, b"\0") + values.astype(
        "<u2"
    ).tobytes()


def scans(low: int, high: int) -> list[NDArray[np.int64]]:
    """`N` pictures of which each has its own part of the range; together they reach both ends."""
    rng = np.random.default_rng(7)
    tops = np.linspace(0.7, 1.0, N)
    pictures = [low + np.rint((high - low) * top * rng.random((40, 40)) ** 1.5) for top in tops]
    pictures[0][0, 0], pictures[-1][0, 0] = low, high
    return [picture.astype(np.int64) for picture in pictures]


def taken_in(
    folder: Path, files: list[bytes], ending: str, **data: Any
) -> tuple[DatasetManifest, DatasetSplit, ArtifactStore]:
    """Ingested and split."""
    for i, file in enumerate(files):
        place = folder / ("cancer" if i % 2 else "non_cancer")
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{i}{ending}").write_bytes(file)
    store = ArtifactStore(folder.with_name("store"))
    config = DataConfig(source=str(folder), near_duplicates=False, **data)
    manifest = ingest(resolve_source(config, demo_root=folder), config, store)
    return manifest, split(manifest, SplitConfig(), seed=0, store=store), store


def expected(values: NDArray[Any], low: float, high: float) -> NDArray[np.float64]:
    """Grey levels before rounding."""
    return np.clip((values - low) / (high - low), 0, 1) * 255


@pytest.mark.parametrize(
    ("write", "ending", "span", "setting", "shown"),
    [
        pytest.param(png, ".png", (160, 4048), "auto", (0, 4095), id="12 bits in 16"),
        pytest.param(png, ".png", (0, 999), "auto", (0, 1023), id="10 bits in 16"),
        pytest.param(png, ".png", (0, 60_000), "auto", (0, 65_535), id="16 bits"),
        pytest.param(png, ".png", (31_744, 35_839), "auto", (31_744, 35_839), id="CT moved up by 32768"),
        pytest.param(png, ".png", (160, 4048), "full", (0, 65_535), id="range of the type"),
        pytest.param(png, ".png", (160, 4048), "200, 3000", (200, 3000), id="as set"),
        pytest.param(tiff, ".tif", (-1024, 3071), "-160,240", (-160, 240), id="window set"),
        pytest.param(dicom, ".dcm", (0, 4000), "auto", (0, 4000), id="DICOM, 12 bits in 16 stored"),
        pytest.param(
            lambda v: dicom(v, BitsStored=12, HighBit=11),
            ".dcm",
            (0, 4000),
            "auto",
            (0, 4095),
            id="DICOM, 12 bits",
        ),
        pytest.param(
            lambda v: dicom(v + 1024, RescaleSlope=1, RescaleIntercept=-1024, BitsStored=12, HighBit=11),
            ".dcm",
            (-1024, 3000),
            "auto",
            (-1024, 3071),
            id="DICOM, Hounsfield units",
        ),
    ],
)
def test_one_range_for_all_images_and_readers(  # noqa: PLR0917 - one row per case
    tmp_path: Path,
    write: Callable[[NDArray[Any]], bytes],
    ending: str,
    span: tuple[int, int],
    setting: str,
    shown: tuple[float, float],
) -> None:
    """What trains, the pictures of the report and the sentence agree with the range worked out by hand."""
    values = scans(*span)
    manifest, parts, store = taken_in(
        tmp_path / "set", [write(v) for v in values], ending, intensity_range=setting
    )

    rows = read_assignments(store.read(parts.assignments))
    images = SubsetImages(rows, tmp_path / "set", size_px=32)
    small = Thumbnails(rows, tmp_path / "set")
    for k, row in enumerate(rows):
        number = int(row.path.split("/")[1].split(".")[0])
        assert row.grey_range == shown
        right = expected(values[number], *shown)
        np.testing.assert_allclose(images.read(k)[0], right, atol=0.501)
        picture = np.asarray(Image.open(io.BytesIO(small.of(row.case_id) or b"")))
        assert abs(float(picture.mean()) - right.mean()) < 2
    assert "grey_range" not in dict(rows[0].extra)
    said = next(sentence for sentence in manifest.warnings if "more than 8 bits" in sentence)
    assert said.startswith("12 images with more than 8 bits per pixel")
    assert ("full range of the type" in said) == (setting == "full")
    if setting != "full":
        assert f"from {span[0]} to {span[1]}" in said
        assert f"from {shown[0]:g} (black) to {shown[1]:g} (white) in all" in said


def test_dark_is_high_where_the_file_says_so(tmp_path: Path) -> None:
    """MONOCHROME1 beside MONOCHROME2: the same pictures, over one range."""
    values = scans(0, 4000)
    files = [
        dicom(v, PhotometricInterpretation="MONOCHROME1" if i % 3 else "MONOCHROME2")
        for i, v in enumerate(values)
    ]

    _, parts, store = taken_in(tmp_path / "set", files, ".dcm")

    rows = read_assignments(store.read(parts.assignments))
    images = SubsetImages(rows, tmp_path / "set", size_px=32)
    for k, row in enumerate(rows):
        number = int(row.path.split("/")[1].split(".")[0])
        right = expected(values[number], 0, 4000)
        np.testing.assert_allclose(images.read(k)[0], 255 - right if number % 3 else right, atol=0.501)


@pytest.mark.parametrize("monochrome", ["MONOCHROME1", "MONOCHROME2"])
def test_checks_see_what_the_networks_see(tmp_path: Path, monochrome: str) -> None:
    """Grey levels, histogram and thumbnail of the shortcuts are those of the picture over the range of all."""
    values = scans(160, 4048)
    files = [dicom(v, PhotometricInterpretation=monochrome) for v in values]

    manifest, parts, store = taken_in(tmp_path / "set", files, ".dcm")

    facts = {row["sha256"].decode(): row for row in read_file_facts(store.read(manifest.file_facts))}  # type: ignore[arg-type] # it was measured
    rows = read_assignments(store.read(parts.assignments))
    images = SubsetImages(rows, tmp_path / "set", size_px=32)
    for k, row in enumerate(rows):
        picture = Image.fromarray(images.read(k).permute(1, 2, 0).numpy())
        right = np.frombuffer(small_picture(picture), np.uint8).astype(int)
        found = facts[row.sha256]
        assert np.abs(found["colour"] - right[:N_COLOUR]).max() <= 4  # of 255: rounding at the edge of a bin
        assert np.abs(found["thumbnail"] - right[N_COLOUR:]).max() <= 2


def test_quality_is_judged_over_the_range_of_all(tmp_path: Path) -> None:
    """One dim image among bright ones is underexposed, though its own values fill 256 levels."""
    arrays = (*scans(0, 4095), scans(0, 700)[-1])
    for i, values in enumerate(arrays):
        path = tmp_path / "set" / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(values))
    data = DataConfig(source=str(tmp_path / "set"), positive=["b"])
    source = resolve_source(data, demo_root=tmp_path)
    with closing(Measured(None)) as kept:
        usable, _ = usable_and_rejected(measure_files(source, data, kept), source, kept, data)

        _, ranges, (said,) = in_one_range(usable, kept, "auto")

        shown = list(map(ranges.shown, kept.measurements(usable.number)))
        nothing = in_one_range(usable.take(np.zeros(0, int)), kept, "auto")
    for file, item in zip(usable.files(), shown, strict=True):
        picture = Image.fromarray(np.rint(expected(arrays[int(file.path[2:-4])], 0, 4095)).astype(np.uint8))
        right, found = measure_quality(picture), item.quality
        assert found is not None
        assert abs(found.spread - right.spread) < 0.5
        assert abs(found.percentile_99 - right.percentile_99) <= 1
        assert abs(found.percentile_5 - right.percentile_5) <= 1
    assert said.endswith(
        "1 of them uses less than a quarter of that and has little contrast: if few very bright "
        "pixels are the reason, set the range, e.g. --set data.intensity_range=0,700"
    )
    assert nothing[2] == []


def test_values_that_no_type_of_16_bits_holds(tmp_path: Path) -> None:
    """Refused with the command that would go on; read with it."""
    files = [tiff(v / 4095) for v in scans(0, 4095)]
    with pytest.raises(
        DataError,
        match=r"values without a range \(12\).*values 0 to 0\.7\d+: say which are black and "
        r"white, e\.g\. --set data\.intensity_range=0,0\.7",
    ):
        taken_in(tmp_path / "set", files, ".tif")
    assert taken_in(tmp_path / "set", files, ".tif", intensity_range="0,1")[0].n_images == N


def test_the_range_is_part_of_the_keys(tmp_path: Path) -> None:
    """Another range is another training, also where nothing else changed; and of the numbers, one that fits."""
    files = [png(v) for v in scans(0, 4095)]
    digests = {
        images_digest(parts, store, ("train", "val"))
        for setting in ("auto", "full", "0,4095", "0,4000")
        for _, parts, store in [taken_in(tmp_path / "set", files, ".png", intensity_range=setting)]
    }
    assert len(digests) == 3  # "auto" is "0,4095" here
    for wrong in ("4095,0", "12 bits", "0", "1,1"):
        with pytest.raises(ValidationError, match="two numbers, the smaller first, such as 0,4095"):
            DataConfig(intensity_range=wrong)


def test_a_table_must_not_bring_the_column(tmp_path: Path) -> None:
    """It is ours."""
    (tmp_path / "t.csv").write_text("path,label,grey_range\nt.csv,a,1\n")
    with pytest.raises(DataError, match="'grey_range' is reserved for results"):
        resolve_source(DataConfig(source=str(tmp_path / "t.csv")), demo_root=tmp_path)


@pytest.mark.parametrize("written", [colours, colours_in_tiff, lambda values: colours(values[..., :2])])
def test_colours_of_16_bits_are_read_by_their_upper_8_or_refused(
    written: Callable[[NDArray[Any]], bytes],
) -> None:
    """Those that use the range are said; 12 bits in 16 would be nearly black, and are refused but for ``full``."""
    values = np.random.default_rng(1).integers(0, 65_536, (40, 40, 3))

    whole, twelve = measure_image(written(values)), measure_image(written(values >> 4))

    assert whole.peak == 255
    assert reject_reason(whole, min_side_px=32) is None
    assert "with 16 bits per colour channel, of which the upper 8 are used" in image_warnings(whole)
    assert whole.pixel_sha256 == measure_image(written(values | 255)).pixel_sha256
    assert twelve.peak == 15
    for setting in ("auto", "0,4095"):
        reason, detail = reject_reason(twelve, min_side_px=32, intensity_range=setting) or ("", "")
        assert reason == "values without a range"
        assert detail.endswith("to use the upper 8 bits: --set data.intensity_range=full")
    assert reject_reason(twelve, min_side_px=32, intensity_range="full") is None
    grey = measure_image(png(values[..., 0]))
    assert (grey.peak, grey.span) == (None, (float(values[..., 0].min()), float(values[..., 0].max())))
