"""Who may read what is written: the umask, and the access that a folder shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from medcompare.base.file_access import access_of, files_readable_by
from medcompare.handover.torch_network import write_weights
from medcompare.training.checkpoints import save

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from medcompare.base.file_access import FileAccess


@pytest.mark.parametrize(
    ("mode", "access"),
    [
        (0o700, "owner"),
        (0o750, "group"),
        (0o2750, "group"),
        (0o755, "owner"),
        (0o770, "owner"),
        (0o777, "owner"),
    ],
)
def test_the_access_of_a_folder(mode: int, access: str, tmp_path: Path) -> None:
    """The group's only where it may read and nobody else may; a folder open to all opens nothing more."""
    folder = tmp_path / "history"
    folder.mkdir()
    folder.chmod(mode)

    assert access_of(folder) == access
    assert access_of(folder / "absent") == "owner"


def test_a_record_is_as_readable_as_those_before(tmp_path: Path) -> None:
    """What a recovery writes into a group's history, the group can read."""
    with files_readable_by("group"):
        (tmp_path / "history").mkdir()
    with files_readable_by(access_of(tmp_path / "history")):
        (tmp_path / "history" / "run.json").write_text("{}")

    assert (tmp_path / "history" / "run.json").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(("access", "mode"), [("owner", 0o600), ("group", 0o640)])
@pytest.mark.parametrize(
    "write",
    [
        lambda path: save({"step": 1, "weight": torch.ones(2)}, path),
        lambda path: write_weights(torch.nn.Linear(1, 1), path),
    ],
    ids=["checkpoint", "weights of an export"],
)
def test_tensors_are_as_readable_as_the_rest(
    write: Callable[[Path], None], access: FileAccess, mode: int, tmp_path: Path
) -> None:
    """The library would let their owner alone read them, also where a file is there already; nothing else is left."""
    path = tmp_path / "tensors.safetensors"
    with files_readable_by(access):
        for _ in range(2):
            write(path)

            assert path.stat().st_mode & 0o777 == mode
            assert list(tmp_path.iterdir()) == [path]
