"""The same sentence about a wrong setting, wherever a run is started from."""

from __future__ import annotations

import re
from typing import Any

import pytest

from medcompare.base.errors import ConfigError
from medcompare.cli.app import main
from medcompare.config.errors import validated
from medcompare.config.schema import AssessConfig, CompareConfig

WRONG: list[tuple[dict[str, Any], str, str]] = [
    (
        {"train": {"epochs": 0}},
        "train.epochs=0",
        "train.epochs: input should be greater than or equal to 1 (given: 0)",
    ),
    (
        {"train": {"epochs": "many"}},
        "train.epochs=many",
        "train.epochs: input should be a valid integer, unable to parse string as an integer (given: 'many')",
    ),
    (
        {"train": {"epoch": 3}},
        "train.epoch=3",
        "train.epoch: no such field. Did you mean 'train.epochs'? Fields of section 'train': image_size_px, ",
    ),
    (
        {"trian": 3},
        "trian=3",
        "trian: no such field. Did you mean 'train'? Fields of the configuration: preset, name, models, ",
    ),
    (
        {"data": {"demo": {"patients": 30}}},
        "data.demo.patients=30",
        (
            "data.demo.patients: no such field. Did you mean 'data.demo.n_patients'? "
            "Fields of section 'data.demo': n_patients, images_per_patient, image_size_px, seed"
        ),
    ),
    (
        {"train": {"recipes": {"resnet50": {"learning_rat": 1.0}}}},
        "train.recipes.resnet50.learning_rat=1.0",
        (
            "train.recipes.resnet50.learning_rat: no such field. Did you mean "
            "'train.recipes.resnet50.learning_rate'? Fields of section 'train.recipes.resnet50': "
            "optimizer, learning_rate, weight_decay, weights_version"
        ),
    ),
    (
        {"decide": {"qqqq": 1}},
        "decide.qqqq=1",
        "decide.qqqq: no such field. Fields of section 'decide': margin_auc, ",
    ),
    (
        {"decide": {"guard": "loose"}},
        "decide.guard=loose",
        "decide.guard: input should be 'strict' or 'veto' (given: 'loose')",
    ),
    (
        {"models": ["resnet51"]},
        'models=["resnet51"]',
        "models: unknown model 'resnet51'; known models: ",
    ),
    (  # the preset of the demonstration has another rule
        {"evaluate": {"target_sensitivity": 0.9}},
        "evaluate.target_sensitivity=0.9",
        (
            "evaluate.target_sensitivity has no effect with evaluate.threshold_rule 'cost_ratio': leave it out, or "
            "add --set evaluate.threshold_rule=target_sensitivity"
        ),
    ),
]


@pytest.mark.parametrize(("values", "assignment", "sentence"), WRONG, ids=[row[1] for row in WRONG])
def test_a_wrong_field_reads_as_on_the_command_line(
    values: dict[str, Any], assignment: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Field, problem, what was given, what is allowed: word for word what ``--set`` prints."""
    with pytest.raises(ConfigError, match="^" + re.escape(sentence)) as caught:
        validated(CompareConfig, values)

    assert main(["compare", "--set", assignment]) == 2
    assert capsys.readouterr().err == f"error: {caught.value}\n"


def test_every_problem_has_a_line() -> None:
    """Two wrong fields are named at once, not one after the other."""
    with pytest.raises(ConfigError, match="epochs") as caught:
        validated(CompareConfig, {"train": {"epochs": 0}, "seed": -1})

    assert str(caught.value).splitlines() == [
        "seed: input should be greater than or equal to 0 (given: -1)",
        "train.epochs: input should be greater than or equal to 1 (given: 0)",
    ]


def test_a_missing_field_is_named() -> None:
    """An assessment needs predictions."""
    with pytest.raises(ConfigError, match=r"^predictions: this field is required$"):
        validated(AssessConfig, {})


def test_a_rule_over_several_fields_is_quoted_without_the_values() -> None:
    """Such a rule says itself what is wrong with what."""
    with pytest.raises(
        ConfigError, match=r"^decide\.net_benefit_range: net_benefit_range \(0\.5, 0\.1\) must be"
    ) as caught:
        validated(CompareConfig, {"decide": {"net_benefit_range": [0.5, 0.1]}})
    assert "given:" not in str(caught.value)


def test_what_is_no_table_is_refused() -> None:
    """The flow can be handed anything by the orchestrator's API."""
    with pytest.raises(ConfigError, match=r"\(given: 'x'\)"):
        validated(CompareConfig, "x")


def test_an_instance_passes_unchanged_and_values_are_filled() -> None:
    """A configuration is checked once; plain values get the preset of their data."""
    config = CompareConfig(seed=5)

    assert validated(CompareConfig, config) is config
    assert validated(CompareConfig, {"seed": 5}) == config
    assert validated(CompareConfig, {"data": {"source": "images"}}).preset == "published"
