"""Net benefit, its bands, and who gains more."""

import numpy as np
import pytest

from medcompare.base.errors import ConfigError, DataError
from medcompare.stats.estimates import Curve
from medcompare.stats.resampling.weights import ResamplingPlan
from medcompare.stats.utility import (
    DECISION_GRID,
    decision_curve,
    interventions_avoided,
    net_benefit,
    probability_of_benefit,
    resampled_net_benefit,
    share_ahead,
    shown_range,
    treat_all,
)


def sample(n: int = 300) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Outcomes, a useful and a useless probability."""
    rng = np.random.default_rng(0)
    y = rng.random(n) < 0.3
    useful = np.clip(rng.normal(0.25 + 0.35 * y, 0.15), 0, 1)
    return y, useful, rng.random(n)


def test_net_benefit_by_hand() -> None:
    """At 0.2 two true and one false positive of five: 2/5 - 1/5 * 0.25 = 0.35."""
    y, p = [1, 1, 0, 0, 0], [0.9, 0.2, 0.3, 0.1, 0.0]

    assert net_benefit(y, p, [0.2, 0.5]) == pytest.approx([0.35, 0.2])


TWELVE = [1, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 0]
TWO_MODELS = (
    [0.9, 0.8, 0.65, 0.5, 0.42, 0.3, 0.28, 0.2, 0.15, 0.1, 0.05, 0.02],
    [0.7, 0.35, 0.9, 0.6, 0.1, 0.45, 0.2, 0.3, 0.05, 0.25, 0.15, 0.12],
)
DCURVES = {
    None: (
        (0.277778, 0.145833, 0.032051, 0.041667),
        (0.175926, 0.145833, 0.160256, 0.041667),
        (0.259259, 0.166667, -0.025641, -0.666667),
    ),
    0.05: (
        (-0.029167, -0.110937, -0.166827, -0.153125),
        (-0.068056, -0.110937, -0.090385, -0.153125),
        (-0.055556, -0.187500, -0.461538, -1.375000),
    ),
}
"""By prevalence: the two models and everyone at 0.1, 0.2, 0.35 and 0.6, of ``dcurves.dca`` 1.1.7."""


@pytest.mark.parametrize("prevalence", DCURVES)
def test_net_benefit_equals_dcurves(prevalence: float | None) -> None:
    """At the share of positives of the sample, and at a stated one."""
    cut = [0.1, 0.2, 0.35, 0.6]
    *models, everyone = DCURVES[prevalence]

    ours = [net_benefit(TWELVE, one, cut, prevalence=prevalence) for one in TWO_MODELS]

    assert ours == pytest.approx(np.array(models), abs=6e-7)
    assert treat_all(4 / 12 if prevalence is None else prevalence, cut) == pytest.approx(everyone, abs=6e-7)


AVOIDED = {
    None: ((0.166667, -0.083333, 0.107143, 0.472222), (-0.75, -0.083333, 0.345238, 0.472222)),
    0.05: ((0.2375, 0.30625, 0.547321, 0.814583), (-0.1125, 0.30625, 0.689286, 0.814583)),
}
"""By prevalence: ``net_intervention_avoided`` of the two models at the same places, of ``dcurves.dca`` 1.1.7."""


@pytest.mark.parametrize("prevalence", AVOIDED)
def test_interventions_avoided_equal_dcurves(prevalence: float | None) -> None:
    """Against acting on everyone, at both shares of positives."""
    cut = [0.1, 0.2, 0.35, 0.6]
    everyone = treat_all(4 / 12 if prevalence is None else prevalence, cut)
    gains = [net_benefit(TWELVE, one, cut, prevalence=prevalence) - everyone for one in TWO_MODELS]

    assert interventions_avoided(gains, cut) == pytest.approx(np.array(AVOIDED[prevalence]), abs=6e-7)


def test_interventions_avoided_are_negatives_left_alone_less_missed_positives() -> None:
    """Counted: at 0.2 four missed positives weigh as much as sixteen negatives left alone."""
    y, useful, _ = sample()
    cut = np.array([0.05, 0.2, 0.5])
    below = useful[:, None] < cut

    avoided = interventions_avoided(net_benefit(y, useful, cut) - treat_all(y.mean(), cut), cut)

    left_alone, missed = (below & ~y[:, None]).sum(axis=0), (below & y[:, None]).sum(axis=0)
    assert avoided == pytest.approx((left_alone - missed * [19, 4, 1]) / 300)


def test_draws_are_net_benefits_of_the_resampled_cases() -> None:
    """Every resample, case by case: any order of thresholds, patients, a stated prevalence, a score at a threshold."""
    rng = np.random.default_rng(5)
    y, patients = rng.random(40) < 0.4, np.repeat(np.arange(20), 2)
    probabilities = [np.round(rng.random(40), 1), rng.random(40)]
    cut = [0.5, 0.1, 0.3]
    plan = ResamplingPlan(y, patients, stratified=False, seed=3, n_resamples=100)
    [weights] = plan.each(lambda drawn: drawn)

    for prevalence in (None, 0.02):
        draws = resampled_net_benefit(y, probabilities, cut, plan, prevalence=prevalence)
        for k, one in enumerate(probabilities):
            plain = [
                net_benefit(np.repeat(y, w), np.repeat(one, w), cut, prevalence=prevalence) for w in weights
            ]
            assert draws[k] == pytest.approx(np.array(plain))


def test_bands_are_percentiles_of_each_threshold() -> None:
    """Pointwise: they hold the curve, and are wider by patient, where cases of one are alike."""
    y, useful, _ = sample(100)
    doubled = [np.repeat(v, 3) for v in (y, useful)]
    patients = np.repeat(np.arange(100), 3)
    plans = {
        clusters: ResamplingPlan(
            doubled[0], patients if clusters else None, stratified=False, seed=0, n_resamples=1000
        )
        for clusters in (True, False)
    }

    by_patient, by_case = (
        decision_curve(*doubled, [0.1, 0.2, 0.3], plan=plans[clusters], level=0.9)
        for clusters in (True, False)
    )

    [draws] = resampled_net_benefit(doubled[0], [doubled[1]], [0.1, 0.2, 0.3], plans[True])
    assert by_patient.y_low == pytest.approx(np.quantile(draws, 0.05, axis=0))
    assert by_patient.y_high == pytest.approx(np.quantile(draws, 0.95, axis=0))
    for low, value, high in zip(by_patient.y_low, by_patient.y, by_patient.y_high, strict=True):
        assert low < value < high
    widths = [np.array(one.y_high) - one.y_low for one in (by_patient, by_case)]
    assert widths[0] / widths[1] == pytest.approx(np.sqrt(3), rel=0.15)
    assert decision_curve(*doubled, [0.1]).y_low == ()


def test_bands_of_net_benefit_hold_its_true_value() -> None:
    """In 300 samples a 95% interval at one threshold leaves out the value of the population 5% of the time."""
    rng = np.random.default_rng(8)
    y = rng.random(200_000) < 0.3
    p = np.clip(rng.normal(0.25 + 0.3 * y, 0.15), 0, 1)
    [truth] = net_benefit(y, p, [0.25])
    held = 0
    for seed in range(300):
        chosen = rng.integers(0, y.size, 200)
        plan = ResamplingPlan(y[chosen], None, stratified=False, seed=seed, n_resamples=400)
        curve = decision_curve(y[chosen], p[chosen], [0.25], plan=plan)
        held += curve.y_low[0] <= truth <= curve.y_high[0]

    assert 0.91 <= held / 300 <= 0.98


def test_share_ahead_counts_ties_one_half_and_leaves_out_what_is_undefined() -> None:
    """Two wins, a tie, a loss: 2.5 of 4."""
    assert share_ahead(np.array([[0.1], [0.2], [1e-15], [-0.1], [np.nan]]))[0] == 2.5 / 4


def test_shown_range() -> None:
    """As stated; else from 1% to 50%, or to just above the last threshold where acting gains."""
    everyone = Curve(x=(0.01, 0.1, 0.2, 0.9), y=(0.02, 0.01, -0.1, -8.0))
    common = Curve(x=tuple(DECISION_GRID), y=tuple(treat_all(0.5, DECISION_GRID)))

    assert shown_range([everyone], (0.1, 0.3)) == (0.1, 0.3)
    assert shown_range([everyone], None) == (0.01, 0.12)
    assert shown_range([common], None) == shown_range([], None) == (0.01, 0.5)


def test_treating_all_is_a_model_that_says_one() -> None:
    """Both formulas agree; treating none has net benefit 0."""
    y, _, _ = sample()
    cut = np.linspace(0.05, 0.95, 19)

    assert net_benefit(y, np.ones(300), cut) == pytest.approx(treat_all(y.mean(), cut))
    assert net_benefit(y, np.zeros(300), cut) == pytest.approx(0)
    assert treat_all(0.3, [0.3])[0] == pytest.approx(0)


def test_a_perfect_model_gains_the_prevalence() -> None:
    """At every threshold."""
    y, _, _ = sample()

    assert net_benefit(y, y.astype(float), [0.1, 0.9]) == pytest.approx(y.mean())
    assert net_benefit([1, 1], [0.6, 0.7], [0.5])[0] == 1.0


def test_acting_on_every_case() -> None:
    """Prevalence, less the negatives at the odds of the threshold."""
    assert treat_all(0.3, [0.1, 0.2]) == pytest.approx((0.3 - 0.7 / 9, 0.3 - 0.7 / 4))


def test_probability_of_benefit_equals_a_plain_loop() -> None:
    """Share of wins, ties one half, against resampling case by case."""
    y, a, b = sample(80)
    b = 0.7 * a + 0.3 * b
    rng = np.random.default_rng(3)
    wins = 0.0
    for _ in range(2000):
        chosen = rng.integers(0, 80, 80)
        gain = net_benefit(y[chosen], b[chosen], [0.3])[0] - net_benefit(y[chosen], a[chosen], [0.3])[0]
        wins += 1.0 if gain > 1e-12 else 0.5 * (gain > -1e-12)

    ours = probability_of_benefit(y, a, b, [0.3], seed=1, n_resamples=2000)

    assert ours[0] == pytest.approx(wins / 2000, abs=0.04)


def test_probability_of_benefit_knows_the_better_model() -> None:
    """Useful beats useless; identical models are a coin toss; both directions add up to one."""
    y, useful, useless = sample()
    cut = [0.2, 0.4]

    better = probability_of_benefit(y, useless, useful, cut, seed=0, n_resamples=500)
    worse = probability_of_benefit(y, useful, useless, cut, seed=0, n_resamples=500)

    assert (better > 0.98).all()
    assert better + worse == pytest.approx([1, 1])
    assert probability_of_benefit(y, useful, useful, cut, seed=0, n_resamples=100).tolist() == [0.5, 0.5]


def test_probability_of_benefit_with_patients_is_less_sure() -> None:
    """Ten copies of each case carry no more certainty than one."""
    y, a, b = sample(60)
    b = 0.8 * a + 0.2 * b
    copies = [np.repeat(v, 10) for v in (y, a, b)]

    one = probability_of_benefit(y, a, b, [0.35], seed=0, n_resamples=4000)[0]
    naive = probability_of_benefit(*copies, [0.35], seed=0, n_resamples=1000)[0]
    by_patient = probability_of_benefit(
        *copies, [0.35], seed=0, n_resamples=4000, clusters=np.repeat(np.arange(60), 10)
    )[0]

    assert by_patient == pytest.approx(one, abs=0.03)
    assert abs(naive - 0.5) > abs(one - 0.5)


def test_bad_input_is_refused() -> None:
    """Scores that are not probabilities, thresholds of 0 or 1, impossible prevalence."""
    y, a, _ = sample()
    with pytest.raises(DataError, match=r"outside \[0, 1\]"):
        net_benefit(y, a * 3, [0.2])
    with pytest.raises(DataError, match="probability_candidate has shape"):
        probability_of_benefit(y, a, a[:5], [0.2], seed=0)
    with pytest.raises(ConfigError, match="strictly between 0 and 1"):
        net_benefit(y, a, [1.0])
    with pytest.raises(ConfigError, match="prevalence is 30"):
        treat_all(30, [0.2])
    with pytest.raises(ConfigError, match="prevalence is 2"):
        net_benefit(y, a, [0.2], prevalence=2)
    with pytest.raises(DataError, match="class"):
        net_benefit([1, 1], [0.6, 0.7], [0.5], prevalence=0.1)
