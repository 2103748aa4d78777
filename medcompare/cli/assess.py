"""``medcompare assess``: tables of predictions in, the same report out."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from medcompare.base.errors import ConfigError
from medcompare.base.hosts import split_at_commas
from medcompare.cli.options import (
    Assignments,
    ConfigFile,
    FailUnless,
    Fields,
    Name,
    Out,
    Store,
    all_values,
    list_fields,
    named_values,
    put,
)
from medcompare.cli.running import run_command
from medcompare.cli.terminal import ExitStatus
from medcompare.config.errors import validated
from medcompare.config.schema import AssessConfig

if TYPE_CHECKING:
    from medcompare.runs.result import RunResult

FIELDS = {
    "predictions": "predictions",
    "validation": "validation",
    "costs": "costs",
    "positive": "positive",
    "name": "name",
    "out": "out",
    "store": "store",
    "seed": "seed",
}
"""Option -> the field that it fills."""


def assess(
    ctx: typer.Context,
    *,
    predictions: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Table of the test subset (CSV, .xlsx, Parquet): case_id, y_true, and one probability column per "
            "model.",
        ),
    ] = None,
    validation: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Table of the validation subset, same columns: thresholds are chosen on it."
        ),
    ] = None,
    costs: Annotated[
        str | None, typer.Option(metavar="FILE", help="TOML file with one table of costs per model.")
    ] = None,
    positive: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Values of y_true that are positive, where they are not 0/1."),
    ] = None,
    models: Annotated[
        str | None,
        typer.Option(
            metavar="A,B", help="Columns that hold the scores of models; all others are left alone."
        ),
    ] = None,
    subgroups: Annotated[
        str | None, typer.Option(metavar="A,B", help="Columns to report by subgroup.")
    ] = None,
    thresholds: Annotated[
        list[str] | None,
        typer.Option(
            "--threshold",
            metavar="MODEL=VALUE",
            help="Operating threshold of a model, where there is no validation file (repeatable).",
        ),
    ] = None,
    scores_are_not_probabilities: Annotated[
        bool,
        typer.Option(
            "--scores-are-not-probabilities",
            help="Allow scores outside [0, 1]; switches calibration and net benefit off.",
        ),
    ] = False,
    scores_are_percentages: Annotated[
        bool,
        typer.Option("--scores-are-percentages", help="Scores run from 0 to 100; divide them by 100."),
    ] = False,
    seed: Annotated[str | None, typer.Option(metavar="N", help="Seed of the bootstrap (default: 0).")] = None,
    name: Name = None,
    out: Out = None,
    store: Store = None,
    config: ConfigFile = None,
    assignments: Assignments = None,
    fail_unless: FailUnless = None,
    fields: Fields = False,
) -> int:
    """Compare models from their predictions alone, without training.

    The statistics, the verdict and the report are the same; docs/prediction-tables.md shows tables that work.
    """
    if fields:
        print("\n".join(list_fields(AssessConfig)))
        return ExitStatus.SUCCESS

    def prepare() -> Callable[[], "RunResult"]:
        from medcompare.predictions.table import read_tables

        settings = assess_config(ctx)
        tables = read_tables(settings)
        # Drawing is imported late: a bad table is answered without it.
        from medcompare.report.collect import words_of_tables
        from medcompare.report.fonts import require_fonts

        require_fonts(words_of_tables(settings, tables))
        return lambda: _assess(settings)

    return run_command(prepare, fail_unless)


def assess_config(ctx: typer.Context) -> AssessConfig:
    """Validated configuration from the options of the command; raises ConfigError naming field and remedy."""
    given = ctx.params
    named = named_values(given, FIELDS)
    if given["models"] is not None:
        named["models"] = split_at_commas(given["models"])
    if given["subgroups"] is not None:
        put(named, "evaluate.subgroups", split_at_commas(given["subgroups"]))
    for assignment in given["thresholds"] or ():
        model, separator, text = assignment.rpartition("=")
        try:
            threshold = float(text)
        except ValueError:
            separator = ""
        if not separator or not model or not math.isfinite(threshold):
            msg = f"--threshold {assignment}: write MODEL=VALUE with a finite number, e.g. --threshold resnet50=0.5"
            raise ConfigError(msg)
        named.setdefault("thresholds", {})[model] = threshold
    if given["scores_are_not_probabilities"]:
        named["scores_are_probabilities"] = False
    if given["scores_are_percentages"]:
        named["scores_are_percentages"] = True
    values = all_values(given["config"], given["assignments"] or (), named, AssessConfig)
    if "predictions" not in values:
        from medcompare.predictions.table import EXAMPLES

        msg = (
            "--predictions FILE is required: a table with case_id, y_true and one probability column per model "
            f"({EXAMPLES})"
        )
        raise ConfigError(msg)
    return validated(AssessConfig, values)


def _assess(config: AssessConfig) -> "RunResult":
    from flows.assess import assess as flow

    return flow(config)
