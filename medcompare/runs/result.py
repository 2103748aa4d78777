"""What a finished run hands back: the verdict in words, where the files are, and why there is no PDF."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING, Self

from pydantic import Field

from medcompare.base.errors import MedcompareError, redact
from medcompare.base.record import Record
from medcompare.stats.records import Outcome

if TYPE_CHECKING:
    from pathlib import Path

    from medcompare.stats.records import Verdict


class NoPdf(Record):
    """Why a finished run has no PDF: HTML and results are there, and ``medcompare pdf FOLDER`` tries again."""

    cause: str = Field(description="The whole message, for the log; it stays on the machine.")
    how: str = Field(description="The same in a few constant words, which may be mailed.")

    @classmethod
    def because_of(cls, error: MedcompareError | OSError) -> Self:
        """Of what making the PDF raised."""
        if isinstance(error, MedcompareError):
            return cls(cause=str(error), how=error.how or error.public)
        return cls(cause=str(redact(error)), how=os.strerror(error.errno or 0))


def remake_command(folder: Path | str) -> str:
    """What makes the PDF that the run in `folder` lacks."""
    return f"medcompare pdf {shlex.quote(str(folder))}"


class RunResult(Record):
    """Result of a flow, small enough for a state message and an e-mail."""

    run_name: str
    folder: str
    pdf: str | None
    html: str
    results: str
    outcome: Outcome
    headline: str
    sentence: str
    no_pdf: NoPdf | None


def run_result(out: Path, name: str, verdict: Verdict, no_pdf: NoPdf | None) -> RunResult:
    """Result of the run `name` in the folder `out`."""
    folder = out / name
    return RunResult(
        run_name=name,
        folder=str(folder),
        pdf=None if no_pdf else str(folder / "report.pdf"),
        html=str(folder / "report.html"),
        results=str(folder / "results.json"),
        outcome=verdict.outcome,
        headline=verdict.headline,
        sentence=verdict.sentence,
        no_pdf=no_pdf,
    )
