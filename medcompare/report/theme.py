"""How a report looks as its owner's: a small TOML file, checked before any work."""

from __future__ import annotations

import io
import re
import tomllib
import warnings
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from PIL import Image
from pydantic import Field, ValidationError

from medcompare.base.errors import ConfigError
from medcompare.base.language import message, t
from medcompare.base.record import Record
from medcompare.data.spelling import words
from medcompare.report.blocks import picture_uri, svg_uri

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from medcompare.report.inputs import ReportInputs

ACCENT, PAPER = "#26466a", "#f2f5f8"
"""The colour of the style sheet that a theme replaces, and the darkest paper that text in it stands on."""
ENOUGH = 4.5
"""Contrast of text with what is behind it: WCAG 2.2, success criterion 1.4.3."""
MOST_BYTES, MOST_PX = 200_000, 2_000

SVG = "{http://www.w3.org/2000/svg}"
SHAPES = words(
    "svg g defs title desc path rect circle ellipse line polyline polygon linearGradient radialGradient stop "
    "clipPath"
)
ATTRIBUTES = words(
    "id class version viewBox preserveAspectRatio width height x y x1 x2 y1 y2 cx cy r rx ry fx fy d points transform "
    "offset gradientUnits gradientTransform spreadMethod clipPathUnits clip-path clip-rule fill fill-opacity fill-rule "
    "stroke stroke-width stroke-opacity stroke-linecap stroke-linejoin stroke-miterlimit stroke-dasharray "
    "stroke-dashoffset opacity stop-color stop-opacity display style"
)
"""What a logo may hold: shapes and colours. A script, a style sheet, text in a font and a link are refused."""

ALSO_WORDS = message(
    "positive negative positives negatives case cases image images patient patients test training validation true "
    "false model models class classes all none yes no data"
)
"""Names of classes that sentences of the report use as words: where one stands for the class cannot be told."""
SHORTEST_NAME = 3
KEPT = words(
    "settings provenance evidence theme hard_cases title organisation run_name files display_names display_name model "
    "models method level column key rule field value"
)
"""Fields of the records in which a word equal to a class's name is something else."""


SIGN_OFF = (message("Approved by"), message("Role"), message("Date"))


class Theme(Record):
    """Logo, institution, colour, names of classes and lines to sign, as the report prints them."""

    logo: str = Field(default="", description="Data URI.")
    organisation: str = Field(default="", max_length=120)
    colour: str = Field(
        default=ACCENT, pattern=r"^#[0-9a-fA-F]{6}$", description="Six hexadecimal digits: #26466a."
    )
    sign_off: tuple[str, ...] = Field(default=SIGN_OFF, min_length=1, max_length=6)
    classes: dict[str, str] = Field(default={}, description="Name in the data to name in the report.")

    @property
    def blanks(self) -> tuple[str, ...]:
        """Words of the lines to sign: as given, or in the language spoken."""
        return tuple(map(t, SIGN_OFF)) if self.sign_off == SIGN_OFF else self.sign_off

    @property
    def words(self) -> list[tuple[str, str]]:
        """What the report prints of it, as `medcompare.report.fonts.require_fonts` takes it."""
        named = [("organisation", self.organisation), *(("sign_off", text) for text in self.sign_off)]
        return named + [("class name", text) for text in self.classes.values()]


def read_theme(path: Path | None, classes: Iterable[str] | None = None) -> Theme:
    """Read and check a theme; the default one without a file.

    Parameters
    ----------
    path : Path or None
        TOML file with ``logo`` (PNG or SVG, a path relative to the file), ``organisation``, ``colour``,
        ``sign_off`` and the table ``[classes]``.
    classes : iterable of str, optional
        Names of the classes in the data, where they are known.

    Raises
    ------
    ConfigError
        If a file cannot be read, a key is unknown or a value is not as asked for: the sentence names the key.
    """
    if path is None:
        return Theme()
    where = f"report.theme: {path}"
    try:
        content: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        if "logo" in content:
            content["logo"] = _logo(path.parent / str(content["logo"]))
        theme = Theme.model_validate(content)
    except OSError as error:
        msg = f"report.theme: cannot read {error.filename or path}: {error.strerror}"
        raise ConfigError(msg) from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        known = f"; known: {', '.join(Theme.model_fields)}" if first["type"] == "extra_forbidden" else ""
        msg = f"{where}, {key}: {first['msg']}{known}"
        raise ConfigError(msg) from error
    except ValueError as error:
        msg = f"{where}: {error}"
        raise ConfigError(msg) from error
    for problem in (_of_colour(theme.colour), _of_words(theme), _of_classes(theme.classes, classes)):
        if problem:
            msg = f"{where}, {problem}"
            raise ConfigError(msg)
    return theme


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours ``#rrggbb``, 1 to 21 (WCAG 2.2, relative luminance)."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = (x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts)  # noqa: PLR2004 - of WCAG
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _of_colour(colour: str) -> str:
    ratio = contrast(colour, PAPER)
    if ratio >= ENOUGH:
        return ""
    return f"colour: {colour} has a contrast of {ratio:.1f} with the paper, text needs {ENOUGH}: choose a darker one"


def _of_words(theme: Theme) -> str:
    for key, texts in (("sign_off", theme.sign_off), ("classes", tuple(theme.classes.values()))):
        for text in texts:
            if not text.strip() or len(text) > 60:
                return f"{key}: {text!r} has {len(text)} characters, 1 to 60 are printed"
    if len(set(theme.classes.values())) < len(theme.classes):
        return "classes: two classes have the same name"
    return ""


def _of_classes(named: dict[str, str], known: Iterable[str] | None) -> str:
    there = None if known is None else tuple(known)
    for name in named:
        if there is not None and name not in there:
            return f"classes: the data have no class {name!r}; they have {', '.join(map(repr, there))}"
        if name.casefold() in words(t(ALSO_WORDS)) or sum(c.isalpha() for c in name) < SHORTEST_NAME:
            return (
                f"classes: {name!r} cannot be told from a word or number in sentences of the report: give the class "
                "its name in the data (the folder, or the label of the table)"
            )
    return ""


def _logo(path: Path) -> str:
    """A logo as a data URI.

    Raises
    ------
    ValueError
        If it is too large or holds what no logo needs.
    """
    n_bytes = path.stat().st_size
    if n_bytes > MOST_BYTES:
        msg = f"logo: {path.name} has {n_bytes:,} bytes, {MOST_BYTES:,} are read: save it smaller"
        raise ValueError(msg)
    content = path.read_bytes()
    return _from_png(content, path.name) if content.startswith(b"\x89PNG") else _from_svg(content, path.name)


def _from_png(content: bytes, name: str) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(content), formats=["PNG"])
            if max(image.size) > MOST_PX:
                msg = f"logo: {name} has {image.width} x {image.height} pixels, at most {MOST_PX} a side are read"
                raise ValueError(msg)
            # Written anew: of the file only its pixels come in.
            out = io.BytesIO()
            image.convert("RGBA").save(out, format="PNG")
    except (OSError, SyntaxError, Image.DecompressionBombWarning) as error:
        msg = f"logo: {name} is no readable PNG file"
        raise ValueError(msg) from error
    return picture_uri(out.getvalue())


def _from_svg(content: bytes, name: str) -> str:
    remedy = "save it as plain SVG with shapes only, or as PNG"
    if b"<!DOCTYPE" in content.upper() or b"<!ENTITY" in content.upper():
        msg = f"logo: {name} declares a document type, which can bring in other files: {remedy}"
        raise ValueError(msg)
    try:
        root = ET.fromstring(content)  # noqa: S314 - without a document type there are no entities
    except ET.ParseError as error:
        msg = f"logo: {name} is neither a PNG nor an SVG file"
        raise ValueError(msg) from error
    found = next(_not_of_a_logo(root), None)
    if root.tag != f"{SVG}svg" or found:
        msg = f"logo: {name} holds {found or f'<{root.tag}>'}: {remedy}"
        raise ValueError(msg)
    ET.register_namespace("", SVG[1:-1])
    return svg_uri(ET.tostring(root, encoding="unicode"))


def _not_of_a_logo(element: ET.Element) -> Iterator[str]:
    """What an SVG holds besides shapes; remarks of drawing programs, which draw nothing, are taken out."""
    for child in list(element):
        if not str(child.tag).startswith(SVG) or child.tag == f"{SVG}metadata":
            element.remove(child)
    tag = element.tag.removeprefix(SVG)
    if tag not in SHAPES:
        yield f"<{tag}>"
    for attribute, value in list(element.attrib.items()):
        if attribute.startswith("{") and not attribute.endswith("}href"):
            del element.attrib[attribute]
        elif attribute not in ATTRIBUTES or re.search(
            r"url\((?!\s*['\"]?#)|@|\\|javascript:|/\*", value, re.IGNORECASE
        ):
            yield f"the attribute {attribute.rpartition('}')[2]} of <{tag}>"
    for child in element:
        yield from _not_of_a_logo(child)


def themed(inputs: ReportInputs) -> ReportInputs:
    """The inputs with the theme's names of classes, in every field and sentence; `results.json` is made without it."""
    names = inputs.theme.classes
    if not names:
        return inputs
    either = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    # Not what follows an option of a command: that has to stay what the data call it.
    found_in = re.compile(rf"(?<![\w=/-])(?<!--positive )({either})(?![\w/-])")

    def swapped(text: str) -> str:
        return names.get(text) or (found_in.sub(lambda found: names[found[1]], text) if " " in text else text)

    changed: ReportInputs = _with_words(inputs, swapped)
    return changed


def _with_words(value: Any, swapped: Callable[[str], str]) -> Any:  # noqa: ANN401 - a field of any type
    if isinstance(value, str):
        return swapped(value)
    if isinstance(value, Record):
        fields = {name for name in type(value).model_fields if name not in KEPT}
        return value.model_copy(update={name: _with_words(getattr(value, name), swapped) for name in fields})
    if isinstance(value, tuple):
        return tuple(_with_words(one, swapped) for one in value)
    if isinstance(value, dict):
        return {key: _with_words(one, swapped) for key, one in value.items()}
    return value
