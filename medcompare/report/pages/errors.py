"""Section on errors: hard cases, then subgroups."""

from __future__ import annotations

from string import ascii_uppercase
from typing import TYPE_CHECKING

from medcompare.base.formatting import format_number, join_words
from medcompare.base.language import message, t
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
        title=t("Errors and subgroups"),
        lead=t("Where the models fail matters as much as how often.") + view.of_first,
        blocks=tuple(blocks),
    )


def _is_wrong(score: CaseScore, case: HardCase) -> bool:
    return score.called_positive != (case.truth == POSITIVE)


def _error_words(view: View, case: HardCase) -> str:
    wrong = [score.model for score in case.scores if _is_wrong(score, case)]
    n_wrong, n_all = len(wrong), len(case.scores)
    by_all, by_both, by_some, by_named = ERRORS[0 if case.truth == POSITIVE else 1]
    if n_wrong == n_all and n_wrong > 1:
        return t(by_all) if n_wrong > 2 else t(by_both)
    if n_wrong > MAX_NAMED:
        return t(by_some, n=n_wrong, n_all=n_all)
    return t(by_named, models=join_words(view.label(model) for model in wrong))


ERRORS = (
    (
        message("missed by all models"),
        message("missed by both models"),
        message("missed by {n} of {n_all} models"),
        message("missed by {models}"),
    ),
    (
        message("false alarm by all models"),
        message("false alarm by both models"),
        message("false alarm by {n} of {n_all} models"),
        message("false alarm by {models}"),
    ),
)
"""What a missed case and a false alarm are said to be."""

KINDS = {
    message("Missed"): message("missed: {n:,}"),
    message("False alarms"): message("false alarms: {n:,}"),
    message("Missed by some models only"): message("missed by some models only: {n:,}"),
    message("False alarms of some models only"): message("false alarms of some models only: {n:,}"),
}
"""Title of each kind of error, and how many they are."""


def _kind(case: HardCase) -> str:
    """What kind of error a case is, of `KINDS`: of all models that scored it, or of some."""
    by_all = all(_is_wrong(score, case) for score in case.scores)
    return list(KINDS)[(0 if case.truth == POSITIVE else 1) + (0 if by_all else 2)]


def _hard_cases(view: View) -> list[Block]:
    cases = view.inputs.hard_cases
    total = view.inputs.n_hard_cases
    kinds = {title: [case for case in cases if _kind(case) == title] for title in KINDS}
    counts = ", ".join(t(KINDS[title], n=len(found)) for title, found in kinds.items() if found)
    if total is not None and total > len(cases):
        shown = t(
            "Of {n_all:,} cases that at least one model misclassified, shown: {n:,} ({kinds}).",
            n=len(cases),
            n_all=total,
            kinds=counts,
        )
    else:
        shown = t("Cases that at least one model misclassified: {n:,} ({kinds}).", n=len(cases), kinds=counts)
    order = t(
        "Each kind has its share of the places; within a kind the scores furthest on the wrong side of a threshold "
        "come first. Bars are scores from 0 to 1, the line is the threshold."
    )
    patients = {t("patient {letter}", letter=letter) for letter in ascii_uppercase}
    if any(patients.intersection(case.facts) for case in cases):
        ids = t("The case ids are those of the predictions table; cases of one patient have the same letter.")
    else:
        ids = t("The case ids are those of the predictions table.")
    intro = f"{shown} {order} {ids}"
    columns = _columns(view)
    if any(fact.startswith(each) for each in columns for case in cases for fact in case.facts):
        below = t(
            "Below each id: {columns}.", columns=join_words(each.removesuffix(": ") for each in columns)
        )
        intro = f"{intro} {below}"
    blocks: list[Block] = [Heading(t("Hard cases")), Paragraph(intro), *saliency_blocks(view)]
    shown_cards = (
        (t(title), tuple(_card(view, case) for case in found if case.thumbnail_png is not None))
        for title, found in kinds.items()
    )
    if drawn := tuple((title, cards) for title, cards in shown_cards if cards):
        blocks.append(Gallery(kinds=drawn))
    without_image = [case for case in cases if case.thumbnail_png is None]
    if without_image:
        models = list(view.styles)
        blocks += [
            _case_table(view, without_image, models[start : start + MAX_SCORES])
            for start in range(0, len(models), MAX_SCORES)
        ]
    return blocks


def _columns(view: View) -> list[str]:
    """What comes before the level of each column of subgroups in the facts of a case."""
    return list(dict.fromkeys(f"{one.column}: " for e in view.evaluations for one in e.subgroups))


def _card(view: View, case: HardCase) -> CaseCard:
    """Below its kind, which says the true class; the text above names the columns, so that levels are enough."""
    truth = view.assessment.classes[case.truth]
    image = None
    if case.thumbnail_png is not None:
        alt = t("Image of case {case_id}, true class {truth}", case_id=case.case_id, truth=truth)
        image = Image(src=picture_uri(case.thumbnail_png), alt=alt, width_mm=THUMBNAIL_MM)
    thresholds = {one.model: one.operating_point.threshold for one in view.evaluations}
    maps = {one.model: one for one in case.maps}
    order = list(view.styles)
    scores = tuple(
        (
            view.mark(one.model),
            format_number(one.score),
            message("wrong") if _is_wrong(one, case) else message("right"),
            tuple(f"{100 * min(1.0, max(0.0, x)):.1f}%" for x in (one.score, thresholds[one.model])),
            map_image(view, case, maps[one.model], width_mm=THUMBNAIL_MM) if one.model in maps else None,
        )
        for one in sorted(case.scores, key=lambda one: order.index(one.model))
    )
    columns = _columns(view)
    facts = []
    for fact in case.facts:
        begun = next((each for each in columns if fact.startswith(each)), "")
        facts.append(fact.removeprefix(begun) or fact)
    return CaseCard(case_id=case.case_id, image=image, facts=tuple(facts), scores=scores, mapped=bool(maps))


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
                    Cell(t("no score"))
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
    caption = t("Misclassified cases (wrong scores in bold; thresholds: {thresholds})", thresholds=thresholds)
    heads = (
        code(t("Case"), "15%"),
        words(t("True class"), "17%"),
        words(t("Error"), "22%"),
        *view.columns(models),
    )
    return table(caption, heads, rows)
