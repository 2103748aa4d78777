"""Hand-over and scoring on one real run: the folder, the scores, and what is refused."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
import sys
import zipfile
from contextlib import redirect_stdout
from typing import TYPE_CHECKING

import numpy as np
import pytest
import yaml
from PIL import Image
from safetensors.numpy import load_file, save_file

from medcompare.base.errors import ConfigError, DataError, ExportError
from medcompare.cli.app import main
from medcompare.config.predict import PredictConfig
from medcompare.handover.export import export_run
from medcompare.handover.predict import predict, sentences
from medcompare.handover.records import Export, read_export, write_digests
from medcompare.predictions.table import read_prediction_table
from medcompare.report.results import read_results
from medcompare.stats.calibration.recalibration import fit_platt

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.flows.small_runs import First

MODEL = "test_cnn"


def scored(
    exported: Path, images: Path, out: Path, *, engine: str = "onnxruntime", **data: object
) -> list[dict[str, str]]:
    """Rows of the table of scores of `images`."""
    values = {"export": exported, "data": {"source": str(images), **data}, "scores": out, "engine": engine}
    predict(PredictConfig.model_validate(values | {"batch_size": 16}))
    return rows_of(out)


def rows_of(table: Path) -> list[dict[str, str]]:
    """Rows of a CSV file."""
    return list(csv.DictReader(io.StringIO(table.read_text("utf-8"))))


def write_rows(table: Path, rows: list[dict[str, str]]) -> None:
    """Write `rows` as a CSV file."""
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


def test_the_folder_holds_what_it_says_and_no_patient(first: First, exported: Path) -> None:
    """Six files, no pickles, and neither names of images nor pseudonyms of cases."""
    names = {path.name for path in exported.iterdir()}
    text = b"".join(path.read_bytes() for path in exported.iterdir())

    assert names == {
        "README.md",
        "export.json",
        "features.safetensors",
        "model.onnx",
        "weights.safetensors",
        "SHA256SUMS",
    }
    assert not re.search(rb"\d{3}\.png|case-[0-9a-f]{8}", text)
    assert str(first.root).encode() not in text
    assert (
        subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=exported, check=False).returncode
        == 0
    )


@pytest.mark.parametrize("engine", ["onnxruntime", "torch"])
def test_scores_and_calls_are_those_of_the_run(
    first: First, exported: Path, engine: str, tmp_path: Path
) -> None:
    """Every test image, from its file, whatever computes; the calls are those of the confusion matrix."""
    rows = scored(exported, first.images, tmp_path / "scores.csv", engine=engine)
    found = {row["sha256"][:8]: row for row in rows}
    in_run = rows_of(first.root / "runs" / "latest" / "predictions_test.csv")
    mine = [found[row["case_id"].removeprefix("case-")] for row in in_run]
    threshold = read_export(exported).threshold.threshold

    assert [float(row["score"]) for row in mine] == pytest.approx(
        [float(row[MODEL]) for row in in_run], abs=1e-5
    )
    assert [row["decision"] for row in mine] == [
        "cancer" if float(row[MODEL]) >= threshold else "non_cancer" for row in in_run
    ]
    assert [row["probability"] for row in mine] == [row["score"] for row in mine]  # nothing was recalibrated


def test_the_card_is_read_by_programs_and_its_example_runs(
    first: First, exported: Path, tmp_path: Path
) -> None:
    """Front matter as YAML; the ten lines give the score up to Pillow's rounding."""
    text = (exported / "README.md").read_text("utf-8")
    front = yaml.safe_load(text.split("---\n")[1])
    auc = front["model-index"][0]["results"][0]["metrics"][0]
    code = text.split("```python\n")[1].split("```")[0]
    picture = first.images / "cancer" / "003.png"
    for name in ("export.json", "model.onnx"):
        shutil.copy(exported / name, tmp_path / name)
    shutil.copy(picture, tmp_path / "image.png")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    (row,) = scored(exported, picture, tmp_path / "scores.csv")

    assert front["pipeline_tag"] == "image-classification"
    assert auc["type"] == "roc_auc"
    assert f"| AUC | {auc['value']:.3f} (" in text
    assert len(code.strip().splitlines()) == 10
    assert float(done.stdout.split()[0]) == pytest.approx(float(row["score"]), abs=0.01)
    assert done.stdout.split()[1] == row["decision"]


def test_the_card_says_what_limits_this_network_and_nothing_of_the_others(
    first: First, exported: Path
) -> None:
    """Sentences of the report that name several are made again for the one; those of the others are not repeated."""
    results = read_results(first.root / "runs" / "latest" / "results.json")
    names = {one.model: one.display_name for one in results.trained}
    told = (exported / "README.md").read_text("utf-8").split("## What it is for")[1].split("## How good")[0]
    text = " ".join((*results.notices, *results.assessment.verdict.caveats))

    assert len(names) > 1
    assert all(name in text for name in names.values())
    assert {name for name in names.values() if name in told} == {names[MODEL]}


def test_scoring_needs_neither_torch_nor_prefect_nor_the_store(
    first: First, exported: Path, tmp_path: Path
) -> None:
    """In a process that cannot import them; the folder was moved, the store is not named anywhere."""
    moved = shutil.copytree(exported, tmp_path / "elsewhere")
    code = (
        "import sys\n"
        "class Blocked:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in {'torch', 'torchvision', 'prefect', 'pandas', 'sklearn'}:\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, Blocked())\n"
        "from medcompare.cli.app import main\n"
        "sys.exit(main(['predict', sys.argv[1], '--data', sys.argv[2], '--out', sys.argv[3], "
        "'--engine', 'onnxruntime']))\n"
    )
    out = tmp_path / "scores.csv"
    subprocess.run([sys.executable, "-c", code, moved, first.images, out], check=True, timeout=120)

    assert len(rows_of(out)) == 80


def test_a_log_is_told_the_progress(
    first: First,
    exported: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where standard error is no terminal; here after every batch instead of every minute."""
    monkeypatch.setattr("medcompare.cli.predict.LINE_EVERY_S", 0.0)
    data = ["--data", str(first.images), "--out", str(tmp_path / "scores.csv"), "--set", "batch_size=40"]

    assert main(["predict", str(exported), *data]) == 0
    assert "40 of 80 images scored\n80 of 80 images scored\n" in capsys.readouterr().err


def test_a_killed_call_goes_on_and_gives_the_same_table(first: First, exported: Path, tmp_path: Path) -> None:
    """Stopped after two batches, and with half a row written: 32 images are kept, and the bytes are the same."""
    whole, out = tmp_path / "whole.csv", tmp_path / "scores.csv"
    scored(exported, first.images, whole)
    config = PredictConfig.model_validate(
        {"export": exported, "data": {"source": str(first.images)}, "scores": out, "batch_size": 16}
    )

    def stop(done: int, _: int) -> None:
        if done == 32:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict(config, progress=stop)
    with (tmp_path / ".scores.csv.partial").open("ab") as file:
        file.write(b"cancer/half a ro")

    assert predict(config).n_resumed == 32
    assert out.read_bytes() == whole.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scores.csv", "whole.csv"]

    out.unlink()
    with pytest.raises(KeyboardInterrupt):
        predict(config, progress=stop)
    other = remade(exported, tmp_path / "net", medcompare_version="0.0.9")
    assert (
        predict(config.model_copy(update={"export": other})).n_resumed == 0
    )  # not half of one, half of another
    assert out.read_bytes() == whole.read_bytes()


def remade(exported: Path, to: Path, **changes: object) -> Path:
    """A copy of an export that says something else of itself, with digests that fit."""
    copy = shutil.copytree(exported, to)
    text = Export.model_validate(read_export(exported).model_dump() | changes).model_dump_json()
    (copy / "export.json").write_text(text, encoding="utf-8")
    (copy / "SHA256SUMS").unlink()
    write_digests(copy)
    return copy


def test_flat_folders_tables_and_archives_without_labels(
    first: First, exported: Path, tmp_path: Path
) -> None:
    """The same image has the same score, however it comes; patients get a table of their own."""
    flat, pictures = tmp_path / "flat", [first.images / "cancer" / f"{k:03d}.png" for k in range(4)]
    flat.mkdir()
    for picture in pictures:
        shutil.copy(picture, flat)
    (flat / "list.csv").write_text(
        "file,patient_id\n000.png,=1+1\n001.png,b\n002.png,b\n003.png,c\n", encoding="utf-8"
    )
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as packed:
        for picture in pictures:
            packed.write(picture, picture.name)

    tables = [
        scored(exported, place, tmp_path / f"{k}.csv")
        for k, place in enumerate([flat, flat / "list.csv", tmp_path / "all.zip"])
    ]
    scores = [[row["score"] for row in rows] for rows in tables]
    patients = rows_of(tmp_path / "1_patients.csv")

    assert scores[0] == scores[1] == scores[2]
    assert [row["patient_id"] for row in patients] == ["'=1+1", "b", "c"]  # no formula
    assert patients[1]["score"] == max(scores[0][1:3], key=float)
    assert not any(path.name.startswith(".") for path in tmp_path.iterdir())


def test_images_that_cannot_be_scored_are_rows_with_a_reason(
    first: First, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Broken, too small, or deeper than those of the training: listed, and the status is 2."""
    folder = tmp_path / "new"
    folder.mkdir()
    good = (first.images / "cancer" / "000.png").read_bytes()
    (folder / "a.png").write_bytes(good)
    (folder / "b.png").write_bytes(good[: len(good) // 2])
    Image.new("RGB", (31, 90)).save(folder / "c.png")
    Image.fromarray(np.full((40, 40), 3000, dtype=np.uint16)).save(folder / "d.png")
    (folder / "e.png").write_bytes(b"")
    out = tmp_path / "scores.csv"

    status = main(["predict", str(exported), "--data", str(folder), "--out", str(out)])

    reasons = {row["image"]: row["not_scored"] for row in rows_of(out)}
    assert status == 2
    assert "4 images could not be scored" in capsys.readouterr().out
    assert reasons["a.png"] == ""
    assert reasons["b.png"].startswith(("truncated", "damaged"))
    assert reasons["c.png"] == "too small: 31 x 90 pixels"
    assert reasons["d.png"].startswith("more than 8 bits per pixel")
    assert reasons["e.png"].startswith("empty file")


def test_stripes_are_unlike_the_training_images(exported: Path, tmp_path: Path) -> None:
    """Of full contrast, they lie far from every image that the network was trained on."""
    folder = tmp_path / "odd"
    folder.mkdir()
    stripes = np.zeros((40, 40, 3), np.uint8)
    stripes[::2] = 255
    Image.fromarray(stripes).save(folder / "stripes.png")

    (row,) = scored(exported, folder, tmp_path / "scores.csv")

    assert row["unlike_training"] == "yes"
    assert float(row["distance"]) > 1


@pytest.mark.parametrize("name", ["model.onnx", "export.json", "features.safetensors", "README.md"])
def test_a_damaged_export_is_refused_by_the_name_of_the_file(
    exported: Path, name: str, tmp_path: Path
) -> None:
    """One byte more, or no file: found before any image is read."""
    copy = shutil.copytree(exported, tmp_path / "net")
    with (copy / name).open("ab") as file:
        file.write(b" ")
    with pytest.raises(DataError, match=rf"{name} was altered.*medcompare export"):
        read_export(copy)
    sums = (copy / "SHA256SUMS").read_text("utf-8")
    kept = "".join(line for line in sums.splitlines(keepends=True) if name not in line)
    (copy / "SHA256SUMS").write_text(kept, encoding="utf-8")
    with pytest.raises(DataError, match=f"SHA256SUMS does not name {name}"):
        read_export(copy)
    (copy / name).unlink()
    with pytest.raises(DataError, match=f"{name} is missing"):
        read_export(copy)


def test_an_export_that_is_none_says_where_one_is(exported: Path, tmp_path: Path) -> None:
    """The folder around, a folder that is not there, and one whose description another version wrote."""
    with pytest.raises(DataError, match="exports in it: net"):
        read_export(exported.parent)
    with pytest.raises(DataError, match="is not there"):
        read_export(tmp_path / "nowhere")
    later = shutil.copytree(exported, tmp_path / "later")
    (later / "export.json").write_text('{"format": "9"}', encoding="utf-8")
    (later / "SHA256SUMS").unlink()
    write_digests(later)
    with pytest.raises(
        DataError, match=r"no export as medcompare .*by another version: make it again with medc"
    ):
        read_export(later)


def test_an_export_of_another_version_is_told_from_a_damaged_one(exported: Path, tmp_path: Path) -> None:
    """Whole files with other content: a field more, distances of features alone, other weights, another graph."""

    def changed(name: str, change: Callable[[Path], object]) -> Path:
        copy = shutil.copytree(exported, tmp_path / f"{len(list(tmp_path.iterdir()))}")
        change(copy / name)
        (copy / "SHA256SUMS").unlink()
        write_digests(copy)
        return copy

    def with_a_limit(path: Path) -> None:
        content = json.loads(path.read_text("utf-8"))
        content["likeness"]["limit"] = 3.0
        path.write_text(json.dumps(content), encoding="utf-8")

    def of_features_alone(path: Path) -> None:
        found = load_file(path)
        save_file({name: found[name] for name in ("means", "whitening")}, path)

    with pytest.raises(
        DataError, match=r"\(export\.json: likeness\.limit\); it was made by medcompare 0\.1\.0"
    ):
        read_export(changed("export.json", with_a_limit))
    images, out = tmp_path / "images", tmp_path / "scores.csv"
    images.mkdir()
    Image.new("RGB", (40, 40)).save(images / "a.png")
    with pytest.raises(DataError, match=r"features\.safetensors: 'pixel_means'.*make it again"):
        scored(changed("features.safetensors", of_features_alone), images, out)
    weights = changed("weights.safetensors", lambda path: save_file({"a": np.zeros(1)}, path))
    with pytest.raises(DataError, match=r"not the weights of test_cnn .* --engine onnxruntime"):
        scored(weights, images, out, engine="torch")
    with pytest.raises(DataError, match=r"model\.onnx: onnxruntime .* cannot load it .* --engine torch"):
        scored(changed("model.onnx", lambda path: path.write_bytes(b"no graph")), images, out)
    assert not list(tmp_path.glob(".scores*"))


def test_scores_that_are_not_those_of_the_run_are_refused(first: First, tmp_path: Path) -> None:
    """The run's table says otherwise: nothing is written."""
    root = tmp_path / "altered"
    root.mkdir()
    first.copy(root)
    table = root / "runs" / "latest" / "predictions_test.csv"
    rows = rows_of(table)
    rows[0][MODEL] = "0.5" if float(rows[0][MODEL]) < 0.4 else "0.1"
    write_rows(table, rows)

    with pytest.raises(ExportError, match="refused and nothing was written: torch now against the run"):
        export_run(root / "runs" / "latest", tmp_path / "out" / "net", model=MODEL, store=root / "store")

    assert list((tmp_path / "out").iterdir()) == []


def test_what_cannot_be_exported_says_why(first: First, exported: Path, tmp_path: Path) -> None:
    """A wrong name, a run that is none, a network that is gone, a folder that is taken."""
    run = first.root / "runs" / "latest"
    with pytest.raises(ConfigError, match=r"--model resnet: .* there are: test_cnn, efficientnet_b0"):
        export_run(run, tmp_path / "x", model="resnet")
    with pytest.raises(DataError, match=r"no results.json.*runs in .*: .*two-classes"):
        export_run(first.root / "runs", tmp_path / "x")
    with pytest.raises(DataError, match=r"not to be had.*--store.*medcompare compare --config"):
        export_run(run, tmp_path / "x", model=MODEL, store=tmp_path / "empty")
    with pytest.raises(ConfigError, match="exists: choose another folder with --to"):
        export_run(run, exported, model=MODEL)
    assert not (tmp_path / "x").exists()


def test_what_cannot_be_scored_says_why(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No images named, none there, a place that cannot be written, a setting that has no effect."""
    (tmp_path / "taken.csv").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "images").mkdir()
    Image.new("RGB", (40, 40)).save(tmp_path / "images" / "a.png")
    there = ["--data", str(tmp_path / "images")]
    calls = {
        "name the export and --data: medcompare predict": [],
        "holds no images": ["--data", str(tmp_path / "empty")],
        "exists: choose another table": ["--data", ".", "--out", str(tmp_path / "taken.csv")],
        "is a folder: name a file in it": ["--data", ".", "--out", str(tmp_path)],
        "scores are written as CSV; name it a.csv": ["--data", ".", "--out", str(tmp_path / "a.xlsx")],
        "cannot be written (": [*there, "--out", str(tmp_path / "taken.csv" / "a.csv")],
        "data.positive has no effect here": ["--data", ".", "--set", "data.positive=cancer"],
        "--device is 'mps'": [*there, "--device", "mps"],
        "--group-by is about a table": [*there, "--group-by", "patient"],
        "no such folder or file": ["--data", str(tmp_path / "nowhere"), "--out", str(tmp_path / "a.csv")],
    }
    for words, options in calls.items():
        with redirect_stdout(io.StringIO()):
            assert main(["predict", str(exported), *options]) == 2
        assert words in capsys.readouterr().err


def test_a_threshold_of_patients_wants_patients(first: First, exported: Path, tmp_path: Path) -> None:
    """Scores are means of patients then; images have no call of their own."""
    copy = remade(exported, tmp_path / "net", per_patient="mean")
    made = read_export(copy)

    with pytest.raises(DataError, match="threshold of this export is one of patients"):
        scored(copy, first.images, tmp_path / "scores.csv")
    config = {"source": str(first.images), "patient_pattern": r"^\w+/\d"}
    out = tmp_path / "scores.csv"
    found = predict(PredictConfig.model_validate({"export": copy, "data": config, "scores": out}))
    rows = rows_of(out)
    patients = rows_of(tmp_path / "scores_patients.csv")

    of_first = [float(row["score"]) for row in rows if row["patient_id"] == "cancer/0"]
    assert {row["decision"] for row in rows} == {""}
    assert sum(found.counts[name] for name in made.classes) == len(patients) == 2
    assert sentences(found)[1].startswith("patients: ")
    assert float(patients[0]["score"]) == pytest.approx(np.mean(of_first))
    assert patients[0]["decision"] in made.classes


def test_the_deployment_scores_and_fails_where_an_image_could_not_be(
    first: First, exported: Path, tmp_path: Path
) -> None:
    """The flow gives the counts; with a broken image it fails, and the table is there."""
    from flows.predict import predict as flow

    folder = tmp_path / "new"
    folder.mkdir()
    shutil.copy(first.images / "cancer" / "000.png", folder)
    values = {
        "export": str(exported),
        "data": {"source": str(folder)},
        "scores": str(tmp_path / "a-{date}.csv"),
    }

    found = flow(values)
    (folder / "b.png").write_bytes(b"no image")
    state = flow(values | {"scores": str(tmp_path / "b.csv")}, return_state=True)

    assert found["cancer"] + found["non_cancer"] == 1
    assert re.search(r"a-\d{4}-\d\d-\d\d\.csv$", found["table"])
    assert state.is_failed()
    assert "1 images could not be scored: column not_scored of b.csv" in str(state.message)
    assert len(rows_of(tmp_path / "b.csv")) == 2


@pytest.fixture(scope="module")
def recalibrated_run(first: First, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The first run as it had been with Platt's recalibration, and an export of it whose band is not empty."""
    root = tmp_path_factory.mktemp("recalibrated")
    first.copy(root)
    run = root / "runs" / "latest"
    for name, change in (
        ("config.json", lambda found: found["evaluate"].update(recalibration="platt")),
        (
            "results.json",
            lambda found: [
                one["calibration"].update(recalibration="platt") for one in found["assessment"]["evaluations"]
            ],
        ),
    ):
        content = json.loads((run / name).read_text("utf-8"))
        change(content)
        (run / name).write_text(json.dumps(content), encoding="utf-8")
    # The network tells the few validation cases apart: with two labels changed, neither side of the threshold is sure.
    table = run / "predictions_validation.csv"
    rows = sorted(rows_of(table), key=lambda row: float(row[MODEL]))
    next(row for row in reversed(rows) if row["y_true"] == "0")["y_true"] = "1"
    next(row for row in reversed(rows) if row["y_true"] == "1")["y_true"] = "0"
    write_rows(table, rows)
    folder, export = export_run(run, root / "net", model=MODEL, store=root / "store", max_error=0.0)
    assert export.recalibration.kind == "platt"
    assert 0 < export.referral.test_referred.k < export.referral.test_referred.n
    return run, folder


@pytest.mark.parametrize("engine", ["onnxruntime", "torch"])
def test_what_is_decided_at_a_score_is_as_in_the_run(
    first: First, recalibrated_run: tuple[Path, Path], engine: str, tmp_path: Path
) -> None:
    """Probability, call and band of every test and validation image, and of patients of ten images each.

    Threshold and band end at scores of validation images, which every engine rounds otherwise.
    """
    run, folder = recalibrated_run
    export = read_export(folder)
    found = scored(folder, first.images, tmp_path / "scores.csv", engine=engine, patient_pattern=r"^\w+/\d\d")
    by_digest = {row["sha256"][:8]: row for row in found}
    tables = {
        subset: read_prediction_table(
            run / f"predictions_{subset}.csv", subset="test" if subset == "test" else "val"
        )
        for subset in ("test", "validation")
    }
    validation = tables["validation"]
    platt = fit_platt(validation.y_true, validation.scores[MODEL])
    band, threshold = export.referral, export.threshold.threshold

    for subset, cases in tables.items():
        score = cases.scores[MODEL]
        mine = [by_digest[case.removeprefix("case-")] for case in cases.case_id]
        low = -np.inf if band.low is None else band.low
        high = np.inf if band.high is None else band.high
        asked = (score >= low) & (score < high)

        assert [float(row["probability"]) for row in mine] == pytest.approx(platt.apply(score), abs=1e-5)
        assert [row["decision"] == "cancer" for row in mine] == (score >= threshold).tolist()
        assert [row["refer"] == "yes" for row in mine] == asked.tolist()
        if subset == "test":
            assert asked.sum() == band.test_referred.k
            assert ((score >= threshold) != cases.y_true)[~asked].sum() == band.test_errors.k
            assert sum(row["unlike_training"] == "yes" for row in mine) == export.likeness.test_flagged.k
    for patient in rows_of(tmp_path / "scores_patients.csv"):
        highest = max(
            (row for row in found if row["patient_id"] == patient["patient_id"]),
            key=lambda row: float(row["score"]),
        )
        same = ("score", "probability", "decision", "refer")
        assert [patient[name] for name in same] == [highest[name] for name in same]
