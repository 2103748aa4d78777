"""Settings of the report."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - read by pydantic
from typing import Literal

from pydantic import Field

from medcompare.base.language import Language, message, t
from medcompare.config.form import Settings

TITLE = message("Comparison of image classifiers")


class ReportConfig(Settings):
    """What the report looks like, and what it shows of patients."""

    title: str = Field(default=TITLE, max_length=120, description="Title on page one.")
    organisation: str = Field(default="", max_length=120, description="Printed on page one.")
    language: Language = Field(default="en", description="Language of the report and of the mails.")
    paper: Literal["A4", "Letter"] = Field(default="A4", description="Paper size.")
    pseudonymise: bool = Field(
        default=True, description="Show pseudonyms in place of file names and patient ids."
    )
    theme: Path | None = Field(
        default=None,
        description="TOML file with the report's logo, colour, institution, names of classes and lines to sign.",
    )
    pdf_time_limit_s: float = Field(
        default=600,
        gt=0,
        description="Longest time for making the PDF, seconds; after it the run ends without one, and says so.",
    )
    checklist_answers: Path | None = Field(
        default=None, description="TOML file that fills the reporting checklists' blanks."
    )

    @property
    def printed_title(self) -> str:
        """The title as given, or the default one in the language spoken."""
        return t(TITLE) if self.title == TITLE else self.title
