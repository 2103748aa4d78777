"""Percentile intervals from resampled figures."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from medcompare.base.language import t
from medcompare.stats.estimates import Estimate

if TYPE_CHECKING:
    from medcompare.stats.arrays import FloatArray

ROUNDING = 1e-12
"""Resampled figures closer than this are equal: none has more digits than counts have."""


def percentile_estimate(
    value: float, draws: FloatArray, *, level: float, method: str, n: int, tested: bool = False
) -> Estimate:
    """A figure with the percentile interval of its draws.

    Parameters
    ----------
    value : float
        The figure in the sample.
    draws : ndarray of shape (n_resamples,)
        The figure in each resample; NaN where undefined.
    level : float
        Confidence level.
    method : str
        Name of the interval.
    n : int
        Cases the figure rests on.
    tested : bool, default=False
        Whether to test that the figure is zero.

    Returns
    -------
    Estimate
        Without interval, and with a note, where the draws are undefined in more than half of the resamples or the
        same in all of them.

    References
    ----------
    Efron & Tibshirani (1993), An Introduction to the Bootstrap, ch. 13; Davison & Hinkley (1997), Bootstrap Methods
    and their Application, eq. 4.11 (the p-value).
    """
    estimate = partial(Estimate, value=value, level=level, method=method, n=n)
    usable = draws[~np.isnan(draws)]
    lost = draws.size - usable.size
    lost_note = (
        t("undefined in {lost} of {n} resamples, which are left out", lost=lost, n=draws.size)
        if lost
        else None
    )
    if usable.size < draws.size / 2:
        return estimate(note=t("no interval: {reason}", reason=lost_note))
    p_value = _two_sided_p(usable) if tested else None
    if np.ptp(usable) < ROUNDING:
        return estimate(p_value=p_value, note=t("no interval: the figure is the same in every resample"))
    tail = (1 - level) / 2
    low, high = np.quantile(usable, [tail, 1 - tail])
    return estimate(ci_low=float(low), ci_high=float(high), p_value=p_value, note=lost_note)


def _two_sided_p(differences: FloatArray) -> float:
    fewer = min(int((differences <= ROUNDING).sum()), int((differences >= -ROUNDING).sum()))
    return min(1.0, 2 * (fewer + 1) / (differences.size + 1))
