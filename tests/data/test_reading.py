"""Files of others: pipes, devices, drives that do not answer, huge files, names of any bytes."""

from __future__ import annotations

import csv
import io
import json
import os
import socket
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from medcompare.base.artifacts import ArtifactStore
from medcompare.base.errors import DataError, MedcompareError
from medcompare.base.file_names import EscapedPath, escape_name, real_name
from medcompare.base.language import in_language, spoken
from medcompare.base.record import Record
from medcompare.config.data import DataConfig, SplitConfig
from medcompare.data.assignments import read_assignments
from medcompare.data.fingerprint import fingerprint
from medcompare.data.manifest import ingest
from medcompare.data.reading import read_each, read_regular
from medcompare.data.sources.resolve import resolve_source
from medcompare.data.split import split
from medcompare.data.tables import read_images, read_rejected
from medcompare.data.validation import measure_file
from medcompare.report.hard_cases import thumbnail
from medcompare.training.dataset import SubsetImages

if TYPE_CHECKING:
    from medcompare.data.records import DatasetManifest
    from medcompare.data.sources.listing import ImageSource

ROOT = Path(__file__).resolve().parents[2]
WAIT_S = 0.2

pytestmark = pytest.mark.timeout(60)  # what these tests are about used to hang


def make_images(root: Path, n: int = 12) -> Path:
    """Folder of `n` small images of each of two classes."""
    rng = np.random.default_rng(3)
    for label in ("cancer", "non_cancer"):
        (root / label).mkdir(parents=True)
        for i in range(n):
            Image.fromarray(rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(root / label / f"{i}.png")
    return root


def add_special_files(folder: Path) -> dict[str, str]:
    """Put what is no image file into `folder`; returns the reason expected for each."""
    os.mkfifo(folder / "pipe.png")
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(folder)  # the name of a socket has at most 107 bytes
        server.bind("socket.png")
        os.chdir(here)
    (folder / "zero.png").symlink_to("/dev/zero")
    (folder / "random.jpg").symlink_to("/dev/urandom")
    (folder / "to_pipe.png").symlink_to("pipe.png")
    (folder / "broken.png").symlink_to("nowhere.png")
    (folder / "circle.png").symlink_to("circle.png")
    (folder / "folder.png").mkdir()
    (folder / "loop").symlink_to(folder)
    return {
        "pipe.png": "not a regular file: a pipe",
        "socket.png": "not a regular file: a socket",
        "zero.png": "not a regular file: a device",
        "random.jpg": "not a regular file: a device",
        "to_pipe.png": "not a regular file: a pipe",
        "broken.png": "cannot be opened: No such file or directory",
        "circle.png": "cannot be opened: Too many levels of symbolic links",
    }


def ingested(root: Path, store: ArtifactStore, **limits: object) -> tuple[ImageSource, DatasetManifest]:
    """The images below `root`, listed, hashed and validated."""
    data = DataConfig(source=escape_name(str(root)), max_rejected_fraction=1, **limits)  # type: ignore[arg-type]
    source = resolve_source(data, demo_root=root / "unused")
    fingerprint(source, data)
    return source, ingest(source, data, store)


def reasons(manifest: DatasetManifest, store: ArtifactStore) -> dict[str, str]:
    """Reason and detail of each file that was excluded, by its name."""
    table = read_rejected(manifest, store)
    return {Path(p).name: f"{r}: {d}" for p, r, d in table[["path", "reason", "detail"]].to_numpy()}


def test_a_folder_with_pipes_and_devices_is_read(tmp_path: Path) -> None:
    """Only regular files are opened; the rest is listed with its reason."""
    root, store = make_images(tmp_path / "images"), ArtifactStore(tmp_path / "store")
    expected = add_special_files(root / "cancer")
    _, manifest = ingested(root, store)
    assert manifest.n_images == 24
    assert reasons(manifest, store) == expected


def test_a_manifest_may_name_them(tmp_path: Path) -> None:
    """The same, named in a CSV, with a folder; what is not there at all stops the run, as before."""
    root, store = make_images(tmp_path / "images"), ArtifactStore(tmp_path / "store")
    expected = add_special_files(root / "cancer") | {"folder.png": "not a regular file: a folder"}
    gone = {"broken.png", "circle.png"}
    names = [f"{i}.png" for i in range(12)]
    rows = [f"{label}/{name},{label}" for label in ("cancer", "non_cancer") for name in names]
    rows += [f"cancer/{name},cancer" for name in expected if name not in gone]
    (root / "manifest.csv").write_text("\n".join(["path,label", *rows]) + "\n")
    _, manifest = ingested(root, store)
    assert reasons(manifest, store) == {k: v for k, v in expected.items() if k not in gone}
    (root / "manifest.csv").write_text("\n".join(["path,label", *rows, "cancer/broken.png,cancer"]) + "\n")
    with pytest.raises(DataError, match=r"1 of 31 files do not exist: row 32: cancer/broken\.png"):
        ingested(root, store)


def test_an_image_that_became_a_pipe_stops_the_training(tmp_path: Path) -> None:
    """Exchanged between ingest and training; also the pictures of the report do not wait for it."""
    root, store = make_images(tmp_path / "images"), ArtifactStore(tmp_path / "store")
    _, manifest = ingested(root, store)
    rows = read_assignments(store.read(split(manifest, SplitConfig(), seed=0, store=store).assignments))
    first = root / rows[0].path
    first.unlink()
    os.mkfifo(first)
    with pytest.raises(DataError, match=f"image {rows[0].path} is now a pipe"):
        SubsetImages(rows, root, size_px=32).read(0)
    assert thumbnail(first) is None


STALLED = """
import os, sys
from pathlib import Path
from medcompare.data.reading import read_each
from medcompare.base.errors import DataError
try:
    list(read_each(lambda p: open(p).read(), [Path(sys.argv[1])] * 3, list("abc"), n_threads=2, {limit}))
except DataError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        ("file_timeout_s=0.2", "a was not read within 0.2 s (data.file_timeout_s)"),
        (
            "file_timeout_s=900, timeout_minutes=0.005, stage='validating the images'",
            "validating the images took more than 0.005 minutes (data.timeout_minutes), 0 of 3 files done",
        ),
    ],
)
def test_a_drive_that_does_not_answer_is_left(limit: str, words: str, tmp_path: Path) -> None:
    """Threads that the kernel keeps waiting hold up neither the error nor the end of the process."""
    os.mkfifo(tmp_path / "stalled")  # opened without precaution, it keeps its reader in the kernel
    done = subprocess.run(
        [sys.executable, "-c", STALLED.replace("{limit}", limit), str(tmp_path / "stalled")],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        cwd=ROOT,
    )
    assert done.stderr == ""
    assert done.stdout.startswith(words)
    assert "--set data." in done.stdout


def test_results_come_in_order_and_errors_where_they_belong() -> None:
    """Like map, with any number of threads."""

    def half(n: int) -> int:
        if n == 7:
            msg = "seven"
            raise ValueError(msg)
        return n // 2

    for n_threads in (1, 3, 50):
        limits = {"n_threads": n_threads, "file_timeout_s": 50.0}
        items = list(range(100, 400))
        assert list(read_each(half, items, [""] * 300, **limits)) == [n // 2 for n in items]  # type: ignore[arg-type]
        found = read_each(half, list(range(20)), [""] * 20, **limits)  # type: ignore[arg-type]
        assert [next(found) for _ in range(7)] == [0, 0, 1, 1, 2, 2, 3]
        with pytest.raises(ValueError, match="seven"):
            next(found)
    assert list(read_each(half, [], [], n_threads=2, file_timeout_s=1)) == []


def test_threads_speak_the_language_of_who_waits() -> None:
    """What is listed in them is told in the report."""
    with in_language("de"):
        said = list(read_each(lambda _: spoken(), list("abc"), list("abc"), n_threads=2, file_timeout_s=9))
    assert said == ["de"] * 3


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    """And one that is missing is an error of the system."""
    (tmp_path / "a").write_bytes(b"x" * 3_000_000)
    assert read_regular(tmp_path / "a") == b"x" * 3_000_000
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "b")


# --- size --------------------------------------------------------------------------------------------


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG file of these chunks."""
    parts = [struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


BOMB = png(
    (b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)),
    (b"IDAT", zlib.compress(b"\0" * 1000)),
    (b"IEND", b""),
)
HUGE = {
    # Content, size in bytes where it is more, limit in bytes, what is said.
    "sparse": (b"", 1 << 30, 400_000_000, "too large: 1,074 MB, limit 400 (data.max_file_mb)"),
    "sparse below the limit": (
        b"",
        1 << 28,
        1 << 31,
        "not an image: no known image format in 268435456 bytes",
    ),
    "bomb": (BOMB, 0, 400_000_000, "too many pixels: "),
    "bomb with a tail": (BOMB, 300_000_000, 400_000_000, "too many pixels: "),
}
MEASURE = """
import json, sys
from pathlib import Path
from medcompare.data.validation import measure_file
from medcompare.base.hardware import memory_bytes
import medcompare.data.manifest
def peak():
    for line in open("/proc/self/status"):
        if line.startswith("VmHWM"):
            return int(line.split()[1])
before, said = peak(), {}
for name, max_bytes in json.loads(sys.argv[1]).items():
    found = measure_file(Path(name), max_bytes=max_bytes)
    said[name] = f"{found.reason}: {found.detail}"
print(json.dumps([said, (peak() - before) // 1024]))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_huge_files_take_no_memory(tmp_path: Path) -> None:
    """The size is looked at first, then the header; in a process of its own, in megabytes."""
    for name, (content, size, _, _) in HUGE.items():
        (tmp_path / name).write_bytes(content)
        if size:
            os.truncate(tmp_path / name, size)
    limits = json.dumps({name: limit for name, (_, _, limit, _) in HUGE.items()})
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, limits],
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    said, growth_mb = json.loads(done.stdout)
    for name, (_, _, _, reason) in HUGE.items():
        assert said[name].startswith(reason)
    assert growth_mb < 30


def test_the_limit_of_size_is_a_setting(tmp_path: Path) -> None:
    """It counts for the fingerprint too: what is excluded is not even hashed."""
    root, store = make_images(tmp_path / "images"), ArtifactStore(tmp_path / "store")
    rng = np.random.default_rng(1)
    big = rng.integers(0, 255, (700, 700, 3), dtype=np.uint8)
    Image.fromarray(big).save(root / "cancer" / "big.bmp")
    _, manifest = ingested(root, store, max_file_mb=1)
    assert reasons(manifest, store) == {"big.bmp": "too large: 1 MB, limit 1 (data.max_file_mb)"}
    assert ingested(root, store, max_file_mb=2)[1].n_images == 25


# --- names -------------------------------------------------------------------------------------------


@given(st.binary(min_size=1, max_size=30).filter(lambda b: b"\0" not in b and b"/" not in b))
def test_every_name_becomes_text_and_comes_back(name: bytes) -> None:
    """Any bytes that Linux allows; the text is UTF-8, one line, and no two names share it."""
    text = escape_name(os.fsdecode(name))
    assert os.fsencode(real_name(text)) == name
    assert text.encode().decode() == text
    assert not any(ord(character) < 32 or ord(character) == 127 for character in text)


@given(st.text(st.characters(exclude_categories=("Cs", "Cc", "Cf", "Zl", "Zp")), max_size=30))
def test_ordinary_names_stay_as_they_are(name: str) -> None:
    """Only what would read as an escape is changed."""
    if "\\x" not in name:
        assert escape_name(name) == real_name(name) == name


class _Place(Record):
    folder: EscapedPath


def test_a_path_of_any_bytes_travels_as_json(tmp_path: Path) -> None:
    """To the process that trains, for instance."""
    place = _Place(folder=tmp_path / os.fsdecode(b"L\xe4sionen"))
    assert r"L\\xe4sionen" in place.model_dump_json()
    assert _Place.model_validate_json(place.model_dump_json()) == place


def test_an_error_is_text_whatever_it_names() -> None:
    """Prefect's database takes only UTF-8."""
    error = MedcompareError(f"no such folder: {os.fsdecode(bytes([0x4C, 0xE4]))}")
    assert str(error) == r"no such folder: L\xe4"


@pytest.mark.parametrize("how", ["folder", "manifest"])
def test_names_in_latin_1_are_kept_to_the_end(how: str, tmp_path: Path) -> None:
    """Listed, validated, split and read for training, in a class folder below a folder of such names."""
    root = make_images(tmp_path / os.fsdecode(b"M\xfcller"))
    store, odd = ArtifactStore(tmp_path / "store"), os.fsdecode(b"b\xf6sartig")
    (root / "cancer").rename(root / odd)
    for i in range(12):
        (root / odd / f"{i}.png").rename(root / odd / os.fsdecode(b"L\xe4sion \n%d.png" % i))
    (root / odd / os.fsdecode(b"leer\xe4.png")).write_bytes(b"")
    if how == "manifest":
        table = io.StringIO()
        rows = [(rf"b\xf6sartig/L\xe4sion \x0a{i}.png", "boesartig") for i in range(12)]
        rows += [(f"non_cancer\\{i}.png", "gutartig") for i in range(12)]  # as Windows writes it
        csv.writer(table).writerows([("path", "label"), *rows, (r"b\xf6sartig/leer\xe4.png", "boesartig")])
        (root / "manifest.csv").write_text(table.getvalue())
    positive = "boesartig" if how == "manifest" else r"b\xf6sartig"
    source, manifest = ingested(root, store, positive=positive)
    assert source.classes[1] == positive
    assert list(reasons(manifest, store)) == [r"leer\xe4.png"]
    listed = set(read_images(manifest, store)["path"])
    assert {name for name in listed if "sion" in name} == {
        rf"b\xf6sartig/L\xe4sion \x0a{i}.png" for i in range(12)
    }
    rows = read_assignments(store.read(split(manifest, SplitConfig(), seed=0, store=store).assignments))
    images = SubsetImages(rows, source.root, size_px=32)
    assert {tuple(images.read(i).shape) for i in range(24)} == {(3, 40, 40)}


def test_a_measured_file_may_have_such_a_name(tmp_path: Path) -> None:
    """Its path is what Python's functions take."""
    path = tmp_path / os.fsdecode(b"\xff\xfe.png")
    path.write_bytes(b"")
    assert measure_file(path, max_bytes=10).reason == "empty file"
