"""How fast ``medcompare predict`` is beside the bare loop, and how its memory grows.

``python benchmarks/predict.py EXPORT IMAGE --n 500``: copies of IMAGE are scored by the command's own function and by
a loop that decodes, crops and runs the graph, in turns. Wall time and processor time are printed, for machines that are
not alone; ``--memory 20000`` scores so many more, after a tenth of them, and prints the peak memory after each.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medcompare.config.predict import PredictConfig
from medcompare.handover.images import load_image
from medcompare.handover.networks import load_network
from medcompare.handover.predict import predict
from medcompare.handover.records import read_export

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 5
BATCH_SIZE = 32


def copies(image: Path, n: int, folder: Path) -> list[Path]:
    """Links to `image`, as many files as are asked for."""
    folder.mkdir()
    paths = [folder / f"{k:06d}{image.suffix}" for k in range(n)]
    for path in paths:
        os.link(image, path)
    return paths


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor time of `work`, seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("export", type=Path)
    parser.add_argument("image", type=Path)
    parser.add_argument("--n", type=int, default=500)
    parser.add_argument("--memory", type=int, default=0)
    given = parser.parse_args()
    export = read_export(given.export)
    network = load_network(given.export, export)
    with tempfile.TemporaryDirectory(dir=given.image.parent) as root:
        folder, out = Path(root), Path(root) / "scores.csv"
        paths = copies(given.image, given.n, folder / "few")

        def command(place: Path) -> None:
            predict(
                PredictConfig.model_validate(
                    {
                        "export": given.export,
                        "data": {"source": str(place)},
                        "scores": out,
                        "batch_size": BATCH_SIZE,
                    }
                )
            )
            out.unlink()

        def bare() -> None:
            for start in range(0, len(paths), BATCH_SIZE):
                crops = [
                    load_image(path, export.preprocessing).crop for path in paths[start : start + BATCH_SIZE]
                ]
                network(np.stack([crop for crop in crops if crop is not None]))

        times: dict[str, list[tuple[float, float]]] = {"bare loop": [], "predict": []}
        for _ in range(ROUNDS):
            times["bare loop"].append(timed(bare))
            times["predict"].append(timed(lambda: command(folder / "few")))
        for name, found in times.items():
            wall, cpu = (statistics.median(values) for values in zip(*found, strict=True))
            print(
                f"{name}: {given.n / wall:.0f} images/s, {1000 * cpu / given.n:.2f} ms of processor time per image"
            )
        for n in (given.memory // 10, given.memory) if given.memory else ():
            copies(given.image, n, folder / str(n))
            command(folder / str(n))
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"{n} images: {peak:.0f} MiB at most")


if __name__ == "__main__":
    main()
