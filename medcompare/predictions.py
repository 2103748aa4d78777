"""Tables of predictions: read and checked, written at full precision.

One table holds one subset: ``case_id``, ``y_true``, optional ``patient_id`` and subgroup
columns, and one score column per model. The first thing wrong is reported with file,
column and row as a spreadsheet counts them (the header is row 1); nothing is repaired.
"""

from __future__ import annotations

import csv
import io
import math
import tomllib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import ValidationError

from medcompare.artifacts import sha256_of_bytes, sha256_of_file
from medcompare.errors import DataError
from medcompare.records import CostMeasurement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from medcompare.config import AssessConfig

CASE, TRUTH, PATIENT = "case_id", "y_true", "patient_id"
FIRST_DATA_ROW = 2
MOST_NAMES_SHOWN = 12


@dataclass(frozen=True, kw_only=True)
class ScoredCases:
    """Cases of one subset with the scores of one or more models.

    Attributes
    ----------
    case_id : tuple of str
        Unique.
    y_true : ndarray of int64, shape (n_cases,)
        0 negative, 1 positive.
    scores : dict of str to ndarray of float64, shape (n_cases,)
        By model, higher is more positive.
    patient_id : ndarray of str or None
        One per case, where patients are known.
    subgroups : dict of str to ndarray of str
        Levels by column.
    classes : (str, str)
        Names of the negative and the positive class.
    """

    case_id: tuple[str, ...]
    y_true: NDArray[np.int64]
    scores: dict[str, NDArray[np.float64]]
    patient_id: NDArray[np.str_] | None
    classes: tuple[str, str]
    subset: Literal["val", "test"]
    subgroups: dict[str, NDArray[np.str_]] = field(default_factory=dict)
    scores_are_probabilities: bool = True

    @property
    def n(self) -> int:
        """Number of cases."""
        return len(self.case_id)

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models, in the order of the columns."""
        return tuple(self.scores)

    @property
    def clusters(self) -> NDArray[np.int64] | None:
        """Number of the patient of each case; None where each case counts as its own.

        A table in which no patient occurs twice is not clustered.
        """
        if self.patient_id is None:
            return None
        _, codes = np.unique(self.patient_id, return_inverse=True)
        return None if len(set(codes.tolist())) == self.n else codes.astype(np.int64)

    @property
    def n_patients(self) -> int | None:
        """Number of patients, None where they are not known."""
        return None if self.patient_id is None else len(set(self.patient_id.tolist()))

    def units(self, label: int) -> int:
        """Patients (or cases, where patients are not known) with at least one case of `label`."""
        chosen = self.y_true == label
        return int(chosen.sum()) if self.patient_id is None else len(set(self.patient_id[chosen].tolist()))

    def only(self, models: Sequence[str]) -> ScoredCases:
        """The same cases with the scores of `models` alone."""
        return replace(self, scores={model: self.scores[model] for model in models})


@dataclass(frozen=True, kw_only=True)
class PredictionTables:
    """All an assessment reads; ``digest`` covers the files and how they are to be read."""

    test: ScoredCases
    validation: ScoredCases | None
    costs: tuple[CostMeasurement, ...]
    digest: str


def read_tables(config: AssessConfig) -> PredictionTables:
    """Read and check every file that `config` names.

    Raises
    ------
    DataError
        Naming the file, the column and the first offending row.
    """
    test = read_prediction_table(
        config.predictions,
        positive_class=config.positive_class,
        subgroups=config.evaluate.subgroups,
        subset="test",
        scores_are_probabilities=config.scores_are_probabilities,
    )
    for model in config.thresholds:
        if model not in test.scores:
            msg = f"--threshold {model}: {config.predictions} has no column of that name; models there are: "
            raise DataError(msg + _listed(test.models))
    validation = None
    if config.validation is not None:
        validation = read_prediction_table(
            config.validation,
            positive_class=config.positive_class,
            subgroups=[name for name in config.evaluate.subgroups if name in _read_csv(config.validation)[0]],
            subset="val",
            scores_are_probabilities=config.scores_are_probabilities,
            models=test.models,
        )
        check_apart(test, validation, test_path=config.predictions, validation_path=config.validation)
    costs = () if config.costs is None else read_costs(config.costs, test.models)
    parts = [
        sha256_of_file(path)
        for path in (config.predictions, config.validation, config.costs)
        if path is not None
    ]
    how = f"{config.positive_class} {config.scores_are_probabilities} {config.evaluate.subgroups}"
    return PredictionTables(
        test=test,
        validation=validation,
        costs=costs,
        digest=sha256_of_bytes("\n".join([*parts, how]).encode()),
    )


def read_prediction_table(
    path: Path,
    *,
    positive_class: str | None = None,
    subgroups: Sequence[str] = (),
    subset: Literal["val", "test"] = "test",
    scores_are_probabilities: bool = True,
    models: Sequence[str] | None = None,
) -> ScoredCases:
    """Read and check a table of predictions.

    Parameters
    ----------
    path : Path
        CSV file, UTF-8, with a header.
    positive_class : str, optional
        Value of ``y_true`` that is positive; without it the labels must be 0 and 1.
    subgroups : sequence of str
        Columns that hold subgroups; every other column not named above is a model.
    subset : {"val", "test"}
        What the table holds.
    scores_are_probabilities : bool, default=True
        Whether scores must lie in [0, 1].
    models : sequence of str, optional
        Models that must be there, no more and no less (the validation file of a test file).

    Raises
    ------
    DataError
        Naming the file, the column and the first offending row.
    """
    header, rows = _read_csv(path)
    for column in (CASE, TRUTH):
        if column not in header:
            msg = f"{path}: there is no column '{column}'; columns there are: {_listed(header)}"
            raise DataError(msg)
    for column in subgroups:
        if column not in header:
            msg = f"{path}: there is no subgroup column '{column}'; columns there are: {_listed(header)}"
            raise DataError(msg)
    names = [column for column in header if column not in {CASE, TRUTH, PATIENT, "subset", *subgroups}]
    if not names:
        msg = f"{path}: no column holds the scores of a model; columns there are: {_listed(header)}"
        raise DataError(msg)
    if models is not None and set(names) != set(models):
        only_here, missing = sorted(set(names) - set(models)), sorted(set(models) - set(names))
        parts = [f"misses {_listed(missing)}"] if missing else []
        parts += [f"has {_listed(only_here)} besides"] if only_here else []
        msg = f"{path}: the models differ from those of the test file: it {' and '.join(parts)}"
        raise DataError(msg)
    columns = {name: [row[position] for row in rows] for position, name in enumerate(header)}
    case_id = _cases(path, columns[CASE])
    y_true, classes = _labels(path, columns[TRUTH], positive_class)
    scores = {
        name: _scores(path, name, columns[name], probability=scores_are_probabilities)
        for name in (models if models is not None else names)
    }
    patients = None
    if PATIENT in columns:
        for number, text in enumerate(columns[PATIENT], FIRST_DATA_ROW):
            if not text:
                msg = f"{path}: column '{PATIENT}', row {number} is empty; fill it in or drop the column"
                raise DataError(msg)
        patients = np.array(columns[PATIENT], dtype=np.str_)
    return ScoredCases(
        case_id=case_id,
        y_true=y_true,
        scores=scores,
        patient_id=patients,
        subgroups={name: np.array(columns[name], dtype=np.str_) for name in subgroups},
        classes=classes,
        subset=subset,
        scores_are_probabilities=scores_are_probabilities,
    )


def write_prediction_table(cases: ScoredCases) -> bytes:
    """`cases` as CSV that reads back to exactly the same numbers."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    patients = [] if cases.patient_id is None else [PATIENT]
    writer.writerow([CASE, TRUTH, *patients, *cases.subgroups, *cases.scores])
    for i in range(cases.n):
        patient = [] if cases.patient_id is None else [cases.patient_id[i]]
        levels = [column[i] for column in cases.subgroups.values()]
        scores = [repr(float(column[i])) for column in cases.scores.values()]
        writer.writerow([cases.case_id[i], int(cases.y_true[i]), *patient, *levels, *scores])
    return out.getvalue().encode("utf-8")


def check_apart(
    test: ScoredCases, validation: ScoredCases, *, test_path: Path, validation_path: Path
) -> None:
    """Raise DataError where a case stands in both subsets: a threshold must not see the test."""
    shared = sorted(set(test.case_id) & set(validation.case_id))
    if shared:
        rows = {case: number for number, case in enumerate(validation.case_id, FIRST_DATA_ROW)}
        first = min(shared, key=rows.__getitem__)
        msg = (
            f"{validation_path}: column '{CASE}', row {rows[first]}: case '{first}' also stands in {test_path} "
            f"({len(shared)} such {'case' if len(shared) == 1 else 'cases'}); no case may be in both files"
        )
        raise DataError(msg)


def read_costs(path: Path, models: Sequence[str]) -> tuple[CostMeasurement, ...]:
    """Costs per model from a TOML file with one table per model.

    Raises
    ------
    DataError
        If the file cannot be read, names an unknown model or an unknown cost.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        msg = f"{path}: no such file"
        raise DataError(msg) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        msg = f"{path}: cannot be read as TOML ({error})"
        raise DataError(msg) from None
    costs = []
    for model, values in tables.items():
        if model not in models:
            msg = (
                f"{path}: there is no model '{model}' in the predictions; models there are: {_listed(models)}"
            )
            raise DataError(msg)
        if not isinstance(values, dict):
            msg = f"{path}: '{model}' must be a table: write [{model}] and below it a line per cost"
            raise DataError(msg)
        try:
            costs.append(CostMeasurement(model=model, **values))
        except (ValidationError, TypeError):
            known = [name for name in CostMeasurement.model_fields if name != "model"]
            wrong = [name for name in values if name not in known] or ["a value"]
            msg = (
                f"{path}: [{model}]: {wrong[0]} is not a cost in plain numbers; costs are: {', '.join(known)}"
            )
            raise DataError(msg) from None
    return tuple(costs)


def _read_csv(path: Path) -> tuple[list[str], list[list[str]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        msg = f"{path}: no such file"
        raise DataError(msg) from None
    except UnicodeDecodeError:
        msg = f"{path}: not UTF-8 text; save it as CSV (UTF-8)"
        raise DataError(msg) from None
    except OSError as error:
        msg = f"{path}: cannot be read ({error.strerror})"
        raise DataError(msg) from None
    lines = list(csv.reader(io.StringIO(text)))
    if not lines or not any(cell.strip() for cell in lines[0]):
        msg = f"{path}: the file is empty; expected a header with {CASE}, {TRUTH} and one column per model"
        raise DataError(msg)
    header = [cell.strip() for cell in lines[0]]
    for name in header:
        if not name:
            msg = f"{path}: column {header.index(name) + 1} has no name in the header"
            raise DataError(msg)
        if header.count(name) > 1:
            msg = f"{path}: two columns are named '{name}'"
            raise DataError(msg)
    rows = []
    for number, line in enumerate(lines[1:], FIRST_DATA_ROW):
        if not line:
            continue
        if len(line) != len(header):
            msg = f"{path}: row {number} has {len(line)} cells, the header has {len(header)}"
            raise DataError(msg)
        rows.append([cell.strip() for cell in line])
    if not rows:
        msg = f"{path}: there is a header but no case"
        raise DataError(msg)
    return header, rows


def _cases(path: Path, texts: Sequence[str]) -> tuple[str, ...]:
    seen: dict[str, int] = {}
    for number, text in enumerate(texts, FIRST_DATA_ROW):
        if not text:
            msg = f"{path}: column '{CASE}', row {number} is empty"
            raise DataError(msg)
        if text in seen:
            msg = f"{path}: column '{CASE}', row {number}: '{text}' also stands in row {seen[text]}; ids must be unique"
            raise DataError(msg)
        seen[text] = number
    return tuple(texts)


def _labels(
    path: Path, texts: Sequence[str], positive_class: str | None
) -> tuple[NDArray[np.int64], tuple[str, str]]:
    found = list(dict.fromkeys(texts))
    if positive_class is None:
        numbers: Mapping[str, int] = {"0": 0, "1": 1, "0.0": 0, "1.0": 1}
        for number, text in enumerate(texts, FIRST_DATA_ROW):
            if text not in numbers:
                msg = (
                    f"{path}: column '{TRUTH}', row {number}: '{text}' is neither 0 nor 1. If these are names of "
                    f"classes, say which is positive with --positive-class, one of: {_listed(found)}"
                )
                raise DataError(msg)
        return np.array([numbers[text] for text in texts], dtype=np.int64), ("negative", "positive")
    if positive_class not in found:
        msg = f"{path}: column '{TRUTH}' never holds the positive class '{positive_class}'; it holds: {_listed(found)}"
        raise DataError(msg)
    others = [text for text in found if text != positive_class]
    if len(others) > 1:
        number = texts.index(others[1]) + FIRST_DATA_ROW
        msg = (
            f"{path}: column '{TRUTH}', row {number}: a third label '{others[1]}' beside '{positive_class}' "
            f"and '{others[0]}'; exactly two classes can be compared"
        )
        raise DataError(msg)
    negative = others[0] if others else f"not {positive_class}"
    return np.array([text == positive_class for text in texts], dtype=np.int64), (negative, positive_class)


def _scores(path: Path, name: str, texts: Sequence[str], *, probability: bool) -> NDArray[np.float64]:
    values = np.empty(len(texts))
    for i, text in enumerate(texts):
        where = f"{path}: column '{name}', row {i + FIRST_DATA_ROW}"
        if not text:
            msg = f"{where} is empty; every model must be scored on the same cases"
            raise DataError(msg)
        try:
            value = float(text)
        except ValueError:
            msg = f"{where}: '{text}' is not a number; if this is a subgroup column, name it with --subgroups {name}"
            raise DataError(msg) from None
        if not math.isfinite(value):
            msg = f"{where}: '{text}' is not a finite number; score the case again or remove it from the file"
            raise DataError(msg)
        if probability and not 0 <= value <= 1:
            msg = (
                f"{where}: {text} is outside [0, 1]; if these scores are not probabilities, say so with "
                "--scores-are-not-probabilities"
            )
            raise DataError(msg)
        values[i] = value
    return values


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(str(name) for name in names[:MOST_NAMES_SHOWN])
    return shown + (f" and {len(names) - MOST_NAMES_SHOWN} more" if len(names) > MOST_NAMES_SHOWN else "")
