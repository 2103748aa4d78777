"""Tables of predictions: read and checked, written at full precision.

One table holds one subset: ``case_id``, ``y_true``, optional ``patient_id`` and subgroup
columns, and one score column per model. The first thing wrong is reported with file,
column and row as a spreadsheet counts them (the header is row 1). What can be read in one
way only is read, and said in `PredictionTables.notes`. ``docs/prediction-tables.md`` is the
page for users.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from medcompare.base.artifacts import sha256_of_bytes
from medcompare.base.errors import DataError
from medcompare.base.language import message, t
from medcompare.data.columns import listed
from medcompare.data.spelling import (
    counted,
    named_as,
    positive_options,
    same_id,
    side_name,
    without_formula,
)
from medcompare.predictions.cases import ScoredCases
from medcompare.predictions.conventions import settle_conventions
from medcompare.predictions.cost_file import read_costs
from medcompare.predictions.layout import CASE, PATIENT, SUBSET, TRUTH, read_columns
from medcompare.predictions.numbers import score_numbers
from medcompare.predictions.respelled import respelled_caveats
from medcompare.predictions.roles import assign_roles, columns_by_model, follow_roles, model_and_seed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from medcompare.config.schema import AssessConfig
    from medcompare.data.columns import Columns
    from medcompare.predictions.costs import CostMeasurement

EXAMPLES = "examples of tables: docs/prediction-tables.md"


@dataclass(frozen=True, kw_only=True)
class PredictionTables:
    """All an assessment reads.

    Attributes
    ----------
    test, validation : ScoredCases
        The two subsets; `validation` is None where there is no file.
    costs : tuple of CostMeasurement
        Costs measured elsewhere.
    digest : str
        Of all that is in them, however it was written down: of cases, truth, scores, patients,
        subgroups, names of classes and models, and costs.
    notes : tuple of str
        How the files were read: which columns are models, and what was not as documented.
    caveats : tuple of str
        What a reader must know before believing a figure.
    """

    test: ScoredCases
    validation: ScoredCases | None
    costs: tuple[CostMeasurement, ...]
    digest: str
    notes: tuple[str, ...] = ()
    caveats: tuple[str, ...] = ()


def read_tables(config: AssessConfig) -> PredictionTables:
    """Read and check every file that `config` names.

    Raises
    ------
    DataError
        Naming the file, the column, the first offending row, and the page of examples.
    """
    try:
        return _read_tables(config)
    except DataError as error:
        msg = f"{error} ({EXAMPLES})"
        raise DataError(msg) from None


def _read_tables(config: AssessConfig) -> PredictionTables:
    test = read_prediction_table(
        config.predictions,
        positive=config.positive,
        subgroups=config.evaluate.subgroups or (),
        subset="test",
        scores_are_probabilities=config.scores_are_probabilities,
        scores_are_percentages=config.scores_are_percentages,
        models=config.models,
    )
    for model, threshold in config.thresholds.items():
        if model not in test.scores:
            msg = f"--threshold {model}: {config.predictions} has no column of that name; models there are: "
            raise DataError(msg + listed(test.models))
        if config.scores_are_probabilities and not 0 <= threshold <= 1:
            msg = (
                f"--threshold {model}={threshold:g}: thresholds of probabilities lie between 0 and 1; for other scores "
                "add --scores-are-not-probabilities"
            )
            raise DataError(msg)
    validation = None
    if config.validation is not None:
        validation = read_prediction_table(
            config.validation,
            positive=config.positive,
            subgroups=config.evaluate.subgroups or (),
            subset="val",
            scores_are_probabilities=config.scores_are_probabilities,
            scores_are_percentages=config.scores_are_percentages,
            models=config.models,
            test=test,
        )
        check_apart(test, validation, test_path=config.predictions, validation_path=config.validation)
    costs = () if config.costs is None else read_costs(config.costs, test.models)
    test = test.per_patient(config.evaluate.per_patient)
    validation = validation and validation.per_patient(config.evaluate.per_patient)
    subsets = [(TEST_TABLE, test)] + ([] if validation is None else [(VALIDATION_TABLE, validation)])
    return PredictionTables(
        test=test,
        validation=validation,
        costs=costs,
        digest=digest_of([cases for _, cases in subsets], costs),
        notes=tuple(t(table, note=note) for table, cases in subsets for note in cases.notes),
        caveats=respelled_caveats(test, validation),
    )


def digest_of(subsets: Sequence[ScoredCases], costs: Sequence[CostMeasurement]) -> str:
    """What identifies the data of an assessment, see `PredictionTables`."""
    parts = [cost.model_dump_json() for cost in costs]
    for cases in subsets:
        names = [*cases.classes, *cases.models, *cases.judged.values(), *cases.subgroups]
        parts.append(json.dumps([cases.subset, cases.scores_are_probabilities, names]))
        parts.append(write_prediction_table(cases).decode())
    return sha256_of_bytes("\n".join(parts).encode())


TEST_TABLE, VALIDATION_TABLE = message("Test table: {note}."), message("Validation table: {note}.")


def read_prediction_table(
    path: Path,
    *,
    positive: Sequence[str] = (),
    subgroups: Sequence[str] = (),
    subset: Literal["val", "test"] = "test",
    scores_are_probabilities: bool = True,
    scores_are_percentages: bool = False,
    models: Sequence[str] = (),
    test: ScoredCases | None = None,
) -> ScoredCases:
    """Read and check a table of predictions.

    Parameters
    ----------
    path : Path
        A table with a header, in any form `read_columns` knows.
    positive : sequence of str, optional
        Values of ``y_true`` that are positive, all others are negative; without them the labels must be 0 and 1.
    subgroups : sequence of str
        Columns that hold subgroups.
    subset : {"val", "test"}
        What the table holds. A column ``subset``, where there is one, must say so too.
    scores_are_probabilities : bool, default=True
        Whether scores must lie in [0, 1].
    scores_are_percentages : bool, default=False
        Whether scores run from 0 to 100; they are divided by 100.
    models : sequence of str, optional
        Columns of scores, ``MODEL`` or ``MODEL@SEED``; all others are left alone. Without it
        a column that need not be a model is asked about.
    test : ScoredCases, optional
        For the validation file: the test subset, whose judged columns must be there, and no
        other model. Subgroup columns may then be missing.

    Returns
    -------
    ScoredCases
        Sorted by case, so that the order of the rows changes nothing.

    Raises
    ------
    DataError
        Naming the file, the column and the first offending row.
    """
    table = read_columns(path)
    if test is None:
        for column in subgroups:
            table.require(column, "subgroup column")
    _check_subset(table, subset)
    y_true, classes = _labels(table, positive)
    fixed = {CASE, TRUTH, PATIENT, SUBSET, *subgroups}
    candidates = [column for column in table.columns if column not in fixed]
    candidates, settled = settle_conventions(
        table, candidates, wanted=models, y_true=y_true, percentages=scores_are_percentages
    )
    if test is None:
        roles = assign_roles(table, candidates, wanted=models, classes=classes, settled=settled)
    else:
        roles = follow_roles(
            table, candidates, judged=test.judged, unused=candidates if models else test.unused
        )
    by_model = columns_by_model(table, roles.scores)
    numbers = score_numbers(
        table, roles.scores, probability=scores_are_probabilities, percentages=scores_are_percentages
    )
    judged = {model: names[0] for model, names in by_model.items()} if test is None else test.judged
    patients = None
    if PATIENT in table.columns:
        remedy = (
            "give every case its patient (one of its own where the patient is not known), or drop the column"
        )
        patients = np.array(table.ids(PATIENT, remedy), dtype=np.str_)
    table.ids(CASE, "give every case an id, or delete the row")
    remedy = (
        "ids must be unique (for several rows per case, one for each model, name the model in a column 'model' and "
        "its score in a column 'score')"
    )
    cases = table.unique(CASE, remedy)
    order = sorted(range(len(cases)), key=cases.__getitem__)
    return ScoredCases(
        case_id=tuple(cases[i] for i in order),
        y_true=y_true[order],
        scores={model: numbers[name][order] for model, name in judged.items()},
        patient_id=None if patients is None else patients[order],
        subgroups={
            name: np.array(table.columns[name], dtype=np.str_)[order]
            for name in subgroups
            if name in table.columns
        },
        classes=classes,
        subset=subset,
        scores_are_probabilities=scores_are_probabilities,
        judged=dict(judged),
        rows=tuple(table.rows[i] for i in order),
        unused=roles.unused,
        notes=tuple(table.notes),
        seed_scores={
            model: {
                seed: numbers[name][order] for name in names if (seed := model_and_seed(name)[1]) is not None
            }
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
        UTF-8; labels as 0 and 1, scores with as many digits as they need, no text that a spreadsheet would compute.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    columns: dict[str, NDArray[np.float64]] = {}
    for model, scores in cases.scores.items():
        seeds = {f"{model}@{seed}": values for seed, values in cases.seed_scores.get(model, {}).items()}
        columns |= seeds if cases.judged.get(model, model) in seeds else {model: scores, **seeds}
    patients = [] if cases.patient_id is None else [PATIENT]
    writer.writerow([CASE, TRUTH, *patients, *map(without_formula, [*cases.subgroups, *columns])])
    for i in range(cases.n):
        patient = [] if cases.patient_id is None else [without_formula(cases.patient_id[i])]
        levels = [without_formula(column[i]) for column in cases.subgroups.values()]
        scores_of_case = [repr(float(column[i])) for column in columns.values()]
        writer.writerow(
            [without_formula(cases.case_id[i]), int(cases.y_true[i]), *patient, *levels, *scores_of_case]
        )
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


def _check_subset(table: Columns, subset: str) -> None:
    """A column ``subset`` must name the subset that the table is read as, in every row."""
    if SUBSET not in table.columns:
        return
    names = {"val": ("val", "valid", "validation"), "test": ("test",)}[subset]
    for row, text in table.cells(SUBSET):
        if text.lower() not in names:
            what = f": '{text}' where '{names[0]}' is expected; keep one file per subset"
            table.refuse_cell(SUBSET, row, what)


MAX_CLASSES = 20
"""More are no classes of a diagnosis; the set of most classes that this project knows has nine."""

NUMBERED = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "0,0": 0, "1,0": 1, "false": 0, "true": 1}


def _labels(table: Columns, positive: Sequence[str]) -> tuple[NDArray[np.int64], tuple[str, str]]:
    texts = table.filled(TRUTH, "give every case its true class, or delete the row")
    found = list(dict.fromkeys(texts))
    if not positive:
        for row, text in table.cells(TRUTH):
            if text.lower() not in NUMBERED:
                names = [name for name in found if name.lower() not in NUMBERED]
                what = f": '{text}' is neither 0 nor 1"
                if len(found) > MAX_CLASSES:
                    what += f", and there are {len(found)} different values: is this column the truth?"
                elif len(names) == len(found) or len(found) == 2:
                    what += (
                        f"; are these names of classes? Then say which is positive: {positive_options(found)}"
                    )
                table.refuse_cell(TRUTH, row, what)
        return np.array([NUMBERED[text.lower()] for text in texts], dtype=np.int64), ("negative", "positive")
    for text in found:
        twin = next((other for other in found if other != text and same_id(other) == same_id(text)), None)
        if twin is not None:
            row = table.rows[texts.index(twin)]
            table.refuse_cell(TRUTH, row, f": '{twin}' and '{text}' seem to be one class; write them alike")
    ones: set[str] = set()
    for given in positive:
        name = named_as(given, found)
        if name is None:
            table.refuse(
                f"column '{TRUTH}' never holds the positive class '{given}'; it holds: {listed(found)}"
            )
        if name != given:
            table.notes.append(t("'{name}' was taken as the positive class {given}", name=name, given=given))
        ones.add(name)
    counts = Counter(texts)
    sides = sorted(set(found) - ones), sorted(ones)
    if max(map(len, sides)) > 1:
        facts = {"positive": counted(sides[1], counts), "negative": counted(sides[0], counts)}
        table.notes.append(t("positive: {positive}; negative: {negative}", **facts))
    name = side_name(sides[1], "positive")
    negative = sides[0][0] if len(sides[0]) == 1 else f"not {name}"
    return np.array([text in ones for text in texts], dtype=np.int64), (negative, name)
