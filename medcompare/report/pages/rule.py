"""The decision rule as a flow chart with the path that was taken, from the step in the record of the verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from medcompare.base.formatting import join_words
from medcompare.base.language import localised, t
from medcompare.report.inputs import PAIR

if TYPE_CHECKING:
    from medcompare.report.vocabulary import View


@dataclass(frozen=True, kw_only=True)
class Branch:
    """Where a step of the rule leads."""

    step: str
    text: str
    taken: bool


@dataclass(frozen=True, kw_only=True)
class RuleStep:
    """One question of the rule, asked from top to bottom."""

    number: str
    question: str
    state: Literal["passed", "decided", "later"]
    """Passed: the step did not decide."""
    branches: tuple[Branch, ...]


def rule_steps(view: View) -> tuple[RuleStep, ...]:
    """The questions with this run's margins and floors; no step above the one that decided has decided."""
    rule, taken = view.inputs.rule, view.assessment.verdict.step
    named = (
        (t("AUC"), rule.auc_floor),
        (t("sensitivity"), rule.sensitivity_floor),
        (t("specificity"), rule.specificity_floor),
    )
    floors = join_words(
        t("{figure} above {floor:g}", figure=name, floor=floor) for name, floor in named if floor is not None
    )
    margin = localised(f"{rule.margin_auc:g}")
    two = len(view.assessment.models) <= PAIR
    same_cost = two and view.assessment.verdict.cheaper is None
    questions = {
        "0": t("Is the comparison valid, and was every network evaluated as it was trained?"),
        "1": t("Are there at least {min_units:,} of each class?", min_units=rule.min_units),
        "2": t("Is one model shown to be good enough ({floors}), and another not ruled out?", floors=floors),
        "3": t("Is the cheaper model worse by more than the margin of AUC ({margin})?", margin=margin),
        "4": t("Is it excluded that the cheaper model loses {margin} of AUC or more?", margin=margin)
        if two
        else t("Which models are shown to lose less than {margin} of AUC against the best?", margin=margin),
        "5": t("Is one model better beyond chance?"),
        "6": t("Otherwise:"),
    }
    ends = {
        "0": t("no: no verdict"),
        "1": t("no: not enough data"),
        "2": t("no: none is good enough, not enough data, or the only one that is"),
        "3": t("yes: use the dearer model"),
        "4a": t("thresholds hold too: the cheaper one, or choose by cost"),
        "4b": t("thresholds not comparable, unless net benefit decides"),
        "4c": t("it misses more: use the dearer one"),
        "4d": t("thresholds not shown to hold: not enough data"),
        "5": t("yes: use that one"),
        "6": t("not enough data, with the size needed"),
    }
    if not two:
        ends["4a"] = t("with their thresholds: the cheapest, or choose by cost")
    if same_cost:
        questions["4"] = t(
            "Are the models shown to differ by less than {margin} of AUC, either way?", margin=margin
        )
        ends["4a"] = t("thresholds hold too: choose by cost")
    if same_cost or not two:
        del questions["3"], ends["3"]
    numbers = list(questions)
    at = numbers.index(taken[0])
    return tuple(
        RuleStep(
            number=number,
            question=question,
            state="passed" if i < at else "decided" if i == at else "later",
            branches=tuple(
                Branch(step=step, text=text, taken=step == taken)
                for step, text in ends.items()
                if step[0] == number
            ),
        )
        for i, (number, question) in enumerate(questions.items())
    )
