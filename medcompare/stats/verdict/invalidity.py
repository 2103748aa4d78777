"""Why nothing may be concluded, of a comparison or of one model, as sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medcompare.base.formatting import join_words
from medcompare.base.language import t, tn
from medcompare.stats.verdict.phrases import interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medcompare.stats.records import ModelEvaluation


def not_as_trained(name: str, why: str) -> str:
    """Reason: the evaluation is not that of the network as it was trained."""
    return t(
        "{model} was not evaluated as it was trained, so nothing can be concluded about it: {why}",
        model=name,
        why=why,
    )


def constant_output(name: str) -> str:
    """Reason: there is no ranking to evaluate."""
    return t(
        "{model} gives (nearly) every case the same score, so nothing can be concluded about it: look for batch "
        "statistics that had not settled, saturated output, or a wrong file.",
        model=name,
    )


def nothing_to_compare(name: str) -> str:
    """Reason: one model is no comparison."""
    return t("That leaves {model} alone, with nothing to compare it with.", model=name)


def one_class_only(one: ModelEvaluation) -> str:
    """Reason: there are no two classes."""
    present, absent = (one.classes[1], one.classes[0]) if one.n_negative == 0 else one.classes
    return t(
        "The test subset holds only {present} cases and no {absent} case.", present=present, absent=absent
    )


def identical_scores(one: str, other: str) -> str:
    """Reason: probably the same checkpoint twice."""
    return t(
        "{one} and {other} gave exactly the same score to every case: is it the same model twice?",
        one=one,
        other=other,
    )


def below_chance(models: Sequence[ModelEvaluation]) -> str:
    """Reason: labels swapped, or no signal at all."""
    return tn(
        "{models} ranks the cases worse than a coin toss: either the positive class is swapped, or there is no signal "
        "and this is chance. Nothing is flipped automatically.",
        "{models} rank the cases worse than a coin toss: either the positive class is swapped, or there is no signal "
        "and this is chance. Nothing is flipped automatically.",
        len(models),
        models=join_words(f"{one.display_name} (AUC {interval(one.decisive('auc'))})" for one in models),
    )


def shared_patients(n: int) -> str:
    """Reason: the threshold has seen patients of the test."""
    return tn(
        "{n} patient is in both the validation and the test subset, so the test is not independent.",
        "{n:,} patients are in both the validation and the test subset, so the test is not independent.",
        n,
    )


def same_scores_in_validation(models: Sequence[str]) -> str:
    """Reason: the threshold was chosen on the test cases under other names."""
    return t(
        "Labels and scores of {models} are the same in the validation and the test subset: the threshold was chosen on "
        "the test cases.",
        models=join_words(models),
    )
