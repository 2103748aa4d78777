"""The page of all nights: its control charts share limits and marks with the trend of the report."""

from __future__ import annotations

import pytest

from medcompare.handover.night import REFERENCE, Night
from medcompare.handover.nights_page import control_charts, nights_page
from medcompare.report.figures.control import ALARM
from medcompare.report.figures.drawing import ZONE
from medcompare.stats.drift import Alarm, Signal
from medcompare.stats.succession import Succession
from tests.runs.sample_runs import figures, summary


def night(day: int, *, value: float = 0.5, alarm: bool = False, compared: bool = True) -> Night:
    """A night on which one statistic was compared."""
    signal = Signal(
        name="brightness (0 to 255)", subject="data", value=value, base=0.5, low=0.4, high=0.6, effect=0.0,
        p_value=0.001 if alarm else 0.5, alarm=alarm,
    )  # fmt: skip
    sentences = ("The images changed <here>.",) if alarm else ()
    return Night(
        at=f"2026-11-{day:02d}T02:00:00+00:00",
        model="oral",
        champion="oral v1",
        n_new=20,
        n_left_out=0,
        n_not_scored=0,
        n_pooled=0,
        expected_unlike=0.05,
        model_moved=0.0,
        meetings={},
        succession=Succession(action="hold", reason="There is no challenger.", looks=0),
        done=False,
        alarm=Alarm(sentences=sentences),
        signals={REFERENCE: (signal,)} if compared else {},
    )


def test_alarms_are_marked_and_told() -> None:
    """A diamond for the night of the alarm, limits as a grey zone, and both in words."""
    nights = [night(day) for day in range(1, 5)] + [night(5, value=0.9, alarm=True)]
    charts, calm = control_charts(nights), control_charts(nights[:4])

    assert ALARM in charts.svg
    assert ZONE in charts.svg
    assert "Alarms: brightness (0 to 255) on 11-05." in charts.alt
    assert ALARM not in calm.svg
    assert calm.alt.endswith("No alarm.")
    assert charts.svg == control_charts(nights).svg


def test_the_page_tells_signals_of_accuracy() -> None:
    """Limits need twelve nights; the page says so until then, and names a night that fell out of them."""
    runs = [
        summary(i + 1, kind="night", models=(figures("1", "oral v1", 0.80 + 0.04 * (i % 2)),))
        for i in range(5)
    ]
    page = nights_page([night(1, alarm=True)], runs)

    assert "Control limits need at least 12 runs with an interval, and there are 5." in page
    assert "The images changed &lt;here&gt;." in page
    assert page.count("<svg") == 2
    assert "Above the images the verdict of each run: hollow circle: another model." in page


def test_nights_without_comparison_have_no_charts() -> None:
    """Nothing is drawn of nothing; and no night has no page."""
    assert control_charts([night(1, compared=False)]) is None
    with pytest.raises(ValueError, match="at least one"):
        nights_page([], [])
