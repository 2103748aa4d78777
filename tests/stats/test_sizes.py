"""Sizes: by the method's own table, by the power they give in simulated studies, by patients."""

from __future__ import annotations

import numpy as np
import pytest

from medcompare.stats.intervals.auc import auc_difference
from medcompare.stats.paired import paired_proportion_difference
from medcompare.stats.records import Estimate
from medcompare.stats.sizes import factor_for_difference, factor_for_floor, rounded_up
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
