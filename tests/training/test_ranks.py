"""One training on several devices: the losses of one process, and no rank that dies, hangs or disagrees unnoticed.

Ranks are real processes that speak through gloo.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import nn

from medcompare.base.errors import ConfigError, DataError, TrainingError
from medcompare.base.hardware import usable_cores
from medcompare.config.errors import validated
from medcompare.config.schema import CompareConfig
from medcompare.config.train import RecipeOverride, TrainConfig
from medcompare.models.zoo import MODELS
from medcompare.training.checkpoints import load
from medcompare.training.dataset import Batch, BatchLoader, batch_starts
from medcompare.training.loop import train_model
from medcompare.training.passes import GradientPasses
from medcompare.training.ranks import ALONE, Ranks, parts
from medcompare.training.recipes import FitSettings
from medcompare.training.requests import TrialRequest
from medcompare.training.scoring import Placement
from medcompare.training.worker import child
from medcompare.training.worker.process import plan_parallel, run_training, run_trial
from tests.training.test_dataset import training_images

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from medcompare.training.records import TrainedModel
    from medcompare.training.requests import TrainingRequest

ROOT = Path(__file__).resolve().parents[2]
TIMES = {"images_per_s", "elapsed_s", "remeasuring_s", "comparison_s"}
EPOCHS = {"precision": "float32", "batch_size": 15, "epochs": 3, "checkpoint_every_s": 0}
"""Batches of 15, which two ranks share as 7 and 8, and a last one of 3."""


def figures(trained: TrainedModel) -> list[dict[str, Any]]:
    """The history without its times."""
    return [log.model_dump(exclude=TIMES) for log in trained.history]


def curves(trained: TrainedModel) -> list[list[float]]:
    """Losses in training and on the validation images, by epoch."""
    return [[log.train_loss, log.val_loss] for log in trained.history]


# Which rows are whose.


@given(n_images=st.integers(2, 200), size=st.integers(2, 9), at_once=st.integers(1, 20))
@example(n_images=10, size=8, at_once=1)
def test_every_pass_has_two_images_or_more_and_no_rank_more_than_it_can(
    n_images: int, size: int, at_once: int
) -> None:
    """Batch normalisation over one image is undefined; all ranks have as many passes, and every row is in one."""
    of_ranks = parts(n_images, size)
    n_passes = len(batch_starts(n_images, at_once * size))
    sizes = [
        [part.stop - part.start for part in parts(rank.stop - rank.start, n_passes)] for rank in of_ranks
    ]

    assert [rank.start for rank in of_ranks] + [n_images] == [0] + [rank.stop for rank in of_ranks]
    assert max(map(sum, sizes)) - min(map(sum, sizes)) <= 1
    assert sum(map(sum, sizes)) == n_images
    assert min(map(sum, zip(*sizes, strict=True))) >= 2
    # A rest of one image joins the pass before it.
    assert max(map(max, sizes)) <= at_once + 1


@pytest.mark.parametrize("size", [2, 3, 5])
def test_ranks_share_the_batches_of_one_process(tmp_path: Path, size: int) -> None:
    """Byte for byte, augmentation included; also where a batch has fewer rows than there are ranks."""
    images = training_images(tmp_path)
    loader = BatchLoader(images, batch_size=4)
    alone = list(loader.shuffled(seed=3, epoch=2))
    shared = [list(loader.shuffled(seed=3, epoch=2, ranks=Ranks(number, size))) for number in range(size)]

    assert min(len(batch.labels) for of_rank in shared for batch in of_rank) == (0 if size == 5 else 1)
    for whole, *of_ranks in zip(alone, *shared, strict=True):
        assert torch.equal(torch.cat([batch.images for batch in of_ranks]), whole.images)
        assert torch.equal(torch.cat([batch.labels for batch in of_ranks]), whole.labels)
        assert {batch.of_all for batch in of_ranks} == {tuple(whole.labels.tolist())}


def test_evaluation_takes_whole_batches_in_turn(tmp_path: Path) -> None:
    """So that each is computed as by one process; one rank has none here."""
    loader = BatchLoader(training_images(tmp_path), batch_size=4)
    alone = [batch.images for batch in loader.in_order()]
    of_ranks = [[batch.images for batch in loader.in_order(Ranks(number, 4))] for number in range(4)]

    assert [len(found) for found in of_ranks] == [len(alone[number::4]) for number in range(4)]
    for number, found in enumerate(of_ranks):
        assert all(torch.equal(one, other) for one, other in zip(found, alone[number::4], strict=True))


# Gradients.


def with_batch_normalisation() -> nn.Sequential:
    """Two layers of it, one on feature maps and one on vectors, and a layer that is never used."""
    torch.manual_seed(1)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8, momentum=0.3), nn.ReLU(), nn.AdaptiveAvgPool2d(1)
    )
    network.extend([nn.Flatten(), nn.BatchNorm1d(8)])
    network.add_module("head", nn.Linear(8, 2))
    network[0].register_module("unused", nn.Linear(2, 2))
    return network.train()


def without() -> nn.Sequential:
    """Each image by itself."""
    torch.manual_seed(1)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    network.append(nn.Flatten())
    network.add_module("head", nn.Linear(8, 2))
    return network.train()


NETWORKS: dict[str, Callable[[], nn.Sequential]] = {"batch": with_batch_normalisation, "group": without}
CASES: dict[str, tuple[int, int | None, dict[str, Any]]] = {
    "a batch": (11, None, {}),
    "fewer rows than ranks": (2, None, {}),
    "smoothed labels": (11, None, {"label_smoothing": 0.1}),
    "focal loss": (11, None, {"focal_gamma": 2.0}),
    "in passes": (11, 2, {}),
    "passes without a row": (7, 1, {}),
}
"""Rows, images at once, options."""


def gradients(network: nn.Sequential, case: str, ranks: Ranks) -> dict[str, list[float]]:
    """Loss, gradients and running statistics of one step on the batch of `case`; weights of classes are unequal."""
    n_rows, at_once, options = CASES[case]
    generator = torch.Generator().manual_seed(n_rows)
    images = torch.randint(0, 256, (n_rows, 3, 12, 12), dtype=torch.uint8, generator=generator)
    labels = torch.tensor(([0, 1, 0, 0, 0, 0, 1, 1, 0, 0, 0] * 2)[:n_rows])
    rows = ranks.rows(n_rows)
    settings = FitSettings(
        spec=MODELS["test_cnn"],
        recipe=MODELS["test_cnn"].recipe,
        class_weights=(0.6, 3.0),
        options=TrainConfig(**options),
        epochs=1,
        patience=1,
        seed=1,
        precision="float32",
        placement=Placement(device=torch.device("cpu"), memory_format="channels_last", ranks=ranks),
    )
    passes = GradientPasses(network, settings, images_at_once=at_once if ranks.size > 1 else None)
    loss = passes(Batch(images=images[rows], labels=labels[rows], of_all=tuple(labels.tolist())))
    found = {"loss": loss.reshape(1)}
    found |= {name: one.grad for name, one in network.named_parameters() if one.grad is not None}
    if at_once is None:
        found |= dict(network.named_buffers())
    return {name: values.double().flatten().tolist() for name, values in found.items()}


RANK = """
import json, sys, torch
from pathlib import Path
from medcompare.training.ranks import joined
from medcompare.training.requests import Rank
from tests.training import test_ranks as tests
torch.set_num_threads(1)
number, n = int(sys.argv[1]), int(sys.argv[2])
with joined(Rank(number=number, n=n, meeting=Path(sys.argv[3])), torch.device("cpu")) as ranks:
    found = {f"{kind}, {case}": tests.gradients(build(), case, ranks) for kind, build in tests.NETWORKS.items()
             for case in tests.CASES}
print(json.dumps(found))
"""


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 3])
def test_ranks_have_the_gradient_of_the_whole_batch(tmp_path: Path, size: int) -> None:
    """To rounding, and on all ranks to the bit: loss, gradients, running statistics of batch normalisation."""
    command = [sys.executable, "-c", RANK]
    processes = [
        subprocess.Popen(
            [*command, str(number), str(size), str(tmp_path / "ranks")],
            stdout=subprocess.PIPE,
            cwd=ROOT,
            text=True,
        )
        for number in range(size)
    ]
    of_ranks = [json.loads(process.communicate(timeout=120)[0]) for process in processes]

    assert all(found == of_ranks[0] for found in of_ranks)
    for kind, build in NETWORKS.items():
        for case, (_, at_once, _) in CASES.items():
            if kind == "batch" and at_once is not None:
                continue  # normalises by fewer images at a time
            expected, found = gradients(build(), case, ALONE), of_ranks[0][f"{kind}, {case}"]
            assert found.keys() == expected.keys(), case
            for name in expected:
                assert found[name] == pytest.approx(expected[name], rel=1e-4, abs=2e-6), (kind, case, name)


# Whole trainings.


def listening_at(pid: int) -> set[str]:
    """Addresses that process `pid` listens at, as Linux writes them."""
    sockets = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            sockets |= set(re.findall(r"^socket:\[(\d+)\]$", str(link.readlink())))
    rows = [
        line.split()
        for table in (Path(f"/proc/{pid}/net/{name}") for name in ("tcp", "tcp6"))
        if table.exists()
        for line in table.read_text().splitlines()[1:]
    ]
    return {row[1].partition(":")[0] for row in rows if row[3] == "0A" and row[9] in sockets}


def test_two_processes_have_the_losses_of_one(tiny: Any) -> None:
    """With batch normalisation, and a last batch of three; one of them reports, on loopback alone, and saves."""
    events: list[Mapping[str, Any]] = []
    listening: dict[int, set[str]] = {}

    def on_event(event: Mapping[str, Any]) -> None:
        events.append(event)
        listening.update({pid: listening_at(pid) for pid in list(child._live)})

    one = train_model(tiny.request(**EPOCHS))
    two = run_training(tiny.request(devices=2, **EPOCHS), on_event=on_event)

    assert curves(two) == [pytest.approx(row, rel=1e-3) for row in curves(one)]
    assert [log.val_auc for log in two.history] == pytest.approx(
        [log.val_auc for log in one.history], abs=0.02
    )
    for name in ("sample_loss", "sample_loss_training_mode", "sample_loss_running", "val_loss_running"):
        assert getattr(two.kept, name) == pytest.approx(getattr(one.kept, name), rel=1e-3)
    assert (two.n_images_seen, two.best_epoch) == (one.n_images_seen, one.best_epoch)
    assert (one.n_devices, two.n_devices) == (1, 2)
    assert (two.hardware, two.n_threads) == (f"2 x {one.device}", 1)
    assert [event["epoch"] for event in events if event["event"] == "epoch"] == [1, 2, 3]
    assert len(listening) == 2
    assert set().union(*listening.values()) == {"0100007F"}
    assert sorted(path.name for path in tiny.store.root.iterdir()) == ["objects", "pixels", "resume"]
    assert not list((tiny.store.root / "resume").iterdir())


OPTIONS = {"mixup_alpha": 0.2, "ema_decay": 0.9, "schedule": "cosine", "clip_norm": 1.0}


def in_second_epoch(act: Callable[[list[int]], None]) -> Callable[[Mapping[str, Any]], None]:
    """Hand the process ids of both ranks to `act`, once, in the middle of the second epoch."""
    done: list[int] = []

    def on_event(event: Mapping[str, Any]) -> None:
        if (event["event"], event["epoch"]) == ("progress", 2) and not done:
            done.extend(sorted(child._live))
            act(done)

    return on_event


@pytest.mark.slow
@pytest.mark.parametrize(("model", "victim"), [("test_cnn", 0), ("test_cnn", 1), ("efficientnet_b0", 0)])
def test_a_killed_rank_is_named_and_the_training_goes_on_to_the_same_bytes(
    tiny: Any, model: str, victim: int
) -> None:
    """Whichever it is, the other ends too; dropout and stochastic depth are among what is resumed."""
    request = tiny.request(model=model, devices=2, **EPOCHS, **OPTIONS)
    whole = run_training(request)
    assert not list((tiny.store.root / "resume").iterdir())

    started = time.monotonic()
    with pytest.raises(
        TrainingError, match=rf"^training of {model}, process [12] of 2 was ended by SIGKILL"
    ) as caught:
        run_training(request, on_event=in_second_epoch(lambda pids: os.killpg(pids[victim], signal.SIGKILL)))
    assert caught.value.transient
    assert time.monotonic() - started < 60  # the others do not wait for it
    assert not child._live
    (saved,) = (tiny.store.root / "resume").iterdir()
    assert list(saved.glob("[0-9]*.safetensors"))
    resumed = run_training(request)

    assert figures(resumed) == figures(whole)
    assert resumed.checkpoint == whole.checkpoint


@pytest.mark.slow
@pytest.mark.parametrize("model", ["resnet50", "efficientnet_b0", "convnext_tiny"])
def test_a_rank_without_a_row_takes_part_in_every_network(tiny: Any, model: str) -> None:
    """The last batch has two images for three ranks, in bfloat16: the first rank waits with none, and goes on."""
    settings = {"precision": "bfloat16", "batch_size": 23, "epochs": 1}
    trained = run_training(tiny.request(model=model, devices=3, **settings))

    assert trained.n_images_seen == 48
    assert (trained.n_devices, trained.precision) == (3, "bfloat16")
    assert 0.3 < trained.history[0].train_loss < 3


def status_of(pid: int, name: str) -> int:
    """Size that Linux keeps of process `pid`, bytes."""
    return int(re.findall(rf"{name}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[0]) << 10


@contextlib.contextmanager
def each_new_rank(act: Callable[[int], None]) -> Iterator[None]:
    """Hand the process id of each rank that begins within the block to `act`."""
    ended = threading.Event()

    def watch() -> None:
        seen: set[int] = set()
        while not ended.wait(0.001):
            for pid in set(child._live) - seen:
                seen.add(pid)
                act(pid)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def growth_of(request: TrainingRequest) -> int:
    """Bytes by which each rank of a training grows in its first step; evaluation has larger batches."""
    born: dict[int, int] = {}
    grown: list[int] = []

    def note(pid: int) -> None:
        born[pid] = status_of(pid, "VmSize")

    def measure(event: Mapping[str, Any]) -> None:
        if event["step"] == 1:
            grown.extend(status_of(pid, "VmPeak") - born[pid] for pid in list(child._live))

    with each_new_rank(note):
        run_training(request, on_event=measure)
    return min(grown)


@contextlib.contextmanager
def one_rank_starved(n_bytes: int) -> Iterator[None]:
    """Let the first rank that begins within the block grow by at most `n_bytes`."""
    victims: list[int] = []

    def starve(pid: int) -> None:
        if not victims:
            victims.append(pid)
            limit = status_of(pid, "VmSize") + n_bytes
            resource.prlimit(pid, resource.RLIMIT_AS, (limit, limit))

    with each_new_rank(starve):
        yield


@pytest.mark.slow
def test_memory_that_runs_out_on_one_device_halves_the_images_on_all(
    tiny: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Really: one process may have more than half as many images need, and less than all do."""
    settings = {"devices": 2, "precision": "float32", "epochs": 1}
    request = tiny.request(**settings, batch_size=16, image_size_px=512)
    needs = [growth_of(request.model_copy(update={"images_at_once": n})) for n in (4, 8)]
    with one_rank_starved(sum(needs) // 2):
        trained = run_training(request)

    assert trained.images_at_once == 4
    assert "test_cnn: memory ran out on a device for 8 images at once (" in caplog.text
    assert ": all 2 begin again from the last checkpoint with 4 at a time" in caplog.text
    assert trained.n_images_seen == 48

    small, large = (tiny.request(**settings, batch_size=2, image_size_px=size) for size in (512, 1024))
    needs = [growth_of(one) for one in (small, large)]
    with (
        one_rank_starved(sum(needs) // 2),
        pytest.raises(
            TrainingError, match="memory ran out even for one image at once on each of 2 devices"
        ) as caught,
    ):
        run_training(large)
    assert "lower train.image_size_px" in str(caught.value)
    assert caught.value.transient
    assert not child._live


@pytest.mark.slow
def test_an_error_of_one_rank_is_that_of_the_training(tiny: Any) -> None:
    """Not that the other lost it: an image that changed, a loss that is not finite with the batch that led to it."""
    absurd = {"test_cnn": RecipeOverride(optimizer="sgd", learning_rate=10.0, weight_decay=10.0)}
    with pytest.raises(
        TrainingError, match=r"not finite at epoch \d+.*python -m medcompare\.training\.replay"
    ) as caught:
        run_training(tiny.request(devices=2, recipes=absurd, **EPOCHS | {"epochs": 40}))
    kept = load(Path(str(caught.value).rsplit(" ", 1)[1]))
    assert not caught.value.transient
    assert len(kept["labels"]) in {15, 3}

    row = next(row for row in tiny.rows if row[-1] == "train")
    (tiny.root / row[1]).unlink()
    with pytest.raises(DataError, match=f"{row[1]} is gone"):
        run_training(tiny.request(devices=2, cache_gb=0, **EPOCHS))
    assert not child._live


@pytest.mark.slow
def test_a_trial_and_a_probe_on_two_devices(tiny: Any, random_cnn: str) -> None:
    """A trial is trained by both, a probe by one, as it computes no gradients."""
    of_training = tiny.request(devices=2, **EPOCHS).model_dump()
    trial, alone = (
        run_trial(
            TrialRequest(
                **of_training | {"train": tiny.request(devices=n, **EPOCHS).train},
                earlier=(),
                searched=("learning_rate",),
                pruning="median",
            )
        )
        for n in (2, 1)
    )

    assert trial.val_loss == pytest.approx(alone.val_loss, rel=1e-3)
    assert trial.state == "complete"
    assert tiny.request(model="probe:test_cnn", devices=2).n_devices == 1
    assert random_cnn


# Settings.


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"devices": 8, "batch_size": 4}, r"devices \(8\) must not be more than batch_size \(4\)"),
        ({"devices": 2, "device": "mps"}, "devices must be 1 with device 'mps'"),
        ({"devices": 0}, r"train\.devices.*greater than or equal to 1"),
        (
            {"recipes": {"resnet50": {"devices": 2}}},
            r"devices is the same for every model.*set train\.devices for all",
        ),
    ],
)
def test_settings_that_cannot_be(given: dict[str, Any], message: str) -> None:
    """Named by field, before any work."""
    with pytest.raises(ConfigError, match=message):
        validated(CompareConfig, {"train": given})


def test_more_devices_than_there_are() -> None:
    """One error with the most that can be set; on a cluster, what this machine has does not count."""
    cores = usable_cores()
    train = TrainConfig(device="cpu", devices=cores + 1, batch_size=128)
    with pytest.raises(
        ConfigError,
        match=rf"train\.devices is {cores + 1}, but this machine has {cores} cores? to use: .*devices={cores}$",
    ):
        plan_parallel(2, train)

    assert plan_parallel(2, train, on_cluster=True).n_devices == 1
    assert plan_parallel(2, TrainConfig(device="cpu", devices=cores, batch_size=128)).n_parallel == 1


@pytest.mark.slow
@pytest.mark.parametrize("whom", ["one", "the other", "both"])
def test_ranks_that_are_told_to_end_save_together(tiny: Any, whom: str) -> None:
    """The first one saves with the help of the others, which hear nothing of it, and goes on to the same bytes."""
    request = tiny.request(**EPOCHS | OPTIONS | {"devices": 2, "checkpoint_every_s": 10**6})
    whole = run_training(request)
    told: list[int] = []

    def end(pids: list[int]) -> None:
        told.extend({"one": pids[:1], "the other": pids[1:], "both": pids}[whom])
        for pid in told:
            os.killpg(pid, signal.SIGTERM)  # with those that load data, as SLURM and service managers do

    stopped: TrainingError | None = None
    try:
        result = run_training(request, on_event=in_second_epoch(end))
    except TrainingError as error:
        stopped = error
    if stopped is not None:
        assert "stopped from outside (SIGTERM) and saved" in str(stopped)
        assert stopped.transient
        (saved,) = (tiny.store.root / "resume").iterdir()
        assert [path.name[:8] for path in saved.glob("[0-9]*.safetensors")] == ["00000001"]
        result = run_training(request)

    assert stopped is not None or whom != "both"  # the one that was told was not the first: nothing happened

    assert not child._live
    assert figures(result) == figures(whole)
    assert result.checkpoint == whole.checkpoint
