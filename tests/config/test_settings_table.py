"""The settings in a report say who set them, and keep folder names to themselves."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

import pytest

from medcompare.config.errors import validated
from medcompare.config.form import without_shown_defaults
from medcompare.config.schema import AssessConfig, CompareConfig
from medcompare.config.settings_table import set_by_user
from medcompare.report.collect import setting_rows
from medcompare.runs.provenance import SETTINGS_FILE, command_to_repeat, settings_to_repeat
from medcompare.stats.verdict.caveats import CLINICAL
from tests.cli.settings import assess_settings, compare_settings
from tests.config.form import sent_by_form
from tests.stats.studies import comparison, evaluation, situation

if TYPE_CHECKING:
    from pathlib import Path


CONFIRMED = {name: getattr(CompareConfig().decide, name) for name in CLINICAL}
"""The parameters that a clinician must justify, at their default values."""


def test_rows_say_who_set_a_value() -> None:
    """What a person gave is the user's, also where preset or default would have said the same."""
    config = CompareConfig.model_validate(
        {"preset": "quick", "data": {"source": "x"}, "train": {"epochs": 5}, "split": {"test_fraction": 0.2}}
    )

    rows = {row.field: (row.value, row.set_by) for row in setting_rows(config)}

    assert rows["train.epochs"] == ("5", "user")
    assert rows["split.test_fraction"] == ("0.2", "user")
    assert rows["train.image_size_px"] == ("128", "preset")
    assert rows["decide.margin_auc"] == ("0.03", "default")


def test_folders_of_a_path_are_not_printed() -> None:
    """A folder may carry a patient's name."""
    config = CompareConfig.model_validate({"data": {"source": "/home/jane-doe/slides"}})

    rows = {row.field: row.value for row in setting_rows(config)}

    assert rows["data.source"] == "slides"
    assert rows["out"] == "runs"


def by_command_line(folder: Path) -> CompareConfig:
    """``--set`` for each."""
    given = [text for name, value in CONFIRMED.items() for text in ("--set", f"decide.{name}={value}")]
    return compare_settings(["--data", str(folder), *given])


def by_file(folder: Path) -> CompareConfig:
    """A table in a TOML file."""
    file = folder / "settings.toml"
    lines = [f"{name} = {value}" for name, value in CONFIRMED.items()]
    file.write_text("\n".join(["[decide]", *lines]))
    return compare_settings(["--data", str(folder), "--config", str(file)])


def by_form(folder: Path) -> CompareConfig:
    """All defaults that the form shows, and the four typed in."""
    sent = sent_by_form(CompareConfig, unfolded=True)
    sent["data"]["source"] = str(folder)
    sent["decide"] |= CONFIRMED
    return validated(CompareConfig, without_shown_defaults(CompareConfig, sent))


def by_deployment(folder: Path) -> CompareConfig:
    """Parameters in ``prefect.yaml``, as the server stores them."""
    given = json.loads(json.dumps({"data": {"source": str(folder)}, "decide": CONFIRMED}))
    return validated(CompareConfig, without_shown_defaults(CompareConfig, given))


def by_assessment(folder: Path) -> AssessConfig:
    """The other command line."""
    given = [text for name, value in CONFIRMED.items() for text in ("--set", f"decide.{name}={value}")]
    return assess_settings(["--predictions", str(folder / "test.csv"), *given])


@pytest.mark.parametrize("way", [by_command_line, by_file, by_form, by_deployment, by_assessment])
def test_a_clinician_can_confirm_a_default(way: Any, tmp_path: Path) -> None:
    """All four parameters typed in at their default values: the user's, and the caveat is gone."""
    given = frozenset(set_by_user(way(tmp_path)))

    assert given - {"data.source", "predictions"} == {f"decide.{name}" for name in CLINICAL}
    assert "no clinical justification" not in caveats(given)
    assert "no clinical justification" in caveats(given - {"decide.margin_auc"})


def caveats(given: frozenset[str]) -> str:
    """Caveats of a verdict whose parameters were set so."""
    from medcompare.stats.verdict.rule import decide

    pair = [evaluation("a"), evaluation("b")]
    return " ".join(decide(situation(pair, [comparison((-0.02, 0.01))], set_by_user=given)).caveats)


def test_an_untouched_form_confirms_nothing(tmp_path: Path) -> None:
    """The form sends the defaults it shows, whether or not anybody read them."""
    sent = sent_by_form(CompareConfig, unfolded=True)
    sent["data"]["source"] = str(tmp_path)

    config = validated(CompareConfig, without_shown_defaults(CompareConfig, sent))

    assert set_by_user(config) == ("data.source",)
    assert config == validated(CompareConfig, sent)


@pytest.mark.parametrize("way", [by_command_line, by_file, by_form, by_deployment, by_assessment])
def test_the_printed_command_gives_the_same_settings(
    way: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However a run was started: same values, same origins, from any folder."""
    values = {"train": {"recipes": {"resnet50": {"weight_decay": 0.1}}}, "name": "night one"}
    first = way(tmp_path)
    given = first.model_dump(exclude_unset=True)
    config = validated(type(first), given | (values if isinstance(first, CompareConfig) else {}))
    folder = tmp_path / "runs" / "night one"
    folder.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)

    command = shlex.split(command_to_repeat(config, "night one"))
    (folder / SETTINGS_FILE).write_bytes(settings_to_repeat(config))
    assert command == [
        *("python", "-m", "flows.assess" if way is by_assessment else "flows.compare"),
        *("--config", "runs/night one/settings.json"),
    ]
    monkeypatch.chdir(folder)
    settings = assess_settings if way is by_assessment else compare_settings
    again = settings(["--config", str(tmp_path / command[-1])])

    absolute = {name: tmp_path / getattr(config, name) for name in ("out", "store")}
    assert again == config.model_copy(update={**absolute, "name": None})
    assert set(set_by_user(again)) - {"out", "store"} == set(set_by_user(config)) - {"name"}


def test_a_folder_outside_is_not_named(tmp_path: Path) -> None:
    """Its name could be that of a person; what follows it is what the command needs."""
    config = CompareConfig(out=tmp_path / "jane-doe" / "runs")

    assert command_to_repeat(config, "x") == "python -m flows.compare --config .../x/settings.json"
