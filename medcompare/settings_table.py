"""The configuration as rows a person can read: field, value, meaning, and who set it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel

from medcompare.presets import PRESETS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from medcompare.config import AssessConfig, CompareConfig

SetBy = Literal["user", "preset", "default"]


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

    A value equal to the default counts as the default's, also where the user typed it;
    one that the preset would have given counts as the preset's.
    """
    cls: type[BaseModel] = type(config)
    defaults = {name: value for name, value, _ in flattened(cls.model_construct())}
    preset_name = getattr(config, "preset", None)
    filled = cls.model_validate(PRESETS[preset_name]) if preset_name is not None else cls.model_construct()
    preset = {name: value for name, value, _ in flattened(filled)}
    rows: list[tuple[str, str, str, SetBy]] = []
    for name, value, description in flattened(config):
        if value == defaults.get(name):
            set_by: SetBy = "default"
        elif value == preset.get(name):
            set_by = "preset"
        else:
            set_by = "user"
        rows.append((name, shown(value), description, set_by))
    return tuple(rows)


def shown(value: object) -> str:
    """`value` in words."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple | list):
        return ", ".join(shown(item) for item in value) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {shown(item)}" for key, item in value.items()) or "none"
    return str(value)


def set_by_user(config: CompareConfig | AssessConfig) -> tuple[str, ...]:
    """Dotted names of the fields the user set."""
    return tuple(field for field, *_, who in settings_rows(config) if who == "user")
