"""What is wrong with a configuration, in the same plain words wherever a run is started from."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from medcompare.base.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Config = TypeVar("Config", bound=BaseModel)


def validated(model: type[Config], values: Any) -> Config:  # noqa: ANN401 - whatever was handed over
    """`model` filled with `values`, which may be one already.

    Parameters
    ----------
    model : type
        A configuration.
    values : Any
        Nested values by name, or an instance of `model`.

    Raises
    ------
    ConfigError
        Naming every field that is wrong, what was given, and what is allowed.
    """
    if isinstance(values, model):
        return values
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ConfigError("\n".join(_plain_words(model, error))) from None


def _plain_words(model: type[BaseModel], error: ValidationError) -> Iterator[str]:
    """One line per problem: field, problem, what was given, what is known."""
    for problem in error.errors():
        location = [str(part) for part in problem["loc"]]
        field = ".".join(location)
        if problem["type"] == "extra_forbidden":
            known = _fields_of(_section_at(model, location[:-1]))
            near = difflib.get_close_matches(location[-1], known, n=1)
            hint = f" Did you mean '{'.'.join([*location[:-1], near[0]])}'?" if near else ""
            where = f"section '{'.'.join(location[:-1])}'" if location[:-1] else "the configuration"
            yield f"{field}: no such field.{hint} Fields of {where}: {', '.join(known)}"
        elif problem["type"] == "missing":
            yield f"{field}: this field is required"
        else:
            message = problem["msg"].removeprefix("Value error, ")
            message = message[:1].lower() + message[1:]
            given = problem.get("input")
            shown = "" if problem["type"] == "value_error" else f" (given: {given!r})"
            # What concerns several fields has no place of its own, and names them.
            yield f"{field}: {message}{shown}" if field else f"{message}{shown}"


def _section_at(model: type[BaseModel], location: Sequence[str]) -> type[BaseModel]:
    """The nested model at `location`, `model` itself where there is none."""
    for part in location:
        field = model.model_fields.get(part)
        annotation = field.annotation if field else None
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            model = annotation
        elif field is not None:  # a table of sections, such as train.recipes.<model>
            inner = [get_args(a)[0] if get_origin(a) is Annotated else a for a in get_args(annotation)]
            models = [a for a in inner if isinstance(a, type) and issubclass(a, BaseModel)]
            model = models[0] if models else model
    return model


def _fields_of(model: type[BaseModel]) -> list[str]:
    """Names of the fields of `model`, in order."""
    return list(model.model_fields)
