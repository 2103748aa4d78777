"""Time and memory of taking in very many images, night after night.

``python benchmarks/ingest.py [N] [--compare MINUTES] [--folder FOLDER]``: N small image files, no two alike, are made
(or used again, where they lie in FOLDER) and taken in by a process of its own whose memory, with that of its own
processes, is sampled. Then the next night, a night with ten new images, and a night after a kill. Near-duplicates are
left out but for a last run of at most MINUTES, as comparing takes long; what it took is in docs/data.md.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

SIDE = 32
SAMPLE_S = 0.5
HEADER = (
    b"BM" + (54 + 3 * SIDE**2).to_bytes(4, "little") + bytes(4) + b"\x36\0\0\0\x28\0\0\0"
    + SIDE.to_bytes(4, "little") * 2 + b"\1\0\30\0" + bytes(24)
)  # fmt: skip
"""Of a bitmap of 24 bits, whose rows are written as they are: encoding images is not what is measured."""

NIGHT = """
import sys, time
from pathlib import Path
from medcompare.base.artifacts import ArtifactStore
from medcompare.config.data import DataConfig
from medcompare.data.fingerprint import fingerprint
from medcompare.data.manifest import ingest
from medcompare.data.sources.resolve import resolve_source
place, store, near = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "near"
data = DataConfig(source=str(place), positive=["b"], near_duplicates=near)
began = time.perf_counter()
def done(what):
    global began
    print(f"    {what}: {time.perf_counter() - began:.0f} s", flush=True)
    began = time.perf_counter()
def tell(n, of):
    if n % 100_000 == 0:
        print(f"    {n:,} of {of:,} after {time.perf_counter() - began:.0f} s", flush=True)
source = resolve_source(data, demo_root=place)
done("listed")
fingerprint(source, data, store=store, progress=tell)
done("read, digested, measured")
found = ingest(source, data, ArtifactStore(store), comparing=tell)
done(f"{found.n_images:,} images judged and written")
"""


def make(folder: Path, numbers: range) -> None:
    """Noise of two sizes of grain, so that each has contrast; a thousand to a folder, old enough to be trusted."""
    for start in range(numbers.start, numbers.stop, 1000):
        n = min(1000, numbers.stop - start)
        rng = np.random.default_rng(start)
        coarse = rng.integers(0, 200, (n, SIDE // 8, SIDE // 8, 3), dtype=np.uint8).repeat(8, 1).repeat(8, 2)
        pixels = coarse + rng.integers(0, 56, coarse.shape, dtype=np.uint8)
        here = folder / "ab"[start // 1000 % 2] / f"{start // 1000}"
        here.mkdir(parents=True, exist_ok=True)
        for i in range(n):
            (here / f"{start + i}.bmp").write_bytes(HEADER + pixels[i].tobytes())


def night(folder: Path, store: Path, what: str, *, near: bool = False, seconds: float | None = None) -> None:
    """One run in a process of its own, killed after `seconds`; its time and highest memory."""
    print(f"{what}:", flush=True)
    began, peak = time.perf_counter(), [0, 0]
    run = subprocess.Popen(  # noqa: S603 - the text above
        [sys.executable, "-c", NIGHT, str(folder), str(store), "near" if near else "exact"]
    )
    process = psutil.Process(run.pid)
    while run.poll() is None:
        used = [0, 0]
        with contextlib.suppress(psutil.Error):
            for one in (process, *process.children(recursive=True)):
                memory = one.memory_info()
                used = [used[0] + memory.rss, used[1] + memory.rss - memory.shared]
        peak = [max(pair) for pair in zip(peak, used, strict=True)]
        if seconds is not None and time.perf_counter() - began > seconds:
            os.kill(run.pid, signal.SIGKILL)
            print("    killed", flush=True)
            run.wait()
        time.sleep(SAMPLE_S)
    size = sum(path.stat().st_size for path in (store / "measured").glob("*.sqlite"))
    print(
        f"  {time.perf_counter() - began:.0f} s; at most {peak[0] / 1e9:.2f} GB resident, {peak[1] / 1e9:.2f} GB of it "
        f"not shared or of files; {size / 1e9:.2f} GB kept",
        flush=True,
    )


def main() -> None:
    """Make the images, then one night after another."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("n", type=int, nargs="?", default=1_000_000)
    parser.add_argument("--compare", type=float, default=0, metavar="MINUTES")
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as made:
        folder, store = (given.folder or Path(made)) / "images", Path(made) / "store"
        if not folder.is_dir():
            began = time.perf_counter()
            make(folder, range(given.n))
            print(
                f"{given.n:,} files of {len(HEADER) + 3 * SIDE**2:,} bytes made in {time.perf_counter() - began:.0f} s"
            )
            time.sleep(3)  # what was written this moment is read again the next night
        night(folder, store, "first night, killed in the middle", seconds=given.n / 4000)
        night(folder, store, "first night, again")
        night(folder, store, "unchanged")
        make(folder / "more", range(10**9, 10**9 + 10))
        time.sleep(3)
        night(folder, store, "ten new images")
        if given.compare:
            night(folder, store, "near-duplicates as well", near=True, seconds=60 * given.compare)


if __name__ == "__main__":
    main()
