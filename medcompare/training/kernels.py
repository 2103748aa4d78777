"""Compiled kernels of a network: what making them needs, where they are kept, and forward passes by them."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch._dynamo.exc import TorchDynamoException
from torch._inductor import config
from torch._inductor.cpp_builder import get_cpp_compiler
from torch._inductor.exc import CppCompileError, InductorError, InvalidCxxCompiler
from torch.utils._triton import has_triton

from medcompare.base.errors import ConfigError
from medcompare.base.hardware import device_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor, nn

FOLDER = "kernels"
"""In the store."""


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
