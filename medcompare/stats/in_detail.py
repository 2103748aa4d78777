"""Records beyond the figures that a verdict rests on: subgroups, the two models compared in full, what was tried."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from medcompare.base.record import Record
from medcompare.stats.estimates import Curve, Estimate

USUAL_RANGE = (0.01, 0.5)
"""Threshold probabilities shown where no range is stated: at 1% as many as 99 false alarms are accepted for one true
positive; above 50% a false alarm would weigh more than a missed positive."""

SIGMAS = 3.0
"""Of the limits of a control chart (Shewhart 1931)."""

IN_A_ROW = 8
"""So many runs in a row on one side of the centre are a signal too (Western Electric 1956, rule 4)."""


class SubgroupEvaluation(Record):
    """Figures of one model within one level of a subgroup column."""

    column: str
    level: str
    n: int
    n_positive: int
    n_patients: int | None = Field(default=None, description="None where patients are not known.")
    metrics: dict[str, Estimate]
    against_rest: dict[str, Estimate] = Field(
        default={},
        description="This level minus all other cases, intervals adjusted for the number of levels. Empty for the "
        "second of two levels, which is the same with the other sign.",
    )


class SubgroupDifference(Record):
    """Candidate minus reference within one level of a subgroup column."""

    column: str
    level: str
    n: int
    n_positive: int
    n_patients: int | None = None
    differences: dict[str, Estimate] = Field(
        description="AUC, sensitivity and specificity; the intervals of all levels hold together."
    )


class Interaction(Record):
    """Whether the difference between two models is another one in other levels of a column."""

    column: str
    metric: str
    n_levels: int = Field(ge=0, description="Levels with an interval, which the test compares.")
    statistic: float | None = Field(description="Cochran's Q.")
    p_value: float | None = Field(ge=0, le=1)
    p_value_adjusted: float | None = Field(default=None, ge=0, le=1, description="Holm over all such tests.")
    note: str | None = None


class NetBenefitPoint(Record):
    """Net benefit of both models at one threshold probability."""

    threshold: float = Field(gt=0, lt=1)
    frozen_of: tuple[str, ...] = Field(
        default=(), description="Models whose frozen threshold it is; an end of the range otherwise."
    )
    treat_all: float
    reference: Estimate
    candidate: Estimate
    difference: Estimate
    probability_of_benefit: Estimate = Field(
        description="Share of resamples in which the candidate has the larger net benefit."
    )
    interventions_avoided: dict[str, Estimate] = Field(
        default={},
        description="Of the ``reference``, the ``candidate`` and their ``difference``: net interventions avoided per "
        "case, against acting on everyone.",
    )


class HeadToHead(Record):
    """What is told of the two models compared in full; no verdict rests on it."""

    reference: str
    candidate: str
    net_benefit: Curve | None = Field(
        default=None, description="Candidate minus reference over threshold probabilities; pointwise band."
    )
    net_benefit_at: tuple[NetBenefitPoint, ...] = ()
    subgroups: tuple[SubgroupDifference, ...] = ()
    interactions: tuple[Interaction, ...] = ()


class ControlChart(Record):
    """Limits of a figure over runs, oldest first, and where it broke them; empty limits and a reason without any."""

    centre: float | None = Field(default=None, description="Mean of the baseline.")
    low: tuple[float | None, ...] = Field(default=(), description="Of each run; null without an interval.")
    high: tuple[float | None, ...] = ()
    baseline: tuple[int, ...] = Field(default=(), description="Positions of the runs that set the limits.")
    signals: tuple[tuple[int, Literal["above", "below", "in a row above", "in a row below"]], ...] = Field(
        default=(),
        description="Runs outside their limits, or at least the eighth in a row on one side of the centre.",
    )
    reason: str = Field(default="", description="Why there are no limits.")


class TrendControl(Record):
    """Control chart of one figure of one model over the runs of a trend."""

    metric: Literal["auc", "sensitivity", "specificity"]
    model: str
    chart: ControlChart


class Shortcut(Record):
    """What a linear model reaches without seeing the disease."""

    kind: Literal["file", "colours", "thumbnail"] = Field(
        description="Sees the file's size, format, mode, name and columns; the histogram of colours; 12 x 12 pixels."
    )
    auc: Estimate = Field(description="Cross-validated over all images, patients and copies kept together.")
    auc_test: Estimate | None = Field(default=None, description="The same scores on the test images.")
    differences: dict[str, Estimate] = Field(
        default={}, description="By network: its AUC minus that of the shortcut, on the same test images."
    )
    careless_difference: Estimate | None = Field(
        default=None,
        description="AUC where folds ignore patients and copies, minus `auc`. None where each image is its own unit.",
    )


class RandomSplit(Record):
    """What one network would have seemed to reach, had the images been split one by one at random."""

    model: str
    auc: Estimate = Field(description="On the test images of the split of this run.")
    auc_random: Estimate = Field(description="Trained and tested on a random split of the same sizes.")
    difference: Estimate = Field(description="Random minus this run's.")
    n_leaked: int = Field(
        ge=0, description="Test images of the random split with a patient or copy in training or validation."
    )
