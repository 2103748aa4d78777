"""The artifact store: content-addressed files, written atomically, read verified.

A file's name is the SHA-256 of its content, so equal content is stored once, two runs
at the same time cannot corrupt each other, and a reader can tell an altered file.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from typing import TYPE_CHECKING

from medcompare.base.errors import ArtifactError, cannot_write
from medcompare.base.file_access import new_part, sync_folder
from medcompare.base.record import Artifact, Record
from medcompare.base.shared_store import shared_store_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHUNK_BYTES = 1 << 20


def sha256_of_bytes(content: bytes) -> str:
    """Hexadecimal SHA-256 of `content`."""
    return hashlib.sha256(content).hexdigest()


def sha256_of_file(path: Path) -> str:
    """Hexadecimal SHA-256 of the file at `path`, read in chunks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` to `path` so that no reader ever sees a part of it.

    Raises
    ------
    DiskFullError, ConfigError
        As `cannot_write`.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = new_part(path)
        try:
            with part.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    except OSError as error:
        raise cannot_write(error, path.parent, n_bytes=len(content)) from error


class ArtifactStore:
    """Content-addressed files below one folder; where it is the copy of a shared store, also there.

    Parameters
    ----------
    root : Path
        Folder of the store; made on first write.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._shared = shared_store_of(root)

    def write(self, content: bytes, suffix: str) -> Artifact:
        """Store `content`; `suffix` such as ``.csv`` only helps people who look."""
        digest = sha256_of_bytes(content)
        relative = f"objects/{digest[:2]}/{digest}{suffix}"
        path = self.root / relative
        # By content: a file that was altered may be as long as it was.
        if not path.is_file() or sha256_of_file(path) != digest:
            write_atomically(path, content)
        self._publish(relative)
        return Artifact(path=relative, sha256=digest, n_bytes=len(content))

    def write_file(self, source: Path, suffix: str) -> Artifact:
        """Move the finished file `source` into the store, read in chunks, never held whole.

        `source` must lie on the store's file system, below `root` for instance, so that
        the move is atomic; it is gone afterwards.
        """
        try:
            with source.open("rb+") as file:
                os.fsync(file.fileno())
            digest, n_bytes = sha256_of_file(source), source.stat().st_size
            relative = f"objects/{digest[:2]}/{digest}{suffix}"
            path = self.root / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            source.replace(path)
            sync_folder(path.parent)
        except OSError as error:
            raise cannot_write(error, self.root) from error
        self._publish(relative)
        return Artifact(path=relative, sha256=digest, n_bytes=n_bytes)

    def path_of(self, artifact: Artifact) -> Path:
        """Path of a verified artifact, copied from the shared store where this machine lacks it.

        Raises
        ------
        ArtifactError
            If the file is missing or its content is not what was recorded.
        SharedStoreError
            If the shared store cannot be read.
        """
        path = self.root / artifact.path
        found = self._verified(path, artifact)
        if found and self._shared is not None:
            with contextlib.suppress(FileNotFoundError):
                self._shared.get({artifact.path: path})
            found = self._verified(path, artifact)
        if found:
            msg = f"stored file {artifact.path} {found}"
            raise ArtifactError(msg)
        return path

    def _verified(self, path: Path, artifact: Artifact) -> str:
        """Empty where the file is what was recorded, else what is wrong with it."""
        if not path.is_file():
            return f"is missing from {self.root}"
        if path.stat().st_size != artifact.n_bytes or sha256_of_file(path) != artifact.sha256:
            return f"in {self.root} was altered"
        return ""

    def _publish(self, relative: str) -> None:
        if self._shared is not None and not self._shared.has(relative):
            self._shared.put({relative: self.root / relative})

    def read(self, artifact: Artifact) -> bytes:
        """Content of a verified artifact; raises like `path_of`."""
        return self.path_of(artifact).read_bytes()


def artifacts_in(record: object) -> Iterator[Artifact]:
    """Every artifact a record refers to, at any depth."""
    if isinstance(record, Artifact):
        yield record
    elif isinstance(record, Record):
        for field in type(record).model_fields:
            yield from artifacts_in(getattr(record, field))
    elif isinstance(record, list | tuple):
        for item in record:
            yield from artifacts_in(item)
    elif isinstance(record, dict):
        for item in record.values():
            yield from artifacts_in(item)
