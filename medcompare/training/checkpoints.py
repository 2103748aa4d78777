"""Checkpoints: the best state of a training, and the state a retry resumes from.

A checkpoint is written so that equal weights give equal bytes, whatever the memory
layout, device or file name they were written from; the store names files by content.
"""

from __future__ import annotations

import errno
import logging
import pickle
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from medcompare.base.errors import ArtifactError, DiskFullError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from medcompare.base.artifacts import ArtifactStore
    from medcompare.base.record import Artifact

SUFFIX = ".pt"
FORMAT = 2
MIN_ROOM_BYTES = 1_000_000
"""With less than this free, a failed write is put down to the disk."""

logger = logging.getLogger(__name__)


def save(content: dict[str, Any], path: Path) -> None:
    """Write `content` in torch's format.

    Raises
    ------
    DiskFullError
        If there is no room for it, which torch itself says in words nobody understands.
    """
    try:
        torch.save(content, path)
    except (RuntimeError, OSError) as error:
        free = shutil.disk_usage(path.parent).free
        if free >= MIN_ROOM_BYTES and getattr(error, "errno", None) != errno.ENOSPC:
            raise
        msg = (
            f"the disk is full: {free / 1e6:.0f} MB free where {path.parent} lies; free some "
            "(medcompare prune shows what can be deleted) or choose another folder with --store"
        )
        raise DiskFullError(msg) from error


def state_on_cpu(network: nn.Module) -> dict[str, Tensor]:
    """Copy of the network's state: on the CPU, contiguous, independent of further training."""
    return {
        name: value.detach().to("cpu").clone(memory_format=torch.contiguous_format)
        for name, value in network.state_dict().items()
    }


def write_checkpoint(
    store: ArtifactStore,
    state: dict[str, Tensor],
    *,
    model: str,
    running: Mapping[str, Tensor] | None = None,
) -> Artifact:
    """Store `state`, and beside it the `running` statistics of the training; equal ones give the same artifact."""
    store.root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=store.root, prefix="scratch-") as folder:
        # The file's name goes into the archive, so it is always the same.
        path = Path(folder) / "checkpoint.pt"
        save({"format": FORMAT, "model": model, "state": state, "running": dict(running or {})}, path)
        return store.write_file(path, SUFFIX)


def load_checkpoint(
    store: ArtifactStore, artifact: Artifact, network: nn.Module, *, model: str
) -> dict[str, Tensor]:
    """Load a stored checkpoint of `model` into `network`.

    Returns
    -------
    dict of str to Tensor
        The running statistics the training ended with, for `load_statistics`; the state itself
        has the re-measured ones. Empty where the network has no batch normalisation.

    Raises
    ------
    ArtifactError
        If the file is gone, altered, or the checkpoint of another model.
    """
    # mmap: the file is mapped, not held a second time beside the network.
    content = torch.load(store.path_of(artifact), map_location="cpu", weights_only=True, mmap=True)
    if content.get("format") != FORMAT or content.get("model") != model:
        msg = (
            f"stored file {artifact.path} is a checkpoint of '{content.get('model')}' "
            f"(format {content.get('format')}), not of '{model}' (format {FORMAT})"
        )
        raise ArtifactError(msg)
    network.load_state_dict(content["state"], strict=True)
    running: dict[str, Tensor] = content["running"]
    return running


class ResumePoint:
    """The file from which a training that was cut off goes on.

    Parameters
    ----------
    root : Path
        Folder of the artifact store.
    key : str
        Digest of everything that determines the training, its code included.
    """

    def __init__(self, root: Path, key: str) -> None:
        self.path = root / "resume" / f"{key}.pt"

    def load(self) -> dict[str, Any] | None:
        """The saved state, None where there is none that can be read."""
        if not self.path.is_file():
            return None
        try:
            saved: dict[str, Any] = torch.load(self.path, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, EOFError, RuntimeError, ValueError, KeyError, OSError) as error:
            logger.warning("cannot resume from %s (%s): starting over", self.path.name, error)
            return None
        return saved

    def save(self, state: dict[str, Any]) -> None:
        """Replace the saved state, atomically."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(".part")
        try:
            save(state, part)
            part.replace(self.path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise

    def clear(self) -> None:
        """Remove the saved state, if there is one."""
        self.path.unlink(missing_ok=True)
