"""What the sentences of a verdict are filled with: differences, intervals, floors and p-values in words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from medcompare.base.formatting import format_count, format_level, format_number, join_words
from medcompare.base.language import message, t
from medcompare.stats.verdict.criteria import floors_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from medcompare.config.schema import DecideConfig
    from medcompare.stats.records import Estimate, ModelEvaluation, PairedComparison

SMALLEST_P = 0.001

FIGURE_NAMES: dict[str, str] = {
    "auc": message("AUC"),
    "sensitivity": message("sensitivity"),
    "specificity": message("specificity"),
}
"""Of the figures that the rule rests on."""

NUMBERS = (
    message("one"),
    message("two"),
    message("three"),
    message("four"),
    message("five"),
    message("six"),
    message("seven"),
    message("eight"),
    message("nine"),
    message("ten"),
)


def p_text(p_value: float | None) -> str:
    """An adjusted p-value, or the largest of several, rounded up: ``Holm p at most 0.002``."""
    if p_value is None:
        return t("p not computed")
    if p_value < SMALLEST_P:
        return t("Holm p below {p:g}", p=SMALLEST_P)
    return t("Holm p at most {p:.3f}", p=math.ceil(p_value * 1000) / 1000)


def counted(n: int) -> str:
    """A small number, from one on, as a word."""
    return t(NUMBERS[n - 1]) if 0 < n <= len(NUMBERS) else format_count(n)


def difference_text(pair: PairedComparison, name: str, names: Mapping[str, str]) -> str:
    """A difference with its interval and its direction.

    Parameters
    ----------
    pair : PairedComparison
        Candidate and reference.
    name : str
        Key of ``pair.differences``.
    names : mapping
        Names for people.

    Returns
    -------
    str
        e.g. ``AUC of B minus A: −0.012, 95% interval −0.031 to +0.007``.
    """
    return t(
        "{figure} of {candidate} minus {reference}: {difference}",
        figure=t(FIGURE_NAMES[name]),
        candidate=names[pair.candidate],
        reference=names[pair.reference],
        difference=interval(pair.differences[name], signed=True),
    )


def interval(estimate: Estimate, *, signed: bool = False) -> str:
    """Value with its interval, e.g. ``0.910, 95% interval 0.871 to 0.942``, with plus signs if `signed`.

    Without a value "not computed" and why; without an interval the reason or "no interval".
    """
    if estimate.value is None:
        return t("not computed ({note})", note=estimate.note)
    value = format_number(estimate.value, signed=signed)
    if estimate.ci_low is None or estimate.ci_high is None or estimate.level is None:
        return f"{value} ({estimate.note or t('no interval')})"
    return t(
        "{value}, {level} interval {low} to {high}",
        value=value,
        level=format_level(estimate.level),
        low=format_number(estimate.ci_low, signed=signed),
        high=format_number(estimate.ci_high, signed=signed),
    )


def floors_text(rule: DecideConfig) -> str:
    """What a model must reach on its own, e.g. ``an AUC of 0.7 and a sensitivity of 0.8``."""
    templates = {
        "auc": message("an AUC of {floor:g}"),
        "sensitivity": message("a sensitivity of {floor:g}"),
        "specificity": message("a specificity of {floor:g}"),
    }
    return join_words(t(templates[figure], floor=floor) for figure, floor in floors_of(rule).items())


def floor_figures(one: ModelEvaluation, rule: DecideConfig) -> str:
    """The figures that the floors ask for, with their intervals."""
    texts = [f"{t(FIGURE_NAMES[figure])} {interval(one.decisive(figure))}" for figure in floors_of(rule)]
    return f"{one.display_name}: {', '.join(texts)}"


def units_of(one: ModelEvaluation) -> str:
    """What is counted: patients where one has several cases, else cases."""
    return t("patients") if one.clustered else t("cases")
