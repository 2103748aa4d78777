"""What intervals of differences show, and every pair of more than two models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from medcompare.base.formatting import (
    NOT_ESTIMABLE,
    format_p,
    join_words,
    short_labels,
)
from medcompare.base.language import message, t
from medcompare.report.blocks import (
    Notes,
    Paragraph,
    image_of,
    table,
    words,
)
from medcompare.report.figures.forest import ForestRow, draw_differences

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medcompare.report.blocks import Block, Image, Row
    from medcompare.report.vocabulary import View
    from medcompare.stats.records import Estimate, PairedComparison

MARGIN_METRICS = ("auc", "sensitivity", "specificity")
"""Metrics that the rule holds against a margin."""

OPEN, NO_INTERVAL = message("open"), message("no interval")
"""Conclusions that are none."""

MAX_FOREST_ROWS = 32
"""Rows of a forest plot that fit on a page with its caption."""


@dataclass(frozen=True, kw_only=True)
class OrientedPair:
    """A pair with the better model second, as the rule asks how much the others lose."""

    first: str
    second: str
    pair: PairedComparison
    flipped: bool

    def difference(self, key: str, *, simultaneous: bool = False) -> Estimate:
        """First minus second; of the AUC, where asked for, with the interval that allows for all pairs."""
        estimate = self.pair.differences[key]
        if simultaneous and key == "auc" and self.pair.auc_simultaneous is not None:
            estimate = self.pair.auc_simultaneous
        return negated(estimate) if self.flipped else estimate


def negated(estimate: Estimate) -> Estimate:
    """A difference the other way round."""

    def minus(value: float | None) -> float | None:
        return None if value is None else -value

    return estimate.model_copy(
        update={
            "value": minus(estimate.value),
            "ci_low": minus(estimate.ci_high),
            "ci_high": minus(estimate.ci_low),
        }
    )


def oriented(pair: PairedComparison, *, second: str | None = None) -> OrientedPair:
    """`pair` with `second`, or else the model of the higher AUC, as what is subtracted."""
    if second is None:
        value = pair.differences["auc"].value
        second = pair.candidate if value is not None and value > 0 else pair.reference
    flipped = second == pair.candidate
    first = pair.reference if flipped else pair.candidate
    return OrientedPair(first=first, second=second, pair=pair, flipped=flipped)


def conclusion(low: float | None, high: float | None, margin: float) -> str:
    """What the interval of a benefit (above 0 is better) shows, held against the largest acceptable loss.

    The words of non-inferiority and equivalence trials (Piaggio et al. 2012, JAMA 308:2594): "not worse" means not
    by the margin or more. Independent of the verdict, which asks several questions at once.

    Examples
    --------
    >>> conclusion(-0.01, 0.05, 0.03)
    'not worse'
    """
    if low is None or high is None:
        return t(NO_INTERVAL)
    if low > 0:
        return t("better") if high >= margin else t("slightly better")
    if low > -margin:
        if high < 0:
            return t("slightly worse")
        return t("equivalent") if high < margin else t("not worse")
    if high < -margin:
        return t("worse")
    return t("worse, extent open") if high < 0 else t(OPEN)


def not_drawn(rows: Sequence[ForestRow]) -> str:
    """What a forest plot leaves out, and why: one clause per reason; empty where every row has a value."""
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if row.estimate.value is None:
            reasons.setdefault(row.estimate.note or t(NOT_ESTIMABLE), []).append(row.label)
    clauses = [f"{join_words(labels)} ({reason})" for reason, labels in reasons.items()]
    return t("Not drawn: {clauses}.", clauses="; ".join(clauses)) if clauses else ""


def forest_of(
    view: View,
    rows: Sequence[ForestRow],
    *,
    reference: str,
    candidate: str,
    caption: str = "",
    simultaneous: bool = False,
) -> Image | Paragraph:
    """Forest plot of the rows that have a value; the others, or all where none has, in words."""
    shown, left_out = [row for row in rows if row.estimate.value is not None], not_drawn(rows)
    if not shown:
        nothing = t("There is no difference to draw.")
        return Paragraph(f"{nothing} {left_out}", "note")
    drawing = draw_differences(
        shown,
        reference=reference,
        candidate=candidate,
        n=view.assessment.n,
        n_positive=view.assessment.n_positive,
        level=view.assessment.level,
        simultaneous=simultaneous,
    )
    return image_of(drawing, caption=" ".join(part for part in (caption, left_out) if part))


def forest_of_pairs(
    view: View, pairs: Sequence[OrientedPair], *, against: str | None = None, caption: str = ""
) -> Image | Paragraph:
    """Forest plot of the AUC differences of pairs, all of them `against` one model where it is given.

    The intervals allow for the number of pairs where they were computed so.
    """
    labels = dict(zip(view.styles, short_labels([s.name for s in view.styles.values()], 20), strict=True))
    rows = [
        ForestRow(
            label=view.label(pair.first) if against else f"{labels[pair.first]} \u2212 {labels[pair.second]}",
            estimate=(estimate := pair.difference("auc", simultaneous=True)),
            margin=(margin := view.inputs.rule.margin_auc),
            conclusion=conclusion(estimate.ci_low, estimate.ci_high, margin),
        )
        for pair in pairs
    ]
    return forest_of(
        view,
        rows,
        reference=view.label(against) if against else t("model named second"),
        candidate=t("the other model") if against else t("model named first"),
        caption=caption,
        simultaneous=is_simultaneous(view),
    )


def is_simultaneous(view: View) -> bool:
    """Whether intervals that allow for the number of pairs were computed."""
    comparisons = view.assessment.comparisons
    return bool(comparisons) and all(pair.auc_simultaneous is not None for pair in comparisons)


def interval_words(view: View) -> str:
    """What the intervals of several pairs are."""
    level, count = view.level, len(view.assessment.comparisons)
    if is_simultaneous(view):
        return t(
            "simultaneous {level} intervals: Bonferroni over all {count} pairs", level=level, count=count
        )
    return t("{level} intervals of each pair alone, not adjusted for {count} pairs", level=level, count=count)


def zone_words(view: View) -> str:
    """What the shaded zone of two models means, which depends on whether one is cheaper."""
    if both_ways(view):
        return t(
            "Shaded: equivalent, within the margin either way (dashed), as neither model is known to be "
            "cheaper. An interval wholly inside shows it."
        )
    return t("Shaded: acceptable, no worse than the margin (dashed). An interval wholly inside shows it.")


def both_ways(view: View) -> bool:
    """Whether a gain must stay within the margin like a loss: where the rule has no cheaper model."""
    return view.assessment.verdict.cheaper is None


def all_pairs(view: View) -> list[Block]:
    """Forest plot and table of every pair."""
    notes = Notes()
    pairs = [oriented(pair) for pair in view.assessment.comparisons]
    rows: list[Row] = []
    for pair in pairs:
        auc = pair.difference("auc", simultaneous=True)
        rows.append(
            (
                f"{view.label(pair.first)} \u2212 {view.label(pair.second)}",
                notes.cell(auc, signed=True),
                format_p(auc.p_value),
                format_p(pair.pair.p_values_adjusted.get("auc")),
                notes.cell(pair.difference("sensitivity"), signed=True),
                notes.cell(pair.difference("specificity"), signed=True),
            )
        )
    caption = t(
        "Difference of AUC for every pair, the lower minus the higher one ({intervals}). Shaded: a "
        "loss within the margin (dashed).",
        intervals=interval_words(view),
    )
    blocks: list[Block] = []
    for start in range(0, len(pairs), MAX_FOREST_ROWS):
        part = pairs[start : start + MAX_FOREST_ROWS]
        last = start + MAX_FOREST_ROWS >= len(pairs)
        blocks.append(forest_of_pairs(view, part, caption=caption if last else ""))
    title = t(
        "Every pair, the lower AUC minus the higher one (AUC: {intervals}; p adjusted after Holm; "
        "sensitivity and specificity: intervals of each pair alone)",
        intervals=interval_words(view),
    )
    heads = (words(t("Pair"), "28%"), "AUC", "p", t("p adjusted"), t("Sensitivity"), t("Specificity"))
    return [*blocks, table(title, heads, rows, notes=notes)]
