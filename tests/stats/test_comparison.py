"""Pairs of models: direction, methods, agreement tables, adjustment."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.metrics import f1_score, roc_auc_score
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from medcompare.config.schema import DecideConfig, EvaluateConfig
from medcompare.predictions.cases import ScoredCases
from medcompare.stats.assessment import assess
from medcompare.stats.comparison import compare_models, with_order_warnings
from medcompare.stats.evaluation import evaluate_model
from medcompare.stats.intervals.auc import auc_interval
from medcompare.stats.paired import paired_proportion_difference, tango_interval
from medcompare.stats.records import ModelEvaluation, OperatingPoint, PairedComparison
from tests.stats.simulated import draw_study
from tests.stats.studies import B_IS_CHEAPER, evaluation

if TYPE_CHECKING:
    from medcompare.predictions.costs import CostMeasurement

QUICK = EvaluateConfig(n_resamples=300)


def compared(
    test: ScoredCases,
    costs: tuple[CostMeasurement, ...] = (),
    thresholds: dict[str, float] | None = None,
    config: EvaluateConfig = QUICK,
) -> tuple[PairedComparison, ...]:
    """All pairs of `test`, at 0.5 where no threshold is given."""
    evaluations = [
        evaluate_model(
            test, None, model, display_name=model, evaluate=config, seed=0,
            operating_point=OperatingPoint(
                threshold=(thresholds or {}).get(model, 0.5), rule="typed", chosen_on="user"
            ),
        )
        for model in test.models
    ]  # fmt: skip
    return compare_models(test, evaluations, costs=costs, evaluate=config, decide=DecideConfig(), seed=0)


STUDY = draw_study({"a": 0.9, "b": 0.8, "c": 0.85}, n_negative=150, n_positive=100, seed=11)


def test_candidate_minus_reference() -> None:
    """The cheaper model is the candidate, in whatever order they are named."""
    two = STUDY.only(["a", "b"])
    swapped = STUDY.only(["b", "a"])
    for study in (two, swapped):
        (pair,) = compared(study, B_IS_CHEAPER)

        assert (pair.reference, pair.candidate) == ("a", "b")
        expected = roc_auc_score(STUDY.y_true, STUDY.scores["b"]) - roc_auc_score(
            STUDY.y_true, STUDY.scores["a"]
        )
        assert pair.differences["auc"].value == pytest.approx(expected)
        assert pair.differences["auc_bootstrap"].value == pytest.approx(expected)

    assert (compared(swapped)[0].reference, compared(swapped)[0].candidate) == ("b", "a")


def test_agreement_and_rates() -> None:
    """A-by-B tables within each class, McNemar's mid-p from statsmodels' exact test."""
    (pair,) = compared(STUDY.only(["a", "b"]))
    positive = STUDY.y_true == 1
    right = {m: (STUDY.scores[m] >= 0.5) == positive for m in "ab"}

    table = pair.positives
    only_a = int((right["a"] & ~right["b"] & positive).sum())
    only_b = int((~right["a"] & right["b"] & positive).sum())
    assert (table.only_reference_correct, table.only_candidate_correct) == (only_a, only_b)
    assert table.both_correct + table.both_wrong + only_a + only_b == 100
    sensitivity = pair.differences["sensitivity"]
    assert sensitivity.value == pytest.approx((only_b - only_a) / 100)
    exact = mcnemar([[0, only_a], [only_b, 0]], exact=True).pvalue
    assert sensitivity.p_value == pytest.approx(exact - binom.pmf(min(only_a, only_b), only_a + only_b, 0.5))
    assert pair.differences["sensitivity_newcombe"].method != sensitivity.method
    f1 = [f1_score(STUDY.y_true, STUDY.scores[m] >= 0.5) for m in "ab"]
    assert pair.differences["f1"].value == pytest.approx(f1[1] - f1[0])


def test_keys_and_minimum_p() -> None:
    """Every documented difference is there; no bootstrap p-value is 0."""
    (pair,) = compared(STUDY.only(["a", "b"]))

    assert set(pair.differences) == {
        "auc", "sensitivity", "specificity", "accuracy", "sensitivity_newcombe", "specificity_newcombe",
        "auc_bootstrap", "balanced_accuracy", "f1", "mcc", "average_precision", "brier", "ppv", "npv",
    }  # fmt: skip
    for estimate in pair.differences.values():
        assert estimate.p_value is None or estimate.p_value > 0
    assert pair.p_values_adjusted == {}


def test_holm_over_all_pairs() -> None:
    """Holm's adjustment by statsmodels of the pairs' p-values, metric by metric."""
    pairs = compared(STUDY)

    assert {(p.reference, p.candidate) for p in pairs} == set(combinations("abc", 2))
    for name in ("auc", "sensitivity", "f1"):
        expected = multipletests([p.differences[name].p_value for p in pairs], method="holm")[1]
        assert [p.p_values_adjusted[name] for p in pairs] == pytest.approx(list(expected))


def test_identical_models() -> None:
    """Difference 0, p 1, no discordant case, and a Tango interval that is not [0, 0]."""
    same = ScoredCases(**{**vars(STUDY), "scores": {"a": STUDY.scores["a"], "b": STUDY.scores["a"].copy()}})

    (pair,) = compared(same)

    assert pair.differences["auc"].value == 0
    assert pair.differences["auc"].p_value == 1
    sensitivity = pair.differences["sensitivity"]
    assert (sensitivity.value, sensitivity.p_value) == (0, 1)
    assert sensitivity.ci_low is not None
    assert sensitivity.ci_low < -0.01
    assert pair.positives.only_reference_correct == pair.positives.only_candidate_correct == 0


def test_agreement_by_patient() -> None:
    """A patient is right where all of its cases are: counted one by one, with McNemar's test of statsmodels."""
    study = draw_study(
        {"a": 0.9, "b": 0.8}, n_negative=150, n_positive=90, seed=2, images_per_patient=3, correlation=0.5
    )
    pair, alone = compared(study)[0], compared(ScoredCases(**{**vars(study), "patient_id": None}))[0]
    right: dict[str, list[bool]] = {"a": [], "b": []}
    for patient in np.unique(study.patient_id):
        own = study.patient_id == patient
        for model, found in right.items():
            found.append(bool(((study.scores[model][own] >= 0.5) == study.y_true[own]).all()))
    both, only_a, only_b, neither = (
        sum((a, b) == cell for a, b in zip(right["a"], right["b"], strict=True))
        for cell in ((True, True), (True, False), (False, True), (False, False))
    )

    table = pair.patients
    assert table is not None
    assert alone.patients is None
    assert (table.both_correct, table.only_reference_correct) == (both, only_a)
    assert (table.only_candidate_correct, table.both_wrong) == (only_b, neither)
    assert min(both, only_a, only_b, neither) > 0
    assert both + only_a + only_b + neither == study.n_patients == 80
    exact = mcnemar([[0, only_a], [only_b, 0]], exact=True).pvalue
    mid_p = exact - binom.pmf(min(only_a, only_b), only_a + only_b, 0.5)
    low, high = tango_interval(only_a, only_b, 80)
    ours = table.difference
    assert (ours.value, ours.p_value, ours.n) == (
        pytest.approx((only_b - only_a) / 80),
        pytest.approx(mid_p),
        80,
    )
    assert (ours.ci_low, ours.ci_high) == (low, high)


def test_patients_widen_the_difference() -> None:
    """Obuchowski's structure for the AUC, cluster-robust rates for the rest."""
    study = draw_study(
        {"a": 0.8, "b": 0.8}, n_negative=240, n_positive=240, seed=6, images_per_patient=8, correlation=0.2
    )
    shared = np.random.default_rng(1).normal(0, 0.3, size=60).repeat(8)
    tilted = {"a": study.scores["a"], "b": np.clip(study.scores["b"] + shared, 0, 1)}
    study = ScoredCases(**{**vars(study), "scores": tilted})
    alone = ScoredCases(**{**vars(study), "patient_id": None})

    (clustered,), (plain,) = compared(study), compared(alone)

    for name in ("auc", "sensitivity", "specificity", "f1"):
        wide, narrow = clustered.differences[name], plain.differences[name]
        assert wide.value == pytest.approx(narrow.value)
        assert wide.ci_high - wide.ci_low > narrow.ci_high - narrow.ci_low


def test_nothing_to_compare() -> None:
    """One model: no pair."""
    assert compared(STUDY.only(["a"])) == ()


@pytest.mark.parametrize("label", [0, 1])
def test_a_subset_of_one_class_compares_its_own_share(label: int) -> None:
    """Healthy people only: specificity is compared as in any study, whatever needs the other class is not."""
    one_class = replace(STUDY.only(["a", "b"]), y_true=np.full_like(STUDY.y_true, label))
    (pair,) = compared(one_class, B_IS_CHEAPER)
    right = [(STUDY.scores[m] >= 0.5) == label for m in "ab"]
    expected = paired_proportion_difference(*right, clusters=STUDY.clusters)
    name, other = ("sensitivity", "specificity") if label else ("specificity", "sensitivity")

    assert pair.differences[name] == pair.differences["accuracy"] == expected
    assert pair.differences[other].note == "undefined: no cases to compare"
    assert pair.detectable[name].value is not None
    for undefined in ("auc", "auc_bootstrap", "f1", "brier"):
        assert pair.differences[undefined].note == "undefined: the subset has one class only"


def test_the_exact_test_is_an_option() -> None:
    """Settings choose McNemar's exact test; the interval stays."""
    study = replace(STUDY.only(["a", "b"]), patient_id=None)
    mid, exact = (
        compared(study, B_IS_CHEAPER, config=EvaluateConfig(n_resamples=200, paired_test=kind))[0]
        for kind in ("mid-p", "exact")
    )

    for name in ("sensitivity", "specificity", "accuracy"):
        one, other = mid.differences[name], exact.differences[name]
        table = {"sensitivity": exact.positives, "specificity": exact.negatives}.get(name)
        if table is not None:
            cells = [[0, table.only_reference_correct], [table.only_candidate_correct, 0]]
            assert other.p_value == pytest.approx(mcnemar(cells, exact=True).pvalue)
        assert (one.ci_low, one.ci_high) == (other.ci_low, other.ci_high)
        assert other.method == "Tango score; McNemar exact"


def test_one_patient_cannot_be_compared() -> None:
    """Without a second patient there is no variance."""
    one = ScoredCases(**{**vars(STUDY), "patient_id": np.array(["p"] * STUDY.n)})

    assert compared(one) == ()


def warned_of_order(test: ScoredCases) -> list[str]:
    """Models whose rows are suspected to stand in another order."""
    found = assess(
        test,
        None,
        (),
        display_names={"b": "Model B"},
        evaluate=QUICK,
        rule=DecideConfig(),
        thresholds={},
        seed=0,
    )
    return [
        one.model
        for one in found.evaluations
        if any("check that the order of their rows is that of the cases" in text for text in one.warnings)
    ]


@pytest.mark.parametrize("images", [None, 3], ids=["cases", "patients"])
def test_shuffled_rows_are_warned_of(images: int | None) -> None:
    """A model of AUC 0.9 whose rows were shuffled was 'worse': 'Use a', without a word."""
    study = draw_study(
        {"a": 0.9, "b": 0.9, "c": 0.85}, n_negative=300, n_positive=150, seed=3, images_per_patient=images
    )
    shuffled = np.random.default_rng(0).permutation(study.scores["b"])

    assert warned_of_order(study) == []
    assert warned_of_order(replace(study, scores=study.scores | {"b": shuffled})) == ["b"]


def test_warnings_of_order_are_rare() -> None:
    """Of 200 pairs of honest models, the weaker at 0.7, none; of 200 shuffled ones at least 150."""
    alarms, hits = 0, 0
    for seed in range(200):
        study = draw_study({"a": 0.9, "b": 0.7}, n_negative=120, n_positive=80, seed=seed, correlation=0.3)
        study = replace(study, patient_id=None)
        shuffled = np.random.default_rng(seed).permutation(study.scores["b"])
        for scores, count in ((study.scores["b"], 0), (shuffled, 1)):
            test = replace(study, scores={"a": study.scores["a"], "b": scores})
            a, b = (minimal(test, model) for model in "ab")
            suspected = bool(with_order_warnings(test, [a, b], level=0.95)[1].warnings)
            if count:
                hits += suspected
            else:
                alarms += suspected

    assert alarms <= 1
    assert hits >= 150


def minimal(test: ScoredCases, model: str) -> ModelEvaluation:
    """A record with the AUC of `model`; the rest is typed."""
    auc = auc_interval(test.y_true, test.scores[model])
    record = evaluation(model)
    return record.model_copy(update={"metrics": record.metrics | {"auc": auc}})
