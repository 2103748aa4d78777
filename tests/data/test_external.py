"""Images of another hospital: all tested, none of them seen in training."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from flows.preflight import external_data, locate_external
from medcompare.base.artifacts import ArtifactStore
from medcompare.base.errors import ConfigError, DataError
from medcompare.config.data import DataConfig, SplitConfig
from medcompare.config.errors import validated
from medcompare.config.schema import CompareConfig
from medcompare.config.settings_table import set_by_user
from medcompare.data.assignments import read_assignments
from medcompare.data.external import external_set, shown_alike
from medcompare.data.manifest import ingest
from medcompare.data.sources.resolve import resolve_source
from medcompare.data.split import split
from medcompare.data.tables import read_images, read_split
from medcompare.runs.provenance import settings_to_repeat

if TYPE_CHECKING:
    from pathlib import Path

    from medcompare.data.records import DatasetSplit


def hospital(root: Path, seed: int, n: int = 12) -> Path:
    """Clouds of two sizes, no two alike, in two classes."""
    rng = np.random.default_rng(seed)
    for label in ("cancer", "healthy"):
        (root / label).mkdir(parents=True)
        for i in range(n):
            noise = rng.normal(size=(96, 96))
            grey = sum(scale * ndimage.gaussian_filter(noise, scale) for scale in (1, 3, 9))
            grey = 128 + 45 * (grey - np.mean(grey)) / np.std(grey)
            Image.fromarray(grey.clip(0, 255).astype(np.uint8)).save(root / label / f"{seed}-{i:02d}.png")
    return root


def set_apart(
    tmp_path: Path, *, leaks: str = "refuse", source: str = "{}"
) -> tuple[DatasetSplit, DatasetSplit, ArtifactStore]:
    """The split of hospital `a`, and hospital `b` as its external set."""
    store, config = ArtifactStore(tmp_path / "store"), SplitConfig.model_validate({"leaks": leaks})
    manifests = []
    for name in "ab":
        data = DataConfig(source=str(tmp_path / source.format(name)))
        manifests.append(ingest(resolve_source(data, demo_root=tmp_path / "demo"), data, store))
    parts = split(manifests[0], config, seed=0, store=store)
    outside = external_set("B", manifests[1], parts, near=True, config=config, store=store)
    return parts, outside, store


def test_every_image_is_tested(tmp_path: Path) -> None:
    """Nothing is left for training or validation."""
    hospital(tmp_path / "a", 1)
    hospital(tmp_path / "b", 2, n=5)

    _, outside, store = set_apart(tmp_path)

    assert [one.n_images for one in outside.subsets] == [0, 0, 10]
    assert set(read_split(outside, store)["subset"]) == {"test"}
    assert outside.notes == ()


@pytest.mark.parametrize("how", ["the same file", "the same pixels", "recompressed"])
def test_images_seen_in_training_are_refused_or_left_out(tmp_path: Path, how: str) -> None:
    """A copy of every image of a: those of training and validation are named; with leaks=remove they go."""
    for path in sorted(hospital(tmp_path / "a", 1).rglob("*.png")):
        copy = tmp_path / "b" / path.relative_to(tmp_path / "a")
        copy.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(path) as picture:
            if how == "the same file":
                copy.write_bytes(path.read_bytes())
            elif how == "the same pixels":
                picture.save(copy, compress_level=1)
            else:
                picture.save(copy.with_suffix(".jpg"), quality=70)

    with pytest.raises(
        DataError, match=r"(18|19|20) images of 24 of the external set B are also in training or val"
    ):
        set_apart(tmp_path)
    parts, outside, store = set_apart(tmp_path, leaks="remove")

    left = read_split(outside, store)
    ours = read_split(parts, store).query("subset == 'test'")
    assert {path[:-4] for path in left["path"]} == {path[:-4] for path in ours["path"]}
    assert f"{len(left)} images of B also in the internal test subset" in outside.notes[1]


def test_grey_levels_are_shown_as_those_of_the_main_data(tmp_path: Path) -> None:
    """Values up to 4095 here and up to 900 there: white is 4095 in both, or as the user says."""
    rng = np.random.default_rng(0)
    for name, highest in (("a", 4095), ("b", 900)):
        for label in ("cancer", "healthy"):
            (tmp_path / name / label).mkdir(parents=True)
            for i in range(6):
                values = rng.integers(0, highest, (40, 40)).astype(np.uint16)
                Image.fromarray(values).save(tmp_path / name / label / f"{name}{i}.png")
    store, data = ArtifactStore(tmp_path / "store"), DataConfig(source=str(tmp_path / "a"))
    manifest = ingest(resolve_source(data, demo_root=tmp_path / "demo"), data, store)
    rows = read_assignments(store.read(split(manifest, SplitConfig(), seed=0, store=store).assignments))
    there = data.model_copy(update={"source": str(tmp_path / "b")})

    alike, notes = shown_alike(there, rows)

    assert alike.intensity_range == "0,4095"
    assert notes == (
        "Grey levels of more than 8 bits are shown from 0 (black) to 4095 (white), as those of the main data.",
    )
    outside = ingest(resolve_source(alike, demo_root=tmp_path / "demo"), alike, store)
    assert set(read_images(outside, store)["grey_range"]) == {"0,4095"}
    as_set = there.model_copy(update={"intensity_range": "0,900"})
    assert shown_alike(as_set, rows) == (as_set, ())
    assert shown_alike(there, []) == (there, ())


def test_a_refusal_names_the_set_and_what_to_do(tmp_path: Path) -> None:
    """Not the command that would compare on the set itself."""
    hospital(tmp_path / "a", 1, n=2)
    hospital(tmp_path / "b", 2, n=2)
    (tmp_path / "b" / "cancer").rename(tmp_path / "b" / "tumour")
    table = tmp_path / "c.csv"
    table.write_text("path,label\n1.png,cancer\n2.png,healthy\n")
    given = {"data": {"source": str(tmp_path / "a")}, "external": {"b": str(tmp_path / "b"), "c": str(table)}}
    config = CompareConfig.model_validate(given)

    with pytest.raises(DataError, match=r"^--external b: .*tumour.* it is read as the main data are") as told:
        locate_external(config, "b")
    assert str(told.value).endswith(f"\nTry: --external b={tmp_path / 'b'} --set external.b.positive=tumour")
    with pytest.raises(DataError, match=r"^--external c: .* 2 of 2 files do not exist: ") as told:
        locate_external(config, "c")
    assert str(told.value).endswith(f"c={table} --set external.c.image_root=FOLDER_OF_THE_IMAGES")


def test_a_set_is_read_as_it_says_and_else_as_the_main_data(tmp_path: Path) -> None:
    """Other names of classes, and a table with its images elsewhere; what fits no folder is refused."""
    hospital(tmp_path / "a", 1, n=2)
    hospital(tmp_path / "b", 2, n=2)
    (tmp_path / "b" / "cancer").rename(tmp_path / "b" / "tumour")
    table = tmp_path / "lists" / "c.csv"
    table.parent.mkdir()
    table.write_text("file,dx,grade\ntumour/2-00.png,tumour,1\nhealthy/2-01.png,healthy,2\n")
    b = {"source": str(tmp_path / "b"), "positive": "tumour"}
    c = {
        "source": str(table),
        "image_root": str(tmp_path / "b"),
        "label_column": "dx",
        "positive": ["tumour"],
    }
    given = {
        "data": {"source": str(tmp_path / "a"), "positive": "cancer"},
        "external": {"a": b["source"], "b": b, "c": c},
    }
    config = validated(CompareConfig, given)

    assert config.data.positive == ("cancer",)
    assert external_data(config, "a") == config.data.model_copy(update={"source": b["source"]})
    assert [locate_external(config, name).classes for name in "bc"] == [("healthy", "tumour")] * 2
    assert len(locate_external(config, "c").files) == 2
    assert {"external.b.positive", "external.a.source"} <= set(set_by_user(config))
    again = validated(CompareConfig, json.loads(settings_to_repeat(config)))
    assert again.external == config.external
    wrong = validated(CompareConfig, {**given, "external": {"b": {**b, "label_column": "dx"}}})
    with pytest.raises(DataError, match=r"^external\.b\.label_column is for tables, and .*/b is a folder"):
        locate_external(wrong, "b")
    with pytest.raises(ConfigError, match=r"Did you mean 'external\.b\.image_root'"):
        validated(CompareConfig, {**given, "external": {"b": {"source": "b", "image_rot": "x"}}})


def test_patients_of_both_are_counted(tmp_path: Path) -> None:
    """Patients 0 and 1 in both tables: page one must not call the set external."""
    for name, patients in (("a", range(12)), ("b", (0, 1, 50, 51))):
        hospital(tmp_path / name, ord(name), n=len(patients) // 2)
        files = sorted(str(path.relative_to(tmp_path / name)) for path in (tmp_path / name).rglob("*.png"))
        lines = [
            f"{file},{file.split('/')[0]},{patient}" for file, patient in zip(files, patients, strict=True)
        ]
        (tmp_path / name / "table.csv").write_text("\n".join(["path,label,patient_id", *lines]))

    _, outside, _ = set_apart(tmp_path, source="{}/table.csv")

    assert outside.shared == (("patient ids", 2),)
    assert "2 patient ids of B also in the main data" in outside.notes[0]
