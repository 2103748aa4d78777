"""Command line of ``python -m flows.assess``; imports neither Prefect nor torch."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING

from flows.command_line import (
    SUCCESS,
    add_common_arguments,
    all_values,
    fail,
    list_fields,
    named_values,
    names_in,
    print_result,
    put,
    refuse,
    run_flow,
)
from medcompare.base.errors import ConfigError, InputError
from medcompare.base.file_access import keep_private
from medcompare.config.errors import validated
from medcompare.config.schema import AssessConfig
from medcompare.predictions.table import EXAMPLES, read_tables

if TYPE_CHECKING:
    from collections.abc import Sequence

OPTIONS: dict[str, tuple[str, str]] = {
    "predictions": (
        "predictions",
        "table of the test subset (CSV, .xlsx, Parquet): case_id, y_true, and one probability column per model",
    ),
    "validation": ("validation", "table of the validation subset, same columns: thresholds are chosen on it"),
    "costs": ("costs", "TOML file with one table of costs per model"),
    "positive-class": ("positive_class", "value of y_true that is positive, where it is not 0/1"),
    "name": ("name", "name of the run"),
    "out": ("out", "folder that receives the runs (default: runs)"),
    "store": ("store", "folder of the cache (default: .medcompare)"),
    "seed": ("seed", "seed of the bootstrap (default: 0)"),
}
"""Named option -> (field it fills, help)."""


def build_parser() -> argparse.ArgumentParser:
    """Parser of ``python -m flows.assess``."""
    parser = argparse.ArgumentParser(
        prog="python -m flows.assess",
        description="Compare models from their predictions alone: same statistics, verdict and report, no training.",
        epilog="docs/prediction-tables.md shows tables that work. "
        "Exit status: 0 success, 2 bad input or configuration, 1 failure, 130 interrupted.",
    )
    for option, (_, text) in OPTIONS.items():
        metavar = {"seed": "N", "positive-class": "NAME", "name": "NAME", "out": "DIR", "store": "DIR"}
        parser.add_argument(f"--{option}", metavar=metavar.get(option, "FILE"), help=text)
    parser.add_argument(
        "--models", metavar="A,B", help="columns that hold the scores of models; all others are left alone"
    )
    parser.add_argument("--subgroups", metavar="A,B", help="columns to report by subgroup")
    parser.add_argument(
        "--threshold",
        dest="thresholds",
        metavar="MODEL=VALUE",
        action="append",
        default=[],
        help="operating threshold of a model, where there is no validation file (repeatable)",
    )
    parser.add_argument(
        "--scores-are-not-probabilities",
        action="store_true",
        help="allow scores outside [0, 1]; switches calibration and net benefit off",
    )
    parser.add_argument(
        "--scores-are-percentages", action="store_true", help="scores run from 0 to 100; divide them by 100"
    )
    add_common_arguments(parser)
    return parser


def config_from_arguments(arguments: argparse.Namespace) -> AssessConfig:
    """Validated configuration; raises ConfigError naming field and remedy."""
    named = named_values(arguments, OPTIONS)
    if arguments.models is not None:
        named["models"] = names_in(arguments.models)
    if arguments.subgroups is not None:
        put(named, "evaluate.subgroups", names_in(arguments.subgroups))
    for assignment in arguments.thresholds:
        model, separator, text = assignment.rpartition("=")
        try:
            threshold = float(text)
        except ValueError:
            separator = ""
        if not separator or not model or not math.isfinite(threshold):
            msg = f"--threshold {assignment}: write MODEL=VALUE with a finite number, e.g. --threshold resnet50=0.5"
            raise ConfigError(msg)
        named.setdefault("thresholds", {})[model] = threshold
    if arguments.scores_are_not_probabilities:
        named["scores_are_probabilities"] = False
    if arguments.scores_are_percentages:
        named["scores_are_percentages"] = True
    values = all_values(arguments, named, AssessConfig)
    if "predictions" not in values:
        msg = (
            "--predictions FILE is required: a table with case_id, y_true and one probability column per model "
            f"({EXAMPLES})"
        )
        raise ConfigError(msg)
    return validated(AssessConfig, values)


def main(argv: Sequence[str] | None = None) -> int:
    """Assess predictions from the command line; returns the exit status."""
    keep_private()
    arguments = build_parser().parse_args(argv)
    if arguments.fields:
        print("\n".join(list_fields(AssessConfig)))
        return SUCCESS
    try:
        config = config_from_arguments(arguments)
        tables = read_tables(config)
        # Drawing is imported late: --help and a bad table are answered without it.
        from medcompare.report.collect import words_of_tables
        from medcompare.report.fonts import require_fonts

        require_fonts(words_of_tables(config, tables))
    except InputError as error:
        return refuse(error)
    except Exception as error:  # noqa: BLE001 - no traceback may print data
        return fail(error)
    return run_flow(lambda: _assess(config))


def _assess(config: AssessConfig) -> None:
    from flows.assess import assess

    print_result(assess(config))
