"""What a finished run hands back: the verdict in words, and where the files are."""

from __future__ import annotations

from medcompare.records import Record


class RunResult(Record):
    """Result of a flow, small enough for a state message and an e-mail."""

    run_name: str
    folder: str
    pdf: str
    html: str
    results: str
    headline: str
    sentence: str
