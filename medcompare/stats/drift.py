"""What changed: the images, the labels, or the model? New cases beside those of a base, statistic by statistic.

Every statistic has a permutation test in which patients change sides with all their images. Statistics of images are
compared within each class, so that a change of prevalence alone does not pass for another scanner.

The two-sample test of features is own code: hyppo, the maintained library for it, brings numba and LLVM (170 MB);
torchdrift ended in 2021; alibi-detect is not under a free licence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field
from scipy.spatial.distance import cdist

from medcompare.base.formatting import join_words
from medcompare.base.language import message, t
from medcompare.base.record import Record
from medcompare.stats.in_detail import SIGMAS
from medcompare.stats.multiplicity import holm

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]

Subject = Literal["data", "labels", "calls", "calibration"]

ALPHA = 0.01
"""Of all statistics of a night together: one false alarm in a hundred nights, as `medcompare.runs.data_changes`."""
N_PERMUTATIONS = 2999
"""Enough for the smallest p-value to be an alarm after Holm's adjustment over two bases."""
MAX_CASES = 400
"""So many cases of a side, drawn by chance, have their features compared: distances grow with the square."""
MIN_PATIENTS = 5
FEATURES = message("features of the network")
CALLED = message("share called positive")
POSITIVES = message("share of positives (labels)")
CALIBRATION = message("calibration (label minus probability)")
BRIER = message("Brier score")


@dataclass(frozen=True, kw_only=True)
class Cases:
    """Images of a side, as the champion saw them.

    Attributes
    ----------
    patient : ndarray of shape (n,)
        Which images change sides together; each its own where patients are not known.
    images : dict of str to ndarray of shape (n,)
        Simple statistics by name.
    features : ndarray of shape (n, n_features)
    called : ndarray of bool, shape (n,)
        Called positive.
    probability : ndarray of shape (n,)
        Calibrated.
    y_true : ndarray of shape (n,) or None
        Where labels are known.
    """

    patient: NDArray[np.int64]
    images: dict[str, FloatArray]
    features: FloatArray
    called: NDArray[np.bool_]
    probability: FloatArray
    y_true: IntArray | None


class Signal(Record):
    """One statistic of the new cases beside that of the base."""

    name: str
    subject: Subject
    value: float
    base: float
    low: float = Field(description="Limits of the control chart, three standard deviations of chance.")
    high: float
    effect: float = Field(
        description="Of features: coefficient of inhomogeneity, 0 (same distribution) to 1. Of others: difference of "
        "means in standard deviations."
    )
    p_value: float = Field(ge=0, le=1, description="Of the permutation test, adjusted by Holm.")
    alarm: bool


def energy_coefficient(distances: FloatArray, in_new: FloatArray) -> FloatArray:
    """Coefficient of inhomogeneity of two samples, in [0, 1]: 0 where the distributions are equal.

    Parameters
    ----------
    distances : ndarray of shape (n, n)
        Between all cases.
    in_new : ndarray of shape (n_splits, n)
        1 for cases of the one sample, 0 for the other; one split into two per row.

    Returns
    -------
    ndarray of shape (n_splits,)

    References
    ----------
    Székely & Rizzo (2013), J Stat Plan Inference 143:1249, ``H = (2 E|X-Y| - E|X-X'| - E|Y-Y'|) / (2 E|X-Y|)``.
    """
    a, b = in_new, 1 - in_new
    to_new = a @ distances
    n_a, n_b = a.sum(axis=1), b.sum(axis=1)
    between = (to_new * b).sum(axis=1) / (n_a * n_b)
    within_a = (to_new * a).sum(axis=1) / n_a**2
    within_b = ((distances.sum(axis=0) - to_new) * b).sum(axis=1) / n_b**2
    safe = np.where(between > 0, between, 1.0)
    return np.asarray(np.clip((2 * between - within_a - within_b) / (2 * safe), 0, 1))


def compare(new: Cases, base: Cases, *, seed: int = 0, n_tests: int = 1) -> tuple[Signal, ...]:
    """Test every statistic of `new` against `base`; empty where either has fewer than five patients.

    Parameters
    ----------
    new, base : Cases
        Features of the same network.
    seed : int
        Of the permutations.
    n_tests : int
        How many such comparisons share the false alarms of a night; Holm's adjustment is over all of them.

    Returns
    -------
    tuple of Signal
    """
    if min(len(np.unique(one.patient)) for one in (new, base)) < MIN_PATIENTS:
        return ()
    rng = np.random.default_rng(seed)
    known = new.y_true is not None and base.y_true is not None
    is_new = np.repeat([1.0, 0.0], [len(new.patient), len(base.patient)])
    # A patient on both sides counts as two, which makes the tests cautious.
    _, block = np.unique(
        np.stack([np.concatenate([new.patient, base.patient]), is_new.astype(np.int64)]),
        axis=1,
        return_inverse=True,
    )
    truth = np.concatenate([new.y_true, base.y_true]) if known else np.zeros(len(is_new), dtype=np.int64)
    free = _permuted(is_new, block, np.zeros_like(truth), rng)
    within = _permuted(is_new, block, truth, rng) if known else free
    rows: list[tuple[str, Subject, FloatArray, FloatArray]] = [
        (name, "data", np.concatenate([new.images[name], base.images[name]]), within) for name in new.images
    ]
    rows.append((CALLED, "calls", np.concatenate([new.called, base.called]) * 1.0, free))
    if known:
        probability = np.concatenate([new.probability, base.probability])
        rows.append((POSITIVES, "labels", truth.astype(np.float64), free))
        rows.append((CALIBRATION, "calibration", truth - probability, free))
        rows.append((BRIER, "calibration", np.square(truth - probability), free))
    found = [_mean_signal(*row, truth=truth if row[1] == "data" else None) for row in rows]
    found.append(_feature_signal(new, base, truth, within, rng))
    p_values = holm([one.p_value for one in found] * n_tests)[: len(found)]
    return tuple(
        one.model_copy(update={"p_value": p, "alarm": p < ALPHA})
        for one, p in zip(found, (1.0 if p is None else p for p in p_values), strict=True)
    )


def _permuted(
    is_new: FloatArray, block: NDArray[np.intp], stratum: IntArray, rng: np.random.Generator
) -> FloatArray:
    """Splits (1 + n, n_cases): the true one, then others in which patients of a stratum changed sides at random."""
    n_blocks = int(block.max()) + 1
    side, of = np.zeros(n_blocks), np.zeros(n_blocks, dtype=np.int64)
    np.maximum.at(side, block, is_new)
    np.maximum.at(of, block, stratum)  # a patient with a positive image is a positive one
    sides = np.tile(side, (1 + N_PERMUTATIONS, 1))
    for one in np.unique(of):
        chosen = np.flatnonzero(of == one)
        sides[1:, chosen] = rng.permuted(sides[1:, chosen], axis=1)
    return np.asarray(sides[:, block])


def _means(values: FloatArray, splits: FloatArray) -> FloatArray:
    n_new = splits.sum(axis=1)
    of_new = splits @ values
    return np.asarray(of_new / n_new - (values.sum() - of_new) / (len(values) - n_new))


def _centred(values: FloatArray, truth: IntArray) -> FloatArray:
    """Values less the mean of their class: what is left when the classes differ only in how many there are."""
    out = values.astype(np.float64, copy=True)
    for label in np.unique(truth):
        out[truth == label] -= values[truth == label].mean(axis=0)
    return out


def _mean_signal(
    name: str, subject: Subject, values: FloatArray, splits: FloatArray, *, truth: IntArray | None
) -> Signal:
    """A difference of means; of images within classes, where `truth` has several."""
    compared = values if truth is None else _centred(values, truth)
    differences = _means(compared, splits)
    true, chance = float(differences[0]), differences[1:]
    # Sums of the same numbers in another order end a rounding apart.
    n_as_far = int((np.abs(chance) >= abs(true) - 1e-12 * (1 + np.abs(values).max())).sum())
    base = float(values[splits[0] == 0].mean())
    reach, spread = SIGMAS * float(chance.std()), float(compared.std())
    return Signal(
        name=name,
        subject=subject,
        value=base + true,
        base=base,
        low=base - reach,
        high=base + reach,
        effect=true / spread if spread else 0.0,
        p_value=(1 + n_as_far) / (1 + N_PERMUTATIONS),
        alarm=False,
    )


def _feature_signal(
    new: Cases, base: Cases, truth: IntArray, splits: FloatArray, rng: np.random.Generator
) -> Signal:
    n_new = len(new.patient)
    sides = np.arange(n_new), n_new + np.arange(len(base.patient))
    kept = np.concatenate([np.sort(rng.permutation(one)[:MAX_CASES]) for one in sides])
    features = np.concatenate([new.features, base.features])[kept]
    features = _centred(features, truth[kept])
    coefficients = energy_coefficient(cdist(features, features), splits[:, kept])
    true, chance = float(coefficients[0]), coefficients[1:]
    return Signal(
        name=FEATURES,
        subject="data",
        value=true,
        base=float(chance.mean()),
        low=0.0,
        high=min(1.0, float(chance.mean() + SIGMAS * chance.std())),
        effect=true,
        p_value=(1 + int((chance >= true - 1e-12).sum())) / (1 + N_PERMUTATIONS),
        alarm=False,
    )


OTHER_LABELS = message(
    "The labels changed: another share of positives than in {bases}; images of a class look the same. "
    "Threshold and calibration were chosen for another prevalence."
)
OTHER_LABELS_AND_IMAGES = message(
    "The labels changed: another share of positives than in {bases}; images of a class look different. "
    "Threshold and calibration were chosen for another prevalence."
)


class Alarm(Record):
    """What changed, in words."""

    changed: tuple[Literal["data", "labels", "model"], ...] = ()
    sentences: tuple[str, ...] = Field(default=(), description="Without names of files or patients.")


def alarm(
    against: Mapping[str, Sequence[Signal]], *, model_moved: float = 0.0, tolerance: float = 1e-3
) -> Alarm:
    """Name what changed.

    Parameters
    ----------
    against : mapping
        Signals by the name of the base, such as 'the reference set'.
    model_moved : float
        Largest difference of a score of the reference set from what the same model gave it before.
    tolerance : float
        As when the network was exported: another machine rounds differently.

    Returns
    -------
    Alarm
        ``model``: the same images get other scores. ``data``: images of a class look different. ``labels``: another
        share of positives; or, of images that look the same, other labels than the scores say.
    """
    changed: list[Literal["data", "labels", "model"]] = []
    sentences = []
    if model_moved > tolerance:
        changed.append("model")
        sentences.append(
            t(
                "The model changed: scores of the same reference images moved by up to {most:.3g}. Its "
                "files, a library or the machine is another one; do not use its scores until it is known which.",
                most=model_moved,
            )
        )
    rung = {
        name: {subject: [s for s in signals if s.alarm and s.subject == subject] for subject in _SUBJECTS}
        for name, signals in against.items()
    }

    def named(subject: Subject) -> list[str]:
        """Without units and explanations, each once."""
        return list(
            dict.fromkeys(t(s.name).partition(" (")[0] for one in rung.values() for s in one[subject])
        )

    def bases(subject: Subject) -> str:
        return join_words(t(name) for name, one in rung.items() if one[subject])

    data, labels, calibration, calls = (
        named(subject) for subject in ("data", "labels", "calibration", "calls")
    )
    if data:
        changed.append("data")
        sentences.append(
            t(
                "The images changed, beside {bases}, in {statistics}: another scanner, stain or export? Until that "
                "is known, a person should check the calls on such images; accuracy on earlier ones does not speak for "
                "them.",
                bases=bases("data"),
                statistics=join_words(data),
            )
        )
        if calibration or calls:
            sentences.append(
                t("With them changed: {statistics}.", statistics=join_words([*calibration, *calls]))
            )
    if labels or (calibration and not data):
        changed.append("labels")
    if labels:
        sentences.append(t(OTHER_LABELS_AND_IMAGES if data else OTHER_LABELS, bases=bases("labels")))
    elif calibration and not data:
        sentences.append(
            t(
                "The labels changed: images that look the same are labelled other than in {bases}.",
                bases=bases("calibration"),
            )
        )
    if calls and not (data or labels or calibration):
        changed.append("data")
        sentences.append(
            t(
                "The images changed: another share is called positive than in {bases}, and nothing else differs "
                "that is measured.",
                bases=bases("calls"),
            )
        )
    return Alarm(changed=tuple(changed), sentences=tuple(sentences))


_SUBJECTS: tuple[Subject, ...] = ("data", "labels", "calls", "calibration")
