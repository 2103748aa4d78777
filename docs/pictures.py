"""Cut the pictures of the tutorial out of a report: ``python docs/pictures.py runs/latest/report.pdf``.

The report is that of ``python -m flows.compare`` without further settings, on a machine that does nothing else: the
texts beside the pictures name its numbers. Needs ``pdftoppm`` and ``pdftotext`` (poppler-utils).
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path

from PIL import Image

IMAGES = Path(__file__).parent / "images"
POINTS_PER_INCH = 72
WIDTH_PX, WIDTH_PT = 777, 510
SCALE = WIDTH_PX / WIDTH_PT
HEAD_PT, FOOT_PT = 34, 809
"""Where the head of a page ends and its foot begins."""

PICTURES = {
    "report-data": ("Excluded: 4", "Characteristics of the subsets"),
    "report-curves": ("Agreement on the same cases", "3 Each model"),
    "report-model": ("Classification report", ""),
    "report-errors": ("False alarms", "Subgroups"),
}
"""Picture -> the line it starts with and the line it ends before; without one on the page it ends with its text."""


def lines_of(pdf: Path) -> list[list[tuple[str, float, float]]]:
    """Text, upper and lower edge (points) of the lines of each page, without head and foot."""
    command = ["pdftotext", "-bbox-layout", str(pdf), "-"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603 - poppler
    pages = []
    for page in text.split("<page ")[1:]:
        lines = []
        for top, bottom, words in re.findall(
            r'<line [^>]*yMin="([\d.]+)"[^>]*yMax="([\d.]+)">(.*?)</line>', page, re.DOTALL
        ):
            lines.append((" ".join(re.findall(r">([^<]+)</word>", words)), float(top), float(bottom)))
        pages.append([line for line in lines if HEAD_PT < line[1] < FOOT_PT])
    return pages


def picture(pdf: Path, page: int, resolution: float) -> Image.Image:
    """A page, counted from 1, in 256 colours."""
    command = ["pdftoppm", "-png", "-r", str(resolution), "-f", str(page), "-l", str(page), str(pdf)]
    content = subprocess.run(command, check=True, capture_output=True).stdout  # noqa: S603 - poppler
    return Image.open(io.BytesIO(content)).convert("RGB").quantize(256)


def main(pdf: Path) -> None:
    """Write all pictures."""
    picture(pdf, 1, 80).save(IMAGES / "report-page-one.png", optimize=True)
    for name, (first, after) in PICTURES.items():
        for number, lines in enumerate(lines_of(pdf), 1):
            tops = {text: top for text, top, _ in lines}
            if first in tops:
                low = tops[after] - 6 if after in tops else max(bottom for _, _, bottom in lines) + 6
                whole = picture(pdf, number, POINTS_PER_INCH * SCALE)
                middle, half = whole.width / 2, WIDTH_PX / 2
                box = (middle - half, (tops[first] - 6) * SCALE, middle + half, low * SCALE)
                whole.crop(tuple(round(side) for side in box)).save(IMAGES / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
