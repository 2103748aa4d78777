"""A store shared through a bucket: what one machine writes, another has; what is wrong is said."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import fsspec
import pytest

from medcompare.base.artifacts import ArtifactStore
from medcompare.base.errors import ArtifactError, ConfigError, SharedStoreError
from medcompare.base.record import Artifact
from medcompare.base.shared_store import SharedStore, local_copy, share, shared_store_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ADDRESS = "memory://shared/store"


@pytest.fixture
def bucket() -> Iterator[fsspec.AbstractFileSystem]:
    """An empty file system in memory, which every copy of a store in this process sees."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()


def copy_at(folder: Path) -> ArtifactStore:
    """Store of one more machine."""
    share(folder, ADDRESS)
    return ArtifactStore(folder)


def test_what_one_machine_writes_another_reads(bucket: fsspec.AbstractFileSystem, tmp_path: Path) -> None:
    """Both ways of writing; the object lies once in the bucket, under its digest."""
    here, there = copy_at(tmp_path / "a"), copy_at(tmp_path / "b")
    written = here.write(b"scores", ".csv")
    (here.root / "made").write_bytes(b"weights")
    moved = here.write_file(here.root / "made", ".bin")

    assert (there.read(written), there.read(moved)) == (b"scores", b"weights")
    assert sorted(bucket.find("/shared")) == sorted(f"/shared/store/{one.path}" for one in (written, moved))
    assert not list(there.root.rglob("*.part"))
    assert there.write(b"scores", ".csv") == written


@pytest.mark.usefixtures("bucket")
def test_an_altered_copy_is_fetched_again(tmp_path: Path) -> None:
    """The bucket has what was recorded."""
    store = copy_at(tmp_path)
    artifact = store.write(b"scores", ".csv")
    (tmp_path / artifact.path).write_bytes(b"SCORES")

    assert store.read(artifact) == b"scores"


def test_altered_in_the_bucket_or_nowhere(bucket: fsspec.AbstractFileSystem, tmp_path: Path) -> None:
    """A digest is checked after every copy; what is missing is missing."""
    artifact = copy_at(tmp_path / "a").write(b"scores", ".csv")
    bucket.pipe_file(f"/shared/store/{artifact.path}", b"SCORES")
    there = copy_at(tmp_path / "b")

    with pytest.raises(ArtifactError, match=r"objects/\w\w/\w+\.csv in .*b was altered"):
        there.read(artifact)
    with pytest.raises(ArtifactError, match="stored file objects/none is missing from"):
        there.read(Artifact(path="objects/none", sha256="0" * 64, n_bytes=1))


def test_a_folder_remembers_its_bucket(tmp_path: Path) -> None:
    """As a clone its origin; it is the copy of one only."""
    assert shared_store_of(tmp_path / "none") is None
    share(tmp_path, ADDRESS + "/")
    share(tmp_path, ADDRESS)

    found = shared_store_of(tmp_path)
    assert found is not None
    assert found.address == ADDRESS == json.loads((tmp_path / "shared-store.json").read_text())["address"]
    with pytest.raises(
        ConfigError, match=r"is the copy of memory://shared/store, not of s3://other: choose another"
    ):
        share(tmp_path, "s3://other")


def test_a_worker_has_a_copy_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is told, one per bucket."""
    monkeypatch.setenv("MEDCOMPARE_COPIES", str(tmp_path))

    assert local_copy(ADDRESS) == tmp_path / "memory-shared-store"
    assert local_copy("s3://a/b/") == tmp_path / "s3-a-b"
    assert shared_store_of(tmp_path / "s3-a-b").address == "s3://a/b"  # type: ignore[union-attr] # there is one


def test_names_and_deletion(bucket: fsspec.AbstractFileSystem, tmp_path: Path) -> None:
    """Names are relative to the address; what is gone already is no error."""
    (tmp_path / "file").write_bytes(b"x")
    store = SharedStore(ADDRESS)
    store.put({"resume/k/2": tmp_path / "file", "resume/k/1": tmp_path / "file"})

    assert store.names("resume/k") == ["resume/k/1", "resume/k/2"]
    store.delete(["resume/k/1"])
    store.delete(["resume/k/1"])
    assert store.names("resume") == ["resume/k/2"]
    assert store.names("none") == []
    assert bucket.cat_file("/shared/store/resume/k/2") == b"x"


def test_a_package_that_is_missing() -> None:
    """Named with the command."""
    with pytest.raises(ConfigError, match=r"shared_store: gs://b/c: .*python -m pip install gcsfs"):
        SharedStore("gs://b/c").check()


@pytest.mark.slow  # eight seconds of imports, eight of questions to a server that is not there
def test_a_real_server(s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large and small files as they are; no bucket, no server: one sentence each, without the key."""
    large = bytes(range(256)) * 30_000  # 7.7 MB: sent in parts
    (tmp_path / "large").write_bytes(large)
    store = SharedStore("s3://study/shared")
    store.check()
    store.put({"objects/large": tmp_path / "large"})
    store.get({"objects/large": tmp_path / "back"})

    assert (tmp_path / "back").read_bytes() == large
    assert [one["Key"] for one in s3.list_objects_v2(Bucket="study", Prefix="shared/")["Contents"]] == [
        "shared/objects/large"
    ]
    with pytest.raises(FileNotFoundError):
        store.get({"objects/none": tmp_path / "none"})
    assert not list(tmp_path.glob("*.part"))
    with pytest.raises(ConfigError, match="shared_store: s3://nowhere/a cannot be written to") as refused:
        SharedStore("s3://nowhere/a").check()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    type(store._system).clear_instance_cache()
    with pytest.raises(SharedStoreError, match="s3://study/b cannot be read") as unreachable:
        SharedStore("s3://study/b").names("")
    for error in (refused, unreachable):
        assert "not-a-secret" not in str(error.value)
        assert "does the bucket exist, does the service answer, and may these credentials" in str(error.value)
