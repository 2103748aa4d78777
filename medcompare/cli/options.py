"""Options that several commands share, and the configuration they fill; imports neither Prefect nor torch.

Order of precedence, last wins: preset, TOML file (``--config``), named options,
``--set section.field=value``. Every message names the field and the remedy.
"""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel

from medcompare.base.errors import ConfigError
from medcompare.base.file_names import escape_name, is_text
from medcompare.base.hosts import split_at_commas
from medcompare.config.form import takes_text
from medcompare.config.presets import merged
from medcompare.stats.records import Outcome

ESCAPED = ("data.source", "data.image_root", "data.positive", "data.exclude")
"""Fields that may name a file of any bytes, as `medcompare.base.file_names` writes it."""

Name = Annotated[str | None, typer.Option(metavar="NAME", help="Name of the run.")]
Out = Annotated[
    str | None, typer.Option(metavar="DIR", help="Folder that receives the runs (default: runs).")
]
Store = Annotated[str | None, typer.Option(metavar="DIR", help="Folder of the cache (default: .medcompare).")]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", help="TOML file with the same fields, or settings.json of a run."
    ),
]
Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="SECTION.FIELD=VALUE",
        help="Set any field, e.g. --set evaluate.n_resamples=2000 (repeatable).",
    ),
]
OutFolder = Annotated[Path, typer.Option(metavar="DIR", help="Folder of the runs.")]
StoreFolder = Annotated[Path, typer.Option(metavar="DIR", help="Folder of the cache.")]
Fields = Annotated[bool, typer.Option("--fields", help="List every field with its meaning, and exit.")]
FailUnless = Annotated[
    list[str] | None,
    typer.Option(
        metavar="VERDICT",
        help=f"End with exit status 3 unless the verdict is this one (repeatable, or A,B): {', '.join(Outcome)}.",
    ),
]


def accepted_outcomes(given: Sequence[str] | None) -> tuple[Outcome, ...]:
    """Outcomes named by ``--fail-unless``; raises ConfigError where one is unknown."""
    names = [name for text in given or () for name in split_at_commas(text)]
    for name in names:
        if name not in set(Outcome):
            msg = f"--fail-unless {name}: no such verdict; there are: {', '.join(Outcome)}"
            raise ConfigError(msg)
    if given and not names:
        msg = f"--fail-unless: name at least one of {', '.join(Outcome)}"
        raise ConfigError(msg)
    return tuple(Outcome(name) for name in names)


def named_values(given: Mapping[str, str | None], fields: Mapping[str, str]) -> dict[str, Any]:
    """Nested values of the options that were `given`; `fields` names the field of each.

    Raises
    ------
    ConfigError
        If a folder that we write to has a name that is not UTF-8.
    """
    named: dict[str, Any] = {}
    for option, field in fields.items():
        text = given[option]
        if text is None:
            continue
        if not is_text(text) and field not in ESCAPED:
            msg = (
                f"--{option.replace('_', '-')} {text}: the name holds bytes that are not UTF-8. "
                "Rename it, or choose another; only images may have such names."
            )
            raise ConfigError(msg)
        put(named, field, text if is_text(text) else escape_name(text))
    return named


def all_values(
    file: Path | None, assignments: Sequence[str], named: dict[str, Any], model: type[BaseModel]
) -> dict[str, Any]:
    """Values of the TOML file for `model`, with the `named` options and ``--set`` laid on top.

    Raises
    ------
    ConfigError
        If a ``--set`` is no assignment, or the file or a field cannot be used.
    """
    for assignment in assignments:
        field, separator, text = assignment.partition("=")
        if not separator or not field:
            msg = f"--set {assignment}: write SECTION.FIELD=VALUE, e.g. --set evaluate.n_resamples=2000"
            raise ConfigError(msg)
        value = parse_value(text.strip())
        if isinstance(value, int | float) and takes_text(_type_of(model, field.strip())):
            value = text.strip()  # a class called 1e3 is not called 1000.0
        put(named, field.strip(), value)
    return merged(read_settings(file) if file is not None else {}, named)


def _type_of(model: type[BaseModel], field: str) -> Any:  # noqa: ANN401 - any type expression
    """Type of the dotted `field`; None where there is none, which is refused later, with its name."""
    annotation: Any = model
    for name in field.split("."):
        inner = annotation.model_fields.get(name) if hasattr(annotation, "model_fields") else None
        annotation = None if inner is None else inner.annotation
    return annotation


def list_fields(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """One line per field: dotted name, default, description."""
    for name, field in model.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from list_fields(annotation, f"{prefix}{name}.")
        else:
            default = (
                "(required)" if field.is_required() else f"[{field.get_default(call_default_factory=True)}]"
            )
            yield f"{prefix}{name} {default}\n    {field.description}"


def read_settings(path: Path) -> dict[str, Any]:
    """Content of a TOML file, or of a run's settings.json; raises ConfigError naming the file and the line."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".json":
            return dict(json.loads(text))
        return tomllib.loads(text)
    except FileNotFoundError:
        msg = f"--config {path}: no such file"
        raise ConfigError(msg) from None
    except (OSError, UnicodeDecodeError) as error:
        msg = f"--config {path}: cannot be read ({error})"
        raise ConfigError(msg) from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        msg = f"--config {path}: not valid TOML: {error}"
        raise ConfigError(msg) from None
    except (ValueError, TypeError) as error:
        msg = f"--config {path}: not a JSON object: {error}"
        raise ConfigError(msg) from None


def parse_value(text: str) -> Any:  # noqa: ANN401 - any JSON value
    """`text` as JSON where it is JSON (numbers, true, null, lists), else the text itself."""
    if text in {"None", "none"}:
        # 'none' is also a legal word of some fields; pydantic sees the text first.
        return None if text == "None" else text
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def put(values: dict[str, Any], field: str, value: Any) -> None:  # noqa: ANN401 - any JSON value
    """Set the dotted `field` in nested `values`.

    Raises
    ------
    ConfigError
        If what stands before a dot is a field, not a section.
    """
    # Quotes as in TOML: the name of a model may hold dots.
    *sections, last = (part.strip('"') for part in re.findall(r'"[^"]*"|[^.]+', field) or [field])
    for section in sections:
        inner: Any = values.setdefault(section, {})
        if not isinstance(inner, dict):
            msg = f"{field}: '{section}' is a field, not a section"
            raise ConfigError(msg)
        values = inner
    values[last] = value
