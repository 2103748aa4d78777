"""More than two models: adjusted p-values and simultaneous intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import scipy

from medcompare.base.errors import ConfigError, DataError
from medcompare.base.language import t
from medcompare.stats.intervals.proportions import normal_quantile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medcompare.stats.records import Estimate


def holm(p_values: Sequence[float | None]) -> tuple[float | None, ...]:
    """Holm's step-down adjustment.

    Parameters
    ----------
    p_values : sequence of float or None
        None (undefined) is dropped first and stays None: the family is what is left.

    Returns
    -------
    tuple of float or None
        Adjusted p-values in the given order.

    Raises
    ------
    DataError
        If a p-value is not in [0, 1].

    References
    ----------
    Holm (1979), Scand J Stat 6:65.
    """
    defined = [(p, i) for i, p in enumerate(p_values) if p is not None]
    for p, i in defined:
        if not 0 <= p <= 1:
            msg = f"p-value {p} at position {i} is not in [0, 1]; give None where a test is undefined"
            raise DataError(msg)
    adjusted: list[float | None] = [None] * len(p_values)
    so_far = 0.0
    for rank, (p, i) in enumerate(sorted(defined)):
        so_far = max(so_far, min(1.0, (len(defined) - rank) * float(p)))
        adjusted[i] = so_far
    return tuple(adjusted)


def standard_error_of(difference: Estimate) -> float | None:
    """Standard error behind a symmetric normal interval (DeLong, Obuchowski).

    Parameters
    ----------
    difference : Estimate
        With limits ``value ± z * error``, at most cut at -1 and 1.

    Returns
    -------
    float or None
        None where the estimate has no interval.
    """
    if difference.value is None or difference.level is None:
        return None
    reaches = [
        abs(limit - difference.value)
        for limit in (difference.ci_low, difference.ci_high)
        if limit is not None
    ]
    # The longer arm is the one that was not cut.
    return max(reaches) / normal_quantile(difference.level) if reaches else None


def simultaneous(difference: Estimate, *, n_comparisons: int) -> Estimate:
    """A difference with the interval that holds together with those of all other comparisons.

    Parameters
    ----------
    difference : Estimate
        With a symmetric normal interval (DeLong, Obuchowski), in [-1, 1].
    n_comparisons : int
        Comparisons in the family, at least 1.

    Returns
    -------
    Estimate
        Same value; all intervals of the family hold their estimates together with at least
        the level of `difference`. Unchanged where `difference` has no interval.

    References
    ----------
    Dunn (1961), J Am Stat Assoc 56:52 (Bonferroni intervals).
    """
    error = standard_error_of(difference)
    if error is None or difference.value is None or difference.level is None:
        return difference
    reach = normal_quantile(1 - (1 - difference.level) / n_comparisons) * error
    return difference.model_copy(
        update={
            "ci_low": max(-1.0, difference.value - reach),
            "ci_high": min(1.0, difference.value + reach),
            "method": t(
                "{method}, Bonferroni over {n} comparisons",
                method=difference.method,
                n=n_comparisons,
            ),
        }
    )


def noninferiority_p(difference: float | None, standard_error: float | None, margin: float) -> float | None:
    """One-sided p-value of "the candidate is worse by the margin or more".

    Parameters
    ----------
    difference : float or None
        Candidate minus reference, higher is better.
    standard_error : float or None
        Of the difference.
    margin : float
        Largest acceptable loss, above 0.

    Returns
    -------
    float or None
        None where the difference or its error is undefined. Without sampling error, as where
        both models rank every pair of cases alike, 0 or 1.

    Raises
    ------
    ConfigError
        If the margin is not above 0.
    """
    _check_margin(margin)
    if difference is None or standard_error is None:
        return None
    if standard_error == 0:
        return 0.0 if difference > -margin else 1.0
    return float(scipy.stats.norm.sf((difference + margin) / standard_error))


def _check_margin(margin: float) -> None:
    if not 0 < margin < 1:
        msg = f"margin is {margin}; the largest acceptable loss must be between 0 and 1"
        raise ConfigError(msg)
