"""What the numbers of a report were computed from, as files inside the PDF; ``medcompare reproduce`` reads them.

They are the scored cases of both subsets and the settings of the statistics. Ids of cases and patients are replaced by
numbers in the same order, so that every draw of a bootstrap is the same; ids and file names are in none of them.
"""

from __future__ import annotations

import csv
import hashlib
import io
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from medcompare.base.language import Language, message, spoken
from medcompare.base.record import Record
from medcompare.config.schema import DecideConfig, EvaluateConfig
from medcompare.data.spelling import with_formula
from medcompare.predictions.cases import ScoredCases
from medcompare.predictions.layout import CASE, PATIENT, TRUTH
from medcompare.predictions.table import write_prediction_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

SETTINGS_NAME = "evidence.json"
TABLES = {
    "test": "predictions_test.csv",
    "val": "predictions_validation.csv",
    "running": "predictions_running.csv",
}
ABOUT = {
    "test": message("scores of the test subset, ids replaced by numbers"),
    "val": message("scores of the validation subset, ids replaced by numbers"),
    "running": message(
        "scores of the test subset with the running statistics of the training, ids replaced by numbers"
    ),
}


class AttachedFile(Record):
    """A file inside the PDF."""

    name: str
    content: bytes
    about: str

    @property
    def sha256(self) -> str:
        """As printed in the report."""
        return hashlib.sha256(self.content).hexdigest()


class TableOfCases(Record):
    """What a table of scored cases does not say of itself."""

    has_patients: bool
    subgroups: tuple[str, ...]
    judged: dict[str, str]
    seeds: dict[str, tuple[str, ...]]


class EvidenceSettings(Record):
    """What the statistics were given besides the scored cases."""

    medcompare_version: str
    language: Language = "en"
    """Of the notes and sentences beside the numbers."""
    classes: tuple[str, str]
    scores_are_probabilities: bool
    evaluate: EvaluateConfig
    decide: DecideConfig
    seed: int
    set_by_user: tuple[str, ...]
    thresholds: dict[str, float]
    not_evaluated_as_trained: dict[str, str]
    not_converged: dict[str, str]
    tables: dict[str, TableOfCases]


def evidence_of(
    test: ScoredCases,
    validation: ScoredCases | None,
    *,
    medcompare_version: str,
    evaluate: EvaluateConfig,
    rule: DecideConfig,
    seed: int,
    set_by_user: tuple[str, ...] = (),
    running: Mapping[str, NDArray[np.float64]] | None = None,
    thresholds: Mapping[str, float] | None = None,
    not_evaluated_as_trained: Mapping[str, str] | None = None,
    not_converged: Mapping[str, str] | None = None,
) -> tuple[AttachedFile, ...]:
    """Files from which ``medcompare reproduce`` computes the numbers of a report again; parameters as of `assess`."""
    subsets = {"test": test} | ({} if validation is None else {"val": validation})
    if running:
        subsets["running"] = replace(test, scores=dict(running), judged={}, seed_scores={}, subgroups={})
    patients = _numbered(
        {id_ for one in subsets.values() if one.patient_id is not None for id_ in one.patient_id.tolist()},
        "patient",
    )
    settings = EvidenceSettings(
        medcompare_version=medcompare_version,
        language=spoken(),
        classes=test.classes,
        scores_are_probabilities=test.scores_are_probabilities,
        evaluate=evaluate,
        decide=rule,
        seed=seed,
        set_by_user=set_by_user,
        thresholds=dict(thresholds or {}),
        not_evaluated_as_trained=dict(not_evaluated_as_trained or {}),
        not_converged=dict(not_converged or {}),
        tables={
            subset: TableOfCases(
                has_patients=one.patient_id is not None,
                subgroups=tuple(one.subgroups),
                judged={model: one.judged.get(model, model) for model in one.models},
                seeds={model: tuple(seeds) for model, seeds in one.seed_scores.items()},
            )
            for subset, one in subsets.items()
        },
    )
    tables = (
        AttachedFile(
            name=TABLES[subset],
            content=write_prediction_table(_pseudonymous(one, patients)),
            about=ABOUT[subset],
        )
        for subset, one in subsets.items()
    )
    text = settings.model_dump_json(indent=1) + "\n"
    return (
        *tables,
        AttachedFile(name=SETTINGS_NAME, content=text.encode(), about=message("settings of the statistics")),
    )


def _numbered(names: set[str], word: str) -> dict[str, str]:
    """``patient 0001`` and so on, in the order of `names`."""
    width = max(4, len(str(len(names))))
    return {name: f"{word} {i:0{width}d}" for i, name in enumerate(sorted(names), start=1)}


def _pseudonymous(cases: ScoredCases, patients: Mapping[str, str]) -> ScoredCases:
    named = _numbered(set(cases.case_id), "case")
    return replace(
        cases,
        case_id=tuple(named[one] for one in cases.case_id),
        patient_id=None
        if cases.patient_id is None
        else np.array([patients[one] for one in cases.patient_id.tolist()], dtype=np.str_),
    )


def read_cases(text: str, subset: str, settings: EvidenceSettings) -> ScoredCases:
    """Scored cases from a table that `evidence_of` wrote; nothing is guessed, unlike in tables of users.

    Raises
    ------
    KeyError, ValueError
        If the table is not what `settings` say of it.
    """
    shape = settings.tables[subset]
    header, *rows = ([with_formula(cell) for cell in row] for row in csv.reader(io.StringIO(text)))
    columns = dict(zip(header, map(list, zip(*rows, strict=True)), strict=True))

    def scores(column: str) -> np.ndarray:
        return np.array([float(value) for value in columns[column]])

    return ScoredCases(
        case_id=tuple(columns[CASE]),
        y_true=np.array([int(value) for value in columns[TRUTH]], dtype=np.int64),
        scores={model: scores(column) for model, column in shape.judged.items()},
        patient_id=np.array(columns[PATIENT], dtype=np.str_) if shape.has_patients else None,
        subgroups={name: np.array(columns[name], dtype=np.str_) for name in shape.subgroups},
        classes=settings.classes,
        subset="val" if subset == "val" else "test",
        scores_are_probabilities=settings.scores_are_probabilities,
        judged=shape.judged,
        seed_scores={
            model: {seed: scores(f"{model}@{seed}") for seed in seeds} for model, seeds in shape.seeds.items()
        },
    )
