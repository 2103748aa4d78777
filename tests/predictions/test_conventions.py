"""Tables as scikit-learn, timm and AutoGluon write them: the probability of the positive class, or a question."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from medcompare.base.errors import DataError
from medcompare.predictions.table import read_prediction_table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from medcompare.predictions.cases import ScoredCases

N = 40
TRUE = np.arange(N) % 2
NAMES = np.where(TRUE == 1, "malignant", "benign")
P = np.random.default_rng(0).uniform(0.01, 0.99, N)
"""Probability of the positive class."""
YES = P > 0.5
CALL = np.where(YES, "malignant", "benign")
TOP = np.maximum(P, 1 - P)
FILES = [f"img-{i:02d}.png" for i in range(N)]


def read(folder: Path, columns: Mapping[str, object], **how: object) -> ScoredCases:
    """A table with these columns, as pandas writes it."""
    pd.DataFrame({"filename": FILES, "y_true": NAMES, **columns}).to_csv(folder / "t.csv", index=False)
    return read_prediction_table(folder / "t.csv", **({"positive": ["malignant"]} | how))  # type: ignore[arg-type]


SECOND = np.where(YES, "benign", "malignant")
LAYOUTS = {
    "timm, label and prob": ({"label": CALL, "prob": TOP}, "prob", P),
    "timm, of a model": ({"label_vit": CALL, "prob_vit": TOP}, "prob_vit", P),
    "timm, top classes": ({"label_0": CALL, "label_1": SECOND, "prob_0": TOP, "prob_1": 1 - TOP}, "prob", P),
    "timm, index": ({"y_true": TRUE, "index": YES.astype(int), "prob": TOP}, "prob", P),
    "timm, in percent": ({"label_percent": CALL, "prob_percent": 100 * TOP}, "prob_percent", P),
    "scikit-learn": ({"y_pred": CALL, "y_score": P}, "y_score", P),
    "scikit-learn, numbers": ({"y_true": TRUE, "y_pred": YES.astype(int), "y_score": P}, "y_score", P),
    "classes, each with a sigmoid": ({"benign": 1 - P**2, "malignant": P}, "malignant", P),
    "scikit-learn, each with a sigmoid": (
        {"prob_benign": 1 - P**2, "prob_malignant": P},
        "prob_malignant",
        P,
    ),
    "Hugging Face": ({"label": CALL, "score": TOP}, "score", P),
    "MMPretrain": ({"pred_label": CALL, "pred_score": TOP}, "pred_score", P),
    "AutoGluon": ({"benign": 1 - P, "malignant": P}, "malignant", P),
}


@pytest.mark.parametrize(("columns", "model", "expected"), LAYOUTS.values(), ids=LAYOUTS.keys())
def test_the_probability_of_the_positive_class(
    tmp_path: Path, columns: dict[str, object], model: str, expected: np.ndarray
) -> None:
    """One model, scored with the probability of the positive class, and the reading is said."""
    how: dict[str, object] = {"positive": []} if "y_true" in columns else {}
    how["scores_are_percentages"] = model == "prob_percent"

    cases = read(tmp_path, columns, **how)

    assert cases.models == (model,)
    np.testing.assert_allclose(cases.scores[model], expected, rtol=0, atol=1e-15)
    assert any(all(name in note for name in columns if name != "y_true") for note in cases.notes)


def test_several_positive_classes_are_summed(tmp_path: Path) -> None:
    """AutoGluon's three classes: with two of them positive their probabilities are summed, with one it is judged."""
    probabilities = np.random.default_rng(1).dirichlet([1, 1, 1], N)
    columns = {"y_true": np.array(["nv", "mel", "bcc"])[np.arange(N) % 3]} | dict(
        zip(["nv", "mel", "bcc"], probabilities.T, strict=True)
    )

    both = read(tmp_path, columns, positive=["mel", "bcc"])
    one = read(tmp_path, columns, positive=["mel"])

    assert (both.models, one.models) == (("mel+bcc",), ("mel",))
    np.testing.assert_allclose(both.scores["mel+bcc"], probabilities[:, 1:].sum(axis=1), rtol=0, atol=1e-15)
    assert one.scores["mel"].tolist() == probabilities[:, 1].tolist()
    assert one.unused == ("nv", "bcc")


UNCLEAR = {
    "classes numbered": (
        {"index": YES.astype(int), "prob": TOP},
        r"index holds 0, 1 and y_true holds benign, malig",
    ),
    "classes lost": ({"prob": TOP}, r"'prob' is 0.5 or more: .* --include-index .* add --models prob$"),
    "classes lost, MMPretrain": (
        {"pred_score": TOP},
        r"'pred_score' is 0.5 or more: .* --models pred_score$",
    ),
    "top classes lost": ({"prob_0": TOP, "prob_1": 1 - TOP}, r"fall in this order .* add --models prob_1$"),
    "top of many": (
        {"label_0": CALL, "label_1": SECOND, "prob_0": TOP * 0.6, "prob_1": (1 - TOP) * 0.6},
        r"do not add up to 1",
    ),
    "neither": ({"label": np.roll(CALL, 1), "prob": P}, r"no threshold of 'prob' .* add --models prob;"),
    "logit of the predicted class": ({"label": CALL, "logit": TOP * 9}, r"runs from .* --output-type prob"),
    "columns by number": ({"proba_0": 1 - P, "proba_1": P}, r"0 to 'benign' and 1 to 'malignant'"),
    "negative class": ({"benign": 1 - P}, r"name of a negative class, .* 1 minus it .* add --models benign$"),
    "negative class of a model": (
        {"vit_benign": 1 - P},
        r"'vit_benign' has the name .* add --models vit_benign$",
    ),
    "negative word": (
        {"y_true": TRUE, "prob_normal": 1 - P},
        r"'prob_normal' has the name of a negative class",
    ),
    "negative number": ({"y_true": TRUE, "proba_0": 1 - P}, r"'proba_0' has the name of a negative class"),
    "logit that is none": ({"logit": P}, r"'logit' is called a logit .* add --models logit; otherwise"),
    "truth of -1 and 1": ({"y_true": 2 * TRUE - 1, "svc": P}, r"'-1' is neither 0 nor 1; .* --positive 1"),
    "tensors": ({"prob": [f"tensor([{p} {1 - p}])" for p in P]}, r"lists of 'prob' as one column per class"),
    "lists": ({"prob": [f"[{p} {1 - p}]" for p in P]}, r"lists of 'prob' .* --results-separate-col"),
}


@pytest.mark.parametrize(("columns", "message"), UNCLEAR.values(), ids=UNCLEAR.keys())
def test_what_is_unclear_is_asked_about(tmp_path: Path, columns: dict[str, object], message: str) -> None:
    """Never guessed; the option that the message names goes on where there is one."""
    how: dict[str, object] = {"positive": []} if "y_true" in columns else {}
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path, columns, **how)
    advice = re.search(r"add --models (\w+)", str(caught.value))
    if advice:
        assert read(tmp_path, columns, models=[advice[1]], **how).scores[advice[1]].size == N


@pytest.mark.parametrize(
    ("columns", "positive"),
    [(("resnet", "vit"), None), (("logit_0", "logit_1"), "logit_1"), (("benign", "malignant"), "malignant")],
    ids=["models", "numbered classes", "named classes"],
)
def test_logits_are_refused_with_a_command_that_works(
    tmp_path: Path, columns: tuple[str, str], positive: str | None
) -> None:
    """Columns, their range, sigmoid or softmax; the command of the message writes the probabilities."""
    logit = np.log(P / (1 - P))
    values = dict(
        zip(
            columns,
            (logit, 2 * logit) if positive is None else (0.5 - logit / 2, 0.5 + logit / 2),
            strict=True,
        )
    )
    with pytest.raises(DataError, match="softmax" if positive else "sigmoid") as caught:
        read(tmp_path, values)
    assert all(f"{name} ({x.min():.3g} to {x.max():.3g})" in str(caught.value) for name, x in values.items())

    command = re.search(r'python -c (".*?to_csv.*?\)")', str(caught.value))
    assert command is not None
    subprocess.run([sys.executable, "-c", *shlex.split(command[1])], check=True)

    table = tmp_path / "t-probabilities.csv"
    cases = read_prediction_table(table, positive=["malignant"], models=[positive] if positive else [])
    expected = {positive: P} if positive else {"resnet": P, "vit": P**2 / (P**2 + (1 - P) ** 2)}
    assert cases.models == tuple(expected)
    for name, scores in expected.items():
        np.testing.assert_allclose(cases.scores[name], scores, rtol=0, atol=1e-12)
