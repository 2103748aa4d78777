"""Training loops of timm and Lightning on the same files, for `benchmarks.training`.

timm: its loader (`create_loader`, with its transforms and prefetcher) and the loop of its training script, written
out. Lightning: a module and its `Trainer` on torchvision's `ImageFolder`. Both in the precision and layout of ours.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import statistics
import time
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.nn import functional
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from medcompare.base.hardware import usable_cores
from medcompare.models.registry import build_model
from medcompare.training.recipes import optimizer_of
from medcompare.training.scoring import MEMORY_FORMATS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from medcompare.models.spec import ModelSpec
    from medcompare.training.recipes import FitSettings

CROP_SCALE = (0.08, 1.0)


class Files(NamedTuple):
    """What is trained on."""

    folder: Path
    size: int
    batch: int


def rates(
    spec: ModelSpec,
    folder: Path,
    size: int,
    batch: int,
    settings: FitSettings,
    *,
    rounds: int,
    which: Sequence[str],
) -> tuple[float | None, float | None]:
    """Images per second of timm's and Lightning's loop, median of the epochs after the first; None: not measured."""
    loops = {"timm": ("timm", timm_rate), "lightning": ("lightning", lightning_rate)}
    found = [
        loop(spec, Files(folder, size, batch), settings, rounds)
        if name in which and importlib.util.find_spec(library)
        else None
        for name, (library, loop) in loops.items()
    ]
    return found[0], found[1]


def _workers(settings: FitSettings) -> int:
    """On a GPU all cores; on a processor none, as it trains."""
    return 0 if settings.placement.device.type == "cpu" else min(16, usable_cores())


def timm_rate(spec: ModelSpec, files: Files, settings: FitSettings, rounds: int) -> float:
    """As timm's ``train.py`` with ``--amp --amp-dtype bfloat16 --channels-last``, or without."""
    data: Any = importlib.import_module("timm.data")
    folder, size, batch = files
    device = settings.placement.device
    layout = MEMORY_FORMATS[settings.placement.memory_format]
    dataset = data.ImageDataset(str(folder))
    loader = data.create_loader(
        dataset,
        input_size=(3, size, size),
        batch_size=batch,
        is_training=True,
        use_prefetcher=device.type == "cuda",
        scale=CROP_SCALE,
        hflip=0.5,
        color_jitter=None,
        interpolation="bilinear",
        mean=spec.mean,
        std=spec.std,
        num_workers=_workers(settings),
        pin_memory=True,
        device=device,
        persistent_workers=_workers(settings) > 0,
    )
    network = settings.placement.network(build_model(spec, seed=0)).train()
    optimizer = optimizer_of(network, spec.recipe)
    times = []
    for _ in range(1 + rounds):
        begun, n_images = time.perf_counter(), 0
        for images, labels in loader:
            inputs = images.to(device).contiguous(memory_format=layout)
            targets = labels.to(device)
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=settings.precision == "bfloat16"):
                loss = functional.cross_entropy(network(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            n_images += len(targets)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append((time.perf_counter() - begun) / n_images)
    return 1 / statistics.median(times[1:])


def lightning_rate(spec: ModelSpec, files: Files, settings: FitSettings, rounds: int) -> float:
    """As its documentation begins: a module, a loader, a trainer without logger and progress bar."""
    pl: Any = importlib.import_module("lightning.pytorch")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning.*")
    folder, size, batch = files
    device = settings.placement.device
    layout = MEMORY_FORMATS[settings.placement.memory_format]
    steps = [
        transforms.RandomResizedCrop(size, CROP_SCALE),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize(spec.mean, spec.std),
    ]
    n_workers = _workers(settings)
    images = datasets.ImageFolder(str(folder), transforms.Compose(steps))
    loader = DataLoader(
        images,
        batch_size=batch,
        shuffle=True,
        num_workers=n_workers,
        persistent_workers=n_workers > 0,
        pin_memory=device.type == "cuda",
    )
    times: list[float] = []

    class Module(pl.LightningModule):  # type: ignore[misc]
        """One network and its loss."""

        def __init__(self) -> None:
            super().__init__()
            self.network = build_model(spec, seed=0).to(memory_format=layout)

        def training_step(self, found: Any, _: int) -> Any:  # noqa: ANN401 - Lightning's signature
            """Loss of a batch."""
            images, labels = found
            return functional.cross_entropy(self.network(images.contiguous(memory_format=layout)), labels)

        def configure_optimizers(self) -> Any:  # noqa: ANN401 - Lightning's signature
            """Ours."""
            return optimizer_of(self.network, spec.recipe)

        def on_train_epoch_start(self) -> None:
            """Start the clock."""
            times.append(-time.perf_counter())

        def on_train_epoch_end(self) -> None:
            """Stop it."""
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            times[-1] += time.perf_counter()

    trainer = pl.Trainer(
        max_epochs=1 + rounds,
        accelerator="gpu" if device.type == "cuda" else "cpu",
        devices=1,
        precision="bf16-mixed" if settings.precision == "bfloat16" else "32-true",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        barebones=False,
    )
    trainer.fit(Module(), loader)
    return len(images) / statistics.median(times[1:])
