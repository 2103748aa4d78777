"""Scores in a table of predictions: which cells are numbers, and which numbers they are."""

from __future__ import annotations

import math
import re
import shlex
from typing import TYPE_CHECKING

import numpy as np

from medcompare.base.language import t, tn
from medcompare.data.columns import listed
from medcompare.data.spelling import NO_VALUE, same_id
from medcompare.data.table_file import NUMBER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from medcompare.data.columns import Columns

GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+ ?%?")
POINTED = re.compile(r"[+-]?[1-9]\d{0,2}(\.\d{3})+ ?%?")
"""Numbers that read as thousands in one language and as decimal fractions in the other."""

WRITE_ALIKE = "Write all numbers with a decimal point and nothing else"

FEW_CASES = 10
"""With fewer cases two or three different scores, or none above 1, are no sign of anything."""

NO_ROUNDING = 1.05
"""From here on a number is no probability that was rounded, be it to 8 bits."""

MAX_LOGIT = 30
"""Networks give no logits beyond: the probability would be that of 32-bit rounding (1e-13)."""

ROUNDING = 1e-6
"""How far a probability may lie outside [0, 1]: some units in the last place of a 32-bit float (1.2e-7)."""

NOT_FINITE = NO_VALUE | {"inf", "infinity", "none"}


def is_numeric(table: Columns, column: str) -> bool:
    """Whether any cell is a number, or no cell is anything else than a missing one."""
    texts = table.columns[column]
    return any(map(NUMBER.fullmatch, texts)) or all(
        not text or text.casefold().lstrip("+-") in NOT_FINITE for text in texts
    )


def score_numbers(
    table: Columns, columns: Sequence[str], *, probability: bool, percentages: bool = False
) -> dict[str, NDArray[np.float64]]:
    """Cells of score columns as finite numbers, in [0, 1] where they are probabilities.

    Percent signs are read, and so are decimal commas where they can be nothing else; a
    probability that leaves [0, 1] by rounding is put on its border. All of it is noted.

    Parameters
    ----------
    table : Columns
        All of the table; gets the notes.
    columns : sequence of str
        Columns of scores.
    probability : bool
        Whether they must lie in [0, 1].
    percentages : bool
        Whether they are percentages, to be divided by 100.

    Raises
    ------
    DataError
        Naming the first row that is empty, no number, not finite, or outside [0, 1].
    """
    with_comma = _decimal_comma(table, columns, probability=probability and not percentages)
    found: dict[str, NDArray[np.float64]] = {}
    with_sign: list[str] = []
    for column in columns:
        signs = [text.endswith("%") for text in table.columns[column]]
        if any(signs) and not all(signs):
            row = table.rows[signs.index(not signs[0])]
            table.refuse_cell(
                column,
                row,
                ": only some of the cells have a percent sign; write it in all of them or in none",
            )
        if all(signs):
            with_sign.append(column)
        values = np.array([_number(text, with_comma=with_comma) for text in table.columns[column]])
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            i = int(bad[0])
            table.refuse_cell(column, table.rows[i], _no_number(column, table.columns[column][i]))
        if percentages and not any(signs) and values.size >= FEW_CASES and 0 < values.max() <= 1:
            table.refuse(
                f"no value of column '{column}' is above 1: percentages, or probabilities? Write all scores from 0 "
                "to 1, or with percent signs, and leave out --scores-are-percentages"
            )
        found[column] = values / 100 if all(signs) or percentages else values
    if with_sign:
        table.notes.append(t("{columns}: percent signs were read, 50% as 0.5", columns=listed(with_sign)))
    if percentages and with_sign:
        table.refuse(
            f"column '{with_sign[0]}' has percent signs, which are read without --scores-are-percentages"
        )
    return _within(table, found) if probability else found


def _decimal_comma(table: Columns, columns: Sequence[str], *, probability: bool) -> bool:
    """Whether numbers have a decimal comma; the same in all columns, or it is refused."""
    if not probability:
        _no_thousands(table, columns)
    commas = [
        (c, row, text) for c in columns for row, text in table.cells(c) if _is_number(text) and "," in text
    ]
    if not commas:
        return False
    column, row, text = commas[0]
    point = next(((c, r, t) for c in columns for r, t in table.cells(c) if _is_number(t) and "." in t), None)
    if point is not None:
        table.refuse_cell(
            column, row, f": '{text}' has a decimal comma, but column '{point[0]}', row {point[1]} a point; "
            f"write points everywhere, as in {text.replace(',', '.')}",
        )  # fmt: skip
    if not probability and all(GROUPED.fullmatch(text) for _, _, text in commas):
        table.refuse_cell(
            column, row, f": is '{text}' {text.replace(',', '.')} or {text.replace(',', '')}? {WRITE_ALIKE}",
        )  # fmt: skip
    table.notes.append(t("numbers have a decimal comma"))
    return True


def _no_thousands(table: Columns, columns: Sequence[str]) -> None:
    """Refuse '1.234' beside '999': a point that parts thousands, as in German."""
    for column in columns:
        numbers = [(row, text) for row, text in table.cells(column) if _is_number(text)]
        points = [(row, text) for row, text in numbers if "." in text]
        if points and len(points) < len(numbers) and all(POINTED.fullmatch(text) for _, text in points):
            row, text = points[0]
            table.refuse_cell(column, row, f": is '{text}' {text} or {text.replace('.', '')}? {WRITE_ALIKE}")


def _number(text: str, *, with_comma: bool) -> float:
    if not NUMBER.fullmatch(text):
        return math.nan
    text = text.rstrip("% ")
    return float(text.replace(",", ".") if with_comma else text)


def _within(table: Columns, found: dict[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """The numbers as probabilities, those that rounding took out of [0, 1] put back."""
    n_rounded, most = 0, 0.0
    for column, values in found.items():
        outside = np.maximum(values - 1, -values)
        bad = np.flatnonzero(outside > ROUNDING)
        if bad.size:
            i = int(bad[0])
            table.refuse_cell(column, table.rows[i], _outside(table, column, table.columns[column][i], found))
        n_rounded += int((outside > 0).sum())
        most = max(most, float(outside.max(initial=0)))
    if n_rounded:
        table.notes.append(
            tn(
                "one score outside [0, 1] by no more than {most:.1g}, as rounding does: taken as 0 or 1",
                "{n:,} scores outside [0, 1] by no more than {most:.1g}, as rounding does: taken as 0 or 1",
                n_rounded,
                most=most,
            )
        )
    return {column: values.clip(0, 1) for column, values in found.items()}


def _outside(table: Columns, column: str, text: str, found: dict[str, NDArray[np.float64]]) -> str:
    what = f": {text} is outside [0, 1]"
    if all(values.min() >= 0 and NO_ROUNDING < values.max() <= 100 for values in found.values()):
        return (
            f"{what}, and every column of scores lies between 0 and 100: if these are percentages, say so with "
            "--scores-are-percentages; if they are no probabilities, with --scores-are-not-probabilities"
        )
    if all(values.min() >= 0 and values.max() <= 100 for values in found.values()) and (
        found[column].max() > MAX_LOGIT
    ):
        return (
            f"{what}, and other columns are not: percentages beside probabilities? Write all from 0 to 1; if column "
            f"'{column}' is no model, name the models with --models"
        )
    if all(values.min() > 1 - NO_ROUNDING and values.max() < NO_ROUNDING for values in found.values()):
        what += ", by more than numbers of 32 bits are rounded: compute it with 32 bits instead of 16"
    else:
        what += _of_logits(table, found)
    return (
        f"{what}; if these are not probabilities, say so with --scores-are-not-probabilities; if column "
        f"'{column}' is no model, name the models with --models"
    )


def _of_logits(table: Columns, found: dict[str, NDArray[np.float64]]) -> str:
    """What makes probabilities of logits: the columns, their range, and a command for this file."""
    logits = [
        name for name, values in found.items() if values.min() < -ROUNDING or values.max() > NO_ROUNDING
    ]
    ranges = listed([f"{name} ({found[name].min():.3g} to {found[name].max():.3g})" for name in logits])
    truth = {same_id(text) for text in table.columns.get("y_true", ())}
    numbered = {re.sub(r"\d+$", "", name) for name in logits}
    of_classes = len(logits) > 1 and (
        all(same_id(name) in truth for name in logits)
        or (len(numbered) == 1 and all(name[-1].isdigit() for name in logits) and numbered != set(logits))
    )
    function, how = ("softmax", ", axis=1") if of_classes else ("expit", "")
    what = (
        "softmax over the classes"
        if of_classes
        else "sigmoid (for columns of two classes of one model: softmax)"
    )
    told = f". Logits? They range over {ranges}; probabilities come from the {what}"
    if table.joined:
        return told
    read = {".xlsx": "read_excel({!r}, dtype=str)", ".parquet": "read_parquet({!r})"}.get(
        table.path.suffix.lower(), "read_csv({!r}, dtype=str, sep=None, engine='python')"
    )
    new = table.path.with_name(f"{table.path.stem}-probabilities.csv")
    code = (
        f"import pandas as pd; from scipy.special import {function}; t = pd.{read.format(str(table.path))}; "
        f"c = {logits}; t[c] = {function}(t[c].astype(float){how}); t.to_csv({str(new)!r}, index=False)"
    )
    quoted = shlex.quote(code) if set(code) & set('"$`\\!') else f'"{code}"'
    return f"{told}: python -c {quoted}"


def _is_number(text: str) -> bool:
    return NUMBER.fullmatch(text) is not None


def _no_number(column: str, text: str) -> str:
    """What is wrong with a cell that is no finite number."""
    what = f": '{text}' is not a number"
    if not text:
        what = " is empty; every model must be scored on the same cases"
    elif _is_number(text) or text.casefold().lstrip("+-") in NOT_FINITE:
        what = f": '{text}' is not a finite number; score the case again, or remove it from every file"
    return f"{what}; if column '{column}' is no model, name the models with --models"
