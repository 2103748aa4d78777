"""The demonstration data: deterministic, defective as promised, told apart by build and not by colour."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from medcompare.base.artifacts import ArtifactStore, sha256_of_file
from medcompare.base.errors import DataError
from medcompare.config.data import DataConfig, DemoConfig
from medcompare.data.manifest import ingest
from medcompare.data.sources import demo
from medcompare.data.sources.demo import DemoSummary, ensure_demo_data, write_demo_data
from medcompare.data.sources.resolve import resolve_source
from medcompare.data.tables import read_images, read_rejected

if TYPE_CHECKING:
    from pathlib import Path

SMALL = DemoConfig(n_patients=20, images_per_patient=1, image_size_px=48)
N_PATIENTS = 120


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Demonstration data of 120 patients with the default image size."""
    folder = tmp_path_factory.mktemp("demo") / "data"
    write_demo_data(folder, DemoConfig(n_patients=N_PATIENTS, images_per_patient=4))
    return folder


def digests(folder: Path) -> dict[str, str]:
    """Digest of every file below `folder`."""
    return {
        p.relative_to(folder).as_posix(): sha256_of_file(p) for p in sorted(folder.rglob("*")) if p.is_file()
    }


def grouped_auc(folder: Path, features: str) -> float:
    """Patient-grouped 5-fold AUC of a logistic regression on hand-made features."""
    manifest = ingest(
        source := resolve_source(DataConfig(source=str(folder)), demo_root=folder),
        DataConfig(),
        store := ArtifactStore(folder.parent / "store"),
    )
    table = read_images(manifest, store)
    compute = {"histogram": colour_histogram, "joint histogram": joint_histogram, "spectrum": spectrum}[
        features
    ]
    x = np.array([compute(np.asarray(Image.open(source.root / path))) for path in table["path"]])
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    score = cross_val_predict(
        model, x, table["label"], groups=table["patient_id"], cv=folds, method="predict_proba"
    )
    return float(roc_auc_score(table["label"], score[:, 1]))


def colour_histogram(pixels: np.ndarray) -> np.ndarray:
    """Square roots of 16 bins for each of red, green and blue."""
    return np.sqrt(np.concatenate([np.histogram(pixels[..., c], 16, (0, 256))[0] for c in range(3)]))


def joint_histogram(pixels: np.ndarray) -> np.ndarray:
    """Square roots of 8 x 8 x 8 bins of colour."""
    bins = (pixels // 32).astype(int) @ np.array([64, 8, 1])
    return np.sqrt(np.bincount(bins.ravel(), minlength=512))


def spectrum(pixels: np.ndarray) -> np.ndarray:
    """Share of the red channel's variance by spatial frequency: nuclear size, blind to colour."""
    red = np.log(pixels[..., 0] + 1.0)
    power = np.abs(np.fft.fft2(red - red.mean())) ** 2
    f = np.fft.fftfreq(len(red)) * len(red)
    ring = np.hypot(f[:, None], f[None, :]).astype(int)
    by_ring = np.bincount(ring.ravel(), power.ravel())[1:25]
    return np.log(by_ring / by_ring.sum())


@pytest.mark.parametrize("features", ["histogram", "joint histogram"])
def test_colours_do_not_tell_the_classes_apart(folder: Path, features: str) -> None:
    """A logistic regression on colour histograms stays below 0.75."""
    assert grouped_auc(folder, features) < 0.75


def test_structure_tells_the_classes_apart(folder: Path) -> None:
    """What networks can learn is there: scale of structure alone is clearly better than colour."""
    assert grouped_auc(folder, "spectrum") > 0.80


def test_files_do_not_tell_the_classes_apart(folder: Path) -> None:
    """Nothing about a file that is not the picture carries the class: all that were not spoilt have one size."""
    planted = DemoSummary.model_validate_json((folder / "demo.json").read_text())
    spoilt = {planted.truncated, planted.unreadable}
    paths = [path for path in folder.rglob("*.png") if path.relative_to(folder).as_posix() not in spoilt]

    assert len({path.stat().st_size for path in paths}) == 1
    assert {Image.open(path).mode for path in paths} == {"RGB"}


def test_defects_are_found_by_ingest(folder: Path, tmp_path: Path) -> None:
    """Exactly the planted files are excluded, under the 5 % that stop a run."""
    data = DataConfig(source=str(folder))
    store = ArtifactStore(tmp_path)
    planted = DemoSummary.model_validate_json((folder / "demo.json").read_text())

    manifest = ingest(resolve_source(data, demo_root=folder), data, store)

    assert manifest.synthetic
    assert manifest.n_found == planted.n_files
    assert manifest.rejected_by_reason == (("not an image", 1), ("opposite labels", 2), ("truncated", 1))
    assert (manifest.n_duplicate_groups, manifest.n_conflicting_groups) == (2, 1)
    assert manifest.n_patients == N_PATIENTS
    rejected = read_rejected(manifest, store).set_index("reason")["path"]
    assert planted.opposite_label_copy is not None
    assert rejected["truncated"] == planted.truncated
    assert rejected["not an image"] == planted.unreadable
    assert set(rejected["opposite labels"]) == set(planted.opposite_label_copy)
    table = read_images(manifest, store).set_index("path")
    original, copy = planted.same_label_copy
    assert table.loc[original, "sha256"] == table.loc[copy, "sha256"]
    assert table.loc[original, "patient_id"] == table.loc[copy, "patient_id"]


def test_manifest_describes_the_folder(folder: Path) -> None:
    """Every image has a row, half of the patients have cancer, each patient is of one class."""
    with (folder / "manifest.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))

    assert list(rows[0]) == ["path", "label", "patient_id", "sex", "age_group", "site"]
    assert {row["path"] for row in rows} == {p.relative_to(folder).as_posix() for p in folder.rglob("*.png")}
    assert all(row["path"].startswith(f"{row['label']}/") for row in rows)
    classes = {
        patient: {r["label"] for r in rows if r["patient_id"] == patient}
        for patient in {r["patient_id"] for r in rows}
    }
    assert all(len(labels) == 1 for labels in classes.values())
    assert sum(labels == {"cancer"} for labels in classes.values()) == N_PATIENTS // 2
    with Image.open(folder / "cancer" / "patient-0001-00.png") as image:
        assert (image.size, image.format) == ((96, 96), "PNG")


def test_deterministic(tmp_path: Path) -> None:
    """The same configuration gives the same bytes; another seed gives others."""
    for name, config in (("a", SMALL), ("b", SMALL), ("c", SMALL.model_copy(update={"seed": 21}))):
        write_demo_data(tmp_path / name, config)

    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    image = "cancer/patient-0001-00.png"
    assert digests(tmp_path / "a")[image] != digests(tmp_path / "c")[image]


def test_more_patients_keep_the_others(tmp_path: Path) -> None:
    """A larger demonstration holds the images of a smaller one."""
    write_demo_data(tmp_path / "few", SMALL)
    write_demo_data(tmp_path / "more", SMALL.model_copy(update={"n_patients": 24}))

    more = digests(tmp_path / "more")
    images = {name: digest for name, digest in digests(tmp_path / "few").items() if name.endswith(".png")}
    assert all(more[name] == digest for name, digest in images.items())


def test_processes_share_the_patients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many draw, the files are the same."""
    config = SMALL.model_copy(update={"n_patients": 40})
    alone, together = tmp_path / "alone", tmp_path / "together"
    write_demo_data(alone, config)
    monkeypatch.setattr(demo, "PATIENTS_PER_PROCESS", 10)
    monkeypatch.setattr(demo.os, "cpu_count", lambda: 3)
    write_demo_data(together, config)

    assert digests(together) == digests(alone)
    assert len(digests(together)) > 40


def test_smallest_data_set_can_be_ingested(tmp_path: Path) -> None:
    """Defects that would be too large a share are left out."""
    planted = write_demo_data(tmp_path / "demo", SMALL)
    data = DataConfig(source=str(tmp_path / "demo"))

    manifest = ingest(resolve_source(data, demo_root=tmp_path), data, ArtifactStore(tmp_path / "store"))

    assert planted.unreadable is None
    assert planted.opposite_label_copy is None
    assert manifest.rejected_by_reason == (("truncated", 1),)


def test_existing_folder_is_not_overwritten(tmp_path: Path) -> None:
    """Nothing of the user's is replaced."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")

    with pytest.raises(DataError, match="mine already holds something"):
        write_demo_data(tmp_path / "mine", SMALL)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "precious"


def test_empty_folder_is_filled(tmp_path: Path) -> None:
    """A folder made beforehand is fine, and nothing else is left beside it."""
    (tmp_path / "demo").mkdir()
    write_demo_data(tmp_path / "demo", SMALL)

    assert [path.name for path in tmp_path.iterdir()] == ["demo"]


def test_kept_and_edited_data_are_reused(tmp_path: Path) -> None:
    """A second call writes nothing, so that a changed image stays changed."""
    folder = ensure_demo_data(tmp_path, SMALL)
    edited = folder / "cancer" / "patient-0001-00.png"
    shutil.copyfile(folder / "cancer" / "patient-0003-00.png", edited)
    before = digests(folder)

    assert ensure_demo_data(tmp_path, SMALL) == folder
    assert digests(folder) == before
    assert ensure_demo_data(tmp_path, SMALL.model_copy(update={"seed": 1})) != folder


def test_demo_is_a_source(tmp_path: Path) -> None:
    """`demo` as a source generates the data below the given folder and marks them synthetic."""
    source = resolve_source(DataConfig(demo=SMALL), demo_root=tmp_path)

    assert source.synthetic
    assert source.name == "demo"
    assert source.root.parent == tmp_path
    assert source.classes == ("non_cancer", "cancer")


FIRST_RUN = """
import sys
from pathlib import Path
from medcompare.data.sources import demo
from medcompare.data.sources.demo import ensure_demo_data
from medcompare.config.data import DemoConfig
sys.stdin.readline()
print(ensure_demo_data(Path(sys.argv[1]), DemoConfig(n_patients=20, images_per_patient=4)))
"""


def test_first_runs_at_once_write_the_data_once(tmp_path: Path) -> None:
    """Real processes: one writes, the others wait and use what it wrote; nothing half-written is left."""
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", FIRST_RUN, str(tmp_path / "demo")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for run in runs:
        assert run.stdin is not None
        run.stdin.write("\n")
        run.stdin.flush()
    told = [run.communicate(timeout=120) for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0], told
    assert len({out for out, _ in told}) == 1
    assert {entry.name for entry in (tmp_path / "demo").iterdir()} == {
        told[0][0].strip().rpartition("/")[2],
        ".being-written.lock",
    }
