"""The report in another language: whole, within its boxes, and with the numbers of the English one."""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING

import pytest

from medcompare.base.language import in_language
from medcompare.report import render
from medcompare.report.pages.report import build_context
from tests.report import odd_runs

if TYPE_CHECKING:
    from medcompare.report.inputs import ReportInputs

ENGLISH = re.compile(
    r"\b(the|of|and|with|not|were|are|from|which|than|is|for|to|or|by|each|only|both|case|cases|image|images|patients"
    r"|threshold|higher|lower|wrong|right|shown|cost|share|first|every|subset)\b",
    re.IGNORECASE,
)
"""Words that no German sentence holds."""

EXEMPT = re.compile(r".* et al\. .*|case [0-9a-f]{8}|Square-and-Add|python -m flows.*")
"""Titles of publications, pseudonyms, a method known by its English name, a command."""

UNTRANSLATED = re.compile(
    r"<(style|script|code|pre|cite|template)\b.*?</\1>|<[^>]*\blang=\"en\"[^>]*>.*?</\w+>", flags=re.DOTALL
)
"""Code, settings, and what is marked as English: headlines of earlier runs."""


def german(name: str) -> ReportInputs:
    """One of the odd runs, its statistics and texts made in German."""
    with in_language("de"):
        return odd_runs.many(10) if name == "many 10" else odd_runs.RUNS[name]()


def words_of(html: str) -> list[str]:
    """Texts that a reader sees or hears, without what stays English."""
    body = UNTRANSLATED.sub(" ", html)
    heard = re.findall(r'\b(?:alt|aria-label|title|placeholder)="([^"]*)"', body)
    return [unescape(text).strip() for text in (*re.findall(r">([^<>]+)<", body), *heard) if text.strip()]


def english_in(html: str) -> list[str]:
    """Texts with English words."""
    return [text for text in words_of(html) if ENGLISH.search(EXEMPT.sub("", text))]


@pytest.mark.parametrize("name", ["ni", "never", "rare"])
def test_no_english_is_left(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Headings, sentences, tables, captions, alternatives of figures and checklists; nothing is looked up in vain."""
    inputs = german(name)
    with in_language("de"):
        html = render.render_html(build_context(inputs))

    assert '<html lang="de"' in html
    assert english_in(html) == []
    assert caplog.messages == []
