"""Images in one file: ``.zip`` and ``.tar`` of any other source, and ``.npz`` with arrays of images and labels.

An archive is unpacked below the cache, once for its content. Every member is checked before anything is written:
a name that leads outside, a link, a device, or more bytes than images have refuses the whole archive.
"""

from __future__ import annotations

import contextlib
import csv
import os
import shutil
import stat
import tarfile
import uuid
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, TYPE_CHECKING, Any, NoReturn

import numpy as np
from PIL import Image

from medcompare.base.artifacts import CHUNK_BYTES
from medcompare.base.errors import DataError
from medcompare.base.file_names import escape_name
from medcompare.data.published import subset_of
from medcompare.data.reading import BYTES_PER_MB, NotRegularError, sha256_of_regular
from medcompare.data.sources.folder import is_junk
from medcompare.data.sources.listing import TABLE_SUFFIXES, clean_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".npz")
FOREIGN_ENDINGS = (".7z", ".rar", ".tar.zst")

MAX_RATIO = 100
"""Unpacked over packed bytes, of the whole archive: images shrink to a half, text to a tenth, bombs to a thousandth."""

MAX_BYTES = 2 * 10**12
MAX_ARRAY_BYTES = 8 * 10**9
"""All arrays of an .npz together: one of them is held in memory."""

MAX_HEADER_BYTES = 2**20
"""Of names and attributes of one member of a tar file."""

N_NAMED = 3
IMAGE_ARRAYS = frozenset({"images", "image", "imgs", "x", "data"})
LABEL_ARRAYS = frozenset({"labels", "label", "y", "targets", "target"})


@dataclass(frozen=True, kw_only=True)
class _Member:
    name: str
    n_bytes: int
    fault: str
    """What forbids unpacking it; empty: nothing."""
    open: Callable[[], IO[bytes] | None]


def is_archive(place: Path) -> bool:
    """Whether the name of `place` is that of a file that is unpacked."""
    return place.name.lower().endswith((*ENDINGS, *FOREIGN_ENDINGS)) and not place.is_dir()


def name_of(place: Path) -> str:
    """The name of the file without its endings."""
    name = place.name
    ending = next((e for e in sorted(ENDINGS, key=len, reverse=True) if name.lower().endswith(e)), "")
    return clean_name(name[: len(name) - len(ending)])


def unpacked(archive: Path, root: Path, *, max_file_mb: int) -> Path:
    """Folder or table below `root` that holds what is in `archive`, unpacked where that was not done before.

    Parameters
    ----------
    archive : Path
        An existing file.
    root : Path
        Folder of the cache.
    max_file_mb : int
        Larger members are refused, megabytes.

    Raises
    ------
    DataError
        If it is no archive of its kind, encrypted or damaged, or a member could be harmful. Nothing is left behind.
    """
    if archive.name.lower().endswith(FOREIGN_ENDINGS):
        _refuse(
            archive,
            f"archives of this kind are not read; unpack it, or pack it as {' or '.join(ENDINGS[:2])}",
        )
    try:
        digest = sha256_of_regular(archive)
    except OSError as error:
        kind = isinstance(error, NotRegularError)
        _refuse(archive, f"is {error}, not a file" if kind else f"cannot be read ({error.strerror})")
    folder = root / f"{name_of(archive)}-{digest[:16]}"
    if not folder.is_dir():
        _fill(folder, archive, max_file_mb * BYTES_PER_MB)
    os.utime(folder)  # `medcompare prune` deletes what was not read for long
    return _inside(folder)


def _fill(folder: Path, archive: Path, max_bytes: int) -> None:
    """Unpack into a folder of another name, so that `folder` appears whole: by the first of several that do."""
    building = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    root_is_new = not folder.parent.exists()
    try:
        if archive.name.lower().endswith(".npz"):
            _write_arrays(building, archive)
        else:
            with _members(archive) as members:
                _write_members(building, _checked(members, archive, max_bytes), archive)
        with contextlib.suppress(FileExistsError):
            building.rename(folder)
    except DataError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever unpackers make of a malformed archive
        _refuse(archive, f"cannot be unpacked ({escape_name(str(error))[:200]}); is it complete?")
    finally:
        shutil.rmtree(building, ignore_errors=True)
        if root_is_new:
            with contextlib.suppress(OSError):  # it is not empty: all went well
                folder.parent.rmdir()


def _refuse(archive: Path, what: str) -> NoReturn:
    msg = f"{archive}: {what}"
    raise DataError(msg) from None


@contextlib.contextmanager
def _members(archive: Path) -> Iterator[Iterator[_Member]]:
    if archive.name.lower().endswith(".zip"):
        with zipfile.ZipFile(archive) as file:
            yield (_zip_member(file, info) for info in file.infolist() if not info.is_dir())
    else:
        with tarfile.open(archive, tarinfo=_BoundedInfo) as tar:
            yield (_tar_member(tar, info) for info in tar if not info.isdir())


class _BoundedInfo(tarfile.TarInfo):
    """A member whose name fits into the memory: tarfile reads names and attributes of any length at once."""

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type not in {*tarfile.REGULAR_TYPES, tarfile.GNUTYPE_SPARSE} and self.size > MAX_HEADER_BYTES:
            msg = f"a header of {self.size:,} bytes"
            raise OSError(msg)  # a ReadError would have tarfile try other compressions
        return super()._proc_member(tar)  # type: ignore[misc,no-any-return] # documented for subclasses, in no stub


def _zip_member(file: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Member:
    kind = stat.S_IFMT(info.external_attr >> 16)
    fault = "" if kind in {0, stat.S_IFREG} else "a link or a device"
    if info.flag_bits & 1:
        fault = "encrypted: unpack it with its password"
    return _Member(name=info.filename, n_bytes=info.file_size, fault=fault, open=lambda: file.open(info))


def _tar_member(tar: tarfile.TarFile, info: tarfile.TarInfo) -> _Member:
    fault = "" if info.isreg() else "a link or a device"
    return _Member(name=info.name, n_bytes=info.size, fault=fault, open=lambda: tar.extractfile(info))


def _checked(members: Iterator[_Member], archive: Path, max_bytes: int) -> list[_Member]:
    """The members to write; a DataError where one may not be."""
    packed, total = archive.stat().st_size, 0
    kept: list[_Member] = []
    names: set[PurePosixPath] = set()
    faults: list[str] = []
    for member in members:
        path = PurePosixPath(member.name.replace("\\", "/"))
        parts = path.parts
        if any(is_junk(part) for part in parts if part != ".."):
            continue
        total += member.n_bytes
        fault = member.fault
        if ".." in parts or parts[:1] == ("/",) or PureWindowsPath(member.name).drive or "\0" in member.name:
            fault = "leads outside"
        elif member.n_bytes > max_bytes:
            fault = f"{member.n_bytes / 1e6:,.0f} MB, limit {max_bytes / 1e6:,.0f} (data.max_file_mb)"
        elif path in names:
            fault = "twice"
        if fault:
            faults.append(f"{escape_name(member.name)} ({fault})")
        # Looked at on the way: listing the rest of a bomb would unpack it.
        if total > min(MAX_BYTES, max(packed * MAX_RATIO, BYTES_PER_MB)):
            _refuse(
                archive,
                f"unpacks to more than {total / 1e6:,.0f} MB from {packed / 1e6:,.1f} MB: no images shrink like "
                "this. It was not unpacked; if you trust it, unpack it yourself and give the folder",
            )
        names.add(path)
        kept.append(member)
    if faults:
        more = f" and {len(faults) - N_NAMED} more" if len(faults) > N_NAMED else ""
        _refuse(
            archive,
            f"{len(faults)} of {len(kept)} members may not be unpacked: {'; '.join(faults[:N_NAMED])}{more}. "
            "Nothing was written; pack the folder of the images again",
        )
    if total > shutil.disk_usage(archive.parent).free and total > MAX_ARRAY_BYTES:
        _refuse(archive, f"unpacks to {total / 1e9:,.0f} GB, more than there is room for")
    return kept


def _write_members(folder: Path, members: list[_Member], archive: Path) -> None:
    folder.mkdir(parents=True)
    for member in members:
        target = folder / PurePosixPath(member.name.replace("\\", "/"))
        target.parent.mkdir(parents=True, exist_ok=True)
        source = member.open()
        if source is None:
            _refuse(archive, f"{escape_name(member.name)} cannot be read")
        with source, target.open("xb") as file:
            left = member.n_bytes
            while chunk := source.read(min(CHUNK_BYTES, left + 1)):
                left -= len(chunk)
                if left < 0:
                    _refuse(archive, f"{escape_name(member.name)} is larger than the archive says")
                file.write(chunk)


def _inside(folder: Path) -> Path:
    """What is to be read of an unpacked folder: past folders around everything, the one table beside its images."""
    while True:
        entries = [entry for entry in folder.iterdir() if not is_junk(entry.name)]
        if len(entries) != 1 or not entries[0].is_dir():
            break
        below = [entry for entry in entries[0].iterdir() if not is_junk(entry.name)]
        if not any(entry.is_dir() or entry.suffix.lower() in TABLE_SUFFIXES for entry in below):
            break  # the one folder holds the images of a class
        folder = entries[0]
    tables = [entry for entry in entries if entry.suffix.lower() in TABLE_SUFFIXES - {".txt"}]
    n_folders = sum(entry.is_dir() for entry in entries)
    return tables[0] if len(tables) == 1 and n_folders <= 1 else folder


def _write_arrays(folder: Path, archive: Path) -> None:
    """Images as PNG and a ``manifest.csv``, from arrays called like those of MedMNIST."""
    with zipfile.ZipFile(archive) as file:
        total = sum(info.file_size for info in file.infolist())
    if total > min(MAX_ARRAY_BYTES, max(MAX_RATIO * archive.stat().st_size, BYTES_PER_MB)):
        _refuse(
            archive, f"unpacks to {total / 1e6:,.0f} MB; write the images as files, and give their folder"
        )
    with np.load(archive, allow_pickle=False) as arrays:
        pairs = _pairs(arrays.files)
        if not pairs:
            _refuse(
                archive,
                f"no arrays of images and labels; there are: {', '.join(arrays.files[:12])}. Expected train_images and "
                "train_labels, also for val and test, or images and labels",
            )
        folder.mkdir(parents=True)
        with (folder / "manifest.csv").open("x", encoding="utf-8", newline="") as file_of_rows:
            rows = csv.writer(file_of_rows)
            rows.writerow(["path", "label", *(["split"] if all(pairs) else [])])
            for subset, (name_of_images, name_of_labels) in pairs.items():
                images, labels = (
                    arrays[name_of_images],
                    _flat(arrays[name_of_labels], name_of_labels, archive),
                )
                _check_images(images, labels, name_of_images, archive)
                (folder / (subset or "images")).mkdir()
                for i, (pixels, label) in enumerate(zip(images, labels, strict=True)):
                    path = f"{subset or 'images'}/{i:07d}.png"
                    Image.fromarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels).save(
                        folder / path
                    )
                    rows.writerow([path, label, *([subset] if all(pairs) else [])])


def _pairs(names: list[str]) -> dict[str, tuple[str, str]]:
    """(images, labels) by name of the subset; one without a name where there is no split."""
    found: dict[str, dict[str, str]] = {}
    for name in names:
        words = name.lower().split("_")
        for kind, known in (("images", IMAGE_ARRAYS), ("labels", LABEL_ARRAYS)):
            rest = [word for word in words if word not in known]
            if len(rest) == len(words) - 1 and (not rest or subset_of("_".join(rest))):
                found.setdefault("_".join(rest), {})[kind] = name
    return {subset: (each["images"], each["labels"]) for subset, each in found.items() if len(each) == 2}


def _flat(labels: NDArray[Any], name: str, archive: Path) -> list[str]:
    """One label per image; columns of 0 and 1 with one 1 per row by the number of the column."""
    if labels.ndim == 2 and labels.shape[1] > 1:
        if not ((labels == 0) | (labels == 1)).all() or not (labels.sum(axis=1) == 1).all():
            _refuse(archive, f"array {name} gives images several labels; give each one class")
        labels = labels.argmax(axis=1)
    return [str(label) for label in labels.reshape(len(labels), -1)[:, 0].tolist()]


def _check_images(images: NDArray[Any], labels: list[str], name: str, archive: Path) -> None:
    fits = images.ndim == 3 or (images.ndim == 4 and images.shape[3] in {1, 3})
    deep = images.dtype == "uint16" and (images.ndim == 3 or images.shape[3] == 1)
    if not fits or not (images.dtype == "uint8" or deep) or len(images) != len(labels):
        _refuse(
            archive,
            f"array {name} is {images.dtype} of shape {images.shape} with {len(labels)} labels; expected whole numbers "
            "of 8 bits (16 in grey) of shape (images, height, width) or (images, height, width, 3)",
        )
