"""Whether thresholds and probabilities of the models may be used, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medcompare.base.formatting import join_words
from medcompare.base.language import message, t

if TYPE_CHECKING:
    from medcompare.report.vocabulary import View
    from medcompare.stats.records import ModelEvaluation, ModelUse

THRESHOLDS = {
    "usable": message("yes"),
    "not held": message("no: its sensitivity is not held"),
    "not reached": message("no: target not reached"),
    "few validation cases": message("not yet: few validation cases"),
    "one class": message("no: tells nothing apart"),
    "convention": message("no: 0.5 by convention"),
    "given": message("not known: given"),
    "fixed": message("not known: fixed beforehand"),
}
"""Words for `ModelUse.threshold`."""

FAULTS = {
    "show no relation to the truth": message("no relation to the truth"),
    "fall where the truth is positive": message("fall where the truth is positive"),
    "are over-confident": message("over-confident"),
    "are under-confident": message("under-confident"),
    "are too low on average": message("too low on average"),
    "are too high on average": message("too high on average"),
}
"""Words for `ModelUse.miscalibration`."""


def _probability(one: ModelEvaluation, use: ModelUse) -> str:
    if one.calibration is None:
        return t("no: scores are no probabilities")
    if use.miscalibration is None:
        return t("not known: too few cases")
    if not use.miscalibration:
        return t("no fault shown")
    return t("no: {faults}", faults=join_words(t(FAULTS[each]) for each in use.miscalibration))


def uses_of(view: View) -> list[tuple[str, list[str]]]:
    """Whether thresholds and probabilities may be used, per model; models that could not be assessed are named so."""
    uses = {use.model: use for use in view.assessment.verdict.uses}
    if not uses:
        return []
    found = [(one, uses.get(one.model)) for one in view.evaluations]
    none = t("no: not assessed")
    return [
        (t("Threshold usable?"), [none if use is None else t(THRESHOLDS[use.threshold]) for _, use in found]),
        (
            t("Usable as probability?"),
            [none if use is None else _probability(one, use) for one, use in found],
        ),
    ]
