"""Compiled training steps: torch.compile where it pays, its kernels kept in the store.

A network is compiled for whole batches of its training alone. A smaller rest of an epoch, frozen epochs, validation and
predictions go through the network as it is, whose weights are the same.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, NamedTuple

import torch

from medcompare.base.errors import ConfigError
from medcompare.training.kernels import compiled, kernels_of, missing_compiler
from medcompare.training.precision import GAIN, MIN_SHARE, PROBED_STEPS, KeptSpeeds, step_speeds

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from medcompare.base.devices import MemoryFormat, Precision
    from medcompare.config.train import TrainConfig
    from medcompare.models.spec import ModelSpec
    from medcompare.training.records import StepSpeed, WhyCompiled

COMPILE_S = 250.0
"""What compiling ResNet-50 or EfficientNet-B0 may take on two cores of an EPYC (docs/models.md)."""
MAX_SHARE = 0.05
"""Of a training at most that compiling may take where it turns out to gain nothing."""

logger = logging.getLogger(__name__)


class Compilation(NamedTuple):
    """Whether a network is compiled, and why."""

    compiled: bool
    why: WhyCompiled
    speeds: tuple[StepSpeed, ...] = ()
    """What was measured, as it is and compiled; empty where nothing was."""


def choose_compilation(
    spec: ModelSpec,
    train: TrainConfig,
    device: torch.device,
    choice: tuple[Precision, MemoryFormat],
    *,
    store: Path,
    n_images: int,
    speeds: tuple[StepSpeed, ...] = (),
    measure: Callable[..., tuple[StepSpeed, ...]] | None = None,
) -> Compilation:
    """Whether to compile the training steps of a network: the same each time that a training is begun or goes on.

    Parameters
    ----------
    spec, train, device
        The network, its settings, and where it is trained.
    choice : (str, str)
        Precision and memory layout.
    store : Path
        Where measurements and kernels are kept.
    n_images : int
        Training images.
    speeds : tuple of StepSpeed
        What was measured to make that choice.
    measure : callable, optional
        Instead of `compiled_speed`.

    Raises
    ------
    ConfigError
        Where ``train.compile`` is ``on`` and there is no compiler.
    """
    if train.compile == "off":
        return Compilation(compiled=False, why="set")
    if spec.probe or train.devices > 1:
        return Compilation(compiled=False, why="rule")
    if train.compile == "on":
        if missing := missing_compiler(device):
            msg = f"train.compile is 'on', but {missing}; or train uncompiled with --set train.compile=off"
            raise ConfigError(msg)
        return Compilation(compiled=True, why="set")
    n_all = n_images * train.epochs
    plain = next((one for one in speeds if (one.precision, one.memory_format) == choice), None)
    if plain is None and n_all >= MIN_SHARE * train.batch_size * (1 + PROBED_STEPS):
        kept = KeptSpeeds(store, spec, train, device, (train.batch_size, choice, PROBED_STEPS))
        [plain] = kept.measured_once(
            lambda: step_speeds(spec, train, device, (choice,), batch=train.batch_size)
        )
    if plain is None or n_all / plain.images_per_s < COMPILE_S / MAX_SHARE:
        return Compilation(compiled=False, why="short")
    if missing := missing_compiler(device):
        logger.info("%s is trained uncompiled: %s", spec.name, missing)
        return Compilation(compiled=False, why="no compiler")
    kept = KeptSpeeds(store, spec, train, device, (train.batch_size, choice, PROBED_STEPS, "compiled"))
    found = kept.measured_once(
        lambda: (plain, *(measure or compiled_speed)(spec, train, device, choice, store=store))
    )
    if len(found) == 1:
        return Compilation(compiled=False, why="failed")
    pays = _pays(spec.name, *found, n_all=n_all)
    return Compilation(compiled=pays, why="measured", speeds=found[1:])


def _pays(model: str, plain: StepSpeed, by_kernels: StepSpeed, *, n_all: int) -> bool:
    """Whether compiled steps end a training of `n_all` images sooner by more than noise; says from how many on."""
    saved_s = 1 / plain.images_per_s - 1 / by_kernels.images_per_s
    rates = f"{by_kernels.images_per_s:.1f} images/s compiled, {plain.images_per_s:.1f} uncompiled"
    if saved_s <= 0:
        logger.info("%s: %s: not compiled", model, rates)
        return False
    compiled_s = by_kernels.first_s + n_all / by_kernels.images_per_s
    pays = GAIN * compiled_s < n_all / plain.images_per_s
    logger.info(
        "%s: %s; compiling took %.0f s, which pays from %d images on, and with the kept kernels from %d; this training "
        "has %d: %s",
        *(model, rates, by_kernels.compile_s),
        *(round(cost_s / saved_s) for cost_s in (by_kernels.compile_s, by_kernels.first_s)),
        *(n_all, "compiled" if pays else "not compiled, as it would gain less than 5 %"),
    )
    return pays


def compiled_speed(
    spec: ModelSpec,
    train: TrainConfig,
    device: torch.device,
    choice: tuple[Precision, MemoryFormat],
    *,
    store: Path,
) -> tuple[StepSpeed, ...]:
    """Compile the network for whole batches and time its steps; nothing where torch cannot, which is said.

    A second time with the kernels of the first, as every training but the first of all finds them.
    """
    logger.info("%s: compiling, which takes minutes, to see whether it pays", spec.name)
    elapsed_s = []
    with kernels_of(store, device):
        for _ in range(2):
            torch._dynamo.reset()  # noqa: SLF001 - as torch's documentation has it
            started = time.perf_counter()
            try:
                [speed] = step_speeds(
                    spec,
                    train,
                    device,
                    (choice,),
                    batch=train.batch_size,
                    forward_of=lambda network: compiled(network, spec.name),
                )
            except ConfigError as error:
                logger.warning("it is trained uncompiled: %s", error)
                return ()
            elapsed_s.append(time.perf_counter() - started)
    # What comes before the kernels is computed by one thread.
    first_s = speed.first_s * (torch.get_num_threads() if device.type == "cpu" else 1)
    added = {"compiled": True, "compile_s": max(0.0, elapsed_s[0] - elapsed_s[1]), "first_s": first_s}
    return (speed.model_copy(update=added),)
