"""Who may read what is written: the umask, and the access that a folder shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from medcompare.base.file_access import access_of, files_readable_by

if TYPE_CHECKING:
    from pathlib import Path


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
