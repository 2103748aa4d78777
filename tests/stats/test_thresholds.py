"""Thresholds: chosen on validation by hand-checked rules, never on the test."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from medcompare.config.schema import EvaluateConfig
from medcompare.predictions.cases import ScoredCases
from medcompare.stats.thresholds import choose_threshold
from tests.stats.simulated import draw_study


def validation(y_true: list[int], scores: list[float]) -> ScoredCases:
    """A validation subset of one model."""
    return ScoredCases(
        case_id=tuple(str(i) for i in range(len(y_true))),
        y_true=np.array(y_true),
        scores={"m": np.array(scores)},
        patient_id=None,
        classes=("n", "p"),
        subset="val",
    )


TEN = validation([0, 0, 0, 0, 0, 1, 1, 1, 1, 1], [0.1, 0.2, 0.3, 0.35, 0.7, 0.25, 0.4, 0.6, 0.8, 0.9])


@pytest.mark.parametrize(
    ("target", "threshold", "sensitivity", "specificity"),
    [
        (0.2, 0.9, 1, 5),
        (0.21, 0.8, 2, 5),
        (0.6, 0.6, 3, 4),
        (0.8, 0.4, 4, 4),
        (0.95, 0.25, 5, 2),
        (1.0, 0.25, 5, 2),
    ],
)
def test_target_sensitivity_takes_the_highest_threshold(
    target: float, threshold: float, sensitivity: int, specificity: int
) -> None:
    """Counted by hand: true positives and true negatives of five each."""
    point = choose_threshold("m", TEN, EvaluateConfig(target_sensitivity=target))

    called = TEN.scores["m"] >= point.threshold
    assert point.threshold == threshold
    assert (called & (TEN.y_true == 1)).sum() == sensitivity
    assert (~called & (TEN.y_true == 0)).sum() == specificity
    assert (point.chosen_on, point.reached, point.note) == ("validation", True, None)


def test_target_is_reached_despite_rounding() -> None:
    """19 of 20 are 0.95, whatever the last digit says."""
    cases = validation([0] * 5 + [1] * 20, [0.01 * i for i in range(5)] + [0.3 + 0.01 * i for i in range(20)])

    assert choose_threshold("m", cases, EvaluateConfig(target_sensitivity=0.95)).threshold == 0.31


def test_target_that_calls_everything_positive_is_not_reached() -> None:
    """The lowest positive lies below all negatives: said, with the reason."""
    cases = validation([0, 0, 1, 1], [0.5, 0.6, 0.1, 0.9])

    point = choose_threshold("m", cases, EvaluateConfig(target_sensitivity=1.0))

    assert point.threshold == 0.1
    assert not point.reached
    assert point.note is not None
    assert "only by calling every case positive" in point.note


def test_youden_agrees_with_scikit_learn() -> None:
    """Largest sensitivity + specificity over scikit-learn's ROC curve."""
    cases = draw_study({"m": 0.85}, n_negative=120, n_positive=80, seed=3, subset="val")
    fpr, tpr, thresholds = roc_curve(cases.y_true, cases.scores["m"], drop_intermediate=False)

    point = choose_threshold("m", cases, EvaluateConfig(threshold_rule="youden"))

    assert point.threshold == thresholds[np.argmax(tpr - fpr)]


@pytest.mark.parametrize(("ratio", "threshold"), [(1.0, 0.4), (0.2, 0.8), (10.0, 0.25)])
def test_cost_ratio_minimises_harm(ratio: float, threshold: float) -> None:
    """Ratio x missed + false alarms, the least over all thresholds by trying each."""
    config = EvaluateConfig(threshold_rule="cost_ratio", cost_ratio=ratio)

    def harm(cut: float) -> float:
        called = TEN.scores["m"] >= cut
        return ratio * (~called & (TEN.y_true == 1)).sum() + (called & (TEN.y_true == 0)).sum()

    point = choose_threshold("m", TEN, config)

    assert point.threshold == threshold
    assert harm(threshold) == min(harm(cut) for cut in TEN.scores["m"])


def test_fixed_and_given() -> None:
    """A threshold of the user goes before every rule."""
    fixed = EvaluateConfig(threshold_rule="fixed", fixed_threshold=0.3)

    assert choose_threshold("m", TEN, fixed).threshold == 0.3
    assert choose_threshold("m", TEN, fixed).chosen_on == "fixed"
    point = choose_threshold("m", TEN, fixed, given=-2.5)
    assert (point.threshold, point.chosen_on) == (-2.5, "user")


def test_without_validation_the_habit_is_called_a_habit() -> None:
    """0.5, a convention at which nothing was to be reached; for other scores than probabilities it says more."""
    point = choose_threshold("m", None, EvaluateConfig())

    assert (point.threshold, point.chosen_on, point.reached) == (0.5, "convention", True)
    assert point.note is not None
    assert "0.5 is a convention, not chosen for this model: there was no validation subset" in point.note
    logits = choose_threshold("m", None, EvaluateConfig(), scores_are_probabilities=False)
    assert logits.note is not None
    assert "means nothing for scores that are not probabilities" in logits.note


def test_validation_of_one_class_cannot_choose() -> None:
    """No rule works without both classes."""
    point = choose_threshold("m", validation([1, 1], [0.2, 0.9]), EvaluateConfig())

    assert point.threshold == 0.5
    assert point.note is not None
    assert "has one class only" in point.note


@pytest.mark.parametrize("noise", [0.0, 1e-9], ids=["constant", "rounding"])
@pytest.mark.parametrize("rule", ["youden", "target_sensitivity", "cost_ratio"])
def test_constant_scores_on_validation(noise: float, rule: str) -> None:
    """No rule can choose where every case has the same score: 0.5 is taken and said to be a convention."""
    scores = [0.4, 0.4 + noise, 0.4 - noise]
    point = choose_threshold("m", validation([0, 1, 1], scores), EvaluateConfig(threshold_rule=rule))

    assert (point.threshold, point.chosen_on, point.reached) == (0.5, "convention", True)
    assert "the model gives every validation case the same score" in (point.note or "")


def test_what_was_reached_on_validation_is_kept_with_its_interval() -> None:
    """S15: five positives reach the target; Wilson's interval says how little that is."""
    point = choose_threshold(
        "m", validation([0, 0, 0, 1, 1, 1, 1, 1], [0.1, 0.2, 0.6, 0.5, 0.7, 0.8, 0.9, 0.95]), EvaluateConfig()
    )

    reached, spared = point.validation_sensitivity, point.validation_specificity
    assert reached is not None
    assert spared is not None
    assert (reached.value, reached.n, spared.value, spared.n) == (1.0, 5, pytest.approx(2 / 3), 3)
    # Wilson by hand: 5 / (5 + 1.959964**2)
    assert reached.ci_low == pytest.approx(5 / (5 + 1.959964**2), abs=1e-6)
