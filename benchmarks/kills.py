"""Trainings, runs, workers and servers killed for real, at random moments, against the same left alone.

    python -m benchmarks.kills --kills 100 --out build/kills.json
    python -m benchmarks.kills --what training flow worker server --kills 60 24 8 8

Each training runs in its process as in a run, is ended by SIGKILL with its loading processes after a random time,
also while it writes a checkpoint (here after every step), and started again until it is done. Compared to the byte: the
checkpoint, the history but its times, and the table of predictions; over 0, 1 and 2 loading processes. Small images, a
real network (EfficientNet-B0: dropout, stochastic depth, batch normalisation) and the tests' own. About one kill in ten
ends the parent of the training as well, as a killed flow does. The other victims: `benchmarks.killed_runs`. Prints one
line per training or run, sums for each kind of victim, and ends with status 1 where anything differs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.killed_runs import killed_flows, killed_services
from medcompare.base.errors import TrainingError
from medcompare.training.records import TrainedModel
from medcompare.training.requests import PredictionRequest, TrainingRequest
from medcompare.training.worker import child
from medcompare.training.worker.process import run_prediction, run_training
from tests.training.conftest import make_data

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.training.conftest import TinyData

TIMES = {"images_per_s", "elapsed_s", "remeasuring_s", "comparison_s"}
SETTINGS: dict[str, dict[str, Any]] = {
    "test_cnn": {
        "precision": "float32",
        "epochs": 6,
        "patience": 6,
        "ema_decay": 0.9,
        "schedule": "cosine",
        "mixup_alpha": 0.2,
    },
    "efficientnet_b0": {"precision": "bfloat16", "epochs": 2, "clip_norm": 1.0, "label_smoothing": 0.1},
}
PARENT_SHARE = 0.1
VICTIMS = ("training", "flow", "worker", "server")
COUNTS = (
    "kills",
    "with_the_parent",
    "while_a_checkpoint_was_written",
    "started_again_by_itself",
    "started_again_by_hand",
)


def outcome(trained: TrainedModel, request: TrainingRequest, data: TinyData) -> dict[str, Any]:
    """What must not differ."""
    predictions = run_prediction(
        PredictionRequest(
            trained=trained,
            train=request.train,
            split=data.split,
            data_root=data.root,
            store_root=request.store_root,
            n_threads=1,
        )
    )
    history = [log.model_dump(mode="json", exclude=TIMES) for log in trained.history]
    return {
        "checkpoint": trained.checkpoint.sha256,
        "predictions": predictions.table.sha256,
        "history": history,
        "best_epoch": trained.best_epoch,
        "n_images_seen": trained.n_images_seen,
    }


def in_this_process(request: TrainingRequest, delay_s: float) -> TrainedModel | None:
    """One attempt, whose child is killed after `delay_s`; None where it was."""

    def kill() -> None:
        for pid in list(child._live):  # noqa: SLF001 - as from outside
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)

    timer = threading.Timer(delay_s, kill)
    timer.start()
    try:
        return run_training(request)
    except TrainingError as error:
        if "SIGKILL" not in str(error):
            raise
        return None
    finally:
        timer.cancel()
        timer.join()


def with_its_parent(request: TrainingRequest, delay_s: float) -> TrainedModel | None:
    """One attempt in a process of its own, which is killed; its child must end by itself."""
    code = (
        "import sys; from medcompare.training.requests import TrainingRequest as R;"
        "from medcompare.training.worker.process import run_training;"
        "print(run_training(R.model_validate_json(sys.stdin.read())).model_dump_json())"
    )
    process = subprocess.Popen(  # noqa: S603 - this interpreter
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        answer, _ = process.communicate(request.model_dump_json(), timeout=delay_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        time.sleep(1.0)  # the child sees the end of the pipe
        return None
    return TrainedModel.model_validate_json(answer)


def killed_trainings(
    n_kills: int, rng: random.Random, folder: Path, *, device: str = "cpu"
) -> Iterator[dict[str, Any]]:
    """Trainings of both networks over 0, 1 and 2 loading processes, one row for each."""
    common: dict[str, Any] = {"checkpoint_every_s": 0, "device": device}
    whole: dict[str, tuple[dict[str, Any], float]] = {}
    done_kills, number = 0, -1
    while done_kills < n_kills:
        number += 1
        model = list(SETTINGS)[number % len(SETTINGS)]
        workers = number // len(SETTINGS) % 3
        data = make_data(folder / f"{number}")
        request = data.request(model=model, num_workers=workers, **common, **SETTINGS[model])
        if model not in whole:
            quiet = make_data(folder / model)
            calm = quiet.request(model=model, **common, **SETTINGS[model])
            # Imports once, so that the time is that of steps.
            run_training(calm.model_copy(update={"seed": 99}))
            started = time.perf_counter()
            trained = run_training(calm)
            whole[model] = outcome(trained, calm, quiet), time.perf_counter() - started
        expected, usual_s = whole[model]
        done, kills, by_parent, in_writing = None, 0, 0, 0
        while done is None:
            parent = rng.random() < PARENT_SHARE
            # A new parent takes some seconds to import torch.
            delay_s = rng.uniform(4.0, 6.0 + usual_s) if parent else rng.uniform(0.0, 0.7 * usual_s)
            done = (with_its_parent if parent else in_this_process)(request, delay_s)
            if done is None:
                kills += 1
                by_parent += parent
                in_writing += any(request.store_root.glob("resume/*/.*.part"))
        found = outcome(done, request, data)
        done_kills += kills
        yield {
            "what": "training",
            "kills": kills,
            "model": model,
            "loading_processes": workers,
            "with_the_parent": by_parent,
            "while_a_checkpoint_was_written": in_writing,
            "differences": [name for name in expected if expected[name] != found[name]],
            "left_over": [
                str(path.relative_to(request.store_root))
                for path in request.store_root.rglob("*")
                if path.name.endswith(".part") or path.parent.name == "resume"
            ],
        }


def totals(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each kind of victim: sums of counts, and the longest time."""
    found = []
    for what in dict.fromkeys(row["what"] for row in rows):
        mine = [row for row in rows if row["what"] == what]
        sums: dict[str, int] = {name: sum(row[name] for row in mine) for name in COUNTS if name in mine[0]}
        stayed = [row["processes_stayed_s"] for row in mine if "processes_stayed_s" in row]
        longest: dict[str, float] = {"processes_stayed_s": max(stayed)} if stayed else {}
        differ = sum(bool(row["differences"]) for row in mine)
        found.append({"what": what, "ended": len(mine), **sums, **longest, "that_differ": differ})
    return found


def main() -> int:
    """Kill until there were enough kills."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--what", nargs="+", default=["training"], choices=VICTIMS, metavar="VICTIM")
    parser.add_argument("--kills", nargs="+", type=int, default=[100], help="of each, in the order of --what")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="of trainings")
    parser.add_argument("--out", type=Path, default=None)
    arguments = parser.parse_args()
    if len(arguments.kills) != len(arguments.what):
        parser.error("--kills takes one number for each VICTIM")
    rng = random.Random(arguments.seed)  # noqa: S311 - moments, not secrets
    rows: list[dict[str, Any]] = []
    for what, n_kills in zip(arguments.what, arguments.kills, strict=True):
        with tempfile.TemporaryDirectory(prefix="kills-") as folder:
            if what == "training":
                killed = killed_trainings(n_kills, rng, Path(folder), device=arguments.device)
            elif what == "flow":
                killed = killed_flows(n_kills, rng, Path(folder))
            else:
                killed = killed_services(what, n_kills, rng, Path(folder))
            for row in killed:
                rows.append(row)
                print(json.dumps(row), flush=True)
    record = totals(rows)
    print("\n".join(json.dumps(row) for row in record))
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps({"totals": record, "rows": rows}, indent=1))
    return int(any(row["that_differ"] for row in record))


if __name__ == "__main__":
    sys.exit(main())
