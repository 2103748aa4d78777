"""On which device, in which precision and memory layout a network is computed."""

from __future__ import annotations

import contextlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from medcompare.base.errors import ConfigError

if TYPE_CHECKING:
    import torch

DeviceSetting = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["float32", "bfloat16", "float16"]
MemoryFormat = Literal["contiguous", "channels_last"]

CPUINFO = Path("/proc/cpuinfo")
NATIVE_BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})


def pick_device(setting: DeviceSetting, *, index: int = 0, given_as: str = "train.device") -> torch.device:
    """Device that `setting` stands for; ``auto``: cuda, then mps, then cpu. An error names what it was `given_as`.

    Raises
    ------
    ConfigError
        If the device asked for is not there.
    """
    import torch

    has = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    kind = next(name for name in ("cuda", "mps", "cpu") if has[name]) if setting == "auto" else setting
    if not has[kind]:
        there = ", ".join(name for name, present in has.items() if present)
        msg = f"{given_as} is '{setting}', but torch {torch.__version__} finds only: {there}"
        raise ConfigError(msg)
    return torch.device(kind, index) if kind == "cuda" else torch.device(kind)


@cache
def native_bfloat16_on_cpu(*, cpuinfo: Path = CPUINFO) -> bool:
    """Whether the processor multiplies bfloat16 in hardware (x86: AVX512-BF16 or AMX).

    Other processors, ARM among them, are taken as not: there bfloat16 was not measured
    to be faster, and float32 is never wrong.
    """
    with contextlib.suppress(OSError):
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("flags"):
                return bool(NATIVE_BFLOAT16_FLAGS & set(line.partition(":")[2].split()))
    return False


def choices_of(device: torch.device) -> tuple[tuple[Precision, MemoryFormat], ...]:
    """Precisions and layouts that may be the fastest on `device`; the usual one first.

    Contiguous tensors on a CPU were slower for every network measured (docs/models.md); on a GPU EfficientNet-B0 was
    faster in float32 than in bfloat16 (docs/overhead.md).
    """
    usual = resolve_precision("same", device)
    if usual[0] == "float32":
        return (usual,)
    if device.type == "cpu":
        return usual, ("float32", "channels_last")
    return usual, ("float32", "contiguous"), (usual[0], "channels_last")


def resolve_precision(
    setting: Literal["auto", "same", "float32", "bfloat16", "float16"], device: torch.device
) -> tuple[Precision, MemoryFormat]:
    """Training precision and memory layout, by rule; `medcompare.training.precision` measures what ``auto`` may be.

    ``same`` is bfloat16 autocast where the hardware multiplies bfloat16 natively, float16 with a scaled loss on
    other CUDA devices, else float32, for every network alike. Tensors are channels-last on a CPU, where that is never
    slower, else contiguous: on a GPU the first pass of depthwise convolutions in bfloat16, channels-last takes 18 s,
    not 5.

    Raises
    ------
    ConfigError
        If bfloat16 is asked for on a device that cannot.
    """
    import torch

    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = device.type == "cpu" and native_bfloat16_on_cpu()
    if setting not in {"auto", "same", "float32"} and device.type == "mps":
        msg = f"train.precision is '{setting}', which is not supported on mps; use 'auto' or 'float32'"
        raise ConfigError(msg)
    usual: Precision = "bfloat16" if native else "float16" if device.type == "cuda" else "float32"
    given = "same" if setting == "auto" else setting
    precision = usual if given == "same" else given
    return precision, "channels_last" if device.type == "cpu" else "contiguous"
