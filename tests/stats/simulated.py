"""Simulated studies with known truth: for examples of verdicts, tests and simulations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.special import ndtr, ndtri

from medcompare.base.errors import ConfigError
from medcompare.predictions.cases import ScoredCases

if TYPE_CHECKING:
    from collections.abc import Mapping

CLASSES = ("non_cancer", "cancer")
SHARED_BY_PATIENT = 0.5
"""Share of what models have in common that images of one patient share too."""


def draw_study(
    aucs: Mapping[str, float],
    *,
    n_negative: int,
    n_positive: int,
    seed: int,
    subset: Literal["val", "test"] = "test",
    correlation: float = 0.5,
    shift: Mapping[str, float] | None = None,
    images_per_patient: int | None = None,
    own_patient_share: float = 0.0,
) -> ScoredCases:
    """Binormal scores of correlated models on the same cases.

    Parameters
    ----------
    aucs : mapping
        True AUC of each model, strictly between 0 and 1.
    n_negative, n_positive : int
        Cases of each class.
    seed : int
        Seed; the two subsets of one seed are independent.
    subset : {"val", "test"}
        Which subset.
    correlation : float, default=0.5
        Of the scores of two models within a class, in [0, 1].
    shift : mapping, optional
        Added to the normal scores of a model: its output is then too high or too low.
    images_per_patient : int, optional
        Images of a patient share half of what the models share, and their class.
    own_patient_share : float, default=0.0
        Share of what each model has of its own that images of one patient share, in [0, 1]. At 0
        patients are equally hard for all models, and their effect leaves every difference; above,
        a model may fail a patient again and again that another reads well.

    Returns
    -------
    ScoredCases
        Scores are probabilities in (0, 1), not calibrated.

    Raises
    ------
    ConfigError
        If an AUC, the correlation or the share is out of range.
    """
    shares = 0 <= correlation <= 1 and 0 <= own_patient_share <= 1
    if not all(0 < auc < 1 for auc in aucs.values()) or not shares:
        msg = (
            f"AUCs {dict(aucs)} must lie strictly between 0 and 1, correlation {correlation} and patients' share "
            f"{own_patient_share} in [0, 1]"
        )
        raise ConfigError(msg)
    rng = np.random.default_rng([seed, subset == "val"])
    y_true = np.repeat(np.array([0, 1], dtype=np.int64), (n_negative, n_positive))
    common = rng.normal(size=y_true.size)
    patients, codes = None, np.arange(y_true.size)
    if images_per_patient is not None:
        within = np.concatenate([np.arange(n) // images_per_patient for n in (n_negative, n_positive)])
        names = [f"{subset}-{label}-{number}" for label, number in zip(y_true, within, strict=True)]
        patients = np.array(names, dtype=np.str_)
        _, codes = np.unique(patients, return_inverse=True)
        of_patient = rng.normal(size=codes.max() + 1)[codes]
        common = np.sqrt(SHARED_BY_PATIENT) * of_patient + np.sqrt(1 - SHARED_BY_PATIENT) * common
    scores = {}
    for model, auc in aucs.items():
        own = rng.normal(size=y_true.size)
        if patients is not None and own_patient_share > 0:
            of_patient = rng.normal(size=codes.max() + 1)[codes]
            own = np.sqrt(own_patient_share) * of_patient + np.sqrt(1 - own_patient_share) * own
        noise = np.sqrt(correlation) * common + np.sqrt(1 - correlation) * own
        # Two normals of unit variance have this AUC at a distance of sqrt(2) quantiles.
        latent = noise + np.sqrt(2) * ndtri(auc) * (y_true - 0.5) + (shift or {}).get(model, 0.0)
        scores[model] = ndtr(latent)
    return ScoredCases(
        case_id=tuple(f"{subset}-{number:06d}" for number in range(y_true.size)),
        y_true=y_true,
        scores=scores,
        patient_id=patients,
        classes=CLASSES,
        subset=subset,
    )
