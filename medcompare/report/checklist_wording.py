"""What a reporting checklist is made of: items in our own words, and what can answer them.

The published item texts are not reproduced (CLAIM is copyright of the RSNA); numbers and
topics are facts and are kept. An item names the *facts* that the records of a run may
hold (`medcompare.report.checklist_facts`), what no software can know, and the shared
*topics* by which a user answers the same question once for all checklists.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ChecklistKey = Literal["claim", "tripod_ai", "stard_ai"]


@dataclass(frozen=True, kw_only=True)
class ItemWording:
    """One numbered item, in our own words."""

    number: str
    section: str
    text: str
    facts: tuple[str, ...] = ()
    """Names of facts; all of them are needed for the software's answer to be whole."""
    to_add: str = ""
    """What no record holds: with it, the software's answer is only a part."""
    topics: tuple[str, ...] = ()
    """Shared answers that together supply `to_add`, or the item where there are no facts."""


@dataclass(frozen=True, kw_only=True)
class ChecklistWording:
    """A published checklist: where it stands, and its items in order."""

    key: ChecklistKey
    name: str
    reference: str
    items: tuple[ItemWording, ...]


def item(number: str, text: str, *, facts: str = "", to_add: str = "", topics: str = "") -> ItemWording:
    """An item whose section is not known yet; `facts` and `topics` are names parted by spaces."""
    return ItemWording(
        number=number,
        section="",
        text=text,
        facts=tuple(facts.split()),
        to_add=to_add,
        topics=tuple(topics.split()),
    )


def sections(*parts: tuple[str, tuple[ItemWording, ...]]) -> tuple[ItemWording, ...]:
    """All items of `parts`, each with the name of its section."""
    return tuple(
        ItemWording(
            number=row.number,
            section=name,
            text=row.text,
            facts=row.facts,
            to_add=row.to_add,
            topics=row.topics,
        )
        for name, rows in parts
        for row in rows
    )
