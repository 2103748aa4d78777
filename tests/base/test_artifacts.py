"""The store returns what was written, or says that it cannot."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from medcompare.base.artifacts import ArtifactStore, artifacts_in, sha256_of_file, write_atomically
from medcompare.base.errors import ArtifactError
from medcompare.base.record import Artifact, Record

if TYPE_CHECKING:
    from pathlib import Path


class _Nested(Record):
    inner: tuple[Artifact, ...]
    named: dict[str, Artifact]


def test_content_comes_back_under_its_digest(tmp_path: Path) -> None:
    """The name of a file is the SHA-256 of its content."""
    store = ArtifactStore(tmp_path)

    artifact = store.write(b"a,b\n1,2\n", ".csv")

    assert artifact.sha256 == hashlib.sha256(b"a,b\n1,2\n").hexdigest()
    assert artifact.n_bytes == 8
    assert store.read(artifact) == b"a,b\n1,2\n"
    assert sha256_of_file(store.path_of(artifact)) == artifact.sha256


def test_equal_content_is_stored_once(tmp_path: Path) -> None:
    """Two writes of the same bytes give one file and equal references."""
    store = ArtifactStore(tmp_path)

    first, second = store.write(b"same", ".txt"), store.write(b"same", ".txt")

    assert first == second
    assert sum(path.is_file() for path in tmp_path.rglob("*")) == 1


def test_missing_file_is_named(tmp_path: Path) -> None:
    """A deleted file raises and the message names it."""
    store = ArtifactStore(tmp_path)
    artifact = store.write(b"gone", ".txt")
    store.path_of(artifact).unlink()

    with pytest.raises(ArtifactError, match=rf"{artifact.sha256}\.txt is missing"):
        store.read(artifact)


@pytest.mark.parametrize("content", [b"gonf", b"gone and more"], ids=["same size", "other size"])
def test_altered_file_is_refused(tmp_path: Path, content: bytes) -> None:
    """Altered content raises, whether or not the size gives it away."""
    store = ArtifactStore(tmp_path)
    artifact = store.write(b"gone", ".txt")
    (tmp_path / artifact.path).write_bytes(content)

    with pytest.raises(ArtifactError, match="was altered"):
        store.read(artifact)


@pytest.mark.parametrize("left", [b"comp", b"complely"], ids=["cut short", "as long as before"])
def test_altered_file_is_mended_by_writing_again(tmp_path: Path, left: bytes) -> None:
    """Writing the same content again replaces a file that is not what it was."""
    store = ArtifactStore(tmp_path)
    artifact = store.write(b"complete", ".txt")
    (tmp_path / artifact.path).write_bytes(left)

    store.write(b"complete", ".txt")

    assert store.read(artifact) == b"complete"


def test_failed_write_leaves_nothing(tmp_path: Path) -> None:
    """No half-written file stays behind when writing fails."""
    target = tmp_path / "folder"
    target.mkdir()
    (target / "taken").mkdir()

    with pytest.raises(OSError, match="directory"):
        write_atomically(target / "taken", b"content")

    assert [path.name for path in target.iterdir()] == ["taken"]


def test_artifacts_are_found_however_deep(tmp_path: Path) -> None:
    """References in tuples and tables are all found."""
    store = ArtifactStore(tmp_path)
    one, two = store.write(b"1", ".txt"), store.write(b"2", ".txt")

    assert list(artifacts_in([_Nested(inner=(one,), named={"x": two})])) == [one, two]
