"""Difference of a figure between two samples of different patients."""

from __future__ import annotations

import math

from medcompare.base.language import t
from medcompare.stats.estimates import Estimate


def unpaired_difference(inside: Estimate, outside: Estimate) -> Estimate:
    """The second figure minus the first: two samples of other patients.

    Parameters
    ----------
    inside, outside : Estimate
        The same figure with its interval, such as on internal and external cases.

    Returns
    -------
    Estimate
        Without value where one of the two has none.

    References
    ----------
    Square-and-add of the limits of both: Newcombe (1998), Stat Med 17:873, method 10, for proportions; Zou &
    Donner (2008), Stat Med 27:1693, for any estimate with limits, here the AUC and clustered proportions.
    """
    a, b = inside, outside
    if a.value is None or b.value is None:
        return Estimate(value=None, level=a.level, method="none", note=a.note or b.note or t("not estimable"))
    value = b.value - a.value
    if a.ci_low is None or a.ci_high is None or b.ci_low is None or b.ci_high is None:
        return Estimate(
            value=value, level=a.level, method=t("difference"), note=t("a figure has no interval")
        )
    return Estimate(
        value=value,
        ci_low=value - math.hypot(b.value - b.ci_low, a.ci_high - a.value),
        ci_high=value + math.hypot(b.ci_high - b.value, a.value - a.ci_low),
        level=a.level,
        method=t("square-and-add of two intervals ({method})", method=a.method),
        n=b.n,
    )
