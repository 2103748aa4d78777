"""Tables of subgroups: every number of the records, every name whole, and drawings to scale."""

from __future__ import annotations

import re

import numpy as np
import pytest

from medcompare.base.formatting import format_estimate
from medcompare.report.figures.interval import PAD, PX_PER_MM, draw_share
from medcompare.report.pages.subgroups import SUBGROUP_METRICS, subgroup_blocks
from medcompare.report.vocabulary import view_of
from tests.report import odd_runs

FIGURES, DIFFERENCES, REST = 2, 3, 4
"""Places of the tables behind heading and paragraph."""


def shown(cell: object) -> str:
    """Number and interval of a cell."""
    return f"{cell.text} {cell.interval}".strip()


@pytest.mark.parametrize("name", ["good", "inject"])
def test_every_number_is_that_of_its_record(name: str) -> None:
    """Figures of each model, differences of the pair and each level against the rest."""
    view = view_of(odd_runs.run(name))
    blocks = subgroup_blocks(view)

    rows = iter(blocks[FIGURES].rows)
    n_levels = len(view.evaluations[0].subgroups)
    for i in range(n_levels):
        for one in view.evaluations:
            group = one.subgroups[i]
            cells = next(rows)
            assert cells[0].text == f"{group.column}: {group.level}"
            assert cells[1].text.startswith(f"{group.n_positive} / {group.n}")
            assert [shown(c) for c in cells[3:]] == [
                format_estimate(group.metrics[k]) for k in SUBGROUP_METRICS
            ]
            assert all(cell.svg for cell in cells[3:])
    detail = view.assessment.head_to_head
    differences = {row[0].text: row for row in blocks[DIFFERENCES].rows}
    for group in detail.subgroups:
        cells = differences[f"{group.column}: {group.level}"]
        assert [shown(c) for c in cells[2:]] == [
            format_estimate(group.differences[k], signed=True) for k in SUBGROUP_METRICS
        ]
    for one in detail.interactions:
        cell = differences[f"{one.column}: the same at every level?"][2 + SUBGROUP_METRICS.index(one.metric)]
        assert f"{one.p_value_adjusted:.3f}" in cell.text or one.p_value_adjusted > 0.999
    compared = [g for e in view.evaluations for g in e.subgroups if g.against_rest]
    assert len(blocks[REST].rows) == len(compared)


def test_patients_are_counted_where_they_are_known() -> None:
    """Two images per patient: positives, images and patients."""
    view = view_of(odd_runs.run("good"))
    table = subgroup_blocks(view)[FIGURES]
    group = view.evaluations[0].subgroups[0]

    assert table.columns[1].head == "Positive / n (patients)"
    assert table.rows[0][1].text == f"{group.n_positive} / {group.n} ({group.n_patients})"


def test_interactions_are_told_in_a_sentence() -> None:
    """Shown where the adjusted p is below 5%, else that nothing is shown; never that the levels are alike."""
    inputs = odd_runs.run("good")
    calm = subgroup_blocks(view_of(inputs))[DIFFERENCES].notes[-1][1]
    detail = inputs.assessment.head_to_head
    one, *others = detail.interactions
    found = one.model_copy(update={"p_value_adjusted": 0.001})
    changed = inputs.model_copy(
        update={
            "assessment": inputs.assessment.model_copy(
                update={"head_to_head": detail.model_copy(update={"interactions": (found, *others)})}
            )
        }
    )
    seen = subgroup_blocks(view_of(changed))[DIFFERENCES].notes[-1][1]

    assert "does not show that it is the same" in calm
    assert "The difference is not the same at every level: AUC by sex." in seen


def test_levels_of_few_cases_say_why() -> None:
    """Twelve cases: nothing is drawn, every cell has its note."""
    figures, differences = subgroup_blocks(view_of(odd_runs.run("tiny12")))[FIGURES : DIFFERENCES + 1]

    assert not any(cell.svg for row in (*figures.rows, *differences.rows) for cell in row)
    assert ("a", "not computed: fewer than 10 cases of a class") in figures.notes
    assert "nothing was tested" in differences.notes[-1][1]


def test_many_rows_are_not_drawn() -> None:
    """Seven models at ten levels: the numbers stand alone, and it is said."""
    rng = np.random.default_rng(0)
    y_true = odd_runs.truth(600, 300)
    scores = {f"m{i}": rng.random(600) for i in range(7)}
    test = odd_runs.cases(y_true, scores, subgroups={"site": [f"site {i}" for i in range(10)]})
    table = subgroup_blocks(view_of(odd_runs.inputs_of(test)))[FIGURES]

    assert len(table.rows) == 70
    assert not any(cell.svg for row in table.rows for cell in row)
    assert table.notes[-1][1] == "Too many rows to draw."


def test_scores_without_subgroups_have_no_tables() -> None:
    """Nothing is printed about nothing."""
    assert subgroup_blocks(view_of(odd_runs.run("ni"))) == []


def test_shares_are_drawn_to_scale() -> None:
    """From 0.5 to 1: the line of all cases at 0.9, the mark at 0.75, the limits where they are."""
    svg = draw_share(0.75, 0.6, 0.85, lowest=0.5, overall=0.9, alt="x", width_mm=29).svg
    width = 29 * PX_PER_MM - 2 * PAD

    def x(share: float) -> float:
        return pytest.approx(PAD + width * (share - 0.5) / 0.5, abs=0.11)

    moves = [float(place) for place in re.findall(r"M([\d.]+) ", svg)]
    axis, overall, interval, low, high, mark = moves
    assert (axis, overall, interval, low, high) == (x(0.5), x(0.9), x(0.6), x(0.6), x(0.85))
    assert mark + 4 == x(0.75)
