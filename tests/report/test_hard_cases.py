"""Which errors a report shows: every kind has its share, the worst come first."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from medcompare.report.hard_cases import MAX_HARD_CASES, hard_cases, pseudonymous, shown_cases
from tests.report import odd_runs

THRESHOLDS = {"a": 0.5, "b": 0.4}
ASSESSMENT: Any = SimpleNamespace(
    evaluations=[
        SimpleNamespace(model=model, operating_point=SimpleNamespace(threshold=threshold))
        for model, threshold in THRESHOLDS.items()
    ]
)


def chosen(y_true: list[int], a: list[float], b: list[float]) -> tuple[list[str], int]:
    """Ids of the cases shown, and how many errors there are."""
    test = odd_runs.cases(np.array(y_true), {"a": np.array(a), "b": np.array(b)})
    found, n = hard_cases(test, ASSESSMENT, thumbnails=None)
    return [case.case_id for case in found], n


def test_kinds_follow_each_other_and_the_worst_comes_first() -> None:
    """Missed by both, false alarms of both, then disagreements; how far off a right score is does not count."""
    #           both miss, both miss, right, both alarm, b alarms, a misses, a misses
    y_true = [1, 1, 1, 0, 0, 1, 1]
    a = [0.3, 0.1, 0.9, 0.7, 0.2, 0.45, 0.01]
    b = [0.3, 0.3, 0.8, 0.6, 0.6, 0.99, 0.41]

    assert chosen(y_true, a, b) == (
        ["test00001", "test00000", "test00003", "test00006", "test00004", "test00005"],
        6,
    )


def test_each_kind_has_a_third_and_takes_what_others_leave() -> None:
    """With very many misses there are still false alarms; with few false alarms more misses are shown."""
    third = MAX_HARD_CASES // 3
    many = chosen(
        [1] * 50 + [0] * 50 + [1] * 50, [0.1] * 50 + [0.9] * 50 + [0.1] * 50, [0.1] * 50 + [0.9] * 100
    )
    assert many[1] == 150
    assert [sum(lo <= int(one[4:]) < lo + 50 for one in many[0]) for lo in (0, 50, 100)] == [third] * 3

    few = chosen([1] * 50 + [0] * 2, [0.1] * 50 + [0.9] * 2, [0.1] * 50 + [0.9] * 2)
    assert [int(one[4:]) < 50 for one in few[0]].count(True) == MAX_HARD_CASES - 2
    assert chosen([1, 0], [0.9, 0.1], [0.9, 0.1]) == ([], 0)


def test_patients_of_several_cases_and_subgroups_are_named() -> None:
    """By a letter, in order: no id of a patient reaches the report; one with a single case has no letter."""
    wrong = {"a": np.array([0.1, 0.2, 0.3, 0.35]), "b": np.array([0.1, 0.2, 0.3, 0.35])}
    test = replace(
        odd_runs.cases(np.ones(4, dtype=int), wrong),
        patient_id=np.array(["P7", "P3", "P7", "P9"]),
        subgroups={"sex": np.array(["f", "m", "f", "m"])},
    )

    found = [case.facts for case in hard_cases(test, ASSESSMENT, thumbnails=None)[0]]

    assert found == [("patient A", "sex: f"), ("sex: m",), ("patient A", "sex: f"), ("sex: m",)]


def test_cases_that_are_mapped_are_those_that_are_shown() -> None:
    """Indices in the order of the cards."""
    scores = np.array([0.1, 0.9, 0.3])
    test = odd_runs.cases(np.array([1, 1, 1]), {"a": scores, "b": scores})
    indices, n = shown_cases(test, ASSESSMENT)

    assert (indices, n) == ([0, 2], 2)
    assert [case.case_id for case in hard_cases(test, ASSESSMENT, thumbnails=None)[0]] == [
        test.case_id[i] for i in indices
    ]


def test_ids_can_be_replaced() -> None:
    """By a word that is the same in every run."""
    test = odd_runs.cases(np.array([1, 0]), {"a": np.array([0.1, 0.1]), "b": np.array([0.1, 0.1])})
    (case,) = pseudonymous(hard_cases(test, ASSESSMENT, thumbnails=None)[0])

    assert case.case_id.startswith("case ")
    assert "test" not in case.case_id
