"""``medcompare pdf``: the PDF that a run could not make."""

from pathlib import Path
from typing import Annotated

import typer


def pdf(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run whose report has no PDF.")],
    *,
    time_limit_s: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=1, help="Longest time it may take; default: no limit."),
    ] = None,
) -> None:
    """Make the PDF that a run ended without, from its HTML.

    It is the file that the run would have made, byte by byte. Nothing else is computed.
    """
    from medcompare.base.file_access import access_of, files_readable_by
    from medcompare.report.printing import PDF_NAME, make_pdf

    with files_readable_by(access_of(folder)):
        n_pages = make_pdf(folder, time_limit_s=time_limit_s)
    print(f"{folder / PDF_NAME}: {n_pages} pages")
