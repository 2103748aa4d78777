"""Why a process of ours died, in words with the remedy."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from medcompare.base.errors import TrainingError
from medcompare.base.hardware import oom_kills
from medcompare.base.language import message

if TYPE_CHECKING:
    from collections.abc import Iterable

_DEVICE_WORDS = re.compile(r"(CUDA|cuDNN|CUBLAS|HIP|MPS)\b[^\n]{0,400}?(?=\. |\.?\n|\.?$)", re.ASCII)
"""What torch says first of a GPU; where memory ran out, also how much was asked for."""
_ASKED_FOR = re.compile(r"\. Tried to allocate ([\d.]+ \w+)", re.ASCII)

_LOADER_WORDS = re.compile(
    r"DataLoader worker \(pid\S* [\d, ]+\) ((?:is killed by signal: \w+)|exited unexpectedly)", re.ASCII
)


def memory_ran_out(before: tuple[int, int] | None) -> str:
    """Whether Linux has ended a process for lack of memory since `before`, in words."""
    now = oom_kills()
    if before is None or now is None:
        return ""
    if now[0] > before[0]:
        return "Linux ended it, as the memory of its container or service ran out"
    return "Linux ended a process of this machine, as memory ran out" if now[1] > before[1] else ""


LESS_MEMORY = "lower train.batch_size, train.num_workers or train.max_parallel"


def death(
    label: str, code: int, tail: Iterable[str], *, ran_out: str = "", less_memory: str = LESS_MEMORY
) -> TrainingError:
    """The error of a process that ended with status `code` (negative: by a signal) and without a result.

    `tail` is what it last said, `ran_out` what `memory_ran_out` says, `less_memory` how it would need less.
    """
    last = "; last output: " + " | ".join(list(tail)[-5:]) if tail else ""
    if code >= 0:
        how = message("its process ended without a result")
        return TrainingError(f"{label} ended with exit status {code} and no result{last}", how=how)
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    why = ran_out or "often the system running out of memory"
    remedy = {
        "SIGKILL": f"{why}: {less_memory}",
        "SIGBUS": "often shared memory (/dev/shm) running out: set train.num_workers to 0",
        "SIGTERM": "someone or something ended it from outside",
    }.get(name, "a crash in native code")
    killed = message("its process was killed")
    how = {
        "SIGKILL": message("its process was killed, as memory ran out") if ran_out else killed,
        "SIGTERM": message("its process was ended from outside"),
    }.get(name, message("its process crashed"))
    return TrainingError(f"{label} was ended by {name} ({remedy}){last}", transient=True, how=how)


def store_of(request: str) -> Path | None:
    """Where a child with this request, JSON, writes to; to be named where that is full or read-only."""
    found = json.loads(request)
    return Path(found["store_root"]) if isinstance(found, dict) and "store_root" in found else None


def words_of_device(error: Exception) -> str | None:
    """What torch says about a GPU, which holds no data, with the remedy; None for any other error."""
    found = _DEVICE_WORDS.match(str(error)) if isinstance(error, RuntimeError) else None
    if found is None:
        return None
    words = found[0]
    if "out of memory" in words:
        if asked := _ASKED_FOR.search(str(error)):
            words += f" (tried to allocate {asked[1]})"
        remedy = "lower train.batch_size, train.image_size_px or train.max_parallel, or end other programs on the GPU"
    else:
        remedy = "nvidia-smi shows the state of the GPU; --set train.device=cpu works without it"
    return f"{words}: {remedy}"


def words_of_loader(error: Exception) -> str | None:
    """What torch says of a data-loading process that died, with the remedy; None for any other error."""
    found = _LOADER_WORDS.search(str(error)) if isinstance(error, RuntimeError) else None
    if found is None:
        return None
    return (
        f"a data-loading process ended ({found[1]}), often for lack of memory or of shared memory (/dev/shm): "
        "lower train.num_workers, or set it to 0"
    )
