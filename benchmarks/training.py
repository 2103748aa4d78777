"""Images per second of training and inference: precision, memory layout and transforms.

Run it with nothing else running::

    python benchmarks/training.py --size 128 --batch 32 --threads 4

Every figure is the median over the timed steps of one process; training steps are whole
ones (normalisation, forward, backward, optimiser), inference is float32 as predictions are.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch.nn import functional

from medcompare.base.devices import native_bfloat16_on_cpu
from medcompare.base.hardware import cpu_name
from medcompare.config.train import TrainConfig
from medcompare.models.registry import build_model
from medcompare.models.zoo import LISTED, MODELS
from medcompare.training.augmentation import augmentations
from medcompare.training.recipes import optimizer_of
from medcompare.training.scoring import Placement
from medcompare.training.transforms import normalised, random_stream

if TYPE_CHECKING:
    from collections.abc import Callable

Layout = Literal["contiguous", "channels_last"]

SETTINGS: tuple[tuple[str, Layout], ...] = (
    ("float32", "contiguous"),
    ("float32", "channels_last"),
    ("bfloat16", "contiguous"),
    ("bfloat16", "channels_last"),
)


def training_rate(
    name: str,
    precision: str,
    layout: Layout,
    *,
    images: torch.Tensor,
    n_steps: int,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Images per second of whole training steps."""
    spec = MODELS[name]
    placement = Placement(device=torch.device("cpu"), memory_format=layout)
    network = placement.network(build_model(spec, seed=0)).train()
    optimizer = optimizer_of(network, spec.recipe)
    labels = torch.arange(len(images)) % 2
    times = []
    for _ in range(n_steps + 2):
        started = clock()
        inputs = placement.inputs(images, spec)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16"):
            logits = network(inputs)
        loss = functional.cross_entropy(logits.float(), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        times.append(clock() - started)
    return len(images) / float(np.median(times[2:]))


def inference_rate(name: str, layout: Layout, *, images: torch.Tensor, n_steps: int) -> float:
    """Images per second of float32 forward passes."""
    spec = MODELS[name]
    placement = Placement(device=torch.device("cpu"), memory_format=layout)
    network = placement.network(build_model(spec, seed=0)).eval()
    inputs = placement.inputs(images, spec)
    times = []
    with torch.inference_mode():
        for _ in range(n_steps + 1):
            started = time.perf_counter()
            network(inputs)
            times.append(time.perf_counter() - started)
    return len(images) / float(np.median(times[1:]))


def transform_rate(source_px: int, size_px: int, *, n_images: int = 500) -> float:
    """Images per second of crop, resize, flip and normalisation, on decoded images."""
    pixels = np.random.default_rng(0).integers(0, 256, (source_px, source_px, 3), dtype=np.uint8)
    image = torch.from_numpy(pixels).permute(2, 0, 1)
    started = time.perf_counter()
    crops = []
    for index in range(n_images):
        rng, cropped = random_stream(0, 0, 1, index), image
        for augmentation in augmentations(TrainConfig(), size_px):
            cropped = augmentation(cropped, rng)
        crops.append(cropped)
    normalised(torch.stack(crops), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    return n_images / (time.perf_counter() - started)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--models", nargs="+", default=list(LISTED), choices=list(MODELS))
    parser.add_argument(
        "--cpu-time",
        action="store_true",
        help="training per second of CPU time, for machines that are not idle",
    )
    asked = parser.parse_args()
    clock = time.process_time if asked.cpu_time else time.perf_counter
    torch.set_num_threads(asked.threads)
    generator = torch.Generator().manual_seed(0)
    shape = (asked.batch, 3, asked.size, asked.size)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    print(
        f"{cpu_name()}, {asked.threads} threads, torch {torch.__version__}, native bfloat16: {native_bfloat16_on_cpu()}"
    )
    print(f"{asked.size} px, batches of {asked.batch}; images per second\n")
    columns = [f"{precision} {layout}" for precision, layout in SETTINGS]
    print("| training | " + " | ".join(columns) + " |\n" + "|---" * (len(columns) + 1) + "|")
    for name in asked.models:
        rates = [
            training_rate(name, p, m, images=images, n_steps=asked.steps, clock=clock) for p, m in SETTINGS
        ]
        print(f"| {name} | " + " | ".join(f"{rate:.1f}" for rate in rates) + " |", flush=True)
    print("\n| inference, float32 | contiguous | channels_last |\n|---|---|---|")
    for name in asked.models:
        rates = [
            inference_rate(name, m, images=images, n_steps=asked.steps)
            for m in ("contiguous", "channels_last")
        ]
        print(f"| {name} | " + " | ".join(f"{rate:.1f}" for rate in rates) + " |", flush=True)
    print("\n| transforms, one thread of Python | images per second |\n|---|---|")
    for source_px, size_px in ((96, 64), (224, asked.size), (512, 224)):
        print(f"| {source_px} px to {size_px} px | {transform_rate(source_px, size_px):.0f} |")


if __name__ == "__main__":
    main()
