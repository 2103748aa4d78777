"""What was measured is kept: nothing is read or decoded again that is as it was, not even after a kill."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil
import pytest
from PIL import Image

from medcompare.base.artifacts import ArtifactStore
from medcompare.base.errors import ConfigError, DataError
from medcompare.config.data import DataConfig
from medcompare.data import measuring
from medcompare.data.fingerprint import fingerprint
from medcompare.data.manifest import ingest
from medcompare.data.measured import Measured, key_of
from medcompare.data.measuring import (
    MeasuredFiles,
    Shard,
    keep_shard,
    looked_at,
    measure_files,
    measure_shard,
    shards_of,
)
from medcompare.data.sources.resolve import resolve_source
from medcompare.data.validation import measure_file, measure_image
from medcompare.data.workers import WorkerDiedError, Workers

if TYPE_CHECKING:
    from collections.abc import Callable

    from medcompare.data.fingerprint import SourceFingerprint
    from medcompare.data.sources.listing import ImageSource

ROOT = Path(__file__).resolve().parents[2]
N, SIDE = 12, 300
N_BYTES = 3 * SIDE * SIDE


def add(folder: Path, numbers: range, side: int = SIDE) -> Path:
    """Images of noise, in turn of each class, all of one size in bytes."""
    for i in numbers:
        path = folder / ("cancer", "normal")[i % 2] / f"{i}.bmp"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return folder


def resolved(folder: Path) -> ImageSource:
    """The images below `folder`."""
    return resolve_source(DataConfig(source=str(folder)), demo_root=folder)


def measured(folder: Path, store: Path | None, *, n_workers: int | None = None) -> MeasuredFiles:
    """The images below `folder`, measured as far as they are not known."""
    with closing(Measured(store)) as kept:
        return measure_files(resolved(folder), DataConfig(), kept, n_workers=n_workers)


def identity(folder: Path, store: Path | None = None) -> SourceFingerprint:
    """What the cache of ingest is keyed on."""
    return fingerprint(resolved(folder), DataConfig(), store=store)


def bytes_read(work: Callable[[], object]) -> int:
    """Bytes that this process asks the system for within `work`."""
    counter = Path("/proc/self/io")
    if not counter.exists():
        pytest.skip("this system does not count what a process reads")

    def so_far() -> int:
        return int(counter.read_text().split()[1])

    before = so_far()
    work()
    return so_far() - before


@pytest.fixture
def old(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if all files had been there for an hour."""
    monkeypatch.setattr("medcompare.data.measuring.CLOCK_STEP_S", -3600)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve images."""
    return add(tmp_path / "set", range(N))


@pytest.mark.usefixtures("old")
def test_equal_with_and_without(folder: Path, tmp_path: Path) -> None:
    """First and later looks give what reading everything gives; no file name is kept."""
    found = [identity(folder, tmp_path / "store") for _ in range(3)]

    assert found == [identity(folder)] * 3
    assert found[0].n_bytes == sum(path.stat().st_size for path in folder.rglob("*.bmp"))
    for path in (tmp_path / "store").rglob("*"):
        assert path.is_dir() or b"cancer" not in path.read_bytes()


@pytest.mark.usefixtures("old")
def test_each_file_is_read_once_and_only_what_is_new(folder: Path, tmp_path: Path) -> None:
    """Counted by the system: all of the first night, nothing of the second, ten new images cost ten."""
    place, store = folder / "cancer" / "0.bmp", tmp_path / "store"

    first = bytes_read(lambda: measured(folder, store))
    again = bytes_read(lambda: measured(folder, store))
    add(folder, range(N, N + 10))
    ten = bytes_read(lambda: measured(folder, store))
    place.rename(folder / "cancer" / "moved.bmp")
    moved = measured(folder, store)

    assert N * N_BYTES < first < 1.2 * N * N_BYTES
    assert again < 0.5 * N_BYTES
    assert 10 * N_BYTES < ten < 11 * N_BYTES
    assert moved.n_read == 1
    assert (moved.image > 0).all()
    assert len(set(moved.image.tolist())) == N + 10


def test_measured_in_processes_as_in_one(folder: Path, tmp_path: Path) -> None:
    """And what the store gives back is what was measured."""
    (folder / "cancer" / "cut.bmp").write_bytes(b"BM")
    (folder / "cancer" / "gone.bmp").symlink_to("nowhere")
    here, there = measured(folder, tmp_path / "a", n_workers=0), measured(folder, tmp_path / "b", n_workers=2)

    assert (here.sha256 == there.sha256).all()
    assert [one.reason for one in here.unread.values()] == ["cannot be opened"]
    for store, files in (("a", here), ("b", there)):
        with closing(Measured(tmp_path / store)) as kept:
            numbers = files.image[files.image > 0]
            found = list(kept.measurements(numbers, small=True))
            shown = numbers[[one.reason is None for one in found]]
            thumbnails = dict(zip(shown.tolist(), kept.thumbnails(shown), strict=True))
        contents = [path.read_bytes() for path in sorted(folder.rglob("*.bmp")) if path.exists()]
        by_sha = {one.sha256: one for one in map(measure_image, contents)}
        for number, one in zip(numbers.tolist(), found, strict=True):
            expected = by_sha[one.sha256]
            assert not expected.thumbnail or thumbnails[number].tobytes() == expected.thumbnail
            assert vars(one) == {**vars(expected), "thumbnail": b""}


def test_what_is_too_new_is_read_again(folder: Path, tmp_path: Path) -> None:
    """Changed twice within one step of the clock, with the same size and times: it is noticed."""
    before = identity(folder, tmp_path / "store")
    path = folder / "cancer" / "0.bmp"
    stat = path.stat()
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    assert identity(folder, tmp_path / "store") == identity(folder) != before


@pytest.mark.usefixtures("old")
def test_an_old_file_that_changed_is_read(folder: Path, tmp_path: Path) -> None:
    """Also where its size and the time of its content were set back: the time of the change is not."""
    before = identity(folder, tmp_path / "store")
    path = folder / "cancer" / "0.bmp"
    stat = path.stat()
    time.sleep(0.05)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    assert identity(folder, tmp_path / "store") == identity(folder) != before


def test_what_changes_before_it_is_checked_is_not_kept_under_the_old_digest(
    folder: Path, tmp_path: Path
) -> None:
    """The next start takes the new content."""
    store, source, data = ArtifactStore(tmp_path / "store"), resolved(folder), DataConfig(source=str(folder))
    before = fingerprint(source, data, store=store.root).digest
    add(folder / "new", range(1))
    (folder / "new" / "cancer" / "0.bmp").replace(folder / "normal" / "1.bmp")

    with pytest.raises(DataError, match=r"images in .* changed while they were being checked\. Start again"):
        ingest(source, data, store, expected=before)

    after = fingerprint(source, data, store=store.root).digest
    assert after != before
    assert not list(store.root.glob("*.csv"))
    with pytest.raises(DataError, match="opposite label"):  # what is there now: one picture in both classes
        ingest(source, data, store, expected=after)


def test_a_store_that_cannot_be_read_begins_anew(folder: Path, tmp_path: Path) -> None:
    """A damaged file costs time, not the run."""
    before = identity(folder, tmp_path / "store")
    (kept,) = (tmp_path / "store" / "measured").glob("*.sqlite")
    kept.write_bytes(b"This is no database. " * 1000)

    assert identity(folder, tmp_path / "store") == before
    with closing(sqlite3.connect(kept)) as database:
        assert database.execute("SELECT count(*) FROM images").fetchone() == (N,)


def test_a_small_picture_can_come_later(folder: Path) -> None:
    """Of a set that became smaller more images have one; their numbers stay."""
    path = folder / "cancer" / "0.bmp"
    without, whole = measure_image(path.read_bytes(), small=False), measure_file(path, max_bytes=10**6)
    sha = str(whole.sha256)
    with closing(Measured(None)) as kept:
        kept.add(sha, without, key_of(path), None)
        kept.flush()
        assert (kept.has(sha, small=False), kept.has(sha, small=True)) == (True, False)
        number = kept.numbers([sha])
        kept.add(sha, whole, key_of(path), None)
        kept.flush()
        assert kept.has(sha, small=True)
        assert kept.numbers([sha]) == number
        (found,) = kept.measurements(np.array([number[sha]]), small=True)
    assert found.small_picture == whole.small_picture != b""


KILLED = """
import sys
from pathlib import Path
from medcompare.config.data import DataConfig
from medcompare.data import measuring
from medcompare.data import measuring
from medcompare.data.fingerprint import fingerprint
from medcompare.data.sources.resolve import resolve_source
measuring.CLOCK_STEP_S = -3600
data = DataConfig(source=sys.argv[1])
source = resolve_source(data, demo_root=Path(sys.argv[1]))
fingerprint(source, data, store=Path(sys.argv[2]), progress=lambda done, _: print(done, flush=True))
"""


@pytest.mark.usefixtures("old")
def test_what_a_killed_run_measured_is_kept(tmp_path: Path) -> None:
    """Killed in the middle, with its processes at work: the next run measures the others only."""
    n, folder, store = 1200, tmp_path / "set", tmp_path / "store"
    add(folder, range(n), side=40)
    run = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(folder), str(store)], stdout=subprocess.PIPE, cwd=ROOT, text=True
    )
    assert run.stdout is not None
    for line in run.stdout:
        if int(line) >= n // 2:
            break
    workers = psutil.Process(run.pid).children(recursive=True)
    run.send_signal(signal.SIGKILL)
    run.wait()
    run.stdout.close()

    assert workers
    assert psutil.wait_procs(workers, timeout=20)[1] == []
    second = measured(folder, store)
    assert n // 4 < n - second.n_read < n
    assert (second.image > 0).all()
    assert measured(folder, store).n_read == 0
    assert identity(folder, store) == identity(folder)


def sharded(folder: Path, store: Path, seen: Path | None = None) -> list[bool]:
    """The images below `folder` measured in shards, by machines that see `seen` in their place; what was kept."""
    with closing(Measured(store)) as kept:
        shards = shards_of(resolved(folder), DataConfig(), kept, n_sharing=2)
        told = []
        for shard in shards:
            before = looked_at(shard)
            there = shard if seen is None else shard.model_copy(update={"root": seen})
            found = measure_shard(Shard.model_validate_json(there.model_dump_json()))
            told.append(found is not None and keep_shard(shard, before, found, kept))
    return told


@pytest.mark.usefixtures("old")
def test_measured_in_shards_as_here(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left to be read here but what could not be read there; the result is the same."""
    monkeypatch.setattr(measuring, "MANY_FILES", 5)
    monkeypatch.setattr(measuring, "SHARD_FILES", 5)
    (folder / "cancer" / "broken.bmp").write_bytes(b"BM, and no more")
    (folder / "cancer" / "gone.bmp").symlink_to(folder / "nowhere.bmp")
    store = tmp_path / "store"

    assert sharded(folder, store) == [True] * 3
    again = measured(folder, store)
    assert again.n_read == len(again.unread) == 1
    alone = measured(folder, None)
    assert again.sha256.tolist() == alone.sha256.tolist()
    assert again.unread == alone.unread
    assert sharded(folder, store) == []
    data = DataConfig(max_rejected_fraction=0.5)
    stored, anew = (
        ingest(resolved(folder), data, ArtifactStore(root)) for root in (store, tmp_path / "anew")
    )
    assert stored == anew


@pytest.mark.usefixtures("old")
def test_other_files_in_the_same_place_are_not_kept(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor those of a machine that has no such folder; all are read here then."""
    monkeypatch.setattr(measuring, "MANY_FILES", 5)
    other = add(tmp_path / "other", range(100, 100 + N))
    for i, path in enumerate(sorted(other.rglob("*.bmp"), key=lambda path: int(path.stem))):
        path.rename(path.with_stem(str(i)))
    store = tmp_path / "store"

    assert sharded(folder, store, seen=other) == [False]
    assert sharded(folder, store, seen=tmp_path / "nowhere") == [False]
    assert measured(folder, store).n_read == N


def test_a_machine_with_other_code_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It might measure otherwise."""
    monkeypatch.setattr(measuring, "MANY_FILES", 5)
    with closing(Measured(None)) as kept:
        [shard] = shards_of(resolved(folder), DataConfig(), kept)

    with pytest.raises(ConfigError, match="has another version of medcompare"):
        measure_shard(shard.model_copy(update={"code": "0" * 64}))


def test_a_crash_costs_one_call() -> None:
    """Calls come back in order, errors are raised here, what a library prints is no answer."""
    with Workers(2) as workers:
        assert list(workers.map(divmod, ((i, 7) for i in range(50)))) == [divmod(i, 7) for i in range(50)]
        with pytest.raises(ZeroDivisionError):
            workers.call(divmod, 1, 0)
        assert workers.call(print, "not an answer") is None
        assert workers.call(os.getpid) != os.getpid()
        with pytest.raises(WorkerDiedError):
            workers.call(os._exit, 3)
        assert [workers.call(abs, -i) for i in range(4)] == [0, 1, 2, 3]
    with Workers(0) as workers:
        assert list(workers.map(abs, [(-1,), (2,)])) == [1, 2]
        assert workers.call(os.getpid) == os.getpid()
