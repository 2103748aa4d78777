"""What one trained model costs, measured in a process of its own with nothing else running.

Inference is measured in float32, as the predictions were made, so that cost and
accuracy belong to the same thing; training steps are measured in the precision of the
training. Times are of the network alone: reading and decoding an image is the same for
every model. All of it takes no longer than a budget of time allows: what does not fit is
left out, and the counts in the record tell what was done.
"""

from __future__ import annotations

import gc
import statistics
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from medcompare.base.artifacts import ArtifactStore
from medcompare.base.code_identity import DISTRIBUTION_OF, library_versions
from medcompare.base.devices import pick_device
from medcompare.base.hardware import device_name, keep_freed_memory
from medcompare.base.language import message
from medcompare.base.phrase import Phrase
from medcompare.data.assignments import read_assignments, rows_of
from medcompare.models.registry import build_model, count_parameters
from medcompare.models.zoo import find_model
from medcompare.predictions.costs import FEWEST_PASSES, CostMeasurement
from medcompare.training.augmentation import augmentations
from medcompare.training.checkpoints import load_checkpoint
from medcompare.training.cost_instruments import Budget, OtherLoad, PeakMemory, median_interval
from medcompare.training.dataset import TrainingImages, loaders_of
from medcompare.training.epoch import train_one_epoch
from medcompare.training.options import with_views
from medcompare.training.recipes import FitSettings, optimizer_of, recipe_of
from medcompare.training.scoring import Placement, choose_fast_kernels, make_repeatable
from medcompare.training.timing import LATEST_THROUGHPUT, measure_energy, random_inputs, time_forward

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from medcompare.config.schema import CostConfig
    from medcompare.models.spec import ModelSpec
    from medcompare.training.epoch import EpochTraining
    from medcompare.training.records import TrainedModel
    from medcompare.training.requests import CostRequest

TRAINING_STEPS = 4
TRAINING_WARMUP_STEPS = 1
THROUGHPUT_BATCHES = FEWEST_PASSES
MIN_WARMUP, MIN_REPEATS = 1, 3
"""Passes of one image that are always done, however little time there is; 3 still give a median, but no interval."""

FEWEST_FOR_P95 = 20
"""With fewer values than 1 / (1 - 0.95) the 95th percentile lies between the two largest, wherever it is."""

LATEST_WARMUP, LATEST_LATENCY = 0.2, 0.5
LATEST_EQUIVALENT = 0.78
LATEST_TRAINING_WARMUP, LATEST_TRAINING = 0.85, 1.0
"""Share of the time budget by which each part ends, so that none takes it all."""

EQUIVALENT_S = 5.0
"""Longest time for measuring the same architecture in another library: a remark must not double the measurement."""

BACKWARD = 2
"""A backward pass takes about two forward passes (Kaplan et al. 2020, arXiv:2001.08361, section 2.1)."""


def measure_cost(request: CostRequest, *, clock: Callable[[], float] = time.perf_counter) -> CostMeasurement:
    """Measure one trained model on this machine, with what fits into ``cost.budget_s``.

    Parameters
    ----------
    request : CostRequest
        The trained model, how often to repeat, and images for a few training steps.
    clock : callable, default=time.perf_counter
        The time, seconds: of the budget and of what is measured.

    Returns
    -------
    CostMeasurement
        Every field filled that there was time for; those of the equivalent only where the
        network has one.

    Raises
    ------
    DataError, ArtifactError, ConfigError
        If an image changed, a stored file is gone, or the device is not there.
    """
    trained, spec, cost = request.trained, find_model(request.trained.model), request.cost
    store = ArtifactStore(request.store_root)
    if request.n_threads is not None:
        torch.set_num_threads(request.n_threads)
    device = pick_device(request.train.device, index=request.device_index)
    kernels = choose_fast_kernels(device)
    placement = Placement(device=device, memory_format=trained.memory_format)
    memory = PeakMemory(device)
    network = build_model(spec, seed=trained.seed)
    load_checkpoint(store, trained.checkpoint, network, model=spec.name)
    implementation = implementation_of(network)
    n_parameters = count_parameters(network)
    network = with_views(placement.network(network), trained.test_time_augmentation).eval()
    gc.collect()
    memory.reset_peak()
    budget, others, in_all = Budget(cost.budget_s, clock=clock), OtherLoad(), OtherLoad()
    n_warmup, latencies_s = time_forward(
        network,
        placement,
        size_px=trained.image_size_px,
        batch=1,
        n_warmup=cost.n_warmup,
        n_repeats=cost.n_repeats,
        budget=budget,
        latest=(LATEST_WARMUP, LATEST_LATENCY),
        at_least=(MIN_WARMUP, MIN_REPEATS),
    )
    latency_s = statistics.median(latencies_s)
    n_batches_before, batches_s = time_forward(
        network,
        placement,
        size_px=trained.image_size_px,
        batch=cost.throughput_batch,
        n_warmup=1,
        n_repeats=THROUGHPUT_BATCHES,
        budget=budget,
        latest=(LATEST_THROUGHPUT, LATEST_THROUGHPUT),
        expected_s=cost.throughput_batch * latency_s,
    )
    loads_cores = [others.cores()]
    energy_j, energy_source = measure_energy(
        network, placement, size_px=trained.image_size_px, batch=cost.throughput_batch, budget=budget
    )
    # Without a batch it would be the memory of single images, less than that of other models.
    peak = memory.peak_bytes() if n_batches_before else None
    flops = count_flops(network, placement, size_px=trained.image_size_px)
    del network
    gc.collect()
    equivalent: dict[str, Any] = {}
    if spec.maintained_equivalent is not None:
        others = OtherLoad()
        equivalent = time_equivalent(
            find_model(spec.maintained_equivalent),
            placement,
            size_px=trained.image_size_px,
            cost=cost,
            budget=budget,
            latency_s=latency_s,
        )
        loads_cores.append(others.cores())
    others = OtherLoad()
    # Last, as trainings keep freed memory: everything before is measured as in any program.
    keep_freed_memory()
    make_repeatable(device)
    training = time_training(request, store, placement, budget=budget, latency_s=latency_s)
    loads_cores.append(others.cores())
    return CostMeasurement(
        model=spec.name,
        implementation=implementation,
        n_parameters=n_parameters,
        flops=flops,
        checkpoint_bytes=trained.checkpoint.n_bytes,
        latency_ms_median=1e3 * latency_s,
        latency_ms_median_ci=median_interval([1e3 * each for each in latencies_s]),
        latency_ms_p95=1e3 * float(np.quantile(latencies_s, 0.95))
        if len(latencies_s) >= FEWEST_FOR_P95
        else None,
        throughput_images_per_s=cost.throughput_batch / statistics.median(batches_s) if batches_s else None,
        throughput_images_per_s_ci=median_interval([cost.throughput_batch / each for each in batches_s]),
        throughput_batch=cost.throughput_batch,
        peak_memory_bytes=peak,
        energy_j_per_image=energy_j,
        energy_source=energy_source,
        kernels=kernels,
        training_images_per_s=training.images_per_s,
        training_time_s=trained.elapsed_s,
        training_conditions=_conditions(trained),
        **equivalent,
        image_size_px=trained.image_size_px,
        n_warmup=n_warmup,
        n_warmup_planned=cost.n_warmup,
        n_repeats=len(latencies_s),
        n_repeats_planned=cost.n_repeats,
        n_throughput_batches=len(batches_s),
        n_throughput_batches_planned=THROUGHPUT_BATCHES,
        n_training_steps=training.n_steps,
        n_training_steps_planned=training.n_planned,
        n_threads=torch.get_num_threads(),
        precision="float32",
        device=device_name(device),
        budget_s=cost.budget_s,
        elapsed_s=budget.elapsed_s(),
        other_load_cores=max(
            (load for load in loads_cores if load is not None), default=in_all.cores(shortest_s=0)
        ),
    )


def _conditions(trained: TrainedModel) -> Phrase:
    """What a training ran on, and beside what."""
    facts: dict[str, int | float | str] = {
        "device": trained.hardware,
        "n_threads": trained.n_threads,
        "precision": trained.precision,
    }
    if trained.n_parallel == 1:
        return Phrase(text=message("{device}, {n_threads} threads, {precision}, alone"), values=facts)
    text = message(
        "{device}, {n_threads} threads, {precision}, {n} trainings side by side, this one included"
    )
    return Phrase(text=text, values={**facts, "n": trained.n_parallel})


def time_equivalent(
    spec: ModelSpec,
    placement: Placement,
    *,
    size_px: int,
    cost: CostConfig,
    budget: Budget,
    latency_s: float,
) -> dict[str, Any]:
    """Latency of the same architecture in another library, from random weights: values are no matter.

    Parameters
    ----------
    spec : ModelSpec
        That implementation.
    placement, size_px, cost
        As for the network itself.
    budget : Budget
        What is left until `LATEST_EQUIVALENT` of it counts, `EQUIVALENT_S` at most.
    latency_s : float
        What the network itself takes for one image.

    Returns
    -------
    dict
        Fields of `CostMeasurement`; no time where none fitted.
    """
    found: dict[str, Any] = {"equivalent_model": spec.name}
    network = build_model(spec, seed=0)
    found["equivalent_implementation"] = implementation_of(network)
    network = placement.network(network).eval()
    # On a GPU the first pass of a network builds its kernels, for 10 s and more: not from the few seconds of a remark.
    prepared, _ = time_forward(
        network,
        placement,
        size_px=size_px,
        batch=1,
        n_warmup=1,
        n_repeats=0,
        budget=budget,
        expected_s=latency_s,
    )
    left_s = min(EQUIVALENT_S, LATEST_EQUIVALENT * budget.seconds - budget.elapsed_s()) if prepared else 0.0
    _, times_s = time_forward(
        network,
        placement,
        size_px=size_px,
        batch=1,
        n_warmup=cost.n_warmup,
        n_repeats=cost.n_repeats,
        budget=Budget(left_s, clock=budget.clock),
        latest=(0.2, 1.0),
        expected_s=latency_s,
    )
    found["equivalent_n_repeats"] = len(times_s)
    if times_s:
        found["equivalent_latency_ms_median"] = 1e3 * statistics.median(times_s)
        found["equivalent_latency_ms_median_ci"] = median_interval([1e3 * each for each in times_s])
    return found


def implementation_of(network: nn.Module) -> str:
    """Library that provides the class of `network`, with its version: ``torchvision 0.29.2``."""
    top = type(network).__module__.partition(".")[0]
    [(library, installed)] = library_versions([DISTRIBUTION_OF.get(top, top)])
    return f"{library} {installed}"


def count_flops(network: nn.Module, placement: Placement, *, size_px: int) -> int:
    """Floating-point operations of one forward pass of one image.

    Counted by torch over convolutions and matrix products, a multiplication and an
    addition as two; element-wise operations are not counted.
    """
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(random_inputs(placement, 1, size_px))
    return int(counter.get_total_flops())


class TrainingSpeed(NamedTuple):
    """A few training steps: how fast, and how many of them were timed."""

    images_per_s: float | None
    n_steps: int
    n_planned: int


def time_training(
    request: CostRequest, store: ArtifactStore, placement: Placement, *, budget: Budget, latency_s: float
) -> TrainingSpeed:
    """Speed of a few real training steps: crops, forward, backward, optimiser; images already in memory."""
    trained, train, spec = request.trained, request.train, find_model(request.trained.model)
    options = train.for_model(spec.name)
    if spec.probe:  # nothing is trained in steps
        return TrainingSpeed(None, 0, 0)
    rows = rows_of(read_assignments(store.read(request.split.assignments)), "train")
    images = TrainingImages(
        rows[: trained.batch_size * TRAINING_STEPS],
        request.data_root,
        size_px=trained.image_size_px,
        crop_scale_min=options.crop_scale_min,
        augmentations=augmentations(options, trained.image_size_px, spec.interpolation),
        seed=trained.seed,
    )
    [loader] = loaders_of(
        [images], options, placement.device, store=request.store_root, batch_size=trained.batch_size
    )
    expected_s = (1 + BACKWARD) * trained.batch_size * latency_s
    if not budget.fits(2 * expected_s, latest=LATEST_TRAINING):  # a step before timing, and a timed one
        return TrainingSpeed(None, 0, loader.n_steps)
    # Read and decoded beforehand: as in the epochs of a training, the images are found in memory.
    read = budget.limited(loader.in_order(), loader.n_steps, latest=LATEST_TRAINING_WARMUP)
    n_read = sum(1 for _ in read)
    recipe = recipe_of(spec, train)
    network = placement.network(build_model(spec, seed=trained.seed))
    optimizer = optimizer_of(network, recipe, head=spec.head, backbone_lr_factor=options.backbone_lr_factor)
    settings = FitSettings(
        spec=spec,
        recipe=recipe,
        epochs=1,
        patience=1,
        class_weights=trained.class_weights,
        seed=trained.seed,
        placement=placement,
        precision=trained.precision,
        options=options,
    )

    def steps(n: int, latest: float) -> tuple[EpochTraining, int]:
        done: list[int] = []
        batches = budget.limited(loader.in_order(), n, latest=latest)
        trained_on = train_one_epoch(
            network,
            optimizer,
            batches,
            settings,
            epoch=1 + options.frozen_epochs,
            n_steps=n,
            on_step=lambda step, *_: done.append(step),
        )
        return trained_on, max(done, default=0)

    before, n_before = steps(min(TRAINING_WARMUP_STEPS, n_read), LATEST_TRAINING_WARMUP)
    if not budget.fits(before.elapsed_s / n_before, latest=LATEST_TRAINING):
        return TrainingSpeed(None, 0, loader.n_steps)
    timed, n_timed = steps(n_read, LATEST_TRAINING)
    return TrainingSpeed(timed.n_images / timed.elapsed_s, n_timed, loader.n_steps)
