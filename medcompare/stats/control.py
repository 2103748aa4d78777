"""Control charts: whether a figure that is measured run after run has changed, or only varies as it did before."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np

from medcompare.base.language import t, tn
from medcompare.stats.in_detail import IN_A_ROW, SIGMAS, ControlChart
from medcompare.stats.intervals.proportions import normal_quantile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medcompare.stats.estimates import Estimate

BASELINE, MIN_BASELINE = 20, 12
"""The oldest runs set the limits: 20 of them, and never fewer than 12 (Provost & Murray 2011, The Health Care Data
Guide: from 12 on trial limits, with 20 to 30 limits that stand)."""

MEAN_RANGE = 1.128
"""Expected range of two values in standard deviations (d2 of Montgomery 2019, Introduction to Statistical Quality
Control, appendix VI)."""


def control_chart(runs: Sequence[Estimate | None]) -> ControlChart:
    """Control limits of a proportion or an AUC, oldest run first.

    Laney's chart: runs are compared in units of their own sampling error, and how far they vary in these units is
    taken from their moving ranges. Where every run has other cases that is a chart for proportions with limits from
    the sampling error; where runs share their test cases, as nights on the same data do, they vary less and the
    limits are closer; where training adds to the variation they are wider. The sampling error is that of the
    baseline, for the number of cases of each run.

    Parameters
    ----------
    runs : sequence of Estimate or None
        In [0, 1]. Those without an interval, and missing ones, are left out.

    Returns
    -------
    ControlChart
        Without limits, and with the reason, where fewer than `MIN_BASELINE` runs have an interval or all are alike.

    References
    ----------
    Laney (2002), Qual Eng 14:531; Mohammed, Worthington & Woodall (2008), Qual Saf Health Care 17:137 (in health
    care).
    """
    known = {
        i: found for i, one in enumerate(runs) if one is not None and (found := _measured(one)) is not None
    }
    if any(n == 0 for _, _, n in known.values()):
        # Of some run the cases are not known: all count alike.
        known = {i: (value, error, 1) for i, (value, error, _) in known.items()}
    baseline = tuple(known)[:BASELINE]
    if len(baseline) < MIN_BASELINE:
        n = len(baseline)
        return ControlChart(
            reason=tn(
                "control limits need at least {needed} runs with an interval, and there is {n}",
                "control limits need at least {needed} runs with an interval, and there are {n:,}",
                n,
                needed=MIN_BASELINE,
            )
        )
    centre = float(np.mean([known[i][0] for i in baseline]))
    unit = float(np.median([known[i][1] * math.sqrt(known[i][2]) for i in baseline]))
    error = {i: unit / math.sqrt(n) for i, (_, _, n) in known.items()}
    scores = [(known[i][0] - centre) / error[i] for i in baseline]
    spread = float(np.abs(np.diff(scores)).mean()) / MEAN_RANGE
    if spread <= 0:
        return ControlChart(
            reason=t(
                "the {n} oldest runs are all alike, so there is no variation to set limits by",
                n=len(baseline),
            )
        )
    reach = {i: SIGMAS * spread * each for i, each in error.items()}
    limits = [
        (max(0.0, centre - reach[i]), min(1.0, centre + reach[i])) if i in known else (None, None)
        for i in range(len(runs))
    ]
    signals: list[tuple[int, Literal["above", "below", "in a row above", "in a row below"]]] = []
    side, length = 0, 0
    for i, (value, _, _) in known.items():
        here = (value > centre) - (value < centre)
        length = length + 1 if here == side and here else abs(here)
        side = here
        if abs(value - centre) > reach[i]:
            signals.append((i, "above" if here > 0 else "below"))
        elif length >= IN_A_ROW:
            signals.append((i, "in a row above" if here > 0 else "in a row below"))
    return ControlChart(
        centre=centre,
        low=tuple(low for low, _ in limits),
        high=tuple(high for _, high in limits),
        baseline=baseline,
        signals=tuple(signals),
    )


def _measured(one: Estimate) -> tuple[float, float, int] | None:
    """Value, standard error and cases; None without an interval."""
    if one.value is None or one.ci_low is None or one.ci_high is None or one.level is None:
        return None
    error = (one.ci_high - one.ci_low) / (2 * normal_quantile(one.level))
    return (one.value, error, one.n or 0) if error > 0 else None
