"""What was checked, on page one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from medcompare.base.language import message, t
from medcompare.report.pages.decision import unit_of

if TYPE_CHECKING:
    from medcompare.report.vocabulary import View

ENOUGH_PER_CLASS = 100
"""At least 100 events and 100 non-events for an evaluation (Collins et al. 2016, Stat Med 35:214)."""

State = Literal["yes", "no", "in part", "not known"]
STATES: dict[State, str] = {
    "yes": message("yes"),
    "no": message("no"),
    "in part": message("in part"),
    "not known": message("not known"),
}
PER_CLASS = {
    "patients": message("\u2265 {n} patients per class"),
    "cases": message("\u2265 {n} cases per class"),
    "images": message("\u2265 {n} images per class"),
}


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing a careful reader asks of a comparison, and whether it is so."""

    label: str
    state: State

    @property
    def name(self) -> str:
        """Class of the style sheet."""
        return self.state.replace(" ", "-")

    @property
    def answer(self) -> str:
        """State in words."""
        return t(STATES[self.state])


def checks_of(view: View) -> tuple[Check, ...]:
    """What a careful reader asks first; every answer from the records, and "not known" where they are silent."""
    inputs, one = view.inputs, view.evaluations[0]
    split = inputs.split
    origins = {each.operating_point.chosen_on for each in view.evaluations}
    set_by = {row.set_by for row in view.assessment.verdict.parameters if row.name.startswith("margin_")}
    smallest = min(one.n_units_positive, one.n_units_negative)
    frozen: State = "not known"
    if origins <= {"validation", "fixed"} and split is not None:
        frozen = "yes"
    elif "convention" in origins:
        frozen = "no"
    by_person: State = "not known"
    if set_by:
        by_person = "in part" if len(set_by) > 1 else "yes" if set_by == {"user"} else "no"
    unit = "patients" if one.clustered else unit_of(view)
    external, tested = view.assessment.external, t("Tested on external data")
    # The same id need not be the same person, but may be.
    doubtful = "; ".join(t("{what} in both", what=each.shared_words) for each in external if each.shared)
    return (
        Check(label=t("Split checked for leaks"), state="not known" if split is None else "yes"),
        Check(
            label=t("Patients kept apart"),
            state="yes" if split is not None and split.grouped_by == "patient_id" else "not known",
        ),
        Check(label=t("Thresholds frozen beforehand"), state=frozen),
        Check(label=t("Margins set by a person"), state=by_person),
        Check(
            label=t(PER_CLASS[unit], n=ENOUGH_PER_CLASS),
            state="yes" if smallest >= ENOUGH_PER_CLASS else "no",
        ),
        Check(
            label=f"{tested} ({doubtful})" if doubtful else tested,
            state="in part" if doubtful else "yes" if external else "not known" if split is None else "no",
        ),
    )
