"""The trend page's figure and its records."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from medcompare.report.figures.drawing import styles_of
from medcompare.report.trend import trend_figure, trend_marks, trend_runs
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
