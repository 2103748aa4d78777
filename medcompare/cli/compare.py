"""``medcompare compare``: images in, report out."""

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
)
from medcompare.cli.running import run_command
from medcompare.cli.terminal import ExitStatus
from medcompare.config.errors import validated
from medcompare.config.presets import PRESETS
from medcompare.config.schema import CompareConfig
from medcompare.models.zoo import BY_NAME, LISTED, PROBE, TIMM

if TYPE_CHECKING:
    from medcompare.runs.result import RunResult

FIELDS = {
    "data": "data.source",
    "image_root": "data.image_root",
    "path_column": "data.path_column",
    "label_column": "data.label_column",
    "group_by": "data.group_by",
    "positive": "data.positive",
    "exclude": "data.exclude",
    "published_split": "split.published",
    "hold_out": "split.hold_out",
    "stratify_by": "split.stratify_by",
    "preset": "preset",
    "weights_dir": "train.weights_dir",
    "name": "name",
    "out": "out",
    "store": "store",
    "seeds": "seeds",
    "folds": "folds",
    "seed": "seed",
}
"""Option -> the field that it fills."""


def compare(
    ctx: typer.Context,
    *,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="Folder with one sub-folder per class, or a table (CSV, .xlsx) with path,label[,patient_id]; an "
            "archive of these, .npz, https://...zip or s3://bucket/folder.",
        ),
    ] = None,
    image_root: Annotated[
        str | None,
        typer.Option(
            metavar="DIR", help="Folder that the paths of a table start from (default: the table's own)."
        ),
    ] = None,
    path_column: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN", help="Column that names the image files (default: path, or as usual)."
        ),
    ] = None,
    label_column: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Column that names the class (default: label, or as usual)."),
    ] = None,
    group_by: Annotated[
        str | None,
        typer.Option(
            metavar="A,B", help="Columns of which equal values stay in one subset, such as lesion_id."
        ),
    ] = None,
    positive: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Positive classes, all others are negative (default: 'cancer')."),
    ] = None,
    exclude: Annotated[str | None, typer.Option(metavar="A,B", help="Classes to leave out.")] = None,
    published_split: Annotated[
        str | None,
        typer.Option(
            metavar="CHOICE",
            help="Where the images come split into training and test: keep this split, or pool all and split again.",
            autocompletion=lambda: ["keep", "pool"],
        ),
    ] = None,
    hold_out: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN=VALUE", help="Test on the images with this value, such as site=B or site=B,C."
        ),
    ] = None,
    stratify_by: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN", help="Spread the values of this column, such as site, evenly over the subsets."
        ),
    ] = None,
    external: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=PATH",
            help="Images of another hospital, read and labelled as --data is, or as --set external.NAME.positive=A,B, "
            ".image_root=DIR and such say: the finished models and thresholds are tested on them too (repeatable).",
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=f"Values for the fields you leave alone: {', '.join(PRESETS)} (default: published with --data, "
            "else demo).",
            autocompletion=lambda: list(PRESETS),
        ),
    ] = None,
    models: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help=f"Models to compare, from: {', '.join(LISTED)}; {BY_NAME}.",
            autocompletion=lambda: [*LISTED, *(f"{PROBE}{name}" for name in LISTED), TIMM],
        ),
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(
            metavar="K",
            help="Trainings per model; the verdict rests on their mean (default: 3; quick and demo: 1). Takes K times "
            "as long.",
        ),
    ] = None,
    folds: Annotated[
        str | None,
        typer.Option(
            metavar="K",
            help="Also cross-validate in K folds outside the test subset: K more trainings per model.",
        ),
    ] = None,
    seed: Annotated[
        str | None, typer.Option(metavar="N", help="Seed of split, training and bootstrap (default: 0).")
    ] = None,
    weights_dir: Annotated[
        str | None, typer.Option(metavar="DIR", help="Folder with pretrained weight files.")
    ] = None,
    name: Name = None,
    out: Out = None,
    store: Store = None,
    config: ConfigFile = None,
    assignments: Assignments = None,
    fail_unless: FailUnless = None,
    fields: Fields = False,
) -> int:
    """Compare image classifiers, from images to a PDF report.

    Ingest, split, train, evaluate, decide, report. Without --data the embedded demonstration data are used.
    """
    if fields:
        print("\n".join(list_fields(CompareConfig)))
        return ExitStatus.SUCCESS

    def prepare() -> Callable[[], "RunResult"]:
        from flows.preflight import check_ahead

        settings = compare_config(ctx)
        check_ahead(settings)
        return lambda: _compare(settings)

    return run_command(prepare, fail_unless)


def compare_config(ctx: typer.Context) -> CompareConfig:
    """Validated configuration of a comparison, from the options of ``medcompare compare``.

    Raises
    ------
    ConfigError
        Naming the field, what was given, and what is allowed.
    """
    given = ctx.params
    named = named_values(given, FIELDS)
    if given["models"] is not None:
        named["models"] = split_at_commas(given["models"])
    for assignment in given["external"] or ():
        label, separator, place = assignment.partition("=")
        if not separator or not label or not place:
            msg = f"--external {assignment}: write NAME=PATH, e.g. --external hospital-b=other_images"
            raise ConfigError(msg)
        if label in named.setdefault("external", {}):
            msg = f"--external {assignment}: the name {label} is given twice; name each set differently"
            raise ConfigError(msg)
        named["external"][label] = {"source": place}
    values = all_values(given["config"], given["assignments"] or (), named, CompareConfig)
    return validated(CompareConfig, values)


def _compare(config: CompareConfig) -> "RunResult":
    from flows.compare import compare as flow
    from flows.temporary_server import prepare_meanwhile

    prepare_meanwhile()
    return flow(config)
