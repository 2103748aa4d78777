"""What cost is measured with: a budget of time, medians and their intervals, peak memory, the load of others."""

from __future__ import annotations

import itertools
import logging
import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import psutil
import torch
from scipy import stats

from medcompare.base.hardware import core_numbers
from medcompare.base.language import message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

logger = logging.getLogger("medcompare.cost")

BUSY_TIMES = ("user", "nice", "system", "irq", "softirq", "steal", "interrupt", "dpc")
"""Of `psutil.cpu_times`, whichever of them the system tells: neither idle nor waiting for a disk."""
SHORTEST_LOAD_S = 0.2
"""Twenty ticks of the usual 10 ms: the load of others over so long is known to a tenth of a core or so."""

STATUS = Path("/proc/self/status")
POWERCAP = Path("/sys/class/powercap")
CLEAR_REFS = Path("/proc/self/clear_refs")

Step = TypeVar("Step")


class Budget:
    """Time there is for a measurement, and what still fits into it.

    Parameters
    ----------
    seconds : float
        From now on.
    clock : callable, default=time.perf_counter
        The time, seconds.
    """

    def __init__(self, seconds: float, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self.seconds = seconds
        self.clock = clock
        self._started = clock()

    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return self.clock() - self._started

    def fits(self, needed_s: float, *, latest: float = 1.0) -> bool:
        """Whether work of `needed_s` seconds, begun now, ends before the share `latest` of the budget is over."""
        return self.elapsed_s() + needed_s <= latest * self.seconds

    def as_many(
        self,
        work: Callable[[], float],
        n: int,
        *,
        latest: float,
        at_least: int = 0,
        expected_s: float = 0.0,
    ) -> list[float]:
        """Do `work` up to `n` times, as often as fits.

        Parameters
        ----------
        work : callable
            Returns the seconds it took.
        n : int
            Most times.
        latest : float
            Share of the budget by which it ends.
        at_least : int, default=0
            How often it is done whether or not it fits.
        expected_s : float, default=0.0
            What the first time is thought to take; each further one as long as that before it.

        Returns
        -------
        list of float
            Seconds of each.
        """
        done: list[float] = []
        while len(done) < n:
            next_s = done[-1] if done else expected_s
            if len(done) >= at_least and not self.fits(next_s, latest=latest):
                break
            done.append(work())
        return done

    def limited(self, steps: Iterable[Step], n: int, *, latest: float) -> Iterator[Step]:
        """Up to `n` of `steps`, the first always; a step lasts until the next one is asked for."""
        started = self.clock()
        for n_done, step in enumerate(itertools.islice(steps, n), start=1):
            yield step
            if not self.fits((self.clock() - started) / n_done, latest=latest):
                return


def median_interval(values: Sequence[float], *, level: float = 0.95) -> tuple[float, float] | None:
    """Distribution-free interval of the median from order statistics.

    Parameters
    ----------
    values : sequence of float
        In any order.
    level : float, default=0.95
        Least coverage.

    Returns
    -------
    (float, float) or None
        The pair of order statistics, as near to each other as possible and symmetric, whose
        coverage by the binomial distribution is at least `level`. None where not even the
        range of n values has it, as 1 - 2 / 2**n is smaller: with fewer than six at 95 %.

    References
    ----------
    Conover (1999), Practical Nonparametric Statistics, 3rd edition, section 3.2.
    """
    ordered, n = sorted(values), len(values)
    # The smallest rank that more than (1 - level) / 2 of the 2**n outcomes do not exceed: one less each side covers.
    rank = int(stats.binom.ppf((1 - level) / 2, n, 0.5))
    return (ordered[rank - 1], ordered[n - rank]) if rank else None


class PeakMemory:
    """Memory a model needs: of the allocator on a GPU, else growth of this process.

    On a CPU it is the peak of the resident memory less what stood before the network was
    built, so that the libraries' own size does not count.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._baseline = resident_bytes()

    def reset_peak(self) -> None:
        """Forget earlier peaks, such as that of loading the checkpoint."""
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        elif CLEAR_REFS.exists():
            CLEAR_REFS.write_text("5", encoding="ascii")

    def peak_bytes(self) -> int:
        """Peak since `reset_peak`, bytes."""
        if self._device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self._device))
        if self._device.type == "mps":
            return int(torch.mps.driver_allocated_memory())
        return max(0, peak_resident_bytes() - self._baseline)


class OtherLoad:
    """Processor time of everything but this process, on the cores it may use, since it was made.

    Work of others on a GPU is not seen.
    """

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._cores = frozenset(core_numbers())
        self._started = self._now()

    def cores(self, *, shortest_s: float = SHORTEST_LOAD_S) -> float | None:
        """Cores that others kept busy, on average.

        None where the system does not count what its cores do, and over less than `shortest_s`:
        it counts in ticks.
        """
        elapsed_s, busy_s, own_s = (now - then for now, then in zip(self._now(), self._started, strict=True))
        if busy_s < own_s / 2 or elapsed_s < shortest_s:  # some containers show a file of zeros
            return None
        return max(0.0, busy_s - own_s) / elapsed_s  # the system's clock is coarser than ours

    def _now(self) -> tuple[float, float, float]:
        """Clock, busy time of the cores and own processor time, seconds."""
        busy_s = 0.0
        for core, times in enumerate(psutil.cpu_times(percpu=True)):
            if core in self._cores:
                # Linux counts a guest's time within that of users.
                busy_s += sum(getattr(times, name, 0.0) for name in BUSY_TIMES)
        own = self._process.cpu_times()
        return time.perf_counter(), busy_s, own.user + own.system


NVML, RAPL = message("NVML, the whole GPU"), message("RAPL, the processor packages")
"""What counts energy; stored in English, translated where it is shown."""


class EnergyCounter:
    """Energy that a device has used since this was made, where something counts it.

    Of an NVIDIA GPU NVML's counter (Volta and later), of a processor RAPL's, which on many systems only the
    superuser may read: both count the whole device, idle power and other programs included.

    Parameters
    ----------
    device : torch.device
        Where the network runs.
    powercap : Path, optional
        Folder of the kernel's counters, if not its usual one.
    """

    def __init__(self, device: torch.device, *, powercap: Path | None = None) -> None:
        self.source = message("unavailable: this device has no counter that is known here")
        self._read: Callable[[], float] | None = None
        if device.type == "cuda":
            self._read, self.source = _nvml_joules(device)
        elif device.type == "cpu":
            self._read, self.source = _rapl_joules(powercap or POWERCAP)
        self._started = None if self._read is None else self._read()

    def joules(self) -> float | None:
        """Energy so far; None where nothing counts it, or a counter began again at 0."""
        if self._read is None or self._started is None:
            return None
        used = self._read() - self._started
        return used if used > 0 else None


def _nvml_joules(device: torch.device) -> tuple[Callable[[], float] | None, str]:
    try:
        import pynvml
    except ImportError:
        return None, message("unavailable: NVML needs a package (python -m pip install nvidia-ml-py)")
    try:
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
        pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except pynvml.NVMLError as error:
        logger.info("energy is not measured, NVML says: %s", error)
        return None, message("unavailable: NVML cannot be read")
    # Millijoules since the driver was loaded.
    return lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3, NVML


def _rapl_joules(powercap: Path) -> tuple[Callable[[], float] | None, str]:
    # intel-rapl:0 is a processor package, AMD's too; intel-rapl:0:0 a part of it.
    counters = [
        path / "energy_uj" for path in sorted(powercap.glob("intel-rapl:*")) if path.name.count(":") == 1
    ]
    if not counters:
        return None, message("unavailable: the processor's counters (RAPL) are not there")

    def read() -> float:
        return sum(int(path.read_text(encoding="ascii")) for path in counters) / 1e6

    try:
        read()
    except OSError:
        return None, message("unavailable: the processor's counters (RAPL) may not be read by this user")
    return read, RAPL


def resident_bytes(*, status: Path = STATUS) -> int:
    """Resident memory of this process, bytes; the peak so far where the system tells no other."""
    found = _status_kilobytes(status, "VmRSS")
    return peak_resident_bytes(status=status) if found is None else found


def peak_resident_bytes(*, status: Path = STATUS) -> int:
    """Peak resident memory of this process, bytes."""
    found = _status_kilobytes(status, "VmHWM")
    if found is not None:
        return found
    # Kilobytes on Linux, bytes on macOS.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _status_kilobytes(status: Path, name: str) -> int | None:
    if not status.exists():
        return None
    for line in status.read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return None
