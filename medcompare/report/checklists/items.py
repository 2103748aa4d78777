"""Items and topics of the checklists, read from the TOML files beside this module.

The published item texts are not reproduced (CLAIM is copyright of the RSNA): the wording is
ours, numbers and subjects are kept.
"""

from __future__ import annotations

import tomllib
from importlib import resources
from typing import Any

from medcompare.base.record import Record


class Item(Record):
    """One numbered item, in our own words."""

    number: str
    section: str
    text: str
    facts: tuple[str, ...] = ()
    """Names of facts, see `facts`; all of them are needed for the software's answer to be complete."""
    to_add: str = ""
    """What no record holds: with it, the software's answer is only a part."""
    topics: tuple[str, ...] = ()
    """Shared answers that together supply `to_add`, or the item where there are no facts."""


class Checklist(Record):
    """A published checklist with its items in order."""

    key: str
    name: str
    reference: str
    items: tuple[Item, ...]


def _read(name: str) -> dict[str, Any]:
    file = resources.files("medcompare.report.checklists") / f"{name}.toml"
    return tomllib.loads(file.read_text(encoding="utf-8"))


def _checklist(key: str) -> Checklist:
    content = _read(key)
    items = [Item(section=part["name"], **item) for part in content.pop("sections") for item in part["items"]]
    return Checklist(key=key, items=tuple(items), **content)


CHECKLISTS = tuple(_checklist(key) for key in ("claim", "tripod_ai", "stard_ai"))
TOPICS: dict[str, str] = _read("topics")
"""Shared answers: given once, they serve every item that asks for them."""
