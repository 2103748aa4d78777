"""Figures and differences within subgroups, and the shares that all figures at a threshold are made of."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy

from medcompare.base.language import message, t, tn
from medcompare.stats.arrays import MIN_UNITS
from medcompare.stats.estimates import Estimate
from medcompare.stats.in_detail import Interaction, SubgroupDifference, SubgroupEvaluation
from medcompare.stats.intervals.auc import auc_difference, auc_interval
from medcompare.stats.intervals.proportions import clustered_proportion, proportion
from medcompare.stats.intervals.unpaired import unpaired_difference
from medcompare.stats.multiplicity import holm, standard_error_of
from medcompare.stats.paired import paired_proportion_difference

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from medcompare.config.schema import EvaluateConfig
    from medcompare.predictions.cases import ScoredCases

SUBGROUP_FIGURES = ("auc", "sensitivity", "specificity")
FEW = message("not computed: fewer than {needed} cases of a class")


def share(
    success: NDArray[np.bool_],
    among: NDArray[np.bool_],
    clusters: NDArray[np.int64] | None,
    evaluate: EvaluateConfig,
    *,
    why_empty: str,
) -> Estimate:
    """Share of `success` within `among`: Wilson (or as configured), cluster-robust with patients.

    Parameters
    ----------
    success, among : ndarray of bool, shape (n_cases,)
        Numerator (within the denominator) and denominator.
    clusters : ndarray of int, shape (n_cases,), or None
        Patient of each case.
    evaluate : EvaluateConfig
        Level and kind of interval.
    why_empty : str
        Note where the denominator is empty.

    Returns
    -------
    Estimate
        In [0, 1].
    """
    n = int(among.sum())
    if n == 0:
        return Estimate(value=None, level=evaluate.level, method="none", n=0, note=why_empty)
    if clusters is not None:
        return clustered_proportion(success[among], clusters[among], level=evaluate.level)
    return proportion(int(success[among].sum()), n, level=evaluate.level, method=evaluate.proportion_interval)


def undefined(evaluate: EvaluateConfig, note: str, n: int | None = None) -> Estimate:
    """An estimate without a value, and why.

    Parameters
    ----------
    evaluate : EvaluateConfig
        Its level is kept.
    note : str
        Why.
    n : int, optional
        Cases there were.

    Returns
    -------
    Estimate
    """
    return Estimate(value=None, level=evaluate.level, method="none", n=n, note=note)


@dataclass(frozen=True, kw_only=True)
class Level:
    """One level of a subgroup column."""

    column: str
    name: str
    chosen: NDArray[np.bool_]
    """Of shape (n_cases,)."""
    mirrored: bool
    """Second of two levels: against the rest it is the first with the other sign."""
    n_overlapping: int
    """Patients with cases in several levels of the column."""

    def counts(self, test: ScoredCases) -> dict[str, Any]:
        """What every record of a level begins with."""
        patients = None if test.patient_id is None else len(set(test.patient_id[self.chosen].tolist()))
        return {
            "column": self.column,
            "level": self.name or "(blank)",
            "n": int(self.chosen.sum()),
            "n_positive": int(test.y_true[self.chosen].sum()),
            "n_patients": patients,
        }


def levels_of(test: ScoredCases) -> tuple[Level, ...]:
    """Every level of every subgroup column: by column, then in alphabetical order."""
    found, clusters = [], test.clusters
    for column, values in test.subgroups.items():
        names = sorted(set(values.tolist()))
        n_overlapping = 0
        if clusters is not None:
            places = set(zip(clusters.tolist(), values.tolist(), strict=True))
            n_overlapping = sum(count > 1 for count in Counter(patient for patient, _ in places).values())
        found += [
            Level(
                column=column,
                name=name,
                chosen=values == name,
                mirrored=len(names) == 2 and i == 1,
                n_overlapping=n_overlapping,
            )
            for i, name in enumerate(names)
        ]
    return tuple(found)


def subgroup_evaluations(
    test: ScoredCases, model: str, predicted: NDArray[np.bool_], evaluate: EvaluateConfig
) -> tuple[SubgroupEvaluation, ...]:
    """Figures of one model within every level of every subgroup column, and against all other cases.

    Parameters
    ----------
    test : ScoredCases
        The test subset; its ``subgroups`` count.
    model : str
        Which of the scores.
    predicted : ndarray of bool, shape (n_cases,)
        Positive calls at the frozen threshold.
    evaluate : EvaluateConfig
        Level and kind of interval.

    Returns
    -------
    tuple of SubgroupEvaluation
        By column, then by level in alphabetical order; AUC, sensitivity and specificity,
        without a value where a class they need has fewer than ten cases.

    References
    ----------
    Dunn (1961), J Am Stat Assoc 56:52 (intervals of all levels together); those of a difference between levels are
    square-and-add, see `medcompare.stats.intervals.unpaired`.
    """
    levels, clusters = levels_of(test), test.clusters

    def figures(chosen: NDArray[np.bool_], config: EvaluateConfig) -> dict[str, Estimate]:
        return {
            key: _figure(test, model, predicted, config, key=key, chosen=chosen, clusters=clusters)
            for key in SUBGROUP_FIGURES
        }

    compared = {
        key: sum(
            not one.mirrored and _enough(test, one.chosen, key) and _enough(test, ~one.chosen, key)
            for one in levels
        )
        for key in SUBGROUP_FIGURES
    }
    rows = []
    for one in levels:
        against = {}
        for key, n_compared in () if one.mirrored or one.chosen.all() else compared.items():
            level, rest = (
                _figure(
                    test,
                    model,
                    predicted,
                    _stricter(evaluate, n_compared),
                    key=key,
                    chosen=chosen,
                    clusters=clusters,
                )
                for chosen in (one.chosen, ~one.chosen)
            )
            against[key] = _of_family(unpaired_difference(rest, level), evaluate, n_compared, _overlap(one))
        rows.append(
            SubgroupEvaluation(
                **one.counts(test), metrics=figures(one.chosen, evaluate), against_rest=against
            )
        )
    return tuple(rows)


def _stricter(evaluate: EvaluateConfig, n_compared: int) -> EvaluateConfig:
    """The level of one interval of so many that shall hold together."""
    return evaluate.model_copy(update={"level": 1 - (1 - evaluate.level) / max(1, n_compared)})


def _of_family(
    difference: Estimate, evaluate: EvaluateConfig, n_compared: int, note: str | None = None
) -> Estimate:
    """A difference computed at the level of `_stricter`, as one of a family; without a test of its own."""
    if difference.value is None:
        return difference.model_copy(update={"level": evaluate.level, "p_value": None})
    method = difference.method.partition(";")[0]
    return difference.model_copy(
        update={
            "level": evaluate.level,
            "p_value": None,
            "method": t("{method}, Bonferroni over {n} subgroups", method=method, n=n_compared)
            if n_compared > 1
            else method,
            "note": difference.note or note,
        }
    )


def _overlap(level: Level) -> str | None:
    if not level.n_overlapping:
        return None
    n = level.n_overlapping
    return tn(
        "{n:,} patient has cases in several levels of {column}, which are taken for independent: that usually "
        "makes an interval wider, and a test of interaction more cautious",
        "{n:,} patients have cases in several levels of {column}, which are taken for independent: that usually "
        "makes an interval wider, and a test of interaction more cautious",
        n,
        column=level.column,
    )


def _enough(test: ScoredCases, chosen: NDArray[np.bool_], key: str) -> bool:
    """Whether the classes that a figure needs have `MIN_UNITS` cases each."""
    needed = {"auc": (0, 1), "sensitivity": (1,), "specificity": (0,)}[key]
    return all(int((chosen & (test.y_true == label)).sum()) >= MIN_UNITS for label in needed)


def _among(test: ScoredCases, chosen: NDArray[np.bool_], key: str) -> NDArray[np.bool_]:
    """The cases of a subgroup that a figure is about."""
    if key == "auc":
        return chosen
    return np.asarray(chosen & (test.y_true == (1 if key == "sensitivity" else 0)))


def _figure(
    test: ScoredCases,
    model: str,
    predicted: NDArray[np.bool_],
    evaluate: EvaluateConfig,
    *,
    key: str,
    chosen: NDArray[np.bool_],
    clusters: NDArray[np.int64] | None,
) -> Estimate:
    among = _among(test, chosen, key)
    if not _enough(test, chosen, key):
        return undefined(evaluate, t(FEW, needed=MIN_UNITS), int(among.sum()))
    if key == "auc":
        codes = None if clusters is None else clusters[among]
        return auc_interval(
            test.y_true[among], test.scores[model][among], level=evaluate.level, clusters=codes
        )
    right = predicted if key == "sensitivity" else ~predicted
    return share(right, among, clusters, evaluate, why_empty=t(FEW, needed=MIN_UNITS))


def subgroup_differences(
    test: ScoredCases, thresholds: Mapping[str, float], evaluate: EvaluateConfig
) -> tuple[tuple[SubgroupDifference, ...], tuple[Interaction, ...]]:
    """Differences between two models within every level, and whether they differ between levels.

    Parameters
    ----------
    test : ScoredCases
        The test subset; its ``subgroups`` count.
    thresholds : mapping
        Frozen thresholds of the reference and of the candidate, in this order.
    evaluate : EvaluateConfig
        Level of the intervals.

    Returns
    -------
    differences : tuple of SubgroupDifference
        Candidate minus reference; the intervals of a figure hold for all levels together. No p-values: the question
        is whether levels differ, not which of them is significant.
    interactions : tuple of Interaction
        One per column and figure: Cochran's Q over the levels with an interval, adjusted by Holm over all of them.

    References
    ----------
    Altman & Bland (2003), BMJ 326:219 (two levels: a z test of the difference of the differences, whose square is
    Q); Cochran (1954), Biometrics 10:101; Holm (1979), Scand J Stat 6:65.
    """
    levels, clusters = levels_of(test), test.clusters
    compared = {key: sum(_enough(test, one.chosen, key) for one in levels) for key in SUBGROUP_FIGURES}
    rows = []
    found: dict[tuple[str, str], list[tuple[Level, Estimate]]] = {}
    for one in levels:
        differences = {}
        for key, n_compared in compared.items():
            at_level, stricter = (
                _level_difference(test, thresholds, level, key=key, chosen=one.chosen, clusters=clusters)
                for level in (evaluate, _stricter(evaluate, n_compared))
            )
            differences[key] = _of_family(stricter, evaluate, n_compared)
            found.setdefault((one.column, key), []).append((one, at_level))
        rows.append(SubgroupDifference(**one.counts(test), differences=differences))
    tests = [_interaction(column, key, each) for (column, key), each in found.items()]
    adjusted = holm([one.p_value for one in tests])
    return tuple(rows), tuple(
        one.model_copy(update={"p_value_adjusted": p}) for one, p in zip(tests, adjusted, strict=True)
    )


def _level_difference(
    test: ScoredCases,
    thresholds: Mapping[str, float],
    evaluate: EvaluateConfig,
    *,
    key: str,
    chosen: NDArray[np.bool_],
    clusters: NDArray[np.int64] | None,
) -> Estimate:
    among = _among(test, chosen, key)
    if not _enough(test, chosen, key):
        return undefined(evaluate, t(FEW, needed=MIN_UNITS), int(among.sum()))
    codes = None if clusters is None else clusters[among]
    if key == "auc":
        reference, candidate = (test.scores[model][among] for model in thresholds)
        return auc_difference(test.y_true[among], reference, candidate, level=evaluate.level, clusters=codes)
    positive = test.y_true == 1
    right = [((test.scores[model] >= cut) == positive)[among] for model, cut in thresholds.items()]
    return paired_proportion_difference(*right, level=evaluate.level, clusters=codes)


def _interaction(column: str, key: str, levels: Sequence[tuple[Level, Estimate]]) -> Interaction:
    known = [
        (one.value, error)
        for _, one in levels
        if one.value is not None and (error := standard_error_of(one)) is not None and error > 0
    ]
    if len(known) < 2:
        note = t("not tested: fewer than two levels have an interval")
        return Interaction(
            column=column, metric=key, n_levels=len(known), statistic=None, p_value=None, note=note
        )
    values, weights = np.array([v for v, _ in known]), np.array([1 / e**2 for _, e in known])
    statistic = float(weights @ np.square(values - np.average(values, weights=weights)))
    return Interaction(
        column=column,
        metric=key,
        n_levels=len(known),
        statistic=statistic,
        p_value=float(scipy.stats.chi2.sf(statistic, len(known) - 1)),
        note=_overlap(levels[0][0]),
    )
