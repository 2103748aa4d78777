"""How fast ``medcompare predict`` is beside the bare loop, and whether its memory grows with the number of images.

``python benchmarks/predict.py EXPORT IMAGE --n 500``: copies of IMAGE are scored by the command's own function and by
a loop that decodes, crops and runs the graph, in turns. Wall time and processor time are printed, for machines that are
not alone.

``python benchmarks/predict.py EXPORT --many 100000``: so many different small images, one in a thousand of them
damaged, are scored by the command. Once without interruption, with the memory of all its processes every tenth; once
killed half-way and called again, which has to give the same bytes.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil
from PIL import Image

from medcompare.base.artifacts import sha256_of_file
from medcompare.config.predict import PredictConfig
from medcompare.handover.images import load_image
from medcompare.handover.networks import load_network
from medcompare.handover.predict import predict
from medcompare.handover.records import read_export

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 5
BATCH_SIZE = 32
SIDE_PX = 64
DAMAGED_EVERY = 1000
PER_FOLDER = 5000


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor time of `work`, seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def speed(place: Path, image: Path, n: int, root: Path) -> None:
    """Print the images per second of the command's function and of the bare loop."""
    export = read_export(place)
    network = load_network(place, export)
    folder, out = root / "copies", root / "scores.csv"
    folder.mkdir()
    paths = [folder / f"{k:06d}{image.suffix}" for k in range(n)]
    for path in paths:
        os.link(image, path)

    def command() -> None:
        values = {"export": place, "data": {"source": str(folder)}, "scores": out, "batch_size": BATCH_SIZE}
        predict(PredictConfig.model_validate(values))
        out.unlink()

    def bare() -> None:
        for start in range(0, n, BATCH_SIZE):
            crops = [
                load_image(path, export.preprocessing).crop for path in paths[start : start + BATCH_SIZE]
            ]
            network(np.stack([crop for crop in crops if crop is not None]))

    times: dict[str, list[tuple[float, float]]] = {"bare loop": [], "predict": []}
    for _ in range(ROUNDS):
        times["bare loop"].append(timed(bare))
        times["predict"].append(timed(command))
    for name, found in times.items():
        wall, cpu = (statistics.median(values) for values in zip(*found, strict=True))
        print(f"{name}: {n / wall:.0f} images/s, {1000 * cpu / n:.2f} ms of processor time per image")


def draw(folder: Path, n: int) -> None:
    """`n` different JPEG images; every thousandth is cut off."""
    rng = np.random.default_rng(0)
    for k in range(n):
        path = folder / f"{k // PER_FOLDER:03d}" / f"{k:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        coarse.resize((SIDE_PX, SIDE_PX)).save(path)
        if k % DAMAGED_EVERY == DAMAGED_EVERY // 2:
            os.truncate(path, path.stat().st_size // 2)


def rows_written(out: Path) -> int:
    """Rows that a call has kept so far."""
    with contextlib.suppress(OSError), out.with_name(f".{out.name}.partial").open("rb") as file:
        return max(0, sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b"")) - 2)
    return 0


def memory_mib(process: psutil.Process) -> float:
    """Resident memory of a process and all it started."""
    total = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        for one in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                total += one.memory_info().rss
    return total / 2**20


def called(place: Path, images: Path, out: Path, n: int, *, kill_at: int | None = None) -> int:
    """Run the command and print its memory every tenth of the images; the exit status."""
    call = [
        sys.executable,
        "-m",
        "medcompare",
        "predict",
        str(place),
        "--data",
        str(images),
        "--out",
        str(out),
    ]
    started, peak, told = time.perf_counter(), 0.0, rows_written(out)
    with (
        (out.with_suffix(".log")).open("w") as log,
        subprocess.Popen(call, stdout=log, stderr=log) as running,  # noqa: S603 - our own
    ):
        process = psutil.Process(running.pid)
        while running.poll() is None:
            now, done = memory_mib(process), rows_written(out)
            peak = max(peak, now)
            if done >= told + n // 10:
                told = done // (n // 10) * (n // 10)
                print(
                    f"  {done} images after {time.perf_counter() - started:.0f} s: {now:.0f} MiB", flush=True
                )
            if kill_at is not None and done >= kill_at:
                running.send_signal(signal.SIGKILL)
                kill_at = None
            time.sleep(0.25)
    print(
        f"  ended with {running.returncode} after {time.perf_counter() - started:.0f} s; at most {peak:.0f} MiB"
    )
    print("  " + out.with_suffix(".log").read_text().strip().replace("\n", "\n  "))
    return running.returncode


def many(place: Path, n: int, root: Path) -> None:
    """Score `n` different images without and with an interruption, and print what it took."""
    started = time.perf_counter()
    draw(root / "images", n)
    print(f"{n} images made in {time.perf_counter() - started:.0f} s")
    tables = root / "whole.csv", root / "resumed.csv"
    print("without interruption")
    called(place, root / "images", tables[0], n)
    print("killed half-way")
    called(place, root / "images", tables[1], n, kill_at=n // 2)
    print("called again")
    called(place, root / "images", tables[1], n)
    same = sha256_of_file(tables[0]) == sha256_of_file(tables[1])
    with tables[0].open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    unread = [row for row in rows if row["not_scored"]]
    why = f": {unread[0]['not_scored']}" if unread else ""
    print(f"the same bytes: {same}; {len(rows)} rows, {len(unread)} not scored{why}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("export", type=Path)
    parser.add_argument("image", type=Path, nargs="?")
    parser.add_argument("--n", type=int, default=500)
    parser.add_argument("--many", type=int, default=0)
    given = parser.parse_args()
    near = given.image.parent if given.image else Path.cwd()
    with tempfile.TemporaryDirectory(dir=near) as root:
        if given.image:
            speed(given.export, given.image, given.n, Path(root))
        if given.many:
            many(given.export.absolute(), given.many, Path(root))


if __name__ == "__main__":
    main()
