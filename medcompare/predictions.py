"""Tables of predictions: read and checked, written at full precision.

One table holds one subset: ``case_id``, ``y_true``, optional ``patient_id`` and subgroup
columns, and one score column per model. The first thing wrong is reported with file,
column and row as a spreadsheet counts them (the header is row 1); nothing is repaired.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from medcompare.artifacts import sha256_of_bytes, sha256_of_file
from medcompare.cases import ScoredCases
from medcompare.cost_file import read_costs
from medcompare.errors import DataError
from medcompare.prediction_csv import listed, read_csv

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from medcompare.config import AssessConfig
    from medcompare.cost_records import CostMeasurement
    from medcompare.prediction_csv import CsvTable

CASE, TRUTH, PATIENT, SUBSET = "case_id", "y_true", "patient_id", "subset"


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
            raise DataError(msg + listed(test.models))
    validation = None
    if config.validation is not None:
        validation = read_prediction_table(
            config.validation,
            positive_class=config.positive_class,
            subgroups=config.evaluate.subgroups,
            subset="val",
            scores_are_probabilities=config.scores_are_probabilities,
            models=tuple(test.judged.values()),
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
        Columns that hold subgroups; every other column not named above is a model, or,
        as ``MODEL@SEED``, one of its training seeds.
    subset : {"val", "test"}
        What the table holds. A column ``subset``, where there is one, must say so too.
    scores_are_probabilities : bool, default=True
        Whether scores must lie in [0, 1].
    models : sequence of str, optional
        Score columns that must be there, and no other model (for the validation file:
        those that the test file judges). Subgroup columns may then be missing.

    Returns
    -------
    ScoredCases

    Raises
    ------
    DataError
        Naming the file, the column and the first offending row.
    """
    table = read_csv(path, expected=f"{CASE}, {TRUTH} and one column per model")
    for column in (CASE, TRUTH):
        table.require(column)
    if models is None:
        for column in subgroups:
            table.require(column, "subgroup column")
    _check_subset(table, subset)
    fixed = {CASE, TRUTH, PATIENT, SUBSET, *subgroups}
    columns = [column for column in table.columns if column not in fixed]
    if not columns:
        table.refuse(
            f"no column holds the scores of a model; columns there are: {listed(list(table.columns))}"
        )
    by_model = _by_model(table, columns)
    if models is not None:
        _check_models(table, columns, by_model, models)
    y_true, classes = _labels(table, positive_class)
    numbers = {name: table.scores(name, probability=scores_are_probabilities) for name in columns}
    judged = {model: names[0] for model, names in by_model.items()}
    if models is not None:
        judged = {_model_and_seed(name)[0]: name for name in models}
    patients = None
    if PATIENT in table.columns:
        texts = table.filled_texts(PATIENT, "give every case its patient, or drop the column")
        patients = np.array(texts, dtype=np.str_)
    return ScoredCases(
        case_id=table.unique_texts(CASE),
        y_true=y_true,
        scores={model: numbers[name] for model, name in judged.items()},
        patient_id=patients,
        subgroups={
            name: np.array(table.columns[name], dtype=np.str_) for name in subgroups if name in table.columns
        },
        classes=classes,
        subset=subset,
        scores_are_probabilities=scores_are_probabilities,
        judged=judged,
        rows=tuple(table.rows),
        seed_scores={
            model: {seed: numbers[name] for name in names if (seed := _model_and_seed(name)[1]) is not None}
            for model, names in by_model.items()
            if names != [model]
        },
    )


def write_prediction_table(cases: ScoredCases) -> bytes:
    """`cases` as CSV that reads back to exactly the same numbers.

    Parameters
    ----------
    cases : ScoredCases
        Any subset.

    Returns
    -------
    bytes
        UTF-8; labels as 0 and 1, scores with as many digits as they need.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    columns: dict[str, NDArray[np.float64]] = {}
    for model, scores in cases.scores.items():
        seeds = {f"{model}@{seed}": values for seed, values in cases.seed_scores.get(model, {}).items()}
        columns |= seeds if cases.judged.get(model, model) in seeds else {model: scores, **seeds}
    patients = [] if cases.patient_id is None else [PATIENT]
    writer.writerow([CASE, TRUTH, *patients, *cases.subgroups, *columns])
    for i in range(cases.n):
        patient = [] if cases.patient_id is None else [cases.patient_id[i]]
        levels = [column[i] for column in cases.subgroups.values()]
        scores_of_case = [repr(float(column[i])) for column in columns.values()]
        writer.writerow([cases.case_id[i], int(cases.y_true[i]), *patient, *levels, *scores_of_case])
    return out.getvalue().encode("utf-8")


def check_apart(
    test: ScoredCases, validation: ScoredCases, *, test_path: Path, validation_path: Path
) -> None:
    """Check that thresholds cannot have seen the test, and that both files mean the same classes.

    Patients in both files are not refused here: the verdict is then invalid, and says so.

    Parameters
    ----------
    test, validation : ScoredCases
        The two subsets.
    test_path, validation_path : Path
        Where they came from, for the message.

    Raises
    ------
    DataError
        If a case stands in both files, or the classes differ.
    """
    complete = all(0 < cases.y_true.sum() < cases.n for cases in (test, validation))
    if complete and test.classes != validation.classes:
        msg = (
            f"{validation_path}: column '{TRUTH}' holds {' and '.join(validation.classes)}, "
            f"but that of {test_path} holds {' and '.join(test.classes)}"
        )
        raise DataError(msg)
    shared = set(test.case_id) & set(validation.case_id)
    if shared:
        first = next(i for i, case in enumerate(validation.case_id) if case in shared)
        number = len(shared)
        where = f", row {validation.rows[first]}" if validation.rows else ""
        msg = (
            f"{validation_path}: column '{CASE}'{where}: case '{validation.case_id[first]}' also stands in {test_path} "
            f"({number} such {'case' if number == 1 else 'cases'}); no case may be in both files"
        )
        raise DataError(msg)


def _check_subset(table: CsvTable, subset: str) -> None:
    """A column ``subset`` must name the subset that the table is read as, in every row."""
    if SUBSET not in table.columns:
        return
    names = {"val": ("val", "validation"), "test": ("test",)}[subset]
    for row, text in table.cells(SUBSET):
        if text.lower() not in names:
            what = f": '{text}' where '{names[0]}' is expected; keep one file per subset"
            table.refuse_cell(SUBSET, row, what)


def _model_and_seed(column: str) -> tuple[str, str | None]:
    """``resnet50@1`` is seed 1 of resnet50; a name without @ is the model itself."""
    model, at, seed = column.rpartition("@")
    return (model, seed) if at else (column, None)


def _by_model(table: CsvTable, columns: Sequence[str]) -> dict[str, list[str]]:
    """Score columns by model: the judged one first, then its seeds."""
    found: dict[str, list[str]] = {}
    for column in columns:
        model, seed = _model_and_seed(column)
        if not model or (seed is not None and not seed):
            table.refuse(f"row 1: column '{column}': write MODEL@SEED, as in resnet50@1, or a name without @")
        names = found.setdefault(model, [])
        if seed is None:
            names.insert(0, column)
        else:
            names.append(column)
    return found


def _check_models(
    table: CsvTable, columns: Sequence[str], by_model: Mapping[str, Sequence[str]], wanted: Sequence[str]
) -> None:
    missing = [name for name in wanted if name not in columns]
    known = {_model_and_seed(name)[0] for name in wanted}
    besides = [model for model in by_model if model not in known]
    parts = [f"misses {listed(missing)}"] if missing else []
    parts += [f"has {listed(besides)} besides"] if besides else []
    if parts:
        table.refuse(f"row 1: the models differ from those of the test file: it {' and '.join(parts)}")


def _labels(table: CsvTable, positive_class: str | None) -> tuple[NDArray[np.int64], tuple[str, str]]:
    texts = table.filled_texts(TRUTH, "give every case its true class, or delete the row")
    found = list(dict.fromkeys(texts))
    if positive_class is None:
        numbers: Mapping[str, int] = {"0": 0, "1": 1, "0.0": 0, "1.0": 1}
        for row, text in table.cells(TRUTH):
            if text not in numbers:
                names = [name for name in found if name not in numbers]
                what = f": '{text}' is neither 0 nor 1"
                if len(names) == len(found):
                    what += (
                        f"; are these names of classes? Then say which with --positive-class: {listed(found)}"
                    )
                table.refuse_cell(TRUTH, row, what)
        return np.array([numbers[text] for text in texts], dtype=np.int64), ("negative", "positive")
    if positive_class not in found:
        table.refuse(
            f"column '{TRUTH}' never holds the positive class '{positive_class}'; it holds: {listed(found)}"
        )
    others = [text for text in found if text != positive_class]
    if len(others) > 1:
        row = table.rows[texts.index(others[1])]
        table.refuse_cell(
            TRUTH, row, f": a third label '{others[1]}' beside '{positive_class}' and '{others[0]}'"
        )
    negative = others[0] if others else f"not {positive_class}"
    return np.array([text == positive_class for text in texts], dtype=np.int64), (negative, positive_class)
