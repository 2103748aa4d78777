"""Images per second and core, beside CleanVision on the same images.

``python benchmarks/cleanvision_speed.py FOLDER --cleanvision PYTHON``: FOLDER holds folders of classes; PYTHON is the
interpreter of an environment with ``pip install cleanvision``, kept apart as it is no dependency of ours. Ours is timed
twice: all that `ingest` does, and the checks alone that both have. One process each, with one thread for numerics, in
turn three times; the best counts.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import medcompare

THEIRS = """
import json, logging, resource, sys, time
from cleanvision import Imagelab
logging.disable()
began = time.perf_counter()
lab = Imagelab(data_path=sys.argv[1], verbose=False)
types = ("exact_duplicates", "near_duplicates", "dark", "light", "blurry", "low_information", "odd_aspect_ratio")
lab.find_issues(dict.fromkeys(types, {}), n_jobs=1, verbose=False)
wall = time.perf_counter() - began
n = len(lab.issues)
"""
OURS = """
import json, resource, sys, tempfile, time
from pathlib import Path
from medcompare.base.artifacts import ArtifactStore
from medcompare.config.data import DataConfig
from medcompare.data.manifest import ingest
from medcompare.data.sources.resolve import resolve_source
place = Path(sys.argv[1])
data = DataConfig(source=str(place), positive=[sys.argv[2]], max_rejected_fraction=1)
began = time.perf_counter()
with tempfile.TemporaryDirectory() as store:
    n = ingest(resolve_source(data, demo_root=place), data, ArtifactStore(Path(store)), n_workers=0).n_found
wall = time.perf_counter() - began
"""
SHARED = """
import json, resource, sys, time
from functools import partial
from pathlib import Path
import numpy as np
from medcompare.data.copies import near_duplicates
from medcompare.data.measured import Measured
from medcompare.data.quality import quality_phrases
from medcompare.data.validation import measure_file, measure_image
began = time.perf_counter()
kept, pixel_of, unreadable = Measured(None), {}, []
measure = partial(measure_image, small=False)
paths = sorted(path for path in Path(sys.argv[1]).rglob("*") if path.is_file())
for path in paths:
    one = measure_file(path, max_bytes=10**9, measure=measure)
    if one.reason is not None:
        unreadable.append(path)
        continue
    quality_phrases(one.quality, one.width_px, one.height_px)
    kept.add(one.sha256, one, b"", None)
    pixel_of[one.pixel_sha256] = one.sha256
kept.flush()
pixels = sorted(pixel_of)
number = kept.numbers([pixel_of[one] for one in pixels])
numbers = np.array([number[pixel_of[one]] for one in pixels])
near_duplicates(np.array(pixels, "S64"), numbers, kept, n_workers=0)
n = len(paths)
wall = time.perf_counter() - began
"""
CHECKS = """\
checks that both have: unreadable files, equal files, near-duplicates, dark, bright, blurred, without contrast, of odd
  aspect. Near-duplicates are those of equal hash there; here also cropped, turned or brightened ones, each compared
only medcompare: equal pixels in other files (in both of its figures); masks, 16 bits, opposite labels, variants by
  name, signs of confounding, colours and small pictures for shortcuts, tables, measurements kept for the next time,
  time limits of reading (in the first alone)
only CleanVision, not timed: odd size, grey among coloured images
"""
ANSWER = """
used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(json.dumps([n, wall, sum(one.ru_utime + one.ru_stime for one in used) - before]))
"""
BEFORE = "before = time.process_time()\nbegan = time.perf_counter()"
TIMES = 3


def timed(python: str, code: str, *arguments: str) -> tuple[int, float, float]:
    """(images, seconds, seconds of processors) of one run; loading libraries is not counted."""
    code = code.replace("began = time.perf_counter()", BEFORE)
    threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR")}
    done = subprocess.run(  # noqa: S603 - the texts above
        [python, "-c", code + ANSWER, *arguments],
        env={**os.environ, **threads},
        check=True,
        capture_output=True,
        text=True,
    )
    n, wall, cores = json.loads(done.stdout.splitlines()[-1])
    return n, wall, cores


def main() -> None:
    """Both in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cleanvision", default=sys.executable, metavar="PYTHON")
    given = parser.parse_args()
    found = subprocess.run(  # noqa: S603 - to see whether it is there
        [given.cleanvision, "-c", "import cleanvision; print(cleanvision.__version__)"],
        check=False,
        capture_output=True,
        text=True,
    )
    if found.returncode:
        sys.exit(
            f"skipped: {given.cleanvision} cannot import cleanvision; name a Python that can: --cleanvision PYTHON"
        )
    positive = min(path.name for path in given.folder.iterdir() if path.is_dir())
    jobs = {
        f"CleanVision {found.stdout.strip()}": (given.cleanvision, THEIRS, str(given.folder)),
        f"medcompare {medcompare.__version__}, all": (sys.executable, OURS, str(given.folder), positive),
        "medcompare, shared checks alone": (sys.executable, SHARED, str(given.folder)),
    }
    print(CHECKS)
    best = dict.fromkeys(jobs, 0.0)
    for _ in range(TIMES):
        for name, job in jobs.items():
            n, wall, cores = timed(*job)
            best[name] = max(best[name], n / cores)
            print(
                f"{name}: {n} images in {wall:.1f} s, {cores:.1f} s of processors: {n / cores:.0f} per second and core"
            )
    theirs, ours, shared = best.values()
    print(
        f"medcompare does {ours / theirs:.1f} times the images per second and core with all its checks, "
        f"{shared / theirs:.1f} times with those that both have"
    )


if __name__ == "__main__":
    main()
