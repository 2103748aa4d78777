"""Whether a challenger replaces the champion, asked again every night, without promoting noise.

Looking often enough at nothing finds something. Over the whole reign of a champion, however many nights and challengers
it sees, the probability that a model which is truly no better replaces it is at most half of what the confidence level
leaves: 2.5% at 95%. The k-th comparison has the share ``k**-1.6 / zeta(1.6)`` of it; all shares add up to 1.

This is alpha-spending (Foster & Stine 2008, J R Stat Soc B 70:429), the Bonferroni rule for a stream of tests without
an end, with the weights of Tian & Ramdas (2021, Stat Methods Med Res 30:976), as the R package onlineFDR has them. It
holds whatever the tests have to do with each other, and nights that are pooled have much in common; group-sequential
bounds would ask for the number of nights beforehand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field
from scipy import special

from medcompare.base.formatting import capital, format_estimate, format_level
from medcompare.base.language import t
from medcompare.base.record import Record
from medcompare.stats.assessment import assess
from medcompare.stats.intervals.auc import auc_difference
from medcompare.stats.records import Estimate, Outcome
from medcompare.stats.verdict.criteria import significantly_higher

if TYPE_CHECKING:
    from collections.abc import Mapping

    from medcompare.config.schema import DecideConfig, EvaluateConfig
    from medcompare.predictions.cases import ScoredCases

DECAY = 1.6


class Meeting(Record):
    """What came of champion and candidate on the same images."""

    candidate: str
    better: bool = Field(description="Proven, by the whole rule: on the new images and on the reference set.")
    reason: str = Field(description="A sentence without names of files or patients.")
    look: int = Field(
        ge=0, description="How often the champion was compared so far; 0: there was too little."
    )
    level: float | None = Field(default=None, description="Of the interval on the new images.")
    auc_new: Estimate | None = Field(
        default=None, description="AUC on the new images, candidate minus champion."
    )
    auc_reference: Estimate | None = None


def level_of_look(look: int, level: float = 0.95) -> float:
    """Two-sided confidence level of the `look`-th comparison (1, 2, ...), so that all of them together keep `level`."""
    return 1 - (1 - level) * float(look**-DECAY / special.zeta(DECAY))


def meet(
    new: ScoredCases | None,
    reference: ScoredCases,
    *,
    champion: str,
    candidate: str,
    names: Mapping[str, str],
    thresholds: Mapping[str, float],
    looks_before: int,
    rule: DecideConfig,
    evaluate: EvaluateConfig,
    seed: int = 0,
) -> Meeting:
    """Compare two models by the rule of the verdict, on new images and on the frozen reference set.

    Parameters
    ----------
    new : ScoredCases or None
        Labelled images that neither model was trained on, of all nights since both are registered; None: none.
    reference : ScoredCases
        The same images every night. It can prevent a promotion and never brings one about: it is seen too often.
    champion, candidate : str
        Names of their scores.
    names : mapping
        Names for people.
    thresholds : mapping
        The frozen threshold of each.
    looks_before : int
        Comparisons of this champion before this one, with whatever candidate.
    rule, evaluate : DecideConfig, EvaluateConfig
        Margins and floors; the level that all looks together keep.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    Meeting
        ``better`` where the AUC on the new images is significantly higher at the level of this look, the verdict on
        them is to use the candidate, and the verdict on the reference set, at the plain level, is not against it.
    """
    if new is None or min(new.units(0), new.units(1)) < rule.min_units:
        reason = t(
            "Too little to compare: there are no labelled new images; {needed} of each are needed (decide.min_units).",
            needed=rule.min_units,
        )
        if new is not None:
            reason = t(
                "Too little to compare: so far {positive} positive and {negative} negative new ones; {needed} of each "
                "are needed (decide.min_units).",
                positive=new.units(1),
                negative=new.units(0),
                needed=rule.min_units,
            )
        return Meeting(candidate=candidate, better=False, reason=reason, look=looks_before)
    look = looks_before + 1
    level = level_of_look(look, evaluate.level)
    difference = auc_difference(
        new.y_true, new.scores[champion], new.scores[candidate], level=level, clusters=new.clusters
    )
    shown = t(
        "its AUC minus that of the champion, on {n} new images: {difference} at {level} confidence, as this is "
        "comparison {look} of the champion",
        n=new.n,
        difference=format_estimate(difference),
        level=format_level(level),
        look=look,
    )
    if difference.note:
        shown += f"; {difference.note}"
    found = {"candidate": candidate, "look": look, "level": level, "auc_new": difference}
    if not significantly_higher(difference):
        reason = t(
            "{Candidate} is not proven better than {champion}; {shown}.",
            Candidate=capital(names[candidate]),
            champion=names[champion],
            shown=shown,
        )
        return Meeting.model_validate({**found, "better": False, "reason": reason})

    def verdict(cases: ScoredCases, at: float) -> tuple[bool, str, Estimate | None]:
        """Whether the rule lets the candidate in; the headline; the difference in AUC, candidate minus champion."""
        made = assess(
            cases.only([champion, candidate]),
            None,
            (),
            display_names=names,
            evaluate=evaluate.model_copy(update={"level": at}),
            rule=rule,
            thresholds={name: thresholds[name] for name in (champion, candidate)},
            seed=seed,
        ).verdict
        chosen = made.outcome == Outcome.CHOOSE_BY_COST or made.model == candidate
        area = auc_difference(
            cases.y_true, cases.scores[champion], cases.scores[candidate], level=at, clusters=cases.clusters
        )
        return chosen, made.headline, area

    taken, headline, _ = verdict(new, level)
    if not taken:
        reason = t(
            "{Candidate} has the higher AUC, but on the new images the rule of the verdict does not choose it "
            "({headline}); {shown}.",
            Candidate=capital(names[candidate]),
            headline=headline,
            shown=shown,
        )
        return Meeting.model_validate({**found, "better": False, "reason": reason})
    stands, headline, area = verdict(reference, evaluate.level)
    found["auc_reference"] = area
    if not stands:
        reason = t(
            "{Candidate} is better on the new images, but by the rule of the verdict not on the reference set "
            "({headline}); {shown}.",
            Candidate=capital(names[candidate]),
            headline=headline,
            shown=shown,
        )
        return Meeting.model_validate({**found, "better": False, "reason": reason})
    reason = t(
        "{Candidate} is better than {champion} ({shown}), and no worse on the reference set ({headline}).",
        Candidate=capital(names[candidate]),
        champion=names[champion],
        shown=shown,
        headline=headline,
    )
    return Meeting.model_validate({**found, "better": True, "reason": reason})


class Succession(Record):
    """What is to be done with the champion."""

    action: Literal["promote", "hold", "roll back"]
    to: str | None = Field(default=None, description="The model that would take over.")
    reason: str
    looks: int = Field(description="Comparisons of this champion so far.")


def decide(meetings: Mapping[Literal["challenger", "previous"], Meeting], *, looks_before: int) -> Succession:
    """From the meetings of a night: promote the challenger, roll back to the champion before, or hold.

    Rolling back comes first: of two better models the one that was already trusted.
    """
    looks = max([looks_before, *(one.look for one in meetings.values())])
    for role, action in (("previous", "roll back"), ("challenger", "promote")):
        one = meetings.get(role)  # type: ignore[call-overload] # both are roles
        if one is not None and one.better:
            return Succession(action=action, to=one.candidate, reason=one.reason, looks=looks)
    reason = " ".join(one.reason for one in meetings.values()) or t("There is no challenger.")
    return Succession(action="hold", reason=reason, looks=looks)
