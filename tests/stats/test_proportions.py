"""Intervals of one proportion."""

import math

import numpy as np
import pytest
from scipy.stats import norm
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from medcompare.base.errors import ConfigError, DataError
from medcompare.stats.intervals.predictive import likelihood_ratios, predictive_values_at_prevalence
from medcompare.stats.intervals.proportions import (
    clustered_proportion,
    clustered_ratio_variance,
    effective_sample_size,
    normal_quantile,
    proportion,
    wilson_limits,
)
from medcompare.stats.records import Estimate


def test_wilson_by_hand() -> None:
    """Eight of ten: centre (8 + 1.92) / 13.84, half-width by Wilson's formula."""
    estimate = proportion(8, 10)

    assert estimate.value == 0.8
    assert estimate.ci_low == pytest.approx(0.4901625, abs=5e-8)
    assert estimate.ci_high == pytest.approx(0.9433178, abs=5e-8)
    assert (estimate.method, estimate.n, estimate.level) == ("Wilson", 10, 0.95)


@pytest.mark.parametrize("method", ["wilson", "clopper-pearson"])
@pytest.mark.parametrize(("k", "n"), [(0, 7), (7, 7), (1, 1), (3, 12), (999, 1000)])
@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_equals_statsmodels(method: str, k: int, n: int, level: float) -> None:
    """Every interval is statsmodels', within [0, 1] and around its value."""
    name = {"wilson": "wilson", "clopper-pearson": "beta"}[method]
    low, high = proportion_confint(k, n, alpha=1 - level, method=name)

    estimate = proportion(k, n, level=level, method=method)  # type: ignore[arg-type]

    assert estimate.ci_low == pytest.approx(low, abs=1e-12)
    assert estimate.ci_high == pytest.approx(high, abs=1e-12)
    assert 0 <= estimate.ci_low <= k / n <= estimate.ci_high <= 1  # type: ignore[operator]
    assert estimate.ci_low < estimate.ci_high  # type: ignore[operator]


def test_no_cases_is_undefined() -> None:
    """Nothing to count has no value, and says why."""
    assert proportion(0, 0).value is None
    assert proportion(0, 0).note == "undefined: no cases to count"


@pytest.mark.parametrize(("k", "n"), [(-1, 5), (6, 5), (0, -1)])
def test_impossible_counts_are_refused(k: int, n: int) -> None:
    """More successes than trials is a broken confusion matrix."""
    with pytest.raises(DataError, match="are not counts"):
        proportion(k, n)


def test_unknown_method_is_refused() -> None:
    """The message lists the known methods."""
    with pytest.raises(ConfigError, match="choose one of wilson, clopper-pearson"):
        proportion(1, 2, method="wald")  # type: ignore[arg-type]


def test_wilson_limits_take_fractions_of_cases() -> None:
    """At a whole number of cases they are Wilson's; a smaller number is wider."""
    low, high = wilson_limits(0.8, 10, 0.95)

    assert (low, high) == pytest.approx(proportion_confint(8, 10, method="wilson"))
    assert wilson_limits(0.8, 7.5, 0.95)[0] < low


def test_ratio_variance_by_hand() -> None:
    """Two patients, 2 and 1 cases, right 1, 0 and 1: p = 2/3, totals -1/3 and 1/3."""
    variance = clustered_ratio_variance([1, 0, 1], np.array([0, 0, 1]))

    assert variance == pytest.approx(2 * (2 / 9) / 9)


def test_ratio_variance_of_single_cases_is_the_usual_one() -> None:
    """One case per patient: sample variance over n."""
    x = np.array([0.2, 0.5, 0.1, 0.9])

    assert clustered_ratio_variance(x, np.arange(4)) == pytest.approx(x.var(ddof=1) / 4)


def test_effective_size_without_clusters_is_the_number_of_cases() -> None:
    """One case per patient is worth exactly one case."""
    x = np.array([1, 1, 0, 1, 0, 1, 1], dtype=float)

    assert effective_sample_size(x, np.arange(7)) == pytest.approx(7, rel=1e-12)


def test_copies_of_a_case_are_worth_one_case() -> None:
    """Ten identical images per patient add nothing, apart from the allowance for few patients."""
    per_patient = np.array([1, 0] * 100, dtype=float)
    clusters = np.repeat(np.arange(200), 10)

    assert effective_sample_size(np.repeat(per_patient, 10), clusters) == pytest.approx(200, rel=0.02)


def test_variance_needs_two_patients() -> None:
    """A single patient says nothing about variation between patients."""
    with pytest.raises(DataError, match="at least two patients"):
        clustered_ratio_variance([1.0, 0.0], np.array([0, 0]))


def test_clustered_proportion_with_one_image_each_is_wilson() -> None:
    """Patients with one image reproduce the plain interval."""
    flags = np.arange(40) % 5 != 0

    estimate = clustered_proportion(flags, np.arange(40))

    assert estimate.value == 0.8
    assert (estimate.ci_low, estimate.ci_high) == pytest.approx(
        proportion_confint(32, 40, method="wilson"), abs=1e-12
    )


def test_clustered_proportion_is_wider_where_patients_differ() -> None:
    """Images of one patient that agree with one another carry less information."""
    flags = np.repeat(np.arange(30) % 3 != 0, 4)

    clustered = clustered_proportion(flags, np.repeat(np.arange(30), 4))

    plain = proportion(int(flags.sum()), flags.size)
    assert clustered.ci_low < plain.ci_low  # type: ignore[operator]
    assert clustered.ci_high > plain.ci_high  # type: ignore[operator]


@pytest.mark.parametrize("flag", [True, False])
def test_clustered_extremes_have_width(flag: bool) -> None:  # noqa: FBT001
    """All right (or none) in ten patients: the interval of ten of ten, not of forty."""
    estimate = clustered_proportion(np.full(40, flag), np.repeat(np.arange(10), 4))

    low, high = proportion_confint(10 * flag, 10, method="wilson")
    assert estimate.ci_low == pytest.approx(low, abs=1e-12)
    assert estimate.ci_high == pytest.approx(high, abs=1e-12)


def test_clustered_degenerate_inputs() -> None:
    """No case has no value; a single patient has no interval."""
    assert clustered_proportion(np.array([], dtype=bool), []).value is None
    single = clustered_proportion(np.array([True, False]), ["p", "p"])
    assert (single.value, single.ci_low) == (0.5, None)
    assert single.note == "no interval: all cases come from one patient"


def test_predictive_values_by_bayes() -> None:
    """Sensitivity 0.9, specificity 0.8 at 10%: PPV 0.09 / 0.27, NPV 0.72 / 0.73."""
    ppv, npv = predictive_values_at_prevalence(proportion(90, 100), proportion(160, 200), 0.1)

    assert ppv.value == pytest.approx(1 / 3)
    assert npv.value == pytest.approx(0.72 / 0.73)
    assert 0 < ppv.ci_low < 1 / 3 < ppv.ci_high < 1  # type: ignore[operator]


def test_predictive_values_cover_nominally() -> None:
    """Simulated coverage of the combined interval stays near 95%."""
    rng = np.random.default_rng(5)
    truth = 0.85 * 0.1 / (0.85 * 0.1 + 0.2 * 0.9)
    hits = 0
    for _ in range(600):
        se = proportion(int(rng.binomial(80, 0.85)), 80)
        sp = proportion(int(rng.binomial(120, 0.8)), 120)
        ppv, _ = predictive_values_at_prevalence(se, sp, 0.1)
        hits += ppv.ci_low <= truth <= ppv.ci_high  # type: ignore[operator]

    assert 0.93 <= hits / 600 <= 0.975


def test_predictive_values_at_perfect_specificity_keep_width() -> None:
    """With no false positive the PPV is 1, its lower limit that of the two worst limits."""
    se, sp = proportion(45, 50), proportion(60, 60)

    ppv, npv = predictive_values_at_prevalence(se, sp, 0.05)

    worst = se.ci_low * 0.05 / (se.ci_low * 0.05 + (1 - sp.ci_low) * 0.95)  # type: ignore[operator]
    assert (ppv.value, ppv.ci_high) == (1.0, 1.0)
    assert ppv.ci_low == pytest.approx(worst)
    assert ppv.method == "Bayes formula; joint limits"
    assert npv.ci_low < npv.value < npv.ci_high  # type: ignore[operator]


def test_predictive_values_without_calls_are_undefined() -> None:
    """Sensitivity 0 and specificity 1: no positive prediction, so no PPV at any prevalence."""
    ppv, npv = predictive_values_at_prevalence(proportion(0, 10), proportion(10, 10), 0.2)

    assert ppv.value is None
    assert ppv.note == "undefined: no positive prediction"
    assert npv.value == pytest.approx(0.8)


def test_predictive_values_pass_on_what_is_missing() -> None:
    """An undefined sensitivity or an absent interval is passed on with a note."""
    bare = Estimate(value=0.5, method="counted")

    undefined = predictive_values_at_prevalence(proportion(0, 0), proportion(5, 9), 0.2)[0]
    without_interval = predictive_values_at_prevalence(bare, proportion(5, 9), 0.2)[0]

    assert undefined.note == "undefined: sensitivity or specificity is undefined"
    assert without_interval.value is not None
    assert without_interval.note == "no interval: sensitivity or specificity has none"


def test_predictive_values_refuse_bad_settings() -> None:
    """Prevalence is a share, and the intervals must be of one level."""
    se, sp = proportion(8, 10), proportion(7, 10, level=0.9)

    with pytest.raises(ConfigError, match=r"prevalence is 5; give the expected share"):
        predictive_values_at_prevalence(se, se, 5)
    with pytest.raises(ConfigError, match=r"specificity has a 0\.9 interval but level is 0\.95"):
        predictive_values_at_prevalence(se, sp, 0.1)


def test_normal_quantile() -> None:
    """The familiar 1.96."""
    assert normal_quantile(0.95) == pytest.approx(1.959963984540054)
    assert math.isclose(normal_quantile(0.9), 1.6448536269514722)


def table(tp: int, n_positive: int, fp: int, n_negative: int) -> tuple[np.ndarray, np.ndarray]:
    """Calls and truth with these counts."""
    positive = np.arange(n_positive + n_negative) < n_positive
    within = np.where(positive, np.arange(positive.size), np.arange(positive.size) - n_positive)
    return within < np.where(positive, tp, fp), positive


@pytest.mark.parametrize("level", [0.95, 0.9])
@pytest.mark.parametrize(
    ("tp", "n_positive", "fp", "n_negative"),
    [(36, 40, 16, 80), (45, 50, 3, 200), (5, 12, 1, 9), (190, 200, 480, 800)],
)
def test_likelihood_ratios_equal_statsmodels(
    tp: int, n_positive: int, fp: int, n_negative: int, level: float
) -> None:
    """Both ratios by hand, both intervals as statsmodels' score interval of a ratio."""
    positive, negative = likelihood_ratios(*table(tp, n_positive, fp, n_negative), None, level=level)
    fn, tn = n_positive - tp, n_negative - fp

    for found, (x1, x2) in ((positive, (tp, fp)), (negative, (fn, tn))):
        assert found.value == pytest.approx((x1 / n_positive) / (x2 / n_negative))
        expected = confint_proportions_2indep(
            x1, n_positive, x2, n_negative, compare="ratio", method="score", alpha=1 - level
        )
        assert (found.ci_low, found.ci_high) == pytest.approx(expected, rel=1e-5)


def test_likelihood_ratios_without_wrong_calls() -> None:
    """No false alarm: no value, but what it is at least. No missed case: 0, with an upper limit."""
    positive, negative = likelihood_ratios(*table(40, 40, 0, 80), None)

    assert positive.value is None
    assert positive.note == "undefined: no negative case got a positive prediction; at least 21.7 (95% limit)"
    assert (negative.value, negative.ci_low) == (0.0, 0.0)
    # 0 of 40 against 80 of 80: the limit where (ratio)**2 = z**2 * ratio * (1 - ratio) / 40 * 120 / 119.
    assert negative.ci_high == pytest.approx(1 / (1 + 40 * 119 / 120 / 1.959964**2), rel=1e-5)
    none, all_negative = likelihood_ratios(*table(0, 40, 0, 80), None)
    assert none.note == "undefined: no positive prediction"
    assert all_negative.value == pytest.approx(1.0)
    one_class = likelihood_ratios(np.ones(5, dtype=bool), np.ones(5, dtype=bool), None)[0]
    assert one_class.note == "undefined: no negative case"


def test_clustered_likelihood_ratios_cover() -> None:
    """Copies of a case do not narrow the interval; with 4 images per patient 95% hold the truth."""
    called, positive = table(36, 40, 16, 80)
    patients = np.arange(120)
    one = likelihood_ratios(called, positive, patients)[0]
    four = likelihood_ratios(np.tile(called, 4), np.tile(positive, 4), np.tile(patients, 4))[0]
    alone = likelihood_ratios(called, positive, None)[0]
    assert one.ci_low == pytest.approx(alone.ci_low, rel=0.02)
    assert (four.ci_low, four.ci_high) == pytest.approx((one.ci_low, one.ci_high), rel=0.02)

    rng = np.random.default_rng(3)
    patients = np.repeat(np.arange(80), 4)
    truth = patients % 2 == 0
    cut = norm.ppf(np.where(truth, 0.85, 0.25))
    covered, ignored = 0, 0
    for _ in range(400):
        noise = np.sqrt(0.6) * np.repeat(rng.normal(size=80), 4) + np.sqrt(0.4) * rng.normal(size=320)
        for clusters in (patients, None):
            found = likelihood_ratios(noise < cut, truth, clusters)[0]
            hit = found.ci_low is not None and found.ci_low <= 0.85 / 0.25 <= (found.ci_high or 0)
            covered += hit and clusters is not None
            ignored += hit and clusters is None
    assert 0.93 <= covered / 400 <= 0.985
    assert ignored / 400 < 0.9
