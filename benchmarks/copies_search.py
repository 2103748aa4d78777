"""Time and memory of the search for near-duplicates.

``python benchmarks/copies_search.py [N]``: N thumbnails of noise, of which one in a hundred stands again with its
grey levels changed. Hashes are made, then searched, which looks at all; of the candidates `SAMPLE` are compared, in as
many processes as cores. What it took is in docs/data.md.
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from scipy import fft

from medcompare.base.hardware import usable_cores
from medcompare.data.perceptual_hash import HASHED, SIDE_PX, candidates, hashed, turned
from medcompare.data.phase_correlation import SAME, agreements
from medcompare.data.workers import Workers

if TYPE_CHECKING:
    from numpy.typing import NDArray

PART = 2000
SAMPLE = 40_000
AT_ONCE = 500


def pictures(n: int, seed: int) -> NDArray[np.uint8]:
    """Thumbnails whose frequencies fall off as in photographs, as 1 / f (Field 1987)."""
    rng = np.random.default_rng(seed)
    f = np.hypot(fft.fftfreq(SIDE_PX)[:, None], fft.rfftfreq(SIDE_PX)) + 1 / SIDE_PX
    noise = rng.normal(size=(n, SIDE_PX, SIDE_PX)).astype(np.float32)
    grey = fft.irfft2(fft.rfft2(noise) / f, s=(SIDE_PX, SIDE_PX))
    grey *= 40 / grey.std(axis=(1, 2), keepdims=True)
    levels: NDArray[np.uint8] = np.clip(grey + 128, 0, 255).astype(np.uint8)
    return levels


def main(n: int) -> None:
    """Make, hash, search, and count what was found again; compare some."""
    n_threads, n_copies, rng = usable_cores(), n // 100, np.random.default_rng(1)
    n_originals = n - n_copies
    copied = rng.permutation(n_originals)[:n_copies]
    hashes, seconds = np.zeros(n, HASHED), 0.0
    with tempfile.TemporaryFile() as file:
        for start in range(0, n_originals, PART):
            part = pictures(min(PART, n_originals - start), start)
            seconds += _hash(part, hashes, start)
            file.write(part.tobytes())
        for start in range(n_originals, n, PART):
            file.flush()
            part = _read(file, copied[start - n_originals : start - n_originals + PART])
            changed = part * rng.uniform(0.8, 1.1, (len(part), 1, 1)) + rng.normal(0, 4, part.shape)
            part = np.clip(changed, 0, 255).astype(np.uint8)
            seconds += _hash(part, hashes, start)
            file.write(part.tobytes())
        file.flush()
        print(f"{n:,} thumbnails hashed in {seconds:.0f} s of one core")
        began, used = time.perf_counter(), time.process_time()
        found = candidates(hashes, n_threads=n_threads)
        seconds, used = time.perf_counter() - began, time.process_time() - used
        pairs = np.unique(np.sort(np.stack([found.first, found.second]), axis=0), axis=1)
        wanted = np.sort(np.stack([copied, n_originals + np.arange(n_copies)]), axis=0)
        n_again = int(np.isin(wanted[0] * n + wanted[1], pairs[0].astype(np.int64) * n + pairs[1]).sum())
        print(
            f"searched in {seconds:.1f} s on {n_threads} threads ({used:.1f} s of processors): {pairs.shape[1]:,} "
            f"candidates, {n_again:,} of {n_copies:,} copies among them; at most {_peak_gb():.2f} GB resident"
        )
        # Runs of pairs, not single ones: those of one picture stand side by side.
        starts = rng.permutation(range(0, max(len(found.first) - AT_ONCE, 1), AT_ONCE))[: SAMPLE // AT_ONCE]

        def some(start: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
            part = slice(start, start + AT_ONCE)
            first, second = (_read(file, which[part]) for which in (found.first, found.second))
            for turn in range(8):
                lying = found.turn[part] == turn
                second[lying] = turned(second[lying], turn)
            return first, second

        with Workers(n_threads) as workers:
            list(workers.map(agreements, [some(0)] * n_threads))  # started
            began = time.perf_counter()
            agreed = np.concatenate(list(workers.map(agreements, (some(start) for start in starts.tolist()))))
            seconds = time.perf_counter() - began
    print(
        f"{len(agreed):,} candidates compared in {seconds:.1f} s in {n_threads} processes, {(agreed >= SAME).sum():,} "
        f"show the same: {1e6 * seconds / len(agreed):.0f} s for each million"
    )


def _hash(part: NDArray[np.uint8], into: NDArray[np.void], start: int) -> float:
    began = time.process_time()
    into[start : start + len(part)] = hashed(part)
    return time.process_time() - began


def _read(file: IO[bytes], which: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
    size = SIDE_PX**2
    content = b"".join(os.pread(file.fileno(), size, size * int(i)) for i in which)
    return np.frombuffer(content, np.uint8).reshape(-1, SIDE_PX, SIDE_PX).copy()


def _peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
