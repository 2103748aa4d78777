"""DICOM: a format that Pillow opens once this module is imported, and what the header says of the patient.

The picture is that of a viewer (DICOM PS3.3 C.7.6.3, C.11; PS3.4 N.2): modality LUT or rescale, then VOI LUT or window,
then the inversion of MONOCHROME1. It has 8 bits, whatever the encoding; only grey levels of more than 8 bits without a
window stay values, to be shown over one range for all images (`medcompare.data.intensity`). pydicom decodes; nothing of
the header reaches a message.
"""

from __future__ import annotations

import logging
import re
import warnings
import zlib
from functools import cache
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image, ImageFile

from medcompare.base.artifacts import CHUNK_BYTES
from medcompare.base.language import message
from medcompare.data.reading import open_regular

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

    from numpy.typing import NDArray

FORMAT = "DICOM"
SHOWN_BY_WINDOW = message(
    "in DICOM, shown as viewers do (modality LUT, then the window or VOI LUT of the file, MONOCHROME1 inverted)"
)
SHOWN_IN_FULL = message(
    "in DICOM, shown as viewers do (modality LUT, no window in the file, MONOCHROME1 inverted)"
)
"""What is said of an image, after a count."""
PREAMBLE_BYTES = 128
SUFFIXES = frozenset({".dcm", ".dicom", ".ima"})
NUMBERED = re.compile(r"(\.\d+)?")
"""Ending of a file named after its number, or of one without ending."""

YEARS = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}
WITHOUT_PREAMBLE = re.compile(
    rb"[\x02\x08]\x00[\x00-\x70]\x00(?:[A-Z][A-Z]|[\x00-\x40]\x00\x00\x00)", flags=re.DOTALL
)
"""A first element of group 2 or 8 with its type or with the length of a short value: so old devices begin a file."""

DEFLATED = b"1.2.840.10008.1.2.1.99"
MAX_META_BYTES = 4096
MAX_INFLATED_BYTES = 800_000_000
"""Four frames of as many pixels as are decoded, of 16 bits."""

DECODERS = "python -m pip install python-gdcm"


class UnknownCompressionError(OSError):
    """Pixels are compressed in a way that no installed decoder reads."""


class NoImageError(OSError):
    """A DICOM file that holds something else, such as a report or a plan."""


class Header(NamedTuple):
    """What the header of a file says of the patient; empty where it does not."""

    patient_id: str
    sex: str
    age: str
    """Years."""


@cache
def _pydicom() -> ModuleType:
    """pydicom, which must not print values of a header: they name patients."""
    import pydicom
    import pydicom.pixels

    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module="pydicom")
    return pydicom


def is_dicom(start: bytes) -> bool:
    """Whether a file that begins with these 132 bytes is DICOM."""
    marked = start[PREAMBLE_BYTES : PREAMBLE_BYTES + 4] == b"DICM"
    return marked or WITHOUT_PREAMBLE.match(start) is not None


def may_be_dicom(path: Path) -> bool:
    """Whether the name allows for DICOM: its ending, a number, or none."""
    return path.suffix.lower() in SUFFIXES or NUMBERED.fullmatch(path.suffix) is not None


def is_dicom_file(path: Path) -> bool:
    """Whether the file at `path` is DICOM, by its first bytes; no where it cannot be read."""
    try:
        with open_regular(path) as file:
            return is_dicom(file.read(PREAMBLE_BYTES + 4))
    except OSError:
        return False


def read_header(path: Path) -> Header | None:
    """Patient id, sex and age in years from the file at `path`; None where it is not DICOM or cannot be read."""
    if not is_dicom_file(path):
        return None
    tags = ["PatientID", "PatientSex", "PatientAge"]
    try:
        with open_regular(path) as file:
            _check_inflated(file)
            dataset = _pydicom().dcmread(file, stop_before_pixels=True, specific_tags=tags, force=True)
            patient_id, sex, age = (str(dataset.get(tag) or "").strip() for tag in tags)
    except Exception:  # noqa: BLE001 - pydicom raises whatever a malformed header makes of it
        return None
    return Header(patient_id=patient_id, sex=sex, age=_years(age))


def _check_inflated(file: IO[bytes]) -> None:
    """Refuse a deflated file (PS3.5 A.5) that would fill the memory, as pydicom inflates it whole."""
    head = file.read(MAX_META_BYTES)
    file.seek(0)
    if DEFLATED not in head:
        return
    # Behind the preamble and the group whose length is the first element of it (PS3.10, 7.1).
    file.seek(144 + int.from_bytes(head[140:144], "little"))
    inflater, n_bytes = zlib.decompressobj(-zlib.MAX_WBITS), 0
    while part := file.read(CHUNK_BYTES):
        while part:
            n_bytes += len(inflater.decompress(part, CHUNK_BYTES))
            part = inflater.unconsumed_tail
            if n_bytes > MAX_INFLATED_BYTES:
                msg = f"a deflated DICOM file of more than {MAX_INFLATED_BYTES / 1e6:.0f} MB"
                raise OSError(msg)
    file.seek(0)


def _years(age: str) -> str:
    """``045Y`` is 45, ``018M`` is 1.5; empty for what is no age."""
    match = re.fullmatch(r"(\d{1,3})([DWMY])", age)
    return f"{int(match[1]) * YEARS[match[2]]:.3g}" if match else ""


class DicomImageFile(ImageFile.ImageFile):
    """A DICOM file as an image of Pillow; of several frames, the first."""

    format = FORMAT
    format_description = "Digital Imaging and Communications in Medicine"

    def _open(self) -> None:
        fp: Any = self.fp
        if not is_dicom(fp.read(PREAMBLE_BYTES + 4)):
            msg = "not a DICOM file"
            raise SyntaxError(msg)
        fp.seek(0)
        _check_inflated(fp)
        try:
            dataset = _pydicom().dcmread(fp, stop_before_pixels=True, force=True)
            size = int(dataset.get("Columns") or 0), int(dataset.get("Rows") or 0)
            n_frames = int(dataset.get("NumberOfFrames") or 1)
            mode = _mode(dataset)
            if mode in {"I", "F"}:
                self.info |= {TYPE_RANGE: _range(dataset), INVERTED: _is_inverted(dataset)}
        except Exception as error:  # noqa: BLE001 - whatever pydicom makes of a malformed header
            msg = f"a DICOM file whose header cannot be read ({type(error).__name__})"
            raise OSError(msg) from None
        if min(size) < 1:
            msg = "a DICOM file without an image, such as a report"
            raise NoImageError(msg)
        self._size, self._mode = size, mode
        self.n_frames = n_frames
        self._is_loaded = False

    def load(self) -> Any:  # noqa: ANN401 - as Pillow's
        """Decode the pixels."""
        if not self._is_loaded:
            fp: Any = self.fp
            fp.seek(0)
            self.im = Image.fromarray(_picture(fp, self.mode)).im
            self._is_loaded = True
        return Image.Image.load(self)


PALETTE = "PALETTE COLOR"
BITS_SHOWN = 8
TYPE_RANGE, INVERTED = "medcompare_type_range", "medcompare_inverted"
"""Keys of what Pillow keeps beside an image: values that its type holds; whether high ones are dark."""


def is_inverted(image: Image.Image) -> bool:
    """Whether high values of an open image are dark: of one from a DICOM file without a window."""
    return bool(image.info.get(INVERTED))


def _picture(file: Any, mode: str) -> NDArray[Any]:  # noqa: ANN401 - anything that pydicom reads
    """Grey levels of shape (height, width), or colours of shape (height, width, 3); values in the modes I and F."""
    pydicom = _pydicom()
    try:
        dataset = pydicom.dcmread(file, force=True)
        if "TransferSyntaxUID" not in dataset.file_meta:
            # Without this header the data are in the default encoding (PS3.5 A.1), or in the one they were found in.
            implicit, little = dataset.original_encoding
            dataset.file_meta.TransferSyntaxUID = (
                pydicom.uid.ImplicitVRLittleEndian
                if implicit
                else pydicom.uid.ExplicitVRLittleEndian
                if little
                else pydicom.uid.ExplicitVRBigEndian
            )
        stored = pydicom.pixels.pixel_array(dataset, index=0)
        if dataset.PhotometricInterpretation == PALETTE:
            return _eight_bits(pydicom.pixels.apply_color_lut(stored, dataset), _bits_of_palette(dataset))
        if dataset.SamplesPerPixel != 1:
            return _eight_bits(stored, dataset.BitsStored)
        if mode in {"I", "F"}:
            values = pydicom.pixels.apply_modality_lut(stored, dataset)
            return np.asarray(values, dtype=np.int32 if mode == "I" else np.float32)
        return _grey(pydicom.pixels, dataset, stored)
    except Exception as error:  # noqa: BLE001 - whatever decoders make of malformed pixels
        if isinstance(error, RuntimeError) and "Unable to de" in str(error):  # decode or decompress
            kind = dataset.file_meta.TransferSyntaxUID.name
            msg = f"compressed as {kind}, for which no decoder is installed: {DECODERS}"
            raise UnknownCompressionError(msg) from None
        what = "are truncated" if "less than expected" in str(error) else "cannot be decoded"
        msg = f"a DICOM file whose pixels {what} ({type(error).__name__})"
        raise OSError(msg) from None


def _grey(pixels: Any, dataset: Any, stored: NDArray[Any]) -> NDArray[np.uint8]:  # noqa: ANN401 - modules and records of pydicom
    values = pixels.apply_modality_lut(stored, dataset)
    voi = "VOILUTSequence" in dataset and len(dataset.VOILUTSequence) > 0
    shown = pixels.apply_voi_lut(values, dataset, index=0).astype(np.float64)
    low, high = (0.0, 2.0 ** _bits_of_lut(dataset.VOILUTSequence[0]) - 1) if voi else _range(dataset)
    if low == high:
        low, high = float(shown.min()), float(shown.max()) or 1.0
    share = np.clip((shown - low) / (high - low), 0.0, 1.0)
    return np.asarray(np.rint(255 * (1 - share if _is_inverted(dataset) else share)), dtype=np.uint8)


def _is_inverted(dataset: Any) -> bool:  # noqa: ANN401 - a record of pydicom
    words = dataset.PhotometricInterpretation, dataset.get("PresentationLUTShape")
    return "MONOCHROME1" in words or "INVERSE" in words


def _mode(dataset: Any) -> str:  # noqa: ANN401 - a record of pydicom
    """Pillow's name of what the pixels become: I or F where nothing says which of many grey values are to be shown."""
    if dataset.get("SamplesPerPixel", 1) != 1 or dataset.get("PhotometricInterpretation") == PALETTE:
        return "RGB"
    if (
        dataset.get("VOILUTSequence")
        or dataset.get("WindowWidth")
        or dataset.get("BitsStored", 0) <= BITS_SHOWN
    ):
        return "L"
    numbers = (float(dataset.get(tag) or 0) for tag in ("RescaleSlope", "RescaleIntercept"))
    return "I" if dataset.get("ModalityLUTSequence") or all(map(float.is_integer, numbers)) else "F"


def _range(dataset: Any) -> tuple[float, float]:  # noqa: ANN401 - a record of pydicom
    """Smallest and largest value after the modality LUT: those that pydicom spreads a window over."""
    if dataset.get("ModalityLUTSequence"):
        return 0.0, 2.0 ** _bits_of_lut(dataset.ModalityLUTSequence[0]) - 1
    bits = dataset.BitsStored
    low, high = (
        (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1) if dataset.PixelRepresentation else (0.0, 2.0**bits - 1)
    )
    slope, intercept = float(dataset.get("RescaleSlope") or 1), float(dataset.get("RescaleIntercept") or 0)
    return low * slope + intercept, high * slope + intercept


def _bits_of_lut(item: Any) -> int:  # noqa: ANN401 - a record of pydicom
    return int(item.LUTDescriptor[2])


def _bits_of_palette(dataset: Any) -> int:  # noqa: ANN401 - a record of pydicom
    return int(dataset.RedPaletteColorLookupTableDescriptor[2])


def _eight_bits(values: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """Unsigned values of `bits` bits with eight."""
    high = 2**bits - 1
    return np.asarray(np.rint(values.astype(np.float64) * (255 / high)), dtype=np.uint8)


Image.register_open(FORMAT, DicomImageFile)
