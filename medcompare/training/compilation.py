"""Compiled training steps: torch.compile where it pays, its kernels kept in the store.

A network is compiled for whole batches of its training alone. A smaller rest of an epoch, frozen epochs, validation and
predictions go through the network as it is, whose weights are the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import sysconfig
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch._dynamo.exc import TorchDynamoException
from torch._inductor import config
from torch._inductor.cpp_builder import get_cpp_compiler
from torch._inductor.exc import CppCompileError, InductorError, InvalidCxxCompiler
from torch.utils._triton import has_triton

from medcompare.base.errors import ConfigError
from medcompare.base.hardware import device_name
from medcompare.training.precision import GAIN, MIN_SHARE, PROBED_STEPS, KeptSpeeds, step_speed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor, nn

    from medcompare.base.devices import MemoryFormat, Precision
    from medcompare.config.train import TrainConfig
    from medcompare.models.spec import ModelSpec
    from medcompare.training.records import StepSpeed, WhyCompiled

FOLDER = "kernels"
"""In the store."""
COMPILE_S = 250.0
"""What compiling may take, as ResNet-50 and EfficientNet-B0 do on two cores of an EPYC (docs/overhead.md)."""
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
            lambda: (step_speed(spec, train, device, choice, batch=train.batch_size),)
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
                speed = step_speed(
                    spec,
                    train,
                    device,
                    choice,
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


def missing_compiler(device: torch.device) -> str:
    """What compiling for `device` lacks, with the remedy; empty where nothing is missing."""
    if device.type == "cuda":
        return "" if has_triton() else "triton is missing or does not know this GPU: install triton"
    if device.type != "cpu":
        return f"torch compiles nothing for {device.type}"
    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        return "no C++ compiler was found: install g++, or set CXX to another"
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        return "the headers of Python are missing: install python3-dev, or what your system calls it"
    return ""


@contextlib.contextmanager
def kernels_of(store: Path, device: torch.device) -> Iterator[None]:
    """Keep compiled kernels in `store`, apart by hardware and version of torch; draw random numbers as uncompiled.

    Only as many processes compile at once as this one has threads, as others train beside it.
    """
    facts = device_name(device), torch.__version__
    name = hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
    folder = (store / FOLDER / name).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    os.utime(folder)  # for `prune`
    before = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder)
    try:
        with config.patch(fallback_random=True, compile_threads=torch.get_num_threads()):
            yield
    finally:
        if before is None:
            del os.environ["TORCHINDUCTOR_CACHE_DIR"]
        else:
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = before


def compiled(network: nn.Module, model: str) -> Callable[[Tensor], Tensor]:
    """Forward passes of `network` by kernels that are made at the first one, for that many images alone.

    Raises
    ------
    ConfigError
        At a pass, where `model` cannot be compiled.
    """
    by_kernels: Callable[[Tensor], Any] = torch.compile(network, dynamic=False)

    def forward(inputs: Tensor) -> Tensor:
        try:
            logits: Tensor = by_kernels(inputs)
        except (TorchDynamoException, InductorError, CppCompileError) as error:
            msg = (
                f"{model}: torch could not compile the network ({type(error).__name__}): "
                "train it as it is with --set train.compile=off"
            )
            raise ConfigError(msg) from error
        return logits

    return forward
