"""The templates of a verdict's words: one sentence per conclusion, written to be read aloud.

They are messages of the catalogue (`medcompare.base.language`). What fills a gap is a name, a number or a main clause
as it stands, so that other languages can order a sentence by their own rules.

No sentence says more than the step of the rule that it belongs to has shown;
``tests/properties/test_claims.py`` holds what each of them claims, as a condition on the numbers.
"""

from __future__ import annotations

from medcompare.base.language import message
from medcompare.stats.records import Outcome

HEADLINES = {
    Outcome.INVALID: message("No verdict: the comparison is not valid"),
    Outcome.NOT_ENOUGH_DATA: message("Not enough data to decide"),
    Outcome.THRESHOLDS_NOT_COMPARABLE: message("Thresholds not comparable: choose them again"),
    Outcome.NEITHER_ADEQUATE: message("No model is good enough"),
    Outcome.USE_MODEL: message("Use {model}"),
    Outcome.PREFER_CHEAPER: message("Not worse, and cheaper: prefer {model}"),
    Outcome.CHOOSE_BY_COST: message("No relevant difference: choose by cost"),
}
HEADLINES_BY_KIND = {
    "not_as_trained": message("No verdict: a network was not evaluated as trained"),
    "constant_output": message("No verdict: a model gives every case the same score"),
    "single_model": message("{model} is good enough"),
    "single_inadequate": message("{only} is not good enough"),
    "same_ranking": message("No difference in AUC, and cheaper: prefer {model}"),
    "cheapest_of_several": message("Not worse, and cheapest: prefer {model}"),
    "choose_similar": message("No relevant difference: either will do"),
    "choose_unknown": message("No relevant difference, costs not known"),
    "same_ranking_choose": message("No difference in AUC: choose by cost"),
    "choose_several": message("Not worse than the best: choose by cost"),
    "choose_several_unknown": message("Not worse than the best, costs not known"),
    "some_remain": message("Not enough data to decide: {n_remain} of {n_judged} left"),
}
"""Where the outcome's headline would say too much or too little."""
HEADLINES_BADLY_TIMED = {
    "choose_unknown": message("No relevant difference, costs not known well enough"),
    "choose_several_unknown": message("Not worse than the best, costs not known well enough"),
}
"""Where a cost is known, but was timed in too few passes."""

NO_RELEVANT_DIFFERENCE = message("No relevant difference: prefer {model}")
NONE_ASSESSED_IS_ENOUGH = message("No model that could be assessed is good enough")
NOT_CONVERGED = message("Not decided: training had not converged")
NOT_EVERY_TRAINING = message("{headline} (not in every training)")

SENTENCES = {
    # Step 0
    "invalid": message("No recommendation can be made. {extra}"),
    "not_as_trained": message("No recommendation can be made. {extra}"),
    "constant_output": message("No recommendation can be made. {extra}"),
    # Step 1
    "few_units": message(
        "There are too few {units} for any verdict: the test holds {n_positive:,} {positive} and {n_negative:,} "
        "{negative} {units}, and at least {min_units:,} of each are needed."
    ),
    # Step 2
    "neither": message(
        "No model is good enough: none reaches {floors} ({values}). Do not use any of them; check the images, the "
        "labels and the training first."
    ),
    "single_inadequate": message(
        "{only} is not good enough: it does not reach {floors} ({values}). Do not use it; check the images, the labels "
        "and the training first."
    ),
    "unproven": message(
        "No model has been shown to be good enough: whether {chosen} reach {floors} can be neither proven nor ruled "
        "out ({values})."
    ),
    "only_adequate": message("Use {model}: it is the only model shown to reach {floors} ({values})."),
    "single_model": message(
        "{model} is good enough: it is shown to reach {floors} ({values}). There was no second model to compare it "
        "with."
    ),
    "better_but_unproven": message(
        "{extra} would be the choice, as {grounds}, but it has not been shown to reach {floors} ({values})."
    ),
    "equal_but_unproven": message(
        "Overall {overall} ({difference}), but {extra} has not been shown to reach {floors} ({values})."
    ),
    "candidate_unproven": message(
        "{extra} is cheaper, and overall {overall} ({difference}), but it has not been shown to reach {floors} "
        "({values})."
    ),
    # Step 3
    "worse_by_margin": message(
        "Use {model}: {other} is cheaper but tells {positive} from {negative} worse, by more than the acceptable "
        "{margin:g} ({difference})."
    ),
    # Step 4a
    "better_and_cheaper": message("Use {model}: it is cheaper, and {overall} ({difference})."),
    "cheaper": message(
        "Prefer {model}: it is cheaper, and if it tells {positive} from {negative} any worse than {other}, the loss is "
        "smaller than the acceptable {margin:g} ({difference})."
    ),
    "cheaper_but_slightly_worse": message("Prefer {model}: it is cheaper. Overall {overall} ({difference})."),
    "same_ranking": message(
        "Prefer {model}: it is cheaper, and {overall}, so that there is no difference in AUC to weigh against the "
        "acceptable {margin:g} ({difference})."
    ),
    "choose_trade_off": message(
        "There is no relevant difference in telling {positive} from {negative}: {overall} ({difference}). Each model "
        "is cheaper in something: choose by the cost that matters most to you."
    ),
    "choose_similar": message(
        "There is no relevant difference in telling {positive} from {negative}: {overall} ({difference}). The models "
        "cost about the same: either will do."
    ),
    "choose_unknown": message(
        "There is no relevant difference in telling {positive} from {negative}: {overall} ({difference}). What the "
        "models cost is not known, so neither is preferred."
    ),
    "same_ranking_choose": message(
        "Neither is preferred: {overall}, so that there is no difference in AUC to weigh against the acceptable "
        "{margin:g} ({difference}), and {costs}."
    ),
    # Step 4b
    "operating_points": message(
        "The models cannot be compared at their present thresholds: {misses} misses more {positive} cases, {finds} "
        "raises more false alarms ({sensitivity}; {specificity}). More cases would not change that: {advice}."
    ),
    "better_but_misses_more": message(
        "{extra} tells {positive} from {negative} better overall ({difference}), but at its threshold it misses more "
        "{positive} cases ({sensitivity}). More cases would not change that: {advice}."
    ),
    "same_ranking_misses_more": message(
        "Overall {overall} ({difference}): the models differ in their thresholds alone, at which {misses} misses more "
        "{positive} cases ({sensitivity}). More cases would not change that: {advice}."
    ),
    "guard_void": message(
        "Overall {overall} ({difference}), but at the present thresholds neither sensitivity nor specificity proves "
        "anything: {void}. More test cases would not change that: {advice}."
    ),
    "guard_lost": message(
        "{candidate} cannot replace {reference} at its present threshold: overall {overall} ({difference}), but {risk}."
        " More cases would not change that: {advice}."
    ),
    "thresholds_lost": message(
        "Overall {overall} ({difference}), but at the present thresholds {risk}. More cases would not change that: "
        "{advice}."
    ),
    "net_benefit": message(
        "Use {model}: one model finds more {positive} cases and the other raises fewer false alarms, and weighed over "
        "the threshold probabilities you declared ({range}) {model} does more good than {other} ({sensitivity}; "
        "{specificity})."
    ),
    # Step 4c
    "misses_more": message(
        "Use {model}: {other} is cheaper, and overall {overall} ({difference}), but at its threshold {other} misses "
        "more {positive} cases ({sensitivity}) and is not shown to raise fewer false alarms ({specificity})."
    ),
    # Step 4d
    "guard_unproven": message(
        "These data cannot show that {candidate} may replace {reference}: overall {overall} ({difference}), but at the "
        "present thresholds {risk}."
    ),
    "thresholds_unproven": message("Overall {overall} ({difference}), but at the present thresholds {risk}."),
    # Step 5
    "better_not_shown_equal": message(
        "Use {model}: it tells {positive} from {negative} better than {other}, and the loss with the cheaper {other} "
        "may be larger than the acceptable {margin:g} ({difference})."
    ),
    "better": message("Use {model}: {overall} ({difference}), and {costs}."),
    # Step 6
    "no_interval": message(
        "The models cannot be compared: the difference between them has no interval ({difference}). Without one, "
        "nothing can be said about other cases."
    ),
    "perfect_unproven": message(
        "Both models separate the classes perfectly, so there is no difference in AUC to weigh ({difference}). With so "
        "few cases the AUC of either may still lie more than the acceptable {margin:g} below 1 ({values}). Look for a "
        "leak first."
    ),
    "cannot_tell": message(
        "These data cannot tell the models apart: there may be a relevant difference or none ({difference}; a loss of "
        "up to {margin:g} would be acceptable)."
    ),
    # More than two models
    "cannot_tell_several": message(
        "These data cannot tell the models apart: none is better than another, and none is shown to stay within the "
        "acceptable losses from the best, once the number of comparisons is allowed for ({values})."
    ),
    "some_remain": message(
        "{Remaining} of {judged} models remain: {either}.{others} These data cannot tell those that remain apart, "
        "nor show that one stays within the acceptable losses from the best of them ({values})."
    ),
    "thresholds_of_several": message(
        "Of {chosen} no model is worse than the best of them by more than the acceptable {margin:g} of AUC, but at the "
        "present thresholds {blocked}.{others} More cases would not change that: {advice} ({values})."
    ),
    "choose_several": message(
        "Of {chosen} no model is worse than the best of them by more than the acceptable {margin:g}, and none is "
        "cheaper than all others. Choose by the cost that matters most to you ({values})."
    ),
    "choose_several_unknown": message(
        "Of {chosen} no model is worse than the best of them by more than the acceptable {margin:g}. What they cost is "
        "not known for all, so none is preferred ({values})."
    ),
    "cheapest_of_several": message(
        "Prefer {model}: it is the cheapest of {chosen}, none of which is worse than the best of them by more than the "
        "acceptable {margin:g}{measurably} ({values})."
    ),
    "cheapest_unproven": message(
        "{extra} is the cheapest of {chosen}, none of which is worse than the best of them by more than the acceptable "
        "{margin:g}, but it has not been shown to reach {floors} ({values})."
    ),
    "choice_unproven": message(
        "Of {chosen} no model is worse than the best of them by more than the acceptable {margin:g}, and none is "
        "cheaper than all others, but {worse} have not been shown to reach {floors} ({values})."
    ),
    "best_of_several": message(
        "Use {model}: it tells {positive} from {negative} better than {rivals}, also when the number of comparisons "
        "is allowed for ({worse_p}) ({values})."
    ),
    "best_unproven": message(
        "{extra} tells {positive} from {negative} better than {rivals}, also when the number of comparisons is "
        "allowed for ({worse_p}), but it has not been shown to reach {floors} "
        "({values})."
    ),
}

OF_ONE = {
    "unproven": message(
        "No model has been shown to be good enough: whether {chosen} reaches {floors} can be neither proven nor ruled "
        "out ({values})."
    ),
    "choice_unproven": message(
        "Of {chosen} no model is worse than the best of them by more than the acceptable {margin:g}, and none is "
        "cheaper than all others, but {worse} has not been shown to reach {floors} ({values})."
    ),
}
"""The same about a single model of which it is not shown."""

BADLY_TIMED = {
    "choose_unknown": message(
        "There is no relevant difference in telling {positive} from {negative}: {overall} ({difference}). What the "
        "models cost is not known well enough, so neither is preferred."
    ),
    "choose_several_unknown": message(
        "Of {chosen} no model is worse than the best of them by more than the acceptable {margin:g}. What they cost is "
        "not known well enough for all, so none is preferred ({values})."
    ),
}
"""The same where a cost is known, but was timed in too few passes."""

COSTS = {
    "trade-off": message("each model is cheaper in something"),
    "similar": message("neither is cheaper by enough to count"),
    "unknown": message("the cost of the models is not known"),
    "badly timed": message("the cost of the models is not known well enough"),
}

AGAIN = message(
    "choose both thresholds again on validation cases, for the same sensitivity, and compare again"
)
AGAIN_OR_DECLARE = message(
    "choose both thresholds again on validation cases, for the same sensitivity, and compare again, or state the "
    "threshold probabilities at which you would act (decide.net_benefit_range)"
)
AGAIN_NOT_SETTLED = message(
    "choose both thresholds again on validation cases, for the same sensitivity, and compare again; net benefit over "
    "the range you declared does not settle it"
)
AGAIN_WITH_VALIDATION = message(
    "give validation cases to choose the thresholds on, or thresholds that were chosen beforehand, and compare again"
)

OVERALL_PERFECT = message("both models separate the classes perfectly")
OVERALL_ALIKE = message("both models rank every pair of cases alike")
OVERALL_BETTER = message("{better} tells {positive} from {negative} better than {lesser}")
OVERALL_SLIGHTLY_BETTER = message(
    "{better} tells {positive} from {negative} better than {lesser}, by less than the acceptable {margin:g}"
)
OVERALL_EQUAL = message("the models differ by less than the acceptable {margin:g} either way")
OVERALL_NOT_WORSE = message(
    "the loss with {taken} instead of {left}, if any, is smaller than the acceptable {margin:g}"
)

GROUNDS = {
    "worse_by_margin": message(
        "{other} tells {positive} from {negative} worse, by more than the acceptable {margin:g} ({difference})"
    ),
    "better_not_shown_equal": message(
        "it tells {positive} from {negative} better than {other} ({difference})"
    ),
    "better": message("it tells {positive} from {negative} better than {other} ({difference})"),
    "better_and_cheaper": message(
        "it is cheaper and tells {positive} from {negative} better than {other} ({difference})"
    ),
    "misses_more": message(
        "{other} misses more {positive} cases at its threshold ({sensitivity}) and is not shown to raise fewer false "
        "alarms ({specificity})"
    ),
    "net_benefit": message(
        "weighed over the threshold probabilities you declared ({range}) it does more good than {other} "
        "({sensitivity}; {specificity})"
    ),
}
RISKS = {
    "sensitivity": {
        "too many": message("{model} misses too many {positive} cases ({shown})"),
        "more": message("{model} misses more {positive} cases ({shown})"),
        "perhaps too many": message("{model} misses more {positive} cases, perhaps too many ({shown})"),
        "possible": message("{model} may miss too many {positive} cases ({shown})"),
    },
    "specificity": {
        "too many": message("{model} raises too many false alarms ({shown})"),
        "more": message("{model} raises more false alarms ({shown})"),
        "perhaps too many": message("{model} raises more false alarms, perhaps too many ({shown})"),
        "possible": message("{model} may raise too many false alarms ({shown})"),
    },
}
"""What a model does at its threshold, by what is shown of it."""

ADVISED_ELSEWHERE = frozenset({"few_units", "no_interval", "perfect_unproven"})
"""Undecided for another reason than the number of cases, or with that number in the sentence."""
