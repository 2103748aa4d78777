"""What one trained model costs, measured in a process of its own with nothing else running.

Inference is measured in float32, as the predictions were made, so that cost and
accuracy belong to the same thing; training steps are measured in the precision of the
training. Times are of the network alone: reading and decoding an image is the same for
every model.
"""

from __future__ import annotations

import gc
import math
import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import torch
from torch.utils.flop_counter import FlopCounterMode

from medcompare.artifacts import ArtifactStore
from medcompare.checkpoints import load_checkpoint
from medcompare.cost_records import CostMeasurement
from medcompare.data.assignments import read_assignments, rows_of
from medcompare.data.dataset import BatchLoader, TrainingImages, cache_budget_bytes
from medcompare.devices import pick_device
from medcompare.hardware import core_numbers, device_name
from medcompare.models.registry import build_model, count_parameters
from medcompare.models.zoo import MODELS
from medcompare.recipes import FitSettings, optimizer_of, recipe_of
from medcompare.scoring import Placement, make_repeatable
from medcompare.training_epoch import train_one_epoch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from medcompare.training_events import EventHandler
    from medcompare.training_requests import CostRequest

TRAINING_STEPS = 8
TRAINING_WARMUP_STEPS = 2
THROUGHPUT_BATCHES = 5
BUSY_TIMES = ("user", "nice", "system", "irq", "softirq", "steal", "interrupt", "dpc")
"""Of `psutil.cpu_times`, whichever of them the system tells: neither idle nor waiting for a disk."""
STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")


def measure_cost(request: CostRequest, *, emit: EventHandler | None = None) -> CostMeasurement:
    """Measure one trained model on this machine.

    Parameters
    ----------
    request : CostRequest
        The trained model, how often to repeat, and images for a few training steps.
    emit : callable, optional
        Gets ``progress`` events with ``model, stage``.

    Returns
    -------
    CostMeasurement
        Every field filled.

    Raises
    ------
    DataError, ArtifactError, ConfigError
        If an image changed, a stored file is gone, or the device is not there.
    """
    trained, spec, cost = request.trained, MODELS[request.trained.model], request.cost

    def report(stage: str) -> None:
        if emit is not None:
            emit({"event": "progress", "model": spec.name, "stage": stage})

    store = ArtifactStore(request.store_root)
    if request.n_threads is not None:
        torch.set_num_threads(request.n_threads)
    device = pick_device(request.train.device, index=request.device_index)
    make_repeatable(device)
    placement = Placement(device=device, memory_format=trained.memory_format)
    memory = PeakMemory(device)
    network = build_model(spec, seed=trained.seed)
    load_checkpoint(store, trained.checkpoint, network, model=spec.name)
    network = placement.network(network).eval()
    gc.collect()
    memory.reset_peak()
    others = OtherLoad()
    report("latency")
    latencies_s = time_forward(
        network,
        placement,
        size_px=trained.image_size_px,
        batch=1,
        n_warmup=cost.n_warmup,
        n_repeats=cost.n_repeats,
    )
    report("throughput")
    batch_s = time_forward(
        network,
        placement,
        size_px=trained.image_size_px,
        batch=cost.throughput_batch,
        n_warmup=1,
        n_repeats=THROUGHPUT_BATCHES,
    )
    loads_cores = [others.cores()]
    peak = memory.peak_bytes()
    flops = count_flops(network, placement, size_px=trained.image_size_px)
    n_parameters = count_parameters(network)
    del network
    gc.collect()
    report("training steps")
    others = OtherLoad()
    training_images_per_s = time_training(request, store, placement)
    loads_cores.append(others.cores())
    median_low_s, median_high_s = median_interval(latencies_s)
    together = (
        "alone"
        if trained.n_parallel == 1
        else f"{trained.n_parallel} trainings side by side, this one included"
    )
    return CostMeasurement(
        model=spec.name,
        n_parameters=n_parameters,
        flops=flops,
        checkpoint_bytes=trained.checkpoint.n_bytes,
        latency_ms_median=1e3 * quantile(latencies_s, 0.5),
        latency_ms_median_ci=(1e3 * median_low_s, 1e3 * median_high_s),
        latency_ms_p95=1e3 * quantile(latencies_s, 0.95),
        throughput_images_per_s=cost.throughput_batch / quantile(batch_s, 0.5),
        throughput_batch=cost.throughput_batch,
        peak_memory_bytes=peak,
        training_images_per_s=training_images_per_s,
        training_time_s=trained.elapsed_s,
        training_conditions=f"{trained.device}, {trained.n_threads} threads, {trained.precision}, {together}",
        image_size_px=trained.image_size_px,
        n_repeats=cost.n_repeats,
        n_threads=torch.get_num_threads(),
        precision="float32",
        device=device_name(device),
        other_load_cores=max((load for load in loads_cores if load is not None), default=None),
    )


def time_forward(
    network: nn.Module, placement: Placement, *, size_px: int, batch: int, n_warmup: int, n_repeats: int
) -> list[float]:
    """Seconds of each of `n_repeats` forward passes, after `n_warmup` that do not count."""
    inputs = _inputs(placement, batch, size_px)
    times = []
    with torch.inference_mode():
        for repeat in range(n_warmup + n_repeats):
            _wait_for(placement.device)
            started = time.perf_counter()
            network(inputs)
            _wait_for(placement.device)
            if repeat >= n_warmup:
                times.append(time.perf_counter() - started)
    return times


def count_flops(network: nn.Module, placement: Placement, *, size_px: int) -> int:
    """Floating-point operations of one forward pass of one image.

    Counted by torch over convolutions and matrix products, a multiplication and an
    addition as two; element-wise operations are not counted.
    """
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(_inputs(placement, 1, size_px))
    return int(counter.get_total_flops())


def time_training(request: CostRequest, store: ArtifactStore, placement: Placement) -> float:
    """Images per second of a few real training steps: crops, forward, backward, optimiser."""
    trained, train, spec = request.trained, request.train, MODELS[request.trained.model]
    rows = rows_of(read_assignments(store.read(request.split.assignments)), "train")
    images = TrainingImages(
        rows[: trained.batch_size * TRAINING_STEPS],
        request.data_root,
        size_px=trained.image_size_px,
        cache_bytes=cache_budget_bytes(1),
        crop_scale_min=train.crop_scale_min,
        seed=trained.seed,
    )
    loader = BatchLoader(images, batch_size=trained.batch_size)
    recipe = recipe_of(spec, train)
    network = placement.network(build_model(spec, seed=trained.seed))
    optimizer = optimizer_of(network, recipe)
    settings = FitSettings(
        spec=spec,
        recipe=recipe,
        epochs=1,
        patience=1,
        class_weights=trained.class_weights,
        seed=trained.seed,
        placement=placement,
        precision=trained.precision,
    )
    n_warmup = min(TRAINING_WARMUP_STEPS, loader.n_steps)
    # The first pass reads and decodes; like the epochs of a training, the second finds the images in memory.
    warm = (batch for batch, _ in zip(loader.in_order(), range(n_warmup), strict=False))
    train_one_epoch(network, optimizer, warm, settings, epoch=1, n_steps=n_warmup)
    timed = train_one_epoch(network, optimizer, loader.in_order(), settings, epoch=1, n_steps=loader.n_steps)
    return timed.n_images / timed.elapsed_s


def quantile(values: Sequence[float], share: float) -> float:
    """Quantile with linear interpolation between order statistics."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def median_interval(values: Sequence[float], *, level: float = 0.95) -> tuple[float, float]:
    """Distribution-free interval of the median from order statistics.

    The pair of order statistics, as near to each other as possible and symmetric, whose
    coverage by the binomial distribution is at least `level`; with fewer than six values
    (at 95 %) the range of the values is all there is.

    References
    ----------
    Conover (1999), Practical Nonparametric Statistics, 3rd edition, section 3.2.
    """
    ordered, n = sorted(values), len(values)
    below, rank = 0, 0  # below: number of the 2**n outcomes with fewer than `rank` values under the median
    while 2 * (below + math.comb(n, rank)) <= (1 - level) * 2**n:
        below += math.comb(n, rank)
        rank += 1
    rank = max(rank, 1)
    return ordered[rank - 1], ordered[n - rank]


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

    def cores(self) -> float | None:
        """Cores that others kept busy, on average; None where the system does not count what its cores do."""
        elapsed_s, busy_s, own_s = (now - then for now, then in zip(self._now(), self._started, strict=True))
        if busy_s < own_s / 2:  # some containers show a file of zeros
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


def _inputs(placement: Placement, batch: int, size_px: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (batch, 3, size_px, size_px), dtype=torch.uint8, generator=generator)
    return placement.inputs(images, next(iter(MODELS.values())))


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
