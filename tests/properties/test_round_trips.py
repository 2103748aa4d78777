"""What is written reads back the same: tables with awkward text, and configurations by every way in."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from medcompare.base.artifacts import ArtifactStore
from medcompare.base.errors import ConfigError
from medcompare.base.file_names import escape_name, shown
from medcompare.config.data import SplitConfig
from medcompare.config.errors import validated
from medcompare.config.form import without_shown_defaults
from medcompare.config.presets import merged
from medcompare.config.schema import AssessConfig, CompareConfig
from medcompare.config.settings_table import set_by_user
from medcompare.data.assignments import IMAGE_COLUMNS, read_assignments
from medcompare.data.manifest import _write_table
from medcompare.data.spelling import fault_of_id
from medcompare.data.split import split
from medcompare.data.tables import read_images
from medcompare.models.zoo import LISTED
from medcompare.predictions.cases import ScoredCases
from medcompare.predictions.table import read_prediction_table, write_prediction_table
from medcompare.runs.provenance import settings_to_repeat
from tests.cli.settings import assess_settings, compare_settings
from tests.config.form import sent_by_form
from tests.data.test_split import manifest_of

if TYPE_CHECKING:
    from collections.abc import Sequence

QUICK = settings(max_examples=25, deadline=None, derandomize=True)
MANY = settings(max_examples=2000, deadline=None, derandomize=True)

AWKWARD = st.text("a0.,;\t|\"'\n =+-@#\\éß\u202e\u2028\x85\ufeff日😀", max_size=8)
"""Separators, quotation marks, line breaks, leading zeros, cells that a spreadsheet takes for formulas."""
TEXT = AWKWARD.map(str.strip)
IDS = TEXT.map(lambda text: text if fault_of_id(text) is None else f"={text}")


@st.composite
def tables(draw: st.DrawFn) -> ScoredCases:
    """Cases of two models, one of them with two seeds; patients and a subgroup of any text."""
    ids = sorted(draw(st.lists(IDS, min_size=2, max_size=12, unique_by=shown)), key=shown)
    n, rng = len(ids), np.random.default_rng(draw(st.integers(0, 2**32)))
    scores = draw(
        st.sampled_from([rng.random((3, n)), rng.random((3, n)) * 1e-300, rng.integers(0, 2, (3, n)) * 1.0])
    )
    return ScoredCases(
        case_id=tuple(ids),
        y_true=rng.integers(0, 2, n),
        scores={"net": scores[0], "other": scores[1]},
        seed_scores={"net": {"1": scores[0], "2": scores[2]}},
        judged={"net": "net@1", "other": "other"},
        patient_id=draw(st.none() | st.lists(IDS, min_size=n, max_size=n).map(np.array)),
        subgroups={"site, ward": np.array(draw(st.lists(TEXT, min_size=n, max_size=n)))},
        classes=("negative", "positive"),
        subset="test",
    )


def table_reads_back(cases: ScoredCases, folder: Path) -> None:
    """Bit by bit, whatever the ids look like, with hidden characters shown; and written again, the same bytes."""
    (folder / "test.csv").write_bytes(write_prediction_table(cases))
    cases = replace(
        cases,
        case_id=tuple(map(shown, cases.case_id)),
        patient_id=None if cases.patient_id is None else np.array([shown(one) for one in cases.patient_id]),
        subgroups={
            name: np.array([shown(one) for one in values]) for name, values in cases.subgroups.items()
        },
    )

    again = read_prediction_table(
        folder / "test.csv", subgroups=["site, ward"], models=["net@1", "net@2", "other"]
    )

    assert (again.case_id, again.y_true.tolist(), again.judged) == (
        cases.case_id,
        cases.y_true.tolist(),
        cases.judged,
    )
    assert {m: s.tobytes() for m, s in again.scores.items()} == {
        m: s.tobytes() for m, s in cases.scores.items()
    }
    for found, values in (
        (again.patient_id, cases.patient_id),
        (again.subgroups["site, ward"], cases.subgroups["site, ward"]),
    ):
        assert (found is None) == (values is None)
        assert found is None or values is None or found.tolist() == values.tolist()
    assert write_prediction_table(again) == write_prediction_table(cases)


def stored_tables_read_back(texts: Sequence[tuple[str, str, str]], folder: Path) -> None:
    """The table of images and that of the split, by their readers."""
    store, columns = ArtifactStore(folder), (*IMAGE_COLUMNS, 'ward, "x"')
    rows = [
        (
            f"case-{i}",
            escape_name(f"{path}/{i}"),
            i % 2,
            f"{patient}{i // 2}",
            f"{i:064}",
            64,
            64,
            "RGB",
            "",
            ward,
        )
        for i, (path, patient, ward) in enumerate(texts)
    ]
    manifest = manifest_of(store, [i % 2 for i in range(len(rows))], patients=[row[3] for row in rows])
    manifest = manifest.model_copy(update={"images": _write_table(columns, rows, store)})

    result = split(manifest, SplitConfig(test_fraction=0.3, validation_fraction=0.4), seed=0, store=store)

    images = read_images(manifest, store)
    assert tuple(images.columns) == columns
    assert [tuple(row) for row in images.itertuples(index=False)] == rows
    again = {row.case_id: row for row in read_assignments(store.read(result.assignments))}
    for case, path, label, patient, sha256, *_, ward in rows:
        found = again[case]
        assert (found.path, found.label, found.patient_id, found.sha256) == (path, label, patient, sha256)
        assert found.extra == ((columns[-1], ward),)
    assert Counter(row.subset for row in again.values()) == {
        one.subset: one.n_images for one in result.subsets
    }


ROWS = st.lists(st.tuples(AWKWARD, IDS, TEXT), min_size=30, max_size=30)


@QUICK
@given(tables())
def test_prediction_tables(tmp_path_factory: pytest.TempPathFactory, cases: ScoredCases) -> None:
    """Forty tables."""
    table_reads_back(cases, tmp_path_factory.getbasetemp())


@settings(QUICK, max_examples=15)
@given(ROWS)
def test_stored_tables(tmp_path_factory: pytest.TempPathFactory, texts: list[tuple[str, str, str]]) -> None:
    """Fifteen data sets."""
    stored_tables_read_back(texts, tmp_path_factory.getbasetemp())


@pytest.mark.slow
@MANY
@given(tables(), ROWS)
def test_thousands_of_tables(
    tmp_path_factory: pytest.TempPathFactory, cases: ScoredCases, texts: list[tuple[str, str, str]]
) -> None:
    """Both."""
    table_reads_back(cases, tmp_path_factory.getbasetemp())
    stored_tables_read_back(texts, tmp_path_factory.getbasetemp())


def values_of(model: type[BaseModel]) -> st.SearchStrategy[dict[str, Any]]:
    """Some of the fields of a configuration, at values that its types and bounds allow."""
    fields: dict[str, st.SearchStrategy[Any]] = {}
    for name, field in model.model_fields.items():
        kind = field.annotation
        if name in CHOSEN:
            fields[name] = CHOSEN[name]
        elif isinstance(kind, type) and issubclass(kind, BaseModel):
            fields[name] = values_of(kind)
        elif kind in {Path, Path | None}:
            fields[name] = PATHS
        else:
            bound = {
                key: getattr(m, key)
                for m in field.metadata
                for key in ("gt", "ge", "lt", "le")
                if hasattr(m, key)
            }
            low, high = bound.get("ge", bound.get("gt")), bound.get("le", bound.get("lt"))
            number = st.floats(low, high, exclude_min="gt" in bound, exclude_max="lt" in bound, width=64)
            of_type = {
                float: number.filter(math.isfinite),
                int: st.integers(low, high),
                type(None): st.none(),
                bool: st.booleans(),
            }
            fields[name] = st.one_of(of_type.get(each, st.just(each)) for each in get_args(kind) or [kind])
    return st.fixed_dictionaries({}, optional=fields)


PATHS = st.text("ab é\"\\'=#/~.,", min_size=1, max_size=12).map(lambda text: Path(f"x{text}"))
FRACTIONS = st.floats(0.01, 0.89)
CHOSEN: dict[str, st.SearchStrategy[Any]] = {
    "name": st.none() | st.from_regex(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,9}", fullmatch=True),
    "source": st.just("demo") | PATHS.map(str),
    "models": st.lists(st.sampled_from(LISTED), min_size=1, max_size=3, unique=True),
    "recipes": st.dictionaries(
        st.sampled_from(LISTED),
        st.fixed_dictionaries({}, optional={"learning_rate": FRACTIONS, "optimizer": st.just("sgd")}),
    ),
    "resize_px": st.none() | st.integers(1024, 1200),
    "net_benefit_range": st.none() | st.tuples(st.floats(0.01, 0.4), st.floats(0.41, 0.9)),
    "predictions": PATHS,
    "positive": st.lists(AWKWARD, max_size=3),
    "subgroups": st.lists(AWKWARD, max_size=3),
    "title": AWKWARD,
    "organisation": AWKWARD,
    "thresholds": st.dictionaries(AWKWARD, st.floats(0, 1), max_size=3),
    "shared_store": st.sampled_from([None, "s3://images/of a night", "gs://a/b"]),
    "runner": st.sampled_from(
        [{}, {"engine": "local"}, {"engine": "dask", "address": "tcp://127.0.0.1:8786"}]
    ),
}
"""Where types and bounds do not say all of it."""


def toml_lines(values: dict[str, Any], prefix: str = "") -> list[str]:
    """``a.b = value`` for every value: JSON's strings, numbers and lists are TOML's, too."""
    lines = []
    for name, value in values.items():
        key = f"{prefix}{json.dumps(name, ensure_ascii=False)}"
        if isinstance(value, dict) and value:
            lines += toml_lines(value, f"{key}.")
        elif value is not None:
            lines.append(f"{key} = {json.dumps(value, ensure_ascii=False)}")
    return lines


def config_reads_back(
    model: type[CompareConfig | AssessConfig], values: dict[str, Any], folder: Path
) -> None:
    """Through JSON, a TOML file, the file that repeats a run, and the form."""
    command = compare_settings if model is CompareConfig else assess_settings
    try:
        config = validated(model, values)
    except ConfigError:  # fields that contradict each other
        reject()
    plain = config.model_dump(mode="json", exclude_unset=True)

    for again in (
        model.model_validate_json(config.model_dump_json()),
        validated(model, json.loads(json.dumps(plain))),
        validated(model, without_shown_defaults(model, merged(sent_by_form(model, unfolded=True), plain))),
    ):
        assert again == config
    (folder / "settings.toml").write_text("\n".join(toml_lines(plain)), encoding="utf-8")
    assert command(["--config", str(folder / "settings.toml")]) == config
    (folder / "settings.json").write_bytes(settings_to_repeat(config))
    repeated = command(["--config", str(folder / "settings.json")])
    assert set(set_by_user(repeated)) - {"out", "store"} == set(set_by_user(config)) - {
        "out",
        "store",
        "name",
    }
    assert json.loads(settings_to_repeat(repeated)) == json.loads(settings_to_repeat(config))
    found, wanted = (one.model_dump(exclude={"name", "out", "store"}) for one in (repeated, config))
    assert _absolute(found) == _absolute(wanted)


def _absolute(value: Any) -> Any:
    """Paths as the file that repeats a run has them."""
    if isinstance(value, dict):
        return {
            name: _absolute(each) if name != "source" or each == "demo" else str(Path(each).absolute())
            for name, each in value.items()
        }
    return value.absolute() if isinstance(value, Path) else value


@QUICK
@given(values_of(CompareConfig))
def test_configurations_of_a_comparison(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any]
) -> None:
    """Forty."""
    config_reads_back(CompareConfig, values, tmp_path_factory.getbasetemp())


@QUICK
@given(values_of(AssessConfig).map(lambda values: {"predictions": "x.csv"} | values))
def test_configurations_of_an_assessment(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any]
) -> None:
    """Forty."""
    config_reads_back(AssessConfig, values, tmp_path_factory.getbasetemp())
