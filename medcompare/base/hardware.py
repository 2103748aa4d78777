"""What the machine offers: cores, memory, names of devices. Torch is imported only where needed.

Nothing here changes what a network learns: that is `medcompare.base.devices`.
"""

from __future__ import annotations

import ctypes
import math
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from medcompare.base.devices import pick_device
from medcompare.base.record import Record

if TYPE_CHECKING:
    import torch

    from medcompare.base.devices import DeviceSetting


CGROUP = Path("/sys/fs/cgroup")
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - what is looked at
THREADS_PER_LOADER = 8
MAX_LOADERS = 16
BATCHES_PER_LOADER = 4
"""That a loading process may hold in shared memory: two prepared ahead, one in work, one in use."""
CPUINFO = Path("/proc/cpuinfo")
OWN_CGROUP = Path("/proc/self/cgroup")
VMSTAT = Path("/proc/vmstat")


class ParallelPlan(Record):
    """How trainings share the machine."""

    n_parallel: int
    n_threads: int
    """Threads of each, in all its processes."""
    n_gpus: int
    n_devices: int = 1
    """Devices of each, where there is no cluster."""

    def device_index(self, position: int) -> int:
        """GPU of the training at `position` in the list; of several devices the first."""
        return position % (self.n_gpus // self.n_devices) * self.n_devices if self.n_gpus else 0


class DeviceSummary(Record):
    """The device that a setting stands for on this machine."""

    name: str
    n_accelerators: int


_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
"""Of glibc's malloc.h."""


def keep_freed_memory() -> None:
    """Let this process keep memory that it frees, where the C library is glibc; elsewhere nothing changes.

    glibc takes each large block from the kernel and gives it back, and the kernel fills its pages with zeros each
    time: 7 to 29 % of the processor time of a float32 training (docs/overhead.md). Kept are the blocks of one step,
    which the next one uses again.
    """
    if sys.platform != "linux":
        return
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(_M_MMAP_MAX, 0)
        set_option(_M_TRIM_THRESHOLD, -1)


def core_numbers() -> tuple[int, ...]:
    """Numbers of the cores this process may run on; all where the system keeps no affinity mask."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def usable_cores(*, cgroup: Path = CGROUP) -> int:
    """Cores this process may use: the affinity mask and a container's quota, at least 1."""
    count = len(core_numbers())
    quota = _cgroup_cores(cgroup)
    return max(1, count if quota is None else min(count, math.ceil(quota)))


def memory_bytes(*, cgroup: Path = CGROUP) -> int:
    """Memory this process may use, bytes: the machine's, or a container's limit if lower."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        text = _read(cgroup / name)
        if text is not None and text.isdigit():
            total = min(total, int(text))
    return total


def oom_kills(
    *, cgroup: Path = CGROUP, own: Path = OWN_CGROUP, vmstat: Path = VMSTAT
) -> tuple[int, int] | None:
    """Processes that Linux has ended for lack of memory: in this container, and in all; None where it does not say.

    The container is the innermost control group whose count can be read, of either version.
    """
    folders = []
    for line in (_read(own) or "").splitlines():
        _, controllers, place = line.split(":", 2)
        if controllers in {"", "memory"}:
            base = cgroup / controllers
            folders += [base / place.lstrip("/"), base]
    counts = (
        _count(folder / name, "oom_kill")
        for folder in folders
        for name in ("memory.events", "memory.oom_control")
    )
    here = next((count for count in counts if count is not None), None)
    everywhere = _count(vmstat, "oom_kill")
    return None if here is None and everywhere is None else (here or 0, everywhere or 0)


def _count(path: Path, name: str) -> int | None:
    for line in (_read(path) or "").splitlines():
        key, _, value = line.partition(" ")
        if key == name and value.isdigit():
            return int(value)
    return None


def cpu_name(*, cpuinfo: Path = CPUINFO) -> str:
    """Model name of the processor."""
    for line in (_read(cpuinfo) or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name" and value.strip():
            return " ".join(value.split())
    if sys.platform == "darwin":
        name = _output("sysctl", "-n", "machdep.cpu.brand_string")
        if name:
            return name
    return platform.processor() or platform.machine() or "unknown processor"


def parallel_plan(
    n_models: int,
    *,
    max_parallel: int | None,
    n_cores: int,
    n_gpus: int,
    n_devices: int = 1,
    batch_size: int = 32,
) -> ParallelPlan:
    """Share `n_cores` and `n_gpus` between `n_models` trainings without oversubscribing.

    Parameters
    ----------
    n_models : int
        Trainings to run, at least 1.
    max_parallel : int or None
        The user's limit; None: as many as there are GPUs for, or `soonest_on_cores`.
    n_cores, n_gpus : int
        What the machine offers.
    n_devices : int, default=1
        Devices of each training: GPUs, or processes on the cores.
    batch_size : int, default=32
        Images of a step.
    """
    if max_parallel is not None:
        slots = max_parallel
    elif n_gpus:
        slots = n_gpus // n_devices
    else:
        slots = soonest_on_cores(n_models, n_cores // n_devices, batch_size=batch_size)
    n_parallel = max(1, min(n_models, slots))
    return ParallelPlan(
        n_parallel=n_parallel,
        n_threads=max(1, n_cores // n_parallel),
        n_gpus=n_gpus,
        n_devices=n_devices,
    )


THREAD_EXPONENT = 0.92
"""A training with k threads is k to this power times as fast as with one beside k - 1 others: 1.9 times with two, as
trainings side by side also wait for each other's memory (docs/overhead.md)."""


def soonest_on_cores(n_models: int, n_slots: int, *, batch_size: int) -> int:
    """Trainings side by side, of `n_slots` at most, with which all `n_models` are expected to end soonest.

    Side by side no core waits for another within a step, but at the end cores idle until the longest training is done:
    on all slots but one for up to a training (Graham 1969, "Bounds on multiprocessing timing anomalies", SIAM J. Appl.
    Math. 17), here half of one, as it is on average where lengths are unknown. More threads than images in a step gain
    nothing. Few trainings thus run one after the other, many side by side.
    """

    def expected(n_parallel: int) -> float:
        trainings = n_models / n_parallel + (1 - 1 / n_parallel) / 2
        return float(trainings / min(n_slots // n_parallel, batch_size) ** THREAD_EXPONENT)

    return min(range(1, max(1, min(n_models, n_slots)) + 1), key=expected)


def loading_processes(
    device_type: str,
    *,
    n_threads: int,
    n_cores: int,
    n_parallel: int,
    batch_bytes: int,
    shared_memory: Path = SHARED_MEMORY,
) -> int:
    """Processes that load the batches of one training, where the user leaves it open.

    On a processor one for every eight threads that compute, as a crop of kept pixels takes a core below 1 ms and
    an image's training some 100 ms; on a GPU the cores, shared between trainings, 16 at most, as it takes an image in
    1 ms or less. Never more than can hand over their batches in shared memory, which containers have little of.

    Parameters
    ----------
    device_type : str
        ``cpu``, ``cuda`` or ``mps``.
    n_threads, n_cores, n_parallel : int
        Threads of this training, cores of the machine, trainings side by side.
    batch_bytes : int
        Size of a batch of images.
    shared_memory : Path
        Where batches are handed over, if it exists.
    """
    of_cores = min(MAX_LOADERS, n_cores // n_parallel)
    wanted = n_threads // THREADS_PER_LOADER if device_type == "cpu" else of_cores
    if shared_memory.is_dir():
        wanted = min(wanted, shutil.disk_usage(shared_memory).free // (BATCHES_PER_LOADER * batch_bytes))
    return wanted


def may_have_gpu() -> bool:
    """Whether it is worth asking torch for a GPU: a cheap look that misses none."""
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    return any(Path(path).exists() for path in ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd"))


def device_name(device: torch.device) -> str:
    """Name of the device for the report, e.g. of the GPU or the processor."""
    import torch

    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"{cpu_name()} (Metal)" if device.type == "mps" else cpu_name()


def summarise_devices(setting: DeviceSetting) -> DeviceSummary:
    """What `setting` stands for on this machine; raises like `pick_device`."""
    import torch

    device = pick_device(setting)
    n_accelerators = {"cpu": 0, "mps": 1, "cuda": torch.cuda.device_count()}[device.type]
    return DeviceSummary(name=device_name(device), n_accelerators=n_accelerators)


def _cgroup_cores(cgroup: Path) -> float | None:
    text = _read(cgroup / "cpu.max")  # version 2: "quota period", or "max period"
    if text is not None:
        quota, _, period = text.partition(" ")
        return int(quota) / int(period) if quota.isdigit() and period.isdigit() else None
    quota_text = _read(cgroup / "cpu" / "cpu.cfs_quota_us")  # version 1: -1 for none
    period_text = _read(cgroup / "cpu" / "cpu.cfs_period_us")
    if quota_text is None or period_text is None or not quota_text.isdigit() or not period_text.isdigit():
        return None
    return int(quota_text) / int(period_text)


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def _output(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=5)  # noqa: S603 - fixed
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
