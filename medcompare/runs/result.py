"""What a finished run hands back: the verdict in words, and where the files are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medcompare.base.record import Record
from medcompare.stats.records import Outcome

if TYPE_CHECKING:
    from pathlib import Path

    from medcompare.stats.records import Verdict


class RunResult(Record):
    """Result of a flow, small enough for a state message and an e-mail."""

    run_name: str
    folder: str
    pdf: str
    html: str
    results: str
    outcome: Outcome
    headline: str
    sentence: str


def run_result(out: Path, name: str, verdict: Verdict) -> RunResult:
    """Result of the run `name` in the folder `out`."""
    folder = out / name
    return RunResult(
        run_name=name,
        folder=str(folder),
        pdf=str(folder / "report.pdf"),
        html=str(folder / "report.html"),
        results=str(folder / "results.json"),
        outcome=verdict.outcome,
        headline=verdict.headline,
        sentence=verdict.sentence,
    )
