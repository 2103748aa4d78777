"""Section on reporting checklists, and all of their items as a table beside the report."""

from __future__ import annotations

import csv
import io
from collections import Counter
from typing import TYPE_CHECKING

from medcompare.base.formatting import format_count
from medcompare.base.language import message, t, tn
from medcompare.data.spelling import without_formula
from medcompare.report.blocks import Bullets, Heading, Section
from medcompare.report.checklists.items import TOPICS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from medcompare.report.blocks import Block
    from medcompare.report.inputs import ChecklistTable
    from medcompare.report.vocabulary import View

CHECKLISTS_NAME = "checklists.csv"
STATUS = {
    "filled by software": message("filled by software"),
    "filled by user": message("filled by user"),
    "missing": message("missing"),
    "not applicable": message("not applicable"),
}


def checklist_section(view: View, number: int) -> Section | None:
    """Reporting checklists: what a person still has to add, what several of them ask for once."""
    checklists = view.inputs.checklists
    if not checklists:
        return None
    letters = [t(one.name)[0] for one in checklists]
    if len(set(letters)) < len(letters):
        letters = [t(one.name) for one in checklists]
    shared, own = _gaps(dict(zip(letters, checklists, strict=True)))
    tallies = tuple(map(_tally, letters, checklists))
    blocks: list[Block] = [Bullets(tallies, in_columns=True)]
    for heading, gaps in (
        (t("Answers that serve every item that asks for them ([shared] of the answers file)"), shared),
        (t("Answers to single items"), own),
    ):
        if gaps:
            texts = tuple(f"{text} ({', '.join(items)})" for text, items in gaps.items())
            blocks += [Heading(heading), Bullets(texts, in_columns=True)]
    return Section(
        number=number,
        anchor="checklists",
        title=t("Reporting checklists"),
        lead=t(
            "What a person still has to add. All items with their answers are in {file}, in the run folder and "
            "inside the PDF.",
            file=CHECKLISTS_NAME,
        ),
        blocks=tuple(blocks),
    )


def _tally(letter: str, checklist: ChecklistTable) -> str:
    counts = Counter(item.status for item in checklist.items)
    tally = ", ".join(f"{format_count(count)} {t(STATUS[status])}" for status, count in counts.items())
    items = tn("1 item", "{n:,} items", len(checklist.items))
    name = t(checklist.name) if letter == t(checklist.name) else f"{letter}: {t(checklist.name)}"
    return f"{name}, {items}: {tally}. {checklist.reference}".strip()


def _gaps(checklists: Mapping[str, ChecklistTable]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """What is still to be written by a person, by shared answer and by single item, with the items that ask for it.

    Items are named by the key of their checklist and their number.
    """
    shared: dict[str, list[str]] = {}
    own: dict[str, list[str]] = {}
    for letter, one in checklists.items():
        for item in one.items:
            if item.status != "missing":
                continue
            reference = f"{letter}\u00a0{item.number}"
            for topic in item.open_topics:
                shared.setdefault(f"{topic}: {t(TOPICS[topic])}", []).append(reference)
            if not item.open_topics:
                own.setdefault(item.text.rstrip("."), []).append(reference)
    return shared, own


def checklists_csv(checklists: Sequence[ChecklistTable]) -> bytes:
    """Every item of every checklist with its answer, to be filled in further: UTF-8 with the mark Excel needs."""
    target = io.StringIO()
    writer = csv.writer(target, lineterminator="\n")
    heads = (t("checklist"), t("item"), t("section"), t("what to report"), t("status"), t("answer"))
    writer.writerow(heads)
    for one in checklists:
        for item in one.items:
            said = (item.section, item.text, t(STATUS[item.status]))
            texts = (t(one.name), item.number, *said, item.answer)
            writer.writerow([without_formula(text) for text in texts])
    return target.getvalue().encode("utf-8-sig")
