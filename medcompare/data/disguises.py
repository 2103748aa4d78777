"""What a file is that its name calls an image, or does not."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from PIL import Image

from medcompare.base.language import message
from medcompare.data.reading import open_regular

if TYPE_CHECKING:
    from pathlib import Path

RECOGNISED = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "JPEG2000", "PPM", "AVIF")
"""Formats, in Pillow's names, that count whatever the ending: common, of pixels, and with a signature of their own."""

HEAD_BYTES = 352

SIGNATURES = (
    (0, b"\x1f\x8b", "a gzip archive: unpack it; a NIfTI volume (.nii.gz) is to be cut into slices first"),
    (0, b"PK\x03\x04", "a zip archive: unpack it"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it"),
    (0, b"Rar!", "a rar archive: unpack it"),
    (344, b"n+1\0", "a NIfTI volume: cut it into slices and save them as images"),
    (344, b"ni1\0", "a NIfTI volume: cut it into slices and save them as images"),
    (128, b"DICM", "a DICOM file"),
    (0, b"\x89HDF", "an HDF5 file: save its arrays as images"),
    (0, b"\x93NUMPY", "a numpy array: save it as an image"),
    (0, b"NRRD", "an NRRD volume: cut it into slices and save them as images"),
    (0, b"%PDF", "a PDF: save the images in it as PNG"),
    (0, b"%!PS", "PostScript: save it as PNG"),
    (0, b"version https://git-lfs", "a pointer of Git LFS, not the image itself: run git lfs pull"),
    (0, b"<!DOCTYPE", "a web page: was the download refused?"),
    (0, b"<!doctype", "a web page: was the download refused?"),
    (0, b"<html", "a web page: was the download refused?"),
    (0, b"<?xml", "XML, not an image"),
)
"""(position, bytes there, what it is and what to do)."""

FOREIGN = {
    (".svs", ".ndpi", ".mrxs", ".scn", ".bif", ".czi", ".vms", ".vmu", ".vsi"): message(
        "whole-slide images; cut patches from the regions that count, save them as PNG, and have one score per patient "
        "made of theirs: --set evaluate.per_patient=mean"
    ),
    (".nii", ".nrrd", ".mha", ".mhd", ".gz"): message(
        "volumes such as NIfTI, or files packed with gzip; save the slices that count as PNG, or unpack them"
    ),
    (".heic", ".heif", ".psd", ".raw", ".nef", ".cr2", ".pdf"): message(
        "photographs and documents; save the images as PNG"
    ),
    (".npy", ".mat", ".h5", ".hdf5", ".pt", ".pkl"): message(
        "arrays; save each image as PNG, or all as .npz with labels"
    ),
    (".zip", ".tar", ".tgz", ".7z", ".rar", ".npz"): message(
        "archives; unpack them, or give one alone with --data"
    ),
}
"""Endings of other kinds -> what they are and what to do."""


def what_it_is(file: IO[bytes]) -> str:
    """What an open file that is no image is, by its first bytes; empty where they say nothing."""
    file.seek(0)
    head = file.read(HEAD_BYTES)
    return next((words for at, mark, words in SIGNATURES if head[at : at + len(mark)] == mark), "")


def is_image_file(path: Path) -> bool:
    """Whether the regular file at `path` is an image by its first bytes; no where it cannot be read."""
    try:
        with open_regular(path) as file, Image.open(file, formats=RECOGNISED):
            return True
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False


def is_slide(image: Image.Image) -> bool:
    """Whether an open image is a whole-slide scan, by the description that scanners write."""
    description = str(getattr(image, "tag_v2", {}).get(270, ""))[:2000]
    return any(mark in description for mark in ("Aperio", "Hamamatsu", "OME-XML", "PHILIPS", "Leica"))
