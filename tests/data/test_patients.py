"""Patients in file names: said where names look so, and grouped by on request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from PIL import Image

from medcompare.base.errors import ConfigError, DataError
from medcompare.config.data import DataConfig
from medcompare.data.sources.resolve import resolve_source

if TYPE_CHECKING:
    from pathlib import Path

    from medcompare.data.sources.listing import ImageSource

SLICES = [f"patient{p:02d}_slice{k}.png" for p in range(12) for k in range(3)]


def source_of(folder: Path, names: list[str], **settings: str) -> ImageSource:
    """A listing of such names, half of each class."""
    for i, name in enumerate(names):
        path = folder / ("cancer" if 2 * i < len(names) else "non_cancer") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (2, 2)).save(path)
    data = DataConfig.model_validate({"source": str(folder), **settings})
    return resolve_source(data, demo_root=folder)


@pytest.mark.parametrize(
    ("names", "n_patients", "n_images", "pattern"),
    [
        (SLICES, 12, 3, r"patient\d+"),
        ([f"P{p}/{k}.png" for p in range(12) for k in range(4)], 12, 4, r"([^/]+)/[^/]*$"),
        (
            [f"P{p}/{z}/{k}.png" for p in range(12) for z in (40, 99) for k in range(2)],
            12,
            4,
            r"([^/]+)/[^/]+/[^/]*$",
        ),
        ([f"SOB_B_A-14-{p}AB-{z}-1.png" for p in range(12) for z in (40, 99)], 12, 2, None),
        ([f"TCGA-{p:04d}-x{k}.png" for p in range(15) for k in range(2)], 15, 2, None),
        ([f"{p}-{side}.png" for p in range(20) for side in ("left", "right")], 20, 2, None),
    ],
)
def test_names_that_look_like_patients(
    tmp_path: Path, names: list[str], n_patients: int, n_images: int, pattern: str | None
) -> None:
    """They are counted, and the pattern that is offered groups exactly by them."""
    (note,) = source_of(tmp_path, names).notes

    assert note.startswith(f"Names look like {n_patients} patients with {n_images} images each")
    offered = note.split("data.patient_pattern=")[1].rstrip("'")
    assert pattern is None or offered == pattern
    source = source_of(tmp_path, names, patient_pattern=offered)
    assert source.has_patients
    assert len({file.patient_id for file in source.files}) == n_patients
    assert source.notes == (f"{n_patients} patients by data.patient_pattern ({offered}).",)


@pytest.mark.parametrize(
    "names",
    [
        [f"OSCC_{zoom}x_{i}.png" for zoom in (100, 400) for i in range(20)],
        [f"ISIC_{i:07d}.png" for i in range(40)],
        [f"img_{label}_{i:03d}.png" for label in (0, 1) for i in range(20)],
        [f"benign ({i}).png" for i in range(40)],
        [f"aug_Y{i}_0_{k}.png" for i in range(20) for k in (11, 22)],
    ],
)
def test_other_names(tmp_path: Path, names: list[str]) -> None:
    """Magnifications, counters, classes and augmented copies are no patients."""
    assert source_of(tmp_path, names).notes == ()


def test_refusals(tmp_path: Path) -> None:
    """A pattern has to be one, and to fit every name."""
    with pytest.raises(DataError, match=r"fits 36 of 37 names, not non_cancer/other\.png"):
        source_of(tmp_path, [*SLICES, "other.png"], patient_pattern=r"patient\d+")
    with pytest.raises(ConfigError, match="is no regular expression"):
        source_of(tmp_path, SLICES, patient_pattern="(")
    (tmp_path / "m.csv").write_text(
        "path,label,patient_id\n"
        + "".join(f"cancer/{name},{i % 2},{i}\n" for i, name in enumerate(SLICES[:18])),
        encoding="utf-8",
    )
    data = DataConfig(source=str(tmp_path / "m.csv"), patient_pattern="p", positive=("1",))
    with pytest.raises(ConfigError, match="for images without patient ids"):
        resolve_source(data, demo_root=tmp_path)
