"""Section on errors: hard cases, then subgroups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medcompare.base.formatting import format_count, format_number, join_words
from medcompare.base.record import POSITIVE
from medcompare.report.blocks import (
    CaseCard,
    Cell,
    Gallery,
    Heading,
    Image,
    Paragraph,
    Section,
    code,
    picture_uri,
    table,
    words,
)
from medcompare.report.pages.saliency import map_image, saliency_blocks
from medcompare.report.pages.subgroups import subgroup_blocks

if TYPE_CHECKING:
    from medcompare.report.blocks import Block, Row, Table
    from medcompare.report.inputs import CaseScore, HardCase
    from medcompare.report.vocabulary import View

THUMBNAIL_MM = 26.0
MAX_NAMED = 3
"""More models than these are counted, not named, where a case was misclassified."""

MAX_SCORES = 5
"""Scores of one case next to each other; those of further models are in a further table."""


def error_section(view: View, number: int) -> Section | None:
    """Hard cases, false negatives first, and subgroups; None where there is neither."""
    blocks: list[Block] = [*(_hard_cases(view) if view.inputs.hard_cases else ()), *subgroup_blocks(view)]
    if not blocks:
        return None
    return Section(
        number=number,
        anchor="errors",
        title="Errors and subgroups",
        lead=f"Where the models fail matters as much as how often.{view.of_first}",
        blocks=tuple(blocks),
    )


def _is_wrong(score: CaseScore, case: HardCase) -> bool:
    return score.called_positive != (case.truth == POSITIVE)


def _error_words(view: View, case: HardCase) -> str:
    wrong = [score.model for score in case.scores if _is_wrong(score, case)]
    verb = "missed" if case.truth == POSITIVE else "false alarm"
    if len(wrong) == len(case.scores) and len(wrong) > 1:
        return f"{verb} by all models" if len(wrong) > 2 else f"{verb} by both models"
    if len(wrong) > MAX_NAMED:
        return f"{verb} by {len(wrong)} of {len(case.scores)} models"
    return f"{verb} by {join_words(view.label(model) for model in wrong)}"


KINDS = ("Missed", "False alarms", "Missed by some models only", "False alarms of some models only")


def _kind(case: HardCase) -> str:
    """What kind of error a case is, of `KINDS`: of all models that scored it, or of some."""
    by_all = all(_is_wrong(score, case) for score in case.scores)
    return KINDS[(0 if case.truth == POSITIVE else 1) + (0 if by_all else 2)]


def _hard_cases(view: View) -> list[Block]:
    cases = view.inputs.hard_cases
    total = view.inputs.n_hard_cases
    shown = f"{format_count(len(cases))} cases"
    if total is not None and total > len(cases):
        shown = f"{format_count(len(cases))} of {format_count(total)} cases"
    kinds = {title: [case for case in cases if _kind(case) == title] for title in KINDS}
    counts = [
        f"{format_count(len(found))} {title[0].lower()}{title[1:]}" for title, found in kinds.items() if found
    ]
    several = any(fact.startswith("patient ") for case in cases for fact in case.facts)
    lettered = "; cases of one patient have the same letter" if several else ""
    intro = (
        f"{shown} that at least one model misclassified: {join_words(counts)}. Each kind has its share of the places; "
        "within a kind the scores furthest on the wrong side of a threshold come first. Bars are scores from 0 to 1, "
        f"the line is the threshold. The case ids are those of the predictions table{lettered}."
    )
    blocks: list[Block] = [Heading("Hard cases"), Paragraph(intro), *saliency_blocks(view)]
    for title, found in kinds.items():
        cards = tuple(_card(view, case) for case in found if case.thumbnail_png is not None)
        if cards:
            blocks.append(Gallery(title=title, cards=cards))
    without_image = [case for case in cases if case.thumbnail_png is None]
    if without_image:
        models = list(view.styles)
        blocks += [
            _case_table(view, without_image, models[start : start + MAX_SCORES])
            for start in range(0, len(models), MAX_SCORES)
        ]
    return blocks


def _card(view: View, case: HardCase) -> CaseCard:
    truth = view.assessment.classes[case.truth]
    image = None
    if case.thumbnail_png is not None:
        alt = f"Image of case {case.case_id}, true class {truth}"
        image = Image(src=picture_uri(case.thumbnail_png), alt=alt, width_mm=THUMBNAIL_MM)
    thresholds = {one.model: one.operating_point.threshold for one in view.evaluations}
    maps = {one.model: one for one in case.maps}
    order = list(view.styles)
    scores = tuple(
        (
            view.mark(one.model),
            format_number(one.score),
            "wrong" if _is_wrong(one, case) else "right",
            tuple(f"{100 * min(1.0, max(0.0, x)):.1f}%" for x in (one.score, thresholds[one.model])),
            map_image(view, case, maps[one.model], width_mm=THUMBNAIL_MM) if one.model in maps else None,
        )
        for one in sorted(case.scores, key=lambda one: order.index(one.model))
    )
    return CaseCard(
        case_id=case.case_id, image=image, facts=(truth, *case.facts), scores=scores, mapped=bool(maps)
    )


def _case_table(view: View, cases: list[HardCase], models: list[str]) -> Table:
    rows: list[Row] = []
    for case in cases:
        by_model = {score.model: score for score in case.scores}
        scores = [by_model.get(model) for model in models]
        rows.append(
            (
                case.case_id,
                view.assessment.classes[case.truth],
                _error_words(view, case),
                *(
                    Cell("no score")
                    if one is None
                    else Cell(format_number(one.score), strong=_is_wrong(one, case))
                    for one in scores
                ),
            )
        )
    thresholds = ", ".join(
        f"{view.label(e.model)} {format_number(e.operating_point.threshold)}"
        for e in view.evaluations
        if e.model in models
    )
    caption = f"Misclassified cases (wrong scores in bold; thresholds: {thresholds})"
    heads = (code("Case", "15%"), words("True class", "17%"), words("Error", "22%"), *view.columns(models))
    return table(caption, heads, rows)
