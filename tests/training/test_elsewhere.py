"""Work on another machine: with what came through the bucket, or with folders that it sees, else one clear error."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import fsspec
import pytest

from medcompare.base.artifacts import ArtifactStore
from medcompare.base.errors import ConfigError, DataError, SharedStoreError
from medcompare.base.shared_store import SharedStore, share
from medcompare.data.assignments import file_of, read_assignments
from medcompare.models.spec import InitialWeights, ResolvedWeights
from medcompare.training.requests import Elsewhere, TrainingRequest
from medcompare.training.worker.elsewhere import brought_here, code_of_work, publish
from tests.training.conftest import make_data

if TYPE_CHECKING:
    from medcompare.base.file_access import FileAccess
    from tests.training.conftest import TinyData

ADDRESS = "memory://elsewhere/store"


def away(
    data: TinyData, *, shared: str | None = None, code: str | None = None, access: FileAccess = "owner"
) -> TrainingRequest:
    """A training on these images on another machine."""
    where = Elsewhere(shared_store=shared, file_access=access, code=code or code_of_work())
    return data.request().model_copy(update={"elsewhere": where})


@pytest.fixture
def bucket() -> fsspec.AbstractFileSystem:
    """An empty bucket in memory."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    return system


def test_images_and_weights_come_through_the_bucket(
    bucket: fsspec.AbstractFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of training and validation, by content; once."""
    share(tmp_path / "store", ADDRESS)
    data = make_data(tmp_path, n_images=20)
    weights = tmp_path / "weights.pth"
    weights.write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    initial = InitialWeights(
        kind="imagenet", name="w", version="V1", source="file", sha256=digest, licence="none"
    )
    resolved = ResolvedWeights(model="test_cnn", initial=initial, path=weights)
    publish(tmp_path / "store", data.split, data.root, [resolved])
    objects = set(bucket.find("/elsewhere/store"))
    weights.unlink()
    publish(tmp_path / "store", data.split, tmp_path / "gone", [])  # nothing is read a second time
    monkeypatch.setenv("MEDCOMPARE_COPIES", str(tmp_path / "worker"))

    request = away(data, shared=ADDRESS).model_copy(update={"weights": resolved})
    with brought_here(request) as here:
        rows = read_assignments(ArtifactStore(here.store_root).read(here.split.assignments))
        found = {row.case_id for row in rows if file_of(row, here.data_root).is_file()}

    assert here.store_root == tmp_path / "worker/memory-elsewhere-store"
    assert found == {row.case_id for row in rows if row.subset != "test"}
    for row in rows:
        if row.subset != "test":
            assert file_of(row, here.data_root).read_bytes() == (data.root / row.path).read_bytes()
    assert here.weights.path is not None
    assert here.weights.path.read_bytes() == b"weights"
    assert set(bucket.find("/elsewhere/store")) == objects
    assert len(objects) == 20 + 1 + 1  # images, the table of the split, weights


@pytest.mark.usefixtures("bucket")
def test_what_changed_or_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image that is another than was validated is not copied; one that was deleted from the bucket is missed."""
    share(tmp_path / "store", ADDRESS)
    data = make_data(tmp_path, n_images=20)
    monkeypatch.setenv("MEDCOMPARE_COPIES", str(tmp_path / "worker"))
    with (
        pytest.raises(SharedStoreError, match="memory://elsewhere/store lacks images or weights"),
        brought_here(away(data, shared=ADDRESS)),
    ):
        pass
    (data.root / "images/3.png").write_bytes(b"other")
    with pytest.raises(DataError, match=r"image images/3\.png changed since ingest; start the run again"):
        publish(tmp_path / "store", data.split, data.root)
    assert SharedStore(ADDRESS).names("images-by-content") == []


def test_folders_that_all_machines_see(tmp_path: Path) -> None:
    """Are used as they are, and missed where they are not mounted; so is the same code."""
    data = make_data(tmp_path, n_images=4)
    with brought_here(data.request()) as here:
        assert here == data.request()
    with brought_here(away(data)) as here:
        assert (here.store_root, here.data_root) == (data.store.root, data.root)
    elsewhere = away(data).model_copy(update={"data_root": Path("/no/such/images")})
    message = (
        r"data\.source: /no/such/images is not on .*mount it at the same place .* --set shared_store=s3://"
    )
    with pytest.raises(ConfigError, match=message), brought_here(elsewhere):
        pass
    with (
        pytest.raises(ConfigError, match="has another version of medcompare"),
        brought_here(away(data, code="0")),
    ):
        pass
