"""A run folder appears complete or not at all."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from medcompare.errors import ConfigError
from medcompare.run_folder import default_run_name, free_run_name, run_folder


def test_a_finished_run_is_shown_and_is_the_latest(tmp_path: Path) -> None:
    """The folder appears under its name, and `latest` points to it."""
    with run_folder(tmp_path, "one") as folder:
        (folder / "report.pdf").write_bytes(b"%PDF")
        assert not (tmp_path / "one").exists()

    assert (tmp_path / "one/report.pdf").read_bytes() == b"%PDF"
    assert (tmp_path / "latest").readlink() == Path("one")


def test_a_failed_run_leaves_nothing(tmp_path: Path) -> None:
    """After an error no file is left that looks like a report, and `latest` stays."""
    with run_folder(tmp_path, "good"):
        pass

    def fail() -> None:
        with run_folder(tmp_path, "bad") as folder:
            (folder / "report.pdf").write_bytes(b"%PDF")
            msg = "boom"
            raise RuntimeError(msg)

    with pytest.raises(RuntimeError, match="boom"):
        fail()

    assert sorted(path.name for path in tmp_path.iterdir()) == ["good", "latest"]
    assert (tmp_path / "latest").readlink() == Path("good")


def test_a_name_in_use_is_refused(tmp_path: Path) -> None:
    """A run never overwrites another."""
    (tmp_path / "taken").mkdir()

    with pytest.raises(ConfigError, match="'taken' exists"), run_folder(tmp_path, "taken"):
        pass

    assert free_run_name(tmp_path, "taken") == "taken-2"


def test_an_unwritable_folder_is_named(tmp_path: Path) -> None:
    """A file where the folder should be gives one clear error."""
    (tmp_path / "file").write_text("not a folder")

    with pytest.raises(ConfigError, match="cannot write to"), run_folder(tmp_path / "file", "x"):
        pass


def test_names_sort_by_time_and_are_safe() -> None:
    """Odd characters of a data set's name do not reach the file system."""
    moment = datetime(2026, 11, 22, 21, 40, 5, tzinfo=UTC)

    assert default_run_name(moment, "My images/../x") == "2026-11-22_214005_my-images-x"
