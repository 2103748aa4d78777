"""From listed files to what is in them: each file read once, each content decoded once, in as many processes as cores.

What was measured before is taken from the store (`medcompare.data.measured`): of a file that is as it was nothing is
read, and what was measured when a run was killed is not measured again.
"""

from __future__ import annotations

import contextlib
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from medcompare.base.artifacts import sha256_of_bytes, sha256_of_file
from medcompare.base.code_identity import OTHER_CODE, code_digest
from medcompare.base.errors import ConfigError
from medcompare.base.file_names import file_at
from medcompare.base.hardware import usable_cores
from medcompare.base.record import Record
from medcompare.config.data import DataConfig
from medcompare.data.file_facts import is_kept
from medcompare.data.measured import BEHIND, FileFacts, Measured, key_of
from medcompare.data.reading import BYTES_PER_MB, read_each
from medcompare.data.validation import ImageMeasurement, measure_file, measure_image
from medcompare.data.workers import WorkerDiedError, Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from medcompare.data.sources.listing import ImageSource

CLOCK_STEP_S = 2
"""The coarsest clock of a file system in use, that of FAT: a file that was changed so short before it was read is read
again next time, as a second change could leave the same time behind."""

MANY_FILES = 400
"""Of fewer new files, processes would take longer to start than to measure."""

N_READERS = 8
"""Reading waits for the disk more than for the processor."""

FILES_AT_ONCE = 500
SHARD_FILES = 2_000
"""Half a minute of one core for photographs: long beside the start of its processes, short beside a run."""
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

    def tell() -> None:
        nonlocal n_done
        n_done += 1
        if progress is not None:
            progress(n_done, n_files)

    new, n_bytes = [], 0
    for i, known in enumerate(files_as_they_were(source, data, kept)):
        if known is None:
            new.append(i)
            continue
        found.image[i], found.sha256[i], size = known
        n_bytes += size
        tell()
    n_workers = (usable_cores() if len(new) >= MANY_FILES else 0) if n_workers is None else n_workers
    with Workers(n_workers) as workers:
        reader = _Reader(source.root, n_files, data, kept, workers)
        results = reader.each([source.files[i].path for i in new])
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


def files_as_they_were(
    source: ImageSource, data: DataConfig, kept: Measured
) -> Iterator[tuple[int, str, int] | None]:
    """For each file of `source`: (number of its image, SHA-256, bytes) as `kept` has them, None where it is to be read.

    Raises
    ------
    DataError
        If the files are not looked at in time.
    """
    n_files = len(source.files)
    starts = range(0, n_files, FILES_AT_ONCE)
    looked = read_each(
        lambda start: [
            _look(file_at(source.root, file.path)) for file in source.files[start : start + FILES_AT_ONCE]
        ],
        starts,
        [source.files[start].path for start in starts],
        n_threads=N_READERS,
        stage="looking for changed images",
        **_limits(data),
    )
    for files in looked:
        known = kept.known_files([key for key, _ in files])
        for key, now in files:
            before, number, sha, has_small = known.get(key, (None, 0, "", False))
            is_small_enough = now is not None and now.size <= data.max_file_mb * BYTES_PER_MB
            if before != now or not is_small_enough or (is_kept(sha, n_files) and not has_small):
                yield None
            else:
                yield number, sha, now.size  # type: ignore[union-attr] # equal to what was kept


class Shard(Record):
    """Some of the files of a source, for another machine to measure."""

    root: Path
    names: tuple[str, ...] = Field(description="Relative to the root.")
    n_files: int = Field(
        description="Of the whole source: it decides of which images a small picture is kept."
    )
    data: DataConfig
    n_sharing: int = Field(ge=1, description="Shards that share the cores of a machine.")
    code: str = Field(description="Digest of the code that measures: another measures otherwise.")


def shards_of(source: ImageSource, data: DataConfig, kept: Measured, *, n_sharing: int = 1) -> list[Shard]:
    """The files of `source` that are to be read, in parts; empty where they are few enough to be read here.

    Raises
    ------
    DataError
        If the files are not looked at in time.
    """
    as_they_were = files_as_they_were(source, data, kept)
    new = [file.path for file, known in zip(source.files, as_they_were, strict=True) if known is None]
    if len(new) < MANY_FILES:
        return []
    return [
        Shard(
            root=source.root.resolve(),
            names=tuple(new[start : start + SHARD_FILES]),
            n_files=len(source.files),
            data=data,
            n_sharing=n_sharing,
            code=code_digest(*BEHIND),
        )
        for start in range(0, len(new), SHARD_FILES)
    ]


def measure_shard(shard: Shard) -> list[ImageMeasurement] | None:
    """What is in each file of `shard`, in order; None where this machine does not see its folder.

    Raises
    ------
    ConfigError
        If this machine has other code than the run's.
    DataError
        If a file is not read in time, or all of them.
    """
    if code_digest(*BEHIND) != shard.code:
        raise ConfigError(OTHER_CODE.format(host=socket.gethostname()))
    if not shard.root.is_dir():
        return None
    n_workers = max(1, usable_cores() // shard.n_sharing) if len(shard.names) >= MANY_FILES else 0
    with Workers(n_workers) as workers, contextlib.closing(Measured(None)) as nothing:
        reader = _Reader(shard.root, shard.n_files, shard.data, nothing, workers)
        return [measured for measured, *_ in reader.each(shard.names)]


def looked_at(shard: Shard) -> list[tuple[bytes, FileFacts | None]]:
    """(key, facts) of the files of `shard`, before they are read anywhere: what changes meanwhile is read again."""
    began_ns = time.time_ns()
    found = [_look(file_at(shard.root, name)) for name in shard.names]
    return [(key, _lasting(facts, began_ns)) for key, facts in found]


def keep_shard(
    shard: Shard,
    looked: Sequence[tuple[bytes, FileFacts | None]],
    measured: Sequence[ImageMeasurement],
    kept: Measured,
) -> bool:
    """Add to `kept` what another machine measured; False, and nothing is kept, where it saw other files than are here.

    Parameters
    ----------
    shard : Shard
        Its first readable file is read here, too.
    looked : sequence
        From `looked_at`, before the other machine began.
    measured : sequence of ImageMeasurement
        From `measure_shard`.
    kept : Measured
        Receives them. Files that could not be read there are left to be read here.
    """
    first = next((i for i, one in enumerate(measured) if one.sha256 is not None), None)
    if first is None or sha256_of_file(file_at(shard.root, shard.names[first])) != measured[first].sha256:
        return False
    for (key, facts), one in zip(looked, measured, strict=True):
        if one.sha256 is not None:
            kept.add(one.sha256, one, key, facts)
    return True


def _limits(data: DataConfig) -> dict[str, Any]:
    return {"file_timeout_s": data.file_timeout_s, "timeout_minutes": data.timeout_minutes}


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

    def __init__(self, root: Path, n_files: int, data: DataConfig, kept: Measured, workers: Workers) -> None:
        self._root, self._n_files, self._kept, self._workers = root, n_files, kept, workers
        self._max_bytes, self._limits = data.max_file_mb * BYTES_PER_MB, _limits(data)

    def each(self, names: Sequence[str]) -> Iterator[tuple[ImageMeasurement, bool, bytes, FileFacts | None]]:
        """`_read` of each of `names`, in order."""
        return read_each(
            self._read,
            names,
            names,
            n_threads=max(N_READERS, self._workers.n),
            stage="validating the images",
            **self._limits,
        )

    def _read(self, name: str) -> tuple[ImageMeasurement, bool, bytes, FileFacts | None]:
        """(what is in the file, whether it was measured before, its key, its facts if a change would show in them)."""
        began_ns = time.time_ns()
        path = file_at(self._root, name)
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
        return measured, is_known, key, _lasting(facts, began_ns)


def _lasting(facts: FileFacts | None, began_ns: int) -> FileFacts | None:
    """`facts` of a file that was looked at before it was read at `began_ns`; None where a change would not show."""
    if facts is not None and max(facts.modified, facts.changed) >= began_ns - CLOCK_STEP_S * 10**9:
        return None
    return facts


def _measured(content: bytes, small: bool) -> ImageMeasurement:  # noqa: FBT001 - called by place in another process
    return measure_image(content, small=small)
