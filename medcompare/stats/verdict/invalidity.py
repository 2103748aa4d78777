"""Why nothing may be concluded, of a comparison or of one model, as sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medcompare.stats.verdict.sentences import interval, joined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medcompare.stats.records import ModelEvaluation


def not_as_trained(name: str, why: str) -> str:
    """Reason: the evaluation is not that of the network as it was trained."""
    return f"{name} was not evaluated as it was trained, so nothing can be concluded about it: {why}"


def constant_output(name: str) -> str:
    """Reason: there is no ranking to evaluate."""
    return (
        f"{name} gives (nearly) every case the same score, so nothing can be concluded about it: look for batch "
        "statistics that had not settled, saturated output, or a wrong file."
    )


def nothing_to_compare(name: str) -> str:
    """Reason: one model is no comparison."""
    return f"That leaves {name} alone, with nothing to compare it with."


def one_class_only(one: ModelEvaluation) -> str:
    """Reason: there are no two classes."""
    present, absent = (one.classes[1], one.classes[0]) if one.n_negative == 0 else one.classes
    return f"The test subset holds only {present} cases and no {absent} case."


def identical_scores(one: str, other: str) -> str:
    """Reason: probably the same checkpoint twice."""
    return f"{one} and {other} gave exactly the same score to every case: is it the same model twice?"


def below_chance(models: Sequence[ModelEvaluation]) -> str:
    """Reason: labels swapped, or no signal at all."""
    ranking = joined([f"{one.display_name} (AUC {interval(one.decisive('auc'))})" for one in models])
    return (
        f"{ranking} {'ranks' if len(models) == 1 else 'rank'} the cases worse than a coin toss: either the "
        "positive class is swapped, or there is no signal and this is chance. Nothing is flipped automatically."
    )


def shared_patients(n: int) -> str:
    """Reason: the threshold has seen patients of the test."""
    are = "patient is" if n == 1 else "patients are"
    return f"{n:,} {are} in both the validation and the test subset, so the test is not independent."


def same_scores_in_validation(models: Sequence[str]) -> str:
    """Reason: the threshold was chosen on the test cases under other names."""
    return (
        f"Labels and scores of {joined(models)} are the same in the validation and the test subset: the threshold was "
        "chosen on the test cases."
    )
