"""Figures: deterministic, safe among threads, and drawn from what they are given."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import matplotlib as mpl
import numpy as np
import pytest

from medcompare.base.formatting import format_estimate
from medcompare.base.language import in_language
from medcompare.report.figures.curves import (
    draw_calibration,
    draw_roc_and_precision_recall,
    draw_score_distributions,
    shown_probabilities,
    zoomed_corner,
)
from medcompare.report.figures.decision import draw_decision_curve
from medcompare.report.figures.drawing import OKABE_ITO, draw, styles_of, thin_curve
from medcompare.report.figures.forest import ForestRow, draw_differences
from medcompare.report.figures.interval import draw_difference, ends_of
from medcompare.report.figures.runs import (
    CostPanel,
    draw_accuracy_and_cost,
    draw_learning_curves,
    draw_strips,
    frontier,
    shared_scales,
)
from medcompare.report.matrices import _shade
from medcompare.stats.records import Curve, Estimate, ModelEvaluation
from tests.report.sample import make_assessment, make_seeds, make_trained

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from medcompare.base.language import Language
    from medcompare.report.figures.drawing import Drawing
    from medcompare.stats.records import Assessment
    from medcompare.training.records import TrainedModel


@pytest.fixture(scope="module")
def assessment() -> Assessment:
    """Two simulated models."""
    return make_assessment(n=150, subgroups=False)


def _roc(assessment: Assessment) -> Drawing:
    styles = styles_of(assessment.models, assessment.display_names)
    return draw_roc_and_precision_recall(assessment.evaluations, styles, prevalence=assessment.prevalence)


def test_equal_input_gives_equal_svg(assessment: Assessment) -> None:
    """No dates, no random ids, also when drawn by several threads at once."""
    alone = _roc(assessment).svg

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda _: _roc(assessment).svg, range(4)))

    assert set(together) == {alone}
    assert not re.search(r"20\d\d-\d\d-\d\d", alone)


def test_svg_needs_nothing_from_outside(assessment: Assessment) -> None:
    """Nothing is linked, and text names no font of its own."""
    svg = _roc(assessment).svg

    root = ET.fromstring(svg)  # noqa: S314 - our own drawing
    texts = list(root.iter("{http://www.w3.org/2000/svg}text"))
    assert "Sensitivity" in {text.text for text in texts}
    assert not any("font-family" in text.attrib for text in texts)
    links = [v for e in root.iter() for k, v in e.attrib.items() if k.endswith("href")]
    assert all(link.startswith("#") for link in links)


@pytest.mark.parametrize(("language", "written"), [("en", "0.5"), ("de", "0,5")])
def test_numbers_of_all_axes_are_those_of_the_language(language: Language, written: str) -> None:
    """Also of a second axis at the side; words that a figure gives its ticks stay as they are."""

    def fill(figure: Figure) -> None:
        axes, named = figure.subplots(1, 2)
        axes.set(xlim=(0, 1), ylim=(0, 1), xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
        axes.secondary_yaxis("right").set_yticks([0.5])
        named.set_xticks([0, 1], ["v0.5", "v0.6"])
        named.set_yticks([])

    with in_language(language):
        svg = draw(fill, width_mm=80, height_mm=40, alt="").svg

    texts = [text.text for text in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]  # noqa: S314 - our own
    assert texts.count(written) == 3
    assert {"v0.5", "v0.6"} < set(texts)


@pytest.mark.parametrize(
    ("name", "is_text"),
    [
        ("Tumour", True),
        ("\u6076\u6027", True),
        ("\u0634\u0628\u0643\u0629", False),
        ("\u05e9\u05dc\u05d5", False),
        ("u\u0308ber", False),
    ],
    ids=["Latin", "Chinese", "Arabic", "Hebrew", "a mark of its own"],
)
def test_only_what_is_set_letter_by_letter_stays_text(name: str, *, is_text: bool) -> None:
    """WeasyPrint would set Arabic backwards, with its letters apart; matplotlib's outlines are right."""
    drawing = draw(lambda figure: figure.suptitle(name), width_mm=50, height_mm=20, alt=name)
    root = ET.fromstring(drawing.svg)  # noqa: S314 - our own drawing

    texts = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    outlines = list(root.iter("{http://www.w3.org/2000/svg}use"))
    assert (texts, len(outlines) > 2) == (([name], False) if is_text else ([], True))


def test_drawing_leaves_settings_alone(assessment: Assessment) -> None:
    """The global settings of matplotlib are as they were, and pyplot was never needed."""
    before = dict(mpl.rcParams)

    _roc(assessment)

    assert dict(mpl.rcParams) == before


def test_alt_texts_carry_the_figures(assessment: Assessment) -> None:
    """A reader who cannot see the ROC curve hears both AUCs and the number of cases."""
    alt = _roc(assessment).alt

    assert f"n = {assessment.n}, {assessment.n_positive} positive" in alt
    for evaluation in assessment.evaluations:
        assert f"{evaluation.metrics['auc'].value:.3f}" in alt


def test_models_differ_in_colour_mark_and_line() -> None:
    """Two signs beside colour, so that the figures survive a black-and-white printer."""
    styles = list(styles_of(["a", "b", "c", "d", "e"], {}).values())

    assert [style.colour for style in styles[:2]] == ["#0072B2", "#D55E00"]
    assert (
        len({s.colour for s in styles})
        == len({s.marker for s in styles})
        == len({s.line for s in styles})
        == 5
    )
    assert len(OKABE_ITO) >= 10


def test_thin_curve_keeps_corners_and_ends() -> None:
    """Points inside a straight run go; corners and both ends stay."""
    steps = Curve(x=(0, 0.1, 0.2, 0.3, 0.3, 0.3, 1), y=(0, 0, 0, 0, 0.5, 1, 1))

    x, y, low, high = thin_curve(steps)

    assert list(zip(x, y, strict=True)) == [(0, 0), (0.3, 0), (0.3, 1), (1, 1)]
    assert (low, high) == ([], [])


def test_thin_curve_bounds_long_curves() -> None:
    """A curve of ten thousand corners is drawn with some five hundred, its band with it."""
    n = 10_000
    grid = tuple(i / n for i in range(n + 1))
    curve = Curve(x=grid, y=grid, y_low=grid, y_high=grid)

    x, _, low, _ = thin_curve(curve)

    assert len(x) == len(low) == 500
    assert (x[0], x[-1]) == (0.0, 1.0)


def test_the_corner_of_the_roc_is_enlarged_where_there_is_room(assessment: Assessment) -> None:
    """The smallest that holds all operating points; none where a point lies outside, or a band under the drawing."""
    first = assessment.evaluations[0]

    def with_point(sensitivity: float, specificity: float, roc: Curve) -> ModelEvaluation:
        values = {"sensitivity": sensitivity, "specificity": specificity}
        metrics = {key: first.metrics[key].model_copy(update={"value": one}) for key, one in values.items()}
        return first.model_copy(update={"metrics": first.metrics | metrics, "roc": roc})

    high = Curve(x=(0, 0.05, 0.4, 1), y=(0, 0.97, 0.99, 1), y_low=(0, 0.9, 0.95, 1), y_high=(0.1, 1, 1, 1))
    banded = high.model_copy(update={"y_low": (0, 0.3, 0.6, 1)})
    near, far = with_point(0.97, 0.96, high), with_point(0.85, 0.95, high)

    assert [zoomed_corner([near]), zoomed_corner([near, far])] == [0.05, 0.2]
    assert zoomed_corner([with_point(0.6, 0.95, high)]) is None
    assert zoomed_corner([near, with_point(0.97, 0.96, banded)]) is None
    drawn = draw_roc_and_precision_recall(
        [near], styles_of(assessment.models, assessment.display_names), prevalence=0.4
    )
    assert "0.95" in re.findall(r"<text[^>]*>([^<]+)</text>", drawn.svg)


def test_forest_says_absent_differences_in_words() -> None:
    """Every row is in the alternative text, an absent one in words."""
    rows = [
        ForestRow(
            label="AUC",
            estimate=Estimate(value=-0.01, ci_low=-0.03, ci_high=0.01, method="DeLong"),
            margin=0.03,
        ),
        ForestRow(label="PPV", estimate=Estimate(value=None, method="bootstrap", note="no call")),
    ]

    drawing = draw_differences(rows, reference="A", candidate="B", n=50, n_positive=20, level=0.95)

    assert "AUC: \u22120.010 (\u22120.030 to +0.010); PPV: not estimable" in drawing.alt


def test_forest_names_margins_and_conclusions_instead_of_numbers() -> None:
    """Each margin with its value beside its line; the numbers are in a table."""
    auc = Estimate(value=-0.01, ci_low=-0.021, ci_high=0.011, method="DeLong")
    rows = [
        ForestRow(label="AUC", estimate=auc, margin=0.03, conclusion="equivalent"),
        ForestRow(label="Specificity", estimate=auc, margin=0.125, conclusion="not worse"),
        ForestRow(label="As above", estimate=auc, margin=0.125, conclusion="not worse"),
        ForestRow(label="F1", estimate=auc, conclusion="exploratory"),
    ]

    drawing = draw_differences(rows, reference="A", candidate="B", n=50, n_positive=20, level=0.95)
    words = re.findall(r"<text[^>]*>([^<]+)</text>", drawing.svg)

    assert [words.count(word) for word in ("\u22120.03", "+0.03", "\u22120.125", "+0.125")] == [1, 0, 1, 0]
    assert {"equivalent", "not worse", "exploratory", "Conclusion", "Difference (95% CI)"} <= set(words)
    assert not any("\u22120.021" in word for word in words)
    assert "AUC: \u22120.010 (\u22120.021 to +0.011), equivalent" in drawing.alt
    plain = draw_differences(
        [ForestRow(label="AUC", estimate=auc)], reference="A", candidate="B", n=50, n_positive=20, level=0.95
    )
    assert "\u22120.010 (\u22120.021 to +0.011)" in plain.svg.partition("</title>")[2]


def test_single_epoch_and_no_auc() -> None:
    """One epoch without a validation AUC is still a figure."""
    trained = make_trained("resnet50", "ResNet-50", epochs=1)
    history = (trained.history[0].model_copy(update={"val_auc": None}),)
    style = styles_of(["resnet50"], {"resnet50": "ResNet-50"})["resnet50"]

    drawing = draw_learning_curves(trained.model_copy(update={"history": history}), style)

    assert drawing.alt == "Learning curves of ResNet-50 over 1 epoch; checkpoint of epoch 1 kept."


def test_learning_curves_share_their_axes_where_all_can_be_read() -> None:
    """Limits around all of them; each its own where one would lie flat on the axes of the other."""

    def learnt(losses: list[float]) -> TrainedModel:
        trained = make_trained("resnet50", "ResNet-50", epochs=len(losses))
        rows = (
            row.model_copy(update={"train_loss": loss, "val_loss": None, "val_auc": 0.9})
            for row, loss in zip(trained.history, losses, strict=True)
        )
        return trained.model_copy(update={"history": tuple(rows)})

    near, far, flat = learnt([0.7, 0.4]), learnt([0.6, 0.2]), learnt([0.71, 0.7])

    assert shared_scales([near, far])["loss"] == pytest.approx((0.175, 0.725))
    assert shared_scales([near, far])["auc"] == pytest.approx((0.85, 0.95))
    assert shared_scales([near, flat]) == shared_scales([]) == {}
    style = styles_of(["resnet50"], {"resnet50": "ResNet-50"})["resnet50"]
    alone, together = (
        re.findall(r"<text[^>]*>([^<]+)</text>", draw_learning_curves(near, style, scales=scales).svg)
        for scales in (None, {"loss": (0.0, 10.0)})
    )
    assert ("10" in together, "10" in alone) == (True, False)


def test_calibration_plots_end_around_scores_and_shares() -> None:
    """Tenths around all of them: with scores below 0.2 a plot up to 1 would show a dot in its corner."""
    low = Curve(x=(0.01, 0.13), y=(0.0, 0.18))
    middle = Curve(x=(0.51, 0.68), y=(0.32, 0.7))

    assert shown_probabilities([low]) == (0.0, 0.2)
    assert shown_probabilities([middle]) == (0.3, 0.7)
    assert shown_probabilities([low, middle]) == (0.0, 0.7)
    assert shown_probabilities([Curve(x=(0.3,), y=(0.3,))]) == (0.3, 0.4)
    assert shown_probabilities([]) == (0.0, 1.0)


def test_calibration_is_told_in_numbers(assessment: Assessment) -> None:
    """Slope and calibration-in-the-large of each model, for who cannot see the curves."""
    alt = draw_calibration(assessment.evaluations, styles_of(assessment.models, assessment.display_names)).alt

    for one in assessment.evaluations:
        assert f"{one.display_name}: slope {format_estimate(one.calibration.slope)}" in alt


def test_calibration_needs_probabilities() -> None:
    """A model without calibration is refused by name."""
    assessment = make_assessment(n=120, probabilities=False, subgroups=False)
    with pytest.raises(ValueError, match="resnet50 has no calibration to draw"):
        draw_calibration(assessment.evaluations, styles_of(assessment.models, {}))


def test_other_figures_draw(assessment: Assessment) -> None:
    """Decision curve over a stated range, scores at the edge, cost on both scales, seeds."""
    styles = styles_of(assessment.models, assessment.display_names)
    auc = assessment.evaluations[0].metrics["auc"]
    first, second = styles.values()

    benefit = draw_decision_curve(
        assessment.evaluations, styles, treat_all=assessment.treat_all, across=(0.05, 0.3)
    )
    scores = draw_score_distributions(
        first, edges=(0, 0.5, 1), negative=(0, 0), positive=(3, 1), threshold=0.0, n_false_negative=0,
        n_false_positive=0, classes=("no", "yes"),
    )  # fmt: skip
    beyond = draw_score_distributions(
        first, edges=(0.01, 0.1, 0.5), negative=(5, 0), positive=(0, 3), threshold=1.0, n_false_negative=3,
        n_false_positive=0, classes=("no", "yes"), logit=True,
    )  # fmt: skip
    time = CostPanel(label="ms", points=[(first, auc, 10.0, None), (second, auc, 12.0, (11.0, 13.0))])
    memory = CostPanel(label="MB", points=[(first, auc, 10.0, None), (second, auc, 900.0, None)])
    near, far = draw_accuracy_and_cost([time]), draw_accuracy_and_cost([time, memory])
    seeds = draw_strips(
        [(row.model, row.seed, row.auc) for row in make_seeds(assessment)], styles, what="Training seed"
    )

    for drawing in (benefit, scores, beyond, near, far, seeds):
        assert drawing.svg.startswith("<svg width=")
    assert "positive cases below it: 0;" in scores.alt
    assert {"0.01", "0.1", "0.5", "0.9"} <= set(re.findall(r"<text[^>]*>([^<]+)</text>", beyond.svg))
    assert "cost 900, AUC" in far.alt
    assert far.alt.count("AUC against ") == 2
    assert near.svg.partition(">")[0] == far.svg.partition(">")[0]  # no larger


@pytest.mark.parametrize("more_is_better", [False, True])
def test_the_frontier_joins_the_models_that_none_beats(*, more_is_better: bool) -> None:
    """Each against each other: cheaper and no less accurate, or as cheap and more accurate."""
    rng = np.random.default_rng(3)
    style = styles_of(["a"], {})["a"]
    for _ in range(50):
        found = [(float(cost), float(auc)) for cost, auc in rng.integers(1, 8, (9, 2))]
        points = [(style, Estimate(value=auc, method="by hand"), cost, None) for cost, auc in found]
        corners = frontier(CostPanel(label="ms", points=points, more_is_better=more_is_better))
        sign = -1 if more_is_better else 1

        best = {
            (cost, auc)
            for cost, auc in found
            if not any(sign * c <= sign * cost and a >= auc and (c, a) != (cost, auc) for c, a in found)
        }
        assert set(corners[::2]) == best
        assert corners[1::2] == [(corners[i + 1][0], corners[i - 1][1]) for i in range(1, len(corners), 2)]


def luminance(colour: str) -> float:
    """Relative luminance of a colour, WCAG 2.2."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_ink_of_matrices_can_be_read_at_every_share() -> None:
    """Contrast of at least 4.5 to 1 between count and background (WCAG 2.2, 1.4.3)."""
    for percent in range(101):
        background, ink = _shade(percent / 100)
        light, dark = sorted((luminance(background), luminance(ink)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5


@pytest.mark.parametrize("two_sided", [False, True])
def test_differences_share_an_axis_that_holds_all_of_them(*, two_sided: bool) -> None:
    """Marks lie where a linear scale puts them; only what has a margin is shaded, up to it or both ways."""
    one = Estimate(value=0.01, ci_low=-0.02, ci_high=0.04, method="DeLong")
    low, high = ends_of([one], [0.05], two_sided=two_sided)

    assert low < -0.05
    assert high > (0.05 if two_sided else 0.04)
    looks: dict[str, Any] = {"two_sided": two_sided, "ends": (low, high), "alt": "", "width_mm": 20.0}
    bounds = (0.01, -0.02, 0.04)
    plain = draw_difference(*bounds, margin=None, margin_label="", **looks).svg
    held = draw_difference(*bounds, margin=0.05, margin_label="\u22120.05", **looks).svg

    width = 20.0 * 96 / 25.4

    def place(number: float) -> float:
        return 3 + (width - 6) * (number - low) / (high - low)

    drawn = re.search(r'd="M([\d.]+) [\d.]+H([\d.]+)', plain)
    assert drawn is not None
    assert [float(x) for x in drawn.groups()] == pytest.approx([place(-0.02), place(0.04)], abs=0.11)
    assert "<rect" not in plain
    zone = re.search(r'<rect x="([\d.]+)" y="0" width="([\d.]+)"', held)
    assert zone is not None
    left, wide = (float(x) for x in zone.groups())
    assert (left, left + wide) == pytest.approx((place(-0.05), place(0.05) if two_sided else width), abs=0.21)
    assert "\u22120.05" in held
