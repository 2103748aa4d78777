"""Page one: every figure, mark and word of the decision sheet follows from the records."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medcompare.report.figures.interval import draw_interval, reach_of
from medcompare.report.pages.checks import checks_of
from medcompare.report.pages.compare import conclusion
from medcompare.report.pages.decision import decision_tables, without_figures
from medcompare.report.pages.report import PageOne, _page_one
from medcompare.report.pages.rule import rule_steps
from medcompare.report.vocabulary import view_of
from medcompare.stats.records import ExternalSet
from medcompare.stats.verdict import rule as rule_of_two
from medcompare.stats.verdict import several
from tests.report import odd_runs
from tests.report.sample import make_assessment, make_inputs

if TYPE_CHECKING:
    from types import ModuleType

TWO = ("never", "ni", "good", "miscalibrated", "tiny12", "rare")


def number(text: str) -> float:
    """A printed number."""
    return float(text.replace("\u2212", "-").replace(",", ""))


def printed(page: PageOne) -> str:
    """The words of page one, without alternative texts."""
    cells = [
        f"{cell.text} {cell.interval}"
        for table in page.tables
        for row in table.rows
        for cell in row
        if cell.text
    ]
    return "\n".join([page.sentence, *page.extras, *page.next_steps, *cells, *page.caveats, *page.notices])


@pytest.mark.parametrize("name", TWO)
def test_values_per_hundred_are_those_of_the_records(name: str) -> None:
    """Found and false alarms of 100, with limits the right way round, and their differences."""
    inputs = odd_runs.run(name)
    [pair] = inputs.assessment.comparisons
    view = view_of(inputs)
    [table] = decision_tables(view)
    for key, row in zip(("sensitivity", "specificity"), table.rows, strict=False):
        for one, cell in zip(view.evaluations, row[1:3], strict=True):
            e = one.decisive(key)
            expected = [100 * e.value, 100 * e.ci_low, 100 * e.ci_high]
            if key == "specificity":
                expected = [100 - expected[0], 100 - expected[2], 100 - expected[1]]
            found = [number(text) for text in re.findall(r"[\d.]+", f"{cell.text} {cell.interval}")]
            assert found == pytest.approx(expected, abs=0.0501)
        d, sign = pair.differences[key], 1 if key == "sensitivity" else -1
        found = [number(text) for text in re.findall(r"[+\u2212]?[\d.]+", f"{row[3].text} {row[3].interval}")]
        limits = sorted([sign * 100 * d.ci_low, sign * 100 * d.ci_high])
        assert found == pytest.approx([sign * 100 * d.value, *limits], abs=0.0501)


@given(st.floats(-0.3, 0.3), st.floats(0, 0.3), st.floats(0.01, 0.2))
def test_conclusions_follow_from_interval_and_margin(low: float, width: float, margin: float) -> None:
    """Each word stands for one place of the interval, and every place has a word."""
    high = low + width
    held = {
        "better": low > 0 and high >= margin,
        "slightly better": 0 < low <= high < margin,
        "equivalent": -margin < low <= 0 <= high < margin,
        "not worse": -margin < low <= 0 and high >= margin,
        "slightly worse": -margin < low <= high < 0,
        "worse, extent open": low <= -margin <= high < 0,
        "worse": high < -margin,
        "open": low <= -margin and high >= 0,
    }

    assert [word for word, holds in held.items() if holds] == [conclusion(low, high, margin)]
    assert conclusion(None, high, margin) == "no interval"


@pytest.mark.parametrize("name", [*TWO, "six", "nine"])
def test_no_figure_stands_twice_on_page_one(name: str) -> None:
    """Differences and values with their intervals are in the table alone; page two has the sentence in full."""
    inputs = odd_runs.run(name)
    page = _page_one(view_of(inputs))
    text = printed(page)

    for one in (*inputs.assessment.evaluations, *inputs.assessment.comparisons):
        figures = one.metrics if hasattr(one, "metrics") else one.differences
        for key in ("auc", "sensitivity", "specificity"):
            e = figures[key]
            if e.value is None or e.ci_low is None:
                continue
            for plus in ("", "+"):
                wordy = f"{e.value:{plus}.3f}, 95% interval {e.ci_low:{plus}.3f}".replace("-", "\u2212")
                assert wordy not in text, key
    assert "()" not in text
    assert "\0" not in text


def test_a_sentence_keeps_what_the_table_does_not_print() -> None:
    """Only the figures of the models in the table go; margins and other brackets stay."""
    view = view_of(odd_runs.run("ni"))
    gap = "AUC of small minus large: +0.001, 95% interval \u22120.002 to +0.003"

    assert without_figures(view, f"Prefer small ({gap}).") == "Prefer small."
    assert without_figures(view, f"None ({gap}; a loss of up to 0.03).") == "None (a loss of up to 0.03)."
    assert without_figures(view, "Off (slope 1.014, 95% interval 0.9 to 1.1).").startswith("Off (slope")
    values = "small: AUC 0.9, 95% interval"
    assert without_figures(view, f"As it is ({values}).") == f"As it is ({values})."


def path_numbers(svg: str) -> list[tuple[float, float]]:
    """(x, y) of every absolute move."""
    return [(float(x), float(y)) for x, y in re.findall(r"M([\d.]+) ([\d.]+)", svg)]


def test_intervals_are_drawn_to_scale() -> None:
    """Zero, margin, limits and mark at their places on one axis; beyond its ends an arrow."""
    reach = reach_of([(-0.06, 0.03), (0.02, 0.03)])
    assert reach == pytest.approx((2.2, 1.7))
    drawing = draw_interval(
        -0.015, -0.03, 0.0, margin=0.03, margin_label="\u22120.03", two_sided=False, reach=reach, alt="x", width_mm=40
    )  # fmt: skip
    margin, zero, line, *_ = path_numbers(drawing.svg)
    unit = zero[0] - margin[0]  # one margin
    assert unit == pytest.approx((40 * 96 / 25.4 - 6) / 3.9, abs=0.1)
    assert line[0] == margin[0]  # the lower limit lies on the margin
    diamond = path_numbers(drawing.svg)[-1]
    assert diamond[0] + 4 == pytest.approx(zero[0] - unit / 2, abs=0.11)
    assert f'<rect x="{margin[0]}"' in drawing.svg
    outside = draw_interval(
        -0.9, -0.95, -0.8, margin=0.03, margin_label="x", two_sided=True, reach=reach, alt="x", width_mm=40
    )  # fmt: skip
    assert "z" not in re.sub(r"[^z]", "", outside.svg.partition("<path")[2].partition("<text")[0])


def test_checks_follow_from_the_records() -> None:
    """A run that trained here, predictions made elsewhere, and what was not given."""
    here = {check.label: check.state for check in checks_of(view_of(make_inputs()))}
    one = make_assessment().evaluations[0]
    enough = "yes" if min(one.n_units_positive, one.n_units_negative) >= 100 else "no"
    assert here == {
        "Split checked for leaks": "yes",
        "Patients kept apart": "yes",
        "Thresholds frozen beforehand": "yes",
        "Margins set by a person": "in part",
        "\u2265 100 patients per class": enough,
        "Tested on external data": "no",
    }
    elsewhere = {check.label: check.state for check in checks_of(view_of(odd_runs.run("ni")))}
    assert elsewhere["Thresholds frozen beforehand"] == "not known"
    assert elsewhere["Split checked for leaks"] == elsewhere["Patients kept apart"] == "not known"
    assert elsewhere["Margins set by a person"] == "no"
    assert elsewhere["\u2265 100 cases per class"] == "yes"
    tiny = {check.label: check.state for check in checks_of(view_of(odd_runs.run("tiny12")))}
    assert tiny["\u2265 100 cases per class"] == tiny["Thresholds frozen beforehand"] == "no"


def test_a_set_with_patients_of_the_main_data_is_external_in_part() -> None:
    """Their number stands in the label."""
    view = view_of(make_inputs())
    one = ExternalSet(name="b", n=9, n_positive=4, n_negative=5, n_patients=9, models=(), comparisons=())
    for shared, label, state in (
        ((), "Tested on external data", "yes"),
        ((("patient ids", 3),), "Tested on external data (3 patient ids in both)", "in part"),
    ):
        sets = (one, one.model_copy(update={"name": "c", "shared": shared}))
        assessment = view.assessment.model_copy(update={"external": sets})
        inputs = view.inputs.model_copy(update={"assessment": assessment})
        assert (checks_of(view_of(inputs))[-1].label, checks_of(view_of(inputs))[-1].state) == (label, state)


@pytest.mark.parametrize(
    ("name", "threshold", "probability"),
    [
        ("ni", "not known: given", "no: under-confident"),
        ("tiny12", "no: 0.5 by convention", "not known: too few cases"),
    ],
)
def test_uses_of_thresholds_and_probabilities(name: str, threshold: str, probability: str) -> None:
    """One answer per model, from where its threshold came and what its calibration shows."""
    [table] = decision_tables(view_of(odd_runs.run(name)))
    rows = {row[0].text: [cell.text for cell in row[1:3]] for row in table.rows}

    assert rows["Threshold usable?"] == [threshold] * 2
    assert rows["Usable as probability?"] == [probability] * 2


def test_uses_agree_with_the_figures() -> None:
    """Every run: "usable" only where chosen on validation and held; "over-confident" only with a slope below 1."""
    for name in ("six", "good", "miscalibrated", "long", "never"):
        inputs = odd_runs.run(name)
        by_model = {one.model: one for one in inputs.assessment.evaluations}
        assert inputs.assessment.verdict.uses
        for use in inputs.assessment.verdict.uses:
            one = by_model[use.model]
            point, slope = one.operating_point, one.calibration.slope
            high = one.metrics["sensitivity"].ci_high
            if use.threshold == "usable":
                assert point.chosen_on == "validation"
                assert point.reached
                assert high >= 0.95
            if use.threshold == "convention":
                assert point.chosen_on == "convention"
            for word, holds in (
                ("are over-confident", slope.ci_high < 1), ("are under-confident", slope.ci_low > 1),
            ):  # fmt: skip
                assert (word in use.miscalibration) == holds


@pytest.mark.parametrize("name", [*TWO, "six", "nine"])
def test_the_path_through_the_rule_ends_at_the_step_of_the_verdict(name: str) -> None:
    """One branch is taken, that of the record; all questions above it were passed, none below was reached."""
    view = view_of(odd_runs.run(name))
    steps = rule_steps(view)

    taken = [branch.step for step in steps for branch in step.branches if branch.taken]
    assert taken == [view.assessment.verdict.step]
    states = [step.state for step in steps]
    at = states.index("decided")
    assert steps[at].number == taken[0][0]
    assert states == ["passed"] * at + ["decided"] + ["later"] * (len(states) - at - 1)


def test_every_step_that_may_decide_is_in_the_flow_chart() -> None:
    """Whatever the rule names as its step has a branch; of several models those of the rule among several."""

    def named(module: ModuleType) -> set[str]:
        source = inspect.getsource(module)
        return set(re.findall(r'step="(\d[a-d]?)"', source)) | set(
            re.findall(r'"(\d[a-d]?)", "[a-z_]+", pair', source)
        )

    two = {branch.step for step in rule_steps(view_of(odd_runs.run("ni"))) for branch in step.branches}
    more = {branch.step for step in rule_steps(view_of(odd_runs.run("six"))) for branch in step.branches}
    assert {"0", "2", "3", "4a", "4c", "5"} <= named(rule_of_two) <= two
    assert {"2", "5", "6"} <= named(several) <= more
