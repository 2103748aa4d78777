"""The language of texts: gaps, counts, numbers, and that every catalogue is whole."""

from __future__ import annotations

import importlib.util
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog

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
