"""A run folder appears complete or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from medcompare.base.errors import ConfigError
from medcompare.runs.folder import default_run_name, free_run_name, held_name, now, run_folder

ROOT = Path(__file__).resolve().parents[2]
FILL = """
import pathlib, sys
from medcompare.runs.folder import run_folder
with run_folder(pathlib.Path(sys.argv[1]), sys.argv[2]):
    print("filling", flush=True)
    sys.stdin.readline()
"""


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


def test_a_name_that_another_process_is_filling_is_not_taken(tmp_path: Path) -> None:
    """Two runs of the same second get folders of their own, and both reports appear."""
    wanted = "2026-11-22_214005_oral"
    process = subprocess.Popen(
        [sys.executable, "-c", FILL, str(tmp_path), wanted],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "filling\n"
        assert not (tmp_path / wanted).exists()
        assert free_run_name(tmp_path, wanted) == f"{wanted}-2"
        with run_folder(tmp_path, f"{wanted}-2") as folder:
            assert folder.parent == tmp_path
            assert free_run_name(tmp_path, wanted) == f"{wanted}-3"
        process.communicate("done\n", timeout=60)
    finally:
        process.kill()
        process.communicate()

    assert {path.name for path in tmp_path.iterdir()} == {wanted, f"{wanted}-2", "latest"}


def test_a_name_in_use_by_a_killed_process_is_not_taken_either(tmp_path: Path) -> None:
    """What a killed run left behind is not overwritten; pruning deletes it."""
    process = subprocess.Popen(
        [sys.executable, "-c", FILL, str(tmp_path), "night"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate()

    assert free_run_name(tmp_path, "night") == "night-2"
    assert free_run_name(tmp_path, "nigh") == "nigh"


def test_a_name_with_signs_of_a_pattern_is_taken_literally(tmp_path: Path) -> None:
    """Brackets and stars in a name are no pattern."""
    (tmp_path / f".night-1.{os.getpid()}.partial").mkdir()

    assert free_run_name(tmp_path, "night-[0-9]") == "night-[0-9]"
    assert free_run_name(tmp_path, "*") == "*"


def test_a_given_name_is_kept_and_a_default_one_is_free(tmp_path: Path) -> None:
    """Only a name that nobody chose may be changed; a name that is not used leaves nothing."""
    moment = datetime(2026, 11, 22, 21, 40, 5, tzinfo=UTC)
    (tmp_path / "2026-11-22_214005_oral").mkdir()
    (tmp_path / "mine").mkdir()

    with held_name(tmp_path, "mine", started_at=moment, data_name="oral") as name:
        assert name == "mine"
    with held_name(tmp_path, None, started_at=moment, data_name="oral") as name:
        assert name == "2026-11-22_214005_oral-2"
    assert {path.name for path in tmp_path.iterdir()} == {"2026-11-22_214005_oral", "mine"}
    assert now().tzinfo is not None


HOLD = """
import datetime, pathlib, sys
from medcompare.runs.folder import held_name, run_folder
out, moment = pathlib.Path(sys.argv[1]), datetime.datetime(2026, 11, 22, tzinfo=datetime.UTC)
print("ready", flush=True)
sys.stdin.readline()
with held_name(out, None, started_at=moment, data_name="oral") as name:
    print(name, flush=True)
    sys.stdin.readline()
    with run_folder(out, name):
        pass
"""


def test_runs_of_the_same_second_get_names_of_their_own(tmp_path: Path) -> None:
    """Four processes choose at the same moment, long before they write: four names, four folders."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    names = []
    try:
        for step in ("ready", "name"):
            for process in processes:
                assert process.stdout is not None
                assert process.stdin is not None
                line = process.stdout.readline().strip()
                if step == "name":
                    names.append(line)
            for process in processes:
                assert process.stdin is not None
                process.stdin.write("go on\n")
                process.stdin.flush()
        assert [process.wait(60) for process in processes] == [0, 0, 0, 0]
    finally:
        for process in processes:
            process.kill()
            process.communicate()

    base = "2026-11-22_000000_oral"
    assert sorted(names) == [base, *(f"{base}-{number}" for number in (2, 3, 4))]
    assert {path.name for path in tmp_path.iterdir()} == {*names, "latest"}


def test_a_name_held_in_the_same_process_is_refused(tmp_path: Path) -> None:
    """Two threads must not fill one folder."""
    moment = now()
    with (
        held_name(tmp_path, "mine", started_at=moment, data_name="oral"),
        pytest.raises(ConfigError, match="'mine' is being written"),
        held_name(tmp_path, "mine", started_at=moment, data_name="oral"),
    ):
        pass


def test_a_name_is_chosen_also_where_nothing_can_be_written(tmp_path: Path) -> None:
    """The checks of the run say what is wrong with the folder, in plain words."""
    (tmp_path / "file").write_text("not a folder")

    with held_name(tmp_path / "file", "mine", started_at=now(), data_name="oral") as name:
        assert name == "mine"
