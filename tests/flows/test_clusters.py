"""The real flow on real clusters: two workers that share a bucket alone, one of them killed in mid-training."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from prefect import flow

from medcompare.base.errors import ConfigError
from medcompare.config.data import DataConfig
from medcompare.data import measuring
from medcompare.data.measured import Measured
from medcompare.data.measuring import CLOCK_STEP_S, measure_files
from medcompare.data.sources.resolve import resolve_source
from medcompare.runs.cluster import Cluster, cluster_of
from tasks.measure import measure_on
from tests.flows.conftest import make_two_classes
from tests.flows.small_runs import Done, run, small_config
from tests.notify.mail_servers import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

UP_WITHIN_S = 120.0


def settings(images: Path, root: Path, **changes: Any) -> Any:
    """Two trainings that last a while and save a checkpoint after every step.

    On one machine, too, each has half of the cores: sums by another number of threads differ in the last digits.
    """
    train = {"epochs": 30, "patience": 30, "checkpoint_every_s": 0, "num_workers": 0, "max_parallel": 2}
    return small_config(images, root, models=("test_cnn",), seeds=2, train=train, **changes)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started, by their ids."""
    family: list[psutil.Process] = []
    with contextlib.suppress(psutil.NoSuchProcess):
        family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    for one in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    process.wait()


@contextlib.contextmanager
def started(*command: str, log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A part of a cluster that imports this code."""
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            stdout=file,
            stderr=file,
            cwd=log.parent,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": paths, **environment},
        )
    try:
        yield process
    finally:
        end(process)


@contextlib.contextmanager
def dask_cluster(root: Path) -> Iterator[tuple[str, list[Path]]]:
    """Address of a scheduler with two workers, and the folder of each."""
    address, copies = f"tcp://127.0.0.1:{free_port()}", [root / "one", root / "two"]
    port = address.rpartition(":")[2]
    scheduler = ("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard")
    with contextlib.ExitStack() as stack:
        stack.enter_context(started(*scheduler, log=root / "scheduler.log"))
        for copy in copies:
            worker = (
                "distributed.cli.dask_worker",
                address,
                "--nthreads",
                "1",
                "--no-nanny",
                "--no-dashboard",
            )
            log = root / f"{copy.name}.log"
            stack.enter_context(started(*worker, log=log, MEDCOMPARE_COPIES=str(copy)))
        yield address, copies


@contextlib.contextmanager
def ray_cluster(root: Path) -> Iterator[tuple[str, list[Path]]]:
    """Address of a head node that serves clients, with a second node, and the folder of each."""
    head, clients, copies = free_port(), free_port(), [root / "one", root / "two"]
    common = ("--block", "--num-cpus", "1", "--object-store-memory", "80000000", "--disable-usage-stats")
    # Beside the ports that are drawn for clients and head.
    ports = ("--min-worker-port", "0", "--max-worker-port", "0")
    first = (
        "--head",
        "--port",
        str(head),
        "--ray-client-server-port",
        str(clients),
        "--include-dashboard=false",
    )
    start = "ray.scripts.scripts", "start"
    # Sockets lie below it, whose names must be short.
    temporary = Path(tempfile.gettempdir()) / f"ray-{os.getpid()}"
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, temporary, ignore_errors=True)
        for copy, more in zip(
            copies, ((*first, "--temp-dir", str(temporary)), ("--address", f"127.0.0.1:{head}")), strict=True
        ):
            stack.enter_context(
                started(
                    *start, *more, *common, *ports, log=root / f"{copy.name}.log", MEDCOMPARE_COPIES=str(copy)
                )
            )
            wait_for(lambda log=root / f"{copy.name}.log": b"--block" in log.read_bytes(), "a node of Ray")  # type: ignore[misc] # bound now
        yield f"ray://127.0.0.1:{clients}", copies


def wait_for(is_so: Any, what: str) -> None:
    """Until it is so."""
    deadline = time.monotonic() + UP_WITHIN_S
    while not is_so():
        if time.monotonic() > deadline:
            pytest.fail(f"{what} was not there within {UP_WITHIN_S:.0f} s")
        time.sleep(0.2)


def worker_of(copy: Path) -> psutil.Process:
    """The process that has `copy` and has begun to save a training there: the parent of that training."""
    while True:
        for one in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if one.environ().get("MEDCOMPARE_COPIES") == str(copy) and any(
                    "medcompare" in " ".join(child.cmdline()) for child in one.children()
                ):
                    return one
        time.sleep(0.1)


def killed_in_mid_training(copies: list[Path], killed: list[str]) -> None:
    """Kill a worker once it has saved some steps of a training."""
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        for copy in copies:
            saved = list(copy.glob("*/resume/*/0000001*.safetensors"))  # after the tenth step of 90
            if saved:
                worker = worker_of(copy)
                worker.send_signal(signal.SIGKILL)
                killed.append(copy.name)
                return
        time.sleep(0.05)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images that every machine compares on."""
    return make_two_classes(tmp_path_factory.mktemp("pictures") / "two-classes")


@pytest.fixture(scope="module")
def alone(prefect_server: None, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Done:  # noqa: ARG001 - must be up
    """The same comparison on this machine."""
    return run(settings(pictures, tmp_path_factory.mktemp("alone")))


@pytest.mark.parametrize("engine", ["dask", "ray"])
def test_one_worker_is_killed_and_the_numbers_are_the_same(
    engine: str, pictures: Path, s3: Any, alone: Done, tmp_path: Path
) -> None:
    """Predictions are those of one machine, to the byte; a machine with an empty store then finds everything done."""
    if importlib.util.find_spec(f"prefect_{engine}") is None:
        pytest.skip(f"prefect-{engine} is not installed")
    (tmp_path / "cluster").mkdir()
    shared = f"s3://study/{engine}"
    killed: list[str] = []
    with {"dask": dask_cluster, "ray": ray_cluster}[engine](tmp_path / "cluster") as (address, copies):
        port = int(address.rpartition(":")[2])
        wait_for(lambda: _listens(port), engine)
        runner = {"engine": engine, "address": address}
        config = settings(pictures, tmp_path, shared_store=shared, runner=runner)
        _wait_for_workers(config, 2)
        killer = threading.Thread(target=killed_in_mid_training, args=(copies, killed))
        killer.start()
        done = run(config)
        killer.join()
        again = run(settings(pictures, tmp_path / "again", shared_store=shared))
        if engine == "ray":
            import ray

            ray.shutdown()

    assert len(killed) == 1
    tables = ("predictions_test.csv", "predictions_validation.csv")
    for name in tables:
        assert (Path(done.result.folder) / name).read_bytes() == (
            Path(alone.result.folder) / name
        ).read_bytes()
        assert (Path(again.result.folder) / name).read_bytes() == (
            Path(done.result.folder) / name
        ).read_bytes()
    names = [one["Key"] for one in s3.list_objects_v2(Bucket="study", Prefix=f"{engine}/")["Contents"]]
    assert not [name for name in names if "/resume/" in name]
    assert sum("/images-by-content/" in name for name in names) == 80
    assert {name for name, state in again.tasks.items() if state == "Cached"} >= {
        "ingest",
        "split",
        "train test_cnn seed 0",
        "train test_cnn seed 1",
        "predict test_cnn seed 0",
    }


@flow(validate_parameters=False)
def measuring_on(cluster: Cluster, folder: Path, store: Path) -> None:
    """What a comparison does before it ingests."""
    data = DataConfig(source=str(folder))
    measure_on(cluster, resolve_source(data, demo_root=folder), data, store)


@pytest.mark.usefixtures("prefect_server")
def test_images_are_measured_by_the_workers(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shards of 20 of 80 images by two workers of Dask; nothing is left to be read here, and nothing differs."""
    monkeypatch.setattr(measuring, "MANY_FILES", 20)
    monkeypatch.setattr(measuring, "SHARD_FILES", 20)
    old = time.time() - 3600
    folder = shutil.copytree(pictures, tmp_path / "pictures")
    for path in folder.rglob("*.*"):
        os.utime(path, (old, old))
    time.sleep(2 + CLOCK_STEP_S)  # the time of the last change of an inode cannot be set
    (tmp_path / "cluster").mkdir()
    with dask_cluster(tmp_path / "cluster") as (address, _):
        config = settings(folder, tmp_path, runner={"engine": "dask", "address": address})
        wait_for(lambda: _listens(int(address.rpartition(":")[2])), "dask")
        _wait_for_workers(config, 2)
        cluster = cluster_of(config.runner, "cpu")
        assert cluster is not None
        measuring_on(cluster, folder, tmp_path / "store")
        logs = [(tmp_path / "cluster" / f"{name}.log").read_text() for name in ("one", "two")]

    data = DataConfig(source=str(folder))
    source = resolve_source(data, demo_root=folder)
    found = {}
    for store in (tmp_path / "store", None):
        with contextlib.closing(Measured(store)) as kept:
            found[store] = measure_files(source, data, kept)
    assert found[tmp_path / "store"].n_read == 0
    assert found[None].n_read == 80
    assert found[tmp_path / "store"].sha256.tolist() == found[None].sha256.tolist()
    assert all("measure images" in log for log in logs)


def _listens(port: int) -> bool:
    import socket

    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _wait_for_workers(config: Any, n: int) -> None:
    def all_there() -> bool:
        with contextlib.suppress(ConfigError):
            cluster = cluster_of(config.runner, "cpu")
            return cluster is not None and cluster.n_slots == n
        return False

    wait_for(all_there, f"{n} workers")
