"""Paired comparison of decisions."""

from itertools import product

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

from medcompare.base.errors import ConfigError, DataError
from medcompare.stats.intervals.auc import auc_difference
from medcompare.stats.more_accurate import probability_more_accurate, probability_of_false_claim
from medcompare.stats.paired import (
    detectable_difference,
    mcnemar_p,
    newcombe_interval,
    obuchowski_test,
    paired_proportion_difference,
    paired_table,
    tango_interval,
)
from medcompare.stats.records import Estimate


def flags(both: int, only_reference: int, only_candidate: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    """Right-or-wrong arrays with the given paired table."""
    counts = [both, only_reference, only_candidate, neither]
    reference = np.repeat([True, True, False, False], counts)
    candidate = np.repeat([True, False, True, False], counts)
    return reference, candidate


@pytest.mark.parametrize(("b", "c"), [(1, 7), (0, 5), (3, 3), (10, 2), (150, 86)])
def test_mid_p_is_exact_less_the_observed_probability(b: int, c: int) -> None:
    """Mid-p equals statsmodels' exact p minus the probability of the observed split."""
    exact = mcnemar([[0, b], [c, 0]], exact=True).pvalue
    expected = 1.0 if b == c else exact - stats.binom.pmf(min(b, c), b + c, 0.5)

    assert mcnemar_p(b, c) == pytest.approx(expected, abs=1e-12)


def test_mid_p_published() -> None:
    """Airway data of Fagerland, Lydersen & Laake (2013): 1 and 7 discordant, p = 0.039."""
    assert mcnemar_p(1, 7) == pytest.approx(0.0390625)


def test_mid_p_without_discordant_case_is_one() -> None:
    """Where the models never disagree there is nothing to test."""
    assert mcnemar_p(0, 0) == 1.0


def test_negative_counts_are_refused() -> None:
    """Counts below zero are a caller's mistake."""
    with pytest.raises(DataError, match="must not be negative"):
        mcnemar_p(-1, 3)


def test_tango_published() -> None:
    """Table 59, 6, 16, 80 (Cavo 2012) as in the tests of R's contingencytables: -0.1240, -0.0054."""
    low, high = tango_interval(16, 6, 161)

    assert (round(low, 4), round(high, 4)) == (-0.1240, -0.0054)


def test_newcombe_published() -> None:
    """The same table by Newcombe's method 10: -0.1186, -0.0046."""
    low, high = newcombe_interval(59, 16, 6, 80)

    assert (round(low, 4), round(high, 4)) == (-0.1186, -0.0046)


def tango_statistic(b: float, c: float, n: float, delta: float) -> float:
    """Score statistic of candidate minus reference at `delta`, by direct maximisation over a grid."""
    q = np.linspace(max(0.0, -delta), (1 - delta) / 2, 400_001)[1:-1]
    loglik = c * np.log(q + delta) + b * np.log(q) + (n - b - c) * np.log(1 - 2 * q - delta)
    best = float(q[np.argmax(loglik)])
    return (c - b - n * delta) / np.sqrt(n * (2 * best + delta * (1 - delta)))


@pytest.mark.parametrize(("b", "c", "n"), [(3, 8, 40), (1, 1, 12), (20, 45, 300), (12, 1, 14)])
def test_tango_limits_are_where_the_score_statistic_reaches_the_quantile(b: int, c: int, n: int) -> None:
    """At both limits the statistic, its nuisance parameter searched for, is 1.96 in size."""
    low, high = tango_interval(b, c, n)

    assert tango_statistic(b, c, n, low) == pytest.approx(1.959964, abs=2e-4)
    assert tango_statistic(b, c, n, high) == pytest.approx(-1.959964, abs=2e-4)


def test_tango_keeps_width_in_corners() -> None:
    """No discordant case: z^2 / (n + z^2); all discordant one way: the closed form."""
    z2 = stats.norm.ppf(0.975) ** 2

    assert tango_interval(0, 0, 50) == pytest.approx((-z2 / (50 + z2), z2 / (50 + z2)))
    assert tango_interval(0, 12, 12) == pytest.approx(((12 - z2) / (12 + z2), 1.0))
    assert tango_interval(12, 0, 12) == pytest.approx((-1.0, -(12 - z2) / (12 + z2)))
    assert tango_interval(0, 1, 1) == pytest.approx(((1 - z2) / (1 + z2), 1.0))


def test_tango_near_the_corners_is_continuous() -> None:
    """A hair of a discordant case moves the limits by a hair."""
    assert tango_interval(1e-9, 0, 50) == pytest.approx(tango_interval(0, 0, 50), abs=1e-4)
    assert tango_interval(1e-9, 12 - 1e-9, 12) == pytest.approx(tango_interval(0, 12, 12), abs=1e-4)


@pytest.mark.parametrize("n", [1, 2, 3, 6])
def test_every_small_table_has_ordered_mirrored_limits(n: int) -> None:
    """For all tables of n cases: limits enclose the difference, stay in [-1, 1] and mirror."""
    for both, b, c in product(range(n + 1), repeat=3):
        neither = n - both - b - c
        if neither < 0:
            continue
        for low, high, mirror in (
            (*tango_interval(b, c, n), tango_interval(c, b, n)),
            (*newcombe_interval(both, b, c, neither), newcombe_interval(both, c, b, neither)),
        ):
            assert -1 <= low <= (c - b) / n + 1e-12
            assert (c - b) / n - 1e-12 <= high <= 1
            assert high - low > 0.05
            assert (-mirror[1], -mirror[0]) == pytest.approx((low, high), abs=1e-9)


def test_intervals_refuse_impossible_tables() -> None:
    """More discordant cases than cases, or none at all."""
    with pytest.raises(DataError, match="exceed its 5 cases"):
        tango_interval(3, 3, 5)
    with pytest.raises(DataError, match="exceed its 0 cases"):
        tango_interval(0, 0, 0)
    with pytest.raises(DataError, match="must not be negative"):
        newcombe_interval(-1, 1, 1, 5)
    with pytest.raises(ConfigError, match="confidence level"):
        newcombe_interval(1, 1, 1, 5, level=95)


def test_difference_of_paired_proportions() -> None:
    """Value, interval and test come from the table; the sign is candidate minus reference."""
    reference, candidate = flags(59, 16, 6, 80)

    estimate = paired_proportion_difference(reference, candidate)

    assert estimate.value == pytest.approx((65 - 75) / 161)
    assert (estimate.ci_low, estimate.ci_high) == tango_interval(16, 6, 161)
    assert estimate.p_value == mcnemar_p(16, 6)
    assert estimate.method == "Tango score; McNemar mid-p"
    assert estimate.n == 161


def test_newcombe_can_be_chosen() -> None:
    """The second interval is one argument away."""
    estimate = paired_proportion_difference(*flags(59, 16, 6, 80), method="newcombe")

    assert (estimate.ci_low, estimate.ci_high) == newcombe_interval(59, 16, 6, 80)
    assert estimate.method == "Newcombe square-and-add; McNemar mid-p"


def test_identical_decisions() -> None:
    """No discordant case: 0, p = 1, and an interval with width."""
    right = np.arange(30) % 4 != 0

    estimate = paired_proportion_difference(right, right)

    assert (estimate.value, estimate.p_value, estimate.note) == (0.0, 1.0, "no discordant case")
    assert estimate.ci_low == -estimate.ci_high < 0  # type: ignore[operator]


def test_no_cases_and_bad_arguments() -> None:
    """No positives in the subset has no value; unknown methods and unequal lengths are errors."""
    empty = np.array([], dtype=bool)

    assert paired_proportion_difference(empty, empty).note == "undefined: no cases to compare"
    with pytest.raises(ConfigError, match="choose one of tango, newcombe"):
        paired_proportion_difference(*flags(1, 1, 1, 1), method="wald")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="correct_candidate has 3 entries where 4"):
        paired_table(np.ones(4, bool), np.ones(3, bool))


@pytest.mark.parametrize("method", ["tango", "newcombe"])
def test_clusters_of_one_change_no_interval(method: str) -> None:
    """Patients with one image each reproduce the plain interval."""
    reference, candidate = flags(20, 6, 9, 5)

    plain = paired_proportion_difference(reference, candidate, method=method)  # type: ignore[arg-type]
    clustered = paired_proportion_difference(
        reference,
        candidate,
        clusters=np.arange(40),
        method=method,  # type: ignore[arg-type]
    )

    assert clustered.ci_low == pytest.approx(plain.ci_low, abs=1e-9)
    assert clustered.ci_high == pytest.approx(plain.ci_high, abs=1e-9)
    assert "clustered" in clustered.method
    assert "Obuchowski test" in clustered.method


def test_copied_images_do_not_make_a_difference_significant() -> None:
    """Five copies of each case: the naive test is fooled, the clustered one is not."""
    reference, candidate = flags(20, 4, 10, 6)
    copies = 5

    naive = paired_proportion_difference(np.repeat(reference, copies), np.repeat(candidate, copies))
    clustered = paired_proportion_difference(
        np.repeat(reference, copies), np.repeat(candidate, copies), clusters=np.repeat(np.arange(40), copies)
    )

    assert naive.p_value < 0.01  # type: ignore[operator]
    assert clustered.p_value > 0.05  # type: ignore[operator]
    assert naive.ci_low > 0 > clustered.ci_low  # type: ignore[operator]
    single = paired_proportion_difference(reference, candidate)
    assert clustered.ci_low == pytest.approx(single.ci_low, abs=0.01)


def test_obuchowski_by_hand() -> None:
    """Cluster totals 2, 1, 0, -1: chi-square (3/4) * 2^2 / 6 = 0.5."""
    gain = np.array([1, 1, 1, 0, 0, -1, 0])
    clusters = np.array([0, 0, 1, 1, 2, 3, 3])

    assert obuchowski_test(gain, clusters) == pytest.approx(stats.chi2.sf(0.5, 1))


def test_clustered_degenerate_inputs() -> None:
    """One patient has no interval; no discordant case in ten patients is that of ten cases."""
    right = np.ones(40, dtype=bool)

    one = paired_proportion_difference(right, right, clusters=np.zeros(40))
    none = paired_proportion_difference(right, right, clusters=np.repeat(np.arange(10), 4))

    assert (one.ci_low, one.note) == (None, "no interval: all cases come from one patient")
    assert (none.p_value, none.note) == (1.0, "no discordant case")
    assert (none.ci_low, none.ci_high) == pytest.approx(tango_interval(0, 0, 10))
    with pytest.raises(DataError, match="at least two patients"):
        obuchowski_test(np.ones(3), np.zeros(3, dtype=np.int64))


def test_probability_more_accurate_is_the_dirichlet_posterior() -> None:
    """The exact probability equals that of a million Dirichlet draws."""
    reference, candidate = flags(60, 9, 15, 16)
    draws = np.random.default_rng(1).dirichlet([61, 10, 16, 17], size=1_000_000)

    estimate = probability_more_accurate(reference, candidate)

    assert estimate.value == pytest.approx((draws[:, 2] > draws[:, 1]).mean(), abs=0.002)
    assert estimate.ci_low is None


def test_probability_of_a_false_claim_is_that_of_the_published_posterior() -> None:
    """Accuracies of 0.85 and 0.76 with 69 of 100 cases right by both: the table above, seen from the other side."""
    draws = np.random.default_rng(2).dirichlet([16 + 1, 7 + 1, 100 - 16 - 7 + 2], size=1_000_000)

    probability = probability_of_false_claim(0.85, 0.76, 100, both=0.69)

    assert probability == pytest.approx((draws[:, 0] <= draws[:, 1]).mean(), abs=0.002)
    # Cells in whole numbers: the probability is that of 17 heads or more in 24 throws.
    assert probability == pytest.approx(float(stats.binom.sf(16, 24, 0.5)))
    reference, candidate = flags(69, 7, 16, 8)
    assert probability == pytest.approx(1 - probability_more_accurate(reference, candidate).value)  # type: ignore[operator]


def test_probability_of_a_false_claim_without_the_share_that_both_got_right() -> None:
    """Independent errors are taken; errors as alike as they can be give (1/2)^(n d + 1)."""
    independent = probability_of_false_claim(0.9, 0.8, 100)

    assert independent == pytest.approx(probability_of_false_claim(0.9, 0.8, 100, both=0.72))
    assert probability_of_false_claim(0.9, 0.8, 100, both=0.8) == pytest.approx(0.5**11)
    assert probability_of_false_claim(0.9, 0.9, 50) == pytest.approx(0.5)
    for wrong in ({"accuracy": 1.1}, {"n": 0}, {"second": 0.95}):
        with pytest.raises(ConfigError, match="the claimed winner's first"):
            probability_of_false_claim(**{"accuracy": 0.9, "second": 0.8, "n": 100} | wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"from 0\.7 to 0\.8, not 0\.5"):
        probability_of_false_claim(0.9, 0.8, 100, both=0.5)


def test_probability_more_accurate_degenerate() -> None:
    """Never disagreeing is a coin toss; no case at all is an error."""
    right = np.ones(10, dtype=bool)

    assert probability_more_accurate(right, right).value == pytest.approx(0.5)
    assert probability_more_accurate(right, right, clusters=np.arange(10)).value == 0.5
    with pytest.raises(DataError, match="no cases to compare"):
        probability_more_accurate(right[:0], right[:0])
    with pytest.raises(ConfigError, match="at least 100"):
        probability_more_accurate(right, ~right, clusters=np.arange(10), n_draws=10)


def test_probability_with_clusters_counts_patients() -> None:
    """Twenty images of one patient weigh as one patient; draws repeat with the seed."""
    reference, candidate = flags(0, 5, 25, 0)
    clusters = np.r_[np.arange(5), np.full(20, 5), np.arange(6, 11)]

    estimate = probability_more_accurate(reference, candidate, clusters=clusters, seed=3)

    naive = probability_more_accurate(reference, candidate)
    assert 0.5 < estimate.value < naive.value  # type: ignore[operator]
    assert estimate == probability_more_accurate(reference, candidate, clusters=clusters, seed=3)


def test_clustered_probability_agrees_with_the_exact_one_for_single_cases() -> None:
    """With one image per patient both posteriors nearly agree."""
    reference, candidate = flags(100, 30, 45, 25)

    exact = probability_more_accurate(reference, candidate)
    drawn = probability_more_accurate(reference, candidate, clusters=np.arange(200))

    assert drawn.value == pytest.approx(exact.value, abs=0.015)


@pytest.mark.parametrize(("a", "b"), [(0, 0), (1, 7), (6, 16), (3, 3), (0, 9)])
def test_exact_test_equals_statsmodels(a: int, b: int) -> None:
    """Twice the smaller tail, at most 1; never below mid-p."""
    assert mcnemar_p(a, b, "exact") == pytest.approx(mcnemar([[0, a], [b, 0]], exact=True).pvalue)
    assert mcnemar_p(a, b, "exact") >= mcnemar_p(a, b)


def test_an_unknown_test_is_refused() -> None:
    """Only the two there are."""
    right = np.ones(20, dtype=bool)
    with pytest.raises(ConfigError, match="test 'midp' is unknown; choose one of mid-p, exact"):
        paired_proportion_difference(right, ~right, test="midp")  # type: ignore[arg-type]


def test_detectable_difference_is_found_in_four_of_five_studies() -> None:
    """A study of two models that differ by what a first study could detect finds it in 80%."""
    rng = np.random.default_rng(0)
    y = np.arange(300) < 150

    def scores(gain: float) -> np.ndarray:
        return rng.normal(size=300) + rng.normal(size=(2, 300)) + np.array([[1.5], [1.5 + gain]]) * y

    gain = 0.42
    studies = [auc_difference(y, *scores(gain)) for _ in range(300)]
    true = float(np.mean([one.value for one in studies]))  # type: ignore[arg-type]
    detectable = float(np.mean([detectable_difference(one).value for one in studies]))  # type: ignore[arg-type]

    found = np.mean([(one.p_value or 0) < 0.05 for one in studies])
    expected = stats.norm.cdf(true / detectable * (1.959964 + 0.841621) - 1.959964)
    assert found == pytest.approx(expected, abs=0.06)
    assert detectable_difference(studies[0]).method == "1.96 + 0.84 standard errors (power 80%)"


def test_detectable_difference_by_hand() -> None:
    """Standard error 0.01 at 95%: 0.028016; none where there is no interval."""
    known = Estimate(value=0.1, ci_low=0.1 - 1.959964e-2, ci_high=0.1 + 1.959964e-2, method="typed", n=5)
    assert detectable_difference(known).value == pytest.approx(0.02801585, abs=1e-7)
    unknown = Estimate(value=None, method="typed", note="undefined: no cases to compare")
    assert detectable_difference(unknown).note == "not estimable: undefined: no cases to compare"
