"""The language of texts: gaps, counts, numbers, and that every catalogue is whole."""

from __future__ import annotations

import gettext
import importlib.util
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog

from medcompare.base import language
from medcompare.base.formatting import (
    format_count,
    format_interval,
    format_number,
    format_p,
    format_percent,
    format_significant,
    format_time,
    join_words,
)
from medcompare.base.language import in_language, localised, spoken, t, texts_digest, tn

ROOT = Path(__file__).resolve().parents[2]


def test_english_needs_no_catalogue() -> None:
    """English texts stand in the code: gaps are filled as `str.format` fills them."""
    assert t("no gaps, {left} alone") == "no gaps, {left} alone"
    assert t("{share:.1f}% of {n:,}", share=12.345, n=1200) == "12.3% of 1,200"
    assert tn("{n} image of {model}", "{n} images of {model}", 1, model="A") == "1 image of A"
    assert tn("{n} image of {model}", "{n} images of {model}", 0, model="A") == "0 images of A"
    assert localised("1,234.5") == "1,234.5"
    assert texts_digest() == "en"


def test_language_ends_with_its_block_and_goes_along_with_the_context() -> None:
    """A language is that of a block and of what is called from it, not of other threads."""
    with in_language("de"), ThreadPoolExecutor(1) as other:
        assert other.submit(spoken).result() == "en"
        assert other.submit(copy_context().run, spoken).result() == "de"
        assert texts_digest() != "en"
    with pytest.raises(ValueError, match="inside"), in_language("de"):
        raise ValueError("inside")  # noqa: EM101 - any error
    assert spoken() == "en"


def test_texts_that_no_catalogue_has_are_named_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Data may bring a text that nobody translated: one warning when the language ends, the texts at level DEBUG."""
    with caplog.at_level("DEBUG", logger=language.__name__):
        with in_language("de"), ThreadPoolExecutor(1) as other:
            assert [t(text) for text in ("of a plug-in", "AUC", "of a plug-in", "Patients")] == [
                "of a plug-in", "AUC", "of a plug-in", "Patienten",
            ]  # fmt: skip
            assert tn("{n} plug-in", "{n} plug-ins", 2) == "2 plug-ins"
            assert other.submit(copy_context().run, t, "{n:.1f} elsewhere", n=0.5).result() == "0,5 elsewhere"
            assert caplog.messages == []
        warning, *named = caplog.messages
        with in_language("de"):
            t("Patients")
        t("in English nothing is looked up")

    assert warning.startswith("3 texts are not in the catalogue for 'de' and stay English")
    assert [text.partition(": ")[2] for text in named] == ["of a plug-in", "{n:.1f} elsewhere", "{n} plug-in"]
    assert [one.levelname for one in caplog.records] == ["WARNING", "DEBUG", "DEBUG", "DEBUG"]


def _catalogue_tool() -> object:
    spec = importlib.util.spec_from_file_location("catalogue", ROOT / "docs" / "catalogue.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_faults_of_a_catalogue_are_named() -> None:
    """Missing translations and other gaps than the English has are faults; a singular may say its number in words."""
    tool = _catalogue_tool()
    catalog = Catalog(locale="de")
    catalog.add("Sensitivity of {model}", "Sensitivität von {network}")
    catalog.add("Specificity")
    catalog.add(("{n} image", "{n} images"), ("ein Bild", "{n} Bilder"))
    assert tool.faults(catalog) == [
        "other gaps than ['model']: 'Sensitivity of {model}'",
        "no translation: 'Specificity'",
    ]


def test_german_numbers_and_words() -> None:
    """Separators, percent signs, months and joining words are those of German."""
    with in_language("de"):
        assert localised("1,234.5") == "1.234,5"
        assert format_number(-1234.5678) == "−1.234,568"
        assert format_count(1200) == "1.200"
        assert format_percent(0.1234) == "12,3\u00a0%"
        assert format_interval(0.871, 0.942) == "0,871 bis 0,942"
        assert format_interval(None, 0.942) == "keine untere Grenze bis 0,942"
        assert format_p(0.0001) == "<\u202f0,001"
        assert format_significant(1234.5) == "1.230"
        assert format_time("2026-03-02T21:04:00+00:00") == "2. März 2026, 21:04 UTC"
        assert join_words(["a", "b", "c"]) == "a, b und c"
    assert format_number(-1234.5678) == "−1,234.568"


@pytest.mark.parametrize("code", [one for one in language.LANGUAGES if one != "en"])
def test_catalogue_is_whole_and_compiled(code: str) -> None:
    """Every message of the code is translated, with the same gaps, and what is read is what was filled in."""
    tool = _catalogue_tool()
    path = tool.po_of(code)
    catalog = tool.brought_up(path, tool.extracted())
    assert tool.faults(catalog) == []
    po, _ = tool.written(catalog)
    assert path.read_text(encoding="utf-8") == po.decode(), "run `make catalogue`"
    said = gettext.translation(language.DOMAIN, language.LOCALES, [code])
    for one in catalog:
        if isinstance(one.id, str) and one.id:
            assert said.gettext(one.id) == one.string, "run `make catalogue`"
        elif one.id:
            assert said.ngettext(*one.id, 2) == one.string[1], "run `make catalogue`"
