"""The configuration as rows a person can read: field, value, meaning, and who set it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeGuard, get_args

from pydantic import BaseModel

from medcompare.base.language import message, t
from medcompare.config.presets import PRESETS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from medcompare.config.schema import AssessConfig, CompareConfig

SetBy = Literal["user", "preset", "default"]

NOT_SET, YES, NO, NONE = message("not set"), message("yes"), message("no"), "none"
"""Values in words; kept in English, see `spoken_value`."""


def flattened(record: BaseModel, prefix: str = "") -> Iterator[tuple[str, object, str]]:
    """(dotted name, value, description) of every field, section by section."""
    for name, field in type(record).model_fields.items():
        value = getattr(record, name, None)
        if isinstance(value, BaseModel):
            yield from flattened(value, f"{prefix}{name}.")
        elif isinstance(value, dict) and any(isinstance(item, BaseModel) for item in value.values()):
            for key, item in value.items():
                for inner, inner_value, text in flattened(item, f"{prefix}{name}.{key}."):
                    if inner_value is not None:
                        yield inner, inner_value, text
        else:
            yield f"{prefix}{name}", value, field.description or ""


def settings_rows(config: CompareConfig | AssessConfig) -> tuple[tuple[str, str, str, SetBy], ...]:
    """(field, value, description, set by) of every field of `config`.

    What a person gave is the user's, also where it equals the default: so it is confirmed.
    What the preset filled is the preset's.
    """
    preset_name = getattr(config, "preset", None)  # an assessment has none
    preset = {} if preset_name is None else PRESETS[preset_name]
    given, filled = set(names_given(config)), set(names_in(preset))
    rows: list[tuple[str, str, str, SetBy]] = []
    for name, value, description in flattened(config):
        set_by: SetBy = "user" if name in given else "preset" if name in filled else "default"
        rows.append((name, shown(value), description, set_by))
    return tuple(rows)


def descriptions(settings: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str]]:
    """(dotted name, description) of every field of a class of settings, section by section."""
    for name, field in settings.model_fields.items():
        for section in _sections(field.annotation):
            yield from descriptions(section, f"{prefix}{name}.")
        if field.description:
            yield f"{prefix}{name}", field.description


def _sections(annotation: object) -> Iterator[type[BaseModel]]:
    """Classes of settings within an annotation, such as those of a dict."""
    if _is_section(annotation):
        yield annotation
    for part in get_args(annotation):
        yield from _sections(part)


def _is_section(annotation: object) -> TypeGuard[type[BaseModel]]:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def names_given(record: BaseModel, prefix: str = "") -> Iterator[str]:
    """Dotted names of the fields that a person gave."""
    for name in type(record).model_fields:
        value = getattr(record, name)
        if isinstance(value, BaseModel):
            yield from names_given(value, f"{prefix}{name}.")
        elif isinstance(value, dict) and any(isinstance(item, BaseModel) for item in value.values()):
            for key, item in value.items():
                yield from names_given(item, f"{prefix}{name}.{key}.")
        elif name in record.model_fields_set and value is not None:  # None says: not set
            yield f"{prefix}{name}"


def names_in(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Dotted names of nested values."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from names_in(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def shown(value: object) -> str:
    """`value` in words."""
    if value is None:
        return NOT_SET
    if isinstance(value, bool):
        return YES if value else NO
    if isinstance(value, tuple | list):
        return ", ".join(shown(item) for item in value) or NONE
    if isinstance(value, dict):
        return ", ".join(f"{key}: {shown(item)}" for key, item in value.items()) or NONE
    return str(value)


def spoken_value(value: str) -> str:
    """A value of `settings_rows` for a reader: numbers and names, ``none`` among them, stay as they are typed."""
    return t(value) if value in {NOT_SET, YES, NO} else value


def set_by_user(config: CompareConfig | AssessConfig) -> tuple[str, ...]:
    """Dotted names of the fields the user set."""
    return tuple(field for field, *_, who in settings_rows(config) if who == "user")
