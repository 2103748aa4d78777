"""Texts that results keep for all languages."""

from __future__ import annotations

from medcompare.base.phrase import Phrase
from medcompare.base.record import Record


class Result(Record):
    """One that keeps a text."""

    how: Phrase


def test_gaps_are_filled_when_it_is_read() -> None:
    """Message and values are kept apart, numbers as numbers; words alone, as of earlier runs, are read too."""
    kept = Result(how=Phrase(text="{name}, learning rate {rate:g}", values={"name": "Adam", "rate": 1e-5}))

    again = Result.model_validate_json(kept.model_dump_json())

    assert again == kept
    assert str(again.how) == "Adam, learning rate 1e-05"
    assert str(Result.model_validate({"how": "Adam, {as it was}"}).how) == "Adam, {as it was}"
