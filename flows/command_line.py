"""From arguments to a validated `CompareConfig`, without importing Prefect or torch.

Order of precedence, last wins: preset, TOML file (``--config``), named options,
``--set section.field=value``. Every message names the field and the remedy.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import textwrap
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from flows.console import install_filter, prepare_environment
from flows.preflight import check_ahead
from flows.temporary_server import start_temporary_server
from medcompare import __version__
from medcompare.base.errors import ConfigError, InputError, UnexpectedError, redact
from medcompare.base.file_access import keep_private
from medcompare.base.file_names import escape_name, is_text
from medcompare.config.errors import validated
from medcompare.config.form import takes_text
from medcompare.config.presets import PRESETS, merged
from medcompare.config.schema import CompareConfig
from medcompare.models.zoo import MODELS
from medcompare.runs.prefect_server import HEALTH_TIMEOUT_S, bypass_proxy, check_proxies, check_server
from medcompare.training.progress import training_display

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from medcompare.runs.result import RunResult

SUCCESS, FAILURE, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130

OPTIONS: dict[str, tuple[str, str]] = {
    "data": ("data.source", "folder with one sub-folder per class, or a CSV with path,label[,patient_id]"),
    "positive-class": ("data.positive_class", "name of the positive class (default: 'cancer')"),
    "weights-dir": ("train.weights_dir", "folder with pretrained weight files"),
    "name": ("name", "name of the run"),
    "out": ("out", "folder that receives the runs (default: runs)"),
    "store": ("store", "folder of the cache (default: .medcompare)"),
    "seed": ("seed", "seed of split, training and bootstrap (default: 0)"),
}
"""Named option -> (field it fills, help)."""

ESCAPED = ("data.source", "data.positive_class")
"""Fields that may name a file of any bytes, as `medcompare.base.file_names` writes it."""


def build_parser() -> argparse.ArgumentParser:
    """Parser of ``python -m flows.compare``."""
    parser = argparse.ArgumentParser(
        prog="python -m flows.compare",
        description="Compare image classifiers fairly: ingest, split, train, evaluate, decide, report.",
        epilog="Without --data the embedded demonstration data are used. "
        "Exit status: 0 success, 2 bad input or configuration, 1 failure, 130 interrupted.",
    )
    for option in ("data", "positive-class"):
        parser.add_argument(f"--{option}", metavar=option.split("-")[0].upper(), help=OPTIONS[option][1])
    parser.add_argument(
        "--preset",
        choices=list(PRESETS),
        help="values for the fields you leave alone (default: published with --data, else demo)",
    )
    known = ", ".join(name for name in MODELS if not name.startswith("test_"))
    parser.add_argument("--models", metavar="A,B", help=f"models to compare, from: {known}")
    for option in ("seed", "weights-dir", "name", "out", "store"):
        metavar = {"seed": "N", "weights-dir": "DIR", "name": "NAME"}.get(option, "DIR")
        parser.add_argument(f"--{option}", metavar=metavar, help=OPTIONS[option][1])
    add_common_arguments(parser)
    return parser


def config_from_arguments(arguments: argparse.Namespace) -> CompareConfig:
    """Validated configuration of a comparison.

    Raises
    ------
    ConfigError
        Naming the field, what was given, and what is allowed.
    """
    named = named_values(arguments, OPTIONS)
    if arguments.preset is not None:
        named["preset"] = arguments.preset
    if arguments.models is not None:
        named["models"] = names_in(arguments.models)
    return validated(CompareConfig, all_values(arguments, named, CompareConfig))


def named_values(arguments: argparse.Namespace, options: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    """Nested values of the named `options` that were given.

    Raises
    ------
    ConfigError
        If a folder that we write to has a name that is not UTF-8.
    """
    named: dict[str, Any] = {}
    for option, (field, _) in options.items():
        given = getattr(arguments, option.replace("-", "_"))
        if given is None:
            continue
        if not is_text(given) and field not in ESCAPED:
            msg = (
                f"--{option} {given}: the name holds bytes that are not UTF-8. "
                "Rename it, or choose another; only images may have such names."
            )
            raise ConfigError(msg)
        put(named, field, given if is_text(given) else escape_name(given))
    return named


def all_values(
    arguments: argparse.Namespace, named: dict[str, Any], model: type[BaseModel]
) -> dict[str, Any]:
    """Values of the TOML file for `model`, with the `named` options and ``--set`` laid on top.

    Raises
    ------
    ConfigError
        If a ``--set`` is no assignment, or the file or a field cannot be used.
    """
    for assignment in arguments.assignments:
        field, separator, text = assignment.partition("=")
        if not separator or not field:
            msg = f"--set {assignment}: write SECTION.FIELD=VALUE, e.g. --set evaluate.n_resamples=2000"
            raise ConfigError(msg)
        value = parse_value(text.strip())
        if isinstance(value, int | float) and takes_text(_type_of(model, field.strip())):
            value = text.strip()  # a class called 1e3 is not called 1000.0
        put(named, field.strip(), value)
    return merged(read_settings(arguments.config) if arguments.config is not None else {}, named)


def _type_of(model: type[BaseModel], field: str) -> Any:  # noqa: ANN401 - any type expression
    """Type of the dotted `field`; None where there is none, which is refused later, with its name."""
    annotation: Any = model
    for name in field.split("."):
        inner = annotation.model_fields.get(name) if hasattr(annotation, "model_fields") else None
        annotation = None if inner is None else inner.annotation
    return annotation


def names_in(text: str) -> list[str]:
    """Names in a comma-separated list."""
    return [name.strip() for name in text.split(",") if name.strip()]


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments that every flow has: ``--config``, ``--set`` and ``--fields``."""
    parser.add_argument("--version", action="version", version=f"medcompare {__version__}")
    parser.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        help="TOML file with the same fields, or settings.json of a run",
    )
    parser.add_argument(
        "--set",
        dest="assignments",
        metavar="SECTION.FIELD=VALUE",
        action="append",
        default=[],
        help="set any field, e.g. --set evaluate.n_resamples=2000 (repeatable)",
    )
    parser.add_argument("--fields", action="store_true", help="list every field with its meaning, and exit")


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
    *sections, last = field.split(".")
    for section in sections:
        inner: Any = values.setdefault(section, {})
        if not isinstance(inner, dict):
            msg = f"{field}: '{section}' is a field, not a section"
            raise ConfigError(msg)
        values = inner
    values[last] = value


def main(argv: Sequence[str] | None = None) -> int:
    """Run a comparison from the command line; returns the exit status."""
    keep_private()
    arguments = build_parser().parse_args(argv)
    if arguments.fields:
        print("\n".join(list_fields(CompareConfig)))
        return SUCCESS
    try:
        config = config_from_arguments(arguments)
        check_ahead(config)
    except InputError as error:
        return refuse(error)
    except Exception as error:  # noqa: BLE001 - no traceback may print data
        return fail(error)
    return run_flow(lambda: _compare(config))


def _compare(config: CompareConfig) -> None:
    from flows.compare import compare

    print_result(compare(config))


def run_flow(start: Callable[[], None]) -> int:
    """Call `start` with a readable terminal; turns what goes wrong into an exit status."""
    try:
        check_proxies(os.environ)
        bypass_proxy(os.environ)
        check_server(os.environ, Path.cwd(), timeout_s=HEALTH_TIMEOUT_S)
    except InputError as error:
        return refuse(error)
    prepare_environment()
    start_temporary_server()
    # A shell that starts us in the background ignores Ctrl-C for us; a run must be stoppable.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    print("Starting Prefect ...", file=sys.stderr)
    console = install_filter()
    try:
        with training_display(console):
            start()
    except KeyboardInterrupt:
        print("\ninterrupted: every training was stopped, nothing half-written was kept", file=sys.stderr)
        return INTERRUPTED
    except InputError as error:
        return refuse(error)
    except Exception as error:  # noqa: BLE001 - the last line of defence: one sentence, status 1
        return fail(error)
    return SUCCESS


def fail(error: Exception) -> int:
    """Print an error without the data that its message may hold; returns the exit status for it."""
    told = redact(error)
    kind = "" if isinstance(told, UnexpectedError) else f"{type(told).__name__}: "
    print(f"\nfailed: {kind}{told}", file=sys.stderr)
    return FAILURE


def refuse(error: InputError) -> int:
    """Print what is wrong with the input; returns the exit status for it."""
    print(f"error: {error}", file=sys.stderr)
    return BAD_INPUT


def print_result(result: RunResult) -> None:
    """The last lines of a run: verdict, run folder, PDF."""
    print(f"\n{result.headline}\n{textwrap.fill(result.sentence, 100)}\n")
    print(f"Run folder  {result.folder}")
    print(f"Report      {result.pdf}")
