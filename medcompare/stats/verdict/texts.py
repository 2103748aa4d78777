"""The templates of a verdict's words: one sentence per conclusion, written to be read aloud.

No sentence says more than the step of the rule that it belongs to has shown;
``tests/properties/test_claims.py`` holds what each of them claims, as a condition on the numbers.
"""

from __future__ import annotations

from medcompare.stats.records import Outcome

HEADLINES = {
    Outcome.INVALID: "No verdict: the comparison is not valid",
    Outcome.NOT_ENOUGH_DATA: "Not enough data to decide",
    Outcome.THRESHOLDS_NOT_COMPARABLE: "Thresholds not comparable: choose them again",
    Outcome.NEITHER_ADEQUATE: "No model is good enough",
    Outcome.USE_MODEL: "Use {model}",
    Outcome.PREFER_CHEAPER: "Not worse, and cheaper: prefer {model}",
    Outcome.CHOOSE_BY_COST: "No relevant difference: choose by cost",
}
HEADLINES_BY_KIND = {
    "not_as_trained": "No verdict: a network was not evaluated as trained",
    "constant_output": "No verdict: a model gives every case the same score",
    "single_model": "{model} is good enough",
    "single_inadequate": "{only} is not good enough",
    "same_ranking": "No difference in AUC, and cheaper: prefer {model}",
    "cheapest_of_several": "Not worse, and cheapest: prefer {model}",
    "choose_similar": "No relevant difference: either will do",
    "choose_unknown": "No relevant difference, costs not known{enough}",
    "same_ranking_choose": "No difference in AUC: choose by cost",
    "choose_several": "Not worse than the best: choose by cost",
    "choose_several_unknown": "Not worse than the best, costs not known{enough}",
    "some_remain": "Not enough data to decide: {n_remain} of {n_judged} remain",
}
"""Where the outcome's headline would say too much or too little."""

NO_RELEVANT_DIFFERENCE = "No relevant difference: prefer {model}"
NOT_CONVERGED = "Not decided: training had not converged"
NOT_EVERY_TRAINING = " (not in every training)"

SENTENCES = {
    # Step 0
    "invalid": "No recommendation can be made. {extra}",
    "not_as_trained": "No recommendation can be made. {extra}",
    "constant_output": "No recommendation can be made. {extra}",
    # Step 1
    "few_units": (
        "There are too few {units} for any verdict: the test holds {n_positive} {positive} and {n_negative} {negative} "
        "{units}, and at least {min_units} of each are needed."
    ),
    # Step 2
    "neither": (
        "No model is good enough: none reaches {floors} ({values}). Do not use any of them; check the images, the "
        "labels and the training first."
    ),
    "single_inadequate": (
        "{only} is not good enough: it does not reach {floors} ({values}). Do not use it; check the images, the labels "
        "and the training first."
    ),
    "unproven": (
        "No model has been shown to be good enough: whether {chosen} {reach} {floors} can be neither proven nor ruled "
        "out ({values})."
    ),
    "only_adequate": "Use {model}: it is the only model shown to reach {floors} ({values}).",
    "single_model": (
        "{model} is good enough: it is shown to reach {floors} ({values}). There was no second model to compare it "
        "with."
    ),
    "better_but_unproven": (
        "{extra} would be the choice, as {grounds}, but it has not been shown to reach {floors} ({values})."
    ),
    "equal_but_unproven": (
        "Overall {overall} ({difference}), but {extra} has not been shown to reach {floors} ({values})."
    ),
    "candidate_unproven": (
        "{extra} is cheaper, and overall {overall} ({difference}), but it has not been shown to reach {floors} "
        "({values})."
    ),
    # Step 3
    "worse_by_margin": (
        "Use {model}: {other} is cheaper but tells {positive} from {negative} worse, by more than the acceptable "
        "{margin} ({difference})."
    ),
    # Step 4a
    "better_and_cheaper": "Use {model}: it is cheaper, and {overall} ({difference}).",
    "cheaper": (
        "Prefer {model}: it is cheaper, and if it tells {positive} from {negative} any worse than {other}, the loss is "
        "smaller than the acceptable {margin} ({difference})."
    ),
    "cheaper_but_slightly_worse": "Prefer {model}: it is cheaper. Overall {overall} ({difference}).",
    "same_ranking": (
        "Prefer {model}: it is cheaper, and {overall}, so that there is no difference in AUC to weigh against the "
        "acceptable {margin} ({difference})."
    ),
    "choose_trade_off": (
        "There is no relevant difference in telling {positive} from {negative}: {overall} ({difference}). Each model "
        "is cheaper in something: choose by the cost that matters most to you."
    ),
    "choose_similar": (
        "There is no relevant difference in telling {positive} from {negative}: {overall} ({difference}). The models "
        "cost about the same: either will do."
    ),
    "choose_unknown": (
        "There is no relevant difference in telling {positive} from {negative}: {overall} ({difference}). What the "
        "models cost is not known{enough}, so neither is preferred."
    ),
    "same_ranking_choose": (
        "Neither is preferred: {overall}, so that there is no difference in AUC to weigh against the acceptable "
        "{margin} ({difference}), and {costs}."
    ),
    # Step 4b
    "operating_points": (
        "The models cannot be compared at their present thresholds: {misses} misses more {positive} cases, {finds} "
        "raises more false alarms ({sensitivity}; {specificity}). More cases would not change that: {again}{declare}."
    ),
    "better_but_misses_more": (
        "{extra} tells {positive} from {negative} better overall ({difference}), but at its threshold it misses more "
        "{positive} cases ({sensitivity}). More cases would not change that: {again}."
    ),
    "same_ranking_misses_more": (
        "Overall {overall} ({difference}): the models differ in their thresholds alone, at which {misses} misses more "
        "{positive} cases ({sensitivity}). More cases would not change that: {again}."
    ),
    "guard_void": (
        "Overall {overall} ({difference}), but at the present thresholds neither sensitivity nor specificity proves "
        "anything: {void}. More test cases would not change that: {again}."
    ),
    "guard_lost": (
        "{candidate} cannot replace {reference} at its present threshold: overall {overall} ({difference}), but {risk}."
        " More cases would not change that: {again}."
    ),
    "thresholds_lost": (
        "Overall {overall} ({difference}), but at the present thresholds {risk}. More cases would not change that: "
        "{again}."
    ),
    "net_benefit": (
        "Use {model}: one model finds more {positive} cases and the other raises fewer false alarms, and weighed over "
        "the threshold probabilities you declared ({range}) {model} does more good than {other} ({sensitivity}; "
        "{specificity})."
    ),
    # Step 4c
    "misses_more": (
        "Use {model}: {other} is cheaper, and overall {overall} ({difference}), but at its threshold {other} misses "
        "more {positive} cases ({sensitivity}) and is not shown to raise fewer false alarms ({specificity})."
    ),
    # Step 4d
    "guard_unproven": (
        "These data cannot show that {candidate} may replace {reference}: overall {overall} ({difference}), but at the "
        "present thresholds {risk}."
    ),
    "thresholds_unproven": "Overall {overall} ({difference}), but at the present thresholds {risk}.",
    # Step 5
    "better_not_shown_equal": (
        "Use {model}: it tells {positive} from {negative} better than {other}, and the loss with the cheaper {other} "
        "may be larger than the acceptable {margin} ({difference})."
    ),
    "better": "Use {model}: {overall} ({difference}), and {costs}.",
    # Step 6
    "no_interval": (
        "The models cannot be compared: the difference between them has no interval ({difference}). Without one, "
        "nothing can be said about other cases."
    ),
    "perfect_unproven": (
        "Both models separate the classes perfectly, so there is no difference in AUC to weigh ({difference}). With so "
        "few cases the AUC of either may still lie more than the acceptable {margin} below 1 ({values}). Look for a "
        "leak first."
    ),
    "cannot_tell": (
        "These data cannot tell the models apart: there may be a relevant difference or none ({difference}; a loss of "
        "up to {margin} would be acceptable)."
    ),
    # More than two models
    "cannot_tell_several": (
        "These data cannot tell the models apart: none is better than another, and none is shown to stay within the "
        "acceptable losses from the best, once the number of comparisons is allowed for ({values})."
    ),
    "some_remain": (
        "{Remain} of {n_judged_words} models remain: {either}.{others} These data cannot tell those that remain apart, "
        "nor show that one stays within the acceptable losses from the best of them ({values})."
    ),
    "thresholds_of_several": (
        "Of {chosen} no model is worse than the best of them by more than the acceptable {margin} of AUC, but at the "
        "present thresholds {blocked}.{others} More cases would not change that: {again} ({values})."
    ),
    "choose_several": (
        "Of {chosen} no model is worse than the best of them by more than the acceptable {margin}, and none is cheaper "
        "than all others. Choose by the cost that matters most to you ({values})."
    ),
    "choose_several_unknown": (
        "Of {chosen} no model is worse than the best of them by more than the acceptable {margin}. What they cost is "
        "not known{enough} for all, so none is preferred ({values})."
    ),
    "cheapest_of_several": (
        "Prefer {model}: it is the cheapest of {chosen}, none of which is worse than the best of them by more than the "
        "acceptable {margin}{measurably} ({values})."
    ),
    "cheapest_unproven": (
        "{extra} is the cheapest of {chosen}, none of which is worse than the best of them by more than the acceptable "
        "{margin}, but it has not been shown to reach {floors} ({values})."
    ),
    "choice_unproven": (
        "Of {chosen} no model is worse than the best of them by more than the acceptable {margin}, and none is cheaper "
        "than all others, but {worse} {have} not been shown to reach {floors} ({values})."
    ),
    "best_of_several": (
        "Use {model}: it tells {positive} from {negative} better than {rivals}, also when the number of comparisons "
        "is allowed for ({worse_p}) ({values})."
    ),
    "best_unproven": (
        "{extra} tells {positive} from {negative} better than {rivals}, also when the number of comparisons is "
        "allowed for ({worse_p}), but it has not been shown to reach {floors} "
        "({values})."
    ),
}

COSTS = {
    "trade-off": "each model is cheaper in something",
    "similar": "neither is cheaper by enough to count",
    "unknown": "what the models cost is not known{enough}",
}
ENOUGH = " well enough"
"""Where a cost is known, but was timed in too few passes."""
AGAIN = "choose both thresholds again on validation cases, for the same sensitivity, and compare again"
DECLARE = ", or state the threshold probabilities at which you would act (decide.net_benefit_range)"
SETTLES_NOT = "; net benefit over the range you declared does not settle it"
GROUNDS = {
    "worse_by_margin": (
        "{other} tells {positive} from {negative} worse, by more than the acceptable {margin} ({difference})"
    ),
    "better_not_shown_equal": "it tells {positive} from {negative} better than {other} ({difference})",
    "better": "it tells {positive} from {negative} better than {other} ({difference})",
    "better_and_cheaper": (
        "it is cheaper and tells {positive} from {negative} better than {other} ({difference})"
    ),
    "misses_more": (
        "{other} misses more {positive} cases at its threshold ({sensitivity}) and is not shown to raise fewer false "
        "alarms ({specificity})"
    ),
    "net_benefit": (
        "weighed over the threshold probabilities you declared ({range}) it does more good than {other} "
        "({sensitivity}; {specificity})"
    ),
}
RISKS = {
    "sensitivity": ("miss", "misses", "{positive} cases"),
    "specificity": ("raise", "raises", "false alarms"),
}
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
ADVISED_ELSEWHERE = frozenset({"few_units", "no_interval", "perfect_unproven"})
"""Undecided for another reason than the number of cases, or with that number in the sentence."""
