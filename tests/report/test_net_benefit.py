"""Decision curves: what caption, figure and table say follows from the records."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from medcompare.base.formatting import format_number
from medcompare.report.figures.decision import draw_decision_curve
from medcompare.report.pages.net_benefit import net_benefit_blocks
from medcompare.report.vocabulary import view_of
from tests.report import odd_runs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medcompare.report.blocks import Cell, Image, Table
    from medcompare.report.inputs import ReportInputs
    from medcompare.stats.records import Estimate


def parts(inputs: ReportInputs) -> tuple[Image, Table]:
    """Figure and table."""
    _, table, image = net_benefit_blocks(view_of(inputs))
    return image, table


def test_numbers_are_those_of_the_records_per_thousand() -> None:
    """At both ends of the stated range and at the frozen thresholds, with intervals."""
    inputs = odd_runs.run("good")
    _, table = parts(inputs)
    detail = inputs.assessment.head_to_head

    n = len(detail.net_benefit_at)
    assert len(table.rows) == 2 * n >= 6

    def held(cells: Sequence[Cell], estimates: Sequence[Estimate]) -> None:
        for cell, estimate in zip(cells, estimates, strict=True):
            assert cell.text.lstrip("+") == format_number(1000 * estimate.value, digits=1)
            low = format_number(1000 * estimate.ci_low, digits=1)
            assert cell.interval.lstrip("(+").startswith(low)

    for row, avoided, point in zip(table.rows[:n], table.rows[n:], detail.net_benefit_at, strict=True):
        percent, odds = f"{100 * point.threshold:.3g}%", (1 - point.threshold) / point.threshold
        assert row[0].text.startswith(f"{percent} ({odds:.2g} : 1), ")
        assert row[1].text == format_number(1000 * point.treat_all, digits=1)
        held(row[2:5], (point.reference, point.candidate, point.difference))
        assert row[5].text == f"{point.probability_of_benefit.value:.2f}"
        assert avoided[0].text == f"Avoided at {percent}"
        held(avoided[2:5], list(point.interventions_avoided.values()))
    assert table.rows[0][0].text == "5% (19 : 1), start of range"
    assert any("frozen threshold of" in row[0].text for row in table.rows)


def test_captions_state_the_range_and_why() -> None:
    """Stated by a person, the usual one, or ended where nothing is gained."""
    stated, usual, rare = (parts(odd_runs.run(name))[0].caption for name in ("good", "ni", "rare"))

    assert stated.startswith("Over the stated range of threshold probabilities, 5% to 40%.")
    assert (
        "Shown are 1%, where 99 false alarms are accepted for one true positive, to 50%, above which" in usual
    )
    assert re.search(r"to [\d.]+%, beyond which hardly anything is gained", rare)
    for caption in (stated, usual, rare):
        assert "pointwise 95% bootstrap intervals, each for one threshold, not for the whole curve" in caption
        assert "At the share of positives of the test subset" in caption


def test_a_stated_prevalence_is_said() -> None:
    """The curve is weighed with it, and the caption says so."""
    y_true = odd_runs.truth(300, 140)
    scores = odd_runs.scores_of(y_true, {"a": 2.0, "b": 2.2})
    test = odd_runs.cases(y_true, scores)
    image, _ = parts(odd_runs.inputs_of(test, evaluate={"stated_prevalence": 0.02}))

    assert "At the stated share of positives, 2.0%; probabilities are as predicted." in image.caption


def test_too_few_cases_have_no_bands() -> None:
    """Three positives of twelve: said in the caption and beside the numbers."""
    image, table = parts(odd_runs.run("tiny12"))

    assert "No bands: too few cases of a class to resample." in image.caption
    assert "pointwise" not in image.caption
    assert any("at least 10 are needed" in text for _, text in table.notes)


def test_many_models_have_curves_without_bands() -> None:
    """Of six the bands could not be told apart; that of the difference stays."""
    inputs = odd_runs.run("six")
    image, _ = parts(inputs)
    view = view_of(inputs)

    assert "The band: pointwise" in image.caption
    assert image.svg.count("fill-opacity") == 1
    assert all(view.label(one.model) in image.svg for one in view.evaluations)


@pytest.mark.parametrize("name", ["good", "ni"])
def test_frozen_thresholds_are_marked_within_the_range_alone(name: str) -> None:
    """A mark outside the axes would lie on the other panel."""
    inputs = odd_runs.run(name)
    view, detail = view_of(inputs), inputs.assessment.head_to_head
    across = inputs.assessment.threshold_range

    narrow = draw_decision_curve(
        view.evaluations,
        view.styles,
        treat_all=inputs.assessment.treat_all,
        across=(0.011, 0.012),
        detail=detail,
    )
    drawn = draw_decision_curve(
        view.evaluations, view.styles, treat_all=inputs.assessment.treat_all, across=across, detail=detail
    )

    n_inside = sum(
        len(point.frozen_of) for point in detail.net_benefit_at if across[0] <= point.threshold <= across[1]
    )
    marks = re.compile(r'<use[^>]*stroke="#ffffff"')  # ticks have no white edge
    assert len(marks.findall(drawn.svg)) == n_inside > 0 == len(marks.findall(narrow.svg))
    again = draw_decision_curve(
        view.evaluations, view.styles, treat_all=inputs.assessment.treat_all, across=across, detail=detail
    )
    assert again.svg == drawn.svg
