"""Every sentence is reached by a study, reads well, and stands in the documentation."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from medcompare.stats.verdict import rule as verdict
from medcompare.stats.verdict.texts import SENTENCES
from tests.stats.examples import EXAMPLES, as_table, assessed

if TYPE_CHECKING:
    from medcompare.stats.records import Verdict
    from medcompare.stats.verdict.situation import Finding, Situation

PAGE = Path(__file__).resolve().parents[2] / "docs" / "verdicts.md"


@functools.cache
def steps_and_verdict(number: int) -> tuple[list[str], Verdict]:
    """What the rule found for the example of this number, and its verdict."""
    kinds = []
    real = verdict.first_match

    def noted(situation: Situation) -> Finding:
        finding = real(situation)
        kinds.append(finding.kind)
        return finding

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verdict, "first_match", noted)
        return kinds, assessed(EXAMPLES[number]).verdict


@pytest.mark.parametrize(
    "number", range(len(EXAMPLES)), ids=[f"{i}-{e.kind}" for i, e in enumerate(EXAMPLES)]
)
def test_study_ends_in_its_sentence(number: int) -> None:
    """The rule, run on the study, takes the step that the example is about."""
    kinds, found = steps_and_verdict(number)

    assert kinds == [EXAMPLES[number].kind]
    for text in (
        found.headline,
        found.sentence,
        *found.remarks,
        *found.caveats,
    ):
        assert "None" not in text
        assert "nan" not in text.lower().split()
        assert not re.search(r"[{}]|  |\(\)|\.\.|significant difference", text), text
        assert text[:1].isupper() or text.startswith("p ")
    for text in (found.sentence, *found.remarks, *found.caveats):
        assert text.endswith((".", "?")), text
    if re.search("no relevant difference|Prefer|Of Model", found.sentence):
        # Wherever a sentence says that models do not differ, margin and interval stand in it.
        assert "acceptable 0.03" in found.sentence
        assert "95% interval" in found.sentence
    assert len(found.headline) <= 60
    assert not re.search(r"non-inferior|superior|null hypothesis|p-value|p <|DeLong|Tango", found.sentence)


def test_every_sentence_has_an_example() -> None:
    """None is only written, none is unreachable."""
    # A pair of models that are good enough has an interval; that it is missing is a guard for hand-made records.
    assert {example.kind for example in EXAMPLES} == set(SENTENCES) - {"no_interval"}


def test_documentation_holds_every_example() -> None:
    """The table between the marks is that of ``python -m tests.stats.examples``."""
    page = PAGE.read_text(encoding="utf-8")
    stored = page.split("<!-- examples: begin -->")[1].split("<!-- examples: end -->")[0]

    verdicts = [steps_and_verdict(number)[1] for number in range(len(EXAMPLES))]
    assert as_table(verdicts).strip() == stored.strip()
