"""Sizes for means over trainings: more cases lessen one part of their error, more trainings the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy

from medcompare.base.language import t

if TYPE_CHECKING:
    from medcompare.stats.estimates import OverTrainings

MOST_TRAININGS = 50
"""As many as ``seeds`` allows."""

FACTORS = np.geomspace(1, 1e4, 1000)
"""Sizes tried, over the present one: 1 % apart, which is finer than what is told."""


def factor_over_trainings(
    known: OverTrainings, room: float, *, alpha: float, n: int | None = None, power: float = 0.8
) -> float | None:
    """By how much the cases of a study must grow for a mean over trainings.

    Parameters
    ----------
    known : OverTrainings
        Of the present study.
    room : float
        Between what is assumed and what is to be excluded, above 0.
    alpha : float
        Two-sided error of the test at the new size.
    n : int, optional
        Trainings of each model; the present number where none is given.
    power : float, default=0.8
        Wanted probability of success.

    Returns
    -------
    float or None
        New number of cases over the present one, at least 1; None where no number of cases is enough, because what
        trainings differ in stays.

    Notes
    -----
    With k trainings of standard deviation s, and the part c of the present squared error that is of cases, the
    squared error is ``c / factor + s**2 / k``, with Satterthwaite's degrees of freedom as in
    `medcompare.stats.seeds`; the quantiles of t for error and power together must stay within `room`.
    """
    k = n or known.n
    cases = max(0.0, known.standard_error**2 - known.standard_deviation**2 / known.n)
    between = known.standard_deviation**2 / k
    total = cases / FACTORS + between
    freedom = (k - 1) * (total / between) ** 2 if between else np.inf
    reach = (scipy.stats.t.isf(alpha / 2, freedom) + scipy.stats.t.ppf(power, freedom)) * np.sqrt(total)
    enough = np.flatnonzero(reach <= room)
    return float(FACTORS[enough[0]]) if len(enough) else None


def more_trainings(known: OverTrainings, room: float, alpha: float) -> str:
    """How many trainings would do what no number of cases does, in words.

    Parameters
    ----------
    known : OverTrainings
        Of the present study.
    room, alpha : float
        As in `factor_over_trainings`.

    Returns
    -------
    str
        A clause that ends with "would".
    """
    for n in range(known.n + 1, MOST_TRAININGS + 1):
        factor = factor_over_trainings(known, room, alpha=alpha, n=n)
        if factor is not None:
            if factor == 1:
                return t("{n} trainings of each model (--seeds {n}) with the cases that there are would", n=n)
            return t(
                "{n} trainings of each model (--seeds {n}) with about {factor:.2g} times as many cases as there are "
                "would",
                n=n,
                factor=factor,
            )
    return t("not even {n} trainings of each model would", n=MOST_TRAININGS)
