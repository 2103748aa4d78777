"""The trend page's figure and its records."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from medcompare.report.figures.control import ALARM
from medcompare.report.figures.drawing import styles_of
from medcompare.report.figures.verdicts import SIGNS, verdict_words
from medcompare.report.trend import control_words, trend_figure, trend_marks, trend_runs
from medcompare.runs.control import trend_control
from medcompare.stats.records import Estimate, Outcome
from tests.runs.sample_runs import figures, summary

if TYPE_CHECKING:
    from medcompare.runs.summary import RunSummary

STYLES = styles_of(
    ["resnet50", "efficientnet_b0"], {"resnet50": "ResNet-50", "efficientnet_b0": "EfficientNet-B0"}
)


def _nights(count: int) -> list[RunSummary]:
    return [
        summary(
            night,
            n_images=800 + 10 * night,
            data_fingerprint=f"{night:064d}",
            models=(
                figures("resnet50", "ResNet-50", 0.85 + 0.005 * night, training_time_s=600.0 + night),
                figures("efficientnet_b0", "EfficientNet-B0", 0.84),
            ),
        )
        for night in range(1, count + 1)
    ]


def test_records_keep_figures_intervals_and_order() -> None:
    """Nothing is rounded or reordered on the way into the report."""
    nights = _nights(3)

    runs = trend_runs(nights)

    assert [run.run_name for run in runs] == [night.name for night in nights]
    assert [run.n_images for run in runs] == [810, 820, 830]
    assert runs[0].figures[0].auc == nights[0].models[0].auc
    assert runs[2].figures[0].training_time_s == 603.0
    assert runs[0].headline == "Prefer EfficientNet-B0"


def test_marks_say_what_changed_before_each_run() -> None:
    """Nothing before the first run; the data before each later one."""
    nights = _nights(3)

    assert trend_marks(nights) == ((), ("data",), ("data",))
    assert trend_marks([*nights, summary(4, n_images=830, data_fingerprint=f"{3:064d}", seed=5)])[-1] == (
        "seed",
    )
    assert trend_marks([]) == ()


@pytest.mark.parametrize("count", [1, 2, 5, 30])
def test_the_figure_is_drawn_for_any_number_of_nights(count: int) -> None:
    """Equal input gives equal bytes, and the alternative text holds the last figures."""
    runs = trend_runs(_nights(min(count, 30)))

    drawing = trend_figure(runs, STYLES, marks=trend_marks(_nights(count)))

    assert drawing.svg == trend_figure(runs, STYLES, marks=trend_marks(_nights(count))).svg
    assert f"over {count} run" in drawing.alt
    assert f"ResNet-50 AUC {0.85 + 0.005 * count:.3f}" in drawing.alt
    assert re.search(r"trained in 10\smin", drawing.alt)


def test_models_that_left_and_figures_that_are_missing_do_not_matter() -> None:
    """A model of an earlier night that is no longer compared is left out."""
    nights = [
        summary(1, models=(figures("convnext_tiny", "ConvNeXt-Tiny", 0.8),), n_images=None),
        summary(2, models=(figures("resnet50", "ResNet-50", 0.9, training_time_s=None),), n_images=None),
    ]

    drawing = trend_figure(trend_runs(nights), STYLES)

    assert "ConvNeXt" not in drawing.alt
    assert "trained" not in drawing.alt


def test_no_run_and_wrong_marks_are_refused() -> None:
    """A caller's mistake is said, not drawn."""
    with pytest.raises(ValueError, match="at least one run"):
        trend_figure((), STYLES)
    with pytest.raises(ValueError, match="1 marks for 2 runs"):
        trend_figure(trend_runs(_nights(2)), STYLES, marks=((),))


def _measured(value: float) -> Estimate:
    return Estimate(value=value, ci_low=value - 0.04, ci_high=value + 0.04, method="by hand", n=200)


def _varying(aucs: list[float]) -> list[RunSummary]:
    """Runs of two models; the AUC of the first as given, all other figures back and forth by a hundredth."""
    nights = []
    for i, auc in enumerate(aucs):
        calm = _measured(0.84 + 0.01 * (i % 2))
        nights.append(
            summary(
                i + 1,
                models=(
                    figures("resnet50", "ResNet-50", _measured(auc), sensitivity=calm, specificity=calm),
                    figures("efficientnet_b0", "EfficientNet-B0", calm, sensitivity=calm, specificity=calm),
                ),
            )
        )
    return nights


CALM = [0.85 + 0.01 * (i % 2) for i in range(20)]


def test_signals_are_drawn_and_named() -> None:
    """A run far below its limits, then eight in a row above the mean: figure, model, kind and day."""
    nights, quiet = _varying([*CALM, 0.70, *[0.857] * 8]), _varying(CALM)
    runs, control = trend_runs(nights), trend_control(nights)
    words = control_words(runs, STYLES, control)
    calm = control_words(trend_runs(quiet), STYLES, trend_control(quiet))

    days = [run.finished_at[:10] for run in runs]
    assert f"the 20 oldest runs shown with an interval, {days[0]} to {days[19]}" in words
    assert f"AUC of ResNet-50 below its limits, {days[20]} and in a row above the mean, {days[28]}." in words
    assert "EfficientNet" not in words
    assert calm.endswith("No signal.")
    assert (
        trend_figure(runs, STYLES, control=control).svg.count(ALARM) == 2 + 1
    )  # the shape is defined once more
    assert ALARM not in trend_figure(trend_runs(quiet), STYLES, control=trend_control(quiet)).svg


def test_few_and_equal_runs_have_no_limits_and_say_so() -> None:
    """Eleven runs; and figures that never changed."""
    few, equal = (
        control_words(trend_runs(nights), STYLES, trend_control(nights))
        for nights in (_varying(CALM[:11]), _varying([0.85] * 14))
    )

    assert few == "Control limits need at least 12 runs with an interval, and there are 11."
    assert equal.endswith(
        "The 14 oldest runs are all alike, so there is no variation to set limits by (AUC of ResNet-50)."
    )


def test_limits_of_many_models_are_not_drawn() -> None:
    """Three models in a panel: their limits could not be told apart; signals are named all the same."""
    names = {"resnet50": "ResNet-50", "efficientnet_b0": "EfficientNet-B0", "vgg": "VGG"}
    nights = _varying([*CALM, 0.70])
    runs, control, three = trend_runs(nights), trend_control(nights), styles_of(list(names), names)
    words = control_words(runs, three, control)

    assert "not drawn for so many models" in words
    assert "below its limits" in words
    assert trend_figure(runs, three, control=control).svg.count(ALARM) == 1 + 1


def test_verdicts_are_marked_above_the_images() -> None:
    """The mark of the model to use, a sign for what names none, nothing without a verdict; only these are explained."""
    found = [
        (Outcome.USE_MODEL, "resnet50"), (Outcome.CHOOSE_BY_COST, None), (Outcome.NOT_ENOUGH_DATA, None),
        (Outcome.INVALID, None), (None, None), (Outcome.PREFER_CHEAPER, "convnext_tiny"),
    ]  # fmt: skip
    runs = [
        run.model_copy(update={"outcome": outcome, "model": model})
        for run, (outcome, model) in zip(trend_runs(_nights(6)), found, strict=True)
    ]
    none = [run.model_copy(update={"outcome": None}) for run in runs]

    words = re.findall(r"<text[^>]*>([^<]+)</text>", trend_figure(runs, STYLES).svg)
    assert [words.count(sign) for sign in "=?\u00d7"] == [1, 1, 1]
    assert "Verdicts and usable images" in words
    assert "Usable images" in trend_figure(none, STYLES).svg
    assert verdict_words(runs, STYLES) == (
        "Above the images the verdict of each run: mark of the model to use, hollow circle: another model, = no "
        "relevant difference, ? open and \u00d7 no model to use."
    )
    assert verdict_words(runs[:2], STYLES).endswith("mark of the model to use and = no relevant difference.")
    assert verdict_words(none, STYLES) == ""


def test_every_outcome_has_a_mark() -> None:
    """A new one without a sign would be taken for a model that is not known."""
    names_one = {Outcome.USE_MODEL, Outcome.PREFER_CHEAPER}

    assert set(Outcome) - names_one == set(SIGNS)
    assert trend_runs(_nights(1))[0].model == "efficientnet_b0"
