"""From a table as somebody wrote it to one row per case with the columns our documentation names.

Other names for the same thing, an index column of pandas and a row per case and model are
what programs write; what they can mean in one way only is taken so, and noted.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from medcompare.base.file_names import shown
from medcompare.base.language import t
from medcompare.data.columns import Columns, listed
from medcompare.data.spelling import plain, words
from medcompare.data.table_file import NUMBER, numbers_the_rows, read_table_file

if TYPE_CHECKING:
    from pathlib import Path

CASE, TRUTH, PATIENT, SUBSET, SEED = "case_id", "y_true", "patient_id", "subset", "seed"

ALIASES = {
    CASE: words(
        "caseid case imageid image imagename imagefile imagepath img imgid imgname imgpath filename filepath file path "
        "sampleid sample studyid examid id"
    ),
    PATIENT: words(
        "patientid patient patid pid subjectid subject personid person patientname mrn patientnr patientno"
    ),
    TRUTH: words(
        "ytrue ytest yval truth groundtruth gt gtlabel truelabel trueclass reference referencestandard goldstandard"
    ),
}
"""Names, in lower case without blanks and signs, that can mean nothing else; 'label' may be a prediction."""

UNCLEAR_TRUTH = words("label labels target targets class y diagnosis dx outcome actual true")
SCORE = words(
    "score scores prob probability proba yscore yprob yproba p pred prediction ypred output logit value"
)


def read_columns(path: Path) -> Columns:
    """Read a table of predictions: one row per case, whatever the file looks like.

    Parameters
    ----------
    path : Path
        Anything `read_table_file` reads. Without a column ``case_id``, ``y_true`` or
        ``patient_id`` one whose name can mean nothing else takes its place. A column without a
        name that numbers the rows is passed over. Several rows per case, told apart by a
        column ``model``, become one.

    Returns
    -------
    Columns
        With ``case_id`` and ``y_true``.

    Raises
    ------
    DataError
        If a column is missing, or the rows of one case contradict one another.
    """
    table = read_table_file(path, expected=f"{CASE}, {TRUTH} and one column per model")
    _in_one_line(table)
    _check_nameless(table)
    for column in (CASE, TRUTH, PATIENT):
        _take_alias(table, column, required=column != PATIENT)
    return _one_row_per_case(table)


def _in_one_line(table: Columns) -> None:
    """Write what breaks a line, reorders or hides text as escapes, as in the names of files."""
    for name in [name for name in table.columns if shown(name) in {*table.columns} - {name}]:
        table.refuse(f"two columns are named '{shown(name)}'; rename or remove one")
    columns = {
        shown(name): cells if shown(text := "".join(cells)) == text else [shown(cell) for cell in cells]
        for name, cells in table.columns.items()
    }
    table.columns.clear()
    table.columns.update(columns)


def _check_nameless(table: Columns) -> None:
    """A column without a name may number the rows, or be the index that pandas writes first."""
    for place, texts in table.nameless.items():
        if numbers_the_rows(texts):
            table.notes.append(t("a column without a name that numbers the rows was passed over"))
        elif place == 0 and CASE not in table.columns and len(set(texts)) == len(texts):
            table.columns[CASE] = texts
            table.notes.append(t("the first column, which has no name, was taken as {column}", column=CASE))
        else:
            table.refuse(
                f"row 1: column {place + 1} has no name; name it, or remove it and whatever stands above the header"
            )
    for name in [name for name in table.columns if re.fullmatch(r"Unnamed: \d+", name)]:
        if numbers_the_rows(table.columns[name]):
            del table.columns[name]
            table.notes.append(t("column '{column}', which numbers the rows, was passed over", column=name))


def _take_alias(table: Columns, column: str, *, required: bool) -> None:
    """Rename the one column whose name can mean nothing but `column`, where there is none of that name."""
    if column in table.columns:
        return
    found = [name for name in table.columns if plain(name) in ALIASES[column]]
    if len(found) == 1:
        # In its place, so that messages list the columns in order.
        renamed = {column if name == found[0] else name: cells for name, cells in table.columns.items()}
        table.columns.clear()
        table.columns.update(renamed)
        table.notes.append(t("column '{found}' was taken as {column}", found=found[0], column=column))
    elif len(found) > 1:
        table.refuse(
            f"there is no column '{column}', and {listed(found)} could all be meant; rename one of them to {column}"
        )
    elif required:
        what = f"there is no column '{column}'; columns there are: {listed(list(table.columns))}"
        unclear = [name for name in table.columns if plain(name) in UNCLEAR_TRUTH]
        decimals = [name for name in table.columns if NUMBER.fullmatch(name) and not name.isdigit()]
        if column == TRUTH and unclear:
            # Beside a label, which may be predicted, a target is the likelier truth.
            likely = next((name for name in unclear if plain(name) in {"target", "targets"}), unclear[0])
            what += f". If '{likely}' is the truth and not a prediction, rename it to {TRUTH}"
            if likely == unclear[0] and any(plain(name) in {"prob", "logit"} for name in table.columns):
                what += (
                    "; timm's inference.py writes the predicted class there and no truth: add a column of it"
                )
        elif decimals:
            what += f". Is the header missing? The first line should read {CASE},{TRUTH},MODEL"
        elif column == CASE and (unclear or any(plain(name) in ALIASES[TRUTH] for name in table.columns)):
            what += ". A table without ids gets them in Python with table.insert(0, 'case_id', [f'test-{i}' for i in "
            what += "range(len(table))]), and others for the validation table"
        else:
            what += f". The first lines should look like {CASE},{TRUTH},MODEL and image-1,0,0.12"
        table.refuse(what)


def _one_row_per_case(table: Columns) -> Columns:
    """`table` itself, or, where a column names the model of each row, its rows joined by case."""
    names = [name for name in table.columns if plain(name) in {"model", "modelname", "classifier", "network"}]
    scores = [name for name in table.columns if plain(name) in SCORE]
    if len(names) != 1 or len(scores) != 1:
        return table
    (model_column,), (score_column,) = names, scores
    ids = table.columns[CASE]
    if len(set(ids)) == len(ids) and len(set(table.columns[model_column])) > 1:
        return table  # the model of a scanner, perhaps
    seeds = table.columns.get(SEED)
    models = table.filled(model_column, "name the model of every row")
    keys = [f"{model}@{seeds[i]}" if seeds else model for i, model in enumerate(models)]
    cases = table.ids(CASE, "give every row its case")
    first: dict[str, int] = {}
    scored: dict[str, dict[str, int]] = {}
    fixed = [name for name in table.columns if name not in {model_column, score_column, SEED}]
    for i, (case, key) in enumerate(zip(cases, keys, strict=True)):
        at = first.setdefault(case, i)
        for name in (name for name in (TRUTH, PATIENT, SUBSET) if name in table.columns):
            here, there = table.columns[name][i], table.columns[name][at]
            if here != there:
                table.refuse_cell(
                    name,
                    table.rows[i],
                    f" differs from row {table.rows[at]}, which is the same case",
                )
        if case in scored.setdefault(key, {}):
            other = table.rows[scored[key][case]]
            table.refuse_cell(CASE, table.rows[i], f": {key} scores the case of row {other} a second time")
        scored[key][case] = i
    for key, rows in scored.items():
        missing = [case for case in first if case not in rows]
        if missing:
            row = table.rows[first[missing[0]]]
            table.refuse(
                f"{key} has no score for {len(missing)} of {len(first)} cases, the first in row {row}; every model "
                "must be scored on the same cases"
            )
    kept = list(first.values())
    columns = {name: [table.columns[name][i] for i in kept] for name in fixed}
    clash = [key for key in scored if key in columns]
    if clash:
        table.refuse(f"a model is named '{clash[0]}', and so is a column; rename one of them")
    # By name, since the order of the rows must not matter.
    columns |= {
        key: [table.columns[score_column][scored[key][case]] for case in first] for key in sorted(scored)
    }
    note = t(
        "rows were joined by case: column '{models}' names the model, '{scores}' holds its score",
        models=model_column,
        scores=score_column,
    )
    return Columns(
        path=table.path,
        columns=columns,
        nameless={},
        rows=[table.rows[i] for i in kept],
        notes=[*table.notes, note],
        joined=True,
    )
