"""The cluster that trainings are spread over: found, and refused before any work where it cannot do it."""

from __future__ import annotations

import importlib.util
import logging
import os
import socket
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

from medcompare.base.errors import ConfigError
from medcompare.base.hosts import is_loopback
from medcompare.base.record import Record
from medcompare.runs.prefect_server import API_URL, prefect_setting

if TYPE_CHECKING:
    from medcompare.config.runner import RunnerConfig

Facts = dict[str, Any]
"""What a cluster says of one of its machines."""

TIMEOUT_S = 10.0
GPU = "GPU"
"""The resource of a worker that has a graphics card; Ray finds it, with Dask ``--resources GPU=1`` says so."""


class Cluster(Record):
    """What a cluster offers."""

    engine: str
    address: str
    n_slots: int
    """Trainings that can run at the same time."""
    n_per_machine: int
    """Of these on one machine, at most."""
    n_threads: int | None
    """Threads of each; None: the cores of the machine, shared by its trainings."""
    n_gpus: int
    """Graphics cards that each training asks for: 0 or 1."""

    @property
    def words(self) -> str:
        """Such as ``2 places on dask at tcp://...``."""
        on_gpus = ", each with a GPU" if self.n_gpus else ""
        return f"{self.n_slots} at a time on {self.engine} at {self.address}{on_gpus}"


def cluster_of(runner: RunnerConfig, device: str) -> Cluster | None:
    """The cluster that `runner` names, looked at; None where everything runs here.

    Parameters
    ----------
    runner : RunnerConfig
        Engine and address.
    device : str
        As ``train.device``: with ``cpu``, no training asks for a GPU.

    Raises
    ------
    ConfigError
        If its package is missing, nobody listens, it has no workers or not the device that is asked for, or if its
        workers cannot reach the Prefect server of this run.
    """
    if runner.engine == "local":
        return None
    if importlib.util.find_spec(f"prefect_{runner.engine}") is None:
        package = f"prefect-{runner.engine}"
        _refuse(runner, f"needs a package that is not installed: python -m pip install {package}")
    _check_listening(runner)
    _check_server(runner)
    return (_dask if runner.engine == "dask" else _ray)(runner, device)


def _refuse(runner: RunnerConfig, what: str) -> NoReturn:
    msg = f"runner.engine={runner.engine} {what}"
    raise ConfigError(msg) from None


def _check_listening(runner: RunnerConfig) -> None:
    parts = urlsplit(runner.address)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 0), timeout=TIMEOUT_S).close()
    except OSError as error:
        start = {
            "dask": f"dask scheduler --port {parts.port}",
            "ray": f"ray start --head --ray-client-server-port {parts.port}",
        }[runner.engine]
        _refuse(
            runner,
            f"cannot be used: nobody answers at runner.address={runner.address} ({error.strerror or error}); start the "
            f"cluster there ({start}) or correct the address",
        )


def _check_server(runner: RunnerConfig) -> None:
    """Workers tell the Prefect server how their work goes: one on another machine cannot reach our loopback."""
    if is_loopback(urlsplit(runner.address).hostname or ""):
        return
    server = prefect_setting(API_URL, os.environ, Path.cwd())
    if server is None or is_loopback(urlsplit(server.value).hostname or ""):
        _refuse(
            runner,
            "needs a Prefect server that its workers can reach, and this run's is on this machine alone: start one "
            "(prefect server start --host 0.0.0.0) and name it, as the workers see it: export "
            f"{API_URL}=http://$(hostname):4200/api",
        )


def _dask(runner: RunnerConfig, device: str) -> Cluster:
    import distributed

    try:
        with distributed.Client(runner.address, timeout=TIMEOUT_S, set_as_default=False) as client:
            workers = client.scheduler_info(n_workers=-1)["workers"].values()
    except (OSError, TimeoutError, ValueError) as error:
        _refuse(
            runner,
            f"cannot be used: what listens at {runner.address} does not speak Dask ({type(error).__name__})",
        )
    with_gpu = [worker for worker in workers if worker["resources"].get(GPU, 0) >= 1]
    chosen = _with_device(
        runner, device, list(workers), with_gpu, f"dask worker {runner.address} --nthreads 1"
    )
    places: Counter[str] = Counter()
    for worker in chosen:
        places[worker["host"]] += int(worker["resources"][GPU]) if with_gpu else worker["nthreads"]
    return Cluster(
        engine=runner.engine,
        address=runner.address,
        n_slots=sum(places.values()),
        n_per_machine=max(places.values()),
        n_threads=None,
        n_gpus=int(bool(with_gpu) and device != "cpu"),
    )


def _ray(runner: RunnerConfig, device: str) -> Cluster:
    import ray

    if not ray.is_initialized():  # for the whole of the run
        try:
            ray.init(runner.address, namespace="prefect", log_to_driver=False, logging_level=logging.ERROR)
        except Exception as error:  # noqa: BLE001 - it raises of every kind, and says what is wrong
            _refuse(runner, f"cannot be used: {runner.address} does not take us in: {error}")
    nodes = [
        node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= 1
    ]
    with_gpu = [node for node in nodes if node.get(GPU, 0) >= 1]
    chosen = _with_device(runner, device, nodes, with_gpu, "ray start --address=HEAD:6379")
    places = [int(node[GPU]) if with_gpu and device != "cpu" else 1 for node in chosen]
    return Cluster(
        engine=runner.engine,
        address=runner.address,
        n_slots=sum(places),
        n_per_machine=max(places),
        n_threads=min(int(node["CPU"]) // n for node, n in zip(chosen, places, strict=True)) or 1,
        n_gpus=int(bool(with_gpu) and device != "cpu"),
    )


def _with_device(
    runner: RunnerConfig, device: str, workers: list[Facts], with_gpu: list[Facts], start: str
) -> list[Facts]:
    """The workers to use: those with a GPU where there are any and `device` does not say otherwise."""
    if not workers:
        _refuse(
            runner,
            f"cannot be used: no worker has joined the cluster at {runner.address}; start one: {start}",
        )
    if device not in {"auto", "cpu"} and not with_gpu:
        _refuse(
            runner,
            f"cannot be used with train.device={device}: none of the {len(workers)} worker(s) has the resource GPU; "
            f"start them with it (dask worker ... --resources GPU=1; Ray finds GPUs itself), or set train.device=auto",
        )
    return with_gpu if with_gpu and device != "cpu" else workers
