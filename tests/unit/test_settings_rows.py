"""The settings in a report say who set them, and keep folder names to themselves."""

from __future__ import annotations

from medcompare.config import CompareConfig
from medcompare.report_inputs import setting_rows


def test_rows_say_who_set_a_value() -> None:
    """User, preset and default are told apart by value."""
    config = CompareConfig.model_validate(
        {"preset": "quick", "data": {"source": "x"}, "train": {"epochs": 2}}
    )

    rows = {row.field: (row.value, row.set_by) for row in setting_rows(config)}

    assert rows["train.epochs"] == ("2", "user")
    assert rows["train.image_size_px"] == ("128", "preset")
    assert rows["decide.margin_auc"] == ("0.03", "default")


def test_folders_of_a_path_are_not_printed() -> None:
    """A folder may carry a patient's name."""
    config = CompareConfig.model_validate({"data": {"source": "/home/jane-doe/slides"}})

    rows = {row.field: row.value for row in setting_rows(config)}

    assert rows["data.source"] == "slides"
    assert rows["out"] == "runs"
