"""Sizes: by the method's own table, by the power they give in simulated studies, by patients."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from medcompare.stats.estimates import OverTrainings
from medcompare.stats.intervals.auc import auc_difference
from medcompare.stats.paired import paired_proportion_difference
from medcompare.stats.records import Estimate
from medcompare.stats.sizes import factor_for_difference, factor_for_floor, rounded_up
from medcompare.stats.sizes_over_trainings import factor_over_trainings, more_trainings
from medcompare.stats.verdict.criteria import limits
from tests.stats.simulated import draw_study


def wald(difference: float, discordance: float, n: int) -> Estimate:
    """A paired difference of n cases with the interval of equal models."""
    half = 1.959964 * np.sqrt(discordance / n)
    return Estimate(value=difference, ci_low=difference - half, ci_high=difference + half, method="by hand")


@pytest.mark.parametrize(
    ("discordance", "margin", "expected"),
    [
        (0.1, 0.05, 314),
        (0.1, 0.1, 79),
        (0.1, 0.03, 873),
        (0.2, 0.05, 628),
        (0.2, 0.1, 157),
        (0.2, 0.03, 1745),
    ],
)
def test_table_of_the_method(discordance: float, margin: float, expected: int) -> None:
    """7.85 * discordance / margin**2, whatever the size of the study it is read from."""
    for n in (60, 700):
        factor = factor_for_difference(wald(0.0, discordance, n), margin, true_difference=0.0, alpha=0.05)

        assert factor is not None
        assert np.ceil(n * factor) == expected


def test_no_number_without_room_or_interval() -> None:
    """A loss of the margin or more is never shown to be smaller; no width, no standard error."""
    study = wald(-0.05, 0.1, 100)

    assert factor_for_difference(study, 0.05, true_difference=-0.05, alpha=0.05) is None
    assert factor_for_difference(study, 0.05, true_difference=0.05, alpha=0.05, both_ways=True) is None
    flat = Estimate(value=0.0, ci_low=0.0, ci_high=0.0, method="by hand")
    assert factor_for_difference(flat, 0.05, true_difference=0.0, alpha=0.05) is None


def test_auc_size_gives_the_power() -> None:
    """Studies of equal models at the size read from a small one: about 80% show a loss below the margin."""
    aucs, margin = {"a": 0.9, "b": 0.9}, 0.03
    pilots = [draw_study(aucs, n_negative=90, n_positive=60, seed=seed) for seed in range(40)]
    factors = [
        factor_for_difference(
            auc_difference(one.y_true, one.scores["a"], one.scores["b"]),
            margin,
            true_difference=0.0,
            alpha=0.05,
        )
        for one in pilots
    ]
    factor = float(np.median([f for f in factors if f is not None]))
    shown = []
    for seed in range(400):
        big = draw_study(
            aucs, n_negative=round(90 * factor), n_positive=round(60 * factor), seed=10_000 + seed
        )
        low, _ = limits(auc_difference(big.y_true, big.scores["a"], big.scores["b"]))
        shown.append(low is not None and low > -margin)

    # Standard error of the share: 0.02
    assert np.mean(shown) == pytest.approx(0.8, abs=0.07)


def test_patients_are_what_counts() -> None:
    """Four copies of each image add nothing: the size in patients is that of single images."""
    rng = np.random.default_rng(0)
    right = rng.random((2, 60)) < 0.85
    patient = np.arange(60)
    single = paired_proportion_difference(right[0], right[1], clusters=patient)
    copies = paired_proportion_difference(
        np.repeat(right[0], 4), np.repeat(right[1], 4), clusters=np.repeat(patient, 4)
    )
    sizes = [factor_for_difference(one, 0.05, true_difference=0.0, alpha=0.05) for one in (single, copies)]

    assert sizes[0] is not None
    assert sizes[1] == pytest.approx(sizes[0], rel=0.05)


def test_size_for_a_floor() -> None:
    """By hand: 0.80 (0.72 to ...) against a floor of 0.75 on a plain scale; none below the floor."""
    seen = Estimate(value=0.80, ci_low=0.72, ci_high=0.86, method="by hand")

    # reach 0.08, room 0.05: (2.801585 / 1.959964 * 0.08 / 0.05)**2 = 5.2308
    assert factor_for_floor(seen, 0.75, alpha=0.05, logit=False) == pytest.approx(5.2308, abs=1e-3)
    assert factor_for_floor(seen, 0.80, alpha=0.05, logit=False) is None


@pytest.mark.parametrize(("n", "told"), [(7, 7), (84, 84), (101, 110), (1635, 1700), (1700, 1700)])
def test_two_digits_and_never_fewer(n: int, told: int) -> None:
    """A size is no more exact than that."""
    assert rounded_up(n) == told


def test_what_trainings_differ_in_does_not_shrink_with_cases() -> None:
    """By hand: of the squared error 0.0004 + 0.0001, four times the cases leave 0.0001 + 0.0001, not 0.000125."""
    many = OverTrainings(n=10_001, standard_deviation=np.sqrt(10_001) * 0.01, standard_error=np.sqrt(5e-4))

    # With so many trainings t is normal: room for 1.959964 + 0.841621 standard errors of sqrt(0.0002).
    room = 2.801585 * np.sqrt(2e-4)
    assert factor_over_trainings(many, room, alpha=0.05) == pytest.approx(4.0, rel=0.012)
    # Without any error from cases 0.0001 is left: room for less than that is never made by cases.
    assert factor_over_trainings(many, 2.801585 * np.sqrt(0.99e-4), alpha=0.05) is None
    alike = OverTrainings(n=3, standard_deviation=0.0, standard_error=0.02)
    assert factor_over_trainings(alike, 2.801585 * 0.01, alpha=0.05) == pytest.approx(4.0, rel=0.012)
    # Three trainings, 2 degrees of freedom with cases without end: t is 4.302653 + 1.060660.
    few = OverTrainings(n=3, standard_deviation=0.01, standard_error=0.01 / np.sqrt(3))
    at = (4.302653 + 1.060660) * 0.01 / np.sqrt(3)
    assert factor_over_trainings(few, 1.001 * at, alpha=0.05) == 1
    assert factor_over_trainings(few, 0.999 * at, alpha=0.05) is None
    # Five: (2.776445 + 0.940965) * 0.01 / sqrt(5) = 0.01662; four: (3.182446 + 0.978472) * 0.005 = 0.02080.
    assert more_trainings(few, 0.0167, 0.05) == (
        "5 trainings of each model (--seeds 5) with the cases that there are would"
    )
    assert more_trainings(few, 1e-4, 0.05) == "not even 50 trainings of each model would"


@pytest.mark.parametrize("n", [3, 5])
def test_size_over_trainings_gives_the_power(n: int) -> None:
    """Simulated means of `n` trainings with the size that is told: about 80% exclude the margin."""
    cases, spread, margin = 0.02, 0.008, 0.03
    known = OverTrainings(
        n=n, standard_deviation=spread, standard_error=float(np.hypot(cases, spread / np.sqrt(n)))
    )
    factor = factor_over_trainings(known, margin, alpha=0.05)
    assert factor is not None
    assert factor > 1
    rng, n_studies = np.random.default_rng(0), 20_000
    by_seed = rng.normal(0, spread, (n_studies, n))
    mean = by_seed.mean(1) + rng.normal(0, cases / np.sqrt(factor), n_studies)
    between = by_seed.var(1, ddof=1) / n
    total = between + cases**2 / factor
    low = mean - stats.t.isf(0.025, (n - 1) * (total / between) ** 2) * np.sqrt(total)

    assert np.mean(low > -margin) == pytest.approx(0.8, abs=0.04)


def test_where_trainings_differ_too_much_it_is_said() -> None:
    """The difference, and the figure of one model, ask for trainings in place of cases."""
    spread = OverTrainings(n=3, standard_deviation=0.03, standard_error=0.02)
    seen = Estimate(value=0.0, ci_low=-0.07, ci_high=0.07, method="by hand", trainings=spread)

    assert factor_for_difference(seen, 0.03, true_difference=0.0, alpha=0.05) is None
    told = seen.model_copy(update={"trainings": None})
    assert factor_for_difference(told, 0.03, true_difference=0.0, alpha=0.05) == pytest.approx(
        11.12, abs=0.01
    )
    floor = Estimate(value=0.75, ci_low=0.68, ci_high=0.82, method="by hand", trainings=spread)
    assert factor_for_floor(floor, 0.70, alpha=0.05, logit=True) is None
    assert factor_for_floor(floor, 0.55, alpha=0.05, logit=True) == 1.0
