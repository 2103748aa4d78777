"""Whole runs that are told to end, that run out of disk: they go on to the same end."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from benchmarks.killed_runs import MARK, outcome, processes
from medcompare.runs.history import history_path, list_runs
from tests.flows.conftest import make_two_classes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

ROOT = Path(__file__).resolve().parents[2]
LONG_S = 300
SETTINGS = {
    "seeds": 1,
    "split.test_fraction": 0.3,
    "train.image_size_px": 32,
    "train.epochs": 12,
    "train.patience": 12,
    "train.batch_size": 16,
    "train.initial_weights": "none",
    "train.device": "cpu",
    "train.precision": "float32",
    "evaluate.n_resamples": 200,
    "cost.n_warmup": 1,
    "cost.n_repeats": 10,
    "cost.throughput_batch": 2,
}


class Runs:
    """Runs from the command line with the same settings, on one store."""

    def __init__(self, root: Path, images: Path, home: Path, **settings: object) -> None:
        self.store, self.out, self._log = root / "store", root / "runs", home / f"{root.name}.log"
        places = [
            "--data",
            images,
            "--name",
            "run",
            "--models",
            "test_cnn",
            "--store",
            self.store,
            "--out",
            self.out,
        ]
        sets = [f"{name}={value}" for name, value in (SETTINGS | settings).items()]
        self._command = [*map(str, places), *(part for one in sets for part in ("--set", one))]
        self._environment = {
            **{name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"},
            "PREFECT_HOME": str(home / "prefect"),
            MARK: str(root),
        }

    @contextlib.contextmanager
    def started(self) -> Iterator[subprocess.Popen[bytes]]:
        """A run; killed at the end of the block if it still goes."""
        with self._log.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "flows.compare", *self._command],
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    @property
    def log(self) -> str:
        """What the last run has said."""
        return self._log.read_text("utf-8")

    def completed(self) -> dict[str, Any]:
        """What a run that is left alone ends with."""
        with self.started() as process:
            assert process.wait(LONG_S) == 0, self.log
        return comparable(self.out / "run")

    def processes(self) -> list[psutil.Process]:
        """Living processes of these runs."""
        return processes(MARK, self._environment[MARK])

    def left_over(self) -> list[str]:
        """Parts of files, and folders of runs, that nobody will read."""
        found = [*self.store.rglob("*.part"), *self.out.rglob("*.part"), *self.out.glob(".*.partial")]
        return sorted(path.name for path in found)


def comparable(folder: Path) -> dict[str, Any]:
    """Predictions, checkpoints, split and figures of a run; neither times nor costs."""
    wanted = re.compile(
        r"predictions_.*csv|split\..*|trained\.\d+\.(checkpoint\..*|best_epoch|history\.\d+\.(train|val)_.*)"
        r"|assessment\.evaluations\..*"
    )
    return {name: value for name, value in outcome(folder).items() if wanted.fullmatch(name)}


def until(condition: Callable[[], object], process: subprocess.Popen[bytes], runs: Runs) -> None:
    """Return when `condition` holds; the run must go on until then."""
    deadline = time.monotonic() + LONG_S
    while not condition():
        assert process.poll() is None, runs.log
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of two classes."""
    return make_two_classes(tmp_path_factory.mktemp("data") / "two-classes")


@pytest.fixture(scope="module")
def undisturbed(images: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What every run here has to end with."""
    root = tmp_path_factory.mktemp("undisturbed")
    found = Runs(root, images, root).completed()
    assert len(found) > 100
    return found


@pytest.mark.parametrize("whom", ["the run", "all its processes"])
def test_a_run_that_gets_sigterm_goes_on(
    whom: str, images: Path, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    """In mid-training: saved at that step, status 130 as after Ctrl-C, nothing left; the same command ends the same."""
    runs = Runs(tmp_path / "a", images, tmp_path, **{"train.checkpoint_every_s": 10**6})
    with runs.started() as process:
        until(lambda: "epoch 2 of 12" in runs.log, process, runs)
        for one in runs.processes() if whom == "all its processes" else [process]:
            with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
                one.send_signal(signal.SIGTERM)
        assert process.wait(60) == 130, runs.log

    assert runs.log.endswith("interrupted\n")
    assert "Traceback" not in runs.log
    assert [path.name[:8] for path in runs.store.glob("resume/*/*")] == ["00000001"]
    assert runs.processes() == []
    assert runs.left_over() == []
    [row] = list_runs(history_path(runs.store))
    assert row.status == "interrupted"
    assert row.failure is not None
    assert (row.failure.stage, row.failure.cause) == ("train test_cnn", "the run was stopped from outside")
    assert row.failure.remedy is not None
    assert row.failure.remedy.startswith("Start it again")

    assert runs.completed() == undisturbed
    assert re.search(r"resuming after epoch \d+", runs.log)
    assert [one.status for one in list_runs(history_path(runs.store))] == ["completed", "interrupted"]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 600 MB, in memory, of which a run asks for 500 before it begins; only root may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    mount = ["mount", "-t", "tmpfs", "-o", "size=600m", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no small file system can be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@contextlib.contextmanager
def filled(disk: Path, *, but_bytes: int) -> Iterator[None]:
    """Let another program take all of the disk but so many bytes, for the time of the block."""
    filler = disk / "another-program"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while shutil.disk_usage(disk).free > but_bytes:
            file.write(bytes(min(1 << 20, max(4096, shutil.disk_usage(disk).free - but_bytes))))
    try:
        yield
    finally:
        filler.unlink()


def test_a_run_goes_on_when_there_is_room_again(
    images: Path, undisturbed: dict[str, Any], disk: Path, tmp_path: Path
) -> None:
    """Full in ingest, checkpoints and report: one error each, nothing half-written, and the same end."""
    runs = Runs(disk, images, tmp_path, **{"train.checkpoint_every_s": 0})
    history = history_path(runs.store)
    moments: dict[str, tuple[int, Callable[[], object]]] = {
        "ingest": (0, lambda: list(history.glob("*.json"))),
        "checkpoint": (20_000, lambda: "epoch 2 of 12" in runs.log),
        "report": (200_000, lambda: "passes" in runs.log),
    }
    for (room_bytes, moment), n_before in zip(moments.values(), range(3), strict=True):
        with runs.started() as process:
            until(moment, process, runs)
            with filled(disk, but_bytes=room_bytes):
                assert process.wait(LONG_S) == 1, (n_before, runs.log)
        last = runs.log.splitlines()[-1]
        assert re.match(rf"error: .*the disk is full: \S+ MB free where {disk}", last), runs.log
        assert "The same command then goes on from there" in last
        assert "Traceback" not in runs.log
        assert runs.left_over() == []
        assert not (runs.out / "run").exists()

    assert runs.completed() == undisturbed
    assert runs.left_over() == []
