"""The embedded demonstration data: a folder of synthetic patches with planted defects.

The folder looks like a real one: a sub-folder per class, a ``manifest.csv`` with patients and
further columns, and a few bad files that ingest has to find. It is generated, deterministic
for given library versions, and marked by ``demo.json`` so that every report says "synthetic".
"""

from __future__ import annotations

import csv
import io
import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from medcompare.artifacts import sha256_of_bytes
from medcompare.data.demo_tissue import Atypia, draw_patch, draw_stain
from medcompare.errors import DataError
from medcompare.records import Record

if TYPE_CHECKING:
    from medcompare.config import DemoConfig

DEMO_MARKER = "demo.json"
GENERATOR_VERSION = 1
"""Raised when the same configuration gives other images, so that old folders are not reused."""

CLASS_NAMES = ("non_cancer", "cancer")
JPEG_QUALITY = 92

CLASS_EFFECT = 1.0
"""Distance of a class from the middle, in the units of `Atypia`."""
PATIENT_SPREAD = 0.55
IMAGE_SPREAD = 0.30
TRAIT_SPREAD = 0.30
"""Standard deviations of atypia: between patients, between images of one, between its traits."""


class DemoSummary(Record):
    """What was written, and what ingest must find in it."""

    generator_version: int
    config: dict[str, int]
    n_files: int
    n_patients: int
    truncated: str
    unreadable: str
    same_label_copy: tuple[str, str]
    opposite_label_copy: tuple[str, str]


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

    A folder that is there is left as it is: people may change an image to see what happens.
    """
    key = json.dumps([GENERATOR_VERSION, config.model_dump()], sort_keys=True)
    folder = root / f"demo-{sha256_of_bytes(key.encode())[:10]}"
    if not (folder / DEMO_MARKER).is_file():
        write_demo_data(folder, config)
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
        msg = f"{folder} already holds something. Remove it, or name another folder for the demonstration data."
        raise DataError(msg)
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        summary = _write_into(building, config)
        building.chmod(0o755)
        if folder.exists():
            folder.rmdir()
        try:
            building.rename(folder)
        except OSError:
            # Another run finished the same folder first: its content is the same.
            if not (folder / DEMO_MARKER).is_file():
                raise
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return summary


def _write_into(folder: Path, config: DemoConfig) -> DemoSummary:
    for name in CLASS_NAMES:
        (folder / name).mkdir()
    rows: list[_Row] = []
    for patient in range(config.n_patients):
        rows += _write_patient(folder, patient, config)
    planted = _plant_defects(folder, rows)
    summary = DemoSummary(
        generator_version=GENERATOR_VERSION,
        config=config.model_dump(),
        n_files=len(rows),
        n_patients=config.n_patients,
        **planted,
    )
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    columns = ("path", "label", "patient_id", "sex", "age_group", "site")
    writer.writerow(columns)
    writer.writerows([getattr(row, name) for name in columns] for row in sorted(rows, key=lambda row: row.path))
    (folder / "manifest.csv").write_text(text.getvalue(), encoding="utf-8", newline="")
    (folder / DEMO_MARKER).write_text(summary.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return summary


def _write_patient(folder: Path, patient: int, config: DemoConfig) -> list[_Row]:
    # Seeded per patient: more patients add to the data set, they do not change it.
    rng = np.random.default_rng([config.seed, GENERATOR_VERSION, patient])
    label = patient % 2
    class_name = CLASS_NAMES[label]
    stain = draw_stain(rng)
    sign = 1.0 if label else -1.0
    patient_atypia = CLASS_EFFECT * sign + rng.normal(0.0, PATIENT_SPREAD)
    sex = str(rng.choice(["female", "male"]))
    # Weakly related, as in life: cancer patients are somewhat older.
    age_group = str(rng.choice(["under 50", "50 to 69", "70 and over"], p=[0.35, 0.4, 0.25] if label == 0 else [0.25, 0.4, 0.35]))
    site = str(rng.choice(["A", "B", "C"]))
    rows = []
    for image in range(_n_images(config.images_per_patient, rng)):
        level = patient_atypia + rng.normal(0.0, IMAGE_SPREAD)
        traits = level + rng.normal(0.0, TRAIT_SPREAD, size=5)
        pixels = draw_patch(Atypia(*()) if False else _atypia(traits), stain, config.image_size_px, rng)
        path = f"{class_name}/patient-{patient:04d}-{image:02d}.jpg"
        (folder / path).write_bytes(_jpeg(pixels))
        rows.append(_Row(path=path, label=class_name, patient_id=f"P{patient:04d}", sex=sex, age_group=age_group, site=site))
    return rows


def _atypia(t):
    return Atypia(size=t[0], variation=t[1], outline=t[2], chromatin=t[3], disorder=t[4])


def _n_images(mean: int, rng) -> int:
    spread = mean // 4
    return int(rng.integers(mean - spread, mean + spread + 1))


def _jpeg(pixels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()


def _plant_defects(folder: Path, rows: list[_Row]) -> dict:
    return {"truncated": "", "unreadable": "", "same_label_copy": ("", ""), "opposite_label_copy": ("", "")}
