"""Calibration and recalibration."""

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import special
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from medcompare.base.errors import ConfigError, DataError
from medcompare.stats.calibration.agreement import (
    calibration,
    expected_calibration_error,
    reliability_curve,
)
from medcompare.stats.calibration.loess import local_regression
from medcompare.stats.calibration.logistic import CLIP, clipped_logit, fit_logistic
from medcompare.stats.calibration.recalibration import fit_isotonic, fit_platt, fit_temperature
from medcompare.stats.resampling.bootstrap import bootstrap_metrics


def sample(
    n: int = 400, slope: float = 1.0, shift: float = 0.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes, and probabilities whose true calibration is the given slope and shift."""
    rng = np.random.default_rng(seed)
    logit = rng.normal(-0.5, 1.2, size=n)
    y = rng.random(n) < special.expit(slope * logit + shift)
    return y, special.expit(logit)


def test_slope_and_intercept_equal_statsmodels() -> None:
    """Value and interval of a GLM, and of a GLM with the logit as offset."""
    y, p = sample()
    logit = special.logit(p)
    binomial = sm.families.Binomial()
    by_slope = sm.GLM(y.astype(float), sm.add_constant(logit), family=binomial).fit(tol=1e-14)
    by_offset = sm.GLM(y.astype(float), np.ones(400), offset=logit, family=binomial).fit(tol=1e-14)

    result = calibration(y, p, seed=0, n_resamples=100)

    assert result.slope.value == pytest.approx(by_slope.params[1], abs=1e-9)
    assert (result.slope.ci_low, result.slope.ci_high) == pytest.approx(by_slope.conf_int()[1], abs=1e-7)
    assert result.in_the_large.value == pytest.approx(by_offset.params[0], abs=1e-9)
    assert result.in_the_large.ci_low == pytest.approx(by_offset.conf_int()[0, 0], abs=1e-7)


def test_clustered_errors_equal_statsmodels() -> None:
    """Cluster-robust errors are statsmodels' with the factor k / (k - 1)."""
    y, p = sample()
    groups = np.arange(400) // 5
    fit = sm.GLM(y.astype(float), sm.add_constant(special.logit(p)), family=sm.families.Binomial()).fit(
        cov_type="cluster", cov_kwds={"groups": groups, "use_correction": False}, tol=1e-14
    )
    half = 1.959964 * fit.bse[1] * np.sqrt(80 / 79)

    slope = calibration(y, p, seed=0, n_resamples=100, clusters=groups).slope

    assert slope.ci_high - slope.value == pytest.approx(half, rel=1e-6)  # type: ignore[operator]
    assert slope.method == "logistic recalibration (cluster-robust)"


def test_logistic_fit_accepts_fractions() -> None:
    """Fractional outcomes, as Platt's targets are: the score equations hold."""
    x = np.linspace(-2, 2, 30)
    design = np.column_stack([np.ones(30), x])
    target = special.expit(0.3 + 1.7 * x)

    assert fit_logistic(design, target)[0] == pytest.approx([0.3, 1.7], abs=1e-9)


def test_logistic_fit_survives_saturated_logits() -> None:
    """Logits at the clip, classes barely overlapping: the score equations hold every time."""
    rng = np.random.default_rng(0)
    n_fits = 0
    for _ in range(300):
        x = np.clip(rng.normal(scale=20, size=25), -13.8, 13.8)
        y = rng.random(25) < special.expit(x)
        if x[y].min(initial=99) >= x[~y].max(initial=-99) or y.all() or not y.any():
            continue
        design = np.column_stack([np.ones(25), x])
        beta, _ = fit_logistic(design, y.astype(float))
        assert design.T @ (y - special.expit(design @ beta)) == pytest.approx([0, 0], abs=1e-8)
        n_fits += 1

    assert n_fits > 50


@pytest.mark.parametrize("x", [np.arange(20.0), np.ones(20)], ids=["separated", "collinear"])
def test_logistic_fit_without_a_maximum_is_an_error(x: np.ndarray) -> None:
    """Separated classes or a constant predictor: said, never a large number."""
    with pytest.raises(DataError, match="did not converge; check whether"):
        fit_logistic(np.column_stack([np.ones(20), x]), (np.arange(20) >= 10).astype(float))


@pytest.mark.parametrize(("slope", "shift"), [(0.5, 0.0), (1.0, 0.7)], ids=["overconfident", "too low"])
def test_known_miscalibration_is_found(slope: float, shift: float) -> None:
    """In a large sample slope, O:E and curve say what was built in."""
    y, p = sample(20_000, slope, shift)
    result = calibration(y, p, seed=0, n_resamples=100)

    assert result.slope.ci_low < slope < result.slope.ci_high  # type: ignore[operator]
    assert result.observed_expected.value == pytest.approx(y.sum() / p.sum())
    curve = np.interp([0.3, 0.6], result.curve.x, result.curve.y)
    assert curve == pytest.approx(special.expit(slope * special.logit([0.3, 0.6]) + shift), abs=0.05)


def test_perfect_calibration_is_seldom_denied() -> None:
    """Over 100 samples the 95% intervals enclose slope 1, intercept 0 and O:E 1 about 95 times."""
    covered = np.zeros(3)
    for seed in range(100):
        result = calibration(*sample(300, seed=seed), seed=0, n_resamples=100)
        figures = (result.slope, result.in_the_large, result.observed_expected)
        for i, (figure, truth) in enumerate(zip(figures, (1, 0, 1), strict=True)):
            covered[i] += figure.ci_low < truth < figure.ci_high  # type: ignore[operator]

    assert (covered >= 89).all()


def test_observed_expected_by_hand() -> None:
    """Thirty of 100 observed, 50 expected: 0.6, error sqrt(0.7 / 30) on the log scale."""
    y = np.arange(100) < 30
    estimate = calibration(y, np.full(100, 0.5), seed=0, n_resamples=100).observed_expected

    assert estimate.value == pytest.approx(0.6)
    assert estimate.ci_low == pytest.approx(0.6 * np.exp(-1.959964 * np.sqrt(0.7 / 30)), rel=1e-6)


def test_clustered_observed_expected_is_the_ratio_estimator() -> None:
    """Copies of a case do not narrow the interval."""
    y, p = sample(100)
    patients = np.repeat(np.arange(100), 5)

    five = calibration(np.repeat(y, 5), np.repeat(p, 5), seed=0, n_resamples=100, clusters=patients)
    one = calibration(y, p, seed=0, n_resamples=100, clusters=np.arange(100))

    assert five.observed_expected.ci_low == pytest.approx(one.observed_expected.ci_low)
    assert five.in_the_large.ci_low == pytest.approx(one.in_the_large.ci_low)


def test_brier_is_that_of_the_other_metrics() -> None:
    """Same resamples as the bootstrap of metrics: one Brier interval in the whole report."""
    y, p = sample(120)
    result = calibration(y, p, seed=9, n_resamples=500)
    other = bootstrap_metrics(y, [p], [0.5], seed=9, n_resamples=500).metric(0, "brier")

    assert result.brier.value == pytest.approx(np.mean((p - y) ** 2))
    assert (result.brier.ci_low, result.brier.ci_high) == pytest.approx((other.ci_low, other.ci_high))
    assert result.scaled_brier.value == pytest.approx(1 - np.mean((p - y) ** 2) / (y.mean() * (1 - y.mean())))
    assert result.scaled_brier.ci_low < result.scaled_brier.value < result.scaled_brier.ci_high  # type: ignore[operator]


def test_expected_calibration_error_by_hand() -> None:
    """Bins (0.2, 0.3] with gaps 0.25 - 0 and (0.7, 0.8] with 1 - 0.75: 0.25 in all."""
    assert expected_calibration_error([0, 1], [0.25, 0.75]) == pytest.approx(0.25)
    assert expected_calibration_error([0, 1, 1], [0.0, 1.0, 1.0]) == 0.0
    assert expected_calibration_error([0, 1], [0.3, 0.21]) == pytest.approx(abs(1 - 0.51) / 2)


def test_distances_of_the_curve_equal_those_of_statsmodels() -> None:
    """ICI, E50 and E90 from statsmodels' lowess without robustness steps, evaluated at every case."""
    y, p = sample(400, slope=0.5, shift=0.4)
    smooth = sm.nonparametric.lowess(y.astype(float), p, frac=0.75, it=0, xvals=p)
    distance = np.abs(np.clip(smooth, 0, 1) - p)

    result = calibration(y, p, seed=0, n_resamples=100)

    found = [one.value for one in (result.integrated_calibration_index, result.e50, result.e90)]
    expected = [distance.mean(), *np.quantile(distance, [0.5, 0.9])]
    assert found == pytest.approx(expected, abs=5e-4)  # ours is interpolated between 51 points
    assert expected[0] > 0.05


def test_distances_by_hand() -> None:
    """One probability, 0.25, where half are positive: the curve is one point, 0.25 away from every case."""
    result = calibration(np.arange(40) < 20, np.full(40, 0.25), seed=0, n_resamples=100)

    for one in (result.integrated_calibration_index, result.e50, result.e90):
        assert one is not None
        assert one.value == pytest.approx(0.25)


def test_bias_of_the_calibration_error_is_said() -> None:
    """With what perfect calibration shows: about 0.1 with 100 cases, as in other samples drawn from the same."""
    rng = np.random.default_rng(1)
    p = rng.random(100)
    found = calibration(rng.random(100) < p, p, seed=0, n_resamples=100)
    estimate, by_chance = found.expected_calibration_error, found.expected_calibration_error_by_chance
    others = [expected_calibration_error(rng.random(100) < p, p) for _ in range(500)]

    assert by_chance is not None
    assert by_chance.value == pytest.approx(np.mean(others), abs=0.005)
    assert 0.07 < np.mean(others) < 0.13
    assert "no models are ranked by it" in (estimate.note or "")
    assert estimate.ci_low is None


def test_curve_band_encloses_and_clusters_widen_it() -> None:
    """The band holds the curve, stays in [0, 1] and grows with copies of a patient's images."""
    y, p = sample(300)
    plain = reliability_curve(y, p)
    copied = reliability_curve(np.repeat(y, 6), np.repeat(p, 6), clusters=np.repeat(np.arange(300), 6))
    naive = reliability_curve(np.repeat(y, 6), np.repeat(p, 6))

    for curve in (plain, copied, naive):
        low, middle, high = (np.array(v) for v in (curve.y_low, curve.y, curve.y_high))
        assert ((low >= 0) & (low <= middle) & (middle <= high) & (high <= 1) & (high > low)).all()
    widths = [np.mean(np.array(c.y_high) - np.array(c.y_low)) for c in (plain, copied, naive)]
    assert widths[1] == pytest.approx(widths[0], rel=0.15)
    assert widths[2] < 0.6 * widths[0]


def test_curve_band_covers() -> None:
    """Pointwise coverage of a linear truth is near nominal at the centre of the data."""
    hits = 0
    for seed in range(150):
        rng = np.random.default_rng(seed)
        p = rng.uniform(0.1, 0.9, size=200)
        curve = reliability_curve(rng.random(200) < p, p)
        low, high = (np.interp(0.5, curve.x, v) for v in (curve.y_low, curve.y_high))
        hits += low <= 0.5 <= high

    assert hits / 150 >= 0.9


def test_local_regression_reproduces_lines() -> None:
    """A straight line comes back exactly, at the edges too, and across a gap."""
    x = np.r_[np.linspace(0, 0.2, 30), np.linspace(0.9, 1, 10)]
    points = np.array([0.0, 0.1, 0.5, 1.0])

    assert local_regression(x, 0.3 + 0.4 * x, points).fit == pytest.approx(0.3 + 0.4 * points)


def test_local_regression_without_residuals_counts_patients() -> None:
    """Where nothing varies, four images of a patient are worth one: a quarter of the cases."""
    x = np.repeat(np.linspace(0, 1, 20), 4)
    at = np.array([0.5])

    by_patient = local_regression(x, np.zeros(80), at, clusters=np.repeat(np.arange(20), 4))

    plain = local_regression(x, np.zeros(80), at)
    assert by_patient.n_effective == pytest.approx(plain.n_effective / 4 * 19 / 20)


def test_local_regression_with_massive_ties() -> None:
    """Nine tenths of the cases share one probability: the curve is defined everywhere."""
    p = np.r_[np.full(180, 0.02), np.linspace(0.1, 0.9, 20)]
    y = np.r_[np.zeros(178), np.ones(12), np.zeros(10)].astype(bool)

    curve = reliability_curve(y, p)

    assert curve.y[0] == pytest.approx(2 / 180, abs=0.01)
    assert np.isfinite(curve.y).all()
    assert len(curve.x) == len(curve.y) == len(curve.y_low)


def test_histograms_count_every_case() -> None:
    """Both classes, all cases, 0 and 1 included."""
    result = calibration([0, 1, 1, 0], [0.0, 1.0, 0.52, 0.13], seed=0, n_resamples=100)

    assert sum(result.histogram_negative) == sum(result.histogram_positive) == 2
    assert (result.histogram_negative[0], result.histogram_negative[2]) == (1, 1)
    assert (result.histogram_positive[-1], result.histogram_positive[10]) == (1, 1)
    assert result.histogram_edges[::20] == (0.0, 1.0)


def test_probabilities_of_zero_and_one_are_clipped_and_said() -> None:
    """A logit of 0 or 1 is taken at 1e-6, and the note counts the cases."""
    y, p = sample(100)
    p[:3], p[3:5] = 0.0, 1.0
    result = calibration(y, p, seed=0, n_resamples=100)

    assert np.isfinite(result.slope.value)  # type: ignore[arg-type]
    assert result.slope.note == "5 probabilities of 0 or 1 moved by 1e-06 before the logit"
    assert clipped_logit(np.array([0.0, 1.0])) == pytest.approx([-np.log(1 / CLIP - 1), np.log(1 / CLIP - 1)])


@pytest.mark.parametrize("direction", [1, -1])
def test_perfect_separation_has_no_slope(direction: int) -> None:
    """The slope would be infinite; everything else is defined."""
    y = np.arange(20) >= 10
    p = np.linspace(0.1, 0.9, 20)[::direction]
    result = calibration(y, p, seed=0, n_resamples=100)

    assert result.slope.value is None
    assert result.slope.note == "undefined: the probabilities separate the classes perfectly"
    assert result.in_the_large.value == pytest.approx(0, abs=1e-9)


def test_classes_that_almost_separate_have_no_slope() -> None:
    """They overlap by less than can be computed with: said, not a number of any size."""
    p = np.r_[np.linspace(0.5, 0.9, 50), np.linspace(0.1, 0.5, 50)]
    p[0] -= 1e-12

    slope = calibration(np.arange(100) < 50, p, seed=0, n_resamples=100).slope

    assert slope.value is None
    assert "almost separate the classes" in (slope.note or "")


@pytest.mark.parametrize("width", [3e-3, 1e-6, 1e-9])
def test_a_slope_of_probabilities_that_hardly_vary_is_not_estimable(width: float) -> None:
    """A network that said 0.5067919 of every image had slope -109,278,936 (-509,435,924 to 290,878,051)."""
    rng = np.random.default_rng(0)
    y = np.arange(200) < 80

    slope = calibration(y, 0.5 + width * rng.normal(size=200), seed=0, n_resamples=100).slope

    assert (slope.value, slope.ci_low) == (None, None)
    expected = (
        "undefined: every case has the same"
        if width < 1e-8
        else "not estimable: the probabilities hardly vary"
    )
    assert (slope.note or "").startswith(expected)


def test_few_cases_of_a_class_estimate_nothing() -> None:
    """Nine positives: neither slope nor level nor Brier score, but the curve that says how little there is."""
    y = np.arange(200) < 9
    found = calibration(y, np.random.default_rng(0).random(200), seed=0, n_resamples=100)

    for estimate in (
        found.slope,
        found.in_the_large,
        found.observed_expected,
        found.brier,
        found.scaled_brier,
        found.integrated_calibration_index,
        found.e90,
    ):
        assert estimate.value is None
        assert estimate.note == "not estimable: 9 positive cases, at least 10 are needed"
    assert len(found.curve.y_low) == len(found.curve.y)


@pytest.mark.parametrize("width", [1e-3, 1e-5])
def test_recalibration_of_probabilities_that_hardly_vary(width: float) -> None:
    """Recalibration scales with the spread of the probabilities, however small."""
    rng = np.random.default_rng(0)
    y = np.arange(200) < 80
    shape = rng.normal(size=200) + 0.7 * y
    wide, narrow = (0.5 + w * shape for w in (1e-2, width))

    assert fit_platt(y, narrow).apply(narrow) == pytest.approx(fit_platt(y, wide).apply(wide), abs=1e-3)


def test_constant_probability() -> None:
    """A collapsed model: no slope, a curve of one point, the Brier score of its value."""
    y = np.arange(40) < 10
    result = calibration(y, np.full(40, 0.25), seed=0, n_resamples=100)

    assert result.slope.note == "undefined: every case has the same probability"
    assert (result.curve.x, result.curve.y) == ((0.25,), (pytest.approx(0.25),))
    assert result.scaled_brier.value == pytest.approx(0.0)
    half = calibration(np.arange(40) < 20, np.full(40, 0.5), seed=0, n_resamples=100)
    assert half.brier.note == "no interval: the figure is the same in every resample"


def test_all_probabilities_zero() -> None:
    """Nothing is expected: O:E is undefined, the rest is not."""
    result = calibration(np.arange(20) < 10, np.zeros(20), seed=0, n_resamples=100)

    assert result.observed_expected.note == "undefined: every predicted probability is 0"
    assert np.isfinite(result.in_the_large.value)  # type: ignore[arg-type]


def test_bad_input_is_refused() -> None:
    """Outside [0, 1], one patient, one class, settings out of range."""
    y, p = sample(50)
    with pytest.raises(DataError, match="outside"):
        calibration(y, p + 1, seed=0)
    with pytest.raises(DataError, match="calibration with clusters needs at least two"):
        calibration(y, p, seed=0, clusters=np.zeros(50))
    with pytest.raises(DataError, match="negative cases only"):
        calibration(np.zeros(50), p, seed=0)
    with pytest.raises(ConfigError, match="at least 100"):
        calibration(y, p, seed=0, n_resamples=5)
    with pytest.raises(ConfigError, match="confidence level"):
        reliability_curve(y, p, level=95)


def test_platt_repairs_miscalibration() -> None:
    """Fitted on one sample, slope and intercept of another come out at 1 and 0."""
    y, p = sample(8000, slope=0.5, shift=0.6, seed=1)
    platt = fit_platt(y, p)

    assert (platt.intercept, platt.slope) == pytest.approx((0.6, 0.5), abs=0.1)
    y2, p2 = sample(8000, slope=0.5, shift=0.6, seed=2)
    after = calibration(y2, platt.apply(p2), seed=0, n_resamples=100)
    assert after.slope.value == pytest.approx(1, abs=0.12)
    assert after.in_the_large.value == pytest.approx(0, abs=0.1)


def test_platt_stays_finite_where_classes_separate() -> None:
    """Smoothed targets: recalibrated probabilities stay inside (0, 1)."""
    y = np.arange(20) >= 10
    recalibrated = fit_platt(y, np.linspace(0, 1, 20)).apply(np.linspace(0, 1, 20))

    assert 0 < recalibrated.min() < 0.2
    assert 0.8 < recalibrated.max() < 1
    assert (np.diff(recalibrated) > 0).all()


def test_platt_never_turns_a_ranking_around() -> None:
    """Inverted or constant validation probabilities are mapped to the prevalence, with a note."""
    y, p = sample(500)
    inverted, constant = fit_platt(y, 1 - p), fit_platt(y, np.full(500, 0.3))

    assert inverted.slope == constant.slope == 0
    assert "fall with the outcome" in (inverted.note or "")
    assert "all validation probabilities are alike" in (constant.note or "")
    assert inverted.apply([0.2, 0.8]) == pytest.approx(y.mean(), abs=0.01)


def test_isotonic_equals_sklearn() -> None:
    """Same fitted function as scikit-learn's, ties included, clipped outside the data."""
    y, p = sample(300)
    p = np.round(p, 2)
    reference = IsotonicRegression(out_of_bounds="clip").fit(p, y)
    at = np.linspace(0, 1, 201)

    assert fit_isotonic(y, p).apply(at) == pytest.approx(reference.predict(at), abs=1e-12)


def test_recalibration_refuses_bad_input() -> None:
    """Both fits and both functions check their input."""
    for fit in (fit_platt, fit_isotonic):
        with pytest.raises(DataError, match="positive cases only"):
            fit([1, 1], [0.2, 0.3])
        with pytest.raises(DataError, match="outside"):
            fit([0, 1, 0], [0.2, 0.7, 0.4]).apply([1.5])


def test_temperature_scaling_against_a_logistic_regression_without_intercept() -> None:
    """scikit-learn's slope, without a penalty; ranks stay, and so does 0.5."""
    rng = np.random.default_rng(2)
    logit = rng.normal(size=400) * 3
    y_true = rng.random(400) < special.expit(0.4 * logit)
    reference = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10).fit(logit[:, None], y_true)
    fitted = fit_temperature(y_true, special.expit(logit))

    assert fitted.intercept == 0
    assert fitted.slope == pytest.approx(reference.coef_[0, 0], rel=1e-4)
    assert fitted.apply([0.5]).tolist() == [0.5]


def test_temperature_of_separated_classes_stays_finite() -> None:
    """The log loss falls for ever: T stops above 1/1000, where it has long been 0."""
    assert 10 < fit_temperature([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9]).slope < 1000
