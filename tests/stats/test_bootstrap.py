"""The paired bootstrap of all metrics."""

import time
import tracemalloc

import numpy as np
import pytest
from sklearn import metrics

from medcompare.base.errors import ConfigError, DataError
from medcompare.stats.intervals.auc import auc_covariance
from medcompare.stats.resampling import weights as resampling
from medcompare.stats.resampling.bootstrap import METRICS, BootstrapResult, bootstrap_metrics
from medcompare.stats.resampling.weights import ResamplingPlan
from medcompare.stats.weighted_metrics import sorted_model, weighted_metrics

CUT = 0.45


def sample(n: int = 150, seed: int = 2, digits: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Labels and the probabilities of two models, with ties."""
    rng = np.random.default_rng(seed)
    y = rng.random(n) < 0.3
    shared = rng.normal(size=n)
    logits = [shared + rng.normal(size=n) + gain * y - 1 for gain in (1.5, 1.2)]
    return y, np.round(1 / (1 + np.exp(-np.array(logits))), digits)


def by_sklearn(y: np.ndarray, p: np.ndarray, weight: np.ndarray | None = None) -> dict[str, float]:
    """All metrics by scikit-learn."""
    called = p >= CUT
    w = {"sample_weight": weight}
    return {
        "auc": metrics.roc_auc_score(y, p, **w),
        "average_precision": metrics.average_precision_score(y, p, **w),
        "accuracy": metrics.accuracy_score(y, called, **w),
        "balanced_accuracy": metrics.balanced_accuracy_score(y, called, **w),
        "sensitivity": metrics.recall_score(y, called, **w),
        "specificity": metrics.recall_score(y, called, pos_label=0, **w),
        "ppv": metrics.precision_score(y, called, **w),
        "npv": metrics.precision_score(y, called, pos_label=0, **w),
        "f1": metrics.f1_score(y, called, **w),
        "mcc": metrics.matthews_corrcoef(y, called, **w),
        "brier": metrics.brier_score_loss(y, p, **w),
    }


def drawn_by(plan: ResamplingPlan) -> np.ndarray:
    """All weights of a plan, one row per resample."""
    return np.concatenate(plan.each(lambda weights: weights))


@pytest.fixture(scope="module")
def result() -> BootstrapResult:
    """One bootstrap that several tests look at."""
    y, p = sample()
    return bootstrap_metrics(y, p, [CUT, CUT], n_resamples=1000, seed=7)


@pytest.mark.parametrize("name", METRICS)
def test_values_equal_sklearn(result: BootstrapResult, name: str) -> None:
    """The metrics of the sample are scikit-learn's."""
    for i in (0, 1):
        expected = by_sklearn(result.positive, result.scores[i])[name]
        assert result.metric(i, name).value == pytest.approx(expected, abs=1e-12)  # type: ignore[arg-type]


def test_every_resample_equals_sklearn_on_the_resampled_cases() -> None:
    """Weights stand for repeated cases: each metric of each resample is scikit-learn's."""
    y, p = sample(60)
    plan = ResamplingPlan(y, None, stratified=False, seed=1, n_resamples=100)
    weights = drawn_by(plan)
    ours = weighted_metrics(weights, y, [sorted_model(y, row, CUT, score_is_probability=True) for row in p])
    for column, times in enumerate(weights):
        chosen = np.repeat(np.arange(60), times)
        for i in (0, 1):
            expected = by_sklearn(y[chosen], p[i][chosen])
            assert ours[i, :, column] == pytest.approx([expected[name] for name in METRICS], abs=1e-12)


@pytest.mark.parametrize("name", METRICS)
def test_intervals_enclose_and_differences_are_paired(result: BootstrapResult, name: str) -> None:
    """Intervals enclose their values; the paired difference is narrower than an unpaired one."""
    one, two = result.metric(0, name), result.metric(1, name)  # type: ignore[arg-type]
    difference = result.difference(0, 1, name)  # type: ignore[arg-type]

    assert one.ci_low < one.value < one.ci_high  # type: ignore[operator]
    assert difference.value == pytest.approx(two.value - one.value)  # type: ignore[operator]
    unpaired = np.hypot(one.ci_high - one.ci_low, two.ci_high - two.ci_low)  # type: ignore[operator]
    assert difference.ci_high - difference.ci_low < unpaired  # type: ignore[operator]
    assert 0 < difference.p_value <= 1  # type: ignore[operator]


def test_methods_say_how_resamples_were_drawn(result: BootstrapResult) -> None:
    """AUC and all differences are stratified, F1 of one model is not."""
    assert (
        result.metric(0, "auc").method == "bootstrap percentile (cases, stratified by class; 1000 resamples)"
    )
    assert result.metric(0, "f1").method == "bootstrap percentile (cases; 1000 resamples)"
    assert "stratified" in result.difference(0, 1, "f1").method


def test_standard_errors_agree_with_theory() -> None:
    """Bootstrap errors of AUC, sensitivity and accuracy equal DeLong's and the binomial's."""
    y, p = sample(600, digits=8)
    result = bootstrap_metrics(y, p, [CUT, CUT], n_resamples=3000, seed=3)

    aucs, covariance = auc_covariance(y, p)
    difference = result.draws(1, "auc", stratified=True) - result.draws(0, "auc", stratified=True)
    sensitivity = result.metric(0, "sensitivity").value
    accuracy = result.metric(0, "accuracy").value
    expected = {
        "auc": np.sqrt(covariance[0, 0]),
        "sensitivity": np.sqrt(sensitivity * (1 - sensitivity) / y.sum()),  # type: ignore[operator]
        "accuracy": np.sqrt(accuracy * (1 - accuracy) / 600),  # type: ignore[operator]
    }

    assert aucs[0] == pytest.approx(result.metric(0, "auc").value)
    assert difference.std() == pytest.approx(
        np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]), rel=0.06
    )
    for name, error in expected.items():
        draws = result.draws(0, name, stratified=name != "accuracy")  # type: ignore[arg-type]
        assert draws.std() == pytest.approx(error, rel=0.06)


def test_f1_of_a_rare_class_is_not_stratified_away() -> None:
    """At 3% prevalence the unstratified error of F1 is clearly the larger one."""
    rng = np.random.default_rng(0)
    y = np.arange(1000) < 30
    p = np.clip(rng.normal(0.3 + 0.4 * y, 0.12), 0, 1)
    result = bootstrap_metrics(y, [p], [0.5], n_resamples=2000, seed=1)

    spread = [result.draws(0, "f1", stratified=flag).std() for flag in (False, True)]

    assert spread[0] > 1.1 * spread[1]


def test_same_seed_same_numbers_whatever_the_models() -> None:
    """Resamples depend on seed and cases only, so a third model changes no interval."""
    y, p = sample()
    two = bootstrap_metrics(y, p, [CUT, CUT], n_resamples=300, seed=5)
    three = bootstrap_metrics(y, [*p, 1 - p[0]], [CUT] * 3, n_resamples=300, seed=5)
    other = bootstrap_metrics(y, p, [CUT, CUT], n_resamples=300, seed=6)

    assert two.difference(0, 1, "mcc") == three.difference(0, 1, "mcc")
    assert two.metric(0, "f1") != other.metric(0, "f1")


def test_identical_models_do_not_differ() -> None:
    """Difference 0, p = 1, no interval, and the reason."""
    y, p = sample()
    result = bootstrap_metrics(y, [p[0], p[0]], [CUT, CUT], n_resamples=200, seed=0)

    for name in METRICS:
        estimate = result.difference(0, 1, name)
        assert (estimate.value, estimate.p_value, estimate.ci_low) == (0.0, 1.0, None)
        assert estimate.note == "no interval: the figure is the same in every resample"


def test_p_values_are_never_zero() -> None:
    """Perfect against useless: the smallest possible p-value is 2 / (B + 1)."""
    y = np.arange(200) % 2
    result = bootstrap_metrics(
        y, [np.arange(200) / 200, y * 0.98 + 0.01], [0.5, 0.5], n_resamples=500, seed=0
    )

    assert result.difference(0, 1, "accuracy").p_value == pytest.approx(2 / 501)


def test_perfect_model_gets_no_interval_of_zero_width() -> None:
    """AUC 1 in every resample: withheld, with the reason."""
    y = np.arange(40) % 2
    result = bootstrap_metrics(y, [y * 0.8 + 0.1], [0.5], n_resamples=200, seed=0)

    estimate = result.metric(0, "auc")
    assert (estimate.value, estimate.ci_low) == (1.0, None)
    assert "same in every resample" in (estimate.note or "")


def test_collapsed_model_is_undefined_where_it_is() -> None:
    """Nothing is predicted positive: PPV and MCC are undefined, F1 is 0, NPV is 1 - prevalence."""
    y, p = sample()
    result = bootstrap_metrics(y, [p[0] * 0.1], [0.5], n_resamples=200, seed=0)

    assert result.metric(0, "ppv").note == "undefined: no positive prediction"
    assert result.metric(0, "mcc").note == "undefined: every call is the same"
    assert result.metric(0, "f1").value == 0.0
    assert result.metric(0, "npv").value == pytest.approx(1 - y.mean())
    other_way = bootstrap_metrics(y, [p[0]], [0.0], n_resamples=200, seed=0)
    assert other_way.metric(0, "npv").note == "undefined: no negative prediction"


def test_undefined_resamples_are_counted() -> None:
    """One positive call in fifty cases: PPV is undefined in about 36% of resamples."""
    y = np.arange(50) < 10
    p = np.where(np.arange(50) == 0, 0.9, 0.1)
    result = bootstrap_metrics(y, [p], [0.5], n_resamples=2000, seed=0)

    note = result.metric(0, "mcc").note or ""
    lost = int(note.split()[2])
    assert note.endswith("of 2000 resamples, which are left out")
    assert lost / 2000 == pytest.approx((1 - 1 / 50) ** 50, abs=0.04)
    assert result.metric(0, "mcc").ci_low is not None


def test_mostly_undefined_figures_have_no_interval() -> None:
    """Each model calls one case positive: both are drawn in (1 - 1/e)^2 = 40% of resamples."""
    y = np.arange(60) < 30
    p = np.full((2, 60), 0.1)
    p[0, 0] = p[1, 31] = 0.9

    estimate = bootstrap_metrics(y, p, [0.5, 0.5], n_resamples=1000, seed=0).difference(0, 1, "ppv")

    assert (estimate.value, estimate.ci_low, estimate.p_value) == (-1.0, None, None)
    assert (estimate.note or "").startswith("no interval: undefined in ")


def test_samples_of_patients_that_lack_a_class_are_left_out() -> None:
    """Two of six patients hold the positives: in some resamples there is none, and no AUC."""
    y = np.arange(40) < 8
    p = np.linspace(0.8, 0.2, 40) + 0.1 * (np.arange(40) % 3)
    mixed = bootstrap_metrics(y, [p], [0.5], n_resamples=2000, seed=0, clusters=(np.arange(40) + 2) // 8)

    lost = int(np.isnan(mixed.draws(0, "auc", stratified=True)).sum())

    assert lost / 2000 == pytest.approx((4 / 6) ** 6, abs=0.04)


@pytest.mark.parametrize("n_positive", [1, 2, 9])
def test_few_cases_of_a_class_estimate_nothing(n_positive: int) -> None:
    """One positive gave a difference in AUC with an interval and p 0.03: its score drawn again and again."""
    y = np.arange(200) < n_positive
    p = np.random.default_rng(1).random((2, 200))
    p[0, :n_positive] = 0.99
    result = bootstrap_metrics(y, p, [0.5, 0.5], n_resamples=500, seed=0)
    why = f"not estimable: {n_positive} positive case{'s' if n_positive > 1 else ''}, at least 10 are needed"

    for name in METRICS:
        for estimate in (result.metric(0, name), result.difference(0, 1, name)):
            assert (estimate.value, estimate.ci_low, estimate.p_value, estimate.note) == (
                None,
                None,
                None,
                why,
            )
    assert result.roc_band(0, [0.0, 1.0]).y_low == ()


def test_few_patients_of_a_class_estimate_nothing() -> None:
    """Sixty positive images of nine patients are nine: units are patients, of either class."""
    y = np.arange(300) < 60
    p = np.random.default_rng(1).random((1, 300))
    patients = np.where(y, np.arange(300) % 9, np.arange(300) + 1000)

    for truth, which in ((y, "positive"), (~y, "negative")):
        result = bootstrap_metrics(truth, p, [0.5], n_resamples=100, seed=0, clusters=patients)
        assert result.metric(0, "f1").note == f"not estimable: 9 {which} patients, at least 10 are needed"


def test_scores_that_are_not_probabilities() -> None:
    """Any finite score ranks; only the Brier score is lost."""
    y, p = sample()
    result = bootstrap_metrics(y, [p[0] * 20 - 7], [2.0], n_resamples=200, seed=0, score_is_probability=False)

    assert result.metric(0, "brier").note == "undefined: the scores are not probabilities"
    assert result.metric(0, "auc").value == pytest.approx(metrics.roc_auc_score(y, p[0]))
    assert result.metric(0, "brier").value is None


def test_patients_are_resampled_whole() -> None:
    """Four copies of each case: the error of the cases without copies."""
    y, p = sample(200, digits=8)
    patients = np.tile(np.arange(200), 4)
    single = bootstrap_metrics(y, p, [CUT, CUT], n_resamples=2000, seed=1)
    copied = bootstrap_metrics(
        np.tile(y, 4), np.tile(p, 4), [CUT, CUT], n_resamples=2000, seed=1, clusters=patients
    )

    for name in ("auc", "f1", "brier"):
        one, four = single.metric(0, name), copied.metric(0, name)
        assert four.value == pytest.approx(one.value)
        width = one.ci_high - one.ci_low  # type: ignore[operator]
        assert four.ci_high - four.ci_low == pytest.approx(width, rel=0.08)  # type: ignore[operator]
    assert copied.metric(0, "auc").method.startswith("bootstrap percentile (patients, stratified by class;")


def test_patients_with_both_classes_are_not_stratified() -> None:
    """The name of the method says so."""
    y, p = sample()
    result = bootstrap_metrics(y, p, [CUT, CUT], n_resamples=200, seed=1, clusters=np.arange(150) // 5)

    assert result.metric(0, "auc").method == "bootstrap percentile (patients; 200 resamples)"


def test_weights_of_a_plan() -> None:
    """Stratified resamples keep the class counts, all keep the number of units."""
    y = np.arange(30) < 8
    plan = ResamplingPlan(y, None, stratified=True, seed=0, n_resamples=250)
    weights = drawn_by(plan)

    assert weights.shape == (250, 30)
    assert (weights[:, y].sum(axis=1) == 8).all()
    assert (weights.sum(axis=1) == 30).all()
    assert weights.mean() == pytest.approx(1)
    patients = ResamplingPlan(y, np.arange(30) // 3, stratified=False, seed=0, n_resamples=100)
    by_patient = drawn_by(patients).reshape(100, 10, 3)
    assert (by_patient == by_patient[:, :, :1]).all()
    assert (by_patient[:, :, 0].sum(axis=1) == 10).all()


@pytest.mark.parametrize("clusters", [None, np.arange(310) // 2], ids=["cases", "patients"])
def test_figures_do_not_depend_on_batches_and_threads(
    monkeypatch: pytest.MonkeyPatch, clusters: np.ndarray | None
) -> None:
    """The size of a batch and the number of threads are matters of speed only."""
    y, p = sample(310, digits=8)
    found = []
    for elements, threads in ((2**18, 1), (310 * 7, 1), (310 * 7, 2), (310 * 30, 5)):
        monkeypatch.setattr(resampling, "BATCH_ELEMENTS", elements)
        monkeypatch.setattr(resampling, "FEW_ELEMENTS", 0)
        monkeypatch.setattr(resampling, "usable_cores", lambda threads=threads: threads)
        one = bootstrap_metrics(y, p, [CUT, CUT], n_resamples=400, seed=4, clusters=clusters)
        band = one.roc_band(1, np.linspace(0, 1, 31))
        found.append((one.stratified, one.unstratified, np.array([band.y_low, band.y_high])))

    for other in found[1:]:
        for ours, theirs in zip(found[0], other, strict=True):
            assert np.array_equal(ours, theirs, equal_nan=True)


def test_a_long_bootstrap_says_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One line per so many seconds: cases, resamples done, time left."""
    monkeypatch.setattr(resampling, "FEW_ELEMENTS", 0)
    monkeypatch.setattr(resampling, "PROGRESS_EVERY_S", 0.0)
    monkeypatch.setattr(resampling, "BATCH_ELEMENTS", 3000)
    monkeypatch.setattr(resampling, "usable_cores", lambda: 2)
    plan = ResamplingPlan(np.arange(3000) < 900, None, stratified=True, seed=0, n_resamples=100)

    with caplog.at_level("INFO"):
        plan.each(len)

    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 100
    assert lines[-1].startswith("bootstrap of 3,000 cases: 96 of 100 resamples, ")
    assert lines[-1].endswith(" s left")


def test_memory_is_that_of_a_few_batches() -> None:
    """A hundred resamples of 300,000 cases never lie in memory together: 120 MB of weights would."""
    y = np.arange(300_000) % 3 == 0
    plan = ResamplingPlan(y, None, stratified=False, seed=0, n_resamples=100)
    tracemalloc.start()
    try:
        plan.each(lambda weights: int(weights.sum()))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 120e6 / 2 * max(1, resampling.usable_cores() / 4)


def test_roc_band_equals_interpolation_of_every_resampled_curve() -> None:
    """Against scikit-learn's curve of each resample and numpy's interpolation, ties included."""
    y, p = sample(90)
    grid = np.linspace(0, 1, 101)
    result = bootstrap_metrics(y, p, [CUT, CUT], n_resamples=200, seed=3)
    heights = []
    for weights in drawn_by(result.stratified_plan):
        fpr, tpr, _ = metrics.roc_curve(y, p[0], sample_weight=weights, drop_intermediate=False)
        heights.append(np.interp(grid, fpr, tpr))

    band = result.roc_band(0, grid)

    # At 0 the other curve may start above the axis.
    assert band.y_low[1:] == pytest.approx(np.quantile(heights, 0.025, axis=0)[1:], abs=1e-9)
    assert band.y_high[1:] == pytest.approx(np.quantile(heights, 0.975, axis=0)[1:], abs=1e-9)


def test_roc_band_encloses_the_curve() -> None:
    """Sensitivity by interpolation, band around it, closed only at the corner (1, 1)."""
    y, p = sample(300, digits=8)
    result = bootstrap_metrics(y, p, [CUT, CUT], n_resamples=400, seed=1)
    fpr, tpr, _ = metrics.roc_curve(y, p[0], drop_intermediate=False)
    grid = np.linspace(0, 1, 21)

    band = result.roc_band(0, grid)

    inner = slice(1, -1)
    assert band.y[inner] == pytest.approx(np.interp(grid, fpr, tpr)[inner])
    assert all(low <= y <= high for low, y, high in zip(band.y_low, band.y, band.y_high, strict=True))
    assert (band.y_low[-1], band.y[-1], band.y_high[-1]) == (1.0, 1.0, 1.0)
    narrow = result.roc_band(0, grid, level=0.5)
    assert all(a >= b for a, b in zip(narrow.y_low, band.y_low, strict=True))


def test_roc_band_of_a_perfect_model_is_the_corner() -> None:
    """Perfect separation: sensitivity 1 at every false-positive rate, 0 included."""
    y = np.arange(20) % 2
    band = bootstrap_metrics(y, [y * 0.9], [0.5], n_resamples=100, seed=1).roc_band(0, [0.0, 0.5, 1.0])

    assert band.y == band.y_low == band.y_high == (1.0, 1.0, 1.0)


def test_ten_cases_of_each_class_work() -> None:
    """The smallest study that says anything gives defined intervals."""
    y = np.arange(20) % 2 == 0
    p = np.linspace(0.05, 0.95, 20)
    result = bootstrap_metrics(y, [p, p[::-1]], [0.5, 0.5], n_resamples=300, seed=0)

    assert result.metric(0, "auc").ci_low is not None
    assert result.difference(0, 1, "auc").ci_high is not None


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"thresholds": [0.5]}, ConfigError, "do not fit 2 models"),
        ({"thresholds": [0.5, float("nan")]}, ConfigError, "do not fit 2 models"),
        ({"n_resamples": 20}, ConfigError, "needs at least 100"),
        ({"seed": -1}, ConfigError, "seed is -1"),
        ({"level": 95}, ConfigError, "confidence level"),
        ({"clusters": np.zeros(150)}, DataError, "all cases come from one patient"),
        ({"clusters": np.zeros(3)}, DataError, "one patient id per case"),
        ({"scores": np.full((2, 150), 1.5)}, DataError, r"scores\[0\] is 1.5 at position 0"),
        ({"scores": np.full((2, 10), 0.5)}, DataError, "one score per case"),
        ({"y_true": np.ones(150)}, DataError, "positive cases only"),
    ],
    ids=["count", "nan", "resamples", "seed", "level", "patient", "ids", "range", "length", "class"],
)
def test_bad_input_is_refused(change: dict, error: type[Exception], message: str) -> None:
    """Each argument has its message."""
    y, p = sample()
    arguments = {"y_true": y, "scores": p, "thresholds": [CUT, CUT], "seed": 0, "n_resamples": 100}

    with pytest.raises(error, match=message):
        bootstrap_metrics(**{**arguments, **change})  # type: ignore[arg-type]


def test_unknown_names_are_refused(result: BootstrapResult) -> None:
    """The message lists what is known."""
    with pytest.raises(ConfigError, match="'kappa' is unknown; choose one of auc"):
        result.metric(0, "kappa")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="model index 2 is unknown; there are 2"):
        result.difference(0, 2, "auc")
    with pytest.raises(ConfigError, match="ascending numbers"):
        result.roc_band(0, [0.5, 0.1])


def test_the_bootstrap_is_quick() -> None:
    """Two models, 2,000 cases, 1,000 resamples: well under two seconds on a laptop."""
    y, p = sample(2000)
    start = time.perf_counter()

    bootstrap_metrics(y, p, [CUT, CUT], n_resamples=1000, seed=0)

    assert time.perf_counter() - start < 3


def test_precision_band_equals_every_resampled_curve() -> None:
    """Against scikit-learn's curve of each resample: precision at the highest threshold that reaches the recall."""
    y, p = sample(90)
    grid = np.linspace(0, 1, 51)[1:]
    result = bootstrap_metrics(y, p, [CUT, CUT], n_resamples=200, seed=3)

    def at_grid(weights: np.ndarray) -> list[float]:
        precision, recall, _ = metrics.precision_recall_curve(y, p[0], sample_weight=weights)
        # From the lowest threshold up: the last corner that still reaches the recall.
        return [precision[np.flatnonzero(recall >= r - 1e-9)[-1]] for r in grid]

    heights = [at_grid(weights) for weights in drawn_by(result.unstratified_plan)]

    band = result.precision_band(0, grid)

    assert band.y == pytest.approx(at_grid(np.ones(90)))
    assert band.y_low == pytest.approx(np.quantile(heights, 0.025, axis=0), abs=1e-9)
    assert band.y_high == pytest.approx(np.quantile(heights, 0.975, axis=0), abs=1e-9)
    with pytest.raises(ConfigError, match="recall_grid must be ascending"):
        result.precision_band(0, [0.5, 0.1])
