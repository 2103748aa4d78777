"""From context to files: HTML, then PDF, then everything onto the disk at once.

Nothing is fetched: fonts, styles and images travel inside the HTML, and the PDF is made
from that same HTML with a fetcher that knows only embedded data. All content is made in
memory first; only then are files written, each atomically and the PDF last.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import io
import logging
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import jinja2
import matplotlib as mpl
from fontTools import subset
from fontTools.ttLib import TTFont
from markupsafe import Markup
from weasyprint import HTML
from weasyprint.urls import FatalURLFetchingError, URLFetcher, URLFetcherResponse

from medcompare.artifacts import write_atomically
from medcompare.errors import MedcompareError
from medcompare.report.context import ReportContext, build_context
from medcompare.report.inputs import ReportFiles
from medcompare.report.results import results_json

if TYPE_CHECKING:
    from medcompare.report.inputs import ReportInputs

TEMPLATES = Path(__file__).resolve().parents[2] / "templates"
HTML_NAME, PDF_NAME, RESULTS_NAME = "report.html", "report.pdf", "results.json"

FONTS = (
    ("Report Sans", "normal", "normal", "DejaVuSans.ttf"),
    ("Report Sans", "bold", "normal", "DejaVuSans-Bold.ttf"),
    ("Report Mono", "normal", "normal", "DejaVuSansMono.ttf"),
)
"""(family, weight, style, file): DejaVu, a free font that matplotlib carries along."""

ALWAYS_IN_FONT = "".join(chr(code) for code in range(0x20, 0x7F)) + "\u00a0\u2022\u25e6\u25aa"
"""Characters kept in every embedded font, so that page numbers and list marks never fall back."""

logging.getLogger("fontTools").setLevel(logging.WARNING)


class ReportError(MedcompareError):
    """The report could not be rendered; nothing was written."""


class EmbeddedOnly(URLFetcher):  # type: ignore[misc] # WeasyPrint ships no annotations
    """Fetcher that serves data URIs and refuses files and every network address."""

    def __init__(self) -> None:
        super().__init__(allowed_protocols=("data",))

    def fetch(self, url: str, headers: dict[str, str] | None = None) -> URLFetcherResponse:
        """Content of a data URI.

        Raises
        ------
        FatalURLFetchingError
            For any other address: a report that needs one is wrong, so rendering stops.
        """
        if not url.lower().startswith("data:"):
            msg = f"the report must not load {url}: everything has to be embedded"
            raise FatalURLFetchingError(msg)
        return super().fetch(url, headers)


@functools.lru_cache(maxsize=16)
def _font_data(filename: str, characters: str) -> str:
    """A font reduced to `characters`, as base64 of a WOFF file."""
    options = subset.Options(
        flavor="woff", notdef_outline=True, recalc_timestamp=False, layout_features=["kern"]
    )
    options.drop_tables += ["FFTM"]
    font = TTFont(Path(mpl.get_data_path()) / "fonts" / "ttf" / filename, recalcTimestamp=False)
    subsetter = subset.Subsetter(options)
    subsetter.populate(text=characters)
    subsetter.subset(font)
    font.flavor = "woff"
    target = io.BytesIO()
    font.save(target)
    return base64.b64encode(target.getvalue()).decode("ascii")


def _font_faces(text: str) -> str:
    characters = "".join(sorted(set(text) | set(ALWAYS_IN_FONT)))
    return "\n".join(
        f'@font-face {{ font-family: "{family}"; font-weight: {weight}; font-style: {style}; '
        f"src: url(data:font/woff;base64,{_font_data(filename, characters)}) format('woff'); }}"
        for family, weight, style, filename in FONTS
    )


def _raise_undefined(name: str) -> NoReturn:
    msg = f"template {name} is missing from {TEMPLATES}: the installation is incomplete"
    raise ReportError(msg)


def template_environment() -> jinja2.Environment:
    """Jinja environment of the report: every value escaped, every missing one an error."""
    if not (TEMPLATES / "report.html.j2").is_file():
        _raise_undefined("report.html.j2")
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )


def render_html(context: ReportContext) -> str:
    """The report as one HTML document that needs no other file.

    Parameters
    ----------
    context : ReportContext
        Formatted content, see `build_context`.

    Returns
    -------
    str

    Raises
    ------
    jinja2.UndefinedError
        If the template names something the context does not hold.
    """
    environment = template_environment()
    stylesheet = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    template = environment.get_template("report.html.j2")
    # Rendered twice: only the finished text tells which characters the fonts must hold.
    plain = template.render(report=context, stylesheet=Markup(stylesheet), font_faces="")  # noqa: S704 - our own file
    faces = Markup(_font_faces(plain))  # noqa: S704 - base64 of our own making
    return template.render(report=context, stylesheet=Markup(stylesheet), font_faces=faces)  # noqa: S704 - our own file


def render_pdf(html: str) -> bytes:
    """The HTML as a PDF with embedded fonts, outline, page numbers and tags.

    Parameters
    ----------
    html : str
        Document made by `render_html`.

    Returns
    -------
    bytes

    Raises
    ------
    ReportError
        If the document refers to anything that is not embedded.
    """
    return _pdf_and_pages(html)[0]


def _pdf_and_pages(html: str) -> tuple[bytes, int]:
    identifier = hashlib.sha256(html.encode()).digest()[:16]
    try:
        document = HTML(string=html, url_fetcher=EmbeddedOnly(), base_url=None).render(pdf_tags=True)
        content: bytes = document.write_pdf(pdf_identifier=identifier, pdf_tags=True)
    except FatalURLFetchingError as error:
        raise ReportError(str(error)) from error
    return content, len(document.pages)


def write_report(inputs: ReportInputs, folder: Path) -> ReportFiles:
    """Render the report and write ``report.html``, ``report.pdf`` and ``results.json``.

    Parameters
    ----------
    inputs : ReportInputs
        Everything the report says.
    folder : Path
        Folder of the run; made where it is missing.

    Returns
    -------
    ReportFiles

    Raises
    ------
    ReportError
        If rendering fails; then no file was written.
    OSError
        If the disk refuses; then the folder holds none of the three files.
    """
    results = results_json(inputs)
    html = render_html(build_context(inputs))
    pdf, n_pages = _pdf_and_pages(html)
    contents = {RESULTS_NAME: results, HTML_NAME: html.encode("utf-8"), PDF_NAME: pdf}
    try:
        for name, content in contents.items():
            write_atomically(folder / name, content)
    except BaseException:
        # Files of an earlier rendering go too: new figures beside an old PDF would be worse than none.
        for name in contents:
            (folder / name).unlink(missing_ok=True)
        raise
    return ReportFiles(
        html=folder / HTML_NAME, pdf=folder / PDF_NAME, results=folder / RESULTS_NAME, n_pages=n_pages
    )
