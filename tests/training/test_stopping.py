"""SIGTERM: a training is saved where it is, and goes on from there to the same end; elsewhere a process ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from medcompare.base.errors import TrainingError
from medcompare.training.loop import prepared
from medcompare.training.stopping import StoppedError, stop_asked
from medcompare.training.worker import child
from medcompare.training.worker.process import run_training

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn


ROOT = Path(__file__).resolve().parents[2]
TIMES = {"images_per_s", "elapsed_s", "remeasuring_s", "comparison_s"}
NEVER_S = 10**6
"""So that the only checkpoint is the one that SIGTERM asks for."""


def figures(history: Any) -> list[dict[str, Any]]:
    """A history without its times."""
    return [log.model_dump(exclude=TIMES) for log in history]


def saved(store: Path) -> list[str]:
    """Numbers of the checkpoints of trainings that are not done."""
    return sorted(path.name[:8] for path in store.glob("resume/*/*"))


def stopped_after(n: int, *, training: bool) -> Callable[[nn.Module, Any], None]:
    """Hook that sends this process SIGTERM in the `n`-th pass in that mode."""
    seen = 0

    def hook(network: nn.Module, _: Any) -> None:
        nonlocal seen
        seen += network.training is training
        if seen == n and network.training is training:
            os.kill(os.getpid(), signal.SIGTERM)

    return hook


@pytest.mark.parametrize(
    ("n", "training", "settings"),
    [
        (2, True, {}),
        (4, True, {"ema_decay": 0.9}),
        (1, False, {}),  # while batch statistics are measured
        (4, False, {}),  # while the first epoch is validated
        (6, False, {"ema_decay": 0.9}),  # in the second epoch
    ],
)
def test_a_training_is_saved_at_any_moment(
    tiny: Any,
    random_cnn: str,
    n: int,
    training: bool,  # noqa: FBT001 - a row
    settings: dict[str, Any],
) -> None:
    """In a step or between epochs; one checkpoint is written, and the end is that of an undisturbed training."""
    request = tiny.request(model=random_cnn, checkpoint_every_s=NEVER_S, precision="float32", **settings)
    with prepared(request) as ready:
        whole = ready.fit(emit=None)
    before = signal.getsignal(signal.SIGTERM)

    with prepared(request) as cut:
        cut.network.register_forward_pre_hook(stopped_after(n, training=training))
        with pytest.raises(StoppedError, match=r"stopped from outside \(SIGTERM\) and saved") as caught:
            cut.fit(emit=None)

    assert caught.value.transient
    assert signal.getsignal(signal.SIGTERM) is before
    assert not stop_asked()
    assert saved(request.store_root) == ["00000001"]
    with prepared(request) as ready:
        resumed = ready.fit(emit=None)
    assert figures(resumed.history) == figures(whole.history)
    assert resumed.n_images_seen == whole.n_images_seen
    assert resumed.best_state.keys() == whole.best_state.keys()
    assert all(torch.equal(resumed.best_state[name], value) for name, value in whole.best_state.items())


@pytest.mark.parametrize(("whom", "num_workers"), [("the training", 0), ("all its processes", 2)])
def test_a_training_process_that_is_told_to_end_goes_on_when_tried_again(
    tiny: Any, whom: str, num_workers: int
) -> None:
    """Alone, or with those that load data for it, as SLURM and service managers do."""
    request = tiny.request(epochs=5, patience=5, num_workers=num_workers, checkpoint_every_s=NEVER_S)
    whole = run_training(request)

    def end(event: Any) -> None:
        if event["event"] == "epoch" and event["epoch"] == 2:
            [pid] = child._live
            (os.kill if whom == "the training" else os.killpg)(pid, signal.SIGTERM)

    with pytest.raises(TrainingError, match="stopped from outside") as caught:
        run_training(request, on_event=end)
    kept = saved(request.store_root)
    epochs: list[int] = []
    resumed = run_training(request, on_event=lambda event: epochs.append(event["epoch"]))

    assert caught.value.transient
    assert kept == ["00000001"]
    assert min(epochs) >= 3
    assert resumed.checkpoint == whole.checkpoint
    assert figures(resumed.history) == figures(whole.history)
    assert saved(request.store_root) == []


def test_a_run_that_ends_lets_its_trainings_save_themselves(tiny: Any) -> None:
    """Ctrl-C in the thread that waits for one, and `all_ended` for those of other threads."""
    request = tiny.request(epochs=400, patience=400, checkpoint_every_s=NEVER_S)

    def interrupt(event: Any) -> None:
        if event["event"] == "epoch":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_training(request, on_event=interrupt)
    assert saved(request.store_root) == ["00000001"]

    begun, failures = threading.Event(), list[TrainingError]()

    def work() -> None:
        try:
            run_training(request, on_event=lambda _: begun.set())
        except TrainingError as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert begun.wait(60)
    with child.all_ended() as count:
        thread.join(60)

    assert count == 1
    assert [(str(error), error.transient) for error in failures] == [
        ("training of test_cnn was stopped", False)
    ]
    assert saved(request.store_root) == ["00000001", "00000002"]


def test_elsewhere_sigterm_ends_a_process() -> None:
    """Before and after the block, and in threads, which signals do not reach; a wish from before is forgotten."""
    code = (
        "import os, signal, threading\n"
        "from medcompare.training.stopping import stop_asked, stoppable\n"
        "def in_thread():\n"
        "    with stoppable():\n"
        "        print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)\n"
        "thread = threading.Thread(target=in_thread); thread.start(); thread.join()\n"
        "with stoppable():\n"
        "    os.kill(os.getpid(), signal.SIGTERM); print(stop_asked())\n"
        "print(stop_asked(), flush=True)\n"
        "os.kill(os.getpid(), signal.SIGTERM); print('never')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (-signal.SIGTERM, "True\nTrue\nFalse\n")
