"""``medcompare predict``: scores of new images by an exported network."""

import sys
import time
from collections.abc import Callable
from typing import Annotated

import typer

from medcompare.base.errors import ConfigError
from medcompare.base.hosts import split_at_commas
from medcompare.cli.options import Fields, all_values, list_fields, named_values, put
from medcompare.cli.terminal import ExitStatus
from medcompare.config.errors import validated
from medcompare.config.predict import PredictConfig

FIELDS = {
    "export": "export",
    "data": "data.source",
    "image_root": "data.image_root",
    "path_column": "data.path_column",
    "out": "scores",
    "engine": "engine",
    "device": "device",
}


def predict(
    ctx: typer.Context,
    export: Annotated[
        str | None, typer.Argument(metavar="EXPORT", help="Folder that medcompare export wrote.")
    ] = None,
    *,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="PLACE",
            help="New images: a folder, a table with a column of paths, an archive, .npz, DICOM, an address; labels "
            "are not needed.",
        ),
    ] = None,
    out: Annotated[
        str | None, typer.Option(metavar="FILE", help="Table to write (default: scores.csv).")
    ] = None,
    image_root: Annotated[
        str | None, typer.Option(metavar="DIR", help="Folder that the paths of a table start from.")
    ] = None,
    path_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="Column of a table that names the image files.")
    ] = None,
    group_by: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Columns of a table that say which images are of one patient."),
    ] = None,
    engine: Annotated[
        str | None, typer.Option(metavar="NAME", help="auto, onnxruntime or torch (default: auto).")
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Where torch computes: cpu, cuda, mps or auto (default: cpu)."),
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="Set any field, e.g. --set batch_size=64 or --set data.patient_pattern=REGEX (repeatable).",
        ),
    ] = None,
    fields: Fields = False,
) -> int:
    """Score new images with an exported network.

    Calibrated probability, decision at the frozen threshold, whom to refer to a person, and images unlike the training
    data. Neither Prefect nor the cache of the run is needed. A call that was cut off goes on when it is repeated.
    """
    if fields:
        print("\n".join(list_fields(PredictConfig)))
        return ExitStatus.SUCCESS
    config = predict_config(ctx)
    from medcompare.handover.predict import predict as score
    from medcompare.handover.predict import sentences

    with _Bar() as progress:
        scores = score(config, progress=progress)
    for note in scores.notes:
        print(note)
    print("\n".join(sentences(scores)))
    print(f"Scores      {scores.table}" + (f"\nPatients    {scores.patients}" if scores.patients else ""))
    return ExitStatus.BAD_INPUT if scores.counts["not_scored"] else ExitStatus.SUCCESS


def predict_config(ctx: typer.Context) -> PredictConfig:
    """Validated configuration from the options of the command; raises ConfigError naming field and remedy."""
    given = ctx.params
    named = named_values(given, FIELDS)
    if given["group_by"] is not None:
        put(named, "data.group_by", split_at_commas(given["group_by"]))
    values = all_values(None, given["assignments"] or (), named, PredictConfig)
    if given["export"] is None or "source" not in values.get("data", {}):
        msg = (
            f"name the export and --data: medcompare predict {given['export'] or 'EXPORT'} --data new_images"
        )
        raise ConfigError(msg)
    return validated(PredictConfig, values)


LINE_EVERY_S = 60.0


class _Bar:
    """A progress bar on standard error; where that is no terminal, such as the log of a job, a line a minute."""

    def __enter__(self) -> Callable[[int, int], None]:
        from rich.console import Console
        from rich.progress import Progress

        self._progress = Progress(
            console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()
        )
        self._progress.start()
        task = self._progress.add_task("scoring")
        told = time.monotonic()

        def tell(done: int, in_all: int) -> None:
            nonlocal told
            self._progress.update(task, completed=done, total=in_all)
            if self._progress.disable and time.monotonic() - told >= LINE_EVERY_S:
                told = time.monotonic()
                print(f"{done} of {in_all} images scored", file=sys.stderr, flush=True)

        return tell

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
