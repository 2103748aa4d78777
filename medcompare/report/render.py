"""From context to files: HTML, then PDF, then everything onto the disk at once.

Nothing is fetched: fonts, styles and images travel inside the HTML, and the PDF is made
from that same HTML with a fetcher that knows only embedded data. All content is made in
memory first; only then are files written, each atomically and the PDF last.
"""

from __future__ import annotations

import base64
import gc
import hashlib
import logging
import os
from datetime import datetime
from typing import TYPE_CHECKING, NoReturn

import jinja2
from weasyprint import HTML, Attachment
from weasyprint.urls import FatalURLFetchingError, URLFetcher, URLFetcherResponse

from medcompare.base.artifacts import write_atomically
from medcompare.base.code_identity import TEMPLATES
from medcompare.base.errors import MedcompareError
from medcompare.base.language import spoken, t
from medcompare.report.archive import VARIANT, make_archival
from medcompare.report.fonts import font_faces, isolated, package_for, spelled_out, undrawable
from medcompare.report.inputs import ReportFiles
from medcompare.report.pages.methods import CHECKLISTS_NAME, checklists_csv
from medcompare.report.pages.report import ReportContext, build_context
from medcompare.report.results import results_json
from medcompare.report.screen import said_on_screen
from medcompare.report.theme import ACCENT
from medcompare.runs.evidence import AttachedFile

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from medcompare.report.inputs import ReportInputs

HTML_NAME, PDF_NAME, RESULTS_NAME = "report.html", "report.pdf", "results.json"

FONT_TIME = "SOURCE_DATE_EPOCH"
"""Parts of fonts carry the time when they were cut out, unless this variable names one: equal bytes need it."""

logger = logging.getLogger(__name__)


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


def _raise_undefined(name: str) -> NoReturn:
    msg = f"template {name} is missing from {TEMPLATES}: the installation is incomplete"
    raise ReportError(msg)


def template_environment() -> jinja2.Environment:
    """Jinja environment of the report: every value escaped, every missing one an error."""
    if not (TEMPLATES / "report.html.j2").is_file():
        _raise_undefined("report.html.j2")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.globals.update(t=t, language=spoken)
    return environment


def render_html(context: ReportContext) -> str:
    """The report as one HTML document that needs no other file.

    Parameters
    ----------
    context : ReportContext
        Formatted content, see `build_context`.

    Raises
    ------
    jinja2.UndefinedError
        If the template names something the context does not hold.
    """
    environment = template_environment()
    stylesheet = (TEMPLATES / "report.css").read_text(encoding="utf-8").replace(ACCENT, context.theme.colour)
    script = (TEMPLATES / "report.js").read_text(encoding="ascii")
    # The browser runs this script and no other (Content Security Policy Level 3, 2.3.1).
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    template = environment.get_template("report.html.j2")
    given = {
        "report": context,
        "stylesheet": stylesheet,
        "script": script,
        "script_digest": digest,
        "said": said_on_screen(),
    }
    # Rendered twice: only the finished text tells which characters the fonts must hold.
    plain = template.render(given, font_faces="")
    return isolated(template.render(given, font_faces=font_faces(plain)))


def render_pdf(html: str) -> bytes:
    """The HTML as a PDF with embedded fonts, outline, page numbers and tags.

    Parameters
    ----------
    html : str
        Document made by `render_html`.

    Raises
    ------
    ReportError
        If the document refers to anything that is not embedded.
    """
    return _pdf_and_pages(html)[0]


def _pdf_and_pages(
    html: str, attached: Sequence[AttachedFile] = (), made_at: datetime | None = None
) -> tuple[bytes, int]:
    lost = undrawable(html)
    if lost:
        logger.warning(
            "no font on this machine has %d of the characters, they are printed as codes: install %s",
            len(lost),
            package_for(lost),
        )
    identifier = hashlib.sha256(html.encode()).digest()[:16]
    usual, time_given = gc.get_threshold(), FONT_TIME in os.environ
    os.environ.setdefault(FONT_TIME, "0")
    # Millions of objects are made, few can be dropped before the end: looking for those takes a quarter of the time.
    gc.set_threshold(200_000, *usual[1:])
    try:
        document = HTML(string=spelled_out(html), url_fetcher=EmbeddedOnly(), base_url=None).render(
            pdf_tags=True
        )
        content: bytes = document.write_pdf(
            finisher=make_archival,
            pdf_variant=VARIANT,
            pdf_identifier=identifier,
            attachments=[
                Attachment(
                    string=one.content,
                    name=one.name,
                    description=t(one.about),
                    relationship="Data",
                    created=made_at,
                    modified=made_at,
                )
                for one in attached
            ],
        )
    except FatalURLFetchingError as error:
        raise ReportError(str(error)) from error
    finally:
        gc.set_threshold(*usual)
        if not time_given:
            del os.environ[FONT_TIME]
    return content, len(document.pages)


def _checklists(inputs: ReportInputs) -> tuple[AttachedFile, ...]:
    """The reporting checklists as a table, where there are any."""
    if not inputs.checklists:
        return ()
    about = t("reporting checklists, as far as they are answered")
    return (AttachedFile(name=CHECKLISTS_NAME, content=checklists_csv(inputs.checklists), about=about),)


def write_report(inputs: ReportInputs, folder: Path) -> ReportFiles:
    """Render the report and write ``report.html``, ``report.pdf``, ``results.json`` and, if any, ``checklists.csv``.

    Parameters
    ----------
    inputs : ReportInputs
        Everything the report says.
    folder : Path
        Folder of the run; made where it is missing.

    Raises
    ------
    ReportError
        If rendering fails; then no file was written.
    OSError
        If the disk refuses; then the folder holds none of the files.
    """
    results = results_json(inputs)
    about = t("every number of this report at full precision")
    every_number = AttachedFile(name=RESULTS_NAME, content=results, about=about)
    attached = (every_number, *inputs.evidence, *_checklists(inputs))
    html = render_html(build_context(inputs.model_copy(update={"evidence": attached})))
    pdf, n_pages = _pdf_and_pages(html, attached, datetime.fromisoformat(inputs.provenance.finished_at))
    tables = {one.name: one.content for one in _checklists(inputs)}
    contents = {RESULTS_NAME: results, **tables, HTML_NAME: html.encode("utf-8"), PDF_NAME: pdf}
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
