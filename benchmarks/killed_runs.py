"""Whole runs, workers and servers killed for real, at random moments; `benchmarks.kills` calls this.

A run is a comparison of two small networks, from 80 images to the PDF: from the command line, or as a run of a
deployment under ``medcompare serve`` in a copy of the code. What was killed is started again as a person would: by
the same command, by what restarts it, or by hand where nothing does.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psutil

from flows.serving import Place
from tests.flows.conftest import make_two_classes
from tests.flows.test_serving import CODE, deploy, free_ports, get, ours, serve

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[1]
MARK = "MEDCOMPARE_KILLED_RUN"
"""In the environment of every process of a run from the command line."""
RUN_ID = "PREFECT__FLOW_RUN_ID"
"""The same for runs of a deployment; set by Prefect."""
ORPHANS_END_S = 15.0
LONG_S = 400.0

VALUES: dict[str, Any] = {
    "models": ["test_cnn", "probe:test_cnn"],
    "seeds": 1,
    "split": {"test_fraction": 0.3},
    "train": {
        "image_size_px": 32,
        "epochs": 8,
        "patience": 8,
        "batch_size": 16,
        "initial_weights": "none",
        "device": "cpu",
        "precision": "float32",
        "checkpoint_every_s": 0,
    },
    "evaluate": {"n_resamples": 200},
    "cost": {"n_warmup": 1, "n_repeats": 10, "throughput_batch": 2},
}
BY_NATURE = (
    *("assessment.costs.", "assessment.verdict.", "assessment.comparisons.", "quantities.", "derived."),
    *("budgets.", "checklists.", "provenance."),
)
"""Parts of ``results.json`` that are measured with a clock, or say when and from which code a run was made; and those
that depend on which of the two networks costs less, which here is chance. What they rest on is compared: every
prediction, and every figure of each network."""


def outcome(folder: Path) -> dict[str, Any]:
    """What must not differ, of a run's folder: every figure but times and costs, and both tables of predictions."""
    results = json.loads((folder / "results.json").read_text("utf-8"))
    tables = {
        table.name: hashlib.sha256(table.read_bytes()).hexdigest()
        for table in folder.glob("predictions_*.csv")
    }
    return {
        **tables,
        **{name: value for name, value in leaves(results) if not name.startswith(BY_NATURE)},
    }


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - JSON
    """(Name with dots, value) of each number and text of a JSON document."""
    if isinstance(value, dict | list):
        for key, one in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(one, f"{name}.{key}" if name else str(key))
    else:
        yield name, value


class Reference:
    """Two runs that were left alone, in places of their own: what they agree on, a killed one must agree on too."""

    def __init__(self, run: Callable[[str], tuple[Path, float]]) -> None:
        first, second = run("calm-1"), run("calm-2")
        one, other = outcome(first[0]), outcome(second[0])
        self.usual_s = second[1]
        """Seconds that a run takes."""
        self.by_nature = sorted(
            name for name in one.keys() | other.keys() if one.get(name, one) != other.get(name, other)
        )
        self._same = {name: value for name, value in one.items() if name not in self.by_nature}

    def __len__(self) -> int:
        """Values that are compared."""
        return len(self._same)

    def differences(self, folder: Path) -> list[str]:
        """Names of the values of another run that differ."""
        found = outcome(folder)
        return [name for name, value in self._same.items() if found.get(name, self) != value]


def processes(variable: str, value: str) -> list[psutil.Process]:
    """Living processes with `variable` in their environment."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(variable) == value and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def seconds_until_gone(variable: str, value: str) -> float:
    """How long processes of a killed run stay; infinite where one stays too long, which is then killed."""
    started = time.monotonic()
    while left := processes(variable, value):
        if time.monotonic() > started + ORPHANS_END_S:
            for process in left:
                process.kill()
            return math.inf
        time.sleep(0.2)
    return time.monotonic() - started


def options(values: dict[str, Any], name: str = "") -> list[str]:
    """`values` as ``--set`` takes them."""
    found = []
    for key, value in values.items():
        place = f"{name}.{key}" if name else key
        if isinstance(value, dict):
            found += options(value, place)
        elif isinstance(value, list):
            found += [f"--{place}", ",".join(value)]
        else:
            found += ["--set", f"{place}={value}"]
    return found


def killed_flows(n_kills: int, rng: random.Random, folder: Path) -> Iterator[dict[str, Any]]:
    """``python -m flows.compare`` with the server, trainings and all that it starts; only itself is killed."""
    images = make_two_classes(folder / "images")

    def start(case: str) -> subprocess.Popen[bytes]:
        place = folder / case
        place.mkdir(exist_ok=True)
        command = [
            sys.executable,
            "-m",
            "flows.compare",
            "--data",
            str(images),
            "--name",
            "run",
            *options(VALUES),
        ]
        with (place / "log").open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - our own program
                [*command, "--out", str(place / "runs"), "--store", str(place / "store")],
                cwd=ROOT,
                env={**os.environ, MARK: case, "PREFECT_HOME": str(folder / "prefect")},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def whole(case: str) -> tuple[Path, float]:
        begun = time.monotonic()
        if start(case).wait():
            raise RuntimeError((folder / case / "log").read_text("utf-8")[-3000:])
        return folder / case / "runs" / "run", time.monotonic() - begun

    reference, done, number = Reference(whole), 0, 0
    while done < n_kills:
        number += 1
        case, kills, stayed = f"flow-{number}", 0, [0.0]
        result = folder / case / "runs" / "run"
        while True:
            process = start(case)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=rng.uniform(0.5, 0.9 * reference.usual_s))
                break
            process.kill()
            process.wait()
            kills += 1
            stayed.append(seconds_until_gone(MARK, case))
            if result.exists():  # killed when its report was there
                break
        yield {
            "what": "flow",
            "kills": kills,
            "values_compared": len(reference),
            "differences": reference.differences(result) if result.exists() else ["no result"],
            "processes_stayed_s": round(max(stayed), 1),
        }
        done += kills
        shutil.rmtree(folder / case)


class Site:
    """Server, worker and report pages in a copy of the code, as ``make serve`` starts them, with its deployments."""

    def __init__(self, folder: Path) -> None:
        self.clone = folder / "clone"
        self.images = make_two_classes(folder / "images")
        self._ports = free_ports()
        self.api = f"http://127.0.0.1:{self._ports[0]}/api"

    def __enter__(self) -> Self:
        """Start everything and deploy."""
        os.environ.setdefault("PREFECT_WORKER_QUERY_SECONDS", "2")  # between questions for new runs; else 10
        self.clone.mkdir()
        for name in CODE:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, self.clone / name)
        done = serve(self.clone, "start", *self._ports)
        if done.returncode == 0:
            done = deploy(self.clone, Place(*self._ports))
        if done.returncode:
            self.__exit__()
            raise RuntimeError(done.stdout + done.stderr)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop everything."""
        serve(self.clone, "stop", *self._ports)

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:  # noqa: ANN401 - JSON
        """Answer of the server; asked again while it is away."""
        deadline = time.monotonic() + LONG_S
        while True:
            try:
                return get(f"{self.api}{path}", body)
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    def begin(self, out: Path) -> str:
        """Id of a new run of the deployment ``manual``, which finds nothing in the store."""
        [manual] = [one for one in self.ask("/deployments/filter", {}) if one["name"] == "manual"]
        config = {**VALUES, "data": {"source": str(self.images)}, "out": str(out), "name": "run"}
        body = {"parameters": {"config": config}, "state": {"type": "SCHEDULED"}}
        return str(self.ask(f"/deployments/{manual['id']}/create_flow_run", body)["id"])

    def forget(self) -> None:
        """Empty the store, but for what belongs to Prefect."""
        for path in (self.clone / ".medcompare").iterdir():
            if path.name not in {"prefect", "serve"}:
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def end_of(self, run_id: str, out: Path) -> tuple[str, int, int]:
        """Final state of a run, how often it was started again by itself, and how often by hand."""
        by_itself = by_hand = 0
        begun = time.monotonic()
        while time.monotonic() < begun + LONG_S:
            state = self.ask(f"/flow_runs/{run_id}")["state_type"]
            if state == "COMPLETED":
                return state, by_itself, by_hand
            if state in {"CRASHED", "FAILED", "CANCELLED"}:
                key = {"idempotency_key": {"any_": [f"resume of {run_id}"]}}
                deadline = time.monotonic() + 60
                while not (again := self.ask("/flow_runs/filter", {"flow_runs": key})):
                    if time.monotonic() > deadline or state != "CRASHED":
                        break
                    time.sleep(0.5)
                by_itself, by_hand = by_itself + bool(again), by_hand + (not again)
                run_id = again[0]["id"] if again else self.begin(out)
            time.sleep(0.5)
        return "STUCK", by_itself, by_hand

    def kill(self, what: str, run_id: str) -> None:
        """SIGKILL to the server, the worker, or the worker with all processes of its run, as a power cut."""
        if what == "worker with its run":
            for process in processes(RUN_ID, run_id):
                with contextlib.suppress(psutil.Error):
                    process.kill()
        found = ours(self.clone).get("server start" if what == "server" else "worker start")
        if found is not None:
            found.kill()


def killed_services(what: str, n_kills: int, rng: random.Random, folder: Path) -> Iterator[dict[str, Any]]:
    """The worker, alone and with its run in turn, or the server; one kill for each run."""
    with Site(folder) as site:

        def whole(case: str) -> tuple[Path, float]:
            site.forget()
            begun, out = time.monotonic(), folder / case
            if (state := site.end_of(site.begin(out), out)) != ("COMPLETED", 0, 0):
                msg = f"an undisturbed run ended as {state}"
                raise RuntimeError(msg)
            return out / "run", time.monotonic() - begun

        reference = Reference(whole)
        for number in range(n_kills):
            site.forget()
            victim = ("worker", "worker with its run")[number % 2] if what == "worker" else what
            out = folder / f"{what}-{number}"
            while {"server start", "worker start"} - ours(site.clone).keys():
                time.sleep(0.5)
            run_id = site.begin(out)
            delay_s = rng.uniform(0.5, reference.usual_s)
            time.sleep(delay_s)
            was = site.ask(f"/flow_runs/{run_id}")["state_type"]
            site.kill(victim, run_id)
            state, by_itself, by_hand = site.end_of(run_id, out)
            yield {
                "what": victim,
                "kills": 1,
                "after_s": round(delay_s, 1),
                "state_before": was,
                "state": state,
                "started_again_by_itself": by_itself,
                "started_again_by_hand": by_hand,
                "values_compared": len(reference),
                "differences": reference.differences(out / "run") if state == "COMPLETED" else ["no result"],
                "processes_stayed_s": round(seconds_until_gone(RUN_ID, run_id), 1),
            }
