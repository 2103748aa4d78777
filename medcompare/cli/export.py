"""``medcompare export``: one network of a finished run as a folder that can be handed over."""

from pathlib import Path
from typing import Annotated

import typer

from medcompare.base.devices import DeviceSetting
from medcompare.cli.terminal import ExitStatus


def export(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Folder of a finished run, such as runs/latest.")
    ],
    *,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Which network (default: the one the verdict recommends)."),
    ] = None,
    to: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder to make (default: exports/RUN-NAME).")
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the cache of the run (default: as the run says)."),
    ] = None,
    device: Annotated[DeviceSetting, typer.Option(help="Where torch computes.")] = "cpu",
    max_error: Annotated[
        float,
        typer.Option(
            min=0,
            max=0.5,
            metavar="SHARE",
            help="Scores are referred to a person unless at most this share of validation cases beyond is wrong.",
        ),
    ] = 0.05,
    unlike_quantile: Annotated[
        float,
        typer.Option(
            min=0.5,
            max=0.9999,
            metavar="Q",
            help="An image further from the training images than this share of the validation images is flagged.",
        ),
    ] = 0.99,
) -> int:
    """Export a trained network: weights, ONNX, threshold, model card.

    What is written gives the scores of the run, from file to score, or nothing is written.
    """
    from medcompare.handover.export import export_run

    folder, made = export_run(
        run,
        to,
        model=model,
        store=store,
        device=device,
        max_error=max_error,
        quantile=unlike_quantile,
        tell=print,
    )
    print(f"Export      {folder} ({made.display_name}, seed {made.seed}; model card: README.md)")
    print(f"Score with  medcompare predict {folder} --data NEW_IMAGES")
    return ExitStatus.SUCCESS
