"""What goes with the verdict's sentence: remarks, caveats, what may be used, parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medcompare.base.formatting import format_count, format_level, join_words
from medcompare.base.language import localised, t
from medcompare.stats.records import Outcome, Parameter, Verdict
from medcompare.stats.verdict.caveats import caveats_of, cost_remarks, use_of
from medcompare.stats.verdict.criteria import adequacy, best_by_point_estimate
from medcompare.stats.verdict.phrases import difference_text, p_text
from medcompare.stats.verdict.sentences import headline_of, sentence_of
from medcompare.stats.verdict.texts import ADVISED_ELSEWHERE, NOT_EVERY_TRAINING

if TYPE_CHECKING:
    from medcompare.stats.records import PairedComparison, SeedComparison, SizeNeeded
    from medcompare.stats.sizes import NoSize
    from medcompare.stats.verdict.cost_order import CostOrder
    from medcompare.stats.verdict.situation import Finding, Situation

NO_DEFAULT = "software default, not clinically justified"


def worded(
    situation: Situation,
    finding: Finding,
    *,
    order: CostOrder | None,
    sizes: tuple[SizeNeeded, ...],
    without_size: tuple[NoSize, ...],
    few_units: bool,
) -> Verdict:
    """The verdict of `finding` in words.

    Parameters
    ----------
    situation : Situation
        What the rule looked at.
    finding : Finding
        What it found.
    order : CostOrder or None
        Costs of the pair, where there is one.
    sizes : tuple of SizeNeeded
        What would settle the questions that are open.
    without_size : tuple of NoSize
        Why there is no size for others.
    few_units : bool
        Whether a class has fewer cases than a sound evaluation asks for.

    Returns
    -------
    Verdict
    """
    pair = finding.pair or (situation.comparisons[0] if len(situation.comparisons) == 1 else None)
    # Where all that is open would, as seen, be settled the other way, more cases are not the advice.
    more_helps = bool(sizes) or not without_size or any(one.more_helps for one in without_size)
    headline = headline_of(situation, finding)
    sentence = sentence_of(situation, finding, order, more_helps=more_helps)
    sensitive, today = _seed_sensitive(situation, finding), favourite_today(situation, finding)
    if sensitive is not None and finding.outcome is Outcome.USE_MODEL:
        headline = t(NOT_EVERY_TRAINING, headline=headline)
        average = t("This holds on average over trainings: in a single one the order may be another.")
        sentence = f"{sentence} {average}"
    return Verdict(
        outcome=finding.outcome,
        step=finding.step,
        model=finding.model,
        provisional_favourite=today[0] if today else None,
        provisional_sentence=today[1] if today else None,
        reference=pair.reference if pair else None,
        candidate=pair.candidate if pair else None,
        headline=headline,
        sentence=sentence,
        remarks=()
        if finding.outcome is Outcome.INVALID
        else (
            *_remarks(situation, pair, order),
            *([today[1]] if today else []),
            *(size.sentence for size in sizes),
            *(one.sentence for one in without_size),
        ),
        caveats=caveats_of(situation, sensitive, few_units=few_units),
        cost_remarks=cost_remarks(situation),
        sizes_needed=sizes,
        cheaper=order.cheaper if order else None,
        left_out=situation.left_out,
        parameters=parameters(situation),
        uses=tuple(use_of(one, situation.evaluate) for one in situation.usable),
    )


def favourite_today(s: Situation, finding: Finding) -> tuple[str, str] | None:
    """The favourite so far, and a sentence on what its interval allows to say of it.

    None where more data are not the question, where too few cases make any favourite a coin toss, and where
    no single model is ahead of another.
    """
    if finding.outcome is not Outcome.NOT_ENOUGH_DATA or finding.kind in ADVISED_ELSEWHERE:
        return None
    left = [one for one in s.usable if adequacy(one, s.rule) != "inadequate"]
    best = best_by_point_estimate(left)
    if len(left) < 2 or len(best) != 1:
        return None
    (ahead,) = best
    by_chance, by_number = [], []
    others = [one for one in left if one.model != ahead.model]
    for other in others:
        pair = s.pair_of(ahead.model, other.model)
        difference, adjusted = pair.differences["auc"], pair.p_values_adjusted.get("auc")
        low, high = difference.ci_low, difference.ci_high
        if low is None or high is None or low <= 0 <= high:
            by_chance.append(other.display_name)
        elif adjusted is not None and adjusted >= s.alpha:
            by_number.append(f"{other.display_name} ({p_text(adjusted)})")
    if len(others) == 1:
        pair = s.pair_of(ahead.model, others[0].model)
        said = t(
            "If you had to decide today: {model} has the higher AUC so far ({difference}).",
            model=ahead.display_name,
            difference=difference_text(pair, "auc", s.names),
        )
    else:
        said = t("If you had to decide today: {model} has the highest AUC so far.", model=ahead.display_name)
    found = [said]
    if by_chance:
        found.append(t("Chance alone may explain its lead over {models}.", models=join_words(by_chance)))
    if by_number:
        found.append(
            t(
                "With {n:,} comparisons, chance may also explain its lead over {models}.",
                n=len(s.comparisons),
                models=join_words(by_number),
            )
        )
    if not by_chance and not by_number:
        found.append(t("Chance alone does not explain that, but it does not settle the question."))
    return ahead.model, " ".join(found)


def _seed_sensitive(s: Situation, finding: Finding) -> SeedComparison | None:
    """A pair the finding rests on, the order of which changes from seed to seed."""
    for each in s.seed_comparisons:
        ends = {each.reference, each.candidate}
        about = finding.pair is None or ends == {finding.pair.reference, finding.pair.candidate}
        if each.sensitive and about and (finding.model is None or finding.model in ends):
            return each
    return None


def _remarks(s: Situation, pair: PairedComparison | None, order: CostOrder | None) -> tuple[str, ...]:
    """What no table says: figures of single models, differences and costs stand in theirs."""
    found = [seeds_words(s)] if s.seed_comparisons else []
    more = pair.probability_candidate_more_accurate if pair is not None else None
    if pair is not None and more is not None and more.value is not None:
        found.append(
            t(
                "Probability that {candidate} is right more often than {reference}, each at its threshold: "
                "{percent:.0f}% ({method}).",
                candidate=s.names[pair.candidate],
                reference=s.names[pair.reference],
                percent=100 * more.value,
                method=more.method,
            )
        )
    if order is not None and order.cheaper is None:
        found.append(order.why_none_is_cheaper(s.names))
    return tuple(found)


def seeds_words(s: Situation) -> str:
    """What figures over several trainings are."""
    counts = sorted({len(each.seeds) for each in s.seed_comparisons})
    return t(
        "Each model was trained {times} times, with other seeds: AUC, sensitivity, specificity and their differences "
        "are means over the trainings, and their intervals hold for other patients and other seeds.",
        times=join_words(map(str, counts), either=True),
    )


def _share(value: float) -> str:
    """A margin or floor with two decimals, or more where it has more."""
    return localised(max(f"{value:.2f}", f"{value:g}", key=len))


def parameters(s: Situation) -> tuple[Parameter, ...]:
    """Parameters of the rule, and who set them."""
    rule = s.rule
    numbers = ("auc_floor", "margin_auc", "margin_sensitivity", "margin_specificity")
    values = {name: _share(getattr(rule, name)) for name in numbers} | {
        "guard": rule.guard,
        "min_units": format_count(rule.min_units),
        "cost_metric": rule.cost_metric,
        "cost_tolerance": t("{percent:g}%", percent=100 * rule.cost_tolerance),
    }
    for name in ("sensitivity_floor", "specificity_floor"):
        if (floor := getattr(rule, name)) is not None:
            values[name] = _share(floor)
    if rule.net_benefit_range is not None:
        low, high = rule.net_benefit_range
        values["net_benefit_range"] = t("{low:g} to {high:g}", low=low, high=high)
    rows = [(f"decide.{name}", name, value) for name, value in values.items()]
    rows.append(("evaluate.level", "level", format_level(s.evaluate.level)))
    return tuple(
        Parameter(name=name, value=value, set_by="user" if field in s.set_by_user else NO_DEFAULT)
        for field, name, value in rows
    )
