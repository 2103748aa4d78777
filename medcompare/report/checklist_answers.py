"""The user's part of the reporting checklists: a TOML file, read and checked before anything long starts."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Self

from pydantic import Field, ValidationError, model_validator

from medcompare.errors import ConfigError
from medcompare.records import Record
from medcompare.report.checklist_claim import CLAIM
from medcompare.report.checklist_stard import STARD_AI
from medcompare.report.checklist_tripod import TRIPOD_AI

if TYPE_CHECKING:
    from pathlib import Path

    from medcompare.report.checklist_wording import ChecklistWording, ItemWording

CHECKLISTS: tuple[ChecklistWording, ...] = (CLAIM, TRIPOD_AI, STARD_AI)

TOPICS = {
    "abstract": "the abstract, or where it stands",
    "background": "medical background, and why the study was done",
    "intended_use": "what the model is meant for, and at which point of care",
    "population": "the target population",
    "users": "who is to use the model, and what they must know",
    "objectives": "aims and hypotheses",
    "design": "prospective or retrospective",
    "setting_dates": "setting, number and place of centres, dates of data collection",
    "eligibility": "who and what was eligible, in the order applied",
    "data_provenance": "who collected the images, where, why, and links to public data",
    "participant_flow": "the flow of patients before their images were handed to this software",
    "characteristics": "demographic and clinical characteristics of each subset",
    "representativeness": "whom the data represent",
    "acquisition": "devices and protocol of image acquisition",
    "reference_standard": "what the truth is, and how and when it was established",
    "reference_standard_rationale": "why this reference standard was chosen",
    "annotators": "who labelled the cases, with what experience, and how",
    "outcome_blinding": "whether those who judged the truth knew the AI's result or other information",
    "sample_size_rationale": "how the sizes were decided on before the study",
    "threshold_rationale": "why the threshold suits the clinical use, and whether it was set beforehand",
    "fairness": "what was done about bias and fairness, and why",
    "external_testing": "testing on data from elsewhere and how these differ, or why there is none",
    "limitations": "limits of the data, and of what can be concluded",
    "implications": "what follows for practice",
    "ethics": "ethics approval and consent, or why none was needed",
    "registration": "register and number, or that there is none",
    "protocol": "where the protocol can be read, or that there is none",
    "data_availability": "whether the data can be had, and on what terms",
    "code_availability": "whether the code can be had, and on what terms",
    "model_availability": "whether the trained models can be had, and on what terms",
    "funding": "who paid, and what part they took",
    "conflicts": "conflicts of interest and commercial interests",
}
"""Shared answers: given once, they serve every item that asks for them."""

NOT_APPLICABLE = "not applicable"
SHARED = "shared"


class ChecklistAnswers(Record):
    """What the user supplied; blank answers are left out.

    An answer that starts with "not applicable:" and gives a reason sets the item aside.
    """

    claim: dict[str, str] = Field(default={}, description="CLAIM 2024: item number to answer.")
    tripod_ai: dict[str, str] = Field(default={}, description="TRIPOD+AI: item number to answer.")
    stard_ai: dict[str, str] = Field(default={}, description="STARD-AI: item number to answer.")
    shared: dict[str, str] = Field(default={}, description="Topic to answer, for all checklists.")

    @model_validator(mode="after")
    def _known_keys(self) -> Self:
        for table, known in known_keys().items():
            for key, answer in getattr(self, table).items():
                if key not in known:
                    what = "topic" if table == SHARED else "item"
                    msg = f"[{table}] has no {what} '{key}'; known: {', '.join(known)}"
                    raise ValueError(msg)
                start, _, reason = answer.partition(":")
                if is_not_applicable(answer) and (
                    start.strip().lower() != NOT_APPLICABLE or not reason.strip()
                ):
                    msg = f"[{table}] {key}: give the reason, as in '{NOT_APPLICABLE}: no trial was run'"
                    raise ValueError(msg)
        return self

    def of(self, checklist: ChecklistWording, number: str) -> str:
        """Answer to one item, empty where there is none."""
        answers: dict[str, str] = getattr(self, checklist.key)
        return answers.get(number, "")


def is_not_applicable(answer: str) -> bool:
    """Whether an answer sets its item aside."""
    return answer.lower().startswith(NOT_APPLICABLE)


def known_keys() -> dict[str, tuple[str, ...]]:
    """The tables of an answers file and the keys each may hold, in order."""
    tables: dict[str, tuple[str, ...]] = {
        checklist.key: tuple(row.number for row in checklist.items) for checklist in CHECKLISTS
    }
    return {SHARED: tuple(TOPICS), **tables}


def read_answers(path: Path | None) -> ChecklistAnswers:
    """Read the answers that fill the checklists' blanks.

    Call this before anything long starts: a wrong key stops the run here, never later.

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
        If the file cannot be read, is not TOML, has an unknown table or key (the message
        lists the known ones), an answer that is not text, or sets an item aside without
        giving a reason.
    """
    if path is None:
        return ChecklistAnswers()
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        msg = f"report.checklist_answers: cannot read {path}: {error.strerror}"
        raise ConfigError(msg) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        msg = f"report.checklist_answers: {path} is not a TOML file in UTF-8: {error}"
        raise ConfigError(msg) from error
    tables: dict[str, dict[str, str]] = {}
    for table, answers in content.items():
        if table not in known_keys() or not isinstance(answers, dict):
            msg = f"report.checklist_answers: {path} has '{table}'; known tables: {', '.join(known_keys())}"
            raise ConfigError(msg)
        tables[table] = {}
        for key, answer in answers.items():
            if not isinstance(answer, str):
                msg = (
                    f"report.checklist_answers: {path}, [{table}] {key}: the answer must be text in quotes, "
                    f"not {type(answer).__name__}"
                )
                raise ConfigError(msg)
            # Blank ones are checked for their keys too, then left out.
            tables[table][key] = " ".join(answer.split())
    try:
        checked = ChecklistAnswers.model_validate(tables)
    except ValidationError as error:
        msg = f"report.checklist_answers: {path}, {error.errors()[0]['ctx']['error']}"
        raise ConfigError(msg) from error
    return ChecklistAnswers(
        **{table: {key: text for key, text in getattr(checked, table).items() if text} for table in tables}
    )


def answers_template() -> str:
    """An answers file with every key and an empty answer: a start for the user.

    Returns
    -------
    str
        TOML; items that the software can answer by itself are marked so.
    """
    lines = [
        "# Answers for the reporting checklists. Fill in what you know and pass the file with",
        "#   --set report.checklist_answers=my-answers.toml",
        "# An empty answer counts as missing. To set an item aside, give the reason:",
        f'#   "34" = "{NOT_APPLICABLE}: no trial was run"',
        "# [shared] answers serve every item that asks for them; an answer to an item goes before them.",
        "",
        f"[{SHARED}]",
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


def _hint(row: ItemWording) -> str:
    """Who can answer an item."""
    hints = []
    if row.facts:
        hints.append(
            f"software: in part; add {row.to_add}" if row.to_add else "software, where the run recorded it"
        )
    if row.topics:
        hints.append(f"shared: {', '.join(row.topics)}")
    return f" [{'; '.join(hints)}]" if hints else ""
