"""Reporting checklists: complete, derived from the records, and honest about what is missing."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from medcompare.base.errors import ConfigError
from medcompare.base.record import Artifact
from medcompare.data.records import DatasetManifest, DatasetSplit, SubsetSummary
from medcompare.models.spec import InitialWeights
from medcompare.predictions.costs import CostMeasurement
from medcompare.report.checklists.answers import ChecklistAnswers, answers_template, read_answers
from medcompare.report.checklists.facts import FACTS, RunRecords
from medcompare.report.checklists.fill import fill_checklists
from medcompare.report.checklists.items import CHECKLISTS, TOPICS
from medcompare.report.inputs import SettingRow
from medcompare.runs.provenance import Provenance
from medcompare.stats.in_detail import SubgroupEvaluation
from medcompare.stats.records import (
    AgreementTable,
    Assessment,
    Calibration,
    ClassReport,
    ConfusionCounts,
    Curve,
    Estimate,
    ModelEvaluation,
    OperatingPoint,
    Outcome,
    PairedComparison,
    Parameter,
    SeedRow,
    SizeNeeded,
    Verdict,
)
from medcompare.training.records import EpochLog, TrainedModel
from tests.report.sample import make_characteristics, make_saliency

if TYPE_CHECKING:
    from medcompare.report.inputs import ChecklistItem

CLASSES = ("benign", "cancer")
NAMES = {"a": "Model A", "b": "Model B"}
STARD_LINES = [
    *map(str, range(1, 15)), "15a", "15b", "15c", "15d", "16a", "16b", "16c", "17a", "17b",
    *map(str, range(18, 26)), "26a", "26b", *map(str, range(27, 40)), "40a", "40b",
]  # fmt: skip
TRIPOD_LINES = [
    "1", "2", "3a", "3b", "3c", "4", "5a", "5b", "6a", "6b", "6c", "7", "8a", "8b", "8c", "9a", "9b", "9c", "10", "11",
    *(f"12{letter}" for letter in "abcdefg"), "13", "14", "15", "16", "17", *(f"18{letter}" for letter in "abcdef"),
    "19", "20a", "20b", "20c", "21", "22", "23a", "23b", "24", "25", "26", "27a", "27b", "27c",
]  # fmt: skip
CURVE = Curve(x=(0.0, 1.0), y=(0.0, 1.0))
EXAMPLE = Path(__file__).parents[2] / "docs" / "checklist-answers.example.toml"


def estimate(value: float, *, method: str = "Wilson") -> Estimate:
    """An estimate with an interval of plus or minus 0.04."""
    return Estimate(value=value, ci_low=value - 0.04, ci_high=value + 0.04, method=method, n=120)


def artifact(letter: str) -> Artifact:
    """A stored file with a digest of one letter."""
    return Artifact(path=f"files/{letter}", sha256=letter * 64, n_bytes=2_000_000)


def make_calibration(recalibration: str | None) -> Calibration:
    """A calibration whose slope is 1.10."""
    one = estimate(1.1)
    return Calibration(
        slope=one, in_the_large=one, observed_expected=one, brier=one, scaled_brier=one,
        expected_calibration_error=one, curve=CURVE, histogram_edges=(0.0, 1.0), histogram_negative=(72,),
        histogram_positive=(48,), recalibration=recalibration,
    )  # fmt: skip


def make_evaluation(
    model: str, auc: float, counts: tuple[int, int, int, int], **changes: Any
) -> ModelEvaluation:
    """One model on 120 cases, 48 of them cancer; `counts`: TN, FP, FN, TP."""
    tn, fp, fn, tp = counts
    metrics = {
        "auc": estimate(auc, method="DeLong (logit)"),
        "sensitivity": estimate(tp / (tp + fn)),
        "specificity": estimate(tn / (tn + fp)),
        "brier": Estimate(value=None, method="Bootstrap", note="Not asked for."),
    }
    row = {"precision": metrics["auc"], "recall": metrics["auc"], "f1": metrics["auc"]}
    fields: dict[str, Any] = {
        "model": model, "display_name": NAMES[model], "classes": CLASSES, "n": 120, "n_positive": 48,
        "n_negative": 72, "n_units_positive": 16, "n_units_negative": 24, "clustered": True,
        "operating_point": OperatingPoint(threshold=0.37, rule="Youden on validation", chosen_on="validation"),
        "confusion": ConfusionCounts(true_negative=tn, false_positive=fp, false_negative=fn, true_positive=tp),
        "metrics": metrics,
        "classification_report": tuple(
            ClassReport(class_name=c, support=n, **row) for c, n in zip(CLASSES, (72, 48), strict=True)
        ),
        "roc": CURVE, "precision_recall": CURVE, "calibration": make_calibration(None), "constant_output": False,
    }  # fmt: skip
    return ModelEvaluation(**fields | changes)


SIZE = SizeNeeded(
    quantity="sensitivity", models=("a", "b"), bound=0.05, assumed=0.0, power=0.8, unit="patients",
    needed_positive=314, present_positive=48, present_negative=72,
    sentence="About 320 cancer patients would show it with a probability of 80%, if there is no loss; there are 48.",
)  # fmt: skip


def make_assessment(**changes: Any) -> Assessment:
    """Two models on 120 cases of 40 patients."""
    verdict = Verdict(
        outcome=Outcome.NOT_ENOUGH_DATA, step="6", model=None, reference="a", candidate="b", headline="Too few",
        sentence="Too few cases.", remarks=(), caveats=("One seed only.",), sizes_needed=(SIZE,),
        parameters=(Parameter(name="margin_auc", value="0.03", set_by="user"),),
    )  # fmt: skip
    pair = PairedComparison(
        reference="a", candidate="b",
        differences={"auc": estimate(-0.02, method="DeLong"), "sensitivity": estimate(0.01, method="Tango")},
        positives=AgreementTable(both_correct=40, only_reference_correct=2, only_candidate_correct=3, both_wrong=3),
        negatives=AgreementTable(both_correct=55, only_reference_correct=5, only_candidate_correct=4, both_wrong=8),
        probability_candidate_more_accurate=estimate(0.4),
    )  # fmt: skip
    fields: dict[str, Any] = {
        "models": ("a", "b"), "display_names": NAMES, "classes": CLASSES, "n": 120, "n_positive": 48,
        "n_negative": 72, "n_patients": 40, "clustered": True, "prevalence": 0.4, "level": 0.95,
        "n_resamples": 2000, "seed": 7,
        "evaluations": (make_evaluation("a", 0.91, (60, 12, 6, 42)), make_evaluation("b", 0.89, (59, 13, 5, 43))),
        "comparisons": (pair,), "costs": (CostMeasurement(model="a", flops=8_000_000_000),), "verdict": verdict,
        "quantities": (),
    }  # fmt: skip
    return Assessment(**fields | changes)


def make_manifest(**changes: Any) -> DatasetManifest:
    """600 images, 10 files excluded."""
    fields: dict[str, Any] = {
        "name": "ward-7", "synthetic": False, "classes": CLASSES, "class_counts": (360, 240), "n_found": 610,
        "n_images": 600, "n_patients": 200, "n_rejected": 10,
        "rejected_by_reason": (("too small", 4), ("unreadable", 6)),
        "n_duplicate_groups": 3, "n_conflicting_groups": 1, "image_sizes": (("96x96", 600),), "extra_columns": (),
        "fingerprint": "f" * 64, "images": artifact("1"), "rejected": artifact("2"),
    }  # fmt: skip
    return DatasetManifest(**fields | changes)


def make_split(**changes: Any) -> DatasetSplit:
    """A split of 420, 60 and 120 images by patient."""
    rows = (("train", (252, 168), 0.7), ("val", (36, 24), 0.1), ("test", (72, 48), 0.2))
    fields: dict[str, Any] = {
        "assignments": artifact("3"), "classes": CLASSES, "method": "Stratified by class, grouped by patient.",
        "grouped_by": "patient_id", "disjoint": [], "n_duplicates_kept_together": 2, "seed": 5,
        "manifest_fingerprint": "f" * 64,
        "subsets": tuple(
            SubsetSummary(
                subset=name, n_images=sum(counts), class_counts=counts, n_patients=sum(counts) // 3,
                fraction=share, target_fraction=share,
            )
            for name, counts, share in rows
        ),
    }  # fmt: skip
    return DatasetSplit(**fields | changes)


def make_trained(model: str, **changes: Any) -> TrainedModel:
    """A training of three epochs, the second kept."""
    history = tuple(
        EpochLog(
            epoch=e, learning_rate=1e-3, train_loss=0.5 / e, val_loss=0.6 / e, val_auc=0.8 + e / 100,
            val_balanced_accuracy=0.8, images_per_s=50.0, elapsed_s=3.0,
        )
        for e in (1, 2, 3)
    )  # fmt: skip
    fields: dict[str, Any] = {
        "model": model, "display_name": NAMES[model], "checkpoint": artifact("c"), "history": history, "best_epoch": 2,
        "selection": "Best validation AUC.", "stopped_early": True,
        "initial_weights": InitialWeights(kind="none", name="random initialisation", version=None),
        "optimizer": "Adam, learning rate 0.001, weight decay 0", "class_weights": (0.8, 1.25), "image_size_px": 64,
        "resize_px": 73, "batch_size": 32, "n_parameters": 23_512_130, "precision": "float32",
        "memory_format": "contiguous", "device": "cpu", "n_threads": 2, "n_parallel": 1, "seed": 0,
        "n_images_seen": 1260, "elapsed_s": 9.0,
    }  # fmt: skip
    return TrainedModel(**fields | changes)


def make_provenance(**changes: Any) -> Provenance:
    """Provenance of a run on a machine with no name."""
    fields: dict[str, Any] = {
        "medcompare_version": "1.2.3", "code_commit": "abc123", "code_dirty": False, "versions": (("numpy", "2.4.0"),),
        "python": "3.13.0", "platform": "Linux", "cpu": "a processor", "n_cores": 4, "memory_bytes": 8_000_000_000,
        "gpu": None, "started_at": "2026-11-22T20:00:00+00:00", "finished_at": "2026-11-22T21:00:00+00:00",
        "command": "python -m flows.compare", "config_sha256": "9" * 64,
    }  # fmt: skip
    return Provenance(**fields | changes)


def fill(answers: ChecklistAnswers | None = None, **changes: Any) -> dict[str, dict[str, ChecklistItem]]:
    """Items of a comparison by checklist and number; `changes` replace records."""
    records: dict[str, Any] = {
        "assessment": make_assessment(), "manifest": make_manifest(), "split": make_split(),
        "trained": (make_trained("a"), make_trained("b")), "provenance": make_provenance(),
    }  # fmt: skip
    tables = fill_checklists(RunRecords(**records | changes), answers)
    return {table.name: {row.number: row for row in table.items} for table in tables}


def fill_supplied(**changes: Any) -> dict[str, dict[str, ChecklistItem]]:
    """Items of an assessment of supplied predictions."""
    return fill(manifest=None, split=None, trained=(), **changes)


@pytest.mark.parametrize(
    ("name", "numbers", "n_main"),
    [
        ("CLAIM 2024", [str(i) for i in range(1, 45)], 44),
        ("TRIPOD+AI", TRIPOD_LINES, 27),
        ("STARD-AI", STARD_LINES, 40),
    ],
)
def test_every_number_once_and_in_order(name: str, numbers: list[str], n_main: int) -> None:
    """Each checklist holds its published numbers, each once, in order, with section and text."""
    (checklist,) = (one for one in CHECKLISTS if one.name == name)

    assert [row.number for row in checklist.items] == list(fill()[name]) == numbers
    assert len({re.sub(r"\D", "", number) for number in numbers}) == n_main
    assert all(row.section and row.text for row in checklist.items)


def test_items_name_known_facts_and_topics() -> None:
    """Every fact and topic an item names exists, is used, and no item asks for something nobody may supply."""
    items = [row for c in CHECKLISTS for row in c.items]
    topics = [topic for row in items for topic in row.topics]

    assert {name for row in items for name in row.facts} == set(FACTS)
    assert set(topics) == set(TOPICS)
    assert all(topics.count(topic) > 1 for topic in TOPICS), "a topic of one item is no shared topic"
    assert [row.number for row in items if row.to_add and not row.facts] == []


def test_decide_ai_is_not_applicable() -> None:
    """One line says why the checklist for live evaluation does not apply."""
    (row,) = fill()["DECIDE-AI"].values()

    assert row.status == "not applicable"
    assert "offline evaluation" in row.answer


EXPECTED_BY_SOFTWARE = {
    "CLAIM 2024": "9 12 19 20 22 23 24 25 26 28 29 32 38 39",
    "TRIPOD+AI": "7 11 12a 12b 12e 12g 13 21",
    "STARD-AI": "15a 15b 18 20 30 31 40b",
}


@pytest.mark.parametrize("name", EXPECTED_BY_SOFTWARE)
def test_what_a_comparison_fills(name: str) -> None:
    """Exactly the items that the records answer wholly are filled; nothing is by the user."""
    items = fill()[name]

    assert [n for n, row in items.items() if row.status == "filled by software"] == EXPECTED_BY_SOFTWARE[
        name
    ].split()
    assert not [n for n, row in items.items() if row.status == "filled by user"]


@pytest.mark.parametrize("name", EXPECTED_BY_SOFTWARE)
def test_supplied_predictions_fill_no_training_item(name: str) -> None:
    """Without training records the items on training, split and images are missing, not filled."""
    known = {
        "CLAIM 2024": "29 38 39",
        "TRIPOD+AI": "12e",
        "STARD-AI": "18 30 31 40b",
    }
    items = fill_supplied()[name]

    assert [n for n, row in items.items() if row.status == "filled by software"] == known[name].split()


@pytest.mark.parametrize(
    ("name", "number"),
    [("CLAIM 2024", n) for n in ["9", "19", "20", "22", "24", "25", "26", "27"]]
    + [("TRIPOD+AI", n) for n in ["7", "12a", "12b", "12g", "13", "16", "22"]]
    + [("STARD-AI", n) for n in ["15a", "15b"]],
)
def test_training_items_are_blank_for_supplied_predictions(name: str, number: str) -> None:
    """What only a training could tell has no answer at all."""
    row = fill_supplied()[name][number]

    assert (row.status, row.answer) == ("missing", "")


def test_blank_stays_blank() -> None:
    """An item that nobody answered is missing and has no text."""
    items = fill()

    for name, number in (("CLAIM 2024", "14"), ("CLAIM 2024", "31"), ("TRIPOD+AI", "19"), ("STARD-AI", "32")):
        assert (items[name][number].status, items[name][number].answer) == ("missing", "")


def test_missing_answers_are_empty_or_parts() -> None:
    """A missing item is either empty or says in which part it is answered and what is lacking."""
    for items in (*fill().values(), *fill_supplied().values()):
        for row in items.values():
            if row.status == "missing" and row.answer:
                assert row.answer.startswith("In part: ")
                assert " Still to be added: " in row.answer
            elif row.status != "missing":
                assert row.answer
                assert "Still to be added" not in row.answer


@pytest.mark.parametrize(
    ("name", "number", "words"),
    [
        ("CLAIM 2024", "7", "“ward-7”: 600 usable images (240 cancer, 360 benign)"),
        (
            "CLAIM 2024",
            "9",
            "Model A and Model B: decoded as RGB, shorter side resized to 73 px, centre crop of 64 px",
        ),
        (
            "CLAIM 2024",
            "12",
            "Excluded files: 10 of 610 (too small: 4, unreadable: 6); groups of identical files: 3",
        ),
        ("CLAIM 2024", "19", "test 120 images (48 cancer, 72 benign, 40 patients), 20.0"),
        ("CLAIM 2024", "19", "weighted 0.800 (benign) and 1.25 (cancer)"),
        ("CLAIM 2024", "20", "patients in more than one subset, counted after the split: 0"),
        (
            "CLAIM 2024",
            "20",
            "Copies of images (2), as far as found, were kept on one side.",
        ),
        ("CLAIM 2024", "21", "Test subset: 120 images (48 cancer, 72 benign) of 40 patients."),
        ("CLAIM 2024", "21", "Model A: AUC 0.910 (0.870 to 0.950)."),
        ("CLAIM 2024", "21", "About 320 cancer patients"),
        ("CLAIM 2024", "22", "Model A: 23.5 million parameters, 8.00"),
        ("CLAIM 2024", "23", "medcompare 1.2.3, commit abc123; Python 3.13.0; numpy 2.4.0"),
        ("CLAIM 2024", "24", "random initialisation, seed 0"),
        ("CLAIM 2024", "25", "Adam, learning rate 0.001, weight decay 0, batch 32, 3 epochs (stopped early)"),
        ("CLAIM 2024", "26", "Best validation AUC; epoch 2 of 3 kept"),
        (
            "CLAIM 2024",
            "28",
            "Model A: positive at 0.370 or more (Youden on validation; chosen on the validation",
        ),
        ("CLAIM 2024", "29", "DeLong for AUC; Tango for Sensitivity."),
        ("CLAIM 2024", "29", "2,000 bootstrap resamples, seed 7."),
        ("CLAIM 2024", "29", "Decision rule: margin_auc 0.03 (user)."),
        ("CLAIM 2024", "32", "validation AUC 0.820, loss 0.300, training loss 0.250"),
        ("CLAIM 2024", "37", "Model B: AUC 0.890 (0.850 to 0.930), sensitivity 0.896 (0.856 to 0.936)"),
        ("CLAIM 2024", "38", "Model B minus Model A: AUC −0.020 (−0.060 to +0.020)"),
        (
            "CLAIM 2024",
            "39",
            "of 48 cancer 42 predicted positive and 6 negative; of 72 benign 12 predicted positive and 60",
        ),
        (
            "CLAIM 2024",
            "39",
            "Within cancer: both right 40, only Model A right 2, only Model B right 3, both wrong 3.",
        ),
        ("CLAIM 2024", "39", "Wrong by both Model A and Model B: 3 cancer, 8 benign."),
        ("CLAIM 2024", "40", "In part: One seed only."),
        ("TRIPOD+AI", "20c", "training 420 images (168 cancer, 252 benign, 140 patients)"),
        ("TRIPOD+AI", "22", f"2.00\u202fMB, SHA-256 {'c' * 16}\u2026"),
        ("STARD-AI", "40b", "configuration SHA-256 9999999999999999…"),
    ],
)
def test_answers_hold_the_figures_of_the_records(name: str, number: str, words: str) -> None:
    """The software's answers are made of the records' figures."""
    assert words in fill()[name][number].answer


def test_answers_change_with_the_records() -> None:
    """Another split, manifest or evaluation is told differently."""
    alone = fill(split=make_split(grouped_by=None))["CLAIM 2024"]["20"]
    assert alone.status == "missing"
    assert "whether a patient has images in two subsets (no patient ids were given)" in alone.answer

    moved = make_assessment(
        evaluations=(make_evaluation("a", 0.95, (70, 2, 1, 47)), make_evaluation("b", 0.89, (59, 13, 5, 43)))
    )
    items = fill(assessment=moved)["CLAIM 2024"]
    assert "Model A: AUC 0.950 (0.910 to 0.990)" in items["37"].answer
    assert "Model A: missed 1, false alarms 2" in items["39"].answer

    dirty = fill(provenance=make_provenance(code_dirty=True))["CLAIM 2024"]["23"]
    assert "commit abc123 with uncommitted changes" in dirty.answer

    synthetic = fill(manifest=make_manifest(synthetic=True))["CLAIM 2024"]
    assert "generated demonstration images, not real ones" in synthetic["7"].answer
    assert "not real: nothing here says" in synthetic["40"].answer


def test_weights_and_class_weights_are_told_apart() -> None:
    """Published weights are named with their digest; equal class weights are no method."""
    pretrained = InitialWeights(kind="imagenet", name="Weights.V1", version="V1", sha256="d" * 64)
    trained = (make_trained("a", initial_weights=pretrained, class_weights=(1.0, 1.0)), make_trained("b"))
    items = fill(trained=trained)["CLAIM 2024"]

    assert "Model A: Weights.V1, SHA-256 dddddddddddddddd…." in items["24"].answer
    assert "Model B: random initialisation" in items["24"].answer
    assert "Model A: both classes weigh the same, nothing was done" in items["19"].answer


def test_a_model_trained_elsewhere_is_lacking() -> None:
    """Where one of two models was not trained here, its training is asked for."""
    row = fill(trained=(make_trained("a"),))["CLAIM 2024"]["25"]

    assert row.status == "missing"
    assert row.answer.endswith("Still to be added: the same for Model B.")


def test_settings_add_details() -> None:
    """Title, augmentation and patience come from the configuration as used."""
    settings = [
        SettingRow(field="report.title", value="Night run", set_by="user"),
        SettingRow(field="train.crop_scale_min", value="0.5", set_by="preset"),
        SettingRow(field="train.patience", value="4", set_by="default"),
    ]
    items = fill(settings=settings)["CLAIM 2024"]

    assert "Title of this report: “Night run”." in items["1"].answer
    assert "random resized crop keeping at least 0.5 of the area" in items["25"].answer
    assert "Rule for stopping early: 4 epochs without a better validation AUC." in items["25"].answer


def test_supplied_table_is_named_without_its_folder() -> None:
    """The file of predictions is named, its folder is not."""
    settings = [SettingRow(field="predictions", value="secret/place/test.csv", set_by="user")]
    answer = fill_supplied(settings=settings)["CLAIM 2024"]["7"].answer

    assert "read from a table (test.csv): 120 cases (48 cancer, 72 benign) of 40 patients" in answer
    assert "secret" not in answer


def test_subgroups_and_seeds_make_robustness() -> None:
    """Robustness is missing without subgroups and seeds, and holds their figures with them."""
    assert fill()["CLAIM 2024"]["30"].status == "missing"
    assert fill()["STARD-AI"]["21"].answer == ""
    without = fill()["CLAIM 2024"]["37"]
    assert (without.status, "Still to be added: performance by subgroup." in without.answer) == (
        "missing",
        True,
    )

    groups = tuple(
        SubgroupEvaluation(column="sex", level=level, n=60, n_positive=n, metrics={})
        for level, n in (("f", 20), ("m", 28))
    )
    evaluations = tuple(make_evaluation(m, 0.9, (60, 12, 6, 42), subgroups=groups) for m in NAMES)
    seeds = tuple(SeedRow(model="a", seed=str(i), auc=estimate(0.9 + i / 100)) for i in range(3))
    items = fill(assessment=make_assessment(evaluations=evaluations, seeds=seeds))

    row = items["CLAIM 2024"]["30"]
    assert row.status == "filled by software"
    assert row.answer.startswith("Model A: AUC 0.900 to 0.920 over 3 training seeds.")
    assert "by sex: f 60 (20 cancer), m 60 (28 cancer)" in row.answer
    assert "Still to be added: which of these columns stand for hospitals" in items["TRIPOD+AI"]["12d"].answer
    assert items["STARD-AI"]["23"].status == "missing"


def test_maps_explain_decisions() -> None:
    """With what random weights give too; missing without maps, as for predictions made elsewhere."""
    assert fill()["CLAIM 2024"]["31"].status == "missing"
    learned, doubtful = (
        make_saliency(model, ("c1",), random_share_median=share)
        for model, share in zip("ab", (0.07, 0.8), strict=True)
    )

    row = fill(saliency=(learned, doubtful))["CLAIM 2024"]["31"]

    assert row.status == "filled by software"
    for part in (
        "(Grad-CAM, captum 0.9.0), checked by making all weights random",
        "Model A: networks with random weights give 7% of the variation of its maps.",
        "Model B: networks with random weights give 80% of the variation of its maps, which are therefore not shown.",
    ):
        assert part in row.answer


def test_recalibration_is_reported_or_excluded() -> None:
    """No recalibration: not applicable; Platt: the slope after it; unknown: missing."""
    assert fill()["TRIPOD+AI"]["12f"].status == "not applicable"
    assert "evaluated as they came" in fill()["TRIPOD+AI"]["24"].answer

    platt = tuple(
        make_evaluation(m, 0.9, (60, 12, 6, 42), calibration=make_calibration("platt")) for m in NAMES
    )
    row = fill(assessment=make_assessment(evaluations=platt))["TRIPOD+AI"]["12f"]
    assert row.status == "filled by software"
    assert (
        "platt recalibration, fitted on the validation subset only; calibration slope on the test subset then 1.100"
        in row.answer
    )

    none = tuple(make_evaluation(m, 0.9, (60, 12, 6, 42), calibration=None) for m in NAMES)
    assert fill(assessment=make_assessment(evaluations=none))["TRIPOD+AI"]["24"].status == "missing"


@pytest.mark.parametrize(
    ("chosen_on", "lacking"),
    [
        ("validation", "whether the rule was chosen before the test predictions were looked at"),
        ("user", "where the thresholds given by the user came from"),
    ],
)
def test_threshold_of_supplied_predictions_is_a_part(chosen_on: Any, lacking: str) -> None:
    """Nobody can tell from a table whether the threshold was set before the test set was seen."""
    point = OperatingPoint(threshold=0.2, rule="as told", chosen_on=chosen_on, reached=False)
    evaluations = tuple(make_evaluation(m, 0.9, (60, 12, 6, 42), operating_point=point) for m in NAMES)
    row = fill_supplied(assessment=make_assessment(evaluations=evaluations))["CLAIM 2024"]["28"]

    assert row.status == "missing"
    assert row.answer.endswith(f"Still to be added: {lacking}.")
    # Nothing was to be reached by a threshold that was given.
    assert ("target not reached" in row.answer) is (chosen_on == "validation")


def test_plots_and_precision_follow_the_records() -> None:
    """Only plots that were drawn are named, and no precision is stated where there is no interval."""
    bare = {"auc": Estimate(value=1.0, method="DeLong", note="Perfect separation: no interval.")}
    changes = {"metrics": bare, "calibration": None, "decision_curve": CURVE}
    evaluations = tuple(make_evaluation(m, 0.9, (60, 12, 6, 42), **changes) for m in NAMES)
    items = fill(assessment=make_assessment(evaluations=evaluations))["CLAIM 2024"]

    assert (
        "Measures: AUC. Plots: ROC and precision-recall curves, confusion matrices and decision"
        in items["28"].answer
    )
    assert "Model A: AUC" not in items["21"].answer
    assert "AUC 1.000, sensitivity not computed, specificity not computed" in items["37"].answer


@pytest.mark.parametrize(
    ("title", "status"),
    [
        ("Comparison of image classifiers", "missing"),
        ("Deep learning for oral cancer: comparison of two networks", "filled by software"),
    ],
)
def test_a_title_counts_only_where_it_says_that_ai_was_studied(title: str, status: str) -> None:
    """An answer that admits that the title does not say so is no filled item, in no checklist."""
    settings = (SettingRow(field="report.title", value=title, set_by="user"),)
    items = fill(settings=settings)

    assert items["CLAIM 2024"]["1"].status == items["STARD-AI"]["1"].status == status


@pytest.mark.parametrize(
    ("chosen_on", "looks", "words"),
    [
        ("validation", 0, "Frozen, then applied once to the test subset."),
        ("validation", 2, "The same test images had been evaluated in 2 earlier runs."),
        ("user", 0, "whether it had been looked at before is not known"),
        ("fixed", 0, "whether it had been looked at before is not known"),
    ],
)
def test_frozen_and_applied_once_is_said_only_where_it_is_known(
    chosen_on: Any, looks: int, words: str
) -> None:
    """Only thresholds chosen on validation in a run that looked at the test subset first and once are frozen."""
    point = OperatingPoint(threshold=0.2, rule="as told", chosen_on=chosen_on)
    evaluations = tuple(make_evaluation(m, 0.9, (60, 12, 6, 42), operating_point=point) for m in NAMES)
    tables = fill(assessment=make_assessment(evaluations=evaluations), n_earlier_looks=looks)
    answers = [
        r.answer for t in tables.values() for r in t.values() if "Rule from the configuration" in r.answer
    ]

    assert len(answers) == 3
    for answer in answers:
        assert words in answer
        assert ("applied once" in answer) is words.startswith("Frozen")


def test_a_fixed_threshold_is_whole() -> None:
    """A fixed value is known wholly, also for supplied predictions."""
    point = OperatingPoint(threshold=0.5, rule="fixed at 0.5", chosen_on="fixed")
    evaluations = tuple(make_evaluation(m, 0.9, (60, 12, 6, 42), operating_point=point) for m in NAMES)

    assert (
        fill_supplied(assessment=make_assessment(evaluations=evaluations))["CLAIM 2024"]["28"].status
        == "filled by software"
    )


def test_one_model_and_images_without_patients() -> None:
    """A single model has no difference; without patient ids the intervals' assumption is a limit."""
    assessment = make_assessment(
        models=("a",), evaluations=(make_evaluation("a", 0.91, (60, 12, 6, 42)),), comparisons=(), clustered=False,
        n_patients=None,
    )  # fmt: skip
    items = fill(assessment=assessment, trained=(make_trained("a"),))["CLAIM 2024"]

    assert "A single model: no difference to report." in items["38"].answer
    assert "Within cancer" not in items["39"].answer
    assert "No patient ids were given: all intervals assume one image per patient." in items["29"].answer
    assert "No patient ids were given: all intervals assume one image per patient." in items["40"].answer


def test_patients_with_one_image_each_are_no_limit() -> None:
    """Ids that were given are not denied because none occurs twice."""
    known = {
        "models": ("a",),
        "evaluations": (make_evaluation("a", 0.91, (60, 12, 6, 42)),),
        "comparisons": (),
    }
    assessment = make_assessment(**known, clustered=False, n_patients=120)
    items = fill(assessment=assessment, trained=(make_trained("a"),))["CLAIM 2024"]

    assert "The test subset holds 120 patients, one case each." in items["29"].answer
    assert "one image" not in items["40"].answer
    text = repr(items)
    assert "assume one image" not in text
    assert "No patient ids" not in text


def test_three_models_are_adjusted() -> None:
    """With more than two models the adjustment is named."""
    pairs = make_assessment().comparisons * 3
    assessment = make_assessment(models=("a", "b", "c"), comparisons=pairs)

    assert "3 pairs, p-values adjusted by Holm." in fill(assessment=assessment)["CLAIM 2024"]["29"].answer


def test_nothing_is_said_twice_in_one_checklist() -> None:
    """What an earlier item says is pointed to; the pointer leads to an item that says it."""
    items = fill()["CLAIM 2024"]
    assert items["38"].answer.startswith("See item 37, answered in part, for the performance.")

    for table in fill().values():
        for row in table.values():
            for number in re.findall(r"See item (\w+)", row.answer):
                assert table[number].answer
                assert not table[number].answer.startswith("See item")
        full = [row.answer for row in table.values() if row.answer and row.status == "filled by software"]
        assert len(full) == len(set(full))


def test_sections_pointed_to_exist() -> None:
    """Every section an answer points to is a title of the report."""
    report = Path(__file__).parents[2] / "medcompare" / "report"
    sources = "".join(path.read_text(encoding="utf-8") for path in sorted((report / "pages").glob("*.py")))
    alone = make_assessment(models=("a",), evaluations=make_assessment().evaluations[:1], comparisons=())
    items = [*fill().values(), *fill(assessment=alone, trained=(make_trained("a"),)).values()]
    titles = {
        t for table in items for row in table.values() for t in re.findall("section “([^”]+)”", row.answer)
    }

    assert {"Data and split", "Each model", "The model", "Errors and subgroups"} <= titles
    assert [title for title in titles if f'"{title}"' not in sources] == []


def write(folder: Path, text: str) -> Path:
    """A file of answers."""
    path = folder / "answers.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_user_answers_land_in_their_items(tmp_path: Path) -> None:
    """An answer to an item fills that item and no other."""
    path = write(
        tmp_path,
        '[claim]\n"13" = "Scanner X, 40x."\n[tripod_ai]\n18a = """Grant\n 12."""\n[stard_ai]\n26a = "All stages."\n',
    )
    items = fill(answers=read_answers(path))
    by_user = [
        (name, n, row.answer)
        for name, rows in items.items()
        for n, row in rows.items()
        if row.status == "filled by user"
    ]

    assert by_user == [
        ("CLAIM 2024", "13", "Scanner X, 40x."),
        ("TRIPOD+AI", "18a", "Grant 12."),
        ("STARD-AI", "26a", "All stages."),
    ]


def test_shared_answers_serve_all_checklists(tmp_path: Path) -> None:
    """A shared answer fills every item that asks for it alone, and an item's own answer goes first."""
    path = write(tmp_path, '[shared]\nfunding = "Paid by nobody"\n[claim]\n44 = "See the cover letter."\n')
    items = fill(answers=read_answers(path))

    assert items["CLAIM 2024"]["44"].answer == "See the cover letter."
    assert items["TRIPOD+AI"]["18a"].answer == items["STARD-AI"]["38"].answer == "Paid by nobody."
    assert items["STARD-AI"]["38"].status == "filled by user"


def test_several_topics_are_all_needed(tmp_path: Path) -> None:
    """An item that asks for two topics stays missing with one, and says which is open."""
    one = fill(answers=read_answers(write(tmp_path, '[shared]\nbackground = "Why."')))["CLAIM 2024"]["3"]
    assert one.status == "missing"
    assert one.answer == f"In part: Why. Still to be added: {TOPICS['intended_use']}."

    both = read_answers(write(tmp_path, '[shared]\nbackground = "Why."\nintended_use = "second reader"'))
    row = fill(answers=both)["CLAIM 2024"]["3"]
    assert (row.status, row.answer) == ("filled by user", "Why. Second reader.")


def test_user_completes_a_part(tmp_path: Path) -> None:
    """The software's part stays, the user's part is added, and the item counts as the user's."""
    answers = read_answers(
        write(tmp_path, '[shared]\ndata_provenance = "From ward 7."\n[claim]\n35 = "90 were asked."')
    )
    items = fill(answers=answers)["CLAIM 2024"]

    assert items["7"].status == items["35"].status == "filled by user"
    assert "“ward-7”" in items["7"].answer
    assert items["7"].answer.endswith(" Added by the user: From ward 7.")
    assert items["35"].answer.startswith("Files found 610")
    assert items["35"].answer.endswith("Added by the user: 90 were asked.")


def test_shared_answer_does_not_hide_what_no_record_holds(tmp_path: Path) -> None:
    """A topic completes its own part only: software that built supplied models is still asked for."""
    answers = read_answers(write(tmp_path, '[shared]\nacquisition = "Scanner X."'))
    row = fill_supplied(answers=answers)["STARD-AI"]["13"]

    assert row.status == "missing"
    assert "Scanner X. Still to be added: software that built and ran the models." in row.answer


def test_remark_on_a_filled_item(tmp_path: Path) -> None:
    """A remark never replaces what the software knows, and a filled item cannot be excluded."""
    answers = read_answers(
        write(tmp_path, '[claim]\n20 = "not applicable: one image each"\n[tripod_ai]\n12f = "Updated later."')
    )
    items = fill(answers=answers)

    row = items["CLAIM 2024"]["20"]
    assert row.status == "filled by software"
    assert row.answer.startswith("Disjoint by patient")
    assert row.answer.endswith("Added by the user: not applicable: one image each")
    assert items["TRIPOD+AI"]["12f"].status == "filled by user"


def test_items_excluded_with_a_reason(tmp_path: Path) -> None:
    """Both an item's own answer and a shared one can set it aside, with the reason printed."""
    text = (
        '[shared]\nregistration = "not applicable: no trial"\n'
        '[claim]\n31 = "Not applicable: none made"\n43 = "not applicable: internal"'
    )
    items = fill(answers=read_answers(write(tmp_path, text)))

    for name, number in (("CLAIM 2024", "34"), ("TRIPOD+AI", "18d"), ("STARD-AI", "36")):
        assert (items[name][number].status, items[name][number].answer) == (
            "not applicable",
            "Not applicable: no trial.",
        )
    assert items["CLAIM 2024"]["31"].answer == "Not applicable: none made."
    assert (items["CLAIM 2024"]["43"].status, items["CLAIM 2024"]["43"].answer) == (
        "not applicable",
        "Not applicable: internal.",
    )


def test_blank_answers_are_missing(tmp_path: Path) -> None:
    """Empty and white answers count as no answer."""
    answers = read_answers(write(tmp_path, '[shared]\nfunding = " "\n[claim]\n13 = ""\n'))

    assert answers == ChecklistAnswers()
    assert fill(answers=answers)["CLAIM 2024"]["13"].status == "missing"


def test_no_file_no_answers() -> None:
    """Without a file there are no answers."""
    assert read_answers(None) == ChecklistAnswers()


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ('[claim]\n45 = "x"', r"\[claim\] has no item '45'; known: 1, 2, 3, .*, 44$"),
        ('[claim]\n45 = ""', r"\[claim\] has no item '45'"),
        ('[tripod_ai]\n3 = "x"', r"\[tripod_ai\] has no item '3'; known: 1, 2, 3a, "),
        ('[shared]\nfundings = "x"', r"\[shared\] has no topic 'fundings'; known: abstract, .*funding"),
        ('[stard]\n1 = "x"', r"has 'stard'; known tables: shared, claim, tripod_ai, stard_ai$"),
        ('claim = "x"', r"has 'claim'; known tables"),
        ("[claim]\n13 = 5", r"\[claim\] 13: the answer must be text in quotes, not int"),
        (
            '[claim]\n34 = "not applicable"',
            r"\[claim\] 34: give the reason, as in 'not applicable: no trial was run'",
        ),
        ('[claim]\n34 = "Not applicable: "', r"\[claim\] 34: give the reason"),
        ('[claim]\n34 = "not applicable here"', r"\[claim\] 34: give the reason"),
        ("[claim\n", r"answers\.toml is not a TOML file in UTF-8"),
    ],
)
def test_wrong_files_are_refused(tmp_path: Path, text: str, match: str) -> None:
    """One message names the file, the table and key, and what is known."""
    with pytest.raises(ConfigError, match=match) as caught:
        read_answers(write(tmp_path, text))

    assert str(caught.value).startswith("report.checklist_answers: ")
    assert "answers.toml" in str(caught.value)


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    """A missing file and a file that is not text are refused."""
    with pytest.raises(ConfigError, match=r"cannot read .*nowhere\.toml: No such file"):
        read_answers(tmp_path / "nowhere.toml")
    path = tmp_path / "answers.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="is not a TOML file in UTF-8"):
        read_answers(path)


def test_a_byte_order_mark_is_no_error(tmp_path: Path) -> None:
    """Editors on Windows put a mark before the text."""
    path = tmp_path / "answers.toml"
    path.write_bytes('\ufeff[claim]\n13 = "x"'.encode())

    assert read_answers(path).claim == {"13": "x"}


def test_example_file_is_current_and_blank() -> None:
    """The example in the docs is what the software writes: every key once, nothing answered."""
    text = EXAMPLE.read_text(encoding="utf-8")
    content = tomllib.loads(text)

    assert text == answers_template(), "write it again: see docs/checklists.md"
    assert {key: list(table) for key, table in content.items()} == {
        "shared": list(TOPICS), **{c.key: [row.number for row in c.items] for c in CHECKLISTS}
    }  # fmt: skip
    assert read_answers(EXAMPLE) == ChecklistAnswers()


def test_docs_list_what_the_software_answers() -> None:
    """The table in the docs names exactly the items with facts, and which are parts by their nature."""
    text = (EXAMPLE.parent / "checklists.md").read_text(encoding="utf-8")
    block = text.split("## What the software answers")[1].split("\n## ")[0]
    rows = [
        line.split("|")[2:5] for line in block.splitlines() if line.startswith("|") and "---" not in line
    ][1:]
    for column, checklist in enumerate(CHECKLISTS):
        listed = {cell.strip() for row in rows for cell in row[column].split(",") if cell.strip()}

        assert listed == {f"{i.number} (part)" if i.to_add else i.number for i in checklist.items if i.facts}


def test_characteristics_name_the_columns_that_are_tabulated() -> None:
    """What is counted is pointed to, what is not is named, and a user's own columns are never called complete (B13)."""
    manifest = make_manifest().model_copy(update={"extra_columns": ("sex", "age", "ward")})
    items = fill(manifest=manifest, characteristics=make_characteristics())

    for checklist, number in (("CLAIM 2024", "36"), ("TRIPOD+AI", "20b"), ("STARD-AI", "25")):
        answer = items[checklist][number].answer
        assert "Counted per subset and class in section \u201cData and split\u201d: sex, age." in answer
        assert "Columns of the data that are not tabulated: ward." in answer
        assert "Still to be added: demographic" in answer
    assert "Counted per subset" not in fill_supplied()["CLAIM 2024"]["36"].answer
