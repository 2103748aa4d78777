"""How fast we are: training beside the bare step, a plain script, timm's and Lightning's loops. One command, one table.

    python -m benchmarks.training                                             # on two cores some 45 minutes
    python -m benchmarks.training --parts steps --images 4096 --batch 32      # for a GPU
    python -m benchmarks.training --parts memory                              # 300 epochs each

``steps``: epochs from JPEG files against the same optimiser steps on a resident batch, in turn, for each
network, precision and memory layout, and against timm's and Lightning's loops where they are installed. ``stages``:
what is not training, see `benchmarks.stages`. ``whole``: a comparison from images to PDF against
`benchmarks/plain_script.py` on the same subsets, of so many images that training is most of it, as it is in use.
``memory``: what trainings hold, see `training_memory`.
Ratios are medians of several rounds of one run. On a machine that others use as well, those of processor time say more.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from benchmarks import other_loops, stages, training_memory
from medcompare.base.artifacts import sha256_of_file
from medcompare.base.devices import pick_device, resolve_precision
from medcompare.base.hardware import device_name, keep_freed_memory, usable_cores
from medcompare.config.train import TrainConfig
from medcompare.data.assignments import ImageRow, read_assignments
from medcompare.models.registry import build_model
from medcompare.models.zoo import MODELS
from medcompare.training.augmentation import augmentations
from medcompare.training.dataset import BatchLoader, TrainingImages, loaders_of
from medcompare.training.epoch import seed_epoch, train_one_epoch
from medcompare.training.recipes import FitSettings, optimizer_of
from medcompare.training.scoring import Placement, make_repeatable

if TYPE_CHECKING:
    from medcompare.base.devices import MemoryFormat, Precision

ROOT = Path(__file__).resolve().parents[1]
CLASSES = ("cancer", "other")


class Spent(NamedTuple):
    """Seconds: on the clock, and of all processors by this process and its children that ended."""

    wall: float
    processor: float

    def __sub__(self, before: Spent) -> Spent:
        """Time between two moments."""
        return Spent(self.wall - before.wall, self.processor - before.processor)


def now(device: torch.device | None = None) -> Spent:
    """The time, once `device` has done its work."""
    if device is not None and device.type == "cuda":
        torch.cuda.synchronize(device)
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return Spent(time.perf_counter(), sum(one.ru_utime + one.ru_stime for one in used))


def write_image(place: tuple[Path, int, int]) -> None:
    """A JPEG of smooth noise; those of the first class hold a brighter disc."""
    path, number, side = place
    rng = np.random.default_rng(number)
    coarse = rng.integers(60, 180, (side // 16, side // 16, 3), dtype=np.uint8)
    pixels = np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC), np.float64)
    pixels += rng.normal(0, 8, pixels.shape)
    if path.parent.name == CLASSES[0]:
        y, x = np.mgrid[:side, :side] - rng.integers(side // 4, 3 * side // 4, (2, 1, 1))
        pixels[np.hypot(x, y) < side / 8] += 25
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=90)


def make_images(folder: Path, n_images: int, side: int) -> Path:
    """`n_images` JPEG files in two folders."""
    for name in CLASSES:
        (folder / name).mkdir(parents=True, exist_ok=True)
    places = [(folder / CLASSES[n % 2] / f"{n:06d}.jpg", n, side) for n in range(n_images)]
    with ProcessPoolExecutor(min(16, usable_cores())) as pool:
        list(pool.map(write_image, places, chunksize=16))
    return folder


def rows_of_folder(folder: Path) -> list[ImageRow]:
    """Every image of `folder` as one of the training subset."""
    return [
        ImageRow(
            case_id=path.stem,
            path=str(path.relative_to(folder)),
            label=CLASSES.index(path.parent.name),
            patient_id="",
            sha256=sha256_of_file(path),
            subset="train",
            extra=(),
        )
        for path in sorted(folder.rglob("*.jpg"))
    ]


def settings_on(device: torch.device) -> list[tuple[Precision, MemoryFormat]]:
    """Precisions and layouts to measure."""
    found: list[tuple[Precision, MemoryFormat]] = [("float32", "channels_last")]
    if device.type != "cpu":
        found = [("float32", "contiguous")]
    if resolve_precision("same", device)[0] == "bfloat16":
        found += [("bfloat16", "contiguous"), ("bfloat16", "channels_last")]
    return found


def bare_steps(
    network: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    inputs: torch.Tensor,
    settings: FitSettings,
    n: int,
) -> None:
    """`n` optimiser steps on one batch that is on the device already."""
    device = settings.placement.device
    labels = (torch.arange(len(inputs)) % 2).to(device)
    weights = torch.ones(2, device=device)
    network.train()
    for _ in range(n):
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=settings.precision == "bfloat16"):
            logits = network(inputs)
        loss = functional.cross_entropy(logits.float(), labels, weight=weights)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()


def step_rows(asked: argparse.Namespace, folder: Path, model: str) -> list[tuple[str, ...]]:
    """Lines of the table for one network."""
    device = pick_device(asked.device)
    make_repeatable(device)
    keep_freed_memory()  # as every training does
    spec, rows = MODELS[model], rows_of_folder(folder)
    train = TrainConfig(image_size_px=asked.size, batch_size=asked.batch, epochs=1)
    found = []
    for precision, layout in settings_on(device):
        if f"{precision}-{layout}" not in (asked.only or f"{precision}-{layout}"):
            continue
        placement = Placement(device=device, memory_format=layout)
        settings = FitSettings(
            spec=spec,
            recipe=spec.recipe,
            epochs=1,
            patience=1,
            class_weights=(1.0, 1.0),
            seed=0,
            placement=placement,
            precision=precision,
            options=train,
        )
        images = TrainingImages(
            rows,
            folder,
            size_px=asked.size,
            crop_scale_min=train.crop_scale_min,
            augmentations=augmentations(train, asked.size),
            seed=0,
        )
        network = placement.network(build_model(spec, seed=0))
        optimizer = optimizer_of(network, spec.recipe)
        noise = torch.randint(0, 256, (asked.batch, 3, asked.size, asked.size), dtype=torch.uint8)
        resident = placement.inputs(noise, spec)
        with tempfile.TemporaryDirectory() as store:
            [loader] = loaders_of([images], train, device, store=Path(store), batch_size=asked.batch)
            begun = now(device)
            bare_steps(network, optimizer, resident, settings, 1)
            first = (now(device) - begun).wall

            def epoch(
                number: int,
                network: torch.nn.Module = network,
                optimizer: torch.optim.Optimizer = optimizer,
                settings: FitSettings = settings,
                loader: BatchLoader = loader,
            ) -> Spent:
                seed_epoch(0, number)
                begun = now(device)
                batches = loader.shuffled(seed=0, epoch=number)
                train_one_epoch(network, optimizer, batches, settings, epoch=number, n_steps=loader.n_steps)
                return now(device) - begun

            cold = epoch(1)
            pairs = []
            for number in range(2, 2 + asked.rounds):
                begun = now(device)
                bare_steps(network, optimizer, resident, settings, len(rows) // asked.batch)
                pairs.append((now(device) - begun, epoch(number)))
        n_bare = len(rows) // asked.batch * asked.batch
        bare = [n_bare / one.wall for one, _ in pairs]
        real = [len(rows) / one.wall for _, one in pairs]
        shares = [r / b for r, b in zip(real, bare, strict=True)]
        by_processor = [(one.processor / n_bare) / (other.processor / len(rows)) for one, other in pairs]
        others = other_loops.rates(
            spec, folder, asked.size, asked.batch, settings, rounds=asked.rounds, which=asked.loops
        )
        found.append(
            (
                model,
                f"{precision} {layout}",
                f"{statistics.median(bare):.1f}",
                f"{statistics.median(real):.1f}",
                f"{statistics.median(shares):.1%}",
                f"{statistics.median(by_processor):.1%}" if device.type == "cpu" else "",
                f"{len(rows) / cold.wall:.1f}",
                f"{first:.1f}",
                *(
                    f"{rate:.1f} ({rate / statistics.median(real):.2f})" if rate else "not measured"
                    for rate in others
                ),
            )
        )
        print("| " + " | ".join(found[-1]) + " |", flush=True)
    return found


STEP_COLUMNS = (
    "network",
    "precision, layout",
    "bare step, images/s",
    "from files, images/s",
    "share",
    "share by processor time",
    "first epoch, decoding, images/s",
    "first step, s",
    "timm's loop, images/s (of ours)",
    "Lightning's loop, images/s (of ours)",
)


def run(command: list[str], **environment: str) -> tuple[Spent, str]:
    """Time that `command` takes, with its children, and what it printed."""
    begun = now()
    done = subprocess.run(  # noqa: S603 - our own scripts
        [sys.executable, *command],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return now() - begun, done.stdout


def whole(asked: argparse.Namespace, images: Path, folder: Path, seed: int) -> dict[str, Any]:
    """One comparison of ours and the plain script on its subsets."""
    out, store = folder / "runs", folder / "store"
    options = {
        "train.image_size_px": asked.size,
        "train.epochs": asked.epochs,
        "train.patience": asked.epochs,
        "train.batch_size": asked.batch,
        "train.initial_weights": "none",
        "train.device": asked.device,
        "train.recipes.resnet50.learning_rate": 1e-3,
    }
    command = [
        "-m",
        "flows.compare",
        "--data",
        str(images),
        "--models",
        ",".join(asked.models),
        "--seeds",
        "1",
    ]
    command += ["--seed", str(seed), "--out", str(out), "--store", str(store), "--name", "ours"]
    command += [part for name, value in options.items() for part in ("--set", f"{name}={value}")]
    ours, _ = run(command)
    results = json.loads((out / "ours" / "results.json").read_text(encoding="utf-8"))
    trained = results["trained"]
    subsets = folder / "subsets"
    for row in read_assignments((store / results["split"]["assignments"]["path"]).read_bytes()):
        target = subsets / row.subset / str(row.label) / row.path.replace("/", "-")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(images / row.path)
    script = ["benchmarks/plain_script.py", str(subsets), "--epochs", str(asked.epochs), "--seed", str(seed)]
    script += ["--size", str(asked.size), "--batch", str(asked.batch), "--models", *asked.models]
    script += ["--num-workers", str(asked.plain_workers)]
    plain, printed = run(script)
    of_plain = json.loads(printed.splitlines()[-1])
    # Side by side: from the first start to the last end is at most the longest training and its start.
    training = [one["elapsed_s"] for one in trained]
    parallel = max(one["n_parallel"] for one in trained)
    ours_training = max(training) if parallel > 1 else sum(training)
    plain_training = sum(one["training_s"] for one in of_plain.values())
    return {
        "training": (ours_training, plain_training, ours_training / plain_training),
        "whole": (ours.wall, plain.wall, ours.wall / plain.wall),
        "whole, processor time": (ours.processor, plain.processor, ours.processor / plain.processor),
        "auc": {
            **{
                f"{one['models'][0]}, ours": one["value"]
                for one in results["quantities"]
                if one["quantity"] == "auc" and len(one["models"]) == 1 and one["subset"] == "test"
            },
            **{f"{name}, plain": one["auc"] for name, one in of_plain.items()},
        },
        "precision": {one["model"]: f"{one['precision']} {one['memory_format']}" for one in trained},
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--parts",
        nargs="+",
        default=["steps", "stages", "whole"],
        choices=("steps", "stages", "whole", "memory"),
    )
    parser.add_argument("--models", nargs="+", default=["resnet50", "efficientnet_b0"], choices=list(MODELS))
    parser.add_argument("--images", type=int, default=160, help="JPEG files (default 160)")
    parser.add_argument(
        "--whole-images", type=int, default=2000, help="of the whole comparison (default 2000)"
    )
    parser.add_argument("--whole-rounds", type=int, default=1, help="of the whole comparison (default 1)")
    parser.add_argument("--side", type=int, default=512, help="their side, pixels (default 512)")
    parser.add_argument("--size", type=int, default=224, help="what the networks see, pixels (default 224)")
    parser.add_argument("--batch", type=int, default=16, help="images of a batch (default 16)")
    parser.add_argument("--epochs", type=int, default=5, help="of the whole comparison (default 5)")
    parser.add_argument(
        "--memory-epochs", type=int, default=300, help="of each training of the part memory (default 300)"
    )
    parser.add_argument(
        "--memory-trainings", type=int, default=6, help="with and without loading processes (default 6)"
    )
    parser.add_argument("--memory-model", default="test_cnn", help="network (default: that of the tests)")
    parser.add_argument("--rounds", type=int, default=3, help="of which the median is printed (default 3)")
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument(
        "--loops", nargs="*", default=["timm", "lightning"], help="other loops to measure (default: both)"
    )
    parser.add_argument("--only", nargs="+", metavar="PRECISION-LAYOUT", help="such as bfloat16-contiguous")
    parser.add_argument("--plain-workers", type=int, default=0, help="loading processes of the plain script")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(
        f"{device_name(pick_device(asked.device))}, {asked.threads} threads of {usable_cores()} cores, torch "
        f"{torch.__version__}, Python {platform.python_version()}, load {load}; {asked.images} JPEG files of "
        f"{asked.side} px, {asked.size} px, batches of {asked.batch}\n"
    )
    with tempfile.TemporaryDirectory(prefix="training-benchmark-") as place:
        if "memory" in asked.parts:
            training_memory.measure(
                asked.memory_model, asked.memory_epochs, asked.memory_trainings, folder=Path(place)
            )
        if asked.parts == ["memory"]:
            return
        images = make_images(Path(place) / "images", asked.images, asked.side)
        if "steps" in asked.parts:
            print("| " + " | ".join(STEP_COLUMNS) + " |\n" + "|---" * len(STEP_COLUMNS) + "|", flush=True)
            for model in asked.models:
                step_rows(asked, images, model)
        if "stages" in asked.parts:
            stages.measure(
                images,
                rows_of_folder(images),
                pick_device(asked.device),
                models=asked.models,
                size=asked.size,
                batch=asked.batch,
                rounds=asked.rounds,
            )
        if "whole" in asked.parts:
            many = make_images(Path(place) / "many", asked.whole_images, asked.side)
            rounds = [
                whole(asked, many, Path(place) / f"round-{number}", number)
                for number in range(asked.whole_rounds)
            ]
            print(f"\n{asked.whole_images} images, {asked.epochs} epochs | ours, s | plain script, s | ratio")
            print("---|---:|---:|---:")
            for what in ("training", "whole", "whole, processor time"):
                cells = [statistics.median(one[what][column] for one in rounds) for column in range(3)]
                print(f"{what} | {cells[0]:.1f} | {cells[1]:.1f} | {cells[2]:.2f}")
            for name in rounds[0]["auc"]:
                found = [one["auc"].get(name) for one in rounds]
                values = ", ".join("none" if one is None else f"{one:.3f}" for one in found)
                print(f"AUC of {name}: {values}")
            print(f"precision and layout: {rounds[0]['precision']}")


if __name__ == "__main__":
    main()
