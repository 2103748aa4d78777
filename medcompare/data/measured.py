"""What was measured of images, kept in a store from run to run.

By content: equal bytes are measured once, wherever they lie. And by file: one whose size, times and inode are as they
were is not read again. SQLite, as it keeps what was committed when a process is killed, and lets several runs in.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
import threading
import time
from dataclasses import fields
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from medcompare.base.code_identity import code_digest
from medcompare.data.perceptual_hash import HASHED, SIDE_PX, hashed
from medcompare.data.quality import MIN_SPREAD, Quality
from medcompare.data.validation import ImageMeasurement

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

FOLDER = "measured"
BEHIND = (
    "medcompare.data.validation",
    "medcompare.data.perceptual_hash",
    "medcompare.data.phase_correlation",
)
"""A change of their code, or of a library, begins a new file."""

MAX_WAITING, MAX_WAIT_S = 1000, 2.0
"""So much is lost at most where the process is killed."""

AT_ONCE = 500
"""Rows asked for at once; SQLite takes some 32,000 values in a question."""

_TABLES = """
CREATE TABLE IF NOT EXISTS images (
    id INTEGER PRIMARY KEY, sha256 BLOB UNIQUE NOT NULL, pixel_sha256 BLOB, facts TEXT NOT NULL,
    hash BLOB, small_picture BLOB, thumbnail BLOB
);
CREATE TABLE IF NOT EXISTS files (
    path BLOB PRIMARY KEY, size INTEGER, modified INTEGER, changed INTEGER, inode INTEGER, image INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS compared (pair INTEGER PRIMARY KEY, same INTEGER NOT NULL);
"""
_FIGURES = tuple(field.name for field in fields(Quality))
_APART = ("sha256", "pixel_sha256", "small_picture", "thumbnail", "quality")


class FileFacts(NamedTuple):
    """What tells whether a file is the one that was read."""

    size: int
    modified: int
    changed: int
    inode: int


class Measured:
    """Measurements in a file of `store`; without a store in memory.

    Parameters
    ----------
    store : Path or None
        Root of the artifact store.
    """

    def __init__(self, store: Path | None) -> None:
        self._lock = threading.Lock()
        self._images: dict[str, ImageMeasurement] = {}
        self._files: list[tuple[bytes, FileFacts, str]] = []
        self._flushed_at = time.monotonic()
        path = None
        if store is not None:
            path = store / FOLDER / f"{code_digest(*BEHIND)[:16]}.sqlite"
            path.parent.mkdir(parents=True, exist_ok=True)
        self._database = _opened(path)

    def close(self) -> None:
        """Write down what waits, and let go."""
        self.flush()
        self._database.close()

    def known_files(self, keys: Sequence[bytes]) -> dict[bytes, tuple[FileFacts, int, str, bool]]:
        """Key -> (facts, number of its image, SHA-256, whether it has a small picture)."""
        rows = self._rows(
            "SELECT path, size, modified, changed, inode, image, lower(hex(sha256)), small_picture IS NOT NULL "
            "FROM files JOIN images ON image = id WHERE path IN ({})",
            keys,
        )
        return {key: (FileFacts(*facts), image, sha, bool(small)) for key, *facts, image, sha, small in rows}

    def has(self, sha256: str, *, small: bool) -> bool:
        """Whether this content was measured, with a small picture if `small`; from any thread."""
        found = list(
            self._rows(
                "SELECT small_picture IS NOT NULL FROM images WHERE sha256 IN ({})", [bytes.fromhex(sha256)]
            )
        )
        return bool(found) and (not small or bool(found[0][0]))

    def add(
        self, sha256: str, measured: ImageMeasurement | None, key: bytes, facts: FileFacts | None
    ) -> bool:
        """Keep what was measured, None if it is known, of the file of this key; whether it was written down by now.

        Parameters
        ----------
        sha256 : str
            Of the content.
        measured : ImageMeasurement or None
            With its thumbnail.
        key : bytes
            From `key_of`.
        facts : FileFacts or None
            None: the file may change without a trace, so that it is read again next time.
        """
        if measured is not None:
            self._images[sha256] = measured
        if facts is not None:
            self._files.append((key, facts, sha256))
        due = (
            len(self._images) + len(self._files) >= MAX_WAITING
            or time.monotonic() > self._flushed_at + MAX_WAIT_S
        )
        if due:
            self.flush()
        return due

    def flush(self) -> None:
        """Write down what waits, without a name of a file."""
        images = [_row(sha256, measured) for sha256, measured in self._images.items()]
        with self._lock, self._database:
            self._database.executemany(
                "INSERT INTO images (sha256, pixel_sha256, facts, hash, small_picture, thumbnail) "
                "VALUES (?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (sha256) DO UPDATE SET small_picture = coalesce(excluded.small_picture, small_picture)",
                _with_hashes(images),
            )
            self._database.executemany(
                "INSERT OR REPLACE INTO files SELECT ?, ?, ?, ?, ?, id FROM images WHERE sha256 = ?",
                [(key, *facts, bytes.fromhex(sha256)) for key, facts, sha256 in self._files],
            )
        self._images, self._files, self._flushed_at = {}, [], time.monotonic()

    def numbers(self, shas: Sequence[str]) -> dict[str, int]:
        """SHA-256 -> number of the image, of those that were written down."""
        keys = [bytes.fromhex(sha) for sha in shas]
        return dict(self._rows("SELECT lower(hex(sha256)), id FROM images WHERE sha256 IN ({})", keys))

    def measurements(self, numbers: NDArray[np.int64], *, small: bool = False) -> Iterator[ImageMeasurement]:
        """What was measured of the images of these numbers, without thumbnail; small pictures if `small`."""
        question = (
            "SELECT id, lower(hex(sha256)), lower(hex(pixel_sha256)), facts, CASE ? WHEN 1 THEN small_picture END "
            "FROM images WHERE id IN ({})"
        )
        for start in range(0, len(numbers), AT_ONCE):
            wanted = numbers[start : start + AT_ONCE].tolist()
            found = {row[0]: row[1:] for row in self._rows(question, sorted(set(wanted)), small)}
            yield from (_measurement(*found[number]) for number in wanted)

    def hashes(self, numbers: NDArray[np.int64]) -> tuple[NDArray[np.void], NDArray[np.bool_]]:
        """Hashes of the images of these numbers, and which have one: those with contrast."""
        found, rich = np.zeros(len(numbers), HASHED), np.zeros(len(numbers), bool)
        question = "SELECT id, hash FROM images WHERE hash IS NOT NULL AND id IN ({})"
        for at, content in self._placed(question, numbers):
            found[at], rich[at] = np.frombuffer(content, HASHED)[0], True
        return found, rich

    def thumbnails(self, numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Thumbnails of the images of these numbers, shape (n, SIDE_PX, SIDE_PX)."""
        found = np.zeros((len(numbers), SIDE_PX, SIDE_PX), np.uint8)
        for at, content in self._placed("SELECT id, thumbnail FROM images WHERE id IN ({})", numbers):
            found[at] = np.frombuffer(content, np.uint8).reshape(SIDE_PX, SIDE_PX)
        return found

    def compared(self) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Pairs that were compared, in order, and whether they show the same."""
        with self._lock:
            cursor = self._database.execute("SELECT pair, same FROM compared ORDER BY pair")
            parts = []
            while rows := cursor.fetchmany(100_000):
                parts.append(np.array(rows, np.int64))
        both = np.concatenate([np.zeros((0, 2), np.int64), *parts])
        return both[:, 0], both[:, 1] > 0

    def add_compared(self, pairs: NDArray[np.int64], same: NDArray[np.bool_]) -> None:
        """Keep whether `pairs` show the same."""
        with self._lock, self._database:
            self._database.executemany(
                "INSERT OR REPLACE INTO compared VALUES (?, ?)",
                zip(pairs.tolist(), same.tolist(), strict=True),
            )

    def _placed(self, question: str, numbers: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.intp], bytes]]:
        """(places in `numbers`, answer) for each number, in the order of the file, which is read from end to end."""
        order = np.argsort(numbers, kind="stable")
        ordered = numbers[order]
        wanted = np.unique(ordered)
        for start in range(0, len(wanted), AT_ONCE):
            for number, content in self._rows(question, wanted[start : start + AT_ONCE].tolist()):
                yield (
                    order[np.searchsorted(ordered, number) : np.searchsorted(ordered, number, side="right")],
                    content,
                )

    def _rows(self, question: str, values: Sequence[Any], *before: object) -> Iterator[tuple[Any, ...]]:
        for start in range(0, len(values), AT_ONCE):
            part = values[start : start + AT_ONCE]
            with self._lock:
                rows = self._database.execute(
                    question.format(",".join("?" * len(part))), [*before, *part]
                ).fetchall()
            yield from rows


def key_of(path: Path) -> bytes:
    """A path as it is kept: without a name in it."""
    return hashlib.blake2b(os.fsencode(path), digest_size=16).digest()


def _opened(path: Path | None) -> sqlite3.Connection:
    for is_last in (False, True):
        database = sqlite3.connect(path or ":memory:", timeout=600, check_same_thread=False)
        try:
            database.execute("PRAGMA synchronous = NORMAL")
            database.executescript(_TABLES)
            if path is not None:
                os.utime(path)  # housekeeping goes by the time of last use
        except sqlite3.DatabaseError as error:
            database.close()
            # What cannot be read is measured again; a full disk, or a folder that cannot be written, is no damage.
            if path is None or is_last or isinstance(error, sqlite3.OperationalError):
                raise
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
        else:
            return database
    raise AssertionError


def _row(sha256: str, measured: ImageMeasurement) -> list[Any]:
    facts = {name: value for name, value in vars(measured).items() if name not in _APART}
    facts["quality"] = measured.quality and [getattr(measured.quality, name) for name in _FIGURES]
    return [
        bytes.fromhex(sha256),
        bytes.fromhex(measured.pixel_sha256) if measured.pixel_sha256 else None,
        json.dumps(facts, separators=(",", ":")),
        None,
        b"" if measured.reason is not None else measured.small_picture or None,
        measured.thumbnail or None,
    ]


def _with_hashes(rows: list[list[Any]]) -> list[list[Any]]:
    shown = [row for row in rows if row[-1] is not None]
    if shown:
        pictures = np.frombuffer(b"".join(row[-1] for row in shown), np.uint8).reshape(-1, SIDE_PX, SIDE_PX)
        rich = pictures.std(axis=(1, 2), dtype=np.float32) >= MIN_SPREAD
        for row, one, has_contrast in zip(shown, hashed(pictures), rich, strict=True):
            row[3] = one.tobytes() if has_contrast else None
    return rows


def _measurement(sha256: str, pixel_sha256: str, facts: str, small_picture: bytes | None) -> ImageMeasurement:
    values = json.loads(facts)
    if values["quality"] is not None:
        values["quality"] = Quality(**dict(zip(_FIGURES, values["quality"], strict=True)))
    for name in ("span", "type_range"):
        values[name] = values[name] and tuple(values[name])
    return ImageMeasurement(
        **{**values, "preview_px": tuple(map(tuple, values["preview_px"]))},
        sha256=sha256,
        pixel_sha256=pixel_sha256 or None,
        small_picture=small_picture or b"",
    )
