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
    published: Annotated[
        str | None,
        typer.Option(
            metavar="acc=A,n=N,acc2=B",
            help="Only print how probable it is that a paper's winner (accuracy A) is no better than the second "
            "(accuracy B) on its N cases, e.g. acc=0.92,n=250,acc2=0.90. Add both=0.85 where the share of cases that "
            "both got right is known.",
        ),
    ] = None,
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
    if published is not None:
        print("\n".join(published_claim(published, table=predictions)))
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


EXAMPLE = "e.g. --published acc=0.92,n=250,acc2=0.90"
LEAST_SHOWN = 1e-4


def published_claim(text: str, *, table: str | None = None) -> list[str]:
    """What is printed for ``acc=A,n=N,acc2=B[,both=C]``; raises ConfigError naming what is wrong, with an example."""
    from medcompare.stats.more_accurate import probability_of_false_claim

    if table is not None:
        msg = f"--published needs no table: leave out --predictions {table}, or --published"
        raise ConfigError(msg)
    given = _numbers_of_a_claim(text)
    words = {"acc": "accuracy of the winner", "n": "number of test cases", "acc2": "accuracy of the second"}
    if missing := [f"{name} ({what})" for name, what in words.items() if name not in given]:
        msg = f"--published: without {', '.join(missing)}, {EXAMPLE}"
        raise ConfigError(msg)
    n = given.pop("n")[0]
    if not (n >= 1 and n.is_integer()):
        msg = f"--published: n={n:g} is no number of test cases, {EXAMPLE}"
        raise ConfigError(msg)
    for name, (share, _) in given.items():
        if not 0 <= share <= 1:
            hint = f": write {name}={share / 100:g}" if 2 <= share <= 100 else ""
            msg = f"--published: {name}={share:g} is no share from 0 to 1{hint}"
            raise ConfigError(msg)
    first, second = given["acc"][0], given["acc2"][0]
    if second > first:
        msg = (
            f"--published: the claimed winner comes first: --published acc={second:g},n={n:g},acc2={first:g}"
        )
        raise ConfigError(msg)

    def shown(both: float | None) -> str:
        probability = probability_of_false_claim(first, second, int(n), both)
        return f"{probability:.2g}" if probability >= LEAST_SHOWN else f"below {LEAST_SHOWN:g}"

    # As Brown & Heathers (2017), Soc Psychol Personal Sci 8:363, ask of means of whole numbers.
    odd = [text for share, text in given.values() if abs(round(n * share) / n - share) > _half_a_digit(text)]
    lines = [
        f"Claim: accuracy {first:g} is more than {second:g}, on {n:.0f} cases.",
        *(f"No count of {n:.0f} cases rounds to {text}: is n the number of test cases?" for text in odd),
        "Probability that the claim is false (the second is truly as accurate, or more):",
    ]
    if "both" in given:
        both = given["both"][0]
        lines.append(f"  {shown(both)}  both right on {both:.1%} of the cases, as given")
    else:
        lines += [
            f"  {shown(second)}  if the two err on the same cases as far as possible (both right on {second:.1%})",
            f"  {shown(None)}  if their errors have nothing to do with each other (both right on {first * second:.1%})",
            "Models mostly err on the same cases, so it lies between; add both=SHARE where that is known.",
        ]
    lines += [
        "Chance in the choice of cases only, which are taken to be independent: with several images per patient, n is",
        "nearer to the number of patients. Above 0.05 the authors call the probability high.",
        "Method: Christodoulou et al. 2025, False promises in medical imaging AI?, arXiv 2505.04720.",
    ]
    return lines


def _half_a_digit(number: str) -> float:
    """How far what was rounded to `number` may be away from it."""
    digits = number.removesuffix("%")
    return (0.5 + 1e-9) * 10.0 ** -len(digits.partition(".")[2]) / (1 if digits == number else 100)


def _numbers_of_a_claim(text: str) -> dict[str, tuple[float, str]]:
    """Number, and how it was written, by name; ``92%`` is 0.92."""
    given: dict[str, tuple[float, str]] = {}
    for part in split_at_commas(text):
        name, _, value = (word.strip() for word in part.casefold().partition("="))
        try:
            number = float(value.removesuffix("%")) / (100 if value.endswith("%") else 1)
        except ValueError:
            msg = (
                f"--published {text}: '{part}' is not NAME=NUMBER with a point as decimal mark; commas stand between "
                f"the numbers, {EXAMPLE}"
            )
            raise ConfigError(msg) from None
        if name not in {"acc", "n", "acc2", "both"}:
            msg = f"--published: '{name}' is none of acc, n, acc2, both, {EXAMPLE}"
            raise ConfigError(msg)
        if name in given:
            msg = f"--published: {name} is given twice, {EXAMPLE}"
            raise ConfigError(msg)
        given[name] = number, value
    return given


def _assess(config: AssessConfig) -> "RunResult":
    from flows.assess import assess as flow
    from flows.temporary_server import prepare_meanwhile

    prepare_meanwhile()
    return flow(config)
