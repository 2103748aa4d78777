"""Every record survives the way through JSON: Prefect stores results so, and so do our files.

Instances are built from the annotations alone, at the bounds and with values that are awkward to
store; a record whose validators ask for more than annotations say has its values in `VALUES`.
"""

from __future__ import annotations

import enum
import importlib
import inspect
import math
import re
import types
import typing
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pydantic import BaseModel, ValidationError

import medcompare
from medcompare.base.record import Artifact, Record
from medcompare.training.records import EpochLog

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

PACKAGE = Path(medcompare.__file__).parent
AWKWARD = 0.1 + 0.2
"""A float whose shortest form has 17 digits: any rounding on the way shows."""
MOMENT = "2026-11-22T01:00:00+00:00"
"""Value of the fields named ``..._at``: UTC, ISO 8601."""

VALUES: dict[str, dict[str, Any]] = {
    "DatasetManifest": {"n_found": 15, "n_images": 14, "n_rejected": 1},
    "ModelEvaluation": {
        "confusion": {"true_negative": 5, "false_positive": 3, "false_negative": 2, "true_positive": 4},
        "n": 14,
        "n_positive": 6,
        "n_negative": 8,
    },
    # A secret does not travel through JSON, on purpose.
    "MailConfig": {"sender": "a@hospital.example", "recipients": ("b@hospital.example",), "password": None},
}
"""Record name -> values that its validators need."""


def record_classes() -> Iterator[type[Record]]:
    """Every record of the package; only modules that define classes of records are imported."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if re.search(r"^class \w+\(\w*Record\w*\)", path.read_text("utf-8"), flags=re.MULTILINE):
            parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
            importlib.import_module(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    waiting = [Record]
    seen: set[type[Record]] = set()
    while waiting:
        for child in waiting.pop().__subclasses__():
            if child not in seen:
                seen.add(child)
                waiting.append(child)
    yield from sorted(
        (c for c in seen if c.__module__.startswith("medcompare")), key=lambda c: c.__qualname__
    )


RECORDS = list(record_classes())


def example(annotation: Any, metadata: list[Any]) -> Any:  # noqa: PLR0911 - one kind of annotation after the other
    """A value of the annotated type, within the bounds of `metadata`."""
    if annotation is None or annotation is type(None):
        return None
    if hasattr(annotation, "__value__"):  # a `type` alias
        return example(annotation.__value__, metadata)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return example(arguments[0], [*arguments[1:], *metadata])
    if origin is typing.Literal:
        return arguments[0]
    if origin in {typing.Union, types.UnionType}:
        return example(next(a for a in arguments if a is not type(None)), metadata)
    if origin is tuple:
        if arguments[-1] is Ellipsis:
            return tuple(example(arguments[0], []) for _ in range(max(1, bound(metadata, "min_length") or 0)))
        return tuple(example(a, []) for a in arguments)
    if origin in {list, set, frozenset}:
        return origin([example(arguments[0], [])])
    if origin is dict:
        return {example(arguments[0], []): example(arguments[1], [])}
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return build(annotation)
    if inspect.isclass(annotation) and issubclass(annotation, enum.Enum):
        return next(iter(annotation))
    return plain_example(annotation, metadata)


def plain_example(annotation: Any, metadata: list[Any]) -> Any:
    """A value of a type without parts."""
    if annotation is bool:
        return True
    if annotation in {int, float}:
        lowest, highest = bound(metadata, "ge", "gt"), bound(metadata, "le", "lt")
        if lowest is None and highest is None:
            return AWKWARD if annotation is float else 7
        value = lowest if highest is None else highest if lowest is None else (lowest + highest) / 2
        if bound(metadata, "gt") is not None and highest is None:
            value += 1
        return annotation(value)
    if annotation is str:
        shortest = bound(metadata, "min_length") or 1
        return "a" * int(shortest)
    values = {
        Path: Path("some/where"),
        datetime: datetime(2026, 11, 22, tzinfo=UTC),
        date: date(2026, 11, 22),
    }
    return values.get(annotation, "anything")


def bound(metadata: list[Any], *names: str) -> float | None:
    """The first bound of one of these names."""
    for part in metadata:
        for name in names:
            if getattr(part, name, None) is not None:
                return typing.cast("float", getattr(part, name))
    return None


def build(model: type[BaseModel]) -> BaseModel:
    """An instance of `model` with every field filled; optional ones only where validators allow."""
    given = VALUES.get(model.__name__, {})
    every = {name: given.get(name, ...) for name in model.model_fields}
    required = {
        name: value
        for name, value in every.items()
        if name in given or model.model_fields[name].is_required()
    }
    try:
        return model.model_validate(filled_in(model, every))
    except ValidationError:
        return model.model_validate(filled_in(model, required))


def filled_in(model: type[BaseModel], values: dict[str, Any]) -> dict[str, Any]:
    """`values` with examples in place of the dots."""

    def value_of(name: str) -> Any:
        field = model.model_fields[name]
        moment = name.endswith("_at") and str in annotations_within(field.annotation)
        return MOMENT if moment else example(field.annotation, field.metadata)

    return {name: value_of(name) if value is ... else value for name, value in values.items()}


def annotations_within(annotation: Any) -> Iterator[Any]:
    """The annotation and everything it is made of."""
    yield annotation
    for part in typing.get_args(annotation):
        yield from annotations_within(part)


def fields() -> Iterator[tuple[str, FieldInfo]]:
    """Every field of every record, with its full name."""
    for record in RECORDS:
        for name, field in record.model_fields.items():
            yield f"{record.__name__}.{name}", field


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_every_record_survives_json(record: type[Record]) -> None:
    """Written to JSON and read back, a record equals itself."""
    try:
        filled = build(record)
    except ValidationError as error:
        pytest.fail(f"add values for {record.__name__} to VALUES in this file: {error}")

    assert record.model_validate_json(filled.model_dump_json()) == filled


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_every_record_is_frozen_and_closed(record: type[Record]) -> None:
    """Nothing changes a record after it was made, and a misspelt field is an error."""
    assert record.model_config.get("frozen") is True
    assert record.model_config.get("extra") == "forbid"


def test_no_field_is_a_set() -> None:
    """The order of a set, and so the key of a cache, changes from process to process."""
    sets = [
        name
        for name, field in fields()
        if any(
            part in {set, frozenset} or typing.get_origin(part) in {set, frozenset}
            for part in annotations_within(field.annotation)
        )
    ]

    assert sets == []


def test_numpy_scalars_become_plain_numbers() -> None:
    """A record holding a numpy number would fail to be stored after hours of training."""
    log = EpochLog(
        epoch=np.int64(1),
        learning_rate=np.float32(0.5),
        train_loss=np.float64(AWKWARD),
        val_loss=1,
        val_auc=None,
        val_balanced_accuracy=np.float64(0.5),
        images_per_s=2,
        elapsed_s=3,
    )

    assert {type(value) for value in log.model_dump().values()} == {int, float, type(None)}
    assert EpochLog.model_validate_json(log.model_dump_json()).train_loss == AWKWARD
    assert math.isfinite(log.learning_rate)


def test_unknown_fields_are_refused() -> None:
    """A misspelt field is an error that names it."""
    with pytest.raises(ValidationError, match="pathh"):
        Artifact.model_validate({"pathh": "x", "sha256": "0" * 64, "n_bytes": 1})


def test_a_record_cannot_be_changed() -> None:
    """Assigning to a field is an error."""
    artifact = Artifact(path="x", sha256="0" * 64, n_bytes=1)

    with pytest.raises(ValidationError, match="frozen"):
        artifact.n_bytes = 2  # type: ignore[misc]
