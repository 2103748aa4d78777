"""Nobody else reads images' names, predictions and reports, whatever the umask that a run is started with."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.flows.small_runs import ONE_MODEL, First, run, small_assessment, small_config

if TYPE_CHECKING:
    from collections.abc import Iterator

OWNER, GROUP = (0o700, 0o600), (0o750, 0o640)


def modes_below(*folders: Path) -> dict[Path, int]:
    """Mode of every folder and file; links have none of their own."""
    found = {}
    for folder in folders:
        # Not rglob, which raises where a folder goes away while it is listed.
        for parent, _, names in os.walk(folder):
            for path in (Path(parent), *(Path(parent, name) for name in names)):
                with contextlib.suppress(FileNotFoundError):
                    mode = path.lstat().st_mode
                    if not stat.S_ISLNK(mode):
                        found[path] = stat.S_IMODE(mode)
    return found


def wrong(modes: dict[Path, int], expected: tuple[int, int]) -> dict[str, str]:
    """Paths whose mode is not the one of a folder or of a file."""
    folder, file = expected
    return {
        str(path): f"{mode:o}" for path, mode in modes.items() if mode != (folder if path.is_dir() else file)
    }


@contextlib.contextmanager
def umask(mask: int) -> Iterator[None]:
    """The umask of the block."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@contextlib.contextmanager
def watched(*folders: Path) -> Iterator[dict[Path, int]]:
    """Every mode that any path, temporary ones too, was seen with meanwhile: the bits of all looks together."""
    seen: dict[Path, int] = {}
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.02):
            for path, mode in modes_below(*folders).items():
                seen[path] = seen.get(path, 0) | mode

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
        assert thread.is_alive(), "nobody has watched to the end"
    finally:
        ended.set()
        thread.join()


def test_only_the_owner_can_read_what_a_run_leaves(first: First) -> None:
    """Cache, history, locks, checkpoints, tables, report: folders 700, files 600."""
    modes = modes_below(first.root / "runs", first.root / "store")

    assert wrong(modes, OWNER) == {}
    names = {path.name for path in modes}
    assert {"report.pdf", "results.json", "predictions_test.csv", "history", ".in-use.lock"} <= names
    assert len(modes) > 40


@pytest.mark.parametrize(
    ("mask", "access", "expected"), [(0o000, "owner", OWNER), (0o077, "group", GROUP)], ids=["000", "077"]
)
def test_the_umask_of_the_caller_changes_nothing(
    images: Path, tmp_path: Path, mask: int, access: str, expected: tuple[int, int]
) -> None:
    """A whole comparison; what exists for a moment only is never more open than what stays."""
    places = tmp_path / "store", tmp_path / "runs"
    with umask(mask), watched(*places) as seen:
        done = run(small_config(images, tmp_path, models=ONE_MODEL, file_access=access))
        assert os.umask(mask) == mask

    assert done.state.is_completed()
    assert wrong(modes_below(*places), expected) == {}
    allowed = expected[0]
    assert {str(path): f"{mode:o}" for path, mode in seen.items() if mode & ~allowed} == {}
    assert len(seen) > 30


def test_an_assessment_for_the_group(first: First, tmp_path: Path) -> None:
    """The other flow has the same option; folders that are there keep their mode, and it is said."""
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs").chmod(0o711)
    with umask(0o000):
        done = run(small_assessment(first, tmp_path, file_access="group"))

    assert stat.S_IMODE((tmp_path / "runs").stat().st_mode) == 0o711
    assert wrong(modes_below(Path(done.result.folder), tmp_path / "store"), GROUP) == {}


def test_the_command_line_keeps_prefects_own_files_private(first: First, tmp_path: Path) -> None:
    """The database of the temporary server holds paths and messages of the run."""
    home = tmp_path / "prefect"
    config = small_assessment(first, tmp_path)
    command = [sys.executable, "-m", "flows.assess", "--predictions", str(config.predictions)]
    command += ["--out", str(config.out), "--store", str(config.store), "--set", "evaluate.n_resamples=200"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    with umask(0o000):
        subprocess.run(
            command,
            env=environment | {"PREFECT_HOME": str(home)},
            check=True,
            capture_output=True,
            timeout=240,
        )

    assert wrong(modes_below(home, config.out, config.store), OWNER) == {}
    assert any(home.rglob("*.db"))
