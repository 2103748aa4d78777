"""The questions that the decision rule asks, one function each."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medcompare.config.schema import DecideConfig
    from medcompare.stats.records import Estimate, ModelEvaluation, PairedComparison

Adequacy = Literal["adequate", "inadequate", "undetermined"]
Figure = Literal["auc", "sensitivity", "specificity"]
Guard = Literal["passed", "open", "lost"]
Void = Literal["convention", "nobody", "everybody"]

ALMOST_NONE = 0.05
"""A class of which no more is recognised is hardly ever predicted: a threshold of no use to anyone."""

EQUAL = 1e-9
"""AUCs closer than this are equal: what rounds them differently is the order of the cases."""


def adequacy(evaluation: ModelEvaluation, rule: DecideConfig) -> Adequacy:
    """Whether a model is good enough on its own: every floor against its confidence limits.

    Parameters
    ----------
    evaluation : ModelEvaluation
        Figures of the model.
    rule : DecideConfig
        ``auc_floor``, and ``sensitivity_floor`` and ``specificity_floor`` where set.

    Returns
    -------
    {"adequate", "inadequate", "undetermined"}
        Adequate: all lower limits above the floors. Inadequate: an upper limit below its
        floor.
    """
    checks = [(evaluation.decisive(name), floor) for name, floor in floors_of(rule).items()]
    if any(estimate.ci_high is not None and estimate.ci_high < floor for estimate, floor in checks):
        return "inadequate"
    if all(estimate.ci_low is not None and estimate.ci_low > floor for estimate, floor in checks):
        return "adequate"
    return "undetermined"


def floors_of(rule: DecideConfig) -> dict[Figure, float]:
    """The floors that were set, by figure."""
    floors: dict[Figure, float | None] = {
        "auc": rule.auc_floor,
        "sensitivity": rule.sensitivity_floor,
        "specificity": rule.specificity_floor,
    }
    return {name: floor for name, floor in floors.items() if floor is not None}


def guard_of(pair: PairedComparison, rule: DecideConfig, *, mirrored: bool = False) -> dict[Figure, Guard]:
    """Whether sensitivity and specificity allow taking the candidate.

    Parameters
    ----------
    pair : PairedComparison
        Differences, candidate minus reference.
    rule : DecideConfig
        ``guard`` and the two margins.
    mirrored : bool, default=False
        Ask the same of the reference against the candidate.

    Returns
    -------
    dict
        By figure: "passed", "lost" (proven: more cases would not change it) or "open".
        ``strict``: passed where the lower limit is above minus the margin, lost where the
        upper limit is below it. ``veto``: lost where the figure is significantly lower,
        else passed. Open where an interval is missing.
    """
    margins: dict[Figure, float] = {
        "sensitivity": rule.margin_sensitivity,
        "specificity": rule.margin_specificity,
    }
    return {
        name: _guard(oriented(pair.differences[name], mirrored=mirrored), margin, rule)
        for name, margin in margins.items()
    }


def _guard(limits_of: tuple[float | None, float | None], margin: float, rule: DecideConfig) -> Guard:
    low, high = limits_of
    if low is None or high is None:
        return "open"
    if rule.guard == "veto":
        return "lost" if high < 0 else "passed"
    if low > -margin:
        return "passed"
    return "lost" if high < -margin else "open"


def proves_nothing(evaluation: ModelEvaluation) -> Void | None:
    """Why sensitivity and specificity at a model's threshold say nothing about replacing it.

    Parameters
    ----------
    evaluation : ModelEvaluation
        Threshold and counts.

    Returns
    -------
    {"convention", "nobody", "everybody"} or None
        The threshold was chosen on no data, or (almost) no case of a class is recognised at
        it: two models that call everybody positive are alike, and alike useless.
    """
    if evaluation.operating_point.chosen_on == "convention":
        return "convention"
    counts = evaluation.confusion
    if counts.true_positive <= ALMOST_NONE * evaluation.n_positive:
        return "nobody"
    if counts.true_negative <= ALMOST_NONE * evaluation.n_negative:
        return "everybody"
    return None


def within(difference: Estimate, margin: float) -> bool:
    """Whether both limits lie within the margin: no relevant difference either way."""
    low, high = limits(difference)
    return low is not None and high is not None and -margin < low and high < margin


def no_difference(difference: Estimate) -> bool:
    """Whether both models rank every pair of cases alike: no difference and no sampling error."""
    return difference.value == difference.ci_low == difference.ci_high == 0


def both_separate(one: ModelEvaluation, other: ModelEvaluation) -> bool:
    """Whether both models separate the classes perfectly."""
    return one.decisive("auc").value == other.decisive("auc").value == 1


def separation_p(one: ModelEvaluation, other: ModelEvaluation, margin: float) -> float | None:
    """One-sided p-value of "one of two perfect models loses the margin or more".

    Parameters
    ----------
    one, other : ModelEvaluation
        Models with an AUC of 1.
    margin : float
        Largest acceptable loss of AUC.

    Returns
    -------
    float or None
        ``(1 - margin)**k``: with a true AUC of 1 - margin all k disjoint pairs of a positive
        and a negative are ordered rightly with at most this probability. k is read from the
        exact lower limit, ``tail**(1 / k)``. None where that limit is missing.
    """
    found: list[float] = []
    for each in (one, other):
        low, level = each.decisive("auc").ci_low, each.decisive("auc").level
        if low is None or level is None or not 0 < low < 1:
            return None
        found.append((1 - margin) ** (math.log((1 - level) / 2) / math.log(low)))
    return max(found)


def oriented(difference: Estimate, *, mirrored: bool) -> tuple[float | None, float | None]:
    """Limits of candidate minus reference, or of reference minus candidate."""
    low, high = limits(difference)
    if not mirrored or low is None or high is None:
        return low, high
    return -high, -low


def significantly_lower(difference: Estimate) -> bool:
    """Whether the candidate's figure is lower beyond chance: the upper limit is below zero."""
    return difference.ci_high is not None and difference.ci_high < 0


def significantly_higher(difference: Estimate) -> bool:
    """Whether the candidate's figure is higher beyond chance: the lower limit is above zero."""
    return difference.ci_low is not None and difference.ci_low > 0


def opposed(one: Estimate, other: Estimate) -> bool:
    """Whether one figure is higher beyond chance and the other lower: models at other trade-offs."""
    return (significantly_lower(one) and significantly_higher(other)) or (
        significantly_higher(one) and significantly_lower(other)
    )


def limits(difference: Estimate) -> tuple[float | None, float | None]:
    """Lower and upper limit."""
    return difference.ci_low, difference.ci_high


def smallest_class_units(evaluation: ModelEvaluation) -> int:
    """Patients (or images) of the rarer class."""
    return min(evaluation.n_units_positive, evaluation.n_units_negative)


def best_by_point_estimate(evaluations: Sequence[ModelEvaluation]) -> tuple[ModelEvaluation, ...]:
    """Models with the highest AUC: several where it is equal, none where no AUC is known."""
    known = [(one.decisive("auc").value, one) for one in evaluations]
    highest = max((value for value, _ in known if value is not None), default=None)
    if highest is None:
        return ()
    return tuple(one for value, one in known if value is not None and value >= highest - EQUAL)
