"""Time and memory of the search for near-duplicates.

``python benchmarks/copies_search.py [N]``: N thumbnails of noise, of which one in a hundred stands again with its
grey levels changed. Only the search by hash is timed, which looks at all; what it took is in docs/data.md.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy import fft

from medcompare.data.copies import Thumbnails
from medcompare.data.perceptual_hash import SIDE_PX, candidates, turned, upright_turns

if TYPE_CHECKING:
    from numpy.typing import NDArray

PART = 5000
THREADS = 2


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
    """Make, search, and count what was found again."""
    with tempfile.TemporaryDirectory() as folder:
        kept = Thumbnails(Path(folder))
        n_copies = n // 100
        for start in range(0, n - n_copies, PART):
            for picture in pictures(min(PART, n - n_copies - start), start):
                kept.add(picture.tobytes())
        rng = np.random.default_rng(1)
        originals = rng.permutation(n - n_copies)[:n_copies]
        for picture in kept.ordered(originals.tolist()):
            changed = picture * rng.uniform(0.8, 1.1) + rng.normal(0, 4, picture.shape)
            kept.add(np.clip(changed, 0, 255).astype(np.uint8).tobytes())
        upright = kept.ordered(list(range(n)))
        for start in range(0, n, PART):
            part = upright[start : start + PART]
            for i, turn in enumerate(upright_turns(part)):
                part[i] = turned(part[i].copy(), int(turn))
        began, used = time.perf_counter(), time.process_time()
        found = candidates(upright, n_threads=THREADS)
        seconds, used = time.perf_counter() - began, time.process_time() - used
    pairs = {(min(a, b), max(a, b)) for a, b in zip(found.first.tolist(), found.second.tolist(), strict=True)}
    again = sum((int(original), n - n_copies + i) in pairs for i, original in enumerate(originals))
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    print(
        f"{n:,} thumbnails: {seconds:.1f} s on {THREADS} threads ({used:.1f} s of processors), "
        f"{len(pairs):,} candidates, {again:,} of {n_copies:,} "
        f"copies among them, at most {peak_gb:.1f} GB resident with pages of files"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
