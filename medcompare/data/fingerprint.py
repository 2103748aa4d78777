"""Identity of a source by content: what a cached ingest is keyed on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from medcompare.base.artifacts import sha256_of_bytes
from medcompare.base.file_names import file_at
from medcompare.base.record import Record
from medcompare.data.reading import BYTES_PER_MB, Digests, read_each

if TYPE_CHECKING:
    from pathlib import Path

    from medcompare.config.data import DataConfig
    from medcompare.data.sources.listing import ImageSource

N_HASH_THREADS = 8
"""Hashing waits for the disk more than for the processor."""


class SourceFingerprint(Record):
    """Identity of a source by content: what a cached ingest is keyed on.

    ``digest`` covers every file's bytes, relative path, label and manifest row, in no
    particular order, and which class is positive. Where the folder lies does not count.
    """

    digest: str
    name: str
    n_files: int
    n_bytes: int
    classes: tuple[str, str]


def fingerprint(
    source: ImageSource,
    data: DataConfig,
    *,
    known: Path | None = None,
) -> SourceFingerprint:
    """Digest of everything the source holds, read with several threads.

    Parameters
    ----------
    source : ImageSource
        Listed files. One that cannot be read counts as such and is checked at ingest.
    data : DataConfig
        Limits: ``max_file_mb``, ``file_timeout_s`` and ``timeout_minutes``.
    known : Path, optional
        Folder that keeps the digests from run to run: of a file whose size, times and inode are as
        they were, the bytes are not read again. Whoever trains on a file verifies its digest anyway.

    Returns
    -------
    SourceFingerprint
        Equal for equal content, wherever the folder lies and in whatever order it lists.

    Raises
    ------
    DataError
        If a file is not read in time, or all of them.
    """
    lines: list[str] = []
    n_bytes = 0
    max_bytes = data.max_file_mb * BYTES_PER_MB
    kept = Digests(source.root, known, max_bytes=max_bytes)
    digests = read_each(
        kept.digest_and_size,
        [file_at(source.root, file.path) for file in source.files],
        [file.path for file in source.files],
        n_threads=N_HASH_THREADS,
        file_timeout_s=data.file_timeout_s,
        timeout_minutes=data.timeout_minutes,
        stage="reading the images",
    )
    for file, (digest, size) in zip(source.files, digests, strict=True):
        lines.append(
            json.dumps([file.path, digest, file.label, file.patient_id, file.published, *file.extra])
        )
        n_bytes += size
    kept.keep()
    # The notes go into the manifest, so a cached one must not carry those of another listing.
    head = json.dumps(
        [source.classes, source.extra_columns, source.has_patients, source.synthetic, source.notes]
    )
    content = "\n".join([head, *sorted(lines)]).encode()
    return SourceFingerprint(
        digest=sha256_of_bytes(content),
        name=source.name,
        n_files=len(source.files),
        n_bytes=n_bytes,
        classes=source.classes,
    )
