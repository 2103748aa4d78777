"""How other programs lay out predictions: the predicted class with its probability, the top classes, all classes.

scikit-learn users write ``y_pred`` beside ``y_score``; ``inference.py`` of timm writes the *predicted* class (``label``
or ``index``) and the probability of that class (``prob``), or with ``--topk 2 --results-separate-col`` those of the
likeliest classes, likeliest first (``label_0``, ``prob_0``, ...); AutoGluon's ``predict_proba`` has one column per
class of the truth. Read as probabilities of the positive class, timm's would turn every confident "no" into a "yes".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medcompare.base.language import t
from medcompare.data.columns import listed
from medcompare.data.spelling import likelihood_of_disease, same_id, words
from medcompare.predictions.layout import TRUTH
from medcompare.predictions.numbers import FEW_CASES, is_numeric
from medcompare.predictions.roles import (
    SAME_SCORE,
    SUM_ROUNDED,
    add_up,
    models_option,
    tolerant,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from medcompare.data.columns import Columns

PREDICTED = words("label labels index idx pred preds prediction predicted class ypred")
PROBABILITY = words("prob probs probability proba score confidence conf yscore yprob yproba logit")
"""Words in names of columns that hold a predicted class, and its probability or a score; the rest names the model."""

_NO_MODEL = PREDICTED | PROBABILITY | {"p", "y"}

HALF = 0.5
"""The likelier of two classes has at least this probability."""

AGAIN = "timm writes it with --include-index --topk 2 --results-separate-col"


@dataclass(kw_only=True)
class _Table:
    table: Columns
    candidates: list[str]
    wanted: Sequence[str]
    sides: Mapping[str, int]
    """0 or 1 by value of the truth."""
    scale: float
    """What the file writes for a probability of 1."""

    def __post_init__(self) -> None:
        self.settled: list[str] = []

    def by_model(self, kind: frozenset[str]) -> dict[str, str]:
        """Columns of one kind by what their names say besides; only where there is one."""
        found: dict[str, list[str]] = {}
        for name in self.candidates:
            parts = re.split(r"[\W_]+", name.casefold())
            if any(part in kind for part in parts) and (kind is PROBABILITY or not PROBABILITY & set(parts)):
                rest = "_".join(p for p in parts if p not in PREDICTED | PROBABILITY and p != "y")
                found.setdefault(rest, []).append(name)
        return {rest: names[0] for rest, names in found.items() if len(names) == 1}

    def values(self, column: str) -> NDArray[np.float64]:
        """Probabilities in a column, NaN for what is no number."""
        return tolerant(self.table.columns[column]) / self.scale

    def sides_of(self, column: str) -> NDArray[np.float64]:
        """0 or 1 by case, NaN for what is no value of the truth."""
        return np.array([self.sides.get(same_id(text), np.nan) for text in self.table.columns[column]])

    def class_named(self, column: str) -> tuple[str, int] | None:
        """What a name says before a class of the truth at its end, and whether that is the positive one (1) or not (0).

        Beside a truth of 0 and 1 a word such as "benign" says as much.
        """
        parts = [part for part in re.split(r"[\W_]+", column.casefold()) if part]
        # The longest first: "prob_non_cancer" ends with "cancer", too.
        for text in sorted(self.sides, key=len, reverse=True):
            name = [part for part in re.split(r"[\W_]+", text) if part]
            rest = parts[: -len(name)] if name and parts[-len(name) :] == name else None
            # Behind the name of a model a number is that of a training, not of a class.
            if rest is not None and not (text.isdigit() and set(rest) - _NO_MODEL):
                return "_".join(rest), self.sides[text]
        said = [part for part in parts if part not in _NO_MODEL]
        if self.sides.keys() <= {"0", "1"} and len(said) == 1 and (side := likelihood_of_disease(said[0])):
            return "", int(side > 0)
        return None

    def put(self, column: str, values: NDArray[np.float64]) -> None:
        """Write numbers into a column of scores, a new one perhaps."""
        if column not in self.table.columns:
            self.candidates.append(column)
        # As the other numbers of the file are written, which must all be alike.
        comma = any(
            "," in text
            for name in self.candidates
            if name in self.table.columns and is_numeric(self.table, name)
            for text in self.table.columns[name]
        )
        texts = [repr(float(value * self.scale)) for value in values]
        self.table.columns[column] = [text.replace(".", ",") for text in texts] if comma else texts


def settle_conventions(
    table: Columns,
    candidates: Sequence[str],
    *,
    wanted: Sequence[str],
    y_true: NDArray[np.int64],
    percentages: bool = False,
) -> tuple[list[str], list[str]]:
    """Read what other programs write as probabilities of the positive class, and say so in the notes.

    Parameters
    ----------
    table : Columns
        All of the table; columns of scores are rewritten or added where they meant another class.
    candidates : sequence of str
        Columns that are neither ids, truth nor subgroups.
    wanted : sequence of str
        Columns or models that the user names: they decide where it cannot be told.
    y_true : ndarray of int64
        The truth by row.
    percentages : bool, default=False
        Whether scores run from 0 to 100.

    Returns
    -------
    tuple of list of str
        The candidates, and those of them that are settled: no scores of a model.

    Raises
    ------
    DataError
        If a probability belongs to the predicted class and it cannot be told which class that is.
    """
    sides = {same_id(text): int(y) for text, y in zip(table.columns[TRUTH], y_true, strict=True)}
    scale = 100.0 if percentages else 1.0
    rows = _Table(table=table, candidates=list(candidates), wanted=wanted, sides=sides, scale=scale)
    _class_columns(rows)
    _top_classes(rows)
    _predicted_class(rows)
    _negative_class(rows)
    return rows.candidates, rows.settled


def _class_columns(rows: _Table) -> None:
    """A column per class of the truth (two that add up to 1 are known without it)."""
    names = [name for name in rows.candidates if same_id(name) in rows.sides and is_numeric(rows.table, name)]
    values = np.array([rows.values(name) for name in names])
    if (
        len(names) < 2
        or not ((values >= 0) & (values <= 1)).all()
        or any(name in rows.wanted for name in names)
    ):
        return
    ones = [name for name in names if rows.sides[same_id(name)] == 1]
    complete = (np.abs(values.sum(axis=0) - 1) <= SUM_ROUNDED).all()
    if (len(names) == 2 and complete) or not 0 < len(ones) < len(names) or (len(ones) > 1 and not complete):
        return
    model = "+".join(ones)
    if len(ones) > 1:
        rows.put(model, np.sum(values[[name in ones for name in names]], axis=0).clip(0, 1))
    rows.settled += [name for name in names if name != model]
    facts = {"columns": listed(names), "truth": TRUTH}
    rows.table.notes.append(
        t(
            "{columns} have the names of classes of {truth}: '{model}', of the positive class, is judged",
            model=model,
            **facts,
        )
        if len(ones) == 1
        else t(
            "{columns} have the names of classes of {truth}: the sum of {models} is judged",
            models=listed(ones),
            **facts,
        )
    )


def _top_classes(rows: _Table) -> None:
    """``prob_0``, ``prob_1``, ... of the likeliest classes, which ``label_0``, ... or ``index_0``, ... name."""
    numbered = {k: name for k, name in rows.by_model(PROBABILITY).items() if k.isdigit()}
    columns = [numbered[k] for k in sorted(numbered, key=int)]
    if len(columns) < 2 or any(name in rows.wanted for name in columns):
        return
    values = np.array([rows.values(name) for name in columns])
    if not (np.diff(values, axis=0) <= SAME_SCORE).all():
        return
    labels = {k: name for k, name in rows.by_model(PREDICTED).items() if k in numbered}
    if len(labels) < len(columns):
        # A model that never says yes looks the same; only timm's name is asked about.
        if values.shape[1] >= FEW_CASES and columns[0].startswith("prob_"):
            rows.table.refuse(
                f"columns {listed(columns)} fall in this order in every row: are they the likeliest classes, likeliest "
                f"first, as timm writes them? Then the class of each is needed as well: {AGAIN}. If '{columns[-1]}' is "
                f"the probability of the positive class in every row, say so: add {models_option([columns[-1]])}"
            )
        return
    named = [labels[k] for k in sorted(numbered, key=int)]
    sides = np.array([rows.sides_of(name) for name in named])
    if np.isnan(sides).any():
        _refuse_classes(rows, named, columns)
    if not (np.abs(values.sum(axis=0) - 1) <= SUM_ROUNDED).all():
        rows.table.refuse(
            f"columns {listed(columns)} hold the likeliest classes only, and do not add up to 1: the probability of "
            "the positive class cannot be computed. Write the probabilities of all classes (timm: --output-type "
            "prob, and --topk with the number of classes)"
        )
    model = "prob" if "prob" not in rows.table.columns else "prob_of_positive"
    rows.put(model, np.where(sides == 1, values, 0).sum(axis=0).clip(0, 1))
    rows.settled += [*named, *columns]
    rows.table.notes.append(
        t(
            "{columns} are the probabilities of the classes that {named} name, likeliest first: '{model}', that of the "
            "positive class, was put together from them",
            columns=listed(columns),
            named=listed(named),
            model=model,
        )
    )


def _predicted_class(rows: _Table) -> None:
    """A predicted class beside a score: its decision at a threshold, or the class whose probability it is."""
    labels = rows.by_model(PREDICTED)
    for rest, score in rows.by_model(PROBABILITY).items():
        if score in {*rows.settled, *labels.values()} or not is_numeric(rows.table, score):
            continue
        values = rows.values(score)
        if not ((values >= 0) & (values <= 1)).all():
            if "logit" in score.casefold() and rest in labels:
                rows.table.refuse(
                    f"column '{score}' runs from {np.nanmin(values):.3g} to {np.nanmax(values):.3g} beside the "
                    f"predicted class in '{labels[rest]}': a logit of the predicted class is no probability of the "
                    "positive one. Write probabilities (timm: --output-type prob "
                    "--include-index --topk 2 --results-separate-col)"
                )
            continue
        sure = values.min(initial=1) >= HALF and values.size >= FEW_CASES
        label = labels.get(rest)
        named = any(name in rows.wanted for name in (score, rest) if name)
        if label is None or label in rows.settled:
            if sure and not named and not rest:
                rows.table.refuse(
                    f"every value of column '{score}' is 0.5 or more: is it the probability of the predicted class, as "
                    f"timm writes it? Then that class is needed as well: {AGAIN}. If it is the probability of the "
                    f"positive class, say so: add {models_option([score])}"
                )
            continue
        sides = rows.sides_of(label)
        if np.isnan(sides).any():
            if sure and not named:
                _refuse_classes(rows, [label], [score])
            continue
        yes, no = values[sides == 1], values[sides == 0]
        if values.min(initial=1) >= HALF and no.size and len(rows.sides) == 2:
            rows.put(score, np.where(sides == 1, values, 1 - values))
            rows.settled.append(label)
            rows.table.notes.append(
                t(
                    "'{score}' is never below 0.5, and so the probability of the class that '{label}' predicts, as "
                    "timm writes it: where '{label}' is the negative class, 1 - {score} is judged. If '{score}' is "
                    "that of the positive class in every row, remove '{label}'",
                    score=score,
                    label=label,
                )
            )
        elif no.max(initial=0) <= yes.min(initial=1):
            rows.settled.append(label)
            rows.table.notes.append(
                t(
                    "'{label}' says what '{score}' says at a threshold: no model of its own",
                    label=label,
                    score=score,
                )
            )
        elif not named:
            rows.table.refuse(
                f"columns '{label}' and '{score}': no threshold of '{score}' gives the classes of '{label}', so "
                f"'{score}' may be the probability of whichever class was predicted. If it is the probability of the "
                f"positive class, say so: add {models_option([score])}; otherwise write that: {AGAIN}"
            )


def _negative_class(rows: _Table) -> None:
    """Columns named after a negative class, alone or beside that of the positive one; probabilities called logits."""
    if rows.wanted:
        return
    left = [name for name in rows.candidates if name not in rows.settled and is_numeric(rows.table, name)]
    named = {name: found for name in left if (found := rows.class_named(name)) is not None}
    for name, (rest, side) in named.items():
        partners = [other for other, found in named.items() if found == (rest, 1)]
        if side == 1:
            continue
        if not partners:
            rows.table.refuse(
                f"column '{name}' has the name of a negative class, and there is none of the positive class: read as "
                "a probability of the positive class it would turn every answer round. Write 1 minus it instead; if "
                f"it is the probability of the positive class, say so: add {models_option([name])}"
            )
        pair = [rows.values(one) for one in (name, partners[0])]
        if all(((one >= 0) & (one <= 1)).all() for one in pair) and not add_up(pair):
            rows.settled.append(name)
            rows.table.notes.append(
                t(
                    "'{name}' has the name of a negative class: '{model}', of the positive class, is judged",
                    name=name,
                    model=partners[0],
                )
            )
    for name in left:
        values = rows.values(name)
        if "logit" in name.casefold() and ((values >= 0) & (values <= 1)).all():
            rows.table.refuse(
                f"column '{name}' is called a logit and runs from {values.min():.3g} to {values.max():.3g}: if these "
                f"are probabilities of the positive class, say so: add {models_option([name])}; otherwise write "
                "1 / (1 + exp(-logit)) of them"
            )


def _refuse_classes(rows: _Table, labels: Sequence[str], scores: Sequence[str]) -> None:
    found = sorted({text for name in labels for text in rows.table.columns[name]} - {""})
    truth = sorted(set(rows.table.columns[TRUTH]))
    what = (
        f"columns {listed([*labels, *scores])} look like predicted classes and their probabilities, as timm writes "
        f"them, but {labels[0]} holds {listed(found)} and {TRUTH} holds {listed(truth)}: write the same names of "
        "classes in both"
    )
    if len(scores) == 1:
        what += f". If '{scores[0]}' is the probability of the positive class, say so: add {models_option(scores)}"
    rows.table.refuse(what)
