"""Images behind an address: copied once, as they are; refused where that could not end well."""

from __future__ import annotations

import contextlib
import functools
import http.server
import io
import shutil
import subprocess
import sys
import zipfile
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import fsspec
import numpy as np
import pytest
from pypdf import PdfReader

from medcompare.base.errors import DataError
from medcompare.config.data import DataConfig
from medcompare.config.schema import CompareConfig
from medcompare.data.sources.resolve import resolve_source, source_name
from medcompare.runs.provenance import settings_to_repeat
from tests.data.test_dicom import content as dicom_content
from tests.data.test_dicom import dataset
from tests.web import running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from medcompare.data.sources.listing import ImageSource

SMALL = {
    "train.image_size_px": "32",
    "train.epochs": "2",
    "train.initial_weights": "none",
    "evaluate.n_resamples": "200",
}
CONTENT = {"cancer/a.png": b"one", "cancer/b.dcm": b"two", "normal/c.png": b"three"}


def resolved(source: str, cache: Path, **data: int) -> ImageSource:
    """The listed images."""
    return resolve_source(DataConfig(source=source, **data), demo_root=cache / "demo")


@pytest.fixture
def bucket() -> Iterator[fsspec.AbstractFileSystem]:
    """A file system in memory that holds images, and what is none."""
    system = fsspec.filesystem("memory")
    for name, data in {**CONTENT, "notes.pdf": b"x", "normal/.hidden.png": b"x"}.items():
        system.pipe_file(f"/bucket/study/{name}", data)
    yield system
    system.rm("/bucket", recursive=True)


@pytest.mark.usefixtures("bucket")
def test_a_tree_is_copied_and_read_as_a_folder(tmp_path: Path) -> None:
    """Images with their content and nothing else; named after the address, which the run keeps."""
    source = resolved("memory://bucket/study", tmp_path)

    assert {f.path: (source.root / f.path).read_bytes() for f in source.files} == CONTENT
    assert source.name == "study" == source_name(DataConfig(source="memory://bucket/study"))
    assert source.notes[0] == "The images were copied from memory://bucket/study."
    assert sorted(p.name for p in source.root.rglob("*") if p.is_file()) == [
        ".copied.json",
        "a.png",
        "b.dcm",
        "c.png",
    ]
    settings = settings_to_repeat(CompareConfig.model_validate({"data": {"source": "memory://bucket/study"}}))
    assert b'"source": "memory://bucket/study"' in settings


def test_what_is_unchanged_is_not_copied_again(bucket: fsspec.AbstractFileSystem, tmp_path: Path) -> None:
    """A new file comes, a changed one is renewed, one that is gone goes; others are left as they are."""
    root = resolved("memory://bucket/study", tmp_path).root
    (root / "cancer/a.png").write_bytes(b"ours")
    bucket.pipe_file("/bucket/study/normal/c.png", b"changed")
    bucket.pipe_file("/bucket/study/normal/d.png", b"new")
    bucket.rm_file("/bucket/study/cancer/b.dcm")

    source = resolved("memory://bucket/study", tmp_path)

    assert {f.path: (source.root / f.path).read_bytes() for f in source.files} == {
        "cancer/a.png": b"ours",
        "normal/c.png": b"changed",
        "normal/d.png": b"new",
    }


def test_an_archive_in_a_bucket(bucket: fsspec.AbstractFileSystem, tmp_path: Path) -> None:
    """Copied whole, then unpacked like one on disk."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, data in CONTENT.items():
            file.writestr(name, data)
    bucket.pipe_file("/bucket/images.zip", buffer.getvalue())

    source = resolved("memory://bucket/images.zip", tmp_path)

    assert {f.path: (source.root / f.path).read_bytes() for f in source.files} == CONTENT
    assert source.name == "images"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("memory://bucket/nowhere", "holds no images; is the address right"),
        ("memory://bucket/nowhere.zip", r"cannot be read \(FileNotFoundError\)"),
        (
            "nosuch://bucket/study",
            "addresses of this kind need a package that is not there; there are: http, https, s3",
        ),
        ("https://me:secret@example.org/a.zip", "a user, a password or a query would be kept with the run"),
        ("https://example.org/a.zip?sig=secret", "a user, a password or a query would be kept with the run"),
    ],
)
@pytest.mark.usefixtures("bucket")
def test_refused(tmp_path: Path, source: str, message: str) -> None:
    """With the remedy; no secret is repeated, nothing is left but an empty cache."""
    with pytest.raises(DataError, match=message) as refused:
        resolved(source, tmp_path)

    assert "secret" not in str(refused.value)
    assert [path.name for path in tmp_path.rglob("*.png")] == []


def test_names_that_lead_outside(bucket: fsspec.AbstractFileSystem, tmp_path: Path) -> None:
    """Keys of a bucket may hold anything."""
    bucket.store["/bucket/study/../../escaped.png"] = bucket.store["/bucket/study/cancer/a.png"]
    try:
        with pytest.raises(DataError, match=r"\.\./\.\./escaped\.png leads outside"):
            resolved("memory://bucket/study", tmp_path)
    finally:
        del bucket.store["/bucket/study/../../escaped.png"]
    assert not list(tmp_path.rglob("*.png"))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """Folder that a server on this machine shows, and its address."""
    pytest.importorskip("aiohttp", reason="the extra `remote` is not installed")
    (tmp_path / "site").mkdir()
    handler = functools.partial(_Handler, directory=str(tmp_path / "site"))
    with running(http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)) as address:
        yield tmp_path / "site", address


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Shows a folder; sends without end where that is asked for."""

    def do_GET(self) -> None:
        if self.path != "/endless.zip":
            super().do_GET()
            return
        self.send_response(200)
        self.end_headers()
        with contextlib.suppress(OSError):
            while True:
                self.wfile.write(bytes(100_000))

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def zipped() -> bytes:
    """The images in one file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, data in CONTENT.items():
            file.writestr(name, data)
    return buffer.getvalue()


def test_an_archive_over_http(site: tuple[Path, str], tmp_path: Path) -> None:
    """From a server on this machine; what is missing there is said."""
    folder, address = site
    (folder / "images.zip").write_bytes(zipped())

    source = resolved(f"{address}/images.zip", tmp_path / "cache")

    assert {f.path: (source.root / f.path).read_bytes() for f in source.files} == CONTENT
    assert source.name == "images"
    for place, message in (
        ("/nowhere.zip", r"cannot be read \(FileNotFoundError\)"),
        ("/", "only archives are read"),
    ):
        with pytest.raises(DataError, match=message):
            resolved(address + place, tmp_path / "cache")


def test_a_server_that_sends_without_end(
    site: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not fill the disk: half of what is free may be taken, here one megabyte."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2_000_000))
    with pytest.raises(DataError, match=r"endless\.zip: cannot be read \(OSError\)"):
        resolved(f"{site[1]}/endless.zip", tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.stat().st_size]


def put_dicom(s3: Any, prefix: str, n: int) -> dict[str, bytes]:
    """Put `n` DICOM files into the bucket, two of each patient, in two classes that can be learned."""
    rng = np.random.default_rng(5)
    content = {}
    for i in range(n):
        label = i // 2 % 2
        values = np.clip(rng.normal(1200 + 1200 * label, 500, (40, 40)), 0, 4095)
        made = dataset(
            values.astype(np.int64),
            PatientID=f"SECRET-{i // 2:03d}",
            PatientName=f"Hidden^Person{i}",
            PatientSex="FM"[i // 2 % 3 % 2],
            PatientAge=f"{40 + i % 30:03d}Y",
        )
        content[f"{('normal', 'cancer')[label]}/IM{i:03d}{'.dcm' if i % 3 else ''}"] = dicom_content(made)
    for name, data in content.items():
        s3.put_object(Bucket="study", Key=f"{prefix}/{name}", Body=data)
    return content


def test_a_bucket(s3: Any, tmp_path: Path) -> None:
    """The images of a real server, as they are; then only what changed, and an archive."""
    content = put_dicom(s3, "first", 8)
    s3.put_object(Bucket="study", Key="first/readme.pdf", Body=b"x")

    source = resolved("s3://study/first", tmp_path)

    assert {f.path: (source.root / f.path).read_bytes() for f in source.files} == content
    assert (source.name, source.has_patients, source.extra_columns) == ("first", True, ("sex", "age"))
    changed, gone, kept, *_ = content
    (source.root / kept).write_bytes(content[kept] + b"ours")
    s3.put_object(Bucket="study", Key=f"first/{changed}", Body=content[gone])
    s3.delete_object(Bucket="study", Key=f"first/{gone}")
    again = resolved("s3://study/first", tmp_path)
    found = {f.path: (again.root / f.path).read_bytes() for f in again.files}
    assert found.keys() == content.keys() - {gone}
    assert found[changed] == content[gone]
    assert found[kept].endswith(b"ours")  # it was not copied again
    s3.put_object(Bucket="study", Key="images.zip", Body=zipped())
    packed = resolved("s3://study/images.zip", tmp_path)
    assert {f.path: (packed.root / f.path).read_bytes() for f in packed.files} == CONTENT


def test_what_a_bucket_may_answer(s3: Any, tmp_path: Path) -> None:
    """No such bucket, nothing of ours in it, keys that lead out, images larger than allowed."""
    s3.put_object(Bucket="study", Key="slides/cancer/a.svs", Body=b"x")
    s3.put_object(Bucket="study", Key="out/../../escaped.png", Body=b"x")
    s3.put_object(Bucket="study", Key="big/cancer/a.png", Body=bytes(1_100_000))
    for place, message in (
        ("s3://nowhere/a", "cannot be read|holds no images"),
        ("s3://study/nothing", "holds no images; is the address right"),
        ("s3://study/slides", "1 file of a kind that is not read: whole-slide images; cut patches"),
        ("s3://study/out", r"escaped\.png leads outside"),
        ("s3://study/big", r"a\.png leads outside, or is larger than data\.max_file_mb"),
    ):
        with pytest.raises(DataError, match=message):
            resolved(place, tmp_path, max_file_mb=1)
    assert not list(tmp_path.rglob("*.png"))


@pytest.mark.slow
def test_from_a_bucket_of_dicom_files_to_a_pdf(s3: Any, tmp_path: Path) -> None:
    """By the command, without a window in the files; no id and no name of a patient in what people read."""
    put_dicom(s3, "whole", 80)
    command = [
        *(
            sys.executable,
            "-m",
            "medcompare",
            "compare",
            "--data",
            "s3://study/whole",
            "--models",
            "test_cnn",
        ),
        *(
            "--preset",
            "quick",
            "--out",
            str(tmp_path / "runs"),
            "--store",
            str(tmp_path / "store"),
            "--name",
            "bucket",
        ),
        *(word for pair in SMALL.items() for word in ("--set", "=".join(pair))),
    ]

    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)

    assert done.returncode == 0, done.stderr[-2000:]
    run = next(path.parent for path in (tmp_path / "runs").glob("*/results.json"))
    pages = "".join(page.extract_text() for page in PdfReader(run / "report.pdf").pages)
    words = " ".join(pages.split())
    assert "copied from s3://study/whole" in words
    assert "80 images with more than 8 bits per pixel" in words
    said = "".join(path.read_text() for path in run.iterdir() if path.suffix != ".pdf")
    said += done.stdout + done.stderr + pages
    assert "SECRET" not in said
    assert "Hidden" not in said
