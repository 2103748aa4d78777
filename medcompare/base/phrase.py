"""A text of a result that is kept for all languages: the result is not made again because another is spoken."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from medcompare.base.language import t
from medcompare.base.record import Record


class Phrase(Record):
    """A message and what fills its gaps; `str` gives it in the language spoken."""

    text: str = Field(description="English, with named gaps, as in the catalogue.")
    values: dict[str, int | float | str] = Field(default={}, description="What fills the gaps.")

    @model_validator(mode="before")
    @classmethod
    def _from_words(cls, given: Any) -> Any:  # noqa: ANN401 - whatever is to be validated
        """Words alone, as runs wrote them before, have no gaps."""
        return {"text": given} if isinstance(given, str) else given

    def __str__(self) -> str:
        """Its words."""
        return t(self.text, **self.values)
