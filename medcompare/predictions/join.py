"""From the predictions of single models to one table of scored cases."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from medcompare.base.errors import DataError
from medcompare.predictions.cases import ScoredCases

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from medcompare.base.artifacts import ArtifactStore
    from medcompare.predictions.cases import HowPerPatient
    from medcompare.predictions.records import Predictions


def read_table(
    predictions: Predictions, store: ArtifactStore, subset: Literal["val", "test"]
) -> pd.DataFrame:
    """Rows of `subset`, sorted by case; text columns as text, probabilities at full precision."""
    table = pd.read_csv(
        io.BytesIO(store.read(predictions.table)),
        dtype=str,
        keep_default_na=False,
        encoding="utf-8",
    )
    table = table[table["subset"] == subset].sort_values("case_id", kind="stable", ignore_index=True)
    table["y_true"] = table["y_true"].astype(int)
    table["probability"] = [float(text) for text in table["probability"]]
    return table


def scored_cases(
    predictions: Sequence[Predictions],
    store: ArtifactStore,
    subset: Literal["val", "test"],
    *,
    subgroups: Sequence[str] = (),
) -> ScoredCases:
    """The scores of all models on the same cases, joined by case id.

    Of several trainings of a model the first is the one that is judged; all are in ``seed_scores``.

    Raises
    ------
    DataError
        If the models were not scored on the same cases.
    """
    first, *others = [read_table(one, store, subset) for one in predictions]
    for one, table in zip(predictions[1:], others, strict=True):
        if list(table["case_id"]) != list(first["case_id"]) or list(table["y_true"]) != list(first["y_true"]):
            msg = f"{one.model} and {predictions[0].model} were not scored on the same {subset} cases"
            raise DataError(msg)
    patients = first["patient_id"].to_numpy(dtype=str) if "patient_id" in first.columns else None
    if patients is not None and not any(patients):
        patients = None
    by_seed: dict[str, dict[str, NDArray[np.float64]]] = {}
    for one, table in zip(predictions, [first, *others], strict=True):
        by_seed.setdefault(one.model, {})[str(one.seed)] = table["probability"].to_numpy(dtype=float)
    repeated = {model: seeds for model, seeds in by_seed.items() if len(seeds) > 1}
    return ScoredCases(
        case_id=tuple(first["case_id"]),
        y_true=first["y_true"].to_numpy(dtype=np.int64),
        scores={model: next(iter(seeds.values())) for model, seeds in by_seed.items()},
        judged={model: f"{model}@{next(iter(seeds))}" for model, seeds in repeated.items()},
        seed_scores=repeated,
        patient_id=patients,
        subgroups={column: first[column].to_numpy(dtype=str) for column in subgroups},
        classes=predictions[0].classes,
        subset=subset,
        scores_are_probabilities=True,
    )


def running_scores(
    predictions: Predictions,
    store: ArtifactStore,
    subset: Literal["val", "test"],
    *,
    per_patient: HowPerPatient = "none",
) -> NDArray[np.float64] | None:
    """Probabilities with the running batch statistics, in the order of `scored_cases`, or of their patients.

    None where the network has no batch normalisation; NaN where a probability is not finite.
    """
    if not predictions.has_running:
        return None
    cells = read_table(predictions, store, subset)["probability_running"]
    scores = np.array([float(cell) if cell else np.nan for cell in cells])
    images = replace(scored_cases((predictions,), store, subset), scores={"running": scores}, seed_scores={})
    return images.per_patient(per_patient).scores["running"]
