"""Images behind an address: copied once, as they are; refused where that could not end well."""

from __future__ import annotations

import functools
import http.server
import io
import threading
import zipfile
from typing import TYPE_CHECKING

import fsspec
import pytest

from medcompare.base.errors import DataError
from medcompare.config.data import DataConfig
from medcompare.config.schema import CompareConfig
from medcompare.data.sources.resolve import resolve_source, source_name
from medcompare.runs.provenance import settings_to_repeat

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from medcompare.data.sources.listing import ImageSource

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


def test_an_archive_over_http(tmp_path: Path) -> None:
    """From a server on this machine; what is missing there is said."""
    pytest.importorskip("aiohttp", reason="the extra `remote` is not installed")
    (tmp_path / "site").mkdir()
    with zipfile.ZipFile(tmp_path / "site" / "images.zip", "w") as file:
        for name, data in CONTENT.items():
            file.writestr(name, data)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "site"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        address = f"http://127.0.0.1:{server.server_port}"
        source = resolved(f"{address}/images.zip", tmp_path / "cache")
        with pytest.raises(DataError, match=r"cannot be read \(FileNotFoundError\)"):
            resolved(f"{address}/nowhere.zip", tmp_path / "cache")
        with pytest.raises(DataError, match="over http only archives are read"):
            resolved(f"{address}/", tmp_path / "cache")
    finally:
        server.shutdown()
        server.server_close()

    assert {f.path: (source.root / f.path).read_bytes() for f in source.files} == CONTENT
    assert source.name == "images"
