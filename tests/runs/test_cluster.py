"""A cluster that cannot do the work is refused before any, with the command that helps."""

from __future__ import annotations

import importlib.util
import socket
from typing import TYPE_CHECKING

import pytest

from medcompare.base.errors import ConfigError
from medcompare.config.errors import validated
from medcompare.config.runner import RunnerConfig
from medcompare.config.schema import CompareConfig
from medcompare.runs.cluster import Cluster, _with_device, cluster_of

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the packages of both engines were there."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object())


@pytest.fixture
def listening() -> Iterator[int]:
    """Port of something that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_this_machine_needs_nothing() -> None:
    """The default."""
    assert cluster_of(RunnerConfig(), "auto") is None


@pytest.mark.parametrize("engine", ["dask", "ray"])
def test_a_package_that_is_missing(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Named with the command that installs it."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    runner = RunnerConfig(engine=engine, address="tcp://127.0.0.1:1")
    message = f"runner.engine={engine} needs a package .*: python -m pip install prefect-{engine}$"
    with pytest.raises(ConfigError, match=message):
        cluster_of(runner, "auto")


@pytest.mark.usefixtures("installed")
def test_nobody_listens(listening: int) -> None:
    """The address, and how a cluster is started there."""
    runner = RunnerConfig(engine="dask", address="tcp://127.0.0.1:1")
    message = r"nobody answers at runner\.address=tcp://127\.0\.0\.1:1 .*dask scheduler --port 1\)"
    with pytest.raises(ConfigError, match=message):
        cluster_of(runner, "auto")
    message = r"start the cluster there \(ray start --head --ray-client-server-port 1\)"
    with pytest.raises(ConfigError, match=message):
        cluster_of(RunnerConfig(engine="ray", address="ray://127.0.0.1:1"), "auto")
    assert listening


@pytest.mark.usefixtures("installed")
def test_workers_must_reach_the_prefect_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server on this machine's loopback is none for other machines."""
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: socket.socket())
    runner = RunnerConfig(engine="dask", address="tcp://192.0.2.7:8786")
    for url in ("", "http://127.0.0.1:4200/api"):
        monkeypatch.setenv("PREFECT_API_URL", url)
        with pytest.raises(
            ConfigError, match=r"needs a Prefect server that its workers can reach.*export PREFECT_API_URL"
        ):
            cluster_of(runner, "auto")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"runner": {"engine": "dask"}},
            r"runner.*address of a running cluster with its port, got ''.*tcp://127",
        ),
        (
            {"runner": {"engine": "ray", "address": "ray://head"}},
            r"got 'ray://head'; e\.g\. .*ray://127\.0\.0\.1:10001",
        ),
        ({"runner": {"address": "tcp://a:1"}}, r"'tcp://a:1' is that of a cluster, and engine is 'local'"),
        ({"runner": {"engine": "spark"}}, r"runner\.engine.*'local', 'dask'"),
        ({"shared_store": "/data/store"}, r"shared_store.*no address of a bucket: write s3://bucket/folder"),
        ({"shared_store": "s3://me:secret@bucket/a"}, r"shared_store.*would be kept with the run"),
        ({"shared_store": "s3://"}, r"shared_store.*no address of a bucket"),
    ],
)
def test_settings_that_cannot_be(given: dict[str, object], message: str) -> None:
    """Named by field; a secret is not repeated."""
    with pytest.raises(ConfigError, match=message) as refused:
        validated(CompareConfig, given)

    assert "secret@" not in str(refused.value)


def test_workers_with_enough_gpus_for_one_training() -> None:
    """A training stays on one machine; too few are refused with the number that can be set."""
    runner = RunnerConfig(engine="dask", address="tcp://127.0.0.1:1")
    workers = [{"name": name} for name in "abc"]

    assert _with_device(runner, "auto", 2, workers, [4, 1, 2], "start") == ([workers[0], workers[2]], 2)
    assert _with_device(runner, "cpu", 2, workers, [4, 1, 2], "start") == (workers, 0)
    assert _with_device(runner, "auto", 2, workers, [0, 0, 0], "start") == (workers, 0)
    with pytest.raises(ConfigError, match=r"train\.devices=8: its workers have 4 GPU.*train\.devices=4"):
        _with_device(runner, "cuda", 8, workers, [4, 1, 2], "start")
    words = [
        Cluster(engine="dask", address="a", n_slots=2, n_per_machine=1, n_threads=None, n_gpus=n).words
        for n in (0, 1, 4)
    ]
    assert words == [
        "2 at a time on dask at a" + end for end in ("", ", each with a GPU", ", each with 4 GPUs")
    ]
