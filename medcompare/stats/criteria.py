"""The questions that the decision rule asks, one function each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medcompare.config import DecideConfig
    from medcompare.stats.records import Estimate, ModelEvaluation, PairedComparison

GUARDED = ("sensitivity", "specificity")

Adequacy = Literal["adequate", "inadequate", "undetermined"]


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
        floor, or the same output for every case.
    """
    if evaluation.constant_output:
        return "inadequate"
    floors = [
        ("auc", rule.auc_floor),
        ("sensitivity", rule.sensitivity_floor),
        ("specificity", rule.specificity_floor),
    ]
    checks = [(evaluation.metrics[name], floor) for name, floor in floors if floor is not None]
    if any(estimate.ci_high is not None and estimate.ci_high < floor for estimate, floor in checks):
        return "inadequate"
    if all(estimate.ci_low is not None and estimate.ci_low > floor for estimate, floor in checks):
        return "adequate"
    return "undetermined"


def guard_passes(pair: PairedComparison, rule: DecideConfig, *, mirrored: bool = False) -> bool:
    """Whether sensitivity and specificity allow taking the candidate.

    ``strict``: both lower limits above minus their margins. ``veto``: neither is
    significantly lower.

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
    bool
        False where an interval is missing.
    """
    return all(guarded_by(name, pair, rule, mirrored=mirrored) for name in GUARDED)


def guarded_by(name: str, pair: PairedComparison, rule: DecideConfig, *, mirrored: bool = False) -> bool:
    """Whether one figure allows taking the candidate.

    Parameters
    ----------
    name : {"sensitivity", "specificity"}
        The figure.
    pair : PairedComparison
        Differences, candidate minus reference.
    rule : DecideConfig
        ``guard`` and the margin of the figure.
    mirrored : bool, default=False
        Ask the same of the reference against the candidate.

    Returns
    -------
    bool
        False where the interval is missing.
    """
    margin = rule.margin_sensitivity if name == "sensitivity" else rule.margin_specificity
    low, high = limits(pair.differences[name])
    if low is None or high is None:
        return False
    if mirrored:
        low, high = -high, -low
    return low > -margin if rule.guard == "strict" else high >= 0


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


def best_by_point_estimate(evaluations: Sequence[ModelEvaluation]) -> str | None:
    """Model with the highest AUC; None where none has one."""
    known = [one for one in evaluations if one.metrics["auc"].value is not None]
    return max(known, key=lambda one: one.metrics["auc"].value or 0.0).model if known else None
