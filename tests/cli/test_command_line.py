"""The command line fills the configuration, and says what is wrong in one message."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from medcompare.base.errors import ConfigError
from medcompare.cli.app import main
from medcompare.cli.assess import published_claim
from medcompare.cli.options import list_fields, parse_value
from medcompare.config.errors import validated
from medcompare.config.schema import AssessConfig, CompareConfig
from tests.cli.settings import assess_settings, compare_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel

ROOT = Path(__file__).resolve().parents[2]


def _config(*arguments: str) -> CompareConfig:
    return compare_settings(arguments)


def test_every_way_fills_the_same_fields(tmp_path: Path) -> None:
    """Preset, file, option and --set: the later one wins."""
    file = tmp_path / "run.toml"
    file.write_text('seed = 1\npreset = "quick"\n[train]\nepochs = 7\nbatch_size = 16\n')

    config = _config("--config", str(file), "--data", "images", "--seed", "2", "--set", "train.epochs=9")

    assert (config.preset, config.seed, config.data.source) == ("quick", 2, "images")
    assert (config.train.epochs, config.train.batch_size, config.train.image_size_px) == (9, 16, 128)


def test_models_and_nested_tables() -> None:
    """A list of models, and the hyperparameters of one of them."""
    config = _config(
        *("--models", "resnet50, convnext_tiny", "--set", "train.recipes.resnet50.learning_rate=1e-4"),
        *("--set", 'train.recipes."timm/resnet18.a1_in1k".learning_rate=1e-3'),
    )

    assert config.models == ("resnet50", "convnext_tiny")
    assert config.train.recipes["resnet50"].learning_rate == 1e-4
    assert config.train.recipes["timm/resnet18.a1_in1k"].learning_rate == 1e-3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "train.epoch=3"], r"train\.epoch: no such field\. Did you mean 'train\.epochs'\?"),
        (["--set", "trian.epochs=3"], r"trian: no such field\..*Fields of the configuration: preset, "),
        (["--set", "train.epochs=0"], r"train\.epochs: .*greater than or equal to 1 \(given: 0\)"),
        (["--set", "train.epochs"], r"write SECTION\.FIELD=VALUE"),
        (["--set", "seed.x=1"], r"seed: .*valid integer"),
        (["--seed", "many"], r"seed: .*valid integer"),
        (["--seed", "1", "--set", "seed.x=1"], r"'seed' is a field, not a section"),
        (["--models", "vgg"], r"models: unknown model 'vgg'; known models: resnet50, "),
        (
            ["--set", "train.recipes.resnet50.lr=1"],
            r"Fields of section 'train\.recipes\.resnet50': optimizer, ",
        ),
        (["--config", "missing.toml"], r"missing\.toml: no such file"),
    ],
)
def test_mistakes_get_one_clear_message(arguments: list[str], message: str) -> None:
    """The message names the field and what is allowed."""
    with pytest.raises(ConfigError, match=message):
        _config(*arguments)


def test_broken_toml_is_named(tmp_path: Path) -> None:
    """The file and the line are in the message."""
    file = tmp_path / "run.toml"
    file.write_text("seed = \n")

    with pytest.raises(ConfigError, match=r"run\.toml: not valid TOML.*line 1"):
        _config("--config", str(file))


def test_unreadable_toml_is_named(tmp_path: Path) -> None:
    """A folder in place of a file."""
    with pytest.raises(ConfigError, match="cannot be read"):
        _config("--config", str(tmp_path))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("1e-4", 1e-4),
        ("true", True),
        ('["a"]', ["a"]),
        ("None", None),
        ("none", "none"),
        ("cancer", "cancer"),
    ],
)
def test_values_are_read_as_json_where_they_are(text: str, value: object) -> None:
    """Numbers, lists and words need no quotes; 'none' stays a word."""
    assert parse_value(text) == value


def test_every_field_is_listed() -> None:
    """`--fields` shows the fields of every section."""
    text = "\n".join(list_fields(CompareConfig))

    assert "train.epochs [20]" in text
    assert "data.demo.n_patients" in text


def _text_fields(schema: dict[str, Any], model: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Dotted names of the fields whose schema takes any text, alone, optional or in a list."""
    for name, field in model["properties"].items():
        references = [choice["$ref"] for choice in (field, *field.get("anyOf", ())) if "$ref" in choice]
        if references:
            section = schema["$defs"][references[0].split("/")[-1]]
            yield from _text_fields(schema, section, f"{prefix}{name}.")
        elif name in {"mail_to", "models", "augmentation", "intensity_range", "address", "shared_store"}:
            pass  # no address, model, transform, range or bucket is one number
        else:
            kinds = [field, *field.get("anyOf", ()), field.get("items", {})]
            if any(kind.get("type") == "string" and "enum" not in kind for kind in kinds):
                yield f"{prefix}{name}"


COMPARE_TEXT = sorted(_text_fields(schema := CompareConfig.model_json_schema(), schema))
ASSESS_TEXT = sorted(_text_fields(schema := AssessConfig.model_json_schema(), schema))


@pytest.mark.parametrize(
    ("field", "model"),
    [(f, CompareConfig) for f in COMPARE_TEXT] + [(f, AssessConfig) for f in ASSESS_TEXT],
)
def test_text_needs_no_quotes_even_where_it_is_a_number(
    field: str, model: type[BaseModel], tmp_path: Path
) -> None:
    """A class 1, a run 2026, a folder 1e3: typed on the command line, in a file or sent by the form."""
    assert {"data.positive", "name", "evaluate.subgroups", "out"} <= {*COMPARE_TEXT}
    assert {"positive", "name", "predictions", "report.title"} <= {*ASSESS_TEXT}
    in_list = field in {"evaluate.subgroups", "models"}
    of_names = field.endswith(
        ("positive", "exclude", "group_by")
    )  # lists that may also be one text between commas
    base = ["--predictions", "t.csv"] if model is AssessConfig else []
    config_of = assess_settings if model is AssessConfig else compare_settings

    def value(*arguments: str) -> str:
        found: Any = config_of([*base, *arguments])
        for name in field.split("."):
            found = getattr(found, name)
        return str(found[0] if in_list or of_names else found)

    for text in ("1", "2026", "1.50", "1e3", "true", "NaN", "007"):
        if not in_list:
            assert value("--set", f"{field}={text}") == text
    section, _, name = field.rpartition(".")
    for toml, text in (
        ("1", "1"),
        ("2026", "2026"),
        ("0.5", "0.5"),
        ("true", "true"),
        ("2026-01-31", "2026-01-31"),
    ):
        if field == "predictions":
            continue  # the option wins over the file
        file = tmp_path / "run.toml"
        assignment = f"{name} = [{toml}]" if in_list else f"{name} = {toml}"
        file.write_text(f"[{section}]\n{assignment}\n" if section else f"{assignment}\n")
        assert value("--config", str(file)) == text


def test_numbers_stay_numbers_and_must_be_finite(tmp_path: Path) -> None:
    """Only text is left as it was typed; no number of a configuration may be NaN or infinite."""
    assert _config("--set", "train.epochs=3").train.epochs == 3
    assert _config("--set", "report.pseudonymise=false").report.pseudonymise is False
    file = tmp_path / "run.toml"
    file.write_text("[train]\ntimeout_minutes = inf\n")
    with pytest.raises(ConfigError, match=r"train\.timeout_minutes: input should be a finite number"):
        _config("--config", str(file))
    for text in ("nan", "inf", "-inf", "1e999"):
        with pytest.raises(ConfigError, match=r"--threshold a=.*: write MODEL=VALUE with a finite number"):
            assess_settings(["--predictions", "t", "--threshold", f"a={text}"])
        with pytest.raises(ConfigError, match=r"thresholds\.a: input should be a finite number"):
            validated(AssessConfig, {"predictions": "t", "thresholds": {"a": float(text)}})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "acc=0.92,n=250",
            r"without acc2 \(accuracy of the second\), e\.g\. --published acc=0\.92,n=250,acc2=0\.90",
        ),
        ("acc=0,92,n=250,acc2=0,9", r"'92' is not NAME=NUMBER with a point as decimal mark"),
        ("acc=92,n=250,acc2=90", r"acc=92 is no share from 0 to 1: write acc=0\.92"),
        (
            "acc=0.9,n=250,acc2=0.92",
            r"the claimed winner comes first: --published acc=0\.92,n=250,acc2=0\.9$",
        ),
        ("acc=0.9,n=2.5,acc2=0.8", r"n=2\.5 is no number of test cases"),
        ("acc=0.9,n=250,acc2=0.8,auc=0.8", r"'auc' is none of acc, n, acc2, both"),
        ("acc=0.9,n=nan,acc2=0.8", r"n=nan is no number of test cases"),
        ("acc=1.2,n=100,acc2=0.8", r"acc=1\.2 is no share from 0 to 1$"),
        ("acc=0.9;n=250;acc2=0.8", r"commas stand between the numbers, e\.g\. --published acc="),
        ("acc=0.9,acc=0.95,n=250,acc2=0.8", r"acc is given twice"),
        ("", r"without acc \(accuracy of the winner\), n \(number of test cases\), acc2"),
    ],
)
def test_a_claim_that_cannot_be_judged_says_how_to_write_it(text: str, message: str) -> None:
    """Nothing is computed, and the message has a call that works."""
    with pytest.raises(ConfigError, match=message):
        published_claim(text)


def test_the_probability_of_a_published_claim_is_printed() -> None:
    """The share that both got right, where given; else the two ends of what it may be."""
    # 16 cases right by the first only and 7 by the second: 17 heads or more in 24 throws.
    assert "  0.032  both right on 69.0% of the cases, as given" in published_claim(
        "acc=0.85,n=100,acc2=0.76,both=0.69"
    )
    lines = "\n".join(published_claim("acc=0.9,n=40,acc2=0.8"))
    assert f"{0.5**5:.2g}  if the two err on the same cases as far as possible (both right on 80.0%)" in lines
    assert "(both right on 72.0%)" in lines
    assert published_claim("ACC=90%, N=40, acc2=80%") == published_claim("acc=0.9,n=40,acc2=0.8")
    assert "  below 0.0001  if the two err" in "\n".join(published_claim("acc=0.92,n=1000,acc2=0.9"))


def test_accuracies_that_no_count_of_cases_gives_are_told() -> None:
    """Of 12 cases 11 are 0.9167 and 10 are 0.8333: neither rounds to 0.9, and 0.92 is the former."""
    lines = published_claim("acc=0.92,n=12,acc2=0.90")

    assert lines[1] == "No count of 12 cases rounds to 0.90: is n the number of test cases?"
    assert lines[2].startswith("Probability")
    assert published_claim("acc=91.7%,n=12,acc2=83%")[1].startswith("Probability")


def test_refused_input_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit status 2: neither folders made for the run nor those above them; what was there stays."""
    (tmp_path / "results").mkdir()
    monkeypatch.chdir(tmp_path)

    for folders in ([], ["--out", "results/new/runs", "--store", "deep/er/store"]):
        assert main(["compare", "--data", "missing", *folders]) == 2

    assert list(tmp_path.rglob("*")) == [tmp_path / "results"]


COUNTED = """
import sys
from pathlib import Path
n_listed = 0
def count(event, arguments):
    global n_listed
    n_listed += event in {"os.scandir", "os.listdir"} and str(arguments[0]).endswith("benign")
sys.addaudithook(count)
from medcompare.config.schema import CompareConfig
from flows.preflight import check_ahead, checked
config = CompareConfig.model_validate(
    {"data": {"source": "images"}, "train": {"initial_weights": "none"}, "evaluate": {"n_resamples": 200}}
)
check_ahead(config)
once = n_listed
again = CompareConfig.model_validate(config.model_dump())
source = checked(again).source
handed_over = n_listed
checked(config)
looked_anew = n_listed
check_ahead(config)
other = config.model_copy(update={"seed": 1})
checked(other)
print(once, handed_over / once, looked_anew / once, n_listed / once, len(source.files))
"""


def test_a_folder_is_listed_once_for_a_run(tmp_path: Path) -> None:
    """What the command line checked is handed to its run, once, and never to a run with other settings."""
    for name in ("benign", "cancer"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(4):
            (tmp_path / "images" / name / f"{i}.png").write_bytes(b"no picture yet")
    done = subprocess.run(
        [sys.executable, "-c", COUNTED],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    once, handed_over, again, other, n_files = (float(text) for text in done.stdout.split())
    assert once >= 1
    assert (handed_over, again, other, n_files) == (1, 2, 4, 8)
