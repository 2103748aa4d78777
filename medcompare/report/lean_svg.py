"""Matplotlib's SVG, rewritten so that it looks the same and is quicker to print.

Matplotlib draws each letter as a reference to an outline, inside groups that only carry a name.
WeasyPrint walks every one of these elements in Python, which took a third of the time of a
report. Here a text becomes one path, named groups make way for what they hold, what leaves no
ink is dropped, and coordinates end at a thousandth of a point.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
GLYPH_UNIT = 0.015625
"""Matplotlib's outlines count 64ths of the unit in which it places the letters."""

_PATH, _GROUP, _USE, _DEFS = (f"{{{SVG}}}{tag}" for tag in ("path", "g", "use", "defs"))
_HREF = f"{{{XLINK}}}href"
_DECIMALS = re.compile(r"-?\d+\.\d{4,}")
_STEP = re.compile(r"([MLQCz])([^MLQCz]*)")
_SHIFT = re.compile(r"translate\((\S+) (\S+)\)")
_EVERYWHERE = "*{stroke-linejoin: round; stroke-linecap: butt}"

Contour = tuple[int, int, str]
"""Where a closed line starts, and the rest of it relative to there."""


def lean_svg(svg: str) -> str:
    """The drawing `svg` with fewer elements and shorter numbers.

    Parameters
    ----------
    svg : str
        SVG as matplotlib writes it, text as paths.

    Returns
    -------
    str
        SVG of the same size and look. What does not have the form that matplotlib gives to
        letters is left unchanged.
    """
    root = ET.fromstring(svg)  # noqa: S314 - our own drawing, from matplotlib
    for metadata in root.findall(f"{{{SVG}}}metadata"):
        root.remove(metadata)
    _inherit_line_style(root)
    glyphs = {
        path.get("id", ""): contours
        for path in root.iterfind(f".//{_DEFS}/{_PATH}")
        if path.get("transform") == f"scale({GLYPH_UNIT})"
        and (contours := _contours(path.get("d", ""))) is not None
    }
    _flatten(root, glyphs)
    _unwrap(root)
    for element in root.iter():
        element.text = element.tail = None
        for name in ("d", "x", "y"):
            if name in element.attrib:
                element.set(name, _short(element.attrib[name]))
    _use_plain_names(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode")


def _use_plain_names(root: ET.Element) -> None:
    """Write the prefixes out: ElementTree's table of prefixes is shared with every other library."""
    for element in root.iter():
        element.tag = element.tag.removeprefix(f"{{{SVG}}}")
        if _HREF in element.attrib:
            element.set("xlink:href", element.attrib.pop(_HREF))
    root.set("xmlns", SVG)
    root.set("xmlns:xlink", XLINK)


def _inherit_line_style(root: ET.Element) -> None:
    """State the one rule of matplotlib's stylesheet on the root: a rule is matched at every element."""
    for defs in root.findall(_DEFS):
        for style in defs.findall(f"{{{SVG}}}style"):
            if (style.text or "").strip() == _EVERYWHERE:
                defs.remove(style)
                root.set("stroke-linejoin", "round")
                root.set("stroke-linecap", "butt")


def _contours(outline: str) -> list[Contour] | None:
    """Closed lines of a letter; None where the outline holds other than whole numbers."""
    contours: list[Contour] = []
    steps: list[str] = []
    x = y = start_x = start_y = 0
    for command, text in _STEP.findall(outline):
        try:
            numbers = [int(number) for number in text.split()]
        except ValueError:
            return None
        if command == "M":
            if steps:
                contours.append((start_x, start_y, "".join(steps)))
            (x, y), steps = numbers, []
            start_x, start_y = x, y
        elif command == "z":
            steps.append("z")
            x, y = start_x, start_y
        else:
            pairs = list(zip(numbers[::2], numbers[1::2], strict=True))
            steps.append(command.lower() + " ".join(f"{right - x} {up - y}" for right, up in pairs))
            x, y = pairs[-1]
    if steps:
        contours.append((start_x, start_y, "".join(steps)))
    return contours


def _flatten(element: ET.Element, glyphs: dict[str, list[Contour]]) -> None:
    """Turn every group that is a text into one path, and drop the outlines it defined."""
    for index, child in enumerate(list(element)):
        if child.tag == _GROUP:
            text = _text_path(child, glyphs)
            if text is not None:
                element[index] = text
                continue
        _flatten(child, glyphs)


def _text_path(group: ET.Element, glyphs: dict[str, list[Contour]]) -> ET.Element | None:
    letters = [child for child in group if child.tag != _DEFS]
    if not letters or "transform" not in group.attrib or any(letter.tag != _USE for letter in letters):
        return None
    line: list[str] = []
    for letter in letters:
        contours = glyphs.get(letter.get(_HREF, "").removeprefix("#"))
        shift = _SHIFT.fullmatch(letter.get("transform", "translate(0 0)"))
        if contours is None or shift is None or set(letter.attrib) - {_HREF, "transform"}:
            return None
        right, up = (round(float(amount) / GLYPH_UNIT) for amount in shift.groups())
        line += [f"M{x + right} {y + up}{rest}" for x, y, rest in contours]
    attributes = dict(group.attrib)
    attributes["transform"] += f" scale({GLYPH_UNIT})"
    attributes.pop("id", None)
    return ET.Element(_PATH, {**attributes, "d": "".join(line)})


def _unwrap(element: ET.Element) -> None:
    """Replace groups that say nothing but a name by their content; drop what leaves no ink."""
    kept: list[ET.Element] = []
    for child in element:
        _unwrap(child)
        if child.tag == _GROUP and not set(child.attrib) - {"id"}:
            kept += list(child)
        elif not _is_invisible(child):
            kept.append(child)
    element[:] = kept


def _is_invisible(element: ET.Element) -> bool:
    if element.tag == _DEFS:
        return not len(element)
    return element.tag == _PATH and "id" not in element.attrib and element.get("style") == "fill: none"


def _short(numbers: str) -> str:
    """Coordinates to a thousandth of a point, which is finer than any printer."""
    shortened = _DECIMALS.sub(lambda found: f"{float(found[0]):.3f}".rstrip("0").rstrip("."), numbers)
    return " ".join(shortened.split())
