"""Identity of a source by content: what a cached ingest is keyed on."""

from __future__ import annotations

import contextlib
import hashlib
import json
from typing import TYPE_CHECKING

from medcompare.base.record import Record
from medcompare.data.measured import Measured
from medcompare.data.measuring import measure_files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from medcompare.config.data import DataConfig
    from medcompare.data.measuring import MeasuredFiles
    from medcompare.data.sources.listing import ImageSource


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
    store: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> SourceFingerprint:
    """Digest of everything the source holds; what is not known of it yet is read, and measured on the way.

    Parameters
    ----------
    source : ImageSource
        Listed files. One that cannot be read counts as such and is checked at ingest.
    data : DataConfig
        Limits: ``max_file_mb``, ``file_timeout_s`` and ``timeout_minutes``.
    store : Path, optional
        Root of the artifact store, which keeps what was measured from run to run: of a file whose size, times and
        inode are as they were, the bytes are not read again. Whoever trains on a file verifies its digest anyway.
    progress : callable, optional
        Called with (files done, files in all) after each file.

    Returns
    -------
    SourceFingerprint
        Equal for equal content, wherever the folder lies and in whatever order it lists.

    Raises
    ------
    DataError
        If a file is not read in time, or all of them.
    """
    with contextlib.closing(Measured(store)) as kept:
        files = measure_files(source, data, kept, progress=progress)
    return SourceFingerprint(
        digest=digest_of(source, files),
        name=source.name,
        n_files=len(source.files),
        n_bytes=files.n_bytes,
        classes=source.classes,
    )


def digest_of(source: ImageSource, files: MeasuredFiles) -> str:
    """Digest of everything `source` holds, as far as its files were measured."""
    # The notes go into the manifest, so a cached one must not carry those of another listing.
    head = json.dumps(
        [source.classes, source.extra_columns, source.has_patients, source.synthetic, source.notes]
    )
    digest = hashlib.sha256(head.encode())
    for i in sorted(range(len(source.files)), key=lambda i: source.files[i].path):
        file = source.files[i]
        unread = files.unread.get(i)
        content = files.sha256[i].decode() if unread is None else f"{unread.reason}: {unread.detail}"
        line = json.dumps([file.path, content, file.label, file.patient_id, file.published, *file.extra])
        digest.update(f"\n{line}".encode())
    return digest.hexdigest()
