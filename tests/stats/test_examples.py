"""Every sentence is reached by a study, reads well, and stands in the documentation."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from medcompare.stats.verdict import rule as verdict
from medcompare.stats.verdict.examples import EXAMPLES, Example, as_text, assessed, main
from medcompare.stats.verdict.texts import SENTENCES

if TYPE_CHECKING:
    from medcompare.stats.verdict.situation import Finding, Situation

PAGE = Path(__file__).resolve().parents[2] / "docs" / "verdicts.md"


@pytest.mark.parametrize("example", EXAMPLES, ids=[f"{i}-{e.kind}" for i, e in enumerate(EXAMPLES)])
def test_study_ends_in_its_sentence(example: Example, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule, run on the study, takes the step that the example is about."""
    kinds = []
    real = verdict.first_match

    def noted(situation: Situation) -> Finding:
        finding = real(situation)
        kinds.append(finding.kind)
        return finding

    monkeypatch.setattr(verdict, "first_match", noted)

    found = assessed(example).verdict

    assert kinds == [example.kind]
    for text in (
        found.headline,
        found.sentence,
        *found.reasons,
        *found.caveats,
        *(one.text for one in found.lines),
    ):
        assert "None" not in text
        assert "nan" not in text.lower().split()
        assert not re.search(r"[{}]|  |\(\)|\.\.|significant difference", text), text
        assert text[:1].isupper() or text.startswith("p ")
    for text in (found.sentence, *found.reasons, *found.caveats):
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


def test_command_prints_what_the_documentation_holds(capsys: pytest.CaptureFixture[str]) -> None:
    """The table between the marks is that of ``python -m medcompare.stats.verdict.examples --markdown``."""
    page = PAGE.read_text(encoding="utf-8")
    stored = page.split("<!-- examples: begin -->")[1].split("<!-- examples: end -->")[0]

    assert main(["--markdown"]) == 0

    assert capsys.readouterr().out.strip() == stored.strip()


def test_command_refuses_what_it_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 2 and the usage."""
    assert main(["--html"]) == 2
    assert "usage" in capsys.readouterr().err


def test_text_for_reading_aloud() -> None:
    """Headline, sentence, reasons and caveats of one study."""
    text = as_text(next(example for example in EXAMPLES if example.kind == "cannot_tell"))

    assert text.startswith("Not enough data to decide   [step 6: cannot_tell]")
    assert "If you had to decide today" in text
    assert "non_cancer cases in the test subset would show with a probability of 80%" in text
