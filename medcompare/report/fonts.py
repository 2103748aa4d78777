"""Which fonts draw the words of a report: DejaVu, and for other scripts what the machine has.

DejaVu travels with matplotlib and covers Latin, Greek, Cyrillic, Arabic and Hebrew. For a
character it lacks, a font of the machine is looked for and embedded. Where there is none,
`require_fonts` refuses the words before any work is done, naming the package to install:
an empty box in place of a name is lost data. WeasyPrint would find a font by itself, but not say that there
is none, and a browser elsewhere may have none; fontconfig is asked for neither, as macOS and Windows lack it.
"""

from __future__ import annotations

import base64
import functools
import io
import logging
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
from fontTools import subset
from fontTools.ttLib import TTFont, TTLibError
from matplotlib import font_manager

from medcompare.base.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from matplotlib.figure import Figure

FONTS = (
    ("Report Sans", "normal", "DejaVuSans.ttf"),
    ("Report Sans", "bold", "DejaVuSans-Bold.ttf"),
    ("Report Mono", "normal", "DejaVuSansMono.ttf"),
)
"""(family, weight, file) of DejaVu, a free font that matplotlib carries along."""

FALLBACK_FAMILY = "Report Fallback"
MAX_FALLBACKS = 2
"""Fonts beside DejaVu that a report may need; the style sheet names as many."""

SVG_FONTS = "'Report Sans','Report Fallback 1','Report Fallback 2','DejaVu Sans',Verdana,sans-serif"
"""Of figures; Verdana is as wide as DejaVu, for pages that do not embed the report's fonts.

WeasyPrint reads the names only without blanks between them."""

ALWAYS_IN_FONT = "".join(map(chr, range(0x20, 0x7F))) + (
    "\n\u00a0\u00b0\u00b1\u00b2\u00b5\u00b7\u00c4\u00d6\u00d7\u00dc\u00df\u00e4\u00e9\u00f6\u00fc\u2009\u200e"
    "\u2013\u2014\u2018\u2019\u201a\u201c\u201d\u201e\u2022\u2026\u202f"
    "\u2190\u2191\u2192\u2193\u2196\u2212\u2260\u2264\u2265\u25aa\u25b8\u25c2\u25e6\u03b1\u03ba\u03c1"
)
"""Characters kept in every embedded font: page numbers and list marks never fall back, and as most reports have
no others, their fonts can be cut out ahead."""

SPACES = " \u00a0\u2009\u202f"
"""A space is drawn with the font of the word before it, so every font needs its own."""

RIGHT_TO_LEFT = re.compile(
    r"[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]+(?:[ \u00a0-]+[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]+)*"
)
FIRST_STRONG_ISOLATE, END_OF_ISOLATE = "\u2068", "\u2069"

FEATURES = (
    "kern", "ccmp", "locl", "mark", "mkmk", "rlig", "curs",
    "isol", "init", "medi", "med2", "fina", "fin2", "fin3",
    "nukt", "akhn", "rphf", "blwf", "half", "pstf", "vatu", "cjct", "pres", "abvs", "blws", "psts", "haln", "abvm",
    "blwm", "ljmo", "vjmo", "tjmo",
)  # fmt: skip
"""Layout rules kept in embedded fonts: without those of the second line Arabic letters stand unjoined.

Optional ligatures are left out: a reader who copies a number or a name gets its letters."""

CHARACTERS_SHOWN, CODES_SHOWN = 12, 3

EASTERN = {"CJK", "HIRAGANA", "KATAKANA", "HANGUL", "IDEOGRAPHIC", "FULLWIDTH", "HALFWIDTH", "BOPOMOFO"}
"""First words of the names of characters that the Noto fonts keep in their largest package."""

SCRIPTS = {
    "Arabic": "\u0634\u0628\u0643\u0629",
    "Armenian": "\u0570\u0561\u0575",
    "Bengali": "\u09ac\u09be\u0982",
    "Chinese": "\u6076\u6027\u80bf\u7624",
    "Cyrillic": "\u0440\u0430\u043a",
    "Devanagari": "\u0939\u093f\u0928",
    "Ethiopic": "\u12a0\u121b\u122d",
    "Georgian": "\u10e5\u10d0\u10e0",
    "Greek": "\u03ba\u03b1\u03c1",
    "Gujarati": "\u0a97\u0ac1\u0a9c",
    "Gurmukhi": "\u0a17\u0a41\u0a30",
    "Hebrew": "\u05e9\u05dc\u05d5",
    "Japanese": "\u3072\u30ab\u764c",
    "Kannada": "\u0c95\u0ca8\u0ccd",
    "Khmer": "\u1781\u17d2\u1798",
    "Korean": "\ud55c\uad6d\uc5b4",
    "Lao": "\u0ea5\u0eb2\u0ea7",
    "Malayalam": "\u0d2e\u0d32\u0d2f",
    "Myanmar": "\u1019\u103c\u1014",
    "Sinhala": "\u0dc3\u0dd2\u0d82",
    "Tamil": "\u0ba4\u0bae\u0bbf",
    "Telugu": "\u0c24\u0c46\u0c32",
    "Thai": "\u0e44\u0e17\u0e22",
    "Tibetan": "\u0f56\u0f7c\u0f51",
}
"""Some letters of each writing system in wide use, to ask whether this machine can draw it."""

logging.getLogger("fontTools").setLevel(logging.WARNING)
# Fallback fonts have one weight: that bold is missing there is no news for the console.
logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)


@dataclass(frozen=True, kw_only=True)
class FallbackFont:
    """A font of the machine, and the characters it is needed for."""

    path: Path
    characters: str


def _dejavu(filename: str) -> Path:
    return Path(mpl.get_data_path()) / "fonts" / "ttf" / filename


@functools.lru_cache(maxsize=1024)
def _covered(path: Path) -> frozenset[int]:
    """Code points a font file has outlines for; of a collection, those of its first font."""
    try:
        with TTFont(path, fontNumber=0, lazy=True) as font:
            if "glyf" not in font and "CFF " not in font:  # bitmaps only: neither PDF nor SVG can use them
                return frozenset()
            return frozenset(font.getBestCmap() or {})
    except (TTLibError, OSError, KeyError, AssertionError):
        return frozenset()


def _is_drawn(character: str) -> bool:
    """Whether a character needs ink of its own: controls, joiners and variation selectors do not."""
    if unicodedata.category(character) in {"Cc", "Cf", "Zs", "Zl", "Zp"}:
        return False
    return not 0xFE00 <= ord(character) <= 0xFE0F


@functools.lru_cache(maxsize=256)
def _search(missing: str) -> tuple[FallbackFont, ...]:
    """Fonts of the machine for characters that DejaVu lacks, the one that serves most of them first."""
    left = {ord(character) for character in missing}
    files = sorted({Path(name) for name in font_manager.findSystemFonts()}, key=_preference)
    found: list[FallbackFont] = []
    while left and len(found) < MAX_FALLBACKS:
        best = max(files, key=lambda path: len(left & _covered(path)), default=None)
        served = left & _covered(best) if best is not None else set()
        if best is None or not served:
            break
        found.append(FallbackFont(path=best, characters="".join(map(chr, sorted(served)))))
        left -= served
    return tuple(found)


def _preference(path: Path) -> tuple[bool, bool, str]:
    """Upright text fonts before others: of fonts that serve alike, the first is taken."""
    name = path.stem.lower()
    odd = any(word in name for word in ("italic", "oblique", "bold", "mono", "black", "thin", "serif"))
    return odd, "noto" not in name, str(path)


def _lacking(text: str) -> str:
    """Characters of `text` that DejaVu Sans does not have, sorted."""
    base = _covered(_dejavu("DejaVuSans.ttf"))
    return "".join(sorted({c for c in set(text) if ord(c) not in base and _is_drawn(c)}))


def fallback_fonts(text: str) -> tuple[FallbackFont, ...]:
    """Fonts of this machine that draw what DejaVu cannot.

    Parameters
    ----------
    text : str
        All words of a document or figure.

    Returns
    -------
    tuple of FallbackFont
        At most `MAX_FALLBACKS`; empty where DejaVu draws everything.
    """
    missing = _lacking(text)
    return _search(missing) if missing else ()


def undrawable(text: str) -> str:
    """Characters of `text` that no font on this machine can draw, sorted; empty where there is none."""
    missing = _lacking(text)
    served = {c for font in (_search(missing) if missing else ()) for c in font.characters}
    return "".join(c for c in missing if c not in served)


def scripts_without_font() -> dict[str, str]:
    """Writing systems in which names would be refused on this machine, and the Debian package for each.

    Returns
    -------
    dict of str to str
        In the order of `SCRIPTS`; empty where this machine has a font for each of them.
    """
    # One by one: a document gets no more than `MAX_FALLBACKS` fonts, this machine may have more.
    return {script: package_for(letters) for script, letters in SCRIPTS.items() if undrawable(letters)}


def package_for(characters: str) -> str:
    """The Debian package with a font for `characters`."""
    eastern = any(
        unicodedata.name(c, "").split(maxsplit=1)[:1] == [word] for c in characters for word in EASTERN
    )
    return "fonts-noto-cjk" if eastern else "fonts-noto-core"


def require_fonts(named: Iterable[tuple[str, str]]) -> None:
    """Refuse words that this machine has no font for.

    Parameters
    ----------
    named : iterable of (str, str)
        What the words are, such as "class name", and the words themselves.

    Raises
    ------
    ConfigError
        Naming the first such words, the characters, and the package to install.
    """
    for what, text in named:
        characters = undrawable(text)
        if characters:
            codes = ", ".join(f"U+{ord(c):04X}" for c in characters[:CODES_SHOWN])
            more = ", \u2026" if len(characters) > CODES_SHOWN else ""
            msg = (
                f"{what} \u201c{text}\u201d: no font on this machine has {characters[:CHARACTERS_SHOWN]} "
                f"({codes}{more}), so the report would show empty boxes. Install a font that has them (Debian, Ubuntu: "
                f"apt-get install {package_for(characters)}) and start again, or use other names."
            )
            raise ConfigError(msg)


def words_of_report(
    *,
    title: str,
    organisation: str,
    classes: Iterable[str],
    models: Iterable[str] = (),
    levels: Iterable[str] = (),
) -> list[tuple[str, str]]:
    """What a report will have to print of its owner's words, as `require_fonts` takes it.

    Parameters
    ----------
    title, organisation : str
        Of the settings.
    classes, models, levels : iterable of str
        Names of classes, models and subgroup levels.

    Returns
    -------
    list of (str, str)
        What the words are, and the words.
    """
    named = [("report.title", title), ("report.organisation", organisation)]
    named += [("class name", name) for name in classes]
    named += [("model name", name) for name in models]
    return named + [("subgroup level", name) for name in levels]


def spelled_out(text: str) -> str:
    """`text` with every character that cannot be drawn replaced by its code: no name becomes a row of boxes.

    Examples
    --------
    >>> spelled_out("site A")
    'site A'
    """
    lost = undrawable(text)
    return text.translate({ord(c): f"[U+{ord(c):04X}]" for c in lost}) if lost else text


def isolated(text: str) -> str:
    """`text` with every run of Arabic or Hebrew isolated, so that numbers beside a name keep their places.

    Without that, "110 NAME (45.8%)" is shown as "(% 45.8) NAME 110" (Unicode annex 9).

    Examples
    --------
    >>> isolated("110 malignant (45.8%)")
    '110 malignant (45.8%)'
    """
    return RIGHT_TO_LEFT.sub(rf"{FIRST_STRONG_ISOLATE}\g<0>{END_OF_ISOLATE}", text)


@functools.lru_cache(maxsize=32)
def _font_data(path: Path, characters: str) -> str:
    """A font reduced to `characters`, as base64 of a WOFF file."""
    options = subset.Options(
        flavor="woff", notdef_outline=True, recalc_timestamp=False, layout_features=list(FEATURES)
    )
    options.drop_tables += ["FFTM"]
    font = TTFont(path, fontNumber=0, recalcTimestamp=False)
    subsetter = subset.Subsetter(options)
    subsetter.populate(text=characters)
    subsetter.subset(font)
    font.flavor = "woff"
    target = io.BytesIO()
    font.save(target)
    return base64.b64encode(target.getvalue()).decode("ascii")


def font_faces(text: str = "") -> str:
    """Style rules that embed every font `text` needs, each reduced to the characters used.

    Parameters
    ----------
    text : str, default=""
        The finished document. Without one, fonts are cut out ahead for documents with no characters but the usual.

    Returns
    -------
    str
        ``@font-face`` rules with data URIs.
    """
    characters = "".join(sorted(set(text) | set(ALWAYS_IN_FONT)))
    rows = [(family, weight, _dejavu(filename), characters) for family, weight, filename in FONTS]
    rows += [
        (f"{FALLBACK_FAMILY} {number}", "normal", font.path, font.characters + SPACES)
        for number, font in enumerate(fallback_fonts(text), start=1)
    ]
    return "\n".join(
        f'@font-face {{ font-family: "{family}"; font-weight: {weight}; font-style: normal; '
        f"src: url(data:font/woff;base64,{_font_data(path, used)}) format('woff'); }}"
        for family, weight, path, used in rows
    )


def dress(figure: Figure) -> bool:
    """Measure every text of a figure in a font that has its characters.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        Drawn on, not yet written.

    Returns
    -------
    bool
        Whether a text must be written as outlines: WeasyPrint sets the text of a drawing letter by
        letter, from left to right, which is wrong for Arabic, Hebrew and letters with marks of their own.
    """
    from matplotlib.text import Text  # noqa: PLC0415 - only a figure that exists needs it

    for axes in figure.axes:
        axes.get_xticklabels()  # makes the labels of the ticks, which else appear while writing
        axes.get_yticklabels()
    artists = list(figure.findobj(Text))
    as_outlines = any(_joined(character) for artist in artists for character in artist.get_text())
    for artist in artists:
        text = artist.get_text()
        if _lacking(text):
            artist.set_fontfamily(["DejaVu Sans", *(_family(font.path) for font in fallback_fonts(text))])
        if as_outlines and spelled_out(isolated(text)) != text:
            artist.set_text(spelled_out(isolated(text)))
    return as_outlines


def _joined(character: str) -> bool:
    """Whether a character is written from right to left, or on another one."""
    return unicodedata.bidirectional(character) in {"R", "AL"} or unicodedata.category(character)[0] == "M"


@functools.lru_cache(maxsize=64)
def _family(path: Path) -> str:
    """Name under which matplotlib knows a font file."""
    known = next((entry for entry in font_manager.fontManager.ttflist if Path(entry.fname) == path), None)
    if known is None:
        font_manager.fontManager.addfont(path)
        known = next(entry for entry in font_manager.fontManager.ttflist if Path(entry.fname) == path)
    return known.name
