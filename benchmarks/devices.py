"""One training in one process and in several, at the same global batch: losses by epoch, and how long it takes.

    python -m benchmarks.devices --devices 2 --models test_cnn,convnext_tiny

Adding in another order moves the last digits of a number, and training carries them on: how far is shown by the same
training in one process with another number of threads, which changes nothing else. Small striped images; weights start
at random. Networks with dropout or stochastic depth draw other numbers on each rank, as on each seed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from medcompare.base.hardware import usable_cores
from medcompare.training.worker.process import run_training
from tests.training.conftest import make_data

if TYPE_CHECKING:
    from medcompare.training.records import EpochLog, TrainedModel

COLUMNS = ("train_loss", "val_loss", "val_auc")


def differences(one: TrainedModel, other: TrainedModel) -> str:
    """Largest relative difference of the losses of all epochs."""
    pairs = zip(one.history, other.history, strict=True)
    found = [
        abs(getattr(a, name) / getattr(b, name) - 1) for a, b in pairs for name in ("train_loss", "val_loss")
    ]
    return f"{max(found):.1e}"


def described(log: EpochLog) -> str:
    """Figures of an epoch."""
    return " ".join(f"{getattr(log, name):>10.6f}" for name in COLUMNS)


def main() -> int:
    """Print a table of epochs for each network."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", default="test_cnn,convnext_tiny")
    parser.add_argument("--devices", type=int, default=2)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch", type=int, default=30)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--size", type=int, default=32, help="side of the images, pixels")
    asked = parser.parse_args()
    threads = max(2, usable_cores() // asked.devices * asked.devices)
    for model in asked.models.split(","):
        found = {}
        for name, n_devices, n_threads in (
            ("one process", 1, threads // asked.devices),
            (f"{asked.devices} processes", asked.devices, threads),
            (f"one process, {threads} threads", 1, threads),
        ):
            with tempfile.TemporaryDirectory() as folder:
                data = make_data(Path(folder), n_images=asked.images)
                request = data.request(
                    model=model,
                    devices=n_devices,
                    device=asked.device,
                    precision="float32",
                    epochs=asked.epochs,
                    patience=asked.epochs,
                    batch_size=asked.batch,
                    image_size_px=asked.size,
                )
                found[name] = run_training(request.model_copy(update={"n_threads": n_threads}))
        one = found["one process"]
        print(
            f"{model} on {one.device}, batches of {asked.batch}, {one.n_images_seen // asked.epochs} images"
        )
        print(f"{'':>7}" + "".join(f"{name:^34}" for name in found))
        print(f"{'epoch':>6} " + "  ".join(" ".join(f"{name:>10}" for name in COLUMNS) for _ in found))
        for logs in zip(*(trained.history for trained in found.values()), strict=True):
            print(f"{logs[0].epoch:>6} " + "  ".join(map(described, logs)))
        for name, trained in found.items():
            speed = sorted(log.images_per_s for log in trained.history)[asked.epochs // 2]
            print(f"{name}: {speed:.0f} images/s; losses differ by {differences(trained, one)} at most")
        print(flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
