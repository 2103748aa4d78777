"""The user's part of the checklists: a TOML file, checked before anything long starts."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Self

from pydantic import Field, ValidationError, model_validator

from medcompare.base.errors import ConfigError
from medcompare.base.record import Record
from medcompare.report.checklists.items import CHECKLISTS, TOPICS

if TYPE_CHECKING:
    from pathlib import Path

    from medcompare.report.checklists.items import Item

NOT_APPLICABLE = "not applicable"
KNOWN_KEYS = {"shared": tuple(TOPICS)} | {c.key: tuple(row.number for row in c.items) for c in CHECKLISTS}
"""The tables of an answers file and the keys each may hold, in order."""


class ChecklistAnswers(Record):
    """What the user supplied; blank answers are left out.

    An answer that starts with "not applicable:" and gives a reason excludes the item.
    """

    claim: dict[str, str] = Field(default={}, description="CLAIM 2024: item number to answer.")
    tripod_ai: dict[str, str] = Field(default={}, description="TRIPOD+AI: item number to answer.")
    stard_ai: dict[str, str] = Field(default={}, description="STARD-AI: item number to answer.")
    shared: dict[str, str] = Field(default={}, description="Topic to answer, for all checklists.")

    @model_validator(mode="after")
    def _known_keys(self) -> Self:
        for table, known in KNOWN_KEYS.items():
            for key, answer in getattr(self, table).items():
                if key not in known:
                    what = "topic" if table == "shared" else "item"
                    msg = f"[{table}] has no {what} '{key}'; known: {', '.join(known)}"
                    raise ValueError(msg)
                start, _, reason = answer.partition(":")
                complete = start.strip().lower() == NOT_APPLICABLE and reason.strip()
                if is_not_applicable(answer) and not complete:
                    msg = f"[{table}] {key}: give the reason, as in '{NOT_APPLICABLE}: no trial was run'"
                    raise ValueError(msg)
        return self


def is_not_applicable(answer: str) -> bool:
    """Whether an answer says that its item does not apply."""
    return answer.lower().startswith(NOT_APPLICABLE)


def read_answers(path: Path | None) -> ChecklistAnswers:
    """Read the answers that fill the checklists' blanks.

    Parameters
    ----------
    path : Path or None
        TOML file with the tables ``[shared]``, ``[claim]``, ``[tripod_ai]``, ``[stard_ai]``;
        None: no answers. See ``docs/checklist-answers.example.toml``.

    Returns
    -------
    ChecklistAnswers
        Without the blank answers; line breaks within an answer become spaces.

    Raises
    ------
    ConfigError
        If the file cannot be read, is not TOML, has an unknown table or key, an answer that
        is not text, or calls an item not applicable without giving a reason.
    """
    if path is None:
        return ChecklistAnswers()
    source = f"report.checklist_answers: {path}"
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        msg = f"report.checklist_answers: cannot read {path}: {error.strerror}"
        raise ConfigError(msg) from error
    except ValueError as error:
        msg = f"{source} is not a TOML file in UTF-8: {error}"
        raise ConfigError(msg) from error
    tables: dict[str, dict[str, str]] = {}
    for table, answers in content.items():
        if table not in KNOWN_KEYS or not isinstance(answers, dict):
            msg = f"{source} has '{table}'; known tables: {', '.join(KNOWN_KEYS)}"
            raise ConfigError(msg)
        for key, answer in answers.items():
            if not isinstance(answer, str):
                msg = f"{source}, [{table}] {key}: the answer must be text in quotes, not {type(answer).__name__}"
                raise ConfigError(msg)
        # Blank ones are checked for their keys too, then left out.
        tables[table] = {key: " ".join(answer.split()) for key, answer in answers.items()}
    try:
        ChecklistAnswers.model_validate(tables)
    except ValidationError as error:
        msg = f"{source}, {error.errors()[0]['ctx']['error']}"
        raise ConfigError(msg) from error
    return ChecklistAnswers(
        **{table: {key: text for key, text in answers.items() if text} for table, answers in tables.items()}
    )


def answers_template() -> str:
    """An answers file as TOML with every key and an empty answer: a start for the user."""
    lines = [
        "# Answers for the reporting checklists. Fill in what you know and pass the file with",
        "#   --set report.checklist_answers=my-answers.toml",
        "# An empty answer counts as missing. Where an item does not apply, give the reason:",
        f'#   "34" = "{NOT_APPLICABLE}: no trial was run"',
        "# [shared] answers serve every item that asks for them; an answer to an item goes before them.",
        "",
        "[shared]",
    ]
    for topic, meaning in TOPICS.items():
        served = [f"{c.name} {row.number}" for c in CHECKLISTS for row in c.items if topic in row.topics]
        lines += [f"# {meaning} ({', '.join(served)})", f'{topic} = ""']
    for checklist in CHECKLISTS:
        lines += ["", f"# {checklist.name}. {checklist.reference}", f"[{checklist.key}]"]
        section = ""
        for row in checklist.items:
            if row.section != section:
                section = row.section
                lines += ["", f"# -- {section}"]
            lines += [f"# {row.text}{_hint(row)}", f'"{row.number}" = ""']
    return "\n".join(lines) + "\n"


def _hint(row: Item) -> str:
    """Who can answer an item."""
    hints = []
    if row.facts:
        hints.append(
            f"software: in part; add {row.to_add}" if row.to_add else "software, where the run recorded it"
        )
    if row.topics:
        hints.append(f"shared: {', '.join(row.topics)}")
    return f" [{'; '.join(hints)}]" if hints else ""
