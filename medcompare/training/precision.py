"""Precision and memory layout of a training: what is fastest for this network on this hardware, measured once.

A few real steps of each choice are timed before the first training and kept in the store, so that later trainings, and
one that was cut off, choose alike. Validation and predictions are float32 whatever is chosen.
"""

from __future__ import annotations

import hashlib
import logging
import time
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from medcompare.base.artifacts import write_atomically
from medcompare.base.devices import MemoryFormat, Precision, choices_of, resolve_precision
from medcompare.base.file_access import locked
from medcompare.base.hardware import device_name
from medcompare.base.record import Record
from medcompare.models.registry import build_model
from medcompare.training.recipes import optimizer_of, recipe_of
from medcompare.training.records import StepSpeed
from medcompare.training.scoring import Placement, autocast

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import Tensor, nn

    from medcompare.config.train import TrainConfig
    from medcompare.models.spec import ModelSpec

FOLDER = "speeds"
PROBED_STEPS = 3
"""Of each choice, after a first one."""
PROBED_IMAGES = 4
"""In a step on a processor, where an image takes as long in a large batch; on a GPU a whole batch."""
MIN_SHARE = 50
"""Training takes so many times the images of one choice's steps at least, or nothing is measured: 2 % is not missed."""
MIN_TRAINING_S = 900.0
"""Expected time of a training on a GPU from which further choices are measured. Each builds its kernels first:
15 s for EfficientNet-B0 in bfloat16, channels-last on an H100."""
GAIN = 1.05
"""Another than the usual choice has to be faster by this factor: what is equal should be chosen alike everywhere."""

logger = logging.getLogger(__name__)


class Speeds(Record):
    """What was measured of one network."""

    speeds: tuple[StepSpeed, ...]


class KeptSpeeds:
    """What was measured of one network on this hardware, with so many threads, on images of one size.

    Parameters
    ----------
    store : Path
        Where it is kept.
    spec, train, device
        What was measured, and where.
    further : tuple
        What else it depends on.
    """

    def __init__(
        self,
        store: Path,
        spec: ModelSpec,
        train: TrainConfig,
        device: torch.device,
        further: tuple[object, ...],
    ) -> None:
        hardware = device_name(device), torch.get_num_threads(), torch.__version__
        facts = *hardware, spec.name, spec.build.__module__, train.image_size_px, *further
        self._path = store / FOLDER / f"{hashlib.sha256(repr(facts).encode()).hexdigest()}.json"

    def measured_once(
        self,
        measure: Callable[[], tuple[StepSpeed, ...]],
        *,
        whole: Callable[[tuple[StepSpeed, ...]], bool] = bool,
    ) -> tuple[StepSpeed, ...]:
        """What was kept, or what `measure` gives, kept where it is the `whole`; others wait meanwhile."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with locked(self._path.with_suffix(".lock")):
            if self._path.is_file():
                return Speeds.model_validate_json(self._path.read_text(encoding="utf-8")).speeds
            speeds = measure()
            if whole(speeds):
                write_atomically(self._path, Speeds(speeds=speeds).model_dump_json().encode())
        return speeds


def choose_precision(
    spec: ModelSpec,
    train: TrainConfig,
    device: torch.device,
    *,
    store: Path,
    n_images: int,
    measure: Callable[..., tuple[StepSpeed, ...]] | None = None,
) -> tuple[Precision, MemoryFormat, tuple[StepSpeed, ...]]:
    """Precision, memory layout, and what was measured to choose them; nothing where they are set or hardly matter.

    Parameters
    ----------
    spec : ModelSpec
        The network.
    train : TrainConfig
        Settings for this network.
    device : torch.device
        Where it is trained.
    store : Path
        Where measurements are kept, by hardware, network, size, threads and version of torch.
    n_images : int
        Training images.
    measure : callable, optional
        Instead of `step_speeds`.

    Raises
    ------
    ConfigError
        As `resolve_precision`.
    """
    usual = resolve_precision(train.precision, device)
    choices = choices_of(device) if train.precision == "auto" else ()
    on_cpu = device.type == "cpu"
    batch = min(train.batch_size, PROBED_IMAGES) if on_cpu else train.batch_size
    n_all = n_images * train.epochs
    if spec.probe or len(choices) < 2 or n_all < MIN_SHARE * batch * (1 + PROBED_STEPS):
        return *usual, ()

    def measured() -> tuple[StepSpeed, ...]:
        measuring = partial(measure or step_speeds, spec, train, device, batch=batch)
        speeds = measuring(choices if on_cpu else choices[:1])
        # Where a training is short beside the building of kernels on a GPU, the usual choice is the only one.
        if not on_cpu and n_all / speeds[0].images_per_s >= MIN_TRAINING_S:
            for choice in choices[1:]:
                speeds += measuring((choice,))
        return speeds

    kept = KeptSpeeds(store, spec, train, device, (batch, choices, PROBED_STEPS))
    speeds = kept.measured_once(measured, whole=lambda speeds: len(speeds) == len(choices))

    def expected_s(one: StepSpeed) -> float:
        favoured = (one.precision, one.memory_format) == usual
        return (one.first_s + n_all / one.images_per_s) / (GAIN if favoured else 1)

    best = min(speeds, key=expected_s)
    logger.info(
        "%s: %s",
        spec.name,
        ", ".join(f"{one.precision} {one.memory_format} {one.images_per_s:.1f} images/s" for one in speeds),
    )
    return best.precision, best.memory_format, speeds


def step_speeds(
    spec: ModelSpec,
    train: TrainConfig,
    device: torch.device,
    choices: Sequence[tuple[Precision, MemoryFormat]],
    *,
    batch: int,
    forward_of: Callable[[nn.Module], Callable[[Tensor], Tensor]] = lambda network: network,
) -> tuple[StepSpeed, ...]:
    """Time whole steps (normalisation, forward, backward, optimiser) of each choice on a resident batch of noise.

    The choices take turns, so that whatever else the machine does meets them alike, and of each the shortest step
    counts: others can only make it longer. On a processor in seconds of processor time over the threads, which
    trainings beside this one change less. torch's global generator is left as it was. `forward_of` a network does its
    forward passes.
    """
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        steps = [_timed_step(spec, train, device, one, batch=batch, forward_of=forward_of) for one in choices]
        first_s = [step() for step in steps]
        times_s = [[step() for step in steps] for _ in range(PROBED_STEPS)]
    return tuple(
        StepSpeed(precision=precision, memory_format=layout, first_s=first, images_per_s=batch / min(times))
        for (precision, layout), first, times in zip(
            choices, first_s, zip(*times_s, strict=True), strict=True
        )
    )


def _timed_step(
    spec: ModelSpec,
    train: TrainConfig,
    device: torch.device,
    choice: tuple[Precision, MemoryFormat],
    *,
    batch: int,
    forward_of: Callable[[nn.Module], Callable[[Tensor], Tensor]],
) -> Callable[[], float]:
    """A step of a network of its own; returns how long it took."""
    on_cpu, n_threads = device.type == "cpu", torch.get_num_threads()
    precision, memory_format = choice
    placement = Placement(device=device, memory_format=memory_format)
    network = placement.network(build_model(spec, seed=0)).train()
    optimizer, forward = optimizer_of(network, recipe_of(spec, train)), forward_of(network)
    shape = (batch, 3, train.image_size_px, train.image_size_px)
    images = torch.randint(0, 256, shape, dtype=torch.uint8).to(device)
    labels = (torch.arange(batch) % 2).to(device)

    def now() -> float:
        if on_cpu:
            return time.process_time() / n_threads
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    def step() -> float:
        started = now()
        inputs = placement.inputs(images, spec)
        with autocast(device, precision):
            logits = forward(inputs)
        optimizer.zero_grad(set_to_none=True)
        functional.cross_entropy(logits.float(), labels).backward()
        optimizer.step()
        return now() - started

    return step
