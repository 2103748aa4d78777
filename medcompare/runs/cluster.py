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
    """Graphics cards that each training asks for: none, or ``train.devices``."""

    @property
    def words(self) -> str:
        """Such as ``2 places on dask at tcp://...``."""
        on_gpus = {0: "", 1: ", each with a GPU"}.get(self.n_gpus, f", each with {self.n_gpus} GPUs")
        return f"{self.n_slots} at a time on {self.engine} at {self.address}{on_gpus}"


def cluster_of(runner: RunnerConfig, device: str, *, n_devices: int = 1) -> Cluster | None:
    """The cluster that `runner` names, looked at; None where everything runs here.

    Parameters
    ----------
    runner : RunnerConfig
        Engine and address.
    device : str
        As ``train.device``: with ``cpu``, no training asks for a GPU.
    n_devices : int, default=1
        As ``train.devices``: GPUs of one machine that each training asks for.

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
    return (_dask if runner.engine == "dask" else _ray)(runner, device, n_devices)


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


def _dask(runner: RunnerConfig, device: str, n_devices: int) -> Cluster:
    import distributed

    try:
        with distributed.Client(runner.address, timeout=TIMEOUT_S, set_as_default=False) as client:
            workers = client.scheduler_info(n_workers=-1)["workers"].values()
    except (OSError, TimeoutError, ValueError) as error:
        _refuse(
            runner,
            f"cannot be used: what listens at {runner.address} does not speak Dask ({type(error).__name__})",
        )
    gpus = [int(worker["resources"].get(GPU, 0)) for worker in workers]
    chosen, n_gpus = _with_device(
        runner, device, n_devices, list(workers), gpus, f"dask worker {runner.address} --nthreads 1"
    )
    places: Counter[str] = Counter()
    for worker in chosen:
        places[worker["host"]] += int(worker["resources"][GPU]) // n_gpus if n_gpus else worker["nthreads"]
    return Cluster(
        engine=runner.engine,
        address=runner.address,
        n_slots=sum(places.values()),
        n_per_machine=max(places.values()),
        n_threads=None,
        n_gpus=n_gpus,
    )


def _ray(runner: RunnerConfig, device: str, n_devices: int) -> Cluster:
    import ray

    if not ray.is_initialized():  # for the whole of the run
        try:
            ray.init(runner.address, namespace="prefect", log_to_driver=False, logging_level=logging.ERROR)
        except Exception as error:  # noqa: BLE001 - it raises of every kind, and says what is wrong
            _refuse(runner, f"cannot be used: {runner.address} does not take us in: {error}")
    nodes = [
        node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= 1
    ]
    gpus = [int(node.get(GPU, 0)) for node in nodes]
    chosen, n_gpus = _with_device(runner, device, n_devices, nodes, gpus, "ray start --address=HEAD:6379")
    places = [int(node[GPU]) // n_gpus if n_gpus else 1 for node in chosen]
    return Cluster(
        engine=runner.engine,
        address=runner.address,
        n_slots=sum(places),
        n_per_machine=max(places),
        n_threads=min(int(node["CPU"]) // n for node, n in zip(chosen, places, strict=True)) or 1,
        n_gpus=n_gpus,
    )


def _with_device(  # noqa: PLR0917 - what a cluster says, and what is asked of it
    runner: RunnerConfig, device: str, n_devices: int, workers: list[Facts], gpus: list[int], start: str
) -> tuple[list[Facts], int]:
    """The workers to use, and the GPUs of each training: workers with enough where there are any, unless for a CPU."""
    if not workers:
        _refuse(
            runner,
            f"cannot be used: no worker has joined the cluster at {runner.address}; start one: {start}",
        )
    if device not in {"auto", "cpu"} and not any(gpus):
        _refuse(
            runner,
            f"cannot be used with train.device={device}: none of the {len(workers)} worker(s) has the resource GPU; "
            f"start them with it (dask worker ... --resources GPU=1; Ray finds GPUs itself), or set train.device=auto",
        )
    if device == "cpu" or not any(gpus):
        return workers, 0
    if max(gpus) < n_devices:
        _refuse(
            runner,
            f"cannot be used with train.devices={n_devices}: its workers have {max(gpus)} GPU(s) at most, and a "
            f"training stays on one machine; set train.devices={max(gpus)}, or start workers with more "
            f"(dask worker ... --resources GPU={n_devices})",
        )
    return [worker for worker, n in zip(workers, gpus, strict=True) if n >= n_devices], n_devices
