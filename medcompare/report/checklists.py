"""Reporting checklists filled in from the records of a run and the user's answers.

An item is *filled by software* only where the records answer it wholly. Where they hold a
part, the part is printed ("In part: ..."), what is lacking is named, and the item stays
*missing* until the user adds it: the count of filled items never flatters. Where they
hold nothing, the answer is empty. Nothing is ever invented.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from medcompare.records import Record
from medcompare.report.checklist_answers import (
    CHECKLISTS,
    TOPICS,
    ChecklistAnswers,
    answers_template,
    is_not_applicable,
    read_answers,
)
from medcompare.report.checklist_facts_data import DATA_FACTS
from medcompare.report.checklist_facts_results import RESULT_FACTS
from medcompare.report.checklist_run import Known, RunRecords
from medcompare.report.inputs import ChecklistItem, ChecklistTable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from medcompare.data.records import Characteristic, DatasetManifest, DatasetSplit
    from medcompare.provenance import Provenance
    from medcompare.report.checklist_wording import ChecklistWording, ItemWording
    from medcompare.report.inputs import SettingRow
    from medcompare.stats.records import Assessment
    from medcompare.training_records import TrainedModel

__all__ = [
    "ChecklistAnswers",
    "ChecklistSummary",
    "answers_template",
    "fill_checklists",
    "read_answers",
    "summary",
]

Status = Literal["filled by software", "filled by user", "missing", "not applicable"]

FACTS = DATA_FACTS | RESULT_FACTS
IN_PART = "In part: "
DECIDE_AI = ChecklistTable(
    name="DECIDE-AI",
    reference="Vasey B et al. Nat Med 2022;28:924-933.",
    items=(
        ChecklistItem(
            number="all",
            section="Live evaluation",
            text="Early evaluation of an AI system while it supports real decisions about patients.",
            status="not applicable",
            answer=(
                "Not applicable: offline evaluation. A live evaluation would next need: use by its "
                "intended users in "
                "the intended place, what they did with its advice, errors and harm observed, and changes "
                "made on the way."
            ),
        ),
    ),
)


class ChecklistSummary(Record):
    """How far one checklist is filled in."""

    name: str
    n_items: int
    filled_by_software: int
    filled_by_user: int
    missing: int
    missing_in_part: int
    """Of the missing ones, those the software answered in part."""
    not_applicable: int


def fill_checklists(
    *,
    assessment: Assessment,
    manifest: DatasetManifest | None,
    split: DatasetSplit | None,
    trained: tuple[TrainedModel, ...],
    provenance: Provenance,
    settings: Iterable[SettingRow] = (),
    n_earlier_looks: int = 0,
    characteristics: tuple[Characteristic, ...] = (),
    answers: ChecklistAnswers | None = None,
) -> tuple[ChecklistTable, ...]:
    """Fill in CLAIM 2024, TRIPOD+AI and STARD-AI for one run.

    Parameters
    ----------
    assessment : Assessment
        All statistics.
    manifest, split : DatasetManifest, DatasetSplit or None
        None where predictions were supplied and no image was seen.
    trained : tuple of TrainedModel
        Empty where the models were trained elsewhere: items on training are then missing.
    provenance : Provenance
        Code, versions and machine of the run.
    settings : iterable of SettingRow, default=()
        The configuration as it was used; optional details are taken from it.
    n_earlier_looks : int, default=0
        Earlier runs that evaluated the same test cases.
    characteristics : tuple of Characteristic, default=()
        Further columns of the data, as the report tabulates them.
    answers : ChecklistAnswers or None, default=None
        What the user supplied, see `read_answers`.

    Returns
    -------
    tuple of ChecklistTable
        The three checklists, every item once and in order, then one line on DECIDE-AI.
    """
    run = RunRecords(
        assessment=assessment,
        manifest=manifest,
        split=split,
        characteristics=characteristics,
        trained=trained,
        provenance=provenance,
        settings={row.field: row.value for row in settings},
        n_earlier_looks=n_earlier_looks,
    )
    answers = answers or ChecklistAnswers()
    known = {name: fact(run) for name, (fact, _) in FACTS.items()}
    tables = tuple(
        ChecklistTable(
            name=checklist.name,
            reference=checklist.reference,
            items=_all_filled(checklist, known, answers),
        )
        for checklist in CHECKLISTS
    )
    return (*tables, DECIDE_AI)


def summary(table: ChecklistTable) -> ChecklistSummary:
    """Count the items of `table` by status."""
    statuses = [row.status for row in table.items]
    return ChecklistSummary(
        name=table.name,
        n_items=len(statuses),
        filled_by_software=statuses.count("filled by software"),
        filled_by_user=statuses.count("filled by user"),
        missing=statuses.count("missing"),
        missing_in_part=sum(
            row.status == "missing" and row.answer.startswith(IN_PART) for row in table.items
        ),
        not_applicable=statuses.count("not applicable"),
    )


def _all_filled(
    checklist: ChecklistWording, known: dict[str, Known | None], answers: ChecklistAnswers
) -> tuple[ChecklistItem, ...]:
    """All items; what an earlier item of the same checklist says is pointed to, not repeated."""
    printed: dict[str, str] = {}
    parts: set[str] = set()
    items = []
    for row in checklist.items:
        facts = [(name, known[name]) for name in row.facts]
        software = " ".join(
            f"See item {printed[name]}{', answered in part,' if printed[name] in parts else ''} for {FACTS[name][1]}."
            if name in printed and fact.applies
            else fact.text
            for name, fact in facts
            if fact is not None
        )
        items.append(_filled(checklist, row, facts, software, answers))
        if items[-1].answer.startswith(IN_PART):
            parts.add(row.number)
        if software.rstrip(".") in items[-1].answer:
            for name, fact in facts:
                if fact is not None:
                    printed.setdefault(name, row.number)
    return tuple(items)


def _filled(
    checklist: ChecklistWording,
    row: ItemWording,
    facts: list[tuple[str, Known | None]],
    software: str,
    answers: ChecklistAnswers,
) -> ChecklistItem:
    """One item, answered by software (in the words of `software`), user, both or nobody."""
    found = [fact for _, fact in facts if fact is not None]
    unknown = [FACTS[name][1] for name, fact in facts if fact is None]
    gaps = list(dict.fromkeys([*unknown, *(fact.lacking for fact in found if fact.lacking)]))
    own = answers.of(checklist, row.number)
    shared = {topic: answers.shared[topic] for topic in row.topics if topic in answers.shared}
    topics_open = [topic for topic in row.topics if topic not in shared]
    if row.to_add and not shared:
        gaps.append(row.to_add)
    else:
        gaps += [TOPICS[topic] for topic in topics_open]

    status: Status
    if own:
        whole = bool(found) and not gaps and all(fact.applies for fact in found)
        if is_not_applicable(own) and not whole:
            status, answer = "not applicable", _sentence(own)
        else:
            status, answer = "filled by software" if whole else "filled by user", _with_user(software, own)
    elif not software and not shared:
        status, answer = "missing", ""
    elif gaps:
        parts = " ".join([software, *map(_sentence, shared.values())]).strip()
        status, answer = "missing", f"{IN_PART}{parts.rstrip('.')}. Still to be added: {'; '.join(gaps)}."
    elif shared:
        aside = not software and all(is_not_applicable(text) for text in shared.values())
        status = "not applicable" if aside else "filled by user"
        answer = _with_user(software, " ".join(_sentence(text) for text in shared.values()))
    elif not any(fact.applies for fact in found):
        status, answer = "not applicable", software
    else:
        status, answer = "filled by software", software
    return ChecklistItem(number=row.number, section=row.section, text=row.text, status=status, answer=answer)


def _with_user(software: str, user: str) -> str:
    """The user's answer behind what the software knows."""
    return f"{software} Added by the user: {user}" if software else user


def _sentence(text: str) -> str:
    """Text that starts with a capital letter and ends with a full stop."""
    ended = text if text.endswith((".", "!", "?")) else f"{text}."
    return ended[:1].upper() + ended[1:]
