"""Area under the ROC curve."""

import time

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from medcompare.base.errors import ConfigError, DataError
from medcompare.stats.intervals.auc import (
    auc_covariance,
    auc_difference,
    auc_interval,
    joint_auc_test,
    roc_auc,
    roc_points,
)


def sample(n: int = 200, seed: int = 0, *, ties: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels and two correlated scores, rounded where ties are wanted."""
    rng = np.random.default_rng(seed)
    y = rng.random(n) < 0.35
    shared = rng.normal(size=n)
    a = shared + rng.normal(size=n) + 1.3 * y
    b = shared + rng.normal(size=n) + 1.0 * y
    return y, np.round(a) if ties else a, np.round(b) if ties else b


def test_auc_by_hand() -> None:
    """Six pairs: three ordered, one tied and two wrong give 3.5 / 6."""
    assert roc_auc([0, 0, 0, 1, 1], [0.1, 0.5, 0.8, 0.5, 0.6]) == pytest.approx(3.5 / 6)


@pytest.mark.parametrize("ties", [False, True])
def test_auc_equals_sklearn(ties: bool) -> None:  # noqa: FBT001
    """With and without ties, and unchanged by any increasing transformation."""
    y, a, _ = sample(500, ties=ties)

    assert roc_auc(y, a) == pytest.approx(metrics.roc_auc_score(y, a), abs=1e-14)
    assert roc_auc(y, np.exp(a)) == roc_auc(y, a)
    assert roc_auc(y, -a) == pytest.approx(1 - roc_auc(y, a), abs=1e-14)


def test_scores_a_float32_could_not_tell_apart_are_ranked() -> None:
    """Ranks are taken in float64."""
    assert roc_auc([0, 1, 0, 1], [0.5, 0.5 + 1e-12, 0.1, 0.9]) == 1.0


@pytest.mark.parametrize(
    ("scores", "ties"),
    [
        pytest.param(0.5067919 + 1e-9 * np.arange(40), True, id="rounding of one probability"),
        pytest.param(-3.2 + 5e-8 * np.arange(40), True, id="rounding of one log odds"),
        pytest.param(1e-9 * (1 + np.arange(40)), False, id="probabilities crowded at 0"),
        pytest.param(1 - 1e-9 * (1 + np.arange(40)), False, id="probabilities crowded at 1"),
        pytest.param(0.5 + 1e-5 * np.arange(40), False, id="little spread, but more than rounding"),
    ],
)
def test_scores_that_differ_by_rounding_only_are_ties(scores: np.ndarray, ties: bool) -> None:  # noqa: FBT001
    """An AUC of 0.477 was read out of the last digits of a network that said one thing of every image."""
    y = np.arange(40) >= 20

    assert roc_auc(y, scores) in ((0.5,) if ties else (0.0, 1.0))
    noted = auc_interval(y, scores).note or ""
    assert (noted == "no interval: the score is the same for every case") == ties


def test_covariance_equals_that_over_all_pairs() -> None:
    """DeLong's covariance, computed from the full matrix of pairs."""
    y, a, b = sample(120, ties=True)
    kernels = [(s[y][:, None] > s[~y]) + 0.5 * (s[y][:, None] == s[~y]) for s in (a, b)]
    expected = np.cov([k.mean(axis=1) for k in kernels]) / y.sum()
    expected += np.cov([k.mean(axis=0) for k in kernels]) / (~y).sum()

    aucs, covariance = auc_covariance(y, [a, b])

    assert covariance == pytest.approx(expected, rel=1e-12)
    assert aucs == pytest.approx([k.mean() for k in kernels])


def test_clusters_of_one_are_delong() -> None:
    """Obuchowski's covariance with one image per patient is DeLong's."""
    y, a, b = sample()

    plain, clustered = auc_covariance(y, [a, b])[1], auc_covariance(y, [a, b], clusters=np.arange(200))[1]

    assert clustered == pytest.approx(plain, rel=1e-12)
    assert auc_interval(y, a, clusters=np.arange(200)).ci_low == pytest.approx(auc_interval(y, a).ci_low)


def test_clustered_covariance_counts_patients() -> None:
    """Four copies of each image: about the variance of the images without copies."""
    y, a, b = sample()
    single = auc_covariance(y, [a, b])[1]

    copied = auc_covariance(
        np.tile(y, 4), [np.tile(a, 4), np.tile(b, 4)], clusters=np.tile(np.arange(200), 4)
    )[1]

    assert copied == pytest.approx(single, rel=1e-9)


def test_clustered_variance_agrees_with_the_jackknife_of_patients() -> None:
    """Patients with images of both classes: close to deleting one patient at a time."""
    rng = np.random.default_rng(4)
    patient = np.repeat(np.arange(150), 4)
    effect = rng.normal(size=150)[patient]
    y = rng.random(600) < 0.4
    score = effect + rng.normal(size=600) + y
    deleted = np.array([roc_auc(y[patient != p], score[patient != p]) for p in range(150)])
    jackknife = 149 / 150 * ((deleted - deleted.mean()) ** 2).sum()

    variance = auc_covariance(y, [score], clusters=patient)[1][0, 0]

    assert variance == pytest.approx(jackknife, rel=0.03)
    assert variance < auc_covariance(y, [score])[1][0, 0] * 2


def test_logit_interval_stays_inside() -> None:
    """Near 1 the limits stay inside (0, 1), where the plain one would not."""
    y = np.repeat([0, 1], 20)
    score = np.r_[np.arange(20), np.arange(18.5, 38.5)]

    estimate = auc_interval(y, score)

    assert 0.9 < estimate.ci_low < estimate.value < estimate.ci_high < 1  # type: ignore[operator]
    assert estimate.method == "DeLong (logit)"


@pytest.mark.parametrize("separated", [1, -1])
def test_perfect_separation_has_an_exact_limit(separated: int) -> None:
    """Twelve cases of each class, all ordered: limit 0.025^(1/12), never 1.00 to 1.00."""
    y = np.repeat([0, 1], 12)
    limit = 0.025 ** (1 / 12)

    estimate = auc_interval(y, separated * np.arange(24.0))

    expected = (limit, 1.0) if separated == 1 else (0.0, 1 - limit)
    assert (estimate.ci_low, estimate.ci_high) == pytest.approx(expected)
    assert "leakage" in (estimate.note or "")
    assert ("swapped" in (estimate.note or "")) == (separated == -1)


def test_perfect_separation_in_few_patients_is_wide() -> None:
    """Twelve patients with both classes make six independent pairs, however many images."""
    y = np.tile([0, 1], 60)

    estimate = auc_interval(y, y.astype(float), clusters=np.repeat(np.arange(12), 10))

    assert estimate.ci_low == pytest.approx(0.025 ** (1 / 6))


def test_constant_score_has_no_interval() -> None:
    """A collapsed model has AUC 0.5 and no interval."""
    estimate = auc_interval(np.arange(40) % 2, [0.3] * 40)

    assert (estimate.value, estimate.ci_low, estimate.ci_high) == (0.5, None, None)
    assert estimate.note == "no interval: the score is the same for every case"


@pytest.mark.parametrize("n_positive", [1, 2, 9])
def test_few_cases_of_a_class_estimate_nothing(n_positive: int) -> None:
    """Of so few positives neither a value nor an interval nor a p-value is given, but the reason."""
    y = np.arange(100) < n_positive
    a, b = np.random.default_rng(0).normal(size=(2, 100))

    for estimate in (auc_interval(y, a), auc_difference(y, a, b), auc_interval(~y, -a)):
        assert (estimate.value, estimate.ci_low, estimate.p_value) == (None, None, None)
        assert (estimate.note or "").startswith(f"not estimable: {n_positive} ")


def test_few_patients_of_a_class_estimate_nothing() -> None:
    """Fifty positive images of nine patients are nine."""
    y = np.arange(200) < 50
    patient = np.where(y, np.arange(200) % 9, np.arange(200) + 100)
    scores = np.random.default_rng(0).normal(size=200)

    estimate = auc_interval(y, scores, clusters=patient)

    assert estimate.note == "not estimable: 9 positive patients, at least 10 are needed"
    assert auc_interval(y, scores, clusters=np.arange(200) // 2).ci_low is not None


@pytest.mark.parametrize(("clusters", "why"), [(None, "case"), ([1, 1, 2, 3, 4], "patient")])
def test_the_covariance_of_a_single_unit_is_undefined(clusters: list[int] | None, why: str) -> None:
    """One positive (patient) leaves its variance unknown."""
    y = [1, 0, 0, 0, 0] if clusters is None else [1, 1, 0, 0, 0]
    with pytest.raises(DataError, match=f"undefined: a class has a single {why}"):
        auc_covariance(y, [[2.5, 0.5, 1, 2, 3]], clusters=clusters)


def test_zero_variance_away_from_the_corners_is_said() -> None:
    """Patients whose placements cancel leave a variance of zero: no interval."""
    y = np.repeat([1, 0], 20)
    score = np.repeat([[1, 4], [2, 3]], 10, axis=0).ravel()
    other = np.repeat([[2, 2], [1, 3]], 10, axis=0).ravel()
    patients = np.arange(40) // 2

    estimate = auc_interval(y, score, clusters=patients)
    difference = auc_difference(y, score, other, clusters=patients)

    assert (estimate.value, estimate.ci_low) == (0.5, None)
    assert estimate.note == "no interval: the estimated variance is zero"
    assert (difference.ci_low, difference.p_value) == (None, None)
    assert difference.note == "no interval: the estimated variance of the difference is zero"


def test_inverted_scores_are_not_flipped() -> None:
    """An AUC below one half is reported as such."""
    y, a, _ = sample()

    estimate = auc_interval(y, -a)

    assert estimate.ci_high < 0.5  # type: ignore[operator]


def test_difference_is_candidate_minus_reference() -> None:
    """Sign, symmetric interval, and a p-value that agrees with the interval."""
    y, a, b = sample(400)

    forth, back = auc_difference(y, a, b), auc_difference(y, b, a)

    assert forth.value == pytest.approx(roc_auc(y, b) - roc_auc(y, a))
    assert (forth.ci_low, forth.ci_high) == pytest.approx((-back.ci_high, -back.ci_low))  # type: ignore[operator]
    at_level = auc_difference(y, a, b, level=1 - forth.p_value)  # type: ignore[operator]
    assert at_level.ci_high == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("transform", [lambda s: s, np.exp], ids=["identical", "same ranks"])
@pytest.mark.parametrize("clusters", [None, np.arange(200) // 2], ids=["cases", "patients"])
def test_models_that_rank_alike_do_not_differ(transform, clusters) -> None:  # noqa: ANN001
    """Identical models: no difference, L = U = 0, p = 1, and the reason."""
    y, a, _ = sample()

    estimate = auc_difference(y, a, transform(a), clusters=clusters)

    assert (estimate.value, estimate.ci_low, estimate.ci_high, estimate.p_value) == (0.0, 0.0, 0.0, 1.0)
    assert estimate.note == "both models rank every pair of cases alike"


def test_two_perfect_models_do_not_differ() -> None:
    """Both separate the classes, in different orders: the pairs are ranked alike."""
    y = np.repeat([0, 1], 10)
    shuffled = np.r_[np.arange(10)[::-1], np.arange(10, 20)[::-1]]

    assert auc_difference(y, np.arange(20), shuffled).p_value == 1.0


def test_perfect_against_constant_has_no_variance() -> None:
    """A difference of one half without any variance has neither interval nor p-value."""
    y = np.repeat([0, 1], 10)

    estimate = auc_difference(y, np.zeros(20), y)

    assert (estimate.value, estimate.ci_low, estimate.p_value) == (0.5, None, None)


def test_difference_limits_stay_possible() -> None:
    """Twenty cases: limits beyond 1 are cut there."""
    y = np.repeat([0, 1], 10)
    good = np.r_[np.arange(10), np.arange(6.5, 16.5)]

    estimate = auc_difference(y, -good, good, level=0.999999)

    assert estimate.ci_high == 1.0


def test_joint_test_of_two_models_is_the_paired_test() -> None:
    """With two models chi-square is the square of z."""
    y, a, b = sample(300)

    statistic, p_value, freedom = joint_auc_test(y, [a, b])

    assert freedom == 1
    assert p_value == pytest.approx(auc_difference(y, a, b).p_value, rel=1e-9)
    assert statistic == pytest.approx(stats.norm.isf(p_value / 2) ** 2)  # type: ignore[operator]


def test_joint_test_of_three_models_by_hand() -> None:
    """The quadratic form, inverted by numpy; the choice of contrasts does not matter."""
    y, a, b = sample(300)
    c = np.random.default_rng(8).normal(size=300) + 0.7 * y
    aucs, covariance = auc_covariance(y, [a, b, c])
    contrasts = np.array([[1, 0, -1], [0, 1, -1]])
    difference = contrasts @ aucs
    expected = difference @ np.linalg.solve(contrasts @ covariance @ contrasts.T, difference)

    statistic, p_value, freedom = joint_auc_test(y, [a, b, c])

    assert (statistic, freedom) == (pytest.approx(expected), 2)
    assert p_value == pytest.approx(stats.chi2.sf(expected, 2))


def test_joint_test_with_a_duplicate_model_loses_a_degree_of_freedom() -> None:
    """A model named twice adds nothing."""
    y, a, b = sample(300)

    assert joint_auc_test(y, [a, b, b])[2] == 1
    assert joint_auc_test(y, [a, b, b])[1] == pytest.approx(joint_auc_test(y, [a, b])[1])
    assert joint_auc_test(y, [a, a]) == (0.0, 1.0, 0)


def test_joint_test_without_variance_is_undefined() -> None:
    """Perfect against constant: different, but without any variance."""
    y = np.repeat([0, 1], 10)

    assert joint_auc_test(y, [np.zeros(20), y]) == (None, None, 0)
    with pytest.raises(DataError, match="at least two models"):
        joint_auc_test(*sample()[:2])


def test_roc_points_equal_sklearn() -> None:
    """Corners with ties, first threshold infinite."""
    y, a, _ = sample(300, ties=True)
    fpr, tpr, thresholds = metrics.roc_curve(y, a, drop_intermediate=False)

    points = roc_points(y, a)

    assert points.fpr == pytest.approx(fpr)
    assert points.tpr == pytest.approx(tpr)
    assert points.thresholds.tolist() == thresholds.tolist()


@pytest.mark.parametrize(
    ("y", "scores", "message"),
    [
        ([1, 1, 1], [1, 2, 3], "positive cases only"),
        ([0, 1], [1, 2, 3], "one score per case"),
        ([0, 1], [1, float("nan")], "nan at position 1"),
    ],
)
def test_bad_input_is_refused(y: list[int], scores: list[float], message: str) -> None:
    """Every entry point checks its input."""
    for call in (roc_auc, auc_interval, roc_points, lambda t, s: auc_difference(t, s, s)):
        with pytest.raises(DataError, match=message):
            call(y, scores)
    with pytest.raises(ConfigError, match="confidence level"):
        auc_interval([0, 1], [0, 1], level=2)


def test_a_million_cases_take_seconds() -> None:
    """DeLong is O(n log n): 200,000 cases well under a second or two."""
    y, a, b = sample(200_000)
    start = time.perf_counter()

    auc_difference(y, a, b)

    assert time.perf_counter() - start < 3
