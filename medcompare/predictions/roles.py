"""Which columns of a table are scores of models: named by the user, or plain to see, or asked about.

A fold, a predicted label or an age scaled to [0, 1] must not become a model by being a number.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from medcompare.base.language import t
from medcompare.data.columns import listed
from medcompare.data.spelling import likelihood_of_disease, plain, words
from medcompare.data.table_file import NUMBER
from medcompare.predictions.numbers import FEW_CASES, is_numeric

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from medcompare.data.columns import Columns

NO_SCORE = words(
    "fold folds pred preds predicted prediction predictions label labels target targets class age ages index idx row "
    "rows id ids nr no number num count n site centre center hospital scanner device sex gender year month day date "
    "time duration weight height bmi size width length area diameter thickness threshold cutoff split seed epoch "
    "batch rank grade stage birads confidence correct error loss entropy uncertainty kfold cv"
)
BESIDE_NO_SCORE = words(
    "y patient subject lesion image case scaled norm normalized normalised std z min max mean of the at in mm px years"
)
NAME_PART = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")

MAX_CATEGORIES, CASES_PER_CATEGORY = 10, 5
SAME_SCORE = 1e-6
"""Scores closer than this count as one: a network that collapsed differs by the rounding of 32-bit numbers."""

LISTS = ("[", "(", "tensor(", "array(")
"""What a list of numbers in one cell begins with."""
SUM_EXACT, SUM_ROUNDED = 1e-5, 0.0101
"""How far two probabilities of one case may be from adding up to 1: as computed, and rounded to two decimals."""


@dataclass(frozen=True, kw_only=True)
class Roles:
    """Columns that hold scores, and those that were left alone."""

    scores: tuple[str, ...]
    unused: tuple[str, ...]


def model_and_seed(column: str) -> tuple[str, str | None]:
    """``resnet50@1`` is seed 1 of resnet50; a name without @ is the model itself."""
    model, at, seed = column.rpartition("@")
    return (model, seed) if at else (column, None)


def columns_by_model(table: Columns, columns: Sequence[str]) -> dict[str, list[str]]:
    """Score columns by model: the judged one first, then its seeds by number.

    Raises
    ------
    DataError
        If a name is neither MODEL nor MODEL@SEED.
    """
    found: dict[str, list[str]] = {}
    for column in columns:
        model, seed = model_and_seed(column)
        if not model or (seed is not None and not seed):
            table.refuse(f"row 1: column '{column}': write MODEL@SEED, as in resnet50@1, or a name without @")
        found.setdefault(model, []).append(column)
    return {model: sorted(names, key=_seed_order) for model, names in found.items()}


def _seed_order(column: str) -> tuple[bool, bool, int, str]:
    _, seed = model_and_seed(column)
    is_number = seed is not None and re.fullmatch(r"\d{1,18}", seed, flags=re.ASCII) is not None
    return seed is not None, not is_number, int(seed) if seed is not None and is_number else 0, seed or ""


def models_option(models: Sequence[str]) -> str:
    """The option that names `models`."""
    if any("," in name for name in models):
        names = ", ".join(f'"{name}"' for name in models)
        return f"--set {shlex.quote(f'models=[{names}]')}"
    return f"--models {shlex.quote(','.join(models))}"


def assign_roles(
    table: Columns,
    candidates: Sequence[str],
    *,
    wanted: Sequence[str],
    classes: tuple[str, str],
    settled: Sequence[str] = (),
) -> Roles:
    """Tell scores from other columns.

    Parameters
    ----------
    table : Columns
        All of the table.
    candidates : sequence of str
        Columns that are neither ids, truth nor subgroups.
    wanted : sequence of str
        Columns or models that the user names; all others are then left alone.
    classes : (str, str)
        Names of the negative and the positive class, as ``y_true`` holds them.
    settled : sequence of str, optional
        Candidates that are known to be no scores.

    Returns
    -------
    Roles

    Raises
    ------
    DataError
        If a wanted column is missing, a column may or may not be a model, or none is one.
    """
    if wanted:
        scores = [column for name in wanted for column in _named(table, candidates, name)]
        return _roles(table, candidates, list(dict.fromkeys(scores)))
    numeric = {
        name: tolerant(table.columns[name])
        for name in candidates
        if name not in settled and is_numeric(table, name)
    }
    if not numeric:
        what = f"no column holds the scores of a model; columns there are: {listed(list(table.columns))}"
        if candidates:
            what += f"; '{candidates[0]}' holds '{table.columns[candidates[0]][0]}' in row {table.rows[0]}, no number"
            lists = [name for name in candidates if table.columns[name][0].startswith(LISTS)]
            if lists:
                what += f". Write the lists of '{lists[-1]}' as one column per class (timm: --results-separate-col)"
        table.refuse(what)
    others = _of_the_other_class(table, numeric, classes)
    left = [name for name in numeric if name not in others]
    doubts = {
        name: doubt
        for name in left
        if name not in others.values() and (doubt := _doubt(name, numeric[name])) is not None
    }
    if doubts:
        sure = [name for name in left if name not in doubts]
        name, doubt = next(iter(doubts.items()))
        more = (
            f"; the same goes for {listed([other for other in doubts if other != name])}"
            if len(doubts) > 1
            else ""
        )
        models = list(dict.fromkeys(model_and_seed(column)[0] for column in sure)) or list(doubts)
        also = (
            "; name more columns there if they are models too"
            if sure
            else ", naming only those that are models"
        )
        table.refuse(
            f"column '{name}' does not look like the scores of a model: {doubt}{more}. Say which columns are models, "
            f"and the others are left alone: add {models_option(models)}{also}"
        )
    return _roles(table, candidates, left)


def follow_roles(
    table: Columns, candidates: Sequence[str], *, judged: Mapping[str, str], unused: Sequence[str]
) -> Roles:
    """The scores of a validation table: those of the models that the test table judges.

    Parameters
    ----------
    table : Columns
        All of the table.
    candidates : sequence of str
        Columns that are neither ids, truth nor subgroups.
    judged : mapping
        Judged column by model.
    unused : sequence of str
        Columns that may be there besides. Others may, too, unless they look like a model.

    Returns
    -------
    Roles

    Raises
    ------
    DataError
        If a judged column is missing, or there is another model.
    """
    missing = [name for name in judged.values() if name not in candidates]
    scores = [name for name in candidates if model_and_seed(name)[0] in judged]
    besides = [
        model_and_seed(name)[0]
        for name in candidates
        if name not in scores
        and name not in unused
        and is_numeric(table, name)
        and _doubt(name, tolerant(table.columns[name])) is None
    ]
    parts = [f"misses {listed(missing)}"] if missing else []
    parts += [f"has {listed(list(dict.fromkeys(besides)))} besides"] if besides else []
    if parts:
        there = [model for model, name in judged.items() if name in candidates]
        remedy = f"; to compare only those in both files, add {models_option(there)}" if there else ""
        table.refuse(
            f"row 1: the models differ from those of the test file: it {' and '.join(parts)}{remedy}"
        )
    return _roles(table, candidates, scores)


def _named(table: Columns, candidates: Sequence[str], name: str) -> list[str]:
    found = [column for column in candidates if name in {column, model_and_seed(column)[0]}]
    if not found:
        table.refuse(
            f"--models {name}: there is no such column of scores; columns there are: {listed(candidates)}"
        )
    return found


def _roles(table: Columns, candidates: Sequence[str], scores: Sequence[str]) -> Roles:
    unused = tuple(name for name in candidates if name not in scores)
    models = listed(list(columns_by_model(table, scores)))
    table.notes.append(
        t("models: {models}; columns not used: {unused}", models=models, unused=listed(unused))
        if unused
        else t("models: {models}", models=models)
    )
    return Roles(scores=tuple(scores), unused=unused)


def tolerant(texts: Sequence[str]) -> NDArray[np.float64]:
    """Numbers of a column that may be no scores at all; NaN for what is no number."""

    def number(text: str) -> float:
        if not NUMBER.fullmatch(text):
            return np.nan
        value = float(text.rstrip("% ").replace(",", "."))
        return value / 100 if text.endswith("%") else value

    return np.array([number(text) for text in texts])


def _doubt(name: str, values: NDArray[np.float64]) -> str | None:
    """Why a column may be no model, None where it looks like one."""
    parts = [part.casefold() for part in NAME_PART.findall(name)]
    if any(part in NO_SCORE for part in parts) and all(
        part in NO_SCORE or part in BESIDE_NO_SCORE or part.isdigit() for part in parts
    ):
        return "its name says something else"
    if not np.isfinite(values).all():
        return None  # a fault of that cell, which is told with its row
    if (values == np.round(values)).all():
        return "every value is a whole number"
    n_different = np.unique(np.round(values / SAME_SCORE)).size
    few = max(FEW_CASES, CASES_PER_CATEGORY * n_different)
    if 1 < n_different <= MAX_CATEGORIES and values.size >= few:
        return f"it holds only {n_different} different values"
    return None


def _of_the_other_class(
    table: Columns, numeric: Mapping[str, NDArray[np.float64]], classes: tuple[str, str]
) -> dict[str, str]:
    """Columns with the probability of the negative class, each with that of the positive one.

    Raises
    ------
    DataError
        If it cannot be told which of the two is which, or there are more than two classes.
    """
    if len(numeric) > 2 and add_up(list(numeric.values())):
        table.refuse(
            f"columns {listed(list(numeric))} add up to 1 in every row: they are the probabilities of "
            f"{len(numeric)} classes. Two classes are compared: keep for each model one column, with the "
            "probability of the positive class"
        )
    others: dict[str, str] = {}
    for one, two in combinations(numeric, 2):
        if {one, two} & others.keys() or not add_up([numeric[one], numeric[two]]):
            continue
        sides = {name: _side(name, _stem(one, two), classes) for name in (one, two)}
        if sorted(sides.values()) != [-1, 1]:
            what = (
                f"columns '{one}' and '{two}' add up to 1 in every row: are they the probabilities of the two classes "
                f"by one model? Then keep that of the positive class: add {models_option([one])} or "
                f"{models_option([two])}"
            )
            ends = [name[_stem(one, two) :].lstrip("_- ") for name in (one, two)]
            if ends == ["0", "1"]:
                # LabelEncoder, `classes_` and ImageFolder all sort the names.
                first, second = sorted(classes)
                what += f" (programs that number classes by name give 0 to '{first}' and 1 to '{second}')"
            table.refuse(what)
        negative, positive = sorted((one, two), key=sides.__getitem__)
        others[negative] = positive
        table.notes.append(
            t(
                "'{negative}' and '{positive}' add up to 1, as the probabilities of two classes do: '{positive}', of "
                "the positive class, is judged",
                negative=negative,
                positive=positive,
            )
        )
    return others


def add_up(columns: Sequence[NDArray[np.float64]]) -> bool:
    """Whether the numbers of every row add up to 1 (or 100), and that cannot be chance."""
    total = np.sum(columns, axis=0)
    if total.size < 3 or any(np.ptp(values) < SAME_SCORE or values.min() < -SUM_EXACT for values in columns):
        return False  # a negative number is a logit
    scale = 100.0 if total.max() > 2 else 1.0
    tolerance = SUM_ROUNDED if total.size >= FEW_CASES else SUM_EXACT
    return bool((np.abs(total / scale - 1) <= tolerance).all())


def _stem(one: str, two: str) -> int:
    """Length of what two names begin with alike, up to the end of a word."""
    length = next(
        (i for i, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two))
    )
    ends = one[length:], two[length:]
    while (
        length
        and one[length - 1].isalnum()
        and not (one[length - 1].isalpha() and all(map(str.isdigit, ends)))
    ):
        length -= 1
    return length


def _side(name: str, stem: int, classes: tuple[str, str]) -> int:
    """1 for a column that names the positive class, -1 for one that names the negative one, else 0."""
    end = plain(name[stem:])
    named = [plain(each) for each in classes]
    if end in named and named[0] != named[1]:
        return 1 if end == named[1] else -1
    if end in {"0", "1"}:
        # Numbers of classes mean something only where the truth is numbered too.
        return (1 if end == "1" else -1) if set(named) <= {"negative", "positive"} else 0
    return likelihood_of_disease(name[stem:])
