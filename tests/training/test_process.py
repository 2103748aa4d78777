"""The real training, prediction and cost measurement, each in its own process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from medcompare.base.errors import ConfigError, DataError, TrainingError
from medcompare.base.hardware import usable_cores
from medcompare.config.schema import CostConfig
from medcompare.config.train import RecipeOverride, TrainConfig
from medcompare.training.requests import CostRequest, PredictionRequest
from medcompare.training.worker.process import (
    hard_limit_s,
    plan_parallel,
    run_cost_measurement,
    run_prediction,
    run_training,
)

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]


def test_the_parents_side_does_not_import_torch() -> None:
    """The flow's process stays small and quick to start."""
    code = (
        "import sys, medcompare.training.worker.process, medcompare.models.weights, medcompare.models.zoo;"
        "print([name for name in ('torch', 'torchvision', 'numpy', 'PIL') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_train_predict_measure(tiny: Any) -> None:
    """One small comparison's worth of processes: records come back whole, the store holds the files."""
    from medcompare.training.loop import train_model

    events: list[dict[str, Any]] = []
    request = tiny.request(epochs=2, precision="float32")
    trained = run_training(request, on_event=lambda event: events.append(dict(event)))
    here = train_model(request)

    times = {"images_per_s", "elapsed_s", "remeasuring_s", "comparison_s"}
    assert [log.model_dump(exclude=times) for log in trained.history] == [
        log.model_dump(exclude=times) for log in here.history
    ]
    assert trained.checkpoint == here.checkpoint
    assert trained.n_threads == 1
    assert [event["epoch"] for event in events if event["event"] == "epoch"] == [1, 2]

    common = {"trained": trained, "train": request.train, "split": tiny.split, "data_root": tiny.root}
    common |= {"store_root": tiny.store.root, "n_threads": 1}
    predictions = run_prediction(PredictionRequest(**common))
    cost = run_cost_measurement(
        CostRequest(**common, cost=CostConfig(n_warmup=2, n_repeats=12, throughput_batch=4))
    )

    assert (predictions.n_val, predictions.n_test) == (16, 16)
    assert tiny.store.path_of(predictions.table).suffix == ".csv"
    assert (cost.n_repeats, cost.throughput_batch, cost.n_threads) == (12, 4, 1)
    assert sorted(path.name for path in tiny.store.root.iterdir()) == ["objects", "pixels"]


def test_a_store_far_down_can_be_loaded_for(tiny: Any) -> None:
    """Paths of sockets are short: loading processes have theirs elsewhere then, and nothing of it is left."""
    store = tiny.store.root.rename(tiny.root / ("far" * 20))
    request = tiny.request(epochs=1, num_workers=1, timeout_minutes=2).model_copy(
        update={"store_root": store}
    )

    assert run_training(request).n_images_seen == 48
    assert sorted(path.name for path in store.iterdir()) == ["objects", "pixels"]


@pytest.mark.slow
def test_bad_images_and_losses_keep_their_errors_across_the_process(tiny: Any) -> None:
    """DataError stays DataError: exit status 2, never retried."""
    row = next(row for row in tiny.rows if row[-1] == "val")
    (tiny.root / row[1]).unlink()

    with pytest.raises(DataError, match=f"{row[1]} is gone"):
        run_training(tiny.request())


def test_the_time_limit_comes_from_the_configuration(tiny: Any) -> None:
    """Minutes in the configuration, seconds in the message, nothing left in the store."""
    with pytest.raises(TrainingError, match=r"training of test_cnn passed its time limit of 0\.6 s"):
        run_training(tiny.request(timeout_minutes=0.01, epochs=1000, patience=1000))
    assert not [path for path in tiny.store.root.iterdir() if path.name.startswith("scratch")]


def test_a_measurement_of_cost_that_hangs_is_ended(tiny: Any) -> None:
    """One error that names the setting; the limit comes from the budget, and nothing is left in the store."""
    from medcompare.training.loop import train_model

    request = CostRequest(
        trained=train_model(tiny.request(epochs=1)),
        train=tiny.request().train,
        cost=CostConfig(budget_s=60),
        split=tiny.split,
        data_root=tiny.root,
        store_root=tiny.store.root,
    )
    with pytest.raises(
        TrainingError,
        match=r"cost measurement of test_cnn passed its time limit of 0\.01 s .* raise cost\.budget_s",
    ) as caught:
        run_cost_measurement(request, timeout_s=0.01)
    assert not caught.value.transient
    assert not [path for path in tiny.store.root.iterdir() if path.name.startswith("scratch")]
    assert (hard_limit_s(60), hard_limit_s(1)) == (420, 125)


def test_a_plan_without_a_gpu_starts_no_process() -> None:
    """The cores are shared; a device that is asked for and missing is an error."""
    train = TrainConfig(device="cpu", max_parallel=2, batch_size=usable_cores())
    plan = plan_parallel(2, train)

    assert plan.n_parallel == 2
    assert plan.n_threads == max(1, usable_cores() // 2)
    alone = plan_parallel(2, train.model_copy(update={"max_parallel": None}))
    assert (alone.n_parallel, alone.n_threads) == (1, usable_cores())


@pytest.mark.slow
def test_a_plan_for_a_missing_device_is_refused_before_any_work() -> None:
    """As a configuration error, from the process that looks for it."""
    import torch

    absent = "mps" if not torch.backends.mps.is_available() else "cuda"
    with pytest.raises(ConfigError, match=f"train.device is '{absent}'"):
        plan_parallel(2, TrainConfig(device=absent))


@pytest.mark.slow
def test_a_killed_training_resumes_when_tried_again(tiny_of: Callable[..., Any]) -> None:
    """SIGKILL from outside after the second epoch: transient, and the same history in the end."""
    import os
    import signal

    tiny = tiny_of()
    request = tiny.request(epochs=6, patience=6, checkpoint_every_s=0)
    whole = run_training(request)

    def kill(event: Any) -> None:
        if event["event"] == "epoch" and event["epoch"] == 2:
            for pid in _children():
                os.kill(pid, signal.SIGKILL)

    with pytest.raises(TrainingError, match="SIGKILL") as caught:
        run_training(request, on_event=kill)
    resumed = run_training(request)

    assert caught.value.transient
    assert resumed.checkpoint == whole.checkpoint
    assert [log.train_loss for log in resumed.history] == [log.train_loss for log in whole.history]


@pytest.mark.slow
def test_kills_at_random_moments_change_no_byte() -> None:
    """Three of them, as `benchmarks.kills` does a hundred: weights, history and predictions of trainings left alone."""
    command = [sys.executable, "-m", "benchmarks.kills", "--kills", "3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    total = json.loads(done.stdout.splitlines()[-1])

    assert done.returncode == 0, done.stderr
    assert total["kills"] >= 3
    assert total["that_differ"] == 0


@pytest.mark.slow
def test_a_loss_that_is_not_finite_is_reported_across_the_process(tiny: Any) -> None:
    """The message of the training itself."""
    override = RecipeOverride(optimizer="sgd", learning_rate=10.0, weight_decay=10.0)
    with pytest.raises(TrainingError, match="not finite at") as caught:
        run_training(tiny.request(recipes={"test_cnn": override}, epochs=40, precision="float32"))
    assert not caught.value.transient


def _children() -> list[int]:
    from medcompare.training.worker import child as child_process

    return list(child_process._live)
