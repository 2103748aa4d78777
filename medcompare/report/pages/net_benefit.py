"""Part of the section on each model: what acting on it gains over a range of threshold probabilities."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from medcompare.base.formatting import (
    format_number,
    format_percent,
    format_significant,
    join_words,
)
from medcompare.base.language import localised, t
from medcompare.report.blocks import DASH, Cell, Column, Heading, Notes, image_of, table, words
from medcompare.report.figures.decision import MAX_BANDS, PATIENTS, draw_decision_curve
from medcompare.stats.in_detail import USUAL_RANGE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medcompare.report.blocks import Block, Row, Table
    from medcompare.report.vocabulary import View
    from medcompare.stats.in_detail import HeadToHead, NetBenefitPoint
    from medcompare.stats.records import Estimate, ModelEvaluation


def net_benefit_blocks(view: View) -> list[Block]:
    """Decision curves with bands, the difference of the two models compared in full, and their numbers.

    Empty where no model has a decision curve.
    """
    with_curve = [e for e in view.evaluations if e.decision_curve is not None]
    if not with_curve:
        return []
    detail, treat_all = view.assessment.head_to_head, view.assessment.treat_all
    if detail is not None and detail.net_benefit is None:
        detail = None
    stated = view.inputs.rule.net_benefit_range
    across = view.assessment.threshold_range or USUAL_RANGE
    drawing = draw_decision_curve(with_curve, view.styles, treat_all=treat_all, across=across, detail=detail)
    caption = " ".join(
        part
        for part in (
            _range_words(across, stated),
            _band_words(view, with_curve),
            _miscalibration_warning(view, with_curve),
        )
        if part
    )
    # A table that may break comes first: the figure would leave a gap before it.
    numbers: list[Block] = [] if detail is None else [_table(view, detail)]
    return [Heading(t("Net benefit")), *numbers, image_of(drawing, caption=caption)]


def _percent(threshold: float) -> str:
    """A threshold probability as 1% or 25.3%."""
    return t("{number}%", number=localised(f"{100 * threshold:.3g}"))


def _range_words(across: tuple[float, float], stated: tuple[float, float] | None) -> str:
    """Which thresholds are shown, and why these."""
    low, high = (_percent(one) for one in across)
    if stated is not None:
        return t("Over the stated range of threshold probabilities, {low} to {high}.", low=low, high=high)
    said = {"low": low, "odds": round(1 / across[0] - 1), "high": high}
    if across[1] < USUAL_RANGE[1]:
        return t(
            "No range of threshold probabilities was stated: the curve is shown, and not used in the verdict. Shown "
            "are {low}, where {odds:,} false alarms are accepted for one true positive, to {high}, beyond which "
            "hardly anything is gained by acting.",
            **said,
        )
    return t(
        "No range of threshold probabilities was stated: the curve is shown, and not used in the verdict. Shown are "
        "{low}, where {odds:,} false alarms are accepted for one true positive, to {high}, above which a false alarm "
        "would weigh more than a missed positive.",
        **said,
    )


def _band_words(view: View, with_curve: Sequence[ModelEvaluation]) -> str:
    prevalence = view.assessment.net_benefit_prevalence
    weighed = (
        t(
            "At the share of positives of the test subset, {share}.",
            share=format_percent(view.assessment.prevalence),
        )
        if prevalence is None
        else t(
            "At the stated share of positives, {share}; probabilities are as predicted.",
            share=format_percent(prevalence),
        )
    )
    if not any(one.decision_curve is not None and one.decision_curve.y_low for one in with_curve):
        return " ".join((weighed, t("No bands: too few cases of a class to resample.")))
    bands = (
        t(
            "Bands: pointwise {level} bootstrap intervals, each for one threshold, not for the whole curve. Marks: "
            "frozen thresholds.",
            level=view.level,
        )
        if len(with_curve) <= MAX_BANDS
        else t(
            "The band: pointwise {level} bootstrap intervals, each for one threshold, not for the whole curve. Marks: "
            "frozen thresholds.",
            level=view.level,
        )
    )
    return f"{weighed} {bands}"


def _per_thousand(estimate: Estimate) -> Estimate:
    def many(value: float | None) -> float | None:
        return None if value is None else PATIENTS * value

    changes = {name: many(getattr(estimate, name)) for name in ("value", "ci_low", "ci_high")}
    return estimate.model_copy(update=changes)


def _place(view: View, point: NetBenefitPoint) -> str:
    """A threshold of the table, its odds and what it is."""
    what = []
    across = view.assessment.threshold_range
    if across is not None and point.threshold in across:
        what.append(t("start of range") if point.threshold == across[0] else t("end of range"))
    if point.frozen_of:
        what.append(
            t(
                "frozen threshold of {models}",
                models=join_words(view.label(model) for model in point.frozen_of),
            )
        )
    return t(
        "{threshold} ({odds} : 1), {what}",
        threshold=_percent(point.threshold),
        odds=format_significant((1 - point.threshold) / point.threshold, digits=2),
        what=join_words(what),
    )


def _table(view: View, detail: HeadToHead) -> Table:
    notes = Notes()
    marked = {model for point in detail.net_benefit_at for model in point.frozen_of}
    beyond = [view.label(one) for one in (detail.reference, detail.candidate) if one not in marked]
    remark = t(
        "In brackets: false alarms accepted for one true positive. Avoided: negative cases spared an intervention, "
        "compared with acting on everyone, less the missed positives at that rate. Difference: {candidate} minus "
        "{reference}. Ahead: share of bootstrap samples in which {candidate} gains more. No p-value, on purpose "
        "(Vickers et al. 2023).",
        candidate=view.label(detail.candidate),
        reference=view.label(detail.reference),
    )
    if beyond:
        outside = t("Outside the range: the frozen threshold of {models}.", models=join_words(beyond))
        remark = f"{remark} {outside}"

    def cells(reference: Estimate, candidate: Estimate, difference: Estimate) -> tuple[Cell, ...]:
        return (
            notes.cell(_per_thousand(reference), digits=1),
            notes.cell(_per_thousand(candidate), digits=1),
            notes.cell(_per_thousand(difference), digits=1, signed=True),
        )

    rows: list[Row] = [
        (
            Cell(_place(view, point)),
            format_number(PATIENTS * point.treat_all, digits=1),
            *cells(point.reference, point.candidate, point.difference),
            notes.cell(point.probability_of_benefit, digits=2),
        )
        for point in detail.net_benefit_at
    ]
    rows += [
        (
            t("Avoided at {threshold}", threshold=_percent(point.threshold)),
            DASH,
            *cells(*(point.interventions_avoided[each] for each in ("reference", "candidate", "difference"))),
            DASH,
        )
        for point in detail.net_benefit_at
        if point.interventions_avoided
    ]
    heads = (
        words(t("Threshold probability"), "21.4%"),
        Column(t("Everyone"), "9.6%"),
        *(replace(one, width="19.4%") for one in view.columns((detail.reference, detail.candidate))),
        Column(t("Difference"), "23.2%"),
        Column(t("Ahead"), "7%"),
    )
    return table(
        t(
            "Net true positives, and interventions avoided, per {n:,} cases ({level} intervals)",
            n=PATIENTS,
            level=view.level,
        ),
        heads,
        rows,
        notes=notes.with_remark(remark),
    )


def is_miscalibrated(evaluation: ModelEvaluation) -> bool:
    """Whether slope or calibration-in-the-large is shown not to be ideal."""
    calibration = evaluation.calibration
    if calibration is None:
        return False
    ideals = ((calibration.slope, 1.0), (calibration.in_the_large, 0.0))
    return any(
        estimate.ci_low is not None
        and estimate.ci_high is not None
        and not estimate.ci_low <= ideal <= estimate.ci_high
        for estimate, ideal in ideals
    )


def _miscalibration_warning(view: View, evaluations: Sequence[ModelEvaluation]) -> str:
    """Warning for models whose decision curve is computed from scores that are no good probabilities."""
    names = [view.label(one.model) for one in evaluations if is_miscalibrated(one)]
    if not names:
        return ""
    return t(
        "Net benefit takes scores for probabilities, and those of {models} are miscalibrated (see "
        "above): the shape of such a curve may come from that, not from how well cases are told apart.",
        models=join_words(names),
    )
