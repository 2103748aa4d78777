"""DICOM: the picture of a viewer whatever the encoding, patients from the header, and no header in any text."""

from __future__ import annotations

import hashlib
import io
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from medcompare.base.artifacts import ArtifactStore
from medcompare.base.errors import DataError
from medcompare.config.data import DataConfig
from medcompare.data.decoding import decode_rgb
from medcompare.data.dicom import Header, read_header
from medcompare.data.manifest import ingest
from medcompare.data.sources.resolve import resolve_source
from medcompare.data.validation import measure_image, reject_reason

if TYPE_CHECKING:
    from numpy.typing import NDArray

FILES = Path(pydicom.__file__).parent / "data" / "test_files"
"""pydicom's own; what is named here lies in its wheel."""

GREY = np.random.default_rng(0).integers(0, 256, (40, 48)).astype(np.int64)


def dataset(stored: NDArray[Any], syntax: str = ExplicitVRLittleEndian, **tags: Any) -> Dataset:
    """A grey image of 12 bits."""
    found = Dataset()
    found.file_meta = FileMetaDataset()
    found.file_meta.TransferSyntaxUID = syntax
    found.SOPClassUID, found.SOPInstanceUID = SecondaryCaptureImageStorage, generate_uid(entropy_srcs=["x"])
    found.Rows, found.Columns = stored.shape[:2]
    found.SamplesPerPixel, found.PhotometricInterpretation = 1, "MONOCHROME2"
    found.BitsAllocated, found.BitsStored, found.HighBit, found.PixelRepresentation = 16, 12, 11, 0
    for name, value in tags.items():
        setattr(found, name, value)
    big = syntax == ExplicitVRBigEndian
    kind = f"{'>' if big else '<'}{'i' if found.PixelRepresentation else 'u'}{found.BitsAllocated // 8}"
    found.PixelData = np.ascontiguousarray(stored).astype(kind).tobytes()
    found["PixelData"].VR = "OW"
    return found


def content(found: Dataset) -> bytes:
    """The bytes of a file."""
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, found, enforce_file_format=True)
    return buffer.getvalue()


def grey_of(found: Dataset, grey_range: tuple[float, float] | None = None) -> NDArray[np.uint8]:
    """Grey levels as decoded; all three channels are the same."""
    pixels = decode_rgb(content(found), name="x", grey_range=grey_range)
    np.testing.assert_array_equal(pixels[..., 0], pixels[..., 2])
    return pixels[..., 0]


WINDOW = {"RescaleSlope": 2, "RescaleIntercept": -300, "WindowCenter": 1500, "WindowWidth": 2000}


def shown(values: NDArray[Any], centre: float, width: float) -> NDArray[Any]:
    """The linear window of DICOM PS3.3 C.11.2.1.2.1, to 0 to 255."""
    inner = ((values - (centre - 0.5)) / (width - 1) + 0.5) * 255
    return np.where(
        values <= centre - 0.5 - (width - 1) / 2,
        0,
        np.where(values > centre - 0.5 + (width - 1) / 2, 255, inner),
    )


def test_rescale_then_window_then_inversion() -> None:
    """By the formula of the standard, and inverted where dark is high."""
    stored = GREY * 12
    expected = shown(stored * 2 - 300, 1500, 2000)

    np.testing.assert_allclose(grey_of(dataset(stored, **WINDOW)), expected, atol=0.51)
    inverted = grey_of(dataset(stored, PhotometricInterpretation="MONOCHROME1", **WINDOW))
    np.testing.assert_allclose(inverted, 255 - expected, atol=0.51)
    assert grey_of(dataset(stored, **WINDOW)).max() == 255


def test_of_several_windows_the_first() -> None:
    """As viewers open a file."""
    several = {**WINDOW, "WindowCenter": [1500, 40], "WindowWidth": [2000, 400]}

    np.testing.assert_array_equal(
        grey_of(dataset(GREY * 12, **several)), grey_of(dataset(GREY * 12, **WINDOW))
    )


@pytest.mark.parametrize(("bits", "signed"), [(8, 0), (10, 0), (12, 0), (16, 0), (12, 1), (16, 1)])
def test_without_a_window_the_bits_stored_may_be_the_range(bits: int, signed: int) -> None:
    """Black is the smallest value that fits, white the largest; 256 levels are kept."""
    lowest = -(2 ** (bits - 1)) if signed else 0
    stored = np.linspace(lowest, lowest + 2**bits - 1, 1024).round().astype(np.int64).reshape(32, 32)
    tags = {
        "BitsAllocated": 8 if bits == 8 else 16,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": signed,
    }

    grey = grey_of(dataset(stored, **tags), (lowest, lowest + 2**bits - 1))

    np.testing.assert_allclose(grey.ravel(), np.linspace(0, 255, 1024), atol=0.76 if bits == 8 else 0.52)
    assert len(np.unique(grey)) == 256


def test_lookup_tables() -> None:
    """A VOI LUT goes before a window; a modality LUT before both."""
    lut = Dataset()
    lut.LUTDescriptor, lut.LUTData = [256, 0, 8], np.arange(255, -1, -1, dtype="<u2").tobytes()
    eight = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}

    np.testing.assert_array_equal(
        grey_of(dataset(GREY, VOILUTSequence=Sequence([lut]), **eight, WindowCenter=9, WindowWidth=9)),
        255 - GREY,
    )
    modality = Dataset()
    modality.update(lut)
    modality.ModalityLUTType = "US"
    np.testing.assert_array_equal(
        grey_of(dataset(GREY, ModalityLUTSequence=Sequence([modality]), **eight)), 255 - GREY
    )


def test_the_same_picture_in_every_encoding() -> None:
    """Byte orders, explicit or not, with run lengths."""
    expected = grey_of(dataset(GREY * 12, **WINDOW))

    for syntax in (ExplicitVRBigEndian, ImplicitVRLittleEndian):
        np.testing.assert_array_equal(grey_of(dataset(GREY * 12, syntax, **WINDOW)), expected)
    packed = dataset(GREY * 12, **WINDOW)
    packed.compress(RLELossless)
    np.testing.assert_array_equal(grey_of(packed), expected)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("MR_small.dcm", "MR_small_RLE.dcm"),
        ("MR_small.dcm", "MR_small_bigendian.dcm"),
        ("MR_small.dcm", "MR_small_padded.dcm"),
        ("SC_rgb_small_odd.dcm", "SC_rgb_small_odd_jpeg.dcm"),
    ],
)
def test_pairs_of_pydicom(one: str, other: str) -> None:
    """Files that pydicom ships in two encodings; JPEG loses a little."""
    first, second = (decode_rgb((FILES / name).read_bytes(), name=name).astype(int) for name in (one, other))

    assert first.shape == second.shape
    assert np.abs(first - second).max() <= (12 if "jpeg" in other else 0)
    assert np.ptp(first) > 0


def test_colours() -> None:
    """RGB as stored; YBR by the matrix of JPEG (ITU-R BT.601, full range); a palette looked up."""
    rgb = np.random.default_rng(1).integers(0, 256, (40, 48, 3))
    eight = {
        "SamplesPerPixel": 3,
        "PlanarConfiguration": 0,
        "BitsAllocated": 8,
        "BitsStored": 8,
        "HighBit": 7,
    }
    np.testing.assert_array_equal(
        decode_rgb(content(dataset(rgb, PhotometricInterpretation="RGB", **eight)), name="x"), rgb
    )
    y, cb, cr = np.moveaxis(rgb.astype(float), 2, 0)
    expected = np.stack(
        [y + 1.402 * (cr - 128), y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128), y + 1.772 * (cb - 128)],
        axis=2,
    )
    found = decode_rgb(content(dataset(rgb, PhotometricInterpretation="YBR_FULL", **eight)), name="x")
    np.testing.assert_allclose(found, np.clip(expected, 0, 255), atol=1.01)

    palette = {
        **{f"{c}PaletteColorLookupTableDescriptor": [256, 0, 16] for c in ("Red", "Green", "Blue")},
        "RedPaletteColorLookupTableData": (np.arange(256) * 257).astype("<u2").tobytes(),
        "GreenPaletteColorLookupTableData": (np.arange(255, -1, -1) * 257).astype("<u2").tobytes(),
        "BluePaletteColorLookupTableData": np.zeros(256, "<u2").tobytes(),
    }
    tags = {"PhotometricInterpretation": "PALETTE COLOR", "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    found = decode_rgb(content(dataset(GREY, **tags, **palette)), name="x")
    np.testing.assert_array_equal(found, np.stack([GREY, 255 - GREY, GREY * 0], axis=2))


def test_what_is_measured_is_what_is_decoded() -> None:
    """The digest of the pixels is that of the same picture as PNG; Pillow opens both."""
    made = dataset(GREY * 12, **WINDOW)
    buffer = io.BytesIO()
    Image.fromarray(grey_of(made)).save(buffer, format="PNG")

    found, again = measure_image(content(made)), measure_image(buffer.getvalue())

    assert found.pixel_sha256 == again.pixel_sha256
    assert (found.format, found.mode, found.width_px, found.height_px, found.n_frames) == (
        "DICOM",
        "L",
        48,
        40,
        1,
    )
    assert reject_reason(found, min_side_px=32) is None


@pytest.mark.parametrize(
    ("name", "reason", "detail"),
    [
        ("reportsi.dcm", "not an image", "a DICOM file without an image, such as a report"),
        ("rtplan.dcm", "not an image", "without an image"),
        ("MR_truncated.dcm", "truncated", "pixels are truncated"),
        ("JPEGLSNearLossless_08.dcm", "no decoder", "JPEG-LS .*python -m pip install python-gdcm"),
    ],
)
def test_what_cannot_be_used(name: str, reason: str, detail: str) -> None:
    """With its reason; nothing of the header in it."""
    if reason == "no decoder" and any(
        pydicom.pixels.get_decoder(pydicom.uid.JPEGLSNearLossless).available_plugins
    ):
        pytest.skip("a decoder is installed")
    found = reject_reason(measure_image((FILES / name).read_bytes()), min_side_px=8)

    assert found is not None
    assert found[0] == reason
    assert re.search(detail, found[1])


def test_several_frames_are_excluded() -> None:
    """With their number; only the first is decoded for it."""
    three = dataset(np.concatenate([GREY * 12, GREY * 6, GREY]), Rows=40, NumberOfFrames=3)
    three.Rows = 40

    found = measure_image(content(three))

    assert (found.n_frames, found.height_px) == (3, 40)
    assert reject_reason(found, min_side_px=8) == (
        "several frames",
        "3 frames: store the one that counts on its own",
    )


def patient_files(root: Path, n: int = 24) -> None:
    """Two images of each patient, in files with, without and with a number for an ending."""
    rng = np.random.default_rng(2)
    for i in range(n):
        made = dataset(
            rng.integers(0, 4096, (40, 40)),
            PatientID=f"SECRET-{i // 2:03d}",
            PatientName=f"Hidden^Person{i}",
            PatientSex="FM"[i // 2 % 2],
            PatientAge=f"{30 + i // 2:03d}Y",
            StudyDescription="of Hidden Person",
            **WINDOW,
        )
        path = (
            root
            / ("normal", "cancer")[i // 2 % 2]
            / ("a.dcm", "b", "1.2.3.4")[i % 3].replace("a", f"a{i}").replace("b", f"b{i}")
        )
        path = path if i % 3 < 2 else path.with_name(f"1.2.840.{i}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content(made))
    (root / "cancer" / "LICENSE").write_text("no image")


def test_a_folder_end_to_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    """Patients from the header; sex and age as columns; ids and names in no sentence, log or warning."""
    patient_files(tmp_path / "images")
    store = ArtifactStore(tmp_path / "store")
    caplog.set_level(logging.DEBUG)
    data = DataConfig(source=str(tmp_path / "images"))

    source = resolve_source(data, demo_root=tmp_path / "demo")
    manifest = ingest(source, data, store)

    assert manifest.n_images == 24
    assert manifest.n_patients == 12
    assert manifest.extra_columns == ("sex", "age")
    first = next(file for file in source.files if file.path == "normal/a0.dcm")
    digest = hashlib.sha256(b"SECRET-000").hexdigest()[:12]
    assert (first.patient_id, first.extra) == (f"patient-{digest}", ("F", "30"))
    assert b"SECRET" not in b"".join(path.read_bytes() for path in store.root.rglob("*") if path.is_file())
    assert "1 file not an image by name (1 no ending): ignored." in source.notes
    assert "24 images in DICOM, shown as viewers do" in " ".join(manifest.warnings)
    said = manifest.model_dump_json() + caplog.text + "".join(str(each.message) for each in recwarn.list)
    assert "SECRET" not in said
    assert "Hidden" not in said


def test_some_files_without_patient(tmp_path: Path) -> None:
    """Then patients cannot be told apart, which is said."""
    patient_files(tmp_path / "images", 6)
    (tmp_path / "images" / "normal" / "more.dcm").write_bytes(content(dataset(GREY)))

    source = resolve_source(DataConfig(source=str(tmp_path / "images")), demo_root=tmp_path / "demo")

    assert not source.has_patients
    assert "1 of 7 images has no patient id in a DICOM header" in " ".join(source.notes)
    assert source.extra_columns == ("sex", "age")


def test_a_table_goes_before_the_headers(tmp_path: Path) -> None:
    """Its patients and columns are kept."""
    patient_files(tmp_path, 6)
    rows = [
        f"{p.relative_to(tmp_path)},{p.parent.name},same,x"
        for p in sorted(tmp_path.rglob("*"))
        if p.stem[:1] in "ab1" and p.is_file()
    ]
    (tmp_path / "t.csv").write_text("\n".join(["path,label,patient_id,sex", *rows]))

    source = resolve_source(DataConfig(source=str(tmp_path / "t.csv")), demo_root=tmp_path / "demo")

    assert {file.patient_id for file in source.files} == {"same"}
    assert source.extra_columns == ("sex", "age")
    assert {file.extra[0] for file in source.files} == {"x"}


@pytest.mark.parametrize(
    ("age", "years"), [("045Y", "45"), ("018M", "1.5"), ("002W", "0.0383"), ("", ""), ("45", "")]
)
def test_ages(tmp_path: Path, age: str, years: str) -> None:
    """In years, whatever the unit."""
    path = tmp_path / "x.dcm"
    path.write_bytes(content(dataset(GREY, PatientAge=age)))

    assert read_header(path) == Header(patient_id="", sex="", age=years)


def test_hostile_headers(tmp_path: Path) -> None:
    """A header that claims enormous sizes or breaks off is refused; no file, no header."""
    assert measure_image(content(dataset(GREY, Rows=60000, Columns=60000))).reason == "too many pixels"
    whole = content(dataset(GREY))
    for cut in (132, 140, 200, 400, len(whole) - 100):
        assert measure_image(whole[:cut]).reason in {"not an image", "damaged", "truncated"}
    with pytest.raises(DataError, match="cannot be decoded"):
        decode_rgb(whole[:-100], name="x")
    assert read_header(tmp_path / "nowhere") is None
    (tmp_path / "text").write_text("text")
    assert read_header(tmp_path / "text") is None
