"""The embedded demonstration data: a folder of synthetic patches with planted defects.

The folder looks like a real one: a sub-folder per class, a ``manifest.csv`` with patients and
further columns, and a few bad files that ingest has to find. It is generated, deterministic
for given library versions, and marked by ``demo.json`` so that every report says "synthetic".
"""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import shutil
import subprocess
import sys
import uuid
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from medcompare.base.artifacts import sha256_of_bytes
from medcompare.base.code_identity import importing_this_code
from medcompare.base.errors import DataError
from medcompare.base.file_access import open_lock
from medcompare.base.record import Record
from medcompare.config.data import DemoConfig
from medcompare.data.sources.demo_tissue import Atypia, draw_patch, draw_stain

if TYPE_CHECKING:
    from numpy.typing import NDArray


DEMO_MARKER = "demo.json"
LOCK_FILE = ".being-written.lock"
GENERATOR_VERSION = 5
"""Raised when the same configuration gives other images, so that old folders are not reused."""

CLASS_NAMES = ("non_cancer", "cancer")

SEXES = ("female", "male")
SITES = ("A", "B", "C")
AGE_GROUPS = ("under 50", "50 to 69", "70 and over")
AGE_SHARES = ((0.30, 0.40, 0.30), (0.25, 0.40, 0.35))
"""Shares of the age groups without and with cancer: weakly related, as in life."""

PATIENTS_PER_PROCESS = 100
"""Fewer are drawn sooner than another process is started."""

MIN_FILES_FOR_UNREADABLE = 40
MIN_FILES_FOR_CONFLICT = 100
"""Below these the defect would be too large a share: the run would rightly stop."""

CLASS_EFFECT = 3.0
"""Distance of a class from the middle, in the units of `Atypia`: far enough apart that both networks learn it
from scratch in a few epochs, so that the demonstration shows a comparison and not two trainings cut short."""
PATIENT_SPREAD = 0.55
IMAGE_SPREAD = 0.30
TRAIT_SPREAD = 0.30
"""Standard deviations of atypia: between patients, between images of one, between its traits."""


class DemoSummary(Record):
    """What was written, and the defects that ingest must find in it.

    A defect that would be too large a share of a very small data set is left out: None.
    """

    generator_version: int
    config: dict[str, int]
    n_files: int
    n_patients: int
    truncated: str
    unreadable: str | None
    same_label_copy: tuple[str, str]
    opposite_label_copy: tuple[str, str] | None


@dataclass(frozen=True, kw_only=True)
class _Row:
    path: str
    label: str
    patient_id: str
    sex: str
    age_group: str
    site: str


def ensure_demo_data(root: Path, config: DemoConfig) -> Path:
    """Folder below `root` with the demonstration data of `config`, written where it is absent.

    A folder that is there is left as it is: people may change an image to see what happens. Of
    several runs that find none, one writes it and the others wait.
    """
    key = json.dumps([GENERATOR_VERSION, config.model_dump()], sort_keys=True)
    folder = root / f"demo-{sha256_of_bytes(key.encode())[:10]}"
    if (folder / DEMO_MARKER).is_file():
        return folder
    root.mkdir(parents=True, exist_ok=True)
    descriptor = open_lock(root / LOCK_FILE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # freed when its process ends, however it ends
        if not (folder / DEMO_MARKER).is_file():
            write_demo_data(folder, config)
    finally:
        os.close(descriptor)
    return folder


def write_demo_data(folder: Path, config: DemoConfig) -> DemoSummary:
    """Generate the demonstration data in a new folder.

    The folder appears whole or not at all. Of the files, one is truncated, one is not an
    image, one copies another of the same patient, and one copies an image of the other class.

    Parameters
    ----------
    folder : Path
        Must not exist, or be empty.
    config : DemoConfig
        Number of patients, images of each, side in pixels, seed.

    Returns
    -------
    DemoSummary
        Also written into the folder, as ``demo.json``.

    Raises
    ------
    DataError
        If the folder already holds something.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        msg = (
            f"{folder} already holds something. Remove it, or name another folder for the demonstration data."
        )
        raise DataError(msg)
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    building.mkdir()
    try:
        summary = _write_into(building, config)
        if folder.exists():
            folder.rmdir()
        building.rename(folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return summary


def _write_into(folder: Path, config: DemoConfig) -> DemoSummary:
    for name in CLASS_NAMES:
        (folder / name).mkdir()
    rows = _write_patients(folder, config)
    summary = _plant_defects(folder, rows, config)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    columns = ("path", "label", "patient_id", "sex", "age_group", "site")
    writer.writerow(columns)
    writer.writerows(
        [getattr(row, name) for name in columns] for row in sorted(rows, key=lambda row: row.path)
    )
    (folder / "manifest.csv").write_text(text.getvalue(), encoding="utf-8", newline="")
    (folder / DEMO_MARKER).write_text(summary.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return summary


def _write_patients(folder: Path, config: DemoConfig) -> list[_Row]:
    """Images of all patients, written by as many processes as are worth their start.

    Threads would not do: drawing is thousands of small operations, each of which holds the interpreter.
    """
    n_shares = max(1, min(os.cpu_count() or 1, config.n_patients // PATIENTS_PER_PROCESS))
    helpers = [
        subprocess.Popen(  # noqa: S603 - this interpreter and this module
            # -P: a file in the working folder must not shadow a library.
            [sys.executable, "-P", "-m", __spec__.name, folder, config.model_dump_json(), f"{k}/{n_shares}"],
            stdout=subprocess.PIPE,
            env=importing_this_code(os.environ),
        )
        for k in range(1, n_shares)
    ]
    try:
        rows = _write_share(folder, config, 0, n_shares)
        for helper in helpers:
            written, _ = helper.communicate()
            if helper.returncode:
                msg = f"the demonstration data could not be written into {folder.parent}: start again"
                raise DataError(msg)
            rows += [_Row(**values) for values in json.loads(written)]
    finally:
        for helper in helpers:
            helper.kill()  # nothing where it has ended
            helper.wait()
    return rows


def _write_share(folder: Path, config: DemoConfig, share: int, n_shares: int) -> list[_Row]:
    """Images of every `n_shares`-th patient: each has a generator of its own, so that order does not matter."""
    patients = range(share, config.n_patients, n_shares)
    return [row for patient in patients for row in _write_patient(folder, patient, config)]


def _write_patient(folder: Path, patient: int, config: DemoConfig) -> list[_Row]:
    # Seeded per patient: asking for more patients adds some, it does not change the others.
    rng = np.random.default_rng([config.seed, GENERATOR_VERSION, patient])
    label = patient % 2
    stain = draw_stain(rng)
    patient_atypia = (CLASS_EFFECT if label else -CLASS_EFFECT) + rng.normal(0.0, PATIENT_SPREAD)
    sex = str(rng.choice(SEXES))
    age_group = str(rng.choice(AGE_GROUPS, p=AGE_SHARES[label]))
    site = str(rng.choice(SITES))
    rows = []
    for image in range(_n_images(config.images_per_patient, rng)):
        level = patient_atypia + rng.normal(0.0, IMAGE_SPREAD)
        size, variation, outline, chromatin, disorder = level + rng.normal(0.0, TRAIT_SPREAD, size=5)
        atypia = Atypia(
            size=size, variation=variation, outline=outline, chromatin=chromatin, disorder=disorder
        )
        row = _Row(
            path=f"{CLASS_NAMES[label]}/patient-{patient:04d}-{image:02d}.png",
            label=CLASS_NAMES[label],
            patient_id=f"P{patient:04d}",
            sex=sex,
            age_group=age_group,
            site=site,
        )
        (folder / row.path).write_bytes(_png(draw_patch(atypia, stain, config.image_size_px, rng)))
        rows.append(row)
    return rows


def _n_images(mean: int, rng: np.random.Generator) -> int:
    spread = mean // 4
    return int(rng.integers(mean - spread, mean + spread + 1))


def _png(pixels: NDArray[np.uint8]) -> bytes:
    # Not compressed: atypical tissue compresses worse, and the size of a file would tell the classes apart.
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=0)
    return buffer.getvalue()


def _plant_defects(folder: Path, rows: list[_Row], config: DemoConfig) -> DemoSummary:
    """Spoil a few files, and add the rows of copies to `rows`."""
    of_patient: dict[str, list[_Row]] = {}
    for row in rows:
        of_patient.setdefault(row.patient_id, []).append(row)
    patients = [of_patient[name] for name in sorted(of_patient)]
    n_files = len(rows)

    cut_off = patients[2][-1].path
    content = (folder / cut_off).read_bytes()
    (folder / cut_off).write_bytes(content[: len(content) * 6 // 10])

    no_image = None
    if n_files >= MIN_FILES_FOR_UNREADABLE:
        no_image = patients[3][-1].path
        (folder / no_image).write_bytes(b"This file was meant to be an image.\n")

    same = _copied(folder, patients[4][0], patients[4][0])
    rows.append(same)
    opposite = None
    if n_files >= MIN_FILES_FOR_CONFLICT:
        opposite = _copied(folder, patients[6][0], patients[7][0])
        rows.append(opposite)
    return DemoSummary(
        generator_version=GENERATOR_VERSION,
        config=config.model_dump(),
        n_files=len(rows),
        n_patients=config.n_patients,
        truncated=cut_off,
        unreadable=no_image,
        same_label_copy=(patients[4][0].path, same.path),
        opposite_label_copy=(patients[6][0].path, opposite.path) if opposite else None,
    )


def _copied(folder: Path, original: _Row, filed_under: _Row) -> _Row:
    """Row of a copy of `original` that claims to show the patient of `filed_under`."""
    path = filed_under.path.replace("-00.png", "-copy.png")
    shutil.copyfile(folder / original.path, folder / path)
    return replace(filed_under, path=path)


if __name__ == "__main__":
    _folder, _config, _share = sys.argv[1:]
    _rows = _write_share(Path(_folder), DemoConfig.model_validate_json(_config), *map(int, _share.split("/")))
    sys.stdout.write(json.dumps([asdict(row) for row in _rows]))
