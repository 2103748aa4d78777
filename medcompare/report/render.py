"""From context to files: HTML and results at once, then the PDF, which may fail.

All but the PDF is made in memory first; only then are files written, each atomically. The PDF
is made from that same HTML (`medcompare.report.printing`).
"""

from __future__ import annotations

import base64
import hashlib
import logging
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import datetime
from typing import TYPE_CHECKING, NoReturn

import jinja2

from medcompare.base.artifacts import write_atomically
from medcompare.base.code_identity import TEMPLATES
from medcompare.base.errors import MedcompareError, ReportError
from medcompare.base.language import message, spoken, t
from medcompare.report.cell_layout import even_columns
from medcompare.report.fonts import font_faces, isolated, package_for, undrawable
from medcompare.report.inputs import ReportFiles
from medcompare.report.pages.checklists import CHECKLISTS_NAME, checklists_csv
from medcompare.report.pages.report import ReportContext, build_context
from medcompare.report.printing import HTML_NAME, PDF_NAME, WAITING_NAME, Waiting, make_pdf, prepare
from medcompare.report.results import results_json
from medcompare.report.screen import said_on_screen
from medcompare.report.theme import ACCENT
from medcompare.runs.evidence import AttachedFile
from medcompare.runs.result import NoPdf

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from medcompare.report.inputs import ReportInputs

RESULTS_NAME = "results.json"
FONTS_GO_HERE = "/* fonts */"

logger = logging.getLogger(__name__)


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
    environment.globals.update(t=t, language=spoken, even_columns=even_columns)
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
    # Only the finished text tells which characters the fonts must hold.
    text = template.render(given, font_faces=FONTS_GO_HERE)
    return isolated(text.replace(FONTS_GO_HERE, font_faces(text), 1))


def _checklists(inputs: ReportInputs) -> tuple[AttachedFile, ...]:
    """The reporting checklists as a table, where there are any."""
    if not inputs.checklists:
        return ()
    about = message("reporting checklists, as far as they are answered")
    return (AttachedFile(name=CHECKLISTS_NAME, content=checklists_csv(inputs.checklists), about=about),)


def write_report(
    inputs: ReportInputs,
    folder: Path,
    *,
    pdf_time_limit_s: float | None = None,
    meanwhile: Callable[[], object] | None = None,
) -> ReportFiles:
    """Write ``report.html``, ``results.json`` and, if any, ``checklists.csv``, then make ``report.pdf`` of them.

    Parameters
    ----------
    inputs : ReportInputs
        Everything the report says.
    folder : Path
        Folder of the run; made where it is missing.
    pdf_time_limit_s : float, optional
        Seconds that making the PDF may take.
    meanwhile : callable, optional
        Called in a thread while the PDF is made, for which this process only waits. What it raises is dropped: whoever
        needs what it does asks for it again.

    Returns
    -------
    ReportFiles
        Where there is no PDF, it says why, and ``report-waiting.json`` has what `make_pdf` needs to try again.

    Raises
    ------
    ReportError
        If the HTML cannot be rendered; then no file was written.
    OSError, DiskFullError, ConfigError
        If the disk refuses what is written before the PDF; then the folder holds none of the files.
    """
    prepare()
    results = results_json(inputs)
    about = message("every number of this report at full precision")
    every_number = AttachedFile(name=RESULTS_NAME, content=results, about=about)
    attached = (every_number, *inputs.evidence, *_checklists(inputs))
    html = render_html(build_context(inputs.model_copy(update={"evidence": attached})))
    lost = undrawable(html)
    if lost:
        logger.warning(
            "no font on this machine has %d of the characters, they are printed as codes: install %s",
            len(lost),
            package_for(lost),
        )
    finished_at = datetime.fromisoformat(inputs.provenance.finished_at)
    described = tuple(one.model_copy(update={"about": t(one.about)}) for one in attached)
    waiting = Waiting(attached=described, made_at=finished_at, lost=lost)
    tables = {one.name: one.content for one in _checklists(inputs)}
    contents = {
        RESULTS_NAME: results,
        **tables,
        HTML_NAME: html.encode("utf-8"),
        WAITING_NAME: waiting.model_dump_json().encode("utf-8"),
    }
    try:
        (folder / PDF_NAME).unlink(missing_ok=True)  # new figures beside an old PDF would be worse than none
        for name, content in contents.items():
            write_atomically(folder / name, content)
    except BaseException:
        for name in contents:
            (folder / name).unlink(missing_ok=True)
        raise
    no_pdf = n_pages = None
    with ThreadPoolExecutor(max_workers=1) as beside:
        if meanwhile is not None:
            beside.submit(copy_context().run, meanwhile)
        try:
            n_pages = make_pdf(folder, time_limit_s=pdf_time_limit_s)
        except (MedcompareError, OSError) as error:
            no_pdf = NoPdf.because_of(error)
    pdf = None if no_pdf else folder / PDF_NAME
    return ReportFiles(
        html=folder / HTML_NAME, results=folder / RESULTS_NAME, pdf=pdf, n_pages=n_pages, no_pdf=no_pdf
    )
