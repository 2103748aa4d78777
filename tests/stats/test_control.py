"""Control limits: against values worked by hand, and simulated runs that do and do not change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from medcompare.stats.control import BASELINE, MIN_BASELINE, control_chart
from medcompare.stats.estimates import Estimate
from medcompare.stats.intervals.proportions import proportion

if TYPE_CHECKING:
    from medcompare.stats.in_detail import ControlChart


def measured(value: float, *, error: float = 0.02, n: int = 100) -> Estimate:
    """A figure whose 95% interval is symmetric, of this standard error."""
    reach = 1.959963984540054 * error
    return Estimate(value=value, ci_low=value - reach, ci_high=value + reach, method="by hand", n=n)


def chart_of(values: list[Estimate | None]) -> ControlChart:
    """The chart, which there must be."""
    found = control_chart(values)
    assert found.reason == ""
    return found


def nights(rng: np.random.Generator, rate: float, n_runs: int, n: int) -> list[Estimate | None]:
    """Runs on other cases each."""
    return [proportion(int(rng.binomial(n, rate)), n) for _ in range(n_runs)]


def test_limits_by_hand() -> None:
    """0.80 and 0.84 in turn: centre 0.82, a moving range of 2 errors, so limits of 3 * 2 / 1.128 * 0.02."""
    found = chart_of([measured(0.80 + 0.04 * (i % 2)) for i in range(12)])

    assert found.centre == pytest.approx(0.82)
    assert found.high[0] - found.centre == pytest.approx(3 * 2 / 1.128 * 0.02)
    assert found.baseline == tuple(range(12))
    assert found.signals == ()


def test_limits_follow_the_number_of_cases() -> None:
    """Four times the cases, half the reach: the error is that of the baseline, not the run's own."""
    values = [measured(0.80 + 0.04 * (i % 2)) for i in range(20)]
    found = chart_of([*values, measured(0.82, n=400, error=0.5)])

    reach = [high - found.centre for high in found.high]
    assert reach[20] == pytest.approx(reach[0] / 2)


def test_unknown_numbers_of_cases_count_alike() -> None:
    """One run without its number: limits of one reach for all."""
    values = [measured(0.80 + 0.04 * (i % 2)) for i in range(12)]
    found = chart_of([*values, measured(0.82, n=400).model_copy(update={"n": None})])

    assert len({round(high - found.centre, 12) for high in found.high}) == 1


def test_limits_stay_within_0_and_1() -> None:
    """A proportion near 1 has no upper limit above it."""
    found = chart_of([measured(0.97 + 0.02 * (i % 2)) for i in range(12)])

    assert set(found.high) == {1.0}
    assert all(low is not None and 0 <= low < 0.97 for low in found.low)


def test_signals() -> None:
    """A run outside its limits, and the eighth of eight in a row on one side; a run on the centre ends a row."""
    calm = [measured(0.80 + 0.04 * (i % 2)) for i in range(20)]

    out = chart_of([*calm, measured(0.5), measured(0.99)])
    row = chart_of([*calm, *(measured(0.83) for _ in range(8))])
    broken = chart_of([*calm, *(measured(0.83) for _ in range(6)), measured(0.82), measured(0.83)])

    assert out.signals == ((20, "below"), (21, "above"))
    # The last calm run is above the centre too: the row is full one run earlier.
    assert row.signals == ((26, "in a row above"), (27, "in a row above"))
    assert broken.signals == ()


@pytest.mark.parametrize("n_runs", [0, 1, MIN_BASELINE - 1])
def test_too_few_runs_have_no_limits(n_runs: int) -> None:
    """And the reason says how many there are; runs without an interval do not count."""
    without = Estimate(value=0.9, method="none", note="no interval")

    found = control_chart([measured(0.8 + 0.01 * (i % 2)) for i in range(n_runs)] + [without, None])

    assert (found.centre, found.low, found.signals) == (None, (), ())
    assert f"at least {MIN_BASELINE} runs" in found.reason
    assert found.reason.endswith(f"{'is' if n_runs == 1 else 'are'} {n_runs}")


def test_equal_runs_have_no_limits() -> None:
    """Limits without width would make a signal of every rounding."""
    assert "all alike" in control_chart([measured(0.8)] * 15).reason


def test_only_the_oldest_runs_set_the_limits() -> None:
    """What comes after the baseline changes nothing."""
    rng = np.random.default_rng(0)
    values = nights(rng, 0.85, 40, 200)

    long, short = chart_of(values), chart_of(values[:BASELINE])

    assert (long.centre, long.baseline) == (short.centre, short.baseline)
    assert long.low[:BASELINE] == short.low


def test_false_alarms_and_changes() -> None:
    """Other cases each night: about one run in 370 outside its limits (more, as they are estimated); a loss is seen."""
    rng = np.random.default_rng(1)
    outside = n_runs = seen = 0
    for _ in range(60):
        found = chart_of([*nights(rng, 0.85, 60, 150), *nights(rng, 0.70, 1, 150)])
        outside += sum(kind in {"above", "below"} for i, kind in found.signals if i < 60)
        seen += (60, "below") in found.signals
        n_runs += 60

    assert 0.002 < outside / n_runs < 0.015
    assert seen / 60 > 0.9


def test_runs_that_share_their_test_cases_have_closer_limits() -> None:
    """Only what training adds varies: the limits are a fraction of the interval of a run."""
    rng = np.random.default_rng(2)
    found = chart_of([measured(0.85 + 0.003 * rng.standard_normal(), error=0.03) for _ in range(20)])

    assert found.high[0] - found.centre < 0.02
