"""Operating thresholds: chosen on the validation subset, frozen, applied once to the test.

A threshold chosen on the test subset inflates sensitivity plus specificity, by 0.055 to
0.13 with 100 to 20 cases per class in our simulation; this module never sees the test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medcompare.base.language import t
from medcompare.stats.arrays import nearly_constant
from medcompare.stats.intervals.auc import roc_points
from medcompare.stats.records import OperatingPoint
from medcompare.stats.subgroups import share

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medcompare.config.schema import EvaluateConfig
    from medcompare.predictions.cases import ScoredCases

HABIT = 0.5

ROUNDING = 1e-12
"""19 of 20 reach a target of 0.95, whatever the last digit of the quotient."""


def choose_threshold(
    model: str,
    validation: ScoredCases | None,
    config: EvaluateConfig,
    *,
    given: float | None = None,
    scores_are_probabilities: bool = True,
) -> OperatingPoint:
    """The operating point of `model`.

    Parameters
    ----------
    model : str
        Name of the model.
    validation : ScoredCases or None
        Validation subset; None where there is none.
    config : EvaluateConfig
        ``threshold_rule`` and its numbers count.
    given : float, optional
        A threshold the user gives: taken as it is.
    scores_are_probabilities : bool, default=True
        Whether 0.5 means anything, for the note where it has to be taken.

    Returns
    -------
    OperatingPoint
        With ``reached=False`` and a note where the rule's target could not be met; a
        convention, with a note, where 0.5 was taken for want of a validation subset. A
        threshold chosen on validation carries the sensitivity and specificity it had there.

    Notes
    -----
    Every rule chooses among the scores seen on validation, each taken as ``score >=
    threshold``; of equally good ones the highest is taken.

    References
    ----------
    Youden (1950), Cancer 3:32. Cost ratio: the threshold that minimises
    ``cost_ratio * FN + FP`` on validation.
    """
    if given is not None:
        return OperatingPoint(threshold=given, rule=t("given by the user"), chosen_on="user")
    if config.threshold_rule == "fixed":
        return OperatingPoint(
            threshold=config.fixed_threshold,
            rule=t("fixed at {threshold:g}", threshold=config.fixed_threshold),
            chosen_on="fixed",
        )
    if validation is None:
        why = t("there was no validation subset")
    elif validation.y_true.min() == validation.y_true.max():
        why = t("the validation subset has one class only")
    elif nearly_constant(validation.scores[model]):
        why = t("the model gives every validation case the same score")
    else:
        why = ""
    if validation is None or why:
        note = t(
            "{threshold:g} is a convention, not chosen for this model: {why}, so no rule could be applied",
            threshold=HABIT,
            why=why,
        )
        if not scores_are_probabilities:
            note = t(
                "{why}, and {threshold:g} means nothing for scores that are not probabilities: give a threshold",
                why=why,
                threshold=HABIT,
            )
        return OperatingPoint(
            threshold=HABIT,
            rule=t("{threshold:g}, as {why}", threshold=HABIT, why=why),
            chosen_on="convention",
            note=note,
        )
    point = _by_rule(validation.y_true, validation.scores[model], config)
    predicted, positive = validation.scores[model] >= point.threshold, validation.y_true == 1
    known = {
        name: share(call, among, validation.clusters, config, why_empty=t("undefined: no case"))
        for name, call, among in (
            ("validation_sensitivity", predicted, positive),
            ("validation_specificity", ~predicted, ~positive),
        )
    }
    return point.model_copy(update=known)


def _by_rule(
    y_true: NDArray[np.int64], scores: NDArray[np.float64], config: EvaluateConfig
) -> OperatingPoint:
    points = roc_points(y_true, scores)
    # The first corner lies above every score: it calls nothing positive.
    fpr, tpr, thresholds = points.fpr[1:], points.tpr[1:], points.thresholds[1:]
    if config.threshold_rule == "youden":
        best = int(np.argmax(tpr - fpr))
        rule = t("largest sensitivity + specificity on validation (Youden)")
    elif config.threshold_rule == "cost_ratio":
        n_positive, n_negative = int(y_true.sum()), int((1 - y_true).sum())
        harm = config.cost_ratio * (1 - tpr) * n_positive + fpr * n_negative
        best = int(np.argmin(harm))
        rule = t(
            "least harm on validation, a missed positive counting {ratio:g} times a false alarm",
            ratio=config.cost_ratio,
        )
    else:
        reaching = np.flatnonzero(tpr >= config.target_sensitivity - ROUNDING)
        best = int(reaching[0])
        rule = t(
            "highest threshold with sensitivity of at least {target:g} on validation",
            target=config.target_sensitivity,
        )
        if fpr[best] >= 1:
            note = t(
                "sensitivity {target:g} is reached on validation only by calling every case positive",
                target=config.target_sensitivity,
            )
            return OperatingPoint(
                threshold=float(thresholds[best]), rule=rule, chosen_on="validation", reached=False, note=note
            )
    return OperatingPoint(threshold=float(thresholds[best]), rule=rule, chosen_on="validation")
