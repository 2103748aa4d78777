"""Reporting checklists filled in from the records of a run and the user's answers.

An item is *filled by software* only where the records answer it completely. Where they hold
a part, the part is printed ("In part: ..."), what is missing is named, and the item stays
*missing* until the user adds it: the count of filled items never flatters. Where they hold
nothing, the answer is empty. Nothing is ever invented.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from medcompare.base.language import message, t
from medcompare.report.checklists import (  # they register their facts
    facts_data,  # noqa: F401
    facts_results,  # noqa: F401
    facts_training,  # noqa: F401
)
from medcompare.report.checklists.answers import ChecklistAnswers, is_not_applicable
from medcompare.report.checklists.facts import FACTS, Answer, RunRecords
from medcompare.report.checklists.items import CHECKLISTS, TOPICS
from medcompare.report.inputs import ChecklistItem, ChecklistTable

if TYPE_CHECKING:
    from medcompare.report.checklists.items import Checklist, Item

LIVE_EVALUATION = message(
    "Not applicable: offline evaluation. A live evaluation would next need: use by its intended users in the intended "
    "place, what they did with its advice, errors and harm observed, and changes made on the way."
)


def _decide_ai() -> ChecklistTable:
    """The one line on DECIDE-AI."""
    item = ChecklistItem(
        number=t("all"),
        section=t("Live evaluation"),
        text=t("Early evaluation of an AI system while it supports real decisions about patients."),
        status="not applicable",
        answer=t(LIVE_EVALUATION),
    )
    return ChecklistTable(
        name=message("DECIDE-AI"), reference="Vasey B et al. Nat Med 2022;28:924-933.", items=(item,)
    )


def fill_checklists(run: RunRecords, answers: ChecklistAnswers | None = None) -> tuple[ChecklistTable, ...]:
    """Fill in CLAIM 2024, TRIPOD+AI and STARD-AI for one run.

    Parameters
    ----------
    run : RunRecords
        What the software knows; items on records that do not exist are missing.
    answers : ChecklistAnswers or None, default=None
        What the user supplied, see `medcompare.report.checklists.answers.read_answers`.

    Returns
    -------
    tuple of ChecklistTable
        The three checklists, every item once and in order, then one line on DECIDE-AI.
    """
    known = {name: fact(run) for name, (fact, _) in FACTS.items()}
    return (*(_filled(one, known, answers or ChecklistAnswers()) for one in CHECKLISTS), _decide_ai())


def _filled(
    checklist: Checklist, known: dict[str, Answer | None], answers: ChecklistAnswers
) -> ChecklistTable:
    """A checklist; what an earlier item of it says is referred to, not repeated."""
    own: dict[str, str] = getattr(answers, checklist.key)
    printed: dict[str, str] = {}
    in_part: set[str] = set()
    items = []
    for row in checklist.items:
        facts = {name: known[name] for name in row.facts}
        software = " ".join(
            _referred(name, printed[name], in_part=printed[name] in in_part)
            if name in printed and found.applies
            else found.text
            for name, found in facts.items()
            if found is not None
        )
        status, answer = _answered(row, facts, software, own.get(row.number, ""), answers.shared)
        open_topics = [topic for topic in row.topics if topic not in answers.shared]
        items.append(
            ChecklistItem(
                number=row.number,
                section=t(row.section),
                text=t(row.text),
                status=status,
                answer=answer,
                open_topics=tuple(open_topics) if status == "missing" else (),
            )
        )
        if status == "missing" and answer:
            in_part.add(row.number)
        if software.rstrip(".") in answer:
            for name, found in facts.items():
                if found is not None:
                    printed.setdefault(name, row.number)
    return ChecklistTable(name=checklist.name, reference=t(checklist.reference), items=tuple(items))


def _referred(name: str, number: str, *, in_part: bool) -> str:
    """A fact that an earlier item of the checklist holds."""
    what = t(FACTS[name][1])
    if in_part:
        return t("See item {number}, answered in part, for {what}.", number=number, what=what)
    return t("See item {number} for {what}.", number=number, what=what)


def _answered(
    row: Item, facts: dict[str, Answer | None], software: str, own: str, shared_answers: dict[str, str]
) -> tuple[Literal["filled by software", "filled by user", "missing", "not applicable"], str]:
    """Status and answer of one item: by software (in the words of `software`), the user, both or nobody."""
    found = [answer for answer in facts.values() if answer is not None]
    applies = any(answer.applies for answer in found)
    missing = [t(FACTS[name][1]) for name, answer in facts.items() if answer is None]
    missing += [answer.missing for answer in found if answer.missing]
    shared = {topic: shared_answers[topic] for topic in row.topics if topic in shared_answers}
    if row.to_add and not shared:
        missing.append(t(row.to_add))
    else:
        missing += [t(TOPICS[topic]) for topic in row.topics if topic not in shared]

    if own:
        complete = bool(found) and not missing and all(answer.applies for answer in found)
        if is_not_applicable(own) and not complete:
            return "not applicable", _sentence(own)
        return "filled by software" if complete else "filled by user", _with_user(software, own)
    if not software and not shared:
        return "missing", ""
    from_user = " ".join(map(_sentence, shared.values()))
    if missing:
        parts = f"{software} {from_user}".strip().rstrip(".")
        to_add = "; ".join(dict.fromkeys(missing))
        return "missing", t("In part: {parts}. Still to be added: {missing}.", parts=parts, missing=to_add)
    if shared:
        excluded = not software and all(map(is_not_applicable, shared.values()))
        return "not applicable" if excluded else "filled by user", _with_user(software, from_user)
    return "filled by software" if applies else "not applicable", software


def _with_user(software: str, user: str) -> str:
    """The user's answer behind what the software knows."""
    return f"{software} {t('Added by the user: {text}', text=user)}" if software else user


def _sentence(text: str) -> str:
    """Text that starts with a capital letter and ends with a full stop."""
    if is_not_applicable(text):
        _, _, reason = text.partition(":")
        text = t("Not applicable: {reason}", reason=reason.strip())
    ended = text if text.endswith((".", "!", "?")) else f"{text}."
    return ended[:1].upper() + ended[1:]
