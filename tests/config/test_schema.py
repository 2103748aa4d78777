"""Configuration: presets fill, users decide, mistakes are named."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from medcompare.base.errors import ConfigError
from medcompare.config.data import DataConfig
from medcompare.config.errors import validated
from medcompare.config.form import without_shown_defaults
from medcompare.config.presets import PRESETS, merged
from medcompare.config.registry import RegistrySettings
from medcompare.config.schema import CompareConfig
from medcompare.config.train import TrainConfig
from medcompare.models.zoo import MODELS
from tests.config.form import sent_by_form


def test_the_studys_recipes_are_the_defaults() -> None:
    """ResNet-50: Adam 1e-5; EfficientNet-B0: AdamW 1e-3, weight decay 1e-4."""
    resnet, efficientnet = MODELS["resnet50"].recipe, MODELS["efficientnet_b0"].recipe

    assert (resnet.optimizer, resnet.learning_rate, resnet.weight_decay) == ("adam", 1e-5, 0.0)
    assert (efficientnet.optimizer, efficientnet.learning_rate, efficientnet.weight_decay) == (
        "adamw",
        1e-3,
        1e-4,
    )
    assert CompareConfig(data={"source": "x"}).train.recipes == {}


def test_preset_follows_the_data() -> None:
    """Without images the demo preset, with images the published one."""
    assert CompareConfig().preset == "demo"
    assert CompareConfig(data=DataConfig(source="images")).preset == "published"
    assert CompareConfig(data=DataConfig(source="images")).train.initial_weights == "imagenet"


def test_the_user_wins_over_the_preset() -> None:
    """A field the user sets keeps the value; its neighbours come from the preset."""
    config = CompareConfig(preset="quick", data=DataConfig(source="x"), train=TrainConfig(epochs=2))

    assert config.train.epochs == 2
    assert config.train.image_size_px == 128


def test_a_dumped_configuration_comes_back_equal() -> None:
    """JSON round trip, presets included."""
    config = CompareConfig(seed=7)

    assert CompareConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"models": ["resnet51"]}, "unknown model 'resnet51'; known models: resnet50, "),
        ({"models": ["resnet50", "resnet50"]}, "named twice"),
        ({"train": {"recipes": {"vgg": {}}}}, "unknown model 'vgg'"),
        ({"train": {"resize_px": 64, "image_size_px": 128}}, "must not be smaller"),
        ({"decide": {"net_benefit_range": [0.5, 0.2]}}, "low before high"),
        ({"train": {"epochs": 0}}, "greater than or equal to 1"),
        ({"tarin": {}}, "Extra inputs"),
        ({"preset": "fast"}, "'published', 'tuned', 'quick' or 'demo'"),
        ({"name": "../escape"}, "match pattern"),
    ],
)
def test_mistakes_are_named(values: dict[str, object], message: str) -> None:
    """Each bad value is refused with its own message."""
    with pytest.raises(ValidationError, match=message):
        CompareConfig.model_validate(values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"train": {"recipes": {"resnet50": {"epochs": 50}}}},
            "epochs is the same for every .* set train.epochs",
        ),
        ({"train": {"recipes": {"resnet50": {"n_trials": 50}}}}, "n_trials is the same .* set tune.n_trials"),
        (
            {"tune": {"resnet50": {"epochs": 50}}},
            r"resnet50.epochs: the search is the same .* set tune.epochs",
        ),
        ({"tune": {"n_trials": 1}}, "1 trial searches nothing"),
        ({"preset": "tuned", "tune": {"n_trials": 0}}, "0 trials search nothing"),
        ({"preset": "tuned", "models": ["probe:resnet50"]}, "there is nothing to search"),
        (
            {"preset": "tuned", "train": {"warmup_epochs": 8}},
            r"warmup_epochs \(8\) must be smaller than tune",
        ),
        (
            {"preset": "tuned", "train": {"recipes": {"resnet50": {"frozen_epochs": 9}}}},
            r"train.recipes.resnet50.frozen_epochs \(9\) must be smaller than tune.epochs \(8\)",
        ),
    ],
)
def test_a_search_that_is_unequal_or_none_is_refused(values: dict[str, object], message: str) -> None:
    """A budget is that of all models; what would search nothing is said before any training."""
    with pytest.raises(ValidationError, match=message):
        CompareConfig.model_validate(values)


def test_any_preset_can_be_tuned_and_only_one_is() -> None:
    """``tuned`` has 16 trials; others have none until they are asked for."""
    assert CompareConfig(preset="tuned").tune.n_trials == 16
    assert CompareConfig(preset="quick").tune.n_trials == 0
    asked = CompareConfig.model_validate({"preset": "quick", "tune": {"n_trials": 4}})
    assert (asked.tune.n_trials, asked.train.epochs) == (4, 5)


@pytest.mark.parametrize(
    "uri",
    [
        "http://ada:lovelace@127.0.0.1:5000",
        "postgresql://ada:lovelace@host/db",
        "postgresql://host/db?user=ada&password=lovelace",
        "ada:lovelace@host:5000",
    ],
)
def test_a_registry_is_not_given_credentials(uri: str) -> None:
    """They would be kept with the night, and are not repeated in the message."""
    with pytest.raises(ConfigError, match="give them as MLFLOW_TRACKING_USERNAME") as caught:
        validated(RegistrySettings, {"uri": uri})
    assert "lovelace" not in str(caught.value)


@pytest.mark.parametrize(
    "uri",
    [
        "127.0.0.1:5000",
        "mlruns",
        "file:///mlruns",
        "ftp://host",
        "http://host:port",
        "http://",
        "http://h/#/models",
        "sqlite://",
    ],
)
def test_a_registry_needs_an_address(uri: str) -> None:
    """MLflow would take some of them for a folder, and make it."""
    with pytest.raises(ConfigError, match=rf"'{uri}' is no address of a registry: write http://HOST:5000"):
        validated(RegistrySettings, {"uri": uri})


@pytest.mark.parametrize(
    ("uri", "kept"),
    [
        ("https://mlflow.example/team/", "https://mlflow.example/team"),
        ("sqlite:////data/mlflow.db", "sqlite:////data/mlflow.db"),
        ("mysql+pymysql://host/db", "mysql+pymysql://host/db"),
    ],
)
def test_addresses_of_a_registry(uri: str, kept: str) -> None:
    """Servers and databases."""
    assert RegistrySettings(uri=uri).uri == kept


def test_sections_merge_and_values_replace() -> None:
    """`merged` goes into sections and leaves its inputs alone."""
    base = {"a": {"x": 1, "y": 2}, "b": 3}

    assert merged(base, {"a": {"y": 5}, "b": {"z": 1}}) == {"a": {"x": 1, "y": 5}, "b": {"z": 1}}
    assert base == {"a": {"x": 1, "y": 2}, "b": 3}


def test_the_form_leaves_to_the_preset_what_a_preset_fills() -> None:
    """The UI's form sends every default it shows: fields of a preset must have none, all others do."""
    schema = CompareConfig.model_json_schema()
    sections = {
        "split": "SplitConfig",
        "train": "TrainConfig",
        "evaluate": "EvaluateConfig",
        "tune": "TuneConfig",
    }
    of_presets = {
        (section, name)
        for preset in PRESETS.values()
        for section, fields in preset.items()
        if isinstance(fields, dict)
        for name, value in fields.items()
        if not isinstance(value, dict)  # a table: an empty one laid over the preset's changes nothing
    }
    without = {
        (section, name)
        for section, record in sections.items()
        for name, field in schema["$defs"][record]["properties"].items()
        if "default" not in field
        and CompareConfig.model_fields[section].annotation.model_fields[name].default is not None  # type: ignore[union-attr]
    }

    assert without == of_presets
    assert "default" not in schema["properties"]["preset"]
    assert "default" not in schema["properties"]["seeds"]
    assert schema["properties"]["seeds"]["description"].endswith("(published 3, tuned 3, quick 1, demo 1).")
    epochs = schema["$defs"]["TrainConfig"]["properties"]["epochs"]["description"]
    assert epochs.endswith("Empty: as the preset says (published 20, tuned 20, quick 5, demo 5).")


@pytest.mark.parametrize("unfolded", [False, True])
def test_what_the_untouched_form_sends_is_the_demonstration(*, unfolded: bool) -> None:
    """Every default that the form shows, sent explicitly, gives the same run as none at all."""
    sent = sent_by_form(CompareConfig, unfolded=unfolded)

    assert ("max_file_mb" in sent["data"], sent["train"] is None) == (unfolded, not unfolded)
    given = without_shown_defaults(CompareConfig, sent)
    assert CompareConfig.model_validate(given) == CompareConfig()
    assert CompareConfig.model_validate({**given, "preset": "quick"}).train.epochs == 5


def test_the_form_begins_with_what_a_person_sets() -> None:
    """Data, class, preset, models, trainings, recipients and name; then the sections, folded; folders and seed last."""
    schema = CompareConfig.model_json_schema()["properties"]
    shown = sorted(schema, key=lambda name: schema[name].get("position", 0))

    assert shown[:6] == ["data", "preset", "models", "seeds", "mail_to", "name"]
    assert list(schema["data"]["anyOf"][0]["properties"]) == ["source", "positive"]
    assert shown[6:14] == ["split", "train", "tune", "evaluate", "decide", "cost", "report", "runner"]
    assert all(schema[name]["anyOf"][0]["type"] == "null" for name in shown[6:14])
    last = ["folds", "fold_repeats", "external", "seed", "out", "store", "shared_store", "file_access"]
    assert shown[14:] == last
