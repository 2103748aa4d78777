"""The real flow on a small real run: what runs, what is reused, what is left on disk."""

from __future__ import annotations

import json
import logging
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pypdf import PdfReader

from medcompare.base.artifacts import ArtifactStore
from medcompare.base.errors import DataError, InputError
from medcompare.cli.app import main
from medcompare.config.schema import AssessConfig, EvaluateConfig
from tests.flows.conftest import make_two_classes
from tests.flows.small_runs import EVERY_STAGE, MODELS, NEVER_CACHED, ONE_MODEL, cached, run, small_config

if TYPE_CHECKING:
    from tests.flows.small_runs import First

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.timeout(900)  # real trainings, on a machine that may be busy


def test_second_run_trains_nothing_and_says_the_same(first: First, tmp_path: Path) -> None:
    """First run: everything computed. Second: everything reused but what names the run, same figures."""
    images = first.copy(tmp_path)
    again = run(small_config(images, tmp_path))

    assert set(first.tasks) == EVERY_STAGE
    assert set(first.tasks.values()) == {"Completed"}
    assert cached(again) == EVERY_STAGE - NEVER_CACHED
    assert set(again.tasks) == EVERY_STAGE
    one, two = (json.loads(Path(done.result.results).read_text()) for done in (first, again))
    assert one["assessment"] == two["assessment"]
    assert Path(first.result.pdf).read_bytes().startswith(b"%PDF")
    assert (tmp_path / "runs/latest").resolve() == Path(again.result.folder).resolve()


def test_the_report_proves_its_numbers(first: First, capsys: pytest.CaptureFixture[str]) -> None:
    """From the PDF alone every number comes out again; no file name is inside."""
    assert main(["reproduce", str(first.result.pdf)]) == 0

    assert re.search(r"all \d,\d{3} numbers agree", capsys.readouterr().out)
    attached = PdfReader(first.result.pdf).attachments
    assert sorted(attached) == [
        "checklists.csv",
        "evidence.json",
        "predictions_running.csv",
        "predictions_test.csv",
        "predictions_validation.csv",
        "results.json",
    ]
    names = [path.name.encode() for path in first.images.rglob("*.png")]
    assert len(names) == 80
    assert not any(name in content[0] for content in attached.values() for name in names)


def test_exactly_what_depends_on_a_change_runs_again(first: First, tmp_path: Path) -> None:
    """Hyperparameter of one model, views of both, and moved data; of a changed image see the tests of the keys."""
    moved = first.copy(tmp_path, with_images=True).rename(tmp_path / "elsewhere")

    settings = {"recipes": {"test_cnn": {"learning_rate": 0.002}}, "test_time_augmentation": "hflip"}
    changed = run(small_config(moved, tmp_path, train=settings))

    # Of the move: only what records the new name of the data set, or is given that record.
    assert EVERY_STAGE - cached(changed) == {
        "ingest",
        "split",
        "train test_cnn",
        *(f"{stage} {model}" for stage in ("predict", "evaluate", "measure cost of") for model in MODELS),
        "decide",
        "saliency test_cnn",
        *NEVER_CACHED,
    }
    recipes = [one["recipe"] for one in json.loads(Path(changed.result.results).read_text())["budgets"]]
    assert all(recipe.endswith("scores averaged over each image and its mirror image") for recipe in recipes)


def test_other_names_of_the_classes_are_in_everything(first: First, tmp_path: Path) -> None:
    """The same images under other names: nothing is trained again, and no old name is left in any result."""
    images = first.copy(tmp_path)
    rows = [
        f"{path},{'benign' if path.parent.name == 'non_cancer' else 'malignant'}"
        for path in sorted(path.relative_to(images) for path in images.rglob("*.png"))
    ]
    (images / "relabelled.csv").write_text("\n".join(["path,label", *rows]))
    try:
        done = run(small_config(images / "relabelled.csv", tmp_path, data={"positive": "malignant"}))
    finally:
        (images / "relabelled.csv").unlink()

    assert {f"train {model}" for model in MODELS} <= cached(done)
    text = Path(done.result.results).read_text() + Path(done.result.html).read_text()
    assert "malignant" in text
    assert "benign" in text
    assert re.findall(r".{30}\bnon_cancer\b.{30}", text) == []
    assert json.loads(Path(done.result.results).read_text())["split"]["classes"] == ["benign", "malignant"]


@pytest.mark.slow  # each sentence it reads is tested where it is written, without a run
def test_several_classes_in_a_published_split(first: First, tmp_path: Path) -> None:
    """The counts of every class are on page one, the class is a subgroup, and the published test images are tested."""
    images = first.copy(tmp_path)
    paths = sorted(path.relative_to(images) for path in images.rglob("*.png"))
    kinds = {"cancer": ("mel", "bcc"), "non_cancer": ("nv", "bkl")}
    rows = [
        (str(path), kinds[path.parent.name][i % 2], "Test" if i % 3 == 0 else "Training")
        for i, path in enumerate(paths)
    ]
    (images / "t.csv").write_text("\n".join(["path,label,split", *map(",".join, rows)]))
    try:
        done = run(
            small_config(
                images / "t.csv",
                tmp_path,
                models=ONE_MODEL,
                data={"positive": "mel,bcc"},
                split={"published": "keep", "leaks": "remove"},
            )
        )
    finally:
        (images / "t.csv").unlink()

    results = json.loads(Path(done.result.results).read_text())
    assert results["split"]["classes"] == ["bkl+nv", "bcc+mel"]
    assert results["split"]["method"].startswith("The published test images, kept as they are")
    [counts] = [notice for notice in results["notices"] if notice.startswith("Positive: bcc (")]
    assert "; negative: bkl (" in counts
    [evaluation] = results["assessment"]["evaluations"]
    tested = {(group["column"], group["level"]) for group in evaluation["subgroups"]}
    assert tested == {("original_class", name) for name in ("bcc", "bkl", "mel", "nv")}
    published = [row for row in rows if row[2] == "Test"]
    assert sum(group["n"] for group in evaluation["subgroups"]) == evaluation["n"] <= len(published)


@pytest.mark.slow
@pytest.mark.parametrize("given", ["settings", "parameters of a deployment"])
def test_the_printed_command_repeats_the_run(first: First, tmp_path: Path, given: str) -> None:
    """Entered on an empty store it trains again and comes to the same figures and origins of settings."""
    images = first.copy(tmp_path)
    config = small_config(images, tmp_path)
    parameters = json.loads(config.model_dump_json(exclude_unset=True))
    done = run(config if given == "settings" else parameters)
    before = json.loads(Path(done.result.results).read_text())
    command = shlex.split(before["provenance"]["command"].replace("...", str(tmp_path / "runs")))
    assert command[:4] == ["python", "-m", "flows.compare", "--config"]

    fresh = ["--store", str(tmp_path / "empty"), "--out", str(tmp_path / "again")]
    subprocess.run([sys.executable, *command[1:], *fresh], cwd=ROOT, check=True, timeout=600)

    after = json.loads((tmp_path / "again/latest/results.json").read_text())
    for one, two in zip(before["assessment"]["evaluations"], after["assessment"]["evaluations"], strict=True):
        assert one == two
    assert before["assessment"]["comparisons"] == after["assessment"]["comparisons"]
    assert [row for row in before["settings"] if row["field"] not in {"store", "out", "name"}] == [
        row for row in after["settings"] if row["field"] not in {"store", "out", "name"}
    ]


@pytest.mark.slow
def test_cost_is_measured_again_when_asked(first: First, tmp_path: Path) -> None:
    """Nothing else is computed again but what rests on the cost; and the next run reuses the later measurement."""
    images = first.copy(tmp_path)
    cost = {"n_warmup": 1, "n_repeats": 10, "throughput_batch": 2}

    again = run(small_config(images, tmp_path, models=ONE_MODEL, cost=cost | {"fresh": True}))
    reused = {"ingest", "split", "train test_cnn", "predict test_cnn", "evaluate test_cnn"}
    assert cached(again) == reused
    # Other cases are shown where there is one model, and so other maps.
    beside = {"measure cost of test_cnn", "decide", "saliency test_cnn"}
    assert set(again.tasks) == reused | beside | NEVER_CACHED

    later = run(small_config(images, tmp_path, models=ONE_MODEL))
    assert cached(later) >= reused | {"measure cost of test_cnn"}
    measured = [
        next(cost for cost in costs if cost["model"] == "test_cnn")
        for done in (first, again, later)
        if (costs := json.loads(Path(done.result.results).read_text())["assessment"]["costs"])
    ]
    assert measured[1] == measured[2]
    assert measured[1] != measured[0]


def test_lost_and_altered_files_are_computed_anew(
    first: First, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A cached result is not trusted when its file is gone or not what it was."""
    images, store = first.copy(tmp_path), ArtifactStore(tmp_path / "store")
    before = json.loads(Path(first.result.results).read_text())
    [trained] = [one for one in before["trained"] if one["model"] == "test_cnn"]
    (store.root / trained["checkpoint"]["path"]).unlink()
    written = {path: path.read_bytes() for path in store.root.rglob("*.csv")}
    [(split, content)] = [one for one in written.items() if one[1].partition(b"\n")[0].endswith(b",subset")]
    split.write_bytes(content.replace(b",train", b",valid", 1))  # as long as before

    with caplog.at_level(logging.WARNING):
        again = run(small_config(images, tmp_path, models=ONE_MODEL))

    assert re.search(
        r"train test_cnn: the cached result cannot be used \(stored file .* is missing", caplog.text
    )
    assert re.search(r"split: the cached result cannot be used \(stored file .* was altered", caplog.text)
    [retrained] = json.loads(Path(again.result.results).read_text())["trained"]
    # Alone it has more threads than beside another model: sums differ in the last digits.
    losses = [[epoch["val_loss"] for epoch in one["history"]] for one in (trained, retrained)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    assert (store.root / retrained["checkpoint"]["path"]).is_file()
    assert split.read_bytes() == content


def test_bad_input_stops_before_any_task(images: Path, tmp_path: Path) -> None:
    """One class only: the message names it, no work was begun, nothing is left in the output folder."""
    for path in (images / "non_cancer").iterdir():
        path.unlink()
    (images / "non_cancer").rmdir()

    done = run(small_config(images, tmp_path))

    with pytest.raises(DataError, match="class"):
        _ = done.result
    # The failure may be worth a mail; that is all.
    assert done.tasks == {"mail": "Completed"}
    assert list((tmp_path / "runs").iterdir()) == []


def test_too_many_unreadable_images_stop_the_run(
    first: First, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What was read of them before is not reused; never retried, told in a sentence, no half-written report."""
    images = first.copy(tmp_path, with_images=True)
    reports = set((tmp_path / "runs").glob("**/report*"))
    for number in range(10):
        (images / "cancer" / f"{number:03d}.png").write_bytes(b"broken")

    done = run(small_config(images, tmp_path))

    with pytest.raises(InputError, match="max_rejected_fraction"):
        _ = done.result
    assert done.tasks == {"ingest": "Failed", "mail": "Completed"}
    assert set((tmp_path / "runs").glob("**/report*")) == reports
    assert "10 of 80 files in" in caplog.text
    assert "Traceback" not in caplog.text


@pytest.mark.slow
def test_the_networks_are_trained_on_a_random_split_as_well(tmp_path: Path) -> None:
    """One more training of each network, cached under an identity of its own; the verdict rests on the first."""
    config = small_config(
        tmp_path,
        tmp_path,
        models=ONE_MODEL,
        data={
            "source": "demo",
            "demo": {"n_patients": 100, "image_size_px": 32},
            "max_rejected_fraction": 0.5,
        },
        split={"test_fraction": 0.3, "random_beside": True},
    )
    first = run(config)
    again = run(config)

    results = json.loads(Path(first.result.results).read_text())
    [beside] = results["assessment"]["random_split"]
    assert {"train test_cnn", "train test_cnn, random split"} <= {
        name for name, state in first.tasks.items() if state == "Completed"
    }
    assert {"train test_cnn", "train test_cnn, random split", "predict test_cnn, random split"} <= cached(
        again
    )
    assert beside["n_leaked"] > 20
    assert beside["auc"]["value"] == results["assessment"]["evaluations"][0]["metrics"]["auc"]["value"]
    assert beside["difference"]["ci_low"] < beside["difference"]["value"] < beside["difference"]["ci_high"]
    assert len(results["trained"]) == 1
    html = Path(first.result.html).read_text("utf-8")
    assert "How optimistic would a careless split have been?" in html


@pytest.mark.slow
def test_a_search_goes_on_where_it_was_and_tells_what_it_found(first: First, tmp_path: Path) -> None:
    """Two trials of each model, then a third of each: the first two are reused, and final trainings use the best."""
    images = first.copy(tmp_path)
    small = {"tune": {"n_trials": 2, "epochs": 1}, "preset": "tuned"}

    done = run(small_config(images, tmp_path, **small))
    more = run(small_config(images, tmp_path, **small | {"tune": {"n_trials": 3, "epochs": 1}}))

    trials = {f"tune {model} trial {n}" for model in MODELS for n in (1, 2)}
    assert {name for name in done.tasks if name.startswith("tune")} == trials
    assert {name for name in cached(more) if name.startswith("tune")} == trials
    results = json.loads(Path(more.result.results).read_text())
    assert [len(one["trials"]) for one in results["searches"]] == [3, 3]
    for one, trained in zip(results["searches"], results["trained"], strict=True):
        best = max(one["trials"], key=lambda trial: (trial["val_auc"][0], -trial["val_loss"][0]))
        assert one["chosen"] == best["number"]
        assert trained["optimizer"]["values"]["rate"] == best["settings"]["learning_rate"]
        # A trial is the first epoch of the training that it led to.
        assert trained["history"][0]["val_loss"] == best["val_loss"][0]
    assert [(one["n_trials"], one["trial_epochs"]) for one in results["budgets"]] == [(3, 1)] * 2
    assert not any("not tuned alike" in notice for notice in results["notices"])
    assert any("3 trials of at most 1 epoch, judged on the validation" in one for one in results["notices"])


@pytest.mark.slow
def test_seeds_folds_and_another_hospital(first: First, tmp_path: Path) -> None:
    """A second seed trains only what is new, and its table comes to the same figures in `assess`."""
    images = first.copy(tmp_path)
    other = make_two_classes(tmp_path / "other", seed=6)

    done = run(small_config(images, tmp_path, seeds=2, folds=2, external={"b": str(other)}))

    assert {f"train {model} seed 0" for model in MODELS} <= cached(done)
    assert done.tasks["train test_cnn seed 1"] == done.tasks["train test_cnn seed 0 fold 2"] == "Completed"
    assert {"ingest b", "external set b", "evaluate on b", "predict test_cnn seed 0 on b"} <= set(done.tasks)
    results = json.loads(Path(done.result.results).read_text())
    found = results["assessment"]
    assert [row["seed"] for row in found["seeds"]] == ["0", "1"] * 2
    assert [one["name"] for one in found["external"]] == ["b"]
    assert len(found["cross_validation"]["rows"]) == 2 * 2
    assert {one["n_trainings"] for one in results["budgets"]} == {2}
    tables = {name: Path(done.result.folder) / f"predictions_{name}.csv" for name in ("test", "validation")}
    again = run(
        AssessConfig(
            predictions=tables["test"],
            validation=tables["validation"],
            out=tmp_path / "runs",
            store=tmp_path / "store",
            evaluate=EvaluateConfig(n_resamples=200),
        )
    )
    means = [
        sorted(abs(one["mean"]["value"]) for one in each["seed_comparisons"])
        for each in (found, json.loads(Path(again.result.results).read_text())["assessment"])
    ]
    assert means[1] == pytest.approx(means[0])
