"""How many independent cases or patients would probably close a question that is open.

The standard error of the study at hand, which knows its patients, shrinks with the square
root of their number; a size follows from it, from the margin and from a stated power and
true difference. What trainings with other seeds differ in does not shrink with patients: of means
over trainings it stays, and where it alone is too much, trainings are asked for in place of cases.
Where the data hold nothing to work a size out from, there is no number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import scipy

from medcompare.base.formatting import format_number
from medcompare.base.language import t
from medcompare.stats.intervals.proportions import normal_quantile
from medcompare.stats.records import SizeNeeded
from medcompare.stats.sizes_over_trainings import factor_over_trainings, more_trainings
from medcompare.stats.verdict.criteria import floors_of, oriented
from medcompare.stats.verdict.phrases import FIGURE_NAMES, units_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from medcompare.config.schema import DecideConfig
    from medcompare.stats.estimates import OverTrainings
    from medcompare.stats.records import Estimate, ModelEvaluation, PairedComparison
    from medcompare.stats.verdict.criteria import Figure

POWER = 0.8
"""Customary; stated wherever a size is."""


@dataclass(frozen=True, kw_only=True)
class OpenQuestion:
    """What an undecided rule could not settle.

    Attributes
    ----------
    figure : {"auc", "sensitivity", "specificity"}
        What it is about.
    pair : PairedComparison or None
        Whether the candidate loses less than the margin; None for a floor.
    model : str
        Whether this model reaches its floor; empty for a pair.
    mirrored : bool
        Ask whether the reference loses less than the margin against the candidate.
    both_ways : bool
        Ask for equivalence: less than the margin either way.
    n_comparisons : int
        Comparisons that the error is shared between (Bonferroni, the first step of Holm).
    """

    figure: Figure
    pair: PairedComparison | None = None
    model: str = ""
    mirrored: bool = False
    both_ways: bool = False
    n_comparisons: int = 1


class NoSize(NamedTuple):
    """Why an open question has no size, and whether more cases would help all the same."""

    sentence: str
    more_helps: bool


def sizes_needed(
    questions: Sequence[OpenQuestion],
    evaluations: Sequence[ModelEvaluation],
    rule: DecideConfig,
    *,
    alpha: float,
) -> tuple[tuple[SizeNeeded, ...], tuple[NoSize, ...]]:
    """Sizes for open questions, and why there is none for the others.

    Parameters
    ----------
    questions : sequence of OpenQuestion
        What is open.
    evaluations : sequence of ModelEvaluation
        Models, for their names and numbers of units.
    rule : DecideConfig
        Margins and floors.
    alpha : float
        Two-sided error of the intervals.

    Returns
    -------
    sizes : tuple of SizeNeeded
    without : tuple of NoSize
        One for each question without a size.
    """
    sizes, without = [], []
    by_model = {one.model: one for one in evaluations}
    for question in questions:
        found = (
            _for_floor(question, by_model[question.model], rule, alpha)
            if question.pair is None
            else _for_difference(question, question.pair, by_model, rule, alpha)
        )
        if isinstance(found, SizeNeeded):
            sizes.append(found)
        else:
            without.append(found)
    return tuple(sizes), tuple(without)


def factor_for_difference(
    estimate: Estimate,
    margin: float,
    *,
    true_difference: float,
    alpha: float,
    both_ways: bool = False,
    power: float = POWER,
) -> float | None:
    """By how much a study must grow to show that a loss is below the margin.

    Parameters
    ----------
    estimate : Estimate
        Difference with the interval of the present study, candidate minus reference.
    margin : float
        Largest acceptable loss, above 0.
    true_difference : float
        What is assumed.
    alpha : float
        Two-sided error of the test at the new size.
    both_ways : bool, default=False
        Show it in both directions.
    power : float, default=0.8
        Wanted probability of success.

    Returns
    -------
    float or None
        New number of independent units over the present one; None without an interval of
        positive width, or where the assumed loss is not below the margin.

    References
    ----------
    ``((z_alpha + z_power) * SE / (margin + difference))**2``; Lu & Bean (1995), Stat Med
    14:1831 (paired proportions); Liu et al. (2006), Stat Med 25:1219 (paired AUC); Phillips
    (1990), J Pharmacokinet Biopharm 18:137 (equivalence: half the error of power each way).
    """
    low, high, level = estimate.ci_low, estimate.ci_high, estimate.level
    room = _room(margin, true_difference, both_ways=both_ways)
    if low is None or high is None or level is None or not high > low or room <= 0:
        return None
    wanted = (1 + power) / 2 if both_ways and true_difference == 0 else power
    if estimate.trainings is not None:
        return factor_over_trainings(estimate.trainings, room, alpha=alpha, power=wanted)
    error = (high - low) / 2 / normal_quantile(level)
    return float(((scipy.stats.norm.isf(alpha / 2) + scipy.stats.norm.ppf(wanted)) * error / room) ** 2)


def _room(margin: float, true_difference: float, *, both_ways: bool) -> float:
    return margin - abs(true_difference) if both_ways else margin + true_difference


def _trainings_differ(
    known: OverTrainings, room: float, alpha: float, *, claim: str, condition: str
) -> NoSize:
    return NoSize(
        t(
            "More cases alone would not show {claim}, {condition}: the {n:,} trainings differ too much among "
            "themselves (standard deviation {spread:.3f}); {remedy}.",
            claim=claim,
            condition=condition,
            n=known.n,
            spread=known.standard_deviation,
            remedy=more_trainings(known, room, alpha),
        ),
        more_helps=False,
    )


def factor_for_floor(
    estimate: Estimate, floor: float, *, alpha: float, logit: bool, power: float = POWER
) -> float | None:
    """By how much a study must grow to show that a figure exceeds its floor, if it is as seen.

    Parameters
    ----------
    estimate : Estimate
        The figure with its interval.
    floor : float
        What the lower limit must exceed.
    alpha : float
        Two-sided error.
    logit : bool
        Whether the interval is symmetric on the logit scale, as that of an AUC is.
    power : float, default=0.8
        Wanted probability of success.

    Returns
    -------
    float or None
        New number of independent units over the present one; None without an interval, or
        where the figure as seen does not exceed the floor.
    """
    value, low, level = estimate.value, estimate.ci_low, estimate.level
    if value is None or low is None or level is None or value <= floor or not 0 < low < value < 1:
        return None
    if estimate.trainings is not None:
        return factor_over_trainings(estimate.trainings, value - floor, alpha=alpha, power=power)
    scale = scipy.special.logit if logit else float
    reach = float(scale(value) - scale(low)) / normal_quantile(level)
    room = float(scale(value) - scale(floor))
    return float(((scipy.stats.norm.isf(alpha / 2) + scipy.stats.norm.ppf(power)) * reach / room) ** 2)


def _for_difference(
    question: OpenQuestion,
    pair: PairedComparison,
    models: Mapping[str, ModelEvaluation],
    rule: DecideConfig,
    alpha: float,
) -> SizeNeeded | NoSize:
    figure, words = question.figure, t(FIGURE_NAMES[question.figure])
    one, other = models[pair.candidate], models[pair.reference]
    if question.mirrored:
        one, other = other, one
    margin: float = getattr(rule, f"margin_{figure}")
    gaps = {"figure": words, "taken": one.display_name, "left": other.display_name, "margin": margin}
    if question.both_ways:
        about = t("the difference in {figure} between {left} and {taken}", **gaps)
        claim = t(
            "that the difference in {figure} between {left} and {taken} is below {margin:g} either way",
            **gaps,
        )
    else:
        about = t("the loss of {figure} with {taken} instead of {left}", **gaps)
        claim = t("that the loss of {figure} with {taken} instead of {left} is below {margin:g}", **gaps)
    if figure != "auc":
        table, name = (
            (pair.positives, one.classes[1]) if figure == "sensitivity" else (pair.negatives, one.classes[0])
        )
        n = table.both_correct + table.both_wrong
        if table.only_reference_correct + table.only_candidate_correct == 0:
            agree = t(
                "The two models agree on all {n:,} {label} cases, so no size can be worked out for showing {claim}.",
                n=n,
                label=name,
                claim=claim,
            )
            return NoSize(agree, more_helps=True)
    estimate = pair.differences[figure]
    low, high = oriented(estimate, mirrored=question.mirrored)
    seen = -(estimate.value or 0.0) if question.mirrored else estimate.value
    if low is None or high is None or seen is None:
        unknown = t(
            "No size can be worked out for {about}: it has no interval ({why}).",
            about=about,
            why=estimate.note,
        )
        return NoSize(unknown, more_helps=True)
    looked_at = estimate.model_copy(update={"value": seen, "ci_low": low, "ci_high": high})
    error = alpha / question.n_comparisons
    differ, as_seen = None, format_number(seen, signed=True)
    for assumed, condition in (
        (0.0, t("if the models are truly alike in this")),
        (seen, t("if the true difference is the {difference} seen here", difference=as_seen)),
    ):
        factor = factor_for_difference(
            looked_at, margin, true_difference=assumed, alpha=error, both_ways=question.both_ways
        )
        # A size the study already has did not show it: equality is then no fair assumption.
        if factor is not None and factor > 1:
            return _size(
                question,
                one,
                factor,
                models=(pair.reference, pair.candidate),
                bound=margin,
                assumed=assumed,
                claim=claim,
                condition=condition,
                trainings=estimate.trainings,
            )
        room = _room(margin, assumed, both_ways=question.both_ways)
        if factor is None and estimate.trainings is not None and room > 0:
            differ = differ or _trainings_differ(
                estimate.trainings, room, error, claim=claim, condition=condition
            )
    if differ is not None:
        return differ
    never = t(
        "If the true difference in {figure} is the {difference} seen here, no number of cases would show {claim}.",
        figure=words,
        difference=as_seen,
        claim=claim,
    )
    return NoSize(never, more_helps=False)


def _for_floor(
    question: OpenQuestion, one: ModelEvaluation, rule: DecideConfig, alpha: float
) -> SizeNeeded | NoSize:
    figure = question.figure
    floor, estimate = floors_of(rule)[figure], one.decisive(figure)
    factor = factor_for_floor(estimate, floor, alpha=alpha, logit=figure == "auc")
    gaps = {"figure": t(FIGURE_NAMES[figure]), "model": one.display_name, "floor": floor}
    claim = t("that the {figure} of {model} is above {floor:g}", **gaps)
    condition = t("if it is truly the {value} seen here", value=format_number(estimate.value or 0))
    if factor is None and estimate.trainings is not None and (estimate.value or 0) > floor:
        room = (estimate.value or 0) - floor
        return _trainings_differ(estimate.trainings, room, alpha, claim=claim, condition=condition)
    if factor is None or factor <= 1 or estimate.value is None:
        never = t(
            "If the {figure} of {model} is truly as seen ({value}), more cases would not show that it is above "
            "{floor:g}.",
            value=t("unknown") if estimate.value is None else format_number(estimate.value),
            **gaps,
        )
        return NoSize(never, more_helps=False)
    return _size(
        question,
        one,
        factor,
        models=(one.model,),
        bound=floor,
        assumed=estimate.value,
        claim=claim,
        condition=condition,
        trainings=estimate.trainings,
    )


def _size(
    question: OpenQuestion,
    one: ModelEvaluation,
    factor: float,
    *,
    models: tuple[str, ...],
    bound: float,
    assumed: float,
    claim: str,
    condition: str,
    trainings: OverTrainings | None,
) -> SizeNeeded:
    negative, positive = one.classes
    unit: Literal["patients", "cases"] = "patients" if one.clustered else "cases"
    needed_positive = None if question.figure == "specificity" else math.ceil(factor * one.n_units_positive)
    needed_negative = None if question.figure == "sensitivity" else math.ceil(factor * one.n_units_negative)
    if question.n_comparisons > 1:
        condition = t(
            "{condition}, allowing for {n:,} comparisons", condition=condition, n=question.n_comparisons
        )
    gaps: dict[str, object] = {
        "units": units_of(one),
        "where": _where(one, trainings),
        "percent": 100 * POWER,
        "claim": claim,
        "condition": condition,
    }
    if needed_positive is not None and needed_negative is not None:
        sentence = t(
            "About {n_positive:,} {positive} and {n_negative:,} {negative} {units} {where} would show with a "
            "probability of {percent:.0f}% {claim}, {condition}; there are {has_positive:,} and {has_negative:,}.",
            n_positive=rounded_up(needed_positive),
            positive=positive,
            n_negative=rounded_up(needed_negative),
            negative=negative,
            has_positive=one.n_units_positive,
            has_negative=one.n_units_negative,
            **gaps,
        )
    else:
        of_positive = needed_positive is not None
        sentence = t(
            "About {n:,} {label} {units} {where} would show with a probability of {percent:.0f}% {claim}, {condition}; "
            "there are {has:,}.",
            n=rounded_up(needed_positive or needed_negative or 0),
            label=positive if of_positive else negative,
            has=one.n_units_positive if of_positive else one.n_units_negative,
            **gaps,
        )
    return SizeNeeded(
        quantity=question.figure,
        models=models,
        bound=bound,
        assumed=assumed,
        power=POWER,
        unit=unit,
        needed_positive=needed_positive,
        needed_negative=needed_negative,
        present_positive=one.n_units_positive,
        present_negative=one.n_units_negative,
        sentence=sentence,
    )


def _where(one: ModelEvaluation, trainings: OverTrainings | None) -> str:
    """Where the cases are asked for, and what must stay as it is here."""
    if trainings is None:
        return (
            t("in the test subset, with as many images each as here,")
            if one.clustered
            else t("in the test subset")
        )
    if one.clustered:
        return t(
            "in the test subset, with as many images each as here and {n:,} trainings of each model,",
            n=trainings.n,
        )
    return t("in the test subset, with {n:,} trainings of each model,", n=trainings.n)


def rounded_up(n: int) -> int:
    """Two digits are all that such a size is worth; never fewer than asked for."""
    step: int = 10 ** max(len(str(n)) - 2, 0)
    return -(-n // step) * step
