"""The language of reports and mails: sentences are written in English in the code, others come from a catalogue.

The catalogue is gettext's, one file for each language: ``medcompare/locale/<language>/LC_MESSAGES/medcompare.po``,
filled in by people, and the ``.mo`` that `gettext` reads, made of it by ``make catalogue``. A message is a whole
sentence wherever that is possible, with named gaps in place of values, as other languages order words otherwise.

Errors, logs and the terminal stay English: they are read by who runs medcompare, and searched for by their words.
"""

from __future__ import annotations

import gettext
import hashlib
import logging
import string
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Iterator

Language = Literal["en", "de"]
LANGUAGES: tuple[Language, ...] = get_args(Language)

DOMAIN = "medcompare"
LOCALES = Path(__file__).resolve().parents[1] / "locale"

_SEPARATORS = {"de": str.maketrans(",.", ".,")}
"""Thousands and decimals as a language writes them (Unicode CLDR, number symbols), from the English ones."""

_spoken: ContextVar[Language] = ContextVar("language", default="en")
_untranslated: ContextVar[set[str]] = ContextVar("untranslated")
"""Texts that the catalogue was asked for in vain."""

logger = logging.getLogger(__name__)


@contextmanager
def in_language(language: Language) -> Iterator[None]:
    """Make all texts of this thread, and of tasks called from it, in `language`.

    What its catalogue lacks stays English; at the end the log says so.
    """
    lacking: set[str] = set()
    tokens = _spoken.set(language), _untranslated.set(lacking)
    try:
        yield
    finally:
        _spoken.reset(tokens[0])
        _untranslated.reset(tokens[1])
        if lacking:
            logger.warning(
                "%d texts are not in the catalogue for '%s' and stay English; at level DEBUG the log names them",
                len(lacking),
                language,
            )
            for text in sorted(lacking):
                logger.debug("not in the catalogue for '%s': %s", language, text)


def spoken() -> Language:
    """The language that texts are made in."""
    return _spoken.get()


def texts_digest() -> str:
    """What stored texts depend on: the language, and its catalogue. The English ones are part of the code."""
    language = spoken()
    return language if language == "en" else f"{language} {_catalogue(language)[1]}"


class _Lacking(gettext.NullTranslations):
    """What is asked where a catalogue lacks a text: it stays English, and is kept for the log."""

    def gettext(self, message: str) -> str:
        _untranslated.get().add(message)
        return message

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        _untranslated.get().add(msgid1)
        return msgid1 if n == 1 else msgid2


@cache
def _catalogue(language: Language) -> tuple[gettext.NullTranslations, str]:
    """Translations of a language, and the digest of their file."""
    path = LOCALES / language / "LC_MESSAGES" / f"{DOMAIN}.mo"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    found = gettext.translation(DOMAIN, LOCALES, [language])
    found.add_fallback(_Lacking())
    return found, digest


class _Localised(string.Formatter):
    """Fills gaps; numbers are written as the language writes them."""

    def format_field(self, value: Any, format_spec: str) -> str:  # noqa: ANN401 - as its base class
        text = str(super().format_field(value, format_spec))
        return localised(text) if isinstance(value, int | float) else text


_FORMATTER = _Localised()


def t(message: str, /, **values: object) -> str:
    """A message in the language spoken, its gaps filled.

    Parameters
    ----------
    message : str
        English text with named gaps as of `str.format`. Written out where it is called, never put together:
        that is where the catalogue's messages are collected. Texts that stand elsewhere are marked by `message`.
    **values : object
        What fills the gaps. Numbers are written as the language writes them.

    Returns
    -------
    str

    Examples
    --------
    >>> t("{share:.1f}% of {n:,} images", share=12.34, n=1200)
    '12.3% of 1,200 images'
    """
    language = spoken()
    if language == "en" or not message:  # to gettext, no text is the head of its catalogue
        return message.format(**values) if values else message
    said = _catalogue(language)[0].gettext(message)
    return _FORMATTER.vformat(said, (), values) if values else said


def tn(one: str, several: str, /, n: int, **values: object) -> str:
    """A message about a count, which is the gap ``n``: the singular, or the plural of the language.

    Examples
    --------
    >>> tn("{n} image", "{n:,} images", 1), tn("{n} image", "{n:,} images", 1000)
    ('1 image', '1,000 images')
    """
    language = spoken()
    if language == "en":
        return (one if n == 1 else several).format(n=n, **values)
    said = _catalogue(language)[0].ngettext(one, several, n)
    return _FORMATTER.vformat(said, (), {"n": n, **values})


def message(text: str) -> str:
    """Mark a text for the catalogue that is a constant, or stored, and goes through `t` where it is shown."""
    return text


def localised(number: str) -> str:
    """An English number, such as "1,234.5", as the language writes it."""
    separators = _SEPARATORS.get(spoken())
    return number if separators is None else number.translate(separators)
