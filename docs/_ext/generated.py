"""Parts of pages that are generated from the code, so that they cannot disagree with it.

A line ``<!-- generated: NAME ARGUMENT -->`` of a page is replaced before the page is parsed:

``config-fields``   every field of a configuration, with its type, default, presets and meaning
``command-help``    what ``python -m MODULE --help`` prints
``record-fields``   the records of ``results.json``
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pygments.lexers import TextLexer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel
    from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[2]

UNITS = {"px": "pixels", "s": "seconds", "ms": "milliseconds", "minutes": "minutes", "mb": "megabytes"}
"""Unit of a field, by the end of its name."""


MARK = re.compile(r"^<!-- generated: ([a-z-]+) (.+) -->$", flags=re.MULTILINE)


def summary(text: str | None) -> str:
    """First paragraph of a docstring."""
    return (text or "").split("\n\n")[0].replace("``", "`")


def type_of(schema: dict[str, Any]) -> str:
    """Type and limits of a field, from its JSON Schema, in words."""
    if "$ref" in schema:
        return f"[{schema['$ref'].rsplit('/', 1)[-1]}](#{schema['$ref'].rsplit('/', 1)[-1].lower()})"
    if "anyOf" in schema:
        return " or ".join(type_of(part) for part in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    kind = {"null": "not set", "string": "text", "boolean": "true or false"}.get(
        schema.get("type", "any"), schema.get("type", "any")
    )
    if schema.get("format") == "path":
        kind = "path"
    if kind == "array":
        items = schema.get("items") or next(iter(schema.get("prefixItems", ())), {})
        kind = f"list of {type_of(items)}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        kind = f"table of {type_of(schema['additionalProperties'])}"
    limits = [
        f"{sign} {schema[key]}"
        for key, sign in (
            ("minimum", "≥"),
            ("exclusiveMinimum", ">"),
            ("maximum", "≤"),
            ("exclusiveMaximum", "<"),
        )
        if key in schema
    ]
    return f"{kind}, {', '.join(limits)}" if limits else kind


def cell(text: object) -> str:
    """Text that stays inside one cell of a Markdown table."""
    return str(text).replace("|", "\\|").replace("\n", " ")


def value(of: object) -> str:
    """A default as the command line takes it."""
    if of is None:
        return "not set"
    if of in ((), {}, ""):
        return "empty"
    if isinstance(of, bool):
        return f"`{str(of).lower()}`"
    return f"`{', '.join(of)}`" if isinstance(of, tuple) else f"`{of}`"


def sections(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """(dotted prefix, model) of a configuration and of each section in it."""
    yield prefix, model
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and hasattr(field.annotation, "model_fields"):
            yield from sections(field.annotation, f"{prefix}{name}.")


def section_table(model: type[BaseModel], prefix: str, presets: dict[str, Any]) -> Iterator[str]:
    """Lines of the table of one section."""
    properties = model.model_json_schema()["properties"]
    yield "| field | type and limits | default | meaning |"
    yield "|---|---|---|---|"
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and hasattr(field.annotation, "model_fields"):
            continue
        default = "required" if field.is_required() else value(field.get_default(call_default_factory=True))
        for preset, values in presets.items():
            found: Any = values
            for part in f"{prefix}{name}".split("."):
                found = found.get(part) if isinstance(found, dict) else None
            if found is not None and not isinstance(found, dict):
                default += f"; preset `{preset}`: `{found}`"
        unit = UNITS.get(name.rsplit("_", 1)[-1])
        kind = re.sub(r"\[(\w+)\]\(#\w+\)", r"\1", type_of(properties[name]))
        yield (
            f"| `{prefix}{name}` | {cell(kind)}{f' ({unit})' if unit else ''} | {cell(default)} "
            f"| {cell(field.description)} |"
        )


def config_fields(name: str) -> Iterator[str]:
    """Every field of ``CompareConfig`` or ``AssessConfig``: one table, then a heading and a table per section."""
    from medcompare.config import presets  # noqa: PLC0415 - pages without it import nothing
    from medcompare.config import schema as config  # noqa: PLC0415 - as above
    from medcompare.config.train import RecipeOverride  # noqa: PLC0415 - as above

    known = presets.PRESETS if name == "CompareConfig" else {}
    for prefix, model in sections(getattr(config, name)):
        if prefix:
            yield f"### {prefix.rstrip('.')}\n"
        yield f"{summary(model.__doc__)}\n"
        yield from section_table(model, prefix, known)
        yield ""
        if "recipes" in model.model_fields:
            yield f"{summary(RecipeOverride.__doc__)} As `train.recipes.MODEL.FIELD`:\n"
            yield from section_table(RecipeOverride, "", {})
            yield ""


def command_help(name: str) -> Iterator[str]:
    """What ``python -m NAME --help`` prints."""
    environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", *name.split(), "--help"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)  # noqa: S603 - ours
    yield from ("```text", done.stdout.rstrip(), "```")


def record_fields(name: str) -> Iterator[str]:
    """The records that a pydantic model is made of: a heading and a table for each."""
    module, _, model = name.rpartition(".")
    schema = getattr(import_module(module), model).model_json_schema()
    for record, content in [(model, schema), *sorted(schema["$defs"].items())]:
        yield f"### {record}\n"
        yield f"{summary(content.get('description'))}\n"
        if "properties" not in content:
            yield f"{type_of(content)}\n"
            continue
        yield "| field | type | meaning |"
        yield "|---|---|---|"
        for field, one in content["properties"].items():
            yield f"| `{field}` | {cell(type_of(one))} | {cell(one.get('description', ''))} |"
        yield ""


MARKS = {"config-fields": config_fields, "command-help": command_help, "record-fields": record_fields}


def fill(_app: Sphinx, _page: str, content: list[str]) -> None:
    """Put what is generated in the place of each mark of a page."""

    def lines(match: re.Match[str]) -> str:
        return "\n".join(MARKS[match[1]](match[2]))

    content[0] = MARK.sub(lines, content[0])


def setup(app: Sphinx) -> dict[str, bool]:
    """Fill the marks before a page is parsed, and name the language of blocks that hold tables."""
    app.add_lexer("csv", TextLexer)
    app.connect("source-read", fill)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
