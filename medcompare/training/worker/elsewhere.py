"""Work on another machine: what it needs comes through the bucket of the store, or lies where all machines see it."""

from __future__ import annotations

import contextlib
import logging
import socket
from typing import TYPE_CHECKING, TypeVar

from medcompare.base.artifacts import ArtifactStore, sha256_of_file
from medcompare.base.code_identity import OTHER_CODE, code_digest
from medcompare.base.errors import ConfigError, DataError, SharedStoreError
from medcompare.base.file_access import files_readable_by
from medcompare.base.shared_store import local_copy, shared_store_of
from medcompare.data.assignments import BY_CONTENT, file_of, read_assignments

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from medcompare.data.records import DatasetSplit
    from medcompare.models.spec import ResolvedWeights
    from medcompare.training.requests import (
        PredictionRequest,
        SaliencyRequest,
        TrainingRequest,
        TrialRequest,
    )

WEIGHTS = "weights"
N_AT_A_TIME = 500

AnyRequest = TypeVar("AnyRequest", "TrainingRequest", "TrialRequest", "PredictionRequest", "SaliencyRequest")

logger = logging.getLogger(__name__)


def code_of_work() -> str:
    """Digest of the code that trains, predicts and draws maps, with the versions of its libraries."""
    return code_digest("medcompare.training.loop", "medcompare.training.saliency")


def publish(
    store: Path, split: DatasetSplit, data_root: Path, weights: Iterable[ResolvedWeights] = ()
) -> None:
    """Copy the images of `split` and initial `weights` to the bucket of `store`, but for those that are there.

    Raises
    ------
    DataError
        If an image changed since it was validated.
    SharedStoreError
        If the bucket cannot be written to.
    """
    shared = shared_store_of(store)
    if shared is None:
        return
    there = {name.rpartition("/")[2] for name in shared.names(BY_CONTENT)}
    rows = {row.sha256: row for row in read_assignments(ArtifactStore(store).read(split.assignments))}
    missing = [row for sha, row in rows.items() if sha not in there]
    for start in range(0, len(missing), N_AT_A_TIME):
        files = {}
        for row in missing[start : start + N_AT_A_TIME]:
            file = file_of(row, data_root)
            if not file.is_file() or sha256_of_file(file) != row.sha256:
                msg = f"image {row.path} changed since ingest; start the run again to validate the data again"
                raise DataError(msg)
            files[_image(row.sha256)] = file
        shared.put(files)
    for one in weights:
        if one.path is not None and not shared.has(_weights(one)):
            shared.put({_weights(one): one.path})
    if missing:
        logger.warning(
            "%d images were copied to %s, for the workers of the cluster", len(missing), shared.address
        )


@contextlib.contextmanager
def brought_here(request: AnyRequest) -> Iterator[AnyRequest]:
    """`request` with folders of this machine, which hold what it needs; as it is where the run itself is here.

    Raises
    ------
    ConfigError
        If this machine has other code than the run's, or sees no such folders.
    SharedStoreError
        If the bucket cannot be read, or lacks a file.
    """
    away = request.elsewhere
    if away is None:
        yield request
        return
    host = socket.gethostname()
    if code_of_work() != away.code:
        raise ConfigError(OTHER_CODE.format(host=host))
    with files_readable_by(away.file_access):
        if away.shared_store is not None:
            yield _copied_here(request, local_copy(away.shared_store))
            return
        for field, folder in (("store", request.store_root), ("data.source", request.data_root)):
            if not folder.is_dir():
                msg = (
                    f"{field}: {folder} is not on {host}, where a worker of the cluster runs: mount it at the same "
                    "place on all machines, or share through a bucket: --set shared_store=s3://bucket/folder"
                )
                raise ConfigError(msg)
        yield request


def _copied_here(request: AnyRequest, root: Path) -> AnyRequest:
    shared = shared_store_of(root)
    if shared is None:  # `local_copy` has just said whose copy it is
        raise FileNotFoundError(root)
    subsets = {"val", "test"} if hasattr(request, "trained") else {"train", "val"}
    rows = read_assignments(ArtifactStore(root).read(request.split.assignments))
    wanted = {_image(row.sha256): root / _image(row.sha256) for row in rows if row.subset in subsets}
    changes: dict[str, object] = {"store_root": root, "data_root": root / BY_CONTENT}
    weights: ResolvedWeights | None = getattr(request, "weights", None)
    if weights is not None and weights.path is not None:
        name = _weights(weights)
        wanted[name] = root / name
        changes["weights"] = weights.model_copy(update={"path": root / name})
    missing = [name for name, path in wanted.items() if not path.is_file()]
    for start in range(0, len(missing), N_AT_A_TIME):
        try:
            shared.get({name: wanted[name] for name in missing[start : start + N_AT_A_TIME]})
        except FileNotFoundError:
            msg = f"{shared.address} lacks images or weights that the run copied there: did somebody delete them?"
            raise SharedStoreError(msg) from None
    return request.model_copy(update=changes)


def _image(sha256: str) -> str:
    return f"{BY_CONTENT}/{sha256[:2]}/{sha256}"


def _weights(weights: ResolvedWeights) -> str:
    name = weights.path.name if weights.path is not None else ""
    return f"{WEIGHTS}/{weights.initial.sha256}/{name}"
