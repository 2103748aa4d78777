"""Cases and patients that a table of predictions may hold under several spellings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medcompare.base.language import message, t, tn
from medcompare.data.spelling import respelled, respelled_in_both

if TYPE_CHECKING:
    from medcompare.predictions.cases import ScoredCases

RESPELLED_IN_TEST = message(
    "{patients} to stand in the test table under several spellings (capitals, blanks, leading zeros or a final '.0'). "
    "Each spelling counts as a patient of its own: if they are the same people, intervals are too narrow. Correct the "
    "ids."
)
RESPELLED_IN_VALIDATION = message(
    "{patients} to stand in the validation table under several spellings (capitals, blanks, leading zeros or a final "
    "'.0'). Each spelling counts as a patient of its own: if they are the same people, intervals are too narrow. "
    "Correct the ids."
)


def respelled_caveats(test: ScoredCases, validation: ScoredCases | None) -> tuple[str, ...]:
    """Patients who may be one person under two spellings; a count, never an id."""
    found = []
    for words, cases in ((RESPELLED_IN_TEST, test), (RESPELLED_IN_VALIDATION, validation)):
        n = 0 if cases is None or cases.patient_id is None else respelled(cases.patient_id.tolist())
        if n:
            found.append(t(words, patients=_patients_seem(n)))
    if validation is None:
        return tuple(found)
    n = respelled_in_both(test.case_id, validation.case_id)
    if n:
        found.append(
            tn(
                "One case seems to stand in both tables under different spellings (capitals, blanks, leading zeros or "
                "a final '.0'): if they are the same, the thresholds have seen the test and the verdict is not valid. "
                "Correct the ids, and keep each case in one table.",
                "{n:,} cases seem to stand in both tables under different spellings (capitals, blanks, leading zeros "
                "or a final '.0'): if they are the same, the thresholds have seen the test and the verdict is not "
                "valid. Correct the ids, and keep each case in one table.",
                n,
            )
        )
    if test.patient_id is None or validation.patient_id is None:
        return tuple(found)
    n = respelled_in_both(test.patient_id.tolist(), validation.patient_id.tolist())
    if n:
        found.append(
            t(
                "{patients} to stand in both tables under different spellings (capitals, blanks, leading zeros or a "
                "final '.0'): if they are the same, the thresholds have seen the test and the verdict is not valid. "
                "Correct the ids, and keep each patient in one table.",
                patients=_patients_seem(n),
            )
        )
    return tuple(found)


def _patients_seem(n: int) -> str:
    return tn("One patient seems", "{n:,} patients seem", n)
