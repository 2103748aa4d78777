"""The HTML as a PDF, by WeasyPrint, in the process that asks for it; a run asks for it in another one (`printing`).

Nothing is fetched: fonts, styles and images travel inside the HTML, and the fetcher knows only embedded data.
"""

from __future__ import annotations

import gc
import hashlib
import os
import re
from functools import partial
from typing import TYPE_CHECKING

from weasyprint import HTML, Attachment
from weasyprint.urls import FatalURLFetchingError, URLFetcher, URLFetcherResponse

from medcompare.base.errors import ReportError
from medcompare.base.language import message
from medcompare.report.archive import ENDS_SHORT, VARIANT, make_archival
from medcompare.report.blocks import svg_uri

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from weasyprint import Document

    from medcompare.runs.evidence import AttachedFile

FONT_TIME = "SOURCE_DATE_EPOCH"
"""Parts of fonts carry the time when they were cut out, unless this variable names one: equal bytes need it."""


_DRAWING = re.compile(r"<svg\b[^>]*><title>(?P<title>[^<]*)</title>.*?</svg>", re.DOTALL)
"""A drawing of `medcompare.report.figures`: XML that begins with what it shows."""


MAX_SPARE = 4
"""Attempts at a file in which no stream looks shorter than it is; one in a hundred needs a second."""


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


def render_pdf(
    html: str, attached: Sequence[AttachedFile] = (), *, made_at: datetime | None = None, lost: str = ""
) -> tuple[bytes, Document]:
    """The HTML as a PDF with embedded fonts, outline, page numbers and tags, and what was laid out for it.

    Parameters
    ----------
    html : str
        Document made by `medcompare.report.render.render_html`.
    attached : sequence of AttachedFile
        Files inside the PDF.
    made_at : datetime, optional
        When these files were made.
    lost : str
        Characters that no font draws; their codes are printed, so that no name becomes a row of boxes.

    Raises
    ------
    ReportError
        If the document refers to anything that is not embedded.
    """
    shown = html.translate({ord(c): f"[U+{ord(c):04X}]" for c in lost}) if lost else html
    shown = _DRAWING.sub(_as_image, shown)
    identifier = hashlib.sha256(html.encode()).digest()[:16]
    collecting, time_given = gc.isenabled(), FONT_TIME in os.environ
    os.environ.setdefault(FONT_TIME, "0")
    # Millions of objects are made, few can be dropped before the end: looking for those takes a quarter of the time.
    gc.disable()
    try:
        document: Document = HTML(string=shown, url_fetcher=EmbeddedOnly(), base_url=None).render(
            pdf_tags=True
        )
        for n_spare in range(MAX_SPARE):
            content: bytes = document.write_pdf(
                finisher=partial(make_archival, n_spare=n_spare),
                pdf_variant=VARIANT,
                pdf_identifier=identifier,
                attachments=[
                    Attachment(
                        string=one.content,
                        name=one.name,
                        description=one.about,
                        relationship="Data",
                        created=made_at,
                        modified=made_at,
                    )
                    for one in attached
                ],
            )
            if ENDS_SHORT not in content:
                break
    except FatalURLFetchingError as error:
        raise ReportError(str(error), how=message("it refers to something that is not embedded")) from error
    finally:
        if collecting:
            gc.enable()
        if not time_given:
            del os.environ[FONT_TIME]
    return content, document


def _as_image(drawing: re.Match[str]) -> str:
    """A drawing as an image.

    As a part of the page each of its elements would go through a parser in Python, and get a style that nothing uses.
    """
    title = drawing["title"].replace('"', "&quot;")
    return f'<img alt="{title}" src="{svg_uri(drawing[0])}">'
