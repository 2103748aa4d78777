"""Checkpoints: the best state of a training, and the state that one cut off goes on from.

Tensors and JSON in one safetensors file, so nothing is executed when it is read. Equal weights give
equal bytes, whatever the memory layout or device they were trained in; files are named by content.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from medcompare.base.artifacts import sha256_of_file
from medcompare.base.errors import ArtifactError, MedcompareError, SharedStoreError, cannot_write
from medcompare.base.file_access import follow_umask, new_part, sync_folder
from medcompare.base.shared_store import shared_store_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from medcompare.base.artifacts import ArtifactStore
    from medcompare.base.record import Artifact

SUFFIX = ".safetensors"
FORMAT = 3
DESCRIPTION = "medcompare"
"""The only entry of the file's own description, as several would be written in any order."""
N_KEPT = 2
"""Checkpoints of a running training that are kept: the last, and the one before should that be damaged."""

_SYSTEM_ERROR = re.compile(r"\(os error (\d+)\)", re.ASCII)

logger = logging.getLogger(__name__)


def save(content: dict[str, Any], path: Path) -> None:
    """Write `content`, nested containers of tensors and of what JSON knows, and wait until the disk has it.

    Raises
    ------
    DiskFullError, ConfigError
        As `cannot_write`; no part of a file is then left at `path`.
    """
    tensors: dict[str, Tensor] = {}
    described = json.dumps(_without_tensors(content, "", tensors))
    try:
        save_file(tensors, path, metadata={DESCRIPTION: described})
        follow_umask(path)
        with path.open("rb+") as file:
            os.fsync(file.fileno())
    except SafetensorError as error:
        number = _SYSTEM_ERROR.search(str(error))
        if number is None:
            raise
        why = OSError(int(number[1]), os.strerror(int(number[1])))
        raise _cannot_write(why, path, tensors) from error
    except OSError as error:
        raise _cannot_write(error, path, tensors) from error


def _cannot_write(error: OSError, path: Path, tensors: Mapping[str, Tensor]) -> MedcompareError | OSError:
    path.unlink(missing_ok=True)  # what is there of it counts as free
    return cannot_write(error, path.parent, n_bytes=sum(tensor.nbytes for tensor in tensors.values()))


def load(path: Path, *, mapped: bool = False) -> dict[str, Any]:
    """What `save` wrote at `path`; where `mapped`, tensors stay in the file until they are used."""
    with safe_open(path, framework="pt") as file:
        described = json.loads((file.metadata() or {}).get(DESCRIPTION, "{}"))
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    if not mapped:
        tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    content: dict[str, Any] = _with_tensors(described, tensors) if described else {}
    return content


def _without_tensors(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:  # noqa: ANN401 - any container
    """`value` as JSON; its tensors go to `tensors`. Keys of a mapping may be numbers, as an optimiser's are."""
    if isinstance(value, Tensor):
        tensors[name] = value.detach().to("cpu").contiguous()
        # Kernels that go over weights and their averages in step want both in one layout.
        return {"tensor": name} | ({} if value.is_contiguous() else {"stride": value.stride()})
    if isinstance(value, dict):
        return {
            "items": [
                [key, _without_tensors(one, f"{name}/{key}" if name else str(key), tensors)]
                for key, one in value.items()
            ]
        }
    if isinstance(value, list | tuple):
        return [_without_tensors(one, f"{name}/{place}", tensors) for place, one in enumerate(value)]
    return value


def _with_tensors(value: Any, tensors: Mapping[str, Tensor]) -> Any:  # noqa: ANN401 - any container
    """The reverse of `_without_tensors`; tuples come back as lists."""
    if isinstance(value, list):
        return [_with_tensors(one, tensors) for one in value]
    if not isinstance(value, dict):
        return value
    if "items" in value:
        return {key: _with_tensors(one, tensors) for key, one in value["items"]}
    tensor = tensors[value["tensor"]]
    if "stride" not in value:
        return tensor
    return torch.empty_strided(tensor.shape, value["stride"], dtype=tensor.dtype).copy_(tensor)


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
        path = Path(folder) / f"checkpoint{SUFFIX}"
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
        If the file is gone, altered, no checkpoint, or that of another model.
    """
    # Mapped, not held a second time beside the network.
    try:
        content = load(store.path_of(artifact), mapped=True)
    except SafetensorError as error:
        msg = f"stored file {artifact.path} is no checkpoint of format {FORMAT}: {error}"
        raise ArtifactError(msg) from error
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
    """The checkpoints from which a training that was cut off goes on.

    A file's name holds its number and the digest of its content. It gets that name when the disk has
    all of it, so a training can be killed at any moment, in the middle of writing too. Where the store is shared
    through a bucket, checkpoints lie there as well, and another machine goes on.

    Parameters
    ----------
    root : Path
        Folder of the artifact store.
    key : str
        Digest of everything that determines the training, its code included.
    """

    def __init__(self, root: Path, key: str) -> None:
        self.folder = root / "resume" / key
        self._shared, self._name = shared_store_of(root), f"resume/{key}"

    def load(self) -> dict[str, Any] | None:
        """The last saved state that is whole, None where there is none; a damaged one is logged.

        Raises
        ------
        SharedStoreError
            If there is a bucket and it cannot be read.
        """
        for part in self.folder.glob(f"*{SUFFIX}*.part"):  # of a process that was killed while it wrote
            part.unlink(missing_ok=True)
        if self._shared is not None:
            missing = {name: self.folder / Path(name).name for name in self._shared.names(self._name)}
            with contextlib.suppress(FileNotFoundError):  # another machine has ended this training meanwhile
                self._shared.get({name: path for name, path in missing.items() if not path.is_file()})
        for path in reversed(self._files()):
            if sha256_of_file(path) == path.stem.partition("-")[2]:
                return load(path)
            logger.warning(
                "checkpoint resume/%s/%s is damaged (its content is not what was written): "
                "going on from the one before it, or from the start where there is none",
                self.folder.name,
                path.name,
            )
        return None

    def save(self, state: dict[str, Any]) -> None:
        """Add a checkpoint, atomically, and remove all but the last `N_KEPT`.

        Raises
        ------
        DiskFullError, ConfigError
            As `save`; the checkpoints of before stay.
        """
        files = self._files()
        number = int(files[-1].stem.partition("-")[0]) + 1 if files else 1
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            part = new_part(self.folder / SUFFIX)
        except OSError as error:
            raise cannot_write(error, self.folder) from error
        try:
            save(state, part)
            path = part.replace(self.folder / f"{number:08d}-{sha256_of_file(part)}{SUFFIX}")
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        sync_folder(self.folder)
        for old in self._files()[:-N_KEPT]:
            old.unlink(missing_ok=True)
        if self._shared is not None:
            try:
                self._shared.put({f"{self._name}/{path.name}": path})
                self._shared.delete(self._shared.names(self._name)[:-N_KEPT])
            except SharedStoreError as error:
                logger.warning("the checkpoint is on this machine alone, and the training goes on: %s", error)

    def clear(self) -> None:
        """Remove what was saved, if there is anything."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._shared is not None:
            with contextlib.suppress(SharedStoreError):
                self._shared.delete(self._shared.names(self._name))

    def _files(self) -> list[Path]:
        """From the first to the last."""
        return sorted(self.folder.glob(f"[0-9]*{SUFFIX}"))
