"""The same checkpoints and thresholds on another hospital's images, beside the internal test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medcompare.base.formatting import format_level, format_number
from medcompare.base.language import t, tn
from medcompare.stats.comparison import compare_models
from medcompare.stats.evaluation import evaluate_model
from medcompare.stats.intervals.unpaired import unpaired_difference
from medcompare.stats.records import ExternalModel, ExternalSet
from medcompare.stats.verdict.phrases import FIGURE_NAMES, difference_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medcompare.config.schema import DecideConfig, EvaluateConfig
    from medcompare.predictions.cases import ScoredCases
    from medcompare.predictions.costs import CostMeasurement
    from medcompare.stats.records import Assessment, ModelEvaluation

FIGURES = ("auc", "sensitivity", "specificity")


def on_external(
    name: str,
    external: ScoredCases,
    validation: ScoredCases,
    evaluations: Sequence[ModelEvaluation],
    *,
    costs: Sequence[CostMeasurement],
    evaluate: EvaluateConfig,
    rule: DecideConfig,
    seed: int,
    shared: tuple[tuple[str, int], ...] = (),
    notes: tuple[str, ...] = (),
) -> ExternalSet:
    """Figures of each model on an external set, at the thresholds frozen before, and what they lose there.

    Parameters
    ----------
    name : str
        What the user calls the set.
    external, validation : ScoredCases
        The external cases; the internal validation subset, for a recalibration that was fitted on it.
    evaluations : sequence of ModelEvaluation
        On the internal test subset.
    costs, evaluate, rule, seed
        As in `medcompare.stats.comparison.compare_models`.
    shared : tuple of (str, int)
        Kind and number of what the main data hold too.
    notes : tuple of str
        What is to be said of the set.

    Returns
    -------
    ExternalSet
    """
    there = [
        evaluate_model(
            external.only([one.model]),
            validation.only([one.model]),
            one.model,
            display_name=one.display_name,
            evaluate=evaluate,
            operating_point=one.operating_point,
            seed=seed,
        )
        for one in evaluations
    ]
    return ExternalSet(
        name=name,
        n=external.n,
        n_positive=there[0].n_positive,
        n_negative=there[0].n_negative,
        n_patients=external.n_patients,
        shared=shared,
        models=tuple(
            ExternalModel(
                evaluation=outside,
                differences={
                    figure: unpaired_difference(inside.metrics[figure], outside.metrics[figure])
                    for figure in FIGURES
                },
            )
            for inside, outside in zip(evaluations, there, strict=True)
        ),
        comparisons=compare_models(external, there, costs=costs, evaluate=evaluate, decide=rule, seed=seed),
        notes=notes,
    )


def with_external(found: Assessment, sets: Sequence[ExternalSet]) -> Assessment:
    """`found` with the external sets, which its verdict tells of first; what it decides stays."""
    if not sets:
        return found
    told = tuple(_sentence(found, one) for one in sets)
    verdict = found.verdict.model_copy(update={"caveats": (*told, *found.verdict.caveats)})
    return found.model_copy(update={"external": tuple(sets), "verdict": verdict})


def _sentence(found: Assessment, one: ExternalSet) -> str:
    """What became of each model on an external set, beside the internal test."""
    cases = tn("{n:,} case", "{n:,} cases", one.n)
    if one.n_patients is not None:
        patients = tn("{n:,} patient", "{n:,} patients", one.n_patients)
        cases = t("{cases} of {patients}", cases=cases, patients=patients)
    if one.shared:
        cases = t("{cases}, {shared} also in the main data", cases=cases, shared=one.shared_words)
    parts = []
    for model in one.models:
        figures = [f"{t(FIGURE_NAMES[figure])} {_moved(model, figure)}" for figure in FIGURES]
        parts.append(f"{model.evaluation.display_name}: {', '.join(figures)}")
    text = t(
        "On the external set {name} ({cases}; nothing was fitted to it, thresholds frozen), against the internal "
        "test, with {level} intervals of the change: {figures}.",
        name=one.name,
        cases=cases,
        level=format_level(found.level),
        figures=". ".join(parts),
    )
    if len(one.models) == 2:
        difference = difference_text(one.comparisons[0], "auc", found.display_names)
        return " ".join([text, t("There the {difference}.", difference=difference)])
    return text


def _moved(model: ExternalModel, figure: str) -> str:
    """A figure there and its change: a drop or a gain where the interval says so."""
    there, change = model.evaluation.metrics[figure], model.differences[figure]
    if there.value is None:
        return t("not computed ({note})", note=there.note)
    if change.value is None:
        return t("{value} (no change computed: {note})", value=format_number(there.value), note=change.note)
    low, high = change.ci_low, change.ci_high
    values = {"value": format_number(there.value), "change": format_number(change.value, signed=True)}
    if low is None or high is None:
        return t("{value} (change {change}, without an interval)", **values)
    values |= {"low": format_number(low, signed=True), "high": format_number(high, signed=True)}
    if high < 0:
        return t("{value} (a drop: {change}, {low} to {high})", **values)
    if low > 0:
        return t("{value} (a gain: {change}, {low} to {high})", **values)
    return t("{value} (no change shown: {change}, {low} to {high})", **values)
