"""Decoded pixels below the store, mapped into memory: decoded once for all models, seeds, folds and later runs.

A file's name is the digest of the image's content, its range of grey levels, the form it is kept in and the code
that made it: what is found is exactly what would be computed. Names and patients are not in it. What was used
last goes last. An entry that is damaged, or cannot be written, is computed instead.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import mmap
import os
import shutil
import struct
import time
import zlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from medcompare.base.code_identity import code_digest
from medcompare.base.file_access import new_part

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from medcompare.data.assignments import ImageRow

FOLDER = "pixels"
BEHIND = ("medcompare.data.decoding", "medcompare.training.transforms", "medcompare.training.image_cache")
"""Modules that the pixels depend on."""
SHARE_OF_FREE = 4
"""At most this fraction (1/4) of the free disk is filled."""
TOUCH_AFTER_S = 3600.0
"""An entry's time of last use is written once an hour at most."""
_HEADER = struct.Struct("<III")
"""Height, width, CRC-32 of the pixels."""

logger = logging.getLogger(__name__)


@cache
def _code() -> str:
    return code_digest(*BEHIND)


def key_of(row: ImageRow, form: str) -> str:
    """Name of the entry of the image in `row`, kept as `form` says."""
    return hashlib.sha256(f"{row.sha256} {row.grey_range} {form} {_code()}".encode()).hexdigest()


class ImageCache:
    """Pixels by key. Loading processes get a copy: each may write its share of the room.

    Parameters
    ----------
    store : Path
        The store; entries lie below its folder ``pixels``.
    room_bytes : int
        How much may be written; 0: entries are only read.
    """

    def __init__(self, store: Path, *, room_bytes: int) -> None:
        self.folder = store / FOLDER
        self._room_bytes = room_bytes

    def get(self, key: str, *, check: bool) -> Tensor | None:
        """Entry `key`, (3, height, width), uint8, a view of the file; None where there is none.

        With `check` its checksum is compared, and its time of last use is renewed.
        """
        # As text: `pathlib` interns each part of a path, and the table of interned names grows by megabytes.
        path = f"{self.folder}/{key[:2]}/{key}"
        try:
            with open(path, "rb") as file:  # noqa: PTH123
                # A private mapping: torch asks for memory it may write to.
                content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
                height, width, checksum = _HEADER.unpack_from(content)
                pixels = torch.frombuffer(
                    content, dtype=torch.uint8, offset=_HEADER.size, count=3 * height * width
                )
                whole = not check or zlib.crc32(memoryview(content)[_HEADER.size :]) == checksum
                if check and time.time() - os.fstat(file.fileno()).st_mtime > TOUCH_AFTER_S:
                    os.utime(path)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, struct.error):  # of a length that was not written so
            whole = False
        if not whole:
            logger.warning("an entry of the image cache is damaged and is made again: %s", key[:12])
            return None
        return pixels.reshape(height, width, 3).permute(2, 0, 1)

    def put(self, key: str, image: Tensor) -> None:
        """Keep `image` (3, height, width), uint8, if there is room."""
        if image.nbytes > self._room_bytes:
            return
        self._room_bytes -= image.nbytes
        path = self.folder / key[:2] / key
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part = new_part(path)
            try:
                pixels = image.permute(1, 2, 0).contiguous().numpy().tobytes()
                header = _HEADER.pack(*image.shape[1:], zlib.crc32(pixels))
                # Not forced to the disk: the checksum tells what a power cut left of it.
                with part.open("wb") as file:
                    file.write(header + pixels)
                part.replace(path)
            except BaseException:
                part.unlink(missing_ok=True)
                raise
        except OSError as error:
            self._room_bytes = 0
            logger.warning("the image cache in %s is not filled further: %s", self.folder, error.strerror)


def image_cache(
    store: Path, limit_bytes: int, *, n_writers: int = 1, wanted: Iterable[str] = ()
) -> ImageCache | None:
    """The cache of `store`, of at most `limit_bytes`; None where that is 0.

    Entries that nobody asked for the longest go until half of the limit is free, but for those `wanted`
    (keys). So a run never removes what it is about to read, and the rest is used again.

    Parameters
    ----------
    store : Path
        The store.
    limit_bytes : int
        Most of its disk; a quarter of what is free is never passed either.
    n_writers : int
        Processes that fill it at the same time; each gets an equal share of the room.
    wanted : iterable of str
        Keys of the images to come.
    """
    if not limit_bytes:
        return None
    folder = store / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for part in folder.iterdir():
        with contextlib.suppress(OSError):  # removed by a run beside this one
            entries += [
                (found.stat().st_mtime, found.stat().st_size, Path(found)) for found in os.scandir(part)
            ]
    used = sum(n_bytes for _, n_bytes, _ in entries)
    if used > limit_bytes // 2:
        spared = set(wanted)
        for _, n_bytes, path in sorted(entries):
            if used <= limit_bytes // 2:
                break
            if path.name not in spared:
                path.unlink(missing_ok=True)
                used -= n_bytes
    room = min(limit_bytes - used, shutil.disk_usage(folder).free // SHARE_OF_FREE)
    return ImageCache(store, room_bytes=max(0, room) // n_writers)
