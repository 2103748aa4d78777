"""Scored cases: what the statistics are computed from, wherever the scores were made."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from medcompare.base.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

HowPerPatient = Literal["none", "mean", "max"]
"""How scores of images become one of their patient: not at all, or as ``evaluate.per_patient`` says."""


@dataclass(frozen=True, kw_only=True)
class ScoredCases:
    """Cases of one subset with the scores of one or more models.

    Attributes
    ----------
    case_id : tuple of str
        Unique.
    y_true : ndarray of int64, shape (n_cases,)
        0 negative, 1 positive.
    scores : dict of str to ndarray of float64, shape (n_cases,)
        By model, higher is more positive.
    patient_id : ndarray of str or None
        One per case, where patients are known.
    subgroups : dict of str to ndarray of str
        Levels by column.
    classes : (str, str)
        Names of the negative and the positive class.
    """

    case_id: tuple[str, ...]
    y_true: NDArray[np.int64]
    scores: dict[str, NDArray[np.float64]]
    patient_id: NDArray[np.str_] | None
    classes: tuple[str, str]
    subset: Literal["val", "test"]
    subgroups: dict[str, NDArray[np.str_]] = field(default_factory=dict)
    scores_are_probabilities: bool = True
    judged: dict[str, str] = field(default_factory=dict)
    """Column that each model's scores came from, where they came from a file."""
    seed_scores: dict[str, dict[str, NDArray[np.float64]]] = field(default_factory=dict)
    """Scores by model and training seed, from columns named ``MODEL@SEED``."""
    rows: tuple[int, ...] = ()
    """Spreadsheet row of each case, where they came from a file."""
    unused: tuple[str, ...] = ()
    """Columns of the file that are left alone."""
    notes: tuple[str, ...] = ()
    """How the file was read, where there was something to say."""

    @property
    def n(self) -> int:
        """Number of cases."""
        return len(self.case_id)

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models, in the order of the columns."""
        return tuple(self.scores)

    @property
    def clusters(self) -> NDArray[np.int64] | None:
        """Number of the patient of each case; None where each case counts as its own.

        A table in which no patient occurs twice is not clustered.
        """
        if self.patient_id is None:
            return None
        _, codes = np.unique(self.patient_id, return_inverse=True)
        return None if len(set(codes.tolist())) == self.n else codes.astype(np.int64)

    @property
    def n_patients(self) -> int | None:
        """Number of patients, None where they are not known."""
        return None if self.patient_id is None else len(set(self.patient_id.tolist()))

    def units(self, label: int) -> int:
        """Patients (or cases, where patients are not known) with at least one case of `label`."""
        chosen = self.y_true == label
        return int(chosen.sum()) if self.patient_id is None else len(set(self.patient_id[chosen].tolist()))

    def only(self, models: Sequence[str]) -> ScoredCases:
        """The same cases with the scores of `models` alone."""
        return replace(
            self,
            scores={model: self.scores[model] for model in models},
            seed_scores={m: self.seed_scores[m] for m in models if m in self.seed_scores},
        )

    def per_patient(self, how: HowPerPatient) -> ScoredCases:
        """One case per patient, scored with the mean or the largest score of their cases; 'none': as they are.

        The case id is that of the patient's case with the largest score of the first model, or of the first case for
        the mean; of a column of subgroups in which the patient's cases differ, ``several``.

        Raises
        ------
        DataError
            If patients are not known, or one has cases of both classes.
        """
        if how == "none":
            return self
        insist_on_patients(self.patient_id, self.y_true, how)
        names, first, of_case = np.unique(self.patient_id, return_index=True, return_inverse=True)  # type: ignore[call-overload] # not None
        n = len(names)

        def one(scores: NDArray[np.float64]) -> NDArray[np.float64]:
            if how == "mean":
                return np.bincount(of_case, scores, n) / np.bincount(of_case, minlength=n)
            largest = np.full(n, -np.inf)
            np.maximum.at(largest, of_case, scores)
            return largest

        shown = first
        if how == "max":
            # Sorted by patient, then by score: the last of each patient.
            order = np.lexsort((next(iter(self.scores.values())), of_case))
            shown = order[np.searchsorted(of_case[order], np.arange(n), side="right") - 1]
        levels = {}
        for column, values in self.subgroups.items():
            same = np.ones(n, dtype=bool)
            np.logical_and.at(same, of_case, values == values[first][of_case])
            levels[column] = np.where(same, values[first], "several")
        return replace(
            self,
            case_id=tuple(self.case_id[i] for i in shown),
            y_true=self.y_true[first],
            scores={model: one(scores) for model, scores in self.scores.items()},
            seed_scores={
                model: {seed: one(scores) for seed, scores in seeds.items()}
                for model, seeds in self.seed_scores.items()
            },
            patient_id=names,
            subgroups=levels,
            rows=tuple(self.rows[i] for i in first) if self.rows else (),
        )


def insist_on_patients(
    patients: Sequence[str] | NDArray[np.str_] | None,
    labels: Sequence[int] | NDArray[np.int64],
    how: HowPerPatient,
) -> None:
    """Raise a DataError unless every patient is known and has images of one class only, where `how` needs that."""
    if how == "none":
        return
    if patients is None or not all(patients):
        msg = (
            "evaluate.per_patient: patients are not known. Give a column patient_id, or another with --group-by; "
            "to judge by image: --set evaluate.per_patient=none"
        )
        raise DataError(msg)
    positive = {patient for patient, label in zip(patients, labels, strict=True) if label}
    n_mixed = len(positive & {patient for patient, label in zip(patients, labels, strict=True) if not label})
    if n_mixed:
        msg = (
            f"evaluate.per_patient: {n_mixed} of {len(set(patients))} patients have images of both classes, and so no "
            "class of their own; to judge by image: --set evaluate.per_patient=none"
        )
        raise DataError(msg)
