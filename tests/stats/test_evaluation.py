"""Figures of one model against scikit-learn and statsmodels, and what cannot be computed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    f1_score,
    matthews_corrcoef,
    precision_recall_curve,
    precision_score,
    recall_score,
    roc_auc_score,
)
from statsmodels.stats.proportion import proportion_confint

from medcompare.config.schema import EvaluateConfig
from medcompare.predictions.cases import ScoredCases
from medcompare.stats.evaluation import (
    classification_report_text,
    confusion_matrix_text,
    evaluate_model,
)
from medcompare.stats.records import ModelEvaluation, OperatingPoint
from medcompare.stats.resampling.bootstrap import bootstrap_metrics
from tests.stats.simulated import draw_study

QUICK = EvaluateConfig(n_resamples=300)
AT_HALF = OperatingPoint(threshold=0.5, rule="typed", chosen_on="user")
METRICS = {
    "auc", "average_precision", "accuracy", "balanced_accuracy", "sensitivity", "specificity", "ppv", "npv",
    "ppv_at_prevalence", "npv_at_prevalence", "likelihood_ratio_positive", "likelihood_ratio_negative",
    "f1", "mcc", "brier",
}  # fmt: skip


def cases(y_true: list[int], scores: list[float], *, probabilities: bool = True) -> ScoredCases:
    """A small test subset."""
    return ScoredCases(
        case_id=tuple(str(i) for i in range(len(y_true))),
        y_true=np.array(y_true, dtype=np.int64),
        scores={"m": np.array(scores, dtype=float)},
        patient_id=None,
        classes=("benign", "cancer"),
        subset="test",
        scores_are_probabilities=probabilities,
    )


def evaluated(
    test: ScoredCases, *, config: EvaluateConfig = QUICK, point: OperatingPoint = AT_HALF
) -> ModelEvaluation:
    """`test` at a typed threshold."""
    return evaluate_model(
        test, None, "m", display_name="Model M", evaluate=config, operating_point=point, seed=3
    )


STUDY = draw_study({"m": 0.86}, n_negative=150, n_positive=90, seed=5)


def test_values_agree_with_scikit_learn() -> None:
    """Every metric that scikit-learn knows, to 1e-12."""
    y_true, score = STUDY.y_true, STUDY.scores["m"]
    call = (score >= 0.5).astype(int)
    expected = {
        "auc": roc_auc_score(y_true, score),
        "average_precision": average_precision_score(y_true, score),
        "accuracy": accuracy_score(y_true, call),
        "balanced_accuracy": balanced_accuracy_score(y_true, call),
        "sensitivity": recall_score(y_true, call),
        "specificity": recall_score(y_true, call, pos_label=0),
        "ppv": precision_score(y_true, call),
        "npv": precision_score(y_true, call, pos_label=0),
        "f1": f1_score(y_true, call),
        "mcc": matthews_corrcoef(y_true, call),
        "brier": brier_score_loss(y_true, score),
    }

    found = evaluated(STUDY)

    assert set(found.metrics) == METRICS
    assert {name: found.metrics[name].value for name in expected} == pytest.approx(expected, abs=1e-12)
    for name in expected:
        estimate = found.metrics[name]
        assert estimate.ci_low is not None
        assert estimate.ci_high is not None
        assert estimate.ci_low < estimate.value < estimate.ci_high


@pytest.mark.parametrize(("kind", "reference"), [("wilson", "wilson"), ("clopper-pearson", "beta")])
def test_intervals_of_shares_agree_with_statsmodels(kind: str, reference: str) -> None:
    """Sensitivity, specificity, PPV, NPV and accuracy."""
    found = evaluated(STUDY, config=EvaluateConfig(n_resamples=200, proportion_interval=kind, level=0.9))

    c = found.confusion
    counts = {
        "sensitivity": (c.true_positive, c.true_positive + c.false_negative),
        "specificity": (c.true_negative, c.true_negative + c.false_positive),
        "ppv": (c.true_positive, c.true_positive + c.false_positive),
        "npv": (c.true_negative, c.true_negative + c.false_negative),
        "accuracy": (c.true_positive + c.true_negative, found.n),
    }
    for name, (k, n) in counts.items():
        low, high = proportion_confint(k, n, alpha=0.1, method=reference)
        estimate = found.metrics[name]
        assert (estimate.ci_low, estimate.ci_high) == pytest.approx((low, high), abs=1e-9)
        assert (estimate.n, estimate.level) == (n, 0.9)


def test_classification_report() -> None:
    """Precision, recall and F1 of both classes, as scikit-learn has them."""
    y_true, call = STUDY.y_true, (STUDY.scores["m"] >= 0.5).astype(int)

    found = evaluated(STUDY)

    for label, row in enumerate(found.classification_report):
        assert row.class_name == STUDY.classes[label]
        assert row.support == (y_true == label).sum()
        assert row.precision.value == pytest.approx(precision_score(y_true, call, pos_label=label))
        assert row.recall.value == pytest.approx(recall_score(y_true, call, pos_label=label))
        assert row.f1.value == pytest.approx(f1_score(y_true, call, pos_label=label))


@pytest.mark.parametrize("n", [(150, 90), (6, 40)])
def test_f1_of_the_negative_class_equals_that_of_exchanged_classes(n: tuple[int, int]) -> None:
    """From NPV and specificity, resample by resample: the same as resampling exchanged calls."""
    study = draw_study({"m": 0.7}, n_negative=n[0], n_positive=n[1], seed=9)
    call = study.scores["m"] >= 0.5
    exchanged = bootstrap_metrics(
        1 - study.y_true, [(~call).astype(float)], [0.5], n_resamples=300, seed=3
    ).metric(0, "f1")

    row = evaluated(study).classification_report[0]

    assert row.f1.value == pytest.approx(exchanged.value, abs=1e-12)
    # Which random number draws which case depends on the class order; the distribution does not.
    assert row.f1.ci_low == pytest.approx(exchanged.ci_low, abs=0.03)
    assert row.f1.ci_high == pytest.approx(exchanged.ci_high, abs=0.03)


def test_precision_recall_curve_has_scikit_learns_corners() -> None:
    """Recall and precision at every threshold, from the highest down; ties are one corner."""
    test = cases([0, 1, 0, 1, 1, 0, 1], [0.1, 0.4, 0.4, 0.6, 0.6, 0.7, 0.9])
    precision, recall, _ = precision_recall_curve(test.y_true, test.scores["m"])

    curve = evaluated(test).precision_recall

    assert curve.x == pytest.approx(recall[:-1][::-1])
    assert curve.y == pytest.approx(precision[:-1][::-1])


def test_counts_at_threshold_and_at_half() -> None:
    """Positive is score >= threshold; the counts at 0.5 stand beside."""
    test = cases([0, 0, 1, 1, 1], [0.2, 0.6, 0.3, 0.5, 0.9])

    found = evaluated(test, point=OperatingPoint(threshold=0.3, rule="typed", chosen_on="user"))

    assert found.confusion.model_dump() == {
        "true_negative": 1, "false_positive": 1, "false_negative": 0, "true_positive": 3,
    }  # fmt: skip
    assert found.confusion_at_half is not None
    assert found.confusion_at_half.true_positive == 2
    assert evaluated(cases([0, 1], [-3, 8], probabilities=False)).confusion_at_half is None


def test_threshold_comes_from_validation() -> None:
    """The frozen threshold is that of the validation subset, whatever the test holds."""
    validation = draw_study({"m": 0.86}, n_negative=150, n_positive=90, seed=5, subset="val")
    lowest = np.sort(validation.scores["m"][validation.y_true == 1])

    found = evaluate_model(STUDY, validation, "m", display_name="M", evaluate=QUICK, seed=3)

    # 86 of 90 reach 0.95; the highest such threshold is the fifth lowest positive score.
    assert found.operating_point.threshold == lowest[4]
    assert found.operating_point.chosen_on == "validation"


def test_predictive_values_at_a_stated_prevalence() -> None:
    """Bayes by hand; without a prevalence a note says which field sets it."""
    found = evaluated(STUDY, config=EvaluateConfig(n_resamples=200, stated_prevalence=0.01))

    se, sp = (found.metrics[name].value for name in ("sensitivity", "specificity"))
    assert found.metrics["ppv_at_prevalence"].value == pytest.approx(
        se * 0.01 / (se * 0.01 + (1 - sp) * 0.99)
    )
    assert found.metrics["npv_at_prevalence"].value == pytest.approx(
        sp * 0.99 / (sp * 0.99 + (1 - se) * 0.01)
    )
    unset = evaluated(STUDY).metrics["ppv_at_prevalence"]
    assert (unset.value, unset.note) == (None, "no prevalence was stated (evaluate.stated_prevalence)")


def test_one_class_only() -> None:
    """Shares of that class remain; everything else has no value and says why."""
    found = evaluated(cases([1, 1, 1], [0.4, 0.6, 0.9]))

    assert found.metrics["sensitivity"].value == pytest.approx(2 / 3)
    assert found.metrics["specificity"].note == "undefined: no benign case"
    for name in ("auc", "average_precision", "balanced_accuracy", "f1", "mcc", "brier"):
        assert found.metrics[name].value is None
        assert found.metrics[name].note == "undefined: the subset has one class only"
    assert found.roc.x == ()
    assert found.calibration is None


def test_one_patient_only() -> None:
    """Shares remain; what needs several patients says so."""
    study = draw_study({"m": 0.9}, n_negative=20, n_positive=20, seed=1)
    one = ScoredCases(**{**vars(study), "patient_id": np.array(["p"] * 40)})

    found = evaluated(one)

    assert found.metrics["sensitivity"].value is not None
    assert found.metrics["auc"].note == "not computed: all cases come from one patient"
    assert found.calibration is None


def test_no_positive_call() -> None:
    """PPV is undefined, F1 is 0, and the warning says that nothing is predicted cancer."""
    found = evaluated(cases([0, 0, 1, 1] * 8, [0.1, 0.2, 0.15, 0.3] * 8))

    assert found.metrics["ppv"].value is None
    assert found.metrics["ppv"].note == "undefined: no positive prediction"
    assert found.metrics["f1"].value == 0
    assert found.metrics["sensitivity"].value == 0
    assert found.metrics["sensitivity"].ci_high is not None
    assert found.metrics["sensitivity"].ci_high > 0.1
    assert found.warnings == ("The model predicts no case as cancer at its threshold.",)


def test_every_case_called_positive() -> None:
    """NPV is undefined; the F1 of the negative class is 0, not missing."""
    found = evaluated(cases([0, 0, 1, 1] * 8, [0.6, 0.7, 0.8, 0.9] * 8))

    assert found.metrics["npv"].note == "undefined: no negative prediction"
    assert found.classification_report[0].precision.note == "undefined: no case was predicted benign"
    assert found.classification_report[0].f1.value == 0
    assert "predicts every case as cancer" in found.warnings[0]


def test_constant_scores() -> None:
    """AUC 0.5 without an interval, and said first."""
    found = evaluated(cases([0, 1] * 20, [0.5] * 40))

    assert found.constant_output
    assert found.metrics["auc"].value == 0.5
    assert found.metrics["auc"].ci_low is None
    assert found.warnings[0].startswith("The model gives (nearly) every case the same score")


def test_perfect_separation_warns_of_a_leak() -> None:
    """AUC 1, a limit below 1, and the warning."""
    found = evaluated(cases([0] * 20 + [1] * 20, [*np.linspace(0.0, 0.4, 20), *np.linspace(0.6, 1.0, 20)]))

    auc = found.metrics["auc"]
    assert auc.value == 1
    assert auc.ci_low is not None
    assert auc.ci_low < 0.9
    assert any("look for a leak" in text for text in found.warnings)


def test_inverted_scores_are_not_flipped() -> None:
    """The AUC stays below 0.5 and is warned of."""
    test = cases([0] * 30 + [1] * 30, [*np.linspace(0.3, 0.9, 30), *np.linspace(0.1, 0.7, 30)])

    found = evaluated(test)

    assert found.metrics["auc"].value < 0.5
    assert any("below that of a coin toss" in text for text in found.warnings)


def test_probabilities_of_exactly_0_and_1() -> None:
    """No infinite logit anywhere: every calibration figure is finite or says why not."""
    test = cases([0, 0, 0, 1, 1, 1, 0, 1] * 10, [0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.2, 0.7] * 10)

    found = evaluated(test)

    assert found.calibration is not None
    for name in ("slope", "in_the_large", "observed_expected", "brier", "expected_calibration_error"):
        estimate = getattr(found.calibration, name)
        assert estimate.value is None or np.isfinite(estimate.value)
    assert found.metrics["brier"].value == pytest.approx((1 + 1 + 0.04 + 0.09) / 8)


def test_scores_that_are_not_probabilities() -> None:
    """Ranking and calls remain; Brier, calibration and net benefit are switched off."""
    study = draw_study({"m": 0.86}, n_negative=50, n_positive=50, seed=5)
    logits = np.log(study.scores["m"] / (1 - study.scores["m"]))

    found = evaluated(
        cases(study.y_true.tolist(), logits.tolist(), probabilities=False),
        point=OperatingPoint(threshold=0.0, rule="typed", chosen_on="user"),
    )

    same = evaluated(cases(study.y_true.tolist(), study.scores["m"].tolist()))
    assert found.metrics["auc"] == same.metrics["auc"]
    assert found.confusion == same.confusion
    assert found.metrics["brier"].note == "undefined: the scores are not probabilities"
    assert found.calibration is None
    assert found.decision_curve is None


def test_patients_widen_the_intervals() -> None:
    """The same images with and without their patients."""
    study = draw_study(
        {"m": 0.8}, n_negative=200, n_positive=200, seed=6, images_per_patient=8, correlation=0.9
    )
    alone = ScoredCases(**{**vars(study), "patient_id": None})

    clustered, plain = evaluated(study), evaluated(alone)

    assert clustered.clustered
    assert (clustered.n_units_positive, plain.n_units_positive) == (25, 200)
    for name in ("auc", "sensitivity", "specificity", "accuracy", "f1"):
        with_patients, without = clustered.metrics[name], plain.metrics[name]
        assert with_patients.value == pytest.approx(without.value)
        assert with_patients.ci_high - with_patients.ci_low > without.ci_high - without.ci_low


def test_subgroups() -> None:
    """Figures of each level; none where a class has fewer than ten cases."""
    study = draw_study({"m": 0.86}, n_negative=60, n_positive=60, seed=5)
    side = np.array(["left"] * 50 + [""] * 10 + ["left"] * 51 + [""] * 9)
    test = ScoredCases(**{**vars(study), "subgroups": {"side": side}})

    blank, left = evaluated(test).subgroups

    assert (blank.level, blank.n, blank.n_positive) == ("(blank)", 19, 9)
    assert blank.metrics["auc"].note == "not computed: fewer than 10 cases of a class"
    assert blank.metrics["sensitivity"].value is None
    assert blank.metrics["specificity"].value is not None
    chosen = side == "left"
    assert left.metrics["auc"].value == pytest.approx(
        roc_auc_score(study.y_true[chosen], study.scores["m"][chosen])
    )
    assert left.metrics["sensitivity"].n == 51


def test_recalibration_is_fitted_on_validation() -> None:
    """A shifted model is mended for calibration; its AUC, threshold and calls stay."""
    test, validation = (
        draw_study({"m": 0.86}, n_negative=300, n_positive=300, seed=5, subset=s, shift={"m": 1.5})
        for s in ("test", "val")
    )
    raw, platt = (
        evaluate_model(
            test, validation, "m", display_name="M", seed=3,
            evaluate=EvaluateConfig(n_resamples=200, recalibration=how),
        )
        for how in ("none", "platt")
    )  # fmt: skip

    assert raw.calibration is not None
    assert platt.calibration is not None
    assert abs(raw.calibration.in_the_large.value) > 1
    assert abs(platt.calibration.in_the_large.value) < 0.25
    assert platt.calibration.recalibration == "platt"
    assert (platt.calibration_as_predicted, raw.calibration_as_predicted) == (raw.calibration, None)
    assert platt.metrics["auc"] == raw.metrics["auc"]
    assert platt.confusion == raw.confusion


def test_texts_for_the_log() -> None:
    """Aligned, with the names of the classes, counts and figures."""
    test = cases([0] * 1200 + [1] * 800, [0.1] * 1100 + [0.9] * 100 + [0.2] * 80 + [0.8] * 720)

    found = evaluated(test)

    assert confusion_matrix_text(found).splitlines() == [
        "             predicted cancer  predicted benign",
        "true cancer               720                80",
        "true benign               100             1,100",
    ]
    report = classification_report_text(found).splitlines()
    assert report[0].split() == ["precision", "recall", "F1", "cases"]
    assert report[1].split() == ["benign", "0.932", "0.917", "0.924", "1,200"]
    assert report[2].split() == ["cancer", "0.878", "0.900", "0.889", "800"]
    assert report[3].startswith("accuracy               0.910  (95% interval 0.897 to 0.922)")
    assert len({len(line) for line in report[:3]}) == 1


def test_texts_with_long_names_fit_the_terminal() -> None:
    """Letters stand for names that would not fit, and are explained."""
    study = replace(
        cases([0] * 12 + [1] * 8, [0.1] * 11 + [0.9] + [0.2] + [0.8] * 7),
        classes=("benign_fibroadenoma_of_the_breast", "carcinoma"),
    )

    matrix, report = (
        text(evaluated(study)).splitlines() for text in (confusion_matrix_text, classification_report_text)
    )

    assert matrix == [
        "(a) carcinoma",
        "(b) benign_fibroadenoma_of_the_breast",
        "          predicted (a)  predicted (b)",
        "true (a)              7              1",
        "true (b)              1             11",
    ]
    assert report[:2] == matrix[:2]
    assert report[3].split()[::4] == ["(b)", "12"]
    assert max(map(len, report)) <= 80


def test_text_of_an_undefined_figure() -> None:
    """A dash, not 'None'."""
    text = classification_report_text(evaluated(cases([1, 1], [0.1, 0.2])))

    assert "None" not in text
    assert " - " in text


def test_shares_of_a_single_patient_have_no_interval() -> None:
    """Thirty positive images of one patient were counted as thirty: sensitivity 0.9 with a narrow interval."""
    study = draw_study({"m": 0.9}, n_negative=60, n_positive=30, seed=1)
    patients = np.array([f"n{i // 2}" for i in range(60)] + ["p"] * 30)
    found = evaluated(replace(study, patient_id=patients))

    sensitivity = found.metrics["sensitivity"]
    assert (sensitivity.ci_low, sensitivity.note) == (None, "no interval: all cases come from one patient")
    assert found.metrics["specificity"].ci_low is not None
    assert found.metrics["likelihood_ratio_positive"].note == (
        "not estimable: all positive cases come from one patient"
    )


def test_a_long_precision_recall_curve_is_thinned() -> None:
    """Of 12,000 corners 2,001 at most stay, all of them scikit-learn's, none further than 0.001 apart."""
    study = replace(draw_study({"m": 0.8}, n_negative=9_000, n_positive=3_000, seed=1), patient_id=None)
    curve = evaluated(study, config=EvaluateConfig(n_resamples=200)).precision_recall
    precision, recall, _ = precision_recall_curve(study.y_true, study.scores["m"])
    corners = set(zip(np.round(recall, 12).tolist(), np.round(precision, 12).tolist(), strict=True))

    assert len(corners) > 5_000
    assert len(curve.x) <= 2_002
    assert set(zip(np.round(curve.x, 12).tolist(), np.round(curve.y, 12).tolist(), strict=True)) <= corners
    assert max(np.diff(curve.x)) < 0.001
    assert (curve.x[-1], curve.y[-1]) == (1.0, 0.25)
