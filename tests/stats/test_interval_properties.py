"""Properties of every estimate over thousands of random studies, however odd."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from medcompare.config.schema import DecideConfig, EvaluateConfig
from medcompare.predictions.cases import ScoredCases
from medcompare.stats.assessment import assess
from medcompare.stats.calibration.agreement import calibration
from medcompare.stats.intervals.auc import auc_difference, auc_interval
from medcompare.stats.intervals.predictive import likelihood_ratios, predictive_values_at_prevalence
from medcompare.stats.intervals.proportions import clustered_proportion, proportion
from medcompare.stats.paired import paired_proportion_difference
from medcompare.stats.resampling.bootstrap import bootstrap_metrics
from medcompare.stats.weighted_metrics import METRICS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from medcompare.stats.records import Assessment, Estimate

QUICK = EvaluateConfig(n_resamples=200)
FIGURES = settings(max_examples=120, deadline=None, derandomize=True)
STUDIES = settings(max_examples=15, deadline=None, derandomize=True)
MANY = settings(max_examples=3000, deadline=None, derandomize=True)


@st.composite
def studies(draw: st.DrawFn) -> ScoredCases:
    """Any table: ties, constant and separating scores, extreme prevalence, patients with one or both classes."""
    n = draw(st.integers(24, 120))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_positive = draw(st.sampled_from([1, 9, 10, n // 3, n // 2, n - 10, n - 1]))
    y = rng.permutation(np.arange(n) < n_positive)
    scores = {}
    for model in "ab":
        kind = draw(
            st.sampled_from(
                ["noise", "good", "rounded", "constant", "rounding", "perfect", "inverted", "calls"]
            )
        )
        good = 1 / (1 + np.exp(-rng.normal(size=n) - 1.5 * (y - 0.5)))
        scores[model] = {
            "noise": rng.random(n),
            "good": good,
            "rounded": np.round(good, 1),
            "constant": np.full(n, 0.3),
            "rounding": 0.3 + 1e-9 * rng.random(n),
            "perfect": 0.5 * rng.random(n) + 0.5 * y,
            "inverted": 1 - good,
            "calls": (good > 0.5).astype(float),
        }[kind]
    patients = draw(st.sampled_from(["unknown", "each its own", "mixed", "by class", "one"]))
    ids = {
        "unknown": None,
        "each its own": np.arange(n),
        "mixed": rng.integers(0, max(n // 3, 2), n),
        "by class": np.where(y, 0, 1000) + rng.integers(0, max(n // 3, 2), n),
        "one": np.zeros(n, dtype=int),
    }[patients]
    return ScoredCases(
        case_id=tuple(f"{i:04}" for i in range(n)),
        y_true=y.astype(np.int64),
        scores=scores,
        patient_id=None if ids is None else np.array([f"p{i}" for i in ids]),
        classes=("benign", "cancer"),
        subset="test",
    )


def sound(estimate: Estimate, low: float, high: float) -> None:
    """Value within its limits, limits within what is possible, both limits or none, a reason for every gap."""
    if estimate.value is None or estimate.ci_low is None:
        assert estimate.note or estimate.level is None
    assert (estimate.ci_low is None) == (estimate.ci_high is None)
    if estimate.value is not None:
        assert low <= estimate.value <= high
        if estimate.ci_low is not None and estimate.ci_high is not None:
            assert low <= estimate.ci_low <= estimate.value <= estimate.ci_high <= high
    assert estimate.p_value is None or 0 <= estimate.p_value <= 1


def negated(one: Estimate, other: Estimate, *, tolerance: float = 0.0) -> None:
    """The same difference seen from the other side."""
    for ours, theirs in ((one.value, other.value), (one.ci_low, other.ci_high), (one.ci_high, other.ci_low)):
        assert (ours is None) == (theirs is None)
        if ours is not None and theirs is not None:
            assert ours == pytest.approx(-theirs, abs=tolerance)
    assert one.note == other.note
    assert one.p_value == pytest.approx(other.p_value, abs=tolerance) if one.p_value is not None else True


LEVELS = st.sampled_from([0.8, 0.95, 0.99])


def intervals(study: ScoredCases, level: float) -> list[tuple[Estimate, float, float]]:
    """Every kind of interval of a table, each with its logical range."""
    positive, clusters = study.y_true == 1, study.clusters
    a, b = study.scores.values()
    right_a, right_b = (a >= 0.5) == positive, (b >= 0.5) == positive
    n_right = int(right_a.sum())
    shares = [proportion(n_right, study.n, level=level, method=m) for m in ("wilson", "clopper-pearson")]
    if clusters is not None:
        shares.append(clustered_proportion(right_a, clusters, level=level))
    differences = [auc_difference(positive, a, b, level=level, clusters=clusters)] + [
        paired_proportion_difference(right_a, right_b, level=level, clusters=clusters, method=method)
        for method in ("tango", "newcombe")
    ]
    ratios = likelihood_ratios(a >= 0.5, positive, clusters, level=level)
    shares += predictive_values_at_prevalence(shares[0], shares[0], 0.01, level)
    shares.append(auc_interval(positive, a, level=level, clusters=clusters))
    return [
        *((share, 0, 1) for share in shares),
        *((difference, -1, 1) for difference in differences),
        *((ratio, 0, np.inf) for ratio in ratios),
    ]


def intervals_hold_their_estimates(study: ScoredCases, level: float) -> None:
    """Whatever the table, level and kind of interval."""
    for estimate, low, high in intervals(study, level):
        sound(estimate, low, high)


def nested(estimates: Iterable[Estimate]) -> None:
    """Of the same data at rising levels: one estimate, and each interval within the next."""
    for inner, outer in pairwise(estimates):
        assert outer.value == (None if inner.value is None else pytest.approx(inner.value, rel=1e-12))
        assert outer.p_value == inner.p_value
        assert (outer.ci_low is None, outer.ci_high is None) == (inner.ci_low is None, inner.ci_high is None)
        if None not in (inner.ci_low, inner.ci_high, outer.ci_low, outer.ci_high):
            assert outer.ci_low <= inner.ci_low <= inner.ci_high <= outer.ci_high  # type: ignore[operator]


def higher_levels_give_wider_intervals(study: ScoredCases) -> None:
    """90% within 95% within 99%, of every kind."""
    for of_one_kind in zip(*(intervals(study, level) for level in (0.9, 0.95, 0.99)), strict=True):
        nested(estimate for estimate, _, _ in of_one_kind)


def exchanging_models_negates_differences(study: ScoredCases) -> None:
    """Limits change places, p-values stay, within the last digits."""
    positive, clusters = study.y_true == 1, study.clusters
    a, b = study.scores.values()
    negated(
        auc_difference(positive, a, b, clusters=clusters),
        auc_difference(positive, b, a, clusters=clusters),
        tolerance=1e-12,
    )
    right = [(scores >= 0.5) == positive for scores in (a, b)]
    for method in ("tango", "newcombe"):
        one, other = (
            paired_proportion_difference(*pair, clusters=clusters, method=method)
            for pair in (right, right[::-1])
        )
        negated(one, other, tolerance=1e-12)


@FIGURES
@given(studies(), LEVELS)
def test_every_interval_holds_its_estimate(study: ScoredCases, level: float) -> None:
    """120 tables in the quick suite."""
    intervals_hold_their_estimates(study, level)


@FIGURES
@given(studies())
def test_exchanging_models_negates_every_difference(study: ScoredCases) -> None:
    """120 tables in the quick suite."""
    exchanging_models_negates_differences(study)


@FIGURES
@given(studies())
def test_higher_levels_give_wider_intervals(study: ScoredCases) -> None:
    """120 tables in the quick suite."""
    higher_levels_give_wider_intervals(study)


@STUDIES
@given(studies())
def test_higher_levels_give_wider_bootstrap_intervals(study: ScoredCases) -> None:
    """Percentiles of the same resamples, of each model and of the difference."""
    assume(study.clusters is None or study.n_patients != 1)
    results = [
        bootstrap_metrics(
            study.y_true,
            list(study.scores.values()),
            [0.5, 0.5],
            n_resamples=100,
            seed=1,
            level=level,
            clusters=study.clusters,
        )
        for level in (0.9, 0.95, 0.99)
    ]
    for metric in METRICS:
        nested(result.metric(0, metric) for result in results)
        nested(result.difference(0, 1, metric) for result in results)


@pytest.mark.slow
@MANY
@given(studies(), LEVELS)
def test_intervals_of_thousands_of_tables(study: ScoredCases, level: float) -> None:
    """All three properties on 3,000 tables."""
    intervals_hold_their_estimates(study, level)
    exchanging_models_negates_differences(study)
    higher_levels_give_wider_intervals(study)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(studies())
def test_calibration_holds_its_estimates(study: ScoredCases) -> None:
    """No slope, ratio or score outside its interval, and none without bound."""
    if study.clusters is not None and study.n_patients == 1:
        return
    found = calibration(study.y_true, study.scores["a"], seed=0, n_resamples=100, clusters=study.clusters)
    for estimate, low, high in (
        (found.slope, -np.inf, np.inf),
        (found.in_the_large, -np.inf, np.inf),
        (found.observed_expected, 0, np.inf),
    ):
        sound(estimate, low, high)
    if found.slope.ci_low is not None and found.slope.ci_high is not None:
        assert found.slope.ci_high - found.slope.ci_low <= 20


def assessed(study: ScoredCases) -> Assessment:
    """Everything a report says, without a validation subset."""
    return assess(
        study, None, (), display_names={}, evaluate=QUICK, rule=DecideConfig(), thresholds={}, seed=0
    )


@STUDIES
@given(studies(), st.integers(0, 2**32 - 1))
def test_the_order_of_rows_changes_no_exact_figure(study: ScoredCases, seed: int) -> None:
    """Of an assessment only what is resampled may change, as other rows are then drawn; no verdict does."""
    order = np.random.default_rng(seed).permutation(study.n)
    moved = replace(
        study,
        case_id=tuple(study.case_id[i] for i in order),
        y_true=study.y_true[order],
        scores={model: scores[order] for model, scores in study.scores.items()},
        patient_id=None if study.patient_id is None else study.patient_id[order],
    )
    one, other = assessed(study), assessed(moved)

    assert one.verdict == other.verdict
    for ours, theirs in zip(one.quantities, other.quantities, strict=True):
        if "bootstrap" in ours.method or ours.quantity == "expected_calibration_error":
            continue
        assert (ours.quantity, ours.models, ours.note) == (theirs.quantity, theirs.models, theirs.note)
        for mine, yours in (
            (ours.value, theirs.value),
            (ours.ci_low, theirs.ci_low),
            (ours.ci_high, theirs.ci_high),
        ):
            assert (mine is None) == (yours is None)
            assert mine is None or mine == pytest.approx(yours, rel=1e-9, abs=1e-12)


@STUDIES
@given(studies())
def test_every_quantity_of_an_assessment_is_sound(study: ScoredCases) -> None:
    """One row per figure: possible numbers, or a reason."""
    for row in assessed(study).quantities:
        assert row.value is not None or row.note
        for number in (row.value, row.ci_low, row.ci_high):
            assert number is None or np.isfinite(number)
        if row.value is not None and row.ci_low is not None and "bootstrap" not in row.method:
            assert row.ci_high is not None
            assert row.ci_low <= row.value <= row.ci_high
