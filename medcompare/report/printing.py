"""The PDF of a run, made in a process of its own with a time limit.

Its layout takes most of the time of a report, grows with what the report has to say, and runs through libraries
in C: it may take too long, need more memory than there is, or crash. HTML and results are on the disk before it
begins, so that none of this loses them, and what the PDF needs besides stays beside them until the PDF is there.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from medcompare.base.artifacts import write_atomically
from medcompare.base.errors import ConfigError, ReportError, cannot_write
from medcompare.base.language import message
from medcompare.base.record import Record
from medcompare.runs.evidence import AttachedFile
from medcompare.training.worker import fork_server
from medcompare.training.worker.child import EventHandler, run_child, serve

if TYPE_CHECKING:
    from weasyprint import Document

HTML_NAME, PDF_NAME = "report.html", "report.pdf"
WAITING_NAME = "report-waiting.json"
"""Beside an HTML without its PDF: what the PDF needs besides."""

MODULE = "medcompare.report.printing"
FIRST_TO_END = "500"
"""As if it used so many thousandths of the memory more than it does (proc_pid_oom_score_adj(5))."""
LESS_MEMORY = "end other programs, or give the machine or container more memory"

_laid_out: list[Document] = []
"""Kept to the end of the process that makes a PDF: taking it apart would take a quarter of a second."""


class Waiting(Record):
    """What a PDF needs besides its HTML; see `medcompare.report.pdf.render_pdf`."""

    attached: tuple[AttachedFile, ...]
    made_at: datetime
    lost: str


def prepare() -> None:
    """Let a process import what makes a PDF, so that it is ready when the HTML is."""
    fork_server.prepare(MODULE)


def make_pdf(folder: Path, *, time_limit_s: float | None = None) -> int:
    """Make ``report.pdf`` from the ``report.html`` in `folder`, in a process of its own; returns its number of pages.

    Parameters
    ----------
    folder : Path
        Holds `HTML_NAME` and `WAITING_NAME`; the latter is removed once the PDF is there.
    time_limit_s : float, optional
        Seconds after which the process is killed.

    Raises
    ------
    MedcompareError
        Why there is no PDF: its process passed the limit, died or failed, or the disk refused.
    ConfigError
        If `folder` has no report whose PDF is to be made.
    """
    for name in (HTML_NAME, WAITING_NAME):
        if not (folder / name).is_file():
            made = (folder / PDF_NAME).is_file()
            remedy = f"its {PDF_NAME} is made already" if made else "name the folder of a run without a PDF"
            msg = f"{folder} has no {name}: {remedy}"
            raise ConfigError(msg)
    try:
        # For fonts while they are used: a process that is killed could not remove them.
        scratch = tempfile.TemporaryDirectory(
            dir=folder.resolve(), prefix=".pdf-", ignore_cleanup_errors=True
        )
    except OSError as error:
        raise cannot_write(error, folder) from None
    with scratch as place:
        n_pages = run_child(
            MODULE,
            "pdf",
            json.dumps(str(folder.resolve())),
            label="making the PDF",
            timeout_s=time_limit_s,
            time_limit_name="report.pdf_time_limit_s",
            less_memory=LESS_MEMORY,
            environment={"TMPDIR": place},
        )
    (folder / WAITING_NAME).unlink(missing_ok=True)
    return int(n_pages)


def _pdf(request: str, emit: EventHandler) -> str:  # noqa: ARG001 - the signature of a job
    from medcompare.report.pdf import render_pdf  # noqa: PLC0415 - not needed by the process that asks

    folder = Path(json.loads(request))
    with contextlib.suppress(OSError):  # no Linux
        # Where memory runs out this process ends, and not the run, which may be larger and can say why.
        Path("/proc/self/oom_score_adj").write_text(FIRST_TO_END, encoding="ascii")
    waiting = Waiting.model_validate_json((folder / WAITING_NAME).read_bytes())
    html = (folder / HTML_NAME).read_bytes().decode("utf-8")
    try:
        content, document = render_pdf(html, waiting.attached, made_at=waiting.made_at, lost=waiting.lost)
    except MemoryError:
        msg = f"memory ran out while the PDF was made: {LESS_MEMORY}"
        raise ReportError(msg, how=message("memory ran out")) from None
    except OSError as error:
        raise cannot_write(error, folder) from None
    _laid_out.append(document)
    write_atomically(folder / PDF_NAME, content)
    return json.dumps(len(document.pages))


IMPORTED_ONCE = ("medcompare.report.pdf",)
"""For `medcompare.training.worker.fork_server`."""
JOBS = {"pdf": _pdf}

if __name__ == "__main__":
    sys.exit(serve(JOBS, sys.argv[1:]))
