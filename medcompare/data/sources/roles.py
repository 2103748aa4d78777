"""Which column of a table of images says what: by option, by the names that people use, by what is in it."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from medcompare.base.errors import DataError
from medcompare.base.language import t, tn
from medcompare.data.columns import listed
from medcompare.data.sources.command import command
from medcompare.data.spelling import NO_VALUE, counted, plain, words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medcompare.config.data import DataConfig
    from medcompare.data.columns import Columns
    from medcompare.data.sources.places import Places

PATH, LABEL, PATIENT = "path", "label", "patient_id"

PATHS = words(
    "path paths pathname filepath file files filename filenames image images imageid imagename imagefile imagepath "
    "imageindex img imgs imgid imgname imgpath id isicid picture datei dateiname bild bildname"
)
LABELS = words(
    "label labels dx diagnosis diagnose target class classes classname category finding malignant malignancy cancer "
    "tumor tumour disease outcome truth groundtruth gt klasse befund benignmalignant"
)
TARGETS = words("target label labels malignant malignancy cancer tumor tumour disease")
"""Where such a column holds 0 and 1, 1 is positive."""

PATIENTS = words("patientid patient patid patientnumber subjectid subject personid pid")
GROUPS = words("lesionid lesion caseid case studyid study examid exam slideid slide biopsyid groupid group")
"""Names of columns, without capitals, blanks and signs."""

ZERO_ONE = re.compile(r"[01](?:[.,]0+)?")
N_TRIED = 20
MAX_LEVELS_OF_CLASS = 30


def path_column(table: Columns, places: Places, data: DataConfig) -> str:
    """The column that names the image files.

    Raises
    ------
    DataError
        If there is none, or several could be meant; the message shows the command that would go on.
    """
    if data.path_column is not None:
        table.require(data.path_column)
        return data.path_column
    if PATH in table.columns:
        return PATH
    named = [name for name in table.columns if plain(name) in PATHS]
    fitting = [name for name in named or table.columns if _names_files(table.columns[name], places)]
    if len(fitting) == 1 or (not fitting and len(named) == 1):
        found = (fitting or named)[0]
        table.notes.append(t("column {column} names the image files.", column=found))
        return found
    if fitting:
        what = f"{len(fitting)} columns name files: {listed(fitting)}"
    else:
        what = f"no column names files below {places.root}; columns there are: {listed(list(table.columns))}"
    likely = (fitting or named or list(table.columns))[0]
    raise refusal(table, f"{what}. Say which is meant", data, path_column=likely)


def _names_files(cells: Sequence[str], places: Places) -> bool:
    tried = [cell for cell in cells if cell][:N_TRIED]
    return bool(tried) and all(places.find(cell).paths for cell in tried)


def label_column(
    table: Columns, taken: Sequence[str], data: DataConfig
) -> tuple[list[str], tuple[str, ...], list[str]]:
    """(label of each row, labels known to be positive, columns used up).

    Raises
    ------
    DataError
        Like `path_column`.
    """
    if data.label_column is not None:
        table.require(data.label_column)
        return _labels(table, data.label_column, data)
    if LABEL in table.columns:
        return _labels(table, LABEL, data)
    one_hot = _one_hot(table, taken)
    named = [name for name in table.columns if plain(name) in LABELS and name not in {*taken, *one_hot}]
    if one_hot and not named:
        labels = ["" for _ in table.rows]
        for name in one_hot:
            for i, cell in enumerate(table.columns[name]):
                if cell[0] == "1":
                    labels[i] = name
        table.notes.append(
            t(
                "columns {columns} hold one 1 per row: that column was taken as the class of the image.",
                columns=listed(one_hot),
            )
        )
        return labels, (), one_hot
    if len(named) == 1:
        table.notes.append(t("column {column} names the class of each image.", column=named[0]))
        return _labels(table, named[0], data)
    # Their values are shown: none of patients, whom a column of any name may hold, each of them a few times.
    possible = named or [
        name
        for name, cells in table.columns.items()
        if name not in taken
        and plain(name) not in PATIENTS | GROUPS
        and 1 < len(set(cells)) <= max(2, min(MAX_LEVELS_OF_CLASS, len(cells) // 3))
    ]
    levels = (f"{name}: {counted(sorted(n := Counter(table.columns[name])), n)}" for name in possible[:5])
    which = "several columns" if named else "no column is called label, dx, diagnosis or the like; these"
    what = (
        f"{which} could name the class: {'; '.join(levels)}"
        if possible
        else f"no column names the class; columns there are: {listed(list(table.columns))}"
    )
    raise refusal(table, f"{what}. Say which does", data, label_column=(possible or ["COLUMN"])[0])


def _labels(table: Columns, name: str, data: DataConfig) -> tuple[list[str], tuple[str, ...], list[str]]:
    cells = table.columns[name]
    values = sorted({cell for cell in cells if cell and cell.casefold() not in NO_VALUE})
    if data.positive:
        return cells, (), [name]
    if plain(name) in TARGETS and len(values) == 2 and all(ZERO_ONE.fullmatch(value) for value in values):
        table.notes.append(t("column {column} holds 0 and 1: 1 was taken as positive.", column=name))
        # "20 target=1" can be read in a report, "20 1" cannot.
        return [f"{name}={cell[0]}" if cell in values else "" for cell in cells], (f"{name}=1",), [name]
    return cells, (), [name]


def _one_hot(table: Columns, taken: Sequence[str]) -> list[str]:
    """Columns of 0 and 1 of which exactly one is 1 in every row."""
    names = [
        name
        for name, cells in table.columns.items()
        if name not in taken and all(ZERO_ONE.fullmatch(cell) for cell in cells)
    ]
    if len(names) < 2:
        return []
    n_ones = (
        sum(cell[0] == "1" for cell in row) for row in zip(*(table.columns[n] for n in names), strict=True)
    )
    return names if all(n == 1 for n in n_ones) else []


def group_columns(
    table: Columns, taken: Sequence[str], data: DataConfig
) -> tuple[list[str], tuple[str, ...]]:
    """(columns whose values must stay together, others that may be such).

    The former are those of ``data.group_by`` and that of the patient.
    """
    for name in data.group_by:
        table.require(name)
    patients = [name for name in table.columns if plain(name) in PATIENTS and name not in taken]
    patients = [PATIENT] if PATIENT in patients else patients[:1]
    if patients and patients[0] not in {PATIENT, *data.group_by}:
        table.notes.append(t("column {column} names the patient of each image.", column=patients[0]))
    offered = [
        name
        for name in table.columns
        if plain(name) in GROUPS
        and name not in {*taken, *data.group_by, *patients}
        and 1 < len(set(table.columns[name])) < len(table.rows)
    ]
    for name in offered:
        table.notes.append(
            t(
                "column {column} repeats ({n_values} values in {n_rows} rows): where what it names must not be in two "
                "subsets, add --group-by {column}.",
                column=name,
                n_values=len(set(table.columns[name])),
                n_rows=len(table.rows),
            )
        )
    return list(dict.fromkeys([*data.group_by, *patients])), tuple(offered)


def joined(groups: Sequence[Sequence[str]]) -> list[str]:
    """Id of each row such that rows which share a value in any of `groups` share it: the first of its values."""
    if len(groups) == 1:
        return list(groups[0])
    root: dict[tuple[int, str], tuple[int, str]] = {}

    def find(key: tuple[int, str]) -> tuple[int, str]:
        while root.setdefault(key, key) != key:
            root[key] = root[root[key]]
            key = root[key]
        return key

    rows = [[(k, value) for k, value in enumerate(row)] for row in zip(*groups, strict=True)]
    for first, *others in rows:
        for other in others:
            one, two = sorted((find(first), find(other)))
            root[two] = one
    return [find(row[0])[1] for row in rows]


def without_label(table: Columns, labels: Sequence[str], data: DataConfig) -> list[int]:
    """Rows, by their place, that have no label and are to be left out (``--exclude NaN``).

    Raises
    ------
    DataError
        If there are any and that was not said.
    """
    empty = [i for i, label in enumerate(labels) if not label or label.casefold() in NO_VALUE]
    if empty and not any(name.casefold() in NO_VALUE for name in data.exclude):
        rows = listed([str(table.rows[i]) for i in empty])
        written = sorted({f"'{labels[i]}'" for i in empty if labels[i]})
        how = f" (empty or {listed(written)})" if written else ""
        what = f"{len(empty)} of {len(labels)} images have no label{how}: rows {rows}. Fill them in, or leave them out"
        raise refusal(table, what, data, exclude=(*data.exclude, "NaN"))
    if empty:
        table.notes.append(
            tn(
                "{n} of {n_all:,} images had no label and was left out (data.exclude).",
                "{n:,} of {n_all:,} images had no label and were left out (data.exclude).",
                len(empty),
                n_all=len(labels),
            )
        )
    return empty


def refusal(table: Columns, what: str, data: DataConfig, **changes: str | tuple[str, ...]) -> DataError:
    """A DataError about `table` with the command that `changes` make of the one that was given."""
    return DataError(f"{table.path}: {what}.\nTry: {command(data.model_copy(update=changes), None)}")
