"""Net benefit."""

import numpy as np
import pytest

from medcompare.base.errors import ConfigError, DataError
from medcompare.stats.utility import (
    net_benefit,
    probability_of_benefit,
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
