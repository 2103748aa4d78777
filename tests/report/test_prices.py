"""The price of 1,000 images, worked by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from medcompare.predictions.costs import CostMeasurement
from medcompare.report.inputs import SettingRow
from medcompare.report.pages.cost import price_per_1000

MEASURED = CostMeasurement(model="a", throughput_images_per_s=50.0, energy_j_per_image=7.2)


def view(**prices: str) -> Any:
    """Settings alone are looked at."""
    rows = [SettingRow(field=f"cost.{name}", value=value, set_by="user") for name, value in prices.items()]
    return SimpleNamespace(inputs=SimpleNamespace(settings=tuple(rows)))


@pytest.mark.parametrize(
    ("prices", "expected"),
    [
        # 20 seconds of an hour at 0.9: 0.005.
        ({"price_per_hour": "0.9", "price_per_kwh": "not set", "currency": "EUR"}, "0.00500 EUR"),
        # 7,200 joules are 0.002 kWh, at 0.3: 0.0006.
        ({"price_per_hour": "not set", "price_per_kwh": "0.3", "currency": ""}, "0.000600"),
        ({"price_per_hour": "0.9", "price_per_kwh": "0.3", "currency": "EUR"}, "0.00560 EUR"),
        ({"price_per_hour": "not set", "price_per_kwh": "not set", "currency": "EUR"}, None),
        ({}, None),
    ],
)
def test_a_price_is_time_and_energy_at_what_the_user_stated(
    prices: dict[str, str], expected: str | None
) -> None:
    """Nothing is assumed where nothing is stated."""
    assert price_per_1000(view(**prices), MEASURED) == expected


def test_without_a_throughput_there_is_no_price_of_time() -> None:
    """Not a price of the energy alone in its place."""
    unknown = MEASURED.model_copy(update={"throughput_images_per_s": None})
    assert price_per_1000(view(price_per_hour="0.9", price_per_kwh="0.3"), unknown) is None
