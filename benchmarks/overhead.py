"""What Prefect costs: every stage as a plain function, and the same through the flow.

    python -m benchmarks.overhead                       # 60 patients of the demonstration data
    python -m benchmarks.overhead --data FOLDER --json figures.json

Each measurement is a process of its own on a fresh store, in turn: the flow's function with its
tasks called as plain functions; the flow on a running server; the flow with the temporary server
that the command line starts. A second run on the same store finds everything computed. Figures
are medians. The plain run imports Prefect, too: what that takes is in both.

Stage times are those the flow waits for: through Prefect they hold keys, locks, states, results
and the check that every file of a reused result is unaltered. Both sides train, predict and
measure cost in processes of their own, which is no part of Prefect. Side by side the trainings
would hide what is measured: one at a time, everywhere.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import defaultdict
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows import SERVER_WRITES
from medcompare.base.hardware import cpu_name, usable_cores
from medcompare.cli import running
from medcompare.config.schema import CompareConfig
from medcompare.runs.folder import now
from medcompare.runs.history import this_host
from medcompare.runs.summary import start_of_run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from medcompare.runs.result import RunResult

ROOT = Path(__file__).resolve().parents[1]
SERVER_TIMEOUT_S = 120
STAGES = ("ingest", "split", "train", "predict", "evaluate", "measure cost", "decide", "report")

Times = dict[str, float]
"""Seconds by stage; ``stages`` is their sum and ``process`` the whole process, start to end."""


class StopWatch:
    """Seconds spent in named stages; calls of one name add up."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def running(self, stage: str) -> Iterator[None]:
        """Time the block."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - started

    def timing(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """`call`, whose first argument is a task, with its time added to that task's."""

        def work(task: Any, *rest: Any, **inputs: Any) -> Any:  # noqa: ANN401 - as the wrapped function
            with self.running(task.name):
                return call(task, *rest, **inputs)

        return work


def configuration(asked: argparse.Namespace) -> CompareConfig:
    """A small real comparison from random weights; everything lies in `asked.folder`."""
    return CompareConfig.model_validate(
        {
            "models": asked.models.split(","),
            "out": asked.folder / "runs",
            "store": asked.folder / "store",
            "data": {"source": asked.data, "demo": {"n_patients": asked.patients}},
            "train": {
                "image_size_px": asked.size,
                "epochs": asked.epochs,
                "initial_weights": "none",
                "device": "cpu",
                "precision": "float32",
                "max_parallel": 1,
            },
            "evaluate": {"n_resamples": 1000},
            "cost": {"n_warmup": 1, "n_repeats": 10, "throughput_batch": 4},
        }
    )


def time_calls(
    watch: StopWatch, *, one: Callable[..., Any], each: Callable[..., Any], report: Callable[..., Any]
) -> None:
    """Let the flow call `one` for `run_cached`, `each` for `map_cached`, `report` for the report's task; timed."""
    for name in ("flows.compare", "flows.trainings"):
        module: Any = importlib.import_module(name)
        module.run_cached, module.map_cached = watch.timing(one), watch.timing(each)
    lifecycle: Any = importlib.import_module("flows.lifecycle")
    lifecycle.write_report = partial(watch.timing(report), lifecycle.write_report)


def run_flow(config: CompareConfig) -> Times:
    """The comparison as the command line runs it, with a clock around every task."""
    watch = StopWatch()

    def start() -> RunResult:
        cache = importlib.import_module("tasks.cache")
        time_calls(
            watch, one=cache.run_cached, each=cache.map_cached, report=lambda task, *inputs: task(*inputs)
        )
        result: RunResult = importlib.import_module("flows.compare").compare(config)
        return result

    running.run_command(lambda: start, None)
    return dict(watch.seconds)


def run_plain(config: CompareConfig) -> Times:
    """The flow's own function with every task as a plain call: no run, no server, no key, no stored result."""
    flow: Any = importlib.import_module("flows.compare")
    trainings: Any = importlib.import_module("flows.trainings")
    bar: Any = importlib.import_module("tasks.progress_bar")
    gpu: Any = importlib.import_module("tasks.gpu")
    watch = StopWatch()

    def call_one(task: Any, _store: Path, *, fresh: bool = False, **inputs: Any) -> Any:  # noqa: ANN401, ARG001 - as `run_cached`
        return task.fn(**inputs)

    def call_each(task: Any, _store: Path, jobs: list[dict[str, Any]], **_: Any) -> list[Any]:  # noqa: ANN401 - as `map_cached`
        return [task.fn(**job) for job in jobs]

    time_calls(watch, one=call_one, each=call_each, report=lambda task, *inputs: task.fn(*inputs))
    # What else asks Prefect's server: the log of the run, the slot of the accelerator, bar and page of the run.
    for module in (flow, trainings):
        module.get_run_logger = partial(logging.getLogger, "medcompare.compare")
    gpu._limit = lambda: None  # noqa: SLF001 - the one place that asks
    bar.ProgressBar.show = lambda *_, **__: None
    started_at, name = now(), "benchmark"
    started = start_of_run(
        config,
        run_id=name,
        name=name,
        kind="compare",
        data_name=name,
        seed=config.seed,
        started_at=started_at,
        host=this_host(),
        pid=os.getpid(),
        series=name,
    )
    lifecycle = importlib.import_module("flows.lifecycle").RunLifecycle(started, config.store)
    lifecycle.end = lambda *_: None
    flow._compare(config, name, lifecycle)  # noqa: SLF001 - the work of the flow
    return dict(watch.seconds)


def measured(mode: str, options: list[str], environment: dict[str, str]) -> Times:
    """Stage times of one process, and its own from start to end."""
    with tempfile.NamedTemporaryFile(suffix=".json") as answer:
        started = time.perf_counter()
        run = subprocess.run(  # noqa: S603 - this interpreter and this file
            [sys.executable, "-m", "benchmarks.overhead", "--one", mode, "--json", answer.name, *options],
            env=environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        elapsed = time.perf_counter() - started
        if run.returncode:
            sys.exit(f"{mode} failed:\n{run.stdout[-2000:]}\n{run.stderr[-4000:]}")
        times: Times = json.loads(Path(answer.name).read_text(encoding="utf-8"))
    return {**times, "stages": sum(times.values()), "process": elapsed}


@contextmanager
def running_server(environment: dict[str, str]) -> Iterator[str]:
    """Address of a Prefect server that is up before anything is timed."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = subprocess.Popen(  # noqa: S603 - Prefect's own command
        [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)],
        env={**SERVER_WRITES, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}/api"
    try:
        deadline = time.monotonic() + SERVER_TIMEOUT_S
        while True:
            try:
                urllib.request.urlopen(f"{url}/health", timeout=5).close()  # noqa: S310 - our own server
                break
            except (urllib.error.URLError, TimeoutError, ConnectionError):
                if time.monotonic() > deadline or server.poll() is not None:
                    sys.exit("the Prefect server does not start")
                time.sleep(0.2)
        yield url
    finally:
        server.terminate()
        server.wait(30)


def measure(asked: argparse.Namespace, folder: Path) -> dict[str, list[Times]]:
    """Every variant `asked.runs` times, in turn, so that a change of load meets all of them."""
    figures: dict[str, list[Times]] = defaultdict(list)
    plain = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    plain["PREFECT_HOME"] = str(folder / "home")
    with running_server({**plain, "PREFECT_HOME": str(folder / "server")}) as url:
        for number in range(asked.runs):
            for variant, environment in (
                ("plain", plain),
                ("server", {**plain, "PREFECT_API_URL": url}),
                ("temporary", plain),
            ):
                options = [
                    "--folder",
                    str(folder / f"{variant}-{number}"),
                    "--data",
                    asked.data,
                    "--models",
                    asked.models,
                ]
                for name in ("patients", "size", "epochs"):
                    options += [f"--{name}", str(getattr(asked, name))]
                mode = "plain" if variant == "plain" else "flow"
                figures[variant].append(measured(mode, options, environment))
                if mode == "flow":
                    figures[f"{variant}, reused"].append(measured(mode, options, environment))
                print(f"run {number + 1}, {variant}: done", file=sys.stderr)
    return dict(figures)


def table(figures: dict[str, list[Times]]) -> Iterator[str]:
    """Lines of a markdown table of stages, then one of whole processes."""

    def middle(variant: str, stage: str) -> float:
        return statistics.median(times.get(stage, 0.0) for times in figures[variant])

    columns = ("plain, s", "running server, s", "difference, ms", "temporary server, s", "difference, ms")
    yield f"| stage | {' | '.join(columns)} | reused, ms |"
    yield "|---" + "|---:" * 6 + "|"
    for stage in (*STAGES, "stages"):
        plain = middle("plain", stage)
        cells = [stage if stage in STAGES else "**all stages**", f"{plain:.3f}"]
        for variant in ("server", "temporary"):
            through = middle(variant, stage)
            cells += [f"{through:.3f}", f"{1000 * (through - plain):+.0f}"]
        yield f"| {' | '.join(cells)} | {1000 * middle('server, reused', stage):.0f} |"
    yield ""
    yield "| whole process, start to end | median, s | smallest to largest, s | of it outside the stages, s |"
    yield "|---|---:|---:|---:|"
    for variant, words in (
        ("plain", "plain functions"),
        ("server", "flow, running server, computed"),
        ("temporary", "flow, temporary server, computed"),
        ("server, reused", "flow, running server, everything reused"),
        ("temporary, reused", "flow, temporary server, everything reused"),
    ):
        whole = [times["process"] for times in figures[variant]]
        outside = statistics.median(times["process"] - times["stages"] for times in figures[variant])
        yield (
            f"| {words} | {statistics.median(whole):.1f} | {min(whole):.1f} to {max(whole):.1f} | {outside:.1f} |"
        )


def machine() -> str:
    """The machine and how busy it is, in a line."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    code = "not written" if sys.dont_write_bytecode else "written"
    return (
        f"{cpu_name()}, {usable_cores()} cores, Python {platform.python_version()}, "
        f"load {load} (1, 5, 15 minutes), byte code {code}"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, help="repetitions (default 3)")
    parser.add_argument(
        "--data", default="demo", help="folder or CSV of images (default: demonstration data)"
    )
    parser.add_argument(
        "--models", default="test_cnn", help="names with commas (default: test_cnn, the tiniest)"
    )
    parser.add_argument("--patients", type=int, default=60, help="of the demonstration data (default 60)")
    parser.add_argument(
        "--size", type=int, default=32, help="side of the networks' input, pixels (default 32)"
    )
    parser.add_argument("--epochs", type=int, default=2, help="of each training (default 2)")
    parser.add_argument("--json", type=Path, help="also write every figure to this file")
    parser.add_argument("--one", choices=("plain", "flow"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        config = configuration(asked)
        # Imported only here: the flow must not find the libraries loaded already.
        times = run_flow(config) if asked.one == "flow" else run_plain(config)
        asked.json.write_text(json.dumps(times), encoding="utf-8")
        return
    before = machine()
    with tempfile.TemporaryDirectory(prefix="overhead-") as folder:
        figures = measure(asked, Path(folder))
    print(f"{before}; at the end {machine().partition('load ')[2].partition(' (')[0]}\n")
    print("\n".join(table(figures)))
    if asked.json:
        asked.json.write_text(json.dumps({"machine": before, "figures": figures}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
