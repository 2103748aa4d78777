"""Two models in full: net benefit at thresholds, differences within subgroups and their interactions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import scipy

from medcompare.config.schema import DecideConfig, EvaluateConfig
from medcompare.stats.assessment import assess
from medcompare.stats.intervals.auc import auc_difference
from medcompare.stats.intervals.proportions import proportion
from medcompare.stats.intervals.unpaired import unpaired_difference
from medcompare.stats.paired import paired_proportion_difference
from medcompare.stats.resampling.weights import ResamplingPlan
from medcompare.stats.subgroups import subgroup_differences
from medcompare.stats.utility import net_benefit, resampled_net_benefit, treat_all
from tests.stats.simulated import draw_study

if TYPE_CHECKING:
    from medcompare.predictions.cases import ScoredCases
    from medcompare.stats.estimates import Estimate
    from medcompare.stats.in_detail import HeadToHead
    from medcompare.stats.records import Assessment


def study(
    *, subgroups: dict[str, list[str]] | None = None, images_per_patient: int | None = None
) -> ScoredCases:
    """120 negative and 80 positive cases of two models; levels are repeated over the cases."""
    test = draw_study(
        {"a": 0.9, "b": 0.85}, n_negative=120, n_positive=80, seed=4, images_per_patient=images_per_patient
    )
    columns = {name: np.resize(np.array(levels), test.n) for name, levels in (subgroups or {}).items()}
    return replace(test, subgroups=columns)


def assessed(
    test: ScoredCases,
    rule: DecideConfig | None = None,
    validation: ScoredCases | None = None,
    **evaluate: object,
) -> Assessment:
    """The assessment, with few resamples."""
    return assess(
        test, validation, (), display_names={}, evaluate=EvaluateConfig(n_resamples=300, **evaluate),
        rule=rule or DecideConfig(), thresholds={"a": 0.5, "b": 0.6}, seed=0,
    )  # fmt: skip


def detail_of(found: Assessment) -> HeadToHead:
    """What is told of the pair, which there must be."""
    assert found.head_to_head is not None
    return found.head_to_head


def test_points_are_net_benefits_of_both_models() -> None:
    """At the ends of the stated range and at both frozen thresholds, with intervals from the same resamples."""
    test = study()
    found = assessed(test, DecideConfig(net_benefit_range=(0.1, 0.55)))
    detail = detail_of(found)

    where = {point.threshold: point for point in detail.net_benefit_at}
    assert list(where) == [0.1, 0.5, 0.55]
    assert [point.frozen_of for point in where.values()] == [(), ("a",), ()]
    cut = list(where)
    values = {m: net_benefit(test.y_true, test.scores[m], cut) for m in "ab"}
    plan = ResamplingPlan(test.y_true == 1, None, stratified=False, seed=0, n_resamples=300)
    draws = resampled_net_benefit(test.y_true, [test.scores["a"], test.scores["b"]], cut, plan)
    gains = draws[1] - draws[0]
    for i, point in enumerate(where.values()):
        assert (point.reference.value, point.candidate.value) == (values["a"][i], values["b"][i])
        assert point.difference.value == pytest.approx(values["b"][i] - values["a"][i])
        assert point.difference.ci_low == pytest.approx(np.quantile(gains[:, i], 0.025))
        assert point.candidate.ci_high == pytest.approx(np.quantile(draws[1, :, i], 0.975))
        assert point.probability_of_benefit.value == pytest.approx(
            np.mean((gains[:, i] > 1e-11) + 0.5 * (np.abs(gains[:, i]) <= 1e-11))
        )
    assert [point.treat_all for point in where.values()] == pytest.approx(list(treat_all(0.4, cut)))


@pytest.mark.parametrize("prevalence", [None, 0.02])
def test_interventions_avoided_are_resampled_with_those_of_everyone(prevalence: float | None) -> None:
    """Negatives left alone less missed positives, counted in every resample; of the difference, of both alike."""
    test = study(images_per_patient=2)
    found = assessed(test, DecideConfig(net_benefit_range=(0.1, 0.55)), stated_prevalence=prevalence)
    order = np.argsort(test.case_id)
    positive, patients = test.y_true[order] == 1, test.clusters[order]
    plan = ResamplingPlan(positive, patients, stratified=False, seed=0, n_resamples=300)
    [weights] = plan.each(lambda drawn: drawn)
    weights = np.concatenate([np.ones((1, test.n)), weights])  # the sample itself first
    of_negatives, of_positives = (weights[:, of].sum(axis=1) for of in (~positive, positive))

    def avoided(model: str, t: float) -> np.ndarray:
        below = test.scores[model][order] < t
        alone, missed = (weights[:, below & of].sum(axis=1) for of in (~positive, positive))
        shares = (of_negatives, of_positives) if prevalence else 2 * (weights.sum(axis=1),)
        scale = (1 - prevalence, prevalence) if prevalence else (1, 1)
        return scale[0] * alone / shares[0] - scale[1] * missed / shares[1] * (1 - t) / t

    for point in detail_of(found).net_benefit_at:
        values = {"reference": avoided("a", point.threshold), "candidate": avoided("b", point.threshold)}
        values["difference"] = values["candidate"] - values["reference"]
        assert list(point.interventions_avoided) == list(values)
        for name, counted in values.items():
            one = point.interventions_avoided[name]
            low, high = np.quantile(counted[1:], [0.025, 0.975])
            assert (one.value, one.ci_low, one.ci_high) == pytest.approx((counted[0], low, high))


def test_the_curve_of_the_difference_is_that_of_the_two_curves() -> None:
    """Its value at every threshold of the range, and a band around it."""
    found = assessed(study())
    curve = detail_of(found).net_benefit

    assert curve is not None
    assert found.threshold_range == (0.01, 0.5) == (curve.x[0], curve.x[-1])
    a, b = (dict(zip(e.decision_curve.x, e.decision_curve.y, strict=True)) for e in found.evaluations)
    assert curve.y == pytest.approx([b[x] - a[x] for x in curve.x])
    assert all(low <= y <= high for low, y, high in zip(curve.y_low, curve.y, curve.y_high, strict=True))


def test_a_stated_prevalence_weighs_curves_points_and_everyone() -> None:
    """2% where it will be used, 40% here."""
    test = study()
    found = assessed(test, DecideConfig(net_benefit_range=(0.01, 0.1)), stated_prevalence=0.02)
    first = detail_of(found).net_benefit_at[0]

    assert found.net_benefit_prevalence == 0.02
    assert first.candidate.value == net_benefit(test.y_true, test.scores["b"], [0.01], prevalence=0.02)[0]
    assert first.treat_all == pytest.approx(0.02 - 0.98 / 99)
    assert found.treat_all.y[0] == pytest.approx(0.02 - 0.98 / 99)
    assert found.evaluations[1].decision_curve.y[0] == pytest.approx(first.candidate.value)


def test_the_frozen_threshold_follows_a_recalibration() -> None:
    """Curves of recalibrated probabilities have the threshold where the recalibration puts it."""
    validation = draw_study({"a": 0.9, "b": 0.85}, n_negative=120, n_positive=80, seed=4, subset="val")
    rule = DecideConfig(net_benefit_range=(0.05, 0.95))
    raw = detail_of(assessed(study(), rule, validation))
    mended = detail_of(assessed(study(), rule, validation, recalibration="platt"))

    def frozen(detail: HeadToHead) -> list[float]:
        return [point.threshold for point in detail.net_benefit_at if point.frozen_of]

    assert frozen(raw) == [0.5, 0.6]
    assert frozen(mended) != [0.5, 0.6]


def test_too_few_cases_have_values_without_intervals() -> None:
    """Nine positives: the reason stands beside each value, and there is no band."""
    test = draw_study({"a": 0.9, "b": 0.85}, n_negative=60, n_positive=9, seed=1)
    found = assessed(test)
    detail = detail_of(found)

    assert detail.net_benefit is not None
    assert detail.net_benefit.y_low == found.evaluations[0].decision_curve.y_low == ()
    first = detail.net_benefit_at[0]
    assert first.difference.note == "no interval: 9 positive cases, at least 10 are needed"
    assert first.probability_of_benefit.value is None


def test_no_pair_and_no_probabilities() -> None:
    """One model has no detail; scores that are no probabilities have subgroups alone."""
    test = study(subgroups={"sex": ["f", "m"]})

    alone = assess(
        test.only(["a"]), None, (), display_names={}, evaluate=EvaluateConfig(n_resamples=200),
        rule=DecideConfig(), thresholds={}, seed=0,
    )  # fmt: skip
    assert alone.head_to_head is None
    logits = replace(test, scores_are_probabilities=False)
    detail = detail_of(assessed(logits))
    assert (detail.net_benefit, detail.net_benefit_at) == (None, ())
    assert len(detail.subgroups) == 2


def test_differences_within_levels() -> None:
    """Those of the cases of a level alone, with intervals at 1 - 0.05 / 3 for three levels that can be computed."""
    levels = ["n"] * 8 + ["s"] * 5 + ["e"] * 6 + ["w"]
    test = study(subgroups={"site": levels})
    rows, _ = subgroup_differences(test, {"a": 0.5, "b": 0.6}, EvaluateConfig())

    assert [row.level for row in rows] == ["e", "n", "s", "w"]
    assert rows[3].differences["auc"].note == "not computed: fewer than 10 cases of a class"
    for row in rows[:3]:
        chosen = test.subgroups["site"] == row.level
        y, a, b = test.y_true[chosen], test.scores["a"][chosen], test.scores["b"][chosen]
        plain = auc_difference(y, a, b, level=1 - 0.05 / 3)
        found = row.differences["auc"]
        assert (found.value, found.ci_low, found.ci_high) == (plain.value, plain.ci_low, plain.ci_high)
        assert (found.level, found.p_value) == (0.95, None)
        assert found.method == "DeLong, Bonferroni over 3 subgroups"
        right = (a >= 0.5)[y == 1], (b >= 0.6)[y == 1]
        tango = paired_proportion_difference(*right, level=1 - 0.05 / 3)
        assert row.differences["sensitivity"].ci_low == tango.ci_low
        assert (row.n, row.n_positive, row.n_patients) == (chosen.sum(), y.sum(), None)


def test_interaction_of_two_levels_is_a_z_test() -> None:
    """Q is the square of the difference of the differences in standard errors (Altman and Bland 2003)."""
    test = study(subgroups={"sex": ["f", "m", "m"]})
    _, tests = subgroup_differences(test, {"a": 0.5, "b": 0.6}, EvaluateConfig())
    halves = [test.subgroups["sex"] == level for level in "fm"]
    found = [auc_difference(test.y_true[h], test.scores["a"][h], test.scores["b"][h]) for h in halves]
    errors = [(one.ci_high - one.ci_low) / (2 * 1.959963984540054) for one in found]
    z = (found[0].value - found[1].value) / np.hypot(*errors)

    auc = next(one for one in tests if one.metric == "auc")

    assert auc.statistic == pytest.approx(z**2)
    assert auc.p_value == pytest.approx(2 * scipy.stats.norm.sf(abs(z)))
    assert len(tests) == 3
    assert auc.p_value_adjusted >= auc.p_value


def test_a_difference_in_one_level_alone_is_an_interaction() -> None:
    """One model is no better than chance at one site: found after adjustment, and named by its column."""
    rng = np.random.default_rng(0)
    test = draw_study({"a": 0.9, "b": 0.9}, n_negative=400, n_positive=400, seed=2)
    site, sex = (np.resize(np.array(names), test.n) for names in (["x", "y"], ["f", "f", "m", "m"]))
    scores = {**test.scores, "b": np.where(site == "x", rng.random(test.n), test.scores["b"])}
    test = replace(test, scores=scores, subgroups={"site": site, "sex": sex})

    _, tests = subgroup_differences(test, {"a": 0.5, "b": 0.5}, EvaluateConfig())

    found = {(one.column, one.metric): one.p_value_adjusted for one in tests}
    assert found["site", "auc"] < 1e-6
    assert min(found["sex", key] for key in ("auc", "sensitivity", "specificity")) > 0.05


@pytest.mark.slow
@pytest.mark.parametrize("n_levels", [2, 4])
def test_interaction_keeps_its_level(n_levels: int) -> None:
    """Equal differences at every level: significant in at most 5% of studies, and not far below for the AUC."""
    counts = dict.fromkeys(("auc", "sensitivity", "specificity"), 0)
    for seed in range(400):
        test = draw_study(
            {"a": 0.88, "b": 0.84}, n_negative=50 * n_levels, n_positive=50 * n_levels, seed=seed
        )
        levels = np.resize(np.array(list("abcd"[:n_levels])), test.n)
        test = replace(test, subgroups={"site": levels})
        _, tests = subgroup_differences(test, {"a": 0.5, "b": 0.5}, EvaluateConfig())
        for one in tests:
            counts[one.metric] += one.p_value < 0.05

    shares = {key: count / 400 for key, count in counts.items()}
    assert all(share <= 0.075 for share in shares.values()), shares
    assert shares["auc"] >= 0.02


def test_each_level_against_the_rest() -> None:
    """Square-and-add of both intervals at the adjusted level; of two levels one is enough."""
    test = study(subgroups={"sex": ["f", "m"], "site": ["n", "s", "e"]})
    found = assessed(test).evaluations[0]
    by_level = {one.level: one for one in found.subgroups}

    assert by_level["m"].against_rest == {}
    north = by_level["n"].against_rest["sensitivity"]
    # Four comparisons: one of sex, three of site.
    level = 1 - 0.05 / 4
    chosen, positive = test.subgroups["site"] == "n", test.y_true == 1
    right = test.scores["a"] >= 0.5

    def rate(where: np.ndarray) -> Estimate:
        return proportion(int(right[where & positive].sum()), int((where & positive).sum()), level=level)

    expected = unpaired_difference(rate(~chosen), rate(chosen))
    assert (north.value, north.ci_low, north.ci_high) == pytest.approx(
        (expected.value, expected.ci_low, expected.ci_high)
    )
    assert north.method.endswith("Bonferroni over 4 subgroups")


def test_patients_in_several_levels_are_said() -> None:
    """Two images per patient, one on each side: taken for independent, and said so."""
    test = study(subgroups={"side": ["left", "right"]}, images_per_patient=2)
    found = assessed(test)

    note = found.evaluations[0].subgroups[0].against_rest["auc"].note
    assert note.startswith("100 patients have cases in several levels of side")
    assert {one.note for one in detail_of(found).interactions} == {note}
    assert found.evaluations[0].subgroups[0].n_patients == 100


def test_levels_of_few_cases_leave_nothing_to_test() -> None:
    """Why is said, and Holm counts only tests that were made."""
    test = study(subgroups={"site": ["n"] * 39 + ["s"], "sex": ["f", "m"]})
    _, tests = subgroup_differences(test, {"a": 0.5, "b": 0.6}, EvaluateConfig())

    site = [one for one in tests if one.column == "site"]
    assert {(one.statistic, one.p_value_adjusted, one.note) for one in site} == {
        (None, None, "not tested: fewer than two levels have an interval")
    }
    sex = [one.p_value for one in tests if one.column == "sex"]
    assert min(one.p_value_adjusted for one in tests if one.column == "sex") == min(1.0, 3 * min(sex))
