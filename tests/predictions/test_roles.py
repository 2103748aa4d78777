"""Which columns become models: those that cannot be anything else, those named, and never a fold."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from medcompare.base.errors import DataError
from medcompare.predictions.table import read_prediction_table, read_tables
from tests.cli.settings import assess_settings

if TYPE_CHECKING:
    from pathlib import Path

N = 60


def study(seed: int = 3, **columns: object) -> pd.DataFrame:
    """Two models on 60 cases, and whatever else somebody keeps in the same table."""
    rng = np.random.default_rng(seed)
    y_true = np.arange(N) % 2
    table = pd.DataFrame(
        {
            "case_id": [f"c{seed}-{i:03d}" for i in range(N)],
            "y_true": y_true,
            "resnet": rng.uniform(0, 0.7, N) + 0.3 * y_true,
            "effnet": rng.uniform(0, 0.8, N) + 0.2 * y_true,
        }
    )
    return table.assign(**columns)


FOLD = np.arange(N) % 5
EXTRA = {
    "fold": ("fold", FOLD),
    "fold scaled": ("kfold", FOLD / 5),
    "fold, renamed": ("group", FOLD / 5),
    "hard call": ("y_pred", np.arange(N) % 3 == 0),
    "hard call of a model": ("resnet_call", (np.arange(N) % 3 == 0).astype(float)),
    "two values": ("calls", np.where(np.arange(N) % 3 == 0, 0.2, 0.8)),
    "scaled age": ("age", np.linspace(0, 1, N)),
    "age, scaled": ("PatientAge_scaled", np.linspace(0, 1, N)),
    "another label": ("label", np.arange(N) % 2),
    "index": ("idx", np.linspace(0, 1, N)),
    "rating": ("birads", np.arange(N) % 6),
    "constant": ("site", np.ones(N)),
    "threshold": ("threshold", np.full(N, 0.5)),
}


@pytest.mark.parametrize(("name", "values"), EXTRA.values(), ids=EXTRA.keys())
def test_a_column_that_is_no_model_is_asked_about(tmp_path: Path, name: str, values: np.ndarray) -> None:
    """Refused with the option that goes on, which then works and leaves the column alone."""
    for subset, seed in (("test", 3), ("validation", 4)):
        study(seed, **{name: np.asarray(values, dtype=float)}).to_csv(tmp_path / f"{subset}.csv", index=False)
    files = [str(tmp_path / "test.csv"), "--validation", str(tmp_path / "validation.csv")]
    arguments = ["--predictions", *files]

    with pytest.raises(DataError, match=f"column '{name}' does not look like the scores") as caught:
        read_tables(assess_settings(arguments))
    advice = re.search(r"add (--models \S+?);", str(caught.value))
    assert advice is not None
    assert advice[1] == "--models resnet,effnet"

    tables = read_tables(assess_settings([*arguments, *advice[1].split()]))
    assert tables.test.models == ("resnet", "effnet")
    assert tables.test.unused == (name,)
    assert tables.notes[0] == f"Test table: models: resnet, effnet; columns not used: {name}."


def test_what_cannot_be_anything_else_needs_no_option(tmp_path: Path) -> None:
    """Texts are left alone, and said; names of models may hold any word."""
    table = study(site=["left", "right"] * 30, pred_vit=np.linspace(0.01, 0.99, N))
    table.to_csv(tmp_path / "t.csv", index=False)

    cases = read_prediction_table(tmp_path / "t.csv")

    assert cases.models == ("resnet", "effnet", "pred_vit")
    assert cases.notes == ("models: resnet, effnet, pred_vit; columns not used: site",)
    # A network that collapsed gives one score, within rounding: a finding of the report, no question here.
    flat = study(flat=0.5067919 + 1e-9 * np.arange(N))
    flat.to_csv(tmp_path / "t.csv", index=False)
    assert read_prediction_table(tmp_path / "t.csv").models == ("resnet", "effnet", "flat")


def test_models_are_named(tmp_path: Path) -> None:
    """A model, one of its seeds, a name with a comma; an unknown one is refused with those there are."""
    rng = np.random.default_rng(1)
    table = study(**{"vit@1": rng.random(N), "vit@0": rng.random(N), "a, b": rng.random(N), "fold": FOLD})
    path = tmp_path / "t.csv"
    table.to_csv(path, index=False)

    assert read_prediction_table(path, models=["vit", "resnet"]).judged == {
        "vit": "vit@0",
        "resnet": "resnet",
    }
    assert read_prediction_table(path, models=["vit@1"]).judged == {"vit": "vit@1"}
    with pytest.raises(
        DataError, match=r"--models rasnet: there is no such column of scores; columns .*: resnet"
    ):
        read_prediction_table(path, models=["rasnet"])
    with pytest.raises(DataError, match=r"""--set 'models=\["resnet", "effnet", "vit", "a, b"\]'"""):
        read_prediction_table(path)
    assignment = 'models=["a, b"]'
    arguments = ["--predictions", str(path), "--set", assignment]
    assert read_tables(assess_settings(arguments)).test.models == ("a, b",)


PAIRS = {
    "numbers": (("p_0", "p_1"), {}),
    "numbers, no sign between": (("prob0", "prob1"), {}),
    "of a model": (("vit_neg", "vit_pos"), {}),
    "classes": (("prob_benign", "prob_malignant"), {}),
    "AutoGluon": (("0", "1"), {}),
    "named": (("non_cancer", "cancer"), {"positive": ["cancer"]}),
    "named, other way": (("malignant", "benign"), {"positive": ["benign"]}),
}


@pytest.mark.parametrize(("names", "reading"), PAIRS.values(), ids=PAIRS.keys())
@pytest.mark.parametrize("digits", [17, 2])
def test_the_other_class_is_no_model(
    tmp_path: Path, names: tuple[str, str], reading: dict[str, str], digits: int
) -> None:
    """predict_proba's two columns are one model; the negative class stands first here."""
    table = study()[["case_id", "y_true"]]
    positive = np.random.default_rng(2).random(N)
    other, judged = names
    table = table.assign(**{other: (1 - positive).round(digits), judged: positive.round(digits)})
    if reading:
        table["y_true"] = np.where(table["y_true"] == 1, *reversed(names))
    table.to_csv(tmp_path / "t.csv", index=False)

    cases = read_prediction_table(tmp_path / "t.csv", **reading)

    assert cases.models == (judged,)
    assert cases.scores[judged].tolist() == positive.round(digits).tolist()
    assert any(f"'{other}' and '{judged}' add up to 1" in note for note in cases.notes)


def test_two_columns_that_add_up_are_asked_about(tmp_path: Path) -> None:
    """Where names do not tell which class is which, or numbers of classes mean nothing, both are offered."""
    table = study()[["case_id", "y_true"]]
    scores = np.random.default_rng(2).random(N)
    table.assign(a=scores, b=1 - scores).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match=r"'a' and 'b' add up to 1 .* add --models a or --models b"):
        read_prediction_table(tmp_path / "t.csv")
    assert read_prediction_table(tmp_path / "t.csv", models=["a", "b"]).models == ("a", "b")

    named = table.assign(y_true=np.where(table["y_true"] == 1, "cyst", "node"), p_0=scores, p_1=1 - scores)
    named.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match=r"'p_0' and 'p_1' add up to 1 .* add --models p_0 or --models p_1"):
        read_prediction_table(tmp_path / "t.csv", positive=["node"])


def test_the_other_class_in_the_validation_table(tmp_path: Path) -> None:
    """What the test table leaves alone may be in the validation table; another model may not."""
    for subset, seed in (("test", 3), ("validation", 4)):
        scores = np.random.default_rng(seed).random(N)
        study(seed, p_0=scores, p_1=1 - scores).to_csv(tmp_path / f"{subset}.csv", index=False)
    arguments = [
        "--predictions",
        str(tmp_path / "test.csv"),
        "--validation",
        str(tmp_path / "validation.csv"),
    ]
    config = assess_settings(arguments)

    tables = read_tables(config)

    assert tables.validation is not None
    assert tables.test.models == tables.validation.models == ("resnet", "effnet", "p_1")
    more = study(4, p_1=scores, third=np.random.default_rng(9).random(N))
    more.to_csv(tmp_path / "validation.csv", index=False)
    with pytest.raises(
        DataError, match=r"it has third besides; to compare only .* add --models resnet,effnet,p_1"
    ):
        read_tables(config)
    config = assess_settings([*arguments, "--models", "resnet,effnet"])
    assert read_tables(config).test.unused == ("p_0", "p_1")
