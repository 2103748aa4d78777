"""Adjusted p-values."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from medcompare.base.errors import DataError
from medcompare.stats.intervals.auc import auc_difference
from medcompare.stats.multiplicity import (
    holm,
    noninferiority_p,
    standard_error_of,
)
from medcompare.stats.records import Estimate


@pytest.mark.parametrize(
    "p_values", [[0.01, 0.04, 0.03, 0.005], [0.5, 0.5, 0.9], [0.02], [1.0, 1.0]], ids=["a", "b", "c", "d"]
)
def test_holm_equals_statsmodels(p_values: list[float]) -> None:
    """In the given order, monotone, at most 1."""
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])


def test_undefined_p_values_leave_the_family() -> None:
    """None stays None and does not count."""
    assert holm([0.02, None, 0.04]) == (pytest.approx(0.04), None, pytest.approx(0.04))
    assert holm([None, None]) == (None, None)
    assert holm([]) == ()


def test_impossible_p_values_are_refused() -> None:
    """NaN included: undefined is None."""
    for p in (1.2, -0.1, float("nan")):
        with pytest.raises(DataError, match="position 1 is not in"):
            holm([0.5, p])


def test_noninferiority_agrees_with_the_interval() -> None:
    """P = 0.025 exactly where the lower 95% limit touches the margin."""
    error = 0.01
    difference = -0.03 + 1.959963984540054 * error

    assert noninferiority_p(difference, error, 0.03) == pytest.approx(0.025)
    assert noninferiority_p(-0.03, error, 0.03) == pytest.approx(0.5)
    assert noninferiority_p(None, error, 0.03) is None
    # Without sampling error, as where the models rank alike, it is certain.
    assert noninferiority_p(0.0, 0.0, 0.03) == 0
    assert noninferiority_p(-0.03, 0.0, 0.03) == 1


def test_standard_error_comes_back_from_the_interval() -> None:
    """DeLong's error from its interval, also where one limit was cut."""
    rng = np.random.default_rng(1)
    y = np.arange(100) % 2
    estimate = auc_difference(y, rng.normal(size=100) + y, rng.normal(size=100))
    error = standard_error_of(estimate)

    assert 2 * stats.norm.sf(abs(estimate.value) / error) == pytest.approx(estimate.p_value)  # type: ignore[operator]
    cut = Estimate(value=0.9, ci_low=0.9 - 1.959964 * 0.2, ci_high=1.0, method="DeLong")
    assert standard_error_of(cut) == pytest.approx(0.2, rel=1e-6)
    assert standard_error_of(Estimate(value=0.5, method="x")) is None
    assert standard_error_of(Estimate(value=None, method="x", note="undefined")) is None
