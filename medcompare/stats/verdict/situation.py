"""What the decision rule looks at, and what a step of it concludes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from medcompare.stats.sizes import OpenQuestion
from medcompare.stats.verdict import invalidity
from medcompare.stats.verdict.criteria import floors_of, guard_of, proves_nothing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from medcompare.config.schema import DecideConfig, EvaluateConfig
    from medcompare.predictions.costs import CostMeasurement
    from medcompare.stats.records import ModelEvaluation, Outcome, PairedComparison, SeedComparison
    from medcompare.stats.verdict.criteria import Figure, Guard


@dataclass(frozen=True, kw_only=True)
class Situation:
    """All the rule looks at, and all its explanation needs."""

    evaluations: tuple[ModelEvaluation, ...]
    comparisons: tuple[PairedComparison, ...]
    costs: tuple[CostMeasurement, ...]
    rule: DecideConfig
    evaluate: EvaluateConfig
    set_by_user: frozenset[str] = frozenset()
    validity: tuple[str, ...] = ()
    """Reasons found elsewhere why nothing may be concluded, as sentences."""
    identical: tuple[tuple[str, str], ...] = ()
    """Pairs of models whose scores are the same for every case."""
    net_benefit: Mapping[tuple[str, str], float] = field(default_factory=dict)
    """Probability that the candidate has the larger net benefit over the declared range."""
    seed_comparisons: tuple[SeedComparison, ...] = ()
    """Pairs of which several trainings are known."""
    patients_known: bool = True
    """Whether patient ids were given: without them one case per patient is assumed."""
    not_evaluated_as_trained: Mapping[str, str] = field(default_factory=dict)
    """By model, one sentence with its numbers: why its scores are not those of the network as trained."""
    not_converged: Mapping[str, str] = field(default_factory=dict)
    """By model, one sentence with its numbers: why it would have learnt more from longer training."""

    @property
    def left_out(self) -> dict[str, str]:
        """Models nothing may be concluded about, and why, as sentences."""
        found = {}
        for one in self.evaluations:
            if one.model in self.not_evaluated_as_trained:
                found[one.model] = invalidity.not_as_trained(
                    one.display_name, self.not_evaluated_as_trained[one.model]
                )
            elif one.constant_output:
                found[one.model] = invalidity.constant_output(one.display_name)
        return found

    @property
    def usable(self) -> tuple[ModelEvaluation, ...]:
        """The models that are not left out."""
        return tuple(one for one in self.evaluations if one.model not in self.left_out)

    @property
    def nothing_to_compare(self) -> bool:
        """Whether too many models are left out for a comparison, or for any assessment."""
        return len(self.usable) < min(2, len(self.evaluations))

    @property
    def names(self) -> dict[str, str]:
        """Display name by model."""
        return {one.model: one.display_name for one in self.evaluations}

    @property
    def alpha(self) -> float:
        """Two-sided error; rounded, as ``1 - 0.95`` is a little more than 0.05."""
        return round(1 - self.evaluate.level, 12)

    def unfinished(self) -> dict[str, str]:
        """Usable models whose training had not converged, and why, as sentences."""
        return {
            one.model: self.not_converged[one.model] for one in self.usable if one.model in self.not_converged
        }

    def pair_of(self, one: str, other: str) -> PairedComparison:
        """The comparison of two usable models, whichever is the reference."""
        return next(pair for pair in self.comparisons if {pair.reference, pair.candidate} == {one, other})


@dataclass(frozen=True, kw_only=True)
class GuardFinding:
    """A figure at the thresholds that does not allow taking a model.

    Attributes
    ----------
    figure : {"sensitivity", "specificity"}
        The figure.
    model : str
        The model that would be taken.
    state : {"open", "lost"}
        Whether the loss is proven.
    pair : PairedComparison
        Where it is seen.
    """

    figure: Figure
    model: str
    state: Guard
    pair: PairedComparison


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a step of the rule concludes."""

    outcome: Outcome
    step: str
    model: str | None = None
    kind: str
    """Which sentence of `medcompare.stats.verdict.texts.SENTENCES`."""
    pair: PairedComparison | None = None
    extra: str = ""
    """A model's name or, for an invalid comparison, the reasons."""
    grounds: str = ""
    """Kind of the finding that a floor prevents."""
    chosen: tuple[str, ...] = ()
    """Models within the margin of the best, or those that remain."""
    worse: tuple[str, ...] = ()
    """Models that another one is significantly better than, all comparisons allowed for."""
    worse_p: float | None = None
    """Largest adjusted p-value that puts one of them there."""
    guards: tuple[GuardFinding, ...] = ()
    """Figures that do not allow replacing one model by another."""
    void: tuple[str, ...] = ()
    """Models at whose threshold sensitivity and specificity prove nothing."""
    questions: tuple[OpenQuestion, ...] = ()
    """What more cases would settle."""


def guards_against(
    s: Situation, pair: PairedComparison, *, mirrored: bool = False
) -> tuple[GuardFinding, ...]:
    """Figures that do not allow taking the candidate.

    Parameters
    ----------
    s : Situation
        For the margins.
    pair : PairedComparison
        Candidate and reference.
    mirrored : bool, default=False
        Ask about the reference instead.

    Returns
    -------
    tuple of GuardFinding
        Empty where sensitivity and specificity both allow it.
    """
    model = pair.reference if mirrored else pair.candidate
    return tuple(
        GuardFinding(figure=figure, model=model, state=state, pair=pair)
        for figure, state in guard_of(pair, s.rule, mirrored=mirrored).items()
        if state != "passed"
    )


def void_at(s: Situation, pair: PairedComparison) -> tuple[str, ...]:
    """Models of a pair at whose threshold the guard proves nothing."""
    ends = {pair.reference, pair.candidate}
    return tuple(one.model for one in s.usable if one.model in ends and proves_nothing(one) is not None)


def open_guards(guards: Sequence[GuardFinding]) -> tuple[OpenQuestion, ...]:
    """What more cases would settle about one model taking the place of another."""
    return tuple(
        OpenQuestion(figure=guard.figure, pair=guard.pair, mirrored=guard.model == guard.pair.reference)
        for guard in guards
        if guard.state == "open"
    )


def open_both_ways(guards: Sequence[GuardFinding]) -> tuple[OpenQuestion, ...]:
    """The same where each model must be able to take the place of the other; none where one cannot."""
    lost = {guard.figure for guard in guards if guard.state == "lost"}
    still = {guard.figure: guard.pair for guard in guards if guard.figure not in lost}
    return tuple(OpenQuestion(figure=figure, pair=pair, both_ways=True) for figure, pair in still.items())


def open_floors(s: Situation, model: str) -> tuple[OpenQuestion, ...]:
    """Floors that a model is neither shown to reach nor to miss."""
    one = next(each for each in s.usable if each.model == model)
    return tuple(
        OpenQuestion(figure=figure, model=model)
        for figure, floor in floors_of(s.rule).items()
        if (low := one.decisive(figure).ci_low) is None or low <= floor
    )
