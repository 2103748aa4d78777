"""Costs of models measured elsewhere, from a TOML file with one table per model.

An example::

    [resnet50]
    latency_ms_median = 41.2
    n_parameters = 23512130
"""

from __future__ import annotations

import sys
import tomllib
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from medcompare.base.errors import DataError
from medcompare.predictions.costs import CostMeasurement

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

COSTS = tuple(name for name in CostMeasurement.model_fields if name not in {"model", "other_load_cores"})

LARGEST = sys.float_info.max


def read_costs(path: Path, models: Sequence[str]) -> tuple[CostMeasurement, ...]:
    """Read and check costs per model.

    Parameters
    ----------
    path : Path
        TOML file: ``[MODEL]`` and below it one line per cost, named as the fields of
        `CostMeasurement`. A model may be missing; its costs are then unknown.
    models : sequence of str
        Models there are.

    Returns
    -------
    tuple of CostMeasurement
        In the order of the file.

    Raises
    ------
    DataError
        If the file cannot be read, names an unknown model or an unknown cost, or a cost
        is not a plain positive number.
    """
    costs = []
    for model, values in _tables(path).items():
        if model not in models:
            msg = f"{path}: there is no model '{model}' in the predictions; models there are: {', '.join(models)}"
            raise DataError(msg)
        if not isinstance(values, dict):
            msg = f"{path}: '{model}' must be a table: write [{model}] and below it a line per cost"
            raise DataError(msg)
        for name, value in values.items():
            if name not in COSTS:
                msg = f"{path}: [{model}]: there is no cost '{name}'; costs there are: {', '.join(COSTS)}"
                raise DataError(msg)
            if any(not 0 < number <= LARGEST for number in _numbers(value)):
                msg = f"{path}: [{model}]: {name} is {value}; a cost is a finite number above 0"
                raise DataError(msg)
        try:
            costs.append(CostMeasurement(model=model, **values))
        except ValidationError as error:
            name = error.errors()[0]["loc"][0]
            wanted = CostMeasurement.model_fields[str(name)].annotation
            msg = f"{path}: [{model}]: {name} is {values[str(name)]!r}; expected {wanted}"
            raise DataError(msg) from None
    return tuple(costs)


def _tables(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        msg = f"{path}: no such file"
        raise DataError(msg) from None
    except (
        OSError,
        ValueError,
        RecursionError,
    ) as error:  # of TOML, of text, of numbers with too many digits
        msg = f"{path}: cannot be read as TOML ({error})"
        raise DataError(msg) from None


def _numbers(value: object) -> Iterator[float]:
    if isinstance(value, list):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value
