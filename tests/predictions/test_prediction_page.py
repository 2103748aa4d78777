"""The page on tables of predictions: each of its examples is read as the page says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from medcompare.cli.app import main
from medcompare.predictions.cost_file import COSTS
from medcompare.predictions.table import PredictionTables, read_tables
from tests.cli.settings import assess_settings

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/prediction-tables.md").read_text("utf-8")
FENCE = re.compile(r"^```(?:(?:csv|toml) (\S+)|sh)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)


def read_examples(folder: Path) -> list[tuple[str, PredictionTables]]:
    """Every command of the page, run on the files above it, as far as the reading."""
    found = []
    for name, content in FENCE.findall(PAGE):
        if name:
            (folder / name).write_text(content, encoding="utf-8")
        elif "--published" not in content:  # which reads no table
            python, option, module, *arguments = shlex.split(content)
            assert (python, option, module) == ("python", "-m", "flows.assess")
            # The files of the page, in the folder of this test.
            arguments = [str(folder / each) if (folder / each).is_file() else each for each in arguments]
            config = assess_settings(arguments)
            found.append((content.strip(), read_tables(config)))
    return found


def test_every_example_is_read(tmp_path: Path) -> None:
    """No example is refused, and each kind of input has one."""
    examples = read_examples(tmp_path)

    assert PAGE.count("python -m flows.assess --") == len(examples)
    models = {tables.test.models for _, tables in examples}
    assert models == {
        ("resnet50", "efficientnet_b0"), ("radiologist", "model"), ("efficientnet_b0", "resnet50"),
        ("prob_malignant",), ("resnet50",), ("prob",),
    }  # fmt: skip
    tables = [each for _, each in examples]
    assert any(each.validation is not None for each in tables)
    assert any(each.test.clusters is not None for each in tables)
    assert any(list(each.test.subgroups) == ["sex", "site"] for each in tables)
    assert any(set(each.test.seed_scores) == {"resnet50", "efficientnet_b0"} for each in tables)
    assert any(each.test.unused == ("fold", "age", "y_pred") for each in tables)
    assert any("decimal comma" in " ".join(each.notes) for each in tables)
    assert all(each.caveats == () for each in tables)
    (costs,) = [each.costs for each in tables if each.costs]
    assert [(cost.model, cost.latency_ms_median) for cost in costs] == [
        ("resnet50", 41.2),
        ("efficientnet_b0", 24.9),
    ]


def test_the_page_is_complete(capsys: pytest.CaptureFixture[str]) -> None:
    """Every option and every cost stands on it."""
    assert main(["assess", "--help"]) == 0
    options = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    common = {"--name", "--out", "--store", "--seed", "--config", "--set", "--fields", "--help"}

    assert {name for name in options - common if name not in PAGE} == set()
    assert [name for name in COSTS if f"`{name}`" not in PAGE and f"\n{name} = " not in PAGE] == []


@pytest.mark.parametrize(
    "content",
    ["", "id;x\n1;2\n", "case_id,y_true,a\nx,0,nan\n", "case_id,y_true,a,fold\nx,0,.5,1\ny,1,.2,2\n", "{}"],
)
def test_every_refusal_links_the_page(
    tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page that a refusal names is there, and linked from the start."""
    (tmp_path / "t.csv").write_text(content)

    for arguments in (
        ["--predictions", str(tmp_path / "t.csv")],
        ["--predictions", str(tmp_path / "none")],
        [],
    ):
        assert main(["assess", *arguments]) == 2
        error = capsys.readouterr().err
        assert error.endswith("(examples of tables: docs/prediction-tables.md)\n")
        assert error.count("\n") == 1
    assert "](docs/prediction-tables.md)" in (ROOT / "README.md").read_text("utf-8")
