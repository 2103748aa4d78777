"""From listed files to what is in them: each file read once, each content decoded once, in as many processes as cores.

What was measured before is taken from the store (`medcompare.data.measured`): of a file that is as it was nothing is
read, and what was measured when a run was killed is not measured again.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medcompare.base.artifacts import sha256_of_bytes
from medcompare.base.file_names import file_at
from medcompare.base.hardware import usable_cores
from medcompare.data.file_facts import is_kept
from medcompare.data.measured import FileFacts, key_of
from medcompare.data.reading import BYTES_PER_MB, read_each
from medcompare.data.validation import ImageMeasurement, measure_file, measure_image
from medcompare.data.workers import WorkerDiedError, Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from medcompare.config.data import DataConfig
    from medcompare.data.measured import Measured
    from medcompare.data.sources.listing import ImageSource

CLOCK_STEP_S = 2
"""The coarsest clock of a file system in use, that of FAT: a file that was changed so short before it was read is read
again next time, as a second change could leave the same time behind."""

MANY_FILES = 400
"""Of fewer new files, processes would take longer to start than to measure."""

N_READERS = 8
"""Reading waits for the disk more than for the processor."""

FILES_AT_ONCE = 500
MAX_INTEGER = 2**63 - 1
"""Of SQLite; some file systems have larger inodes."""


@dataclass(frozen=True, kw_only=True)
class MeasuredFiles:
    """What is in each listed file, in the order of the listing."""

    image: NDArray[np.int64]
    """Number of its content in the store; 0 where it could not be read."""
    sha256: NDArray[np.bytes_]
    """Hexadecimal; empty where it could not be read."""
    unread: dict[int, ImageMeasurement]
    """Why, of those."""
    n_read: int
    """Files that were opened, as the others are as they were."""
    n_bytes: int


def measure_files(
    source: ImageSource,
    data: DataConfig,
    kept: Measured,
    *,
    progress: Callable[[int, int], None] | None = None,
    n_workers: int | None = None,
) -> MeasuredFiles:
    """Measure the files of `source` that are not as they were; what is measured is kept at once.

    Parameters
    ----------
    source : ImageSource
        Listed files.
    data : DataConfig
        Limits: ``max_file_mb``, ``file_timeout_s`` and ``timeout_minutes``.
    kept : Measured
        What was measured before; receives what is measured now.
    progress : callable, optional
        Called with (files done, files in all) after each file, from the calling thread.
    n_workers : int, optional
        Processes that decode; None: as many as cores where many files are new, otherwise 0. The result does not
        depend on it.

    Raises
    ------
    DataError
        If a file is not read in time, or all of them.
    """
    n_files, n_done = len(source.files), 0
    found = MeasuredFiles(
        image=np.zeros(n_files, np.int64), sha256=np.zeros(n_files, "S64"), unread={}, n_read=0, n_bytes=0
    )
    limits = {"file_timeout_s": data.file_timeout_s, "timeout_minutes": data.timeout_minutes}

    def tell() -> None:
        nonlocal n_done
        n_done += 1
        if progress is not None:
            progress(n_done, n_files)

    starts = range(0, n_files, FILES_AT_ONCE)
    looked = read_each(
        lambda start: [
            _look(file_at(source.root, file.path)) for file in source.files[start : start + FILES_AT_ONCE]
        ],
        starts,
        [source.files[start].path for start in starts],
        n_threads=N_READERS,
        stage="looking for changed images",
        **limits,
    )
    new, n_bytes = [], 0
    for start, files in zip(starts, looked, strict=True):
        known = kept.known_files([key for key, _ in files])
        for i, (key, now) in enumerate(files, start):
            before, number, sha, has_small = known.get(key, (None, 0, "", False))
            is_small_enough = now is not None and now.size <= data.max_file_mb * BYTES_PER_MB
            if before != now or not is_small_enough or (is_kept(sha, n_files) and not has_small):
                new.append(i)
                continue
            found.image[i], found.sha256[i] = number, sha
            n_bytes += now.size  # type: ignore[union-attr] # equal to what was kept
            tell()
    n_workers = (usable_cores() if len(new) >= MANY_FILES else 0) if n_workers is None else n_workers
    with Workers(n_workers) as workers:
        reader = _Reader(source, data, kept, workers)
        results = read_each(
            reader.read,
            new,
            [source.files[i].path for i in new],
            n_threads=max(N_READERS, n_workers),
            stage="validating the images",
            **limits,
        )
        waiting: list[int] = []
        try:
            for i, (measured, is_known, key, facts) in zip(new, results, strict=True):
                n_bytes += measured.n_bytes
                if measured.sha256 is None:
                    found.unread[i] = measured
                else:
                    found.sha256[i] = measured.sha256
                    waiting.append(i)
                    if kept.add(measured.sha256, None if is_known else measured, key, facts):
                        waiting = _number(waiting, found, kept)
                tell()
        finally:
            kept.flush()  # also where it ends early: what was measured is not measured again
        _number(waiting, found, kept)
    return MeasuredFiles(
        image=found.image, sha256=found.sha256, unread=found.unread, n_read=len(new), n_bytes=n_bytes
    )


def _number(waiting: Sequence[int], found: MeasuredFiles, kept: Measured) -> list[int]:
    shas = [found.sha256[i].decode() for i in waiting]
    numbers = kept.numbers(shas)
    found.image[list(waiting)] = [numbers[sha] for sha in shas]
    return []


def _look(path: Path) -> tuple[bytes, FileFacts | None]:
    try:
        found = path.stat()
    except OSError:
        return key_of(path), None
    return key_of(path), FileFacts(
        found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino & MAX_INTEGER
    )


class _Reader:
    """Reads files in threads, and has their contents measured by processes."""

    def __init__(self, source: ImageSource, data: DataConfig, kept: Measured, workers: Workers) -> None:
        self._source, self._kept, self._workers = source, kept, workers
        self._max_bytes = data.max_file_mb * BYTES_PER_MB
        self._n_files = len(source.files)

    def read(self, i: int) -> tuple[ImageMeasurement, bool, bytes, FileFacts | None]:
        """(what is in file `i`, whether it was measured before, its key, its facts if a change would show in them)."""
        began_ns = time.time_ns()
        path = file_at(self._source.root, self._source.files[i].path)
        key, facts = _look(path)  # before it is read: what changes meanwhile is read again next time
        is_known = False

        def measure(content: bytes) -> ImageMeasurement:
            nonlocal is_known
            sha256 = sha256_of_bytes(content)
            small = is_kept(sha256, self._n_files)
            is_known = self._kept.has(sha256, small=small)
            if is_known:
                return ImageMeasurement(sha256=sha256, n_bytes=len(content))
            try:
                found: ImageMeasurement = self._workers.call(_measured, content, small)
            except WorkerDiedError:
                # Of no content, so that it is tried again next time: memory may have been short.
                return ImageMeasurement(n_bytes=len(content), reason="damaged", detail="the decoder crashed")
            return found

        measured = measure_file(path, max_bytes=self._max_bytes, measure=measure)
        if facts is not None and max(facts.modified, facts.changed) >= began_ns - CLOCK_STEP_S * 10**9:
            facts = None
        return measured, is_known, key, facts


def _measured(content: bytes, small: bool) -> ImageMeasurement:  # noqa: FBT001 - called by place in another process
    return measure_image(content, small=small)
