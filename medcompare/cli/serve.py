"""``medcompare serve``: server, worker and report pages of a checkout, for a trial."""

from typing import Annotated, Literal

import typer

from medcompare.cli.terminal import ExitStatus


def serve(
    action: Annotated[
        Literal["start", "stop", "status", "run", "wait"],
        typer.Argument(
            help="start: in the background; run: until Ctrl-C; wait: until the server answers.",
        ),
    ],
    *,
    port: Annotated[int, typer.Option(min=1024, max=65535, help="Port of the server.")] = 4200,
    reports_port: Annotated[
        int | None,
        typer.Option(min=1024, max=65535, help="Port of the reports; not given: the one after the server's."),
    ] = None,
) -> ExitStatus:
    """Start, stop or look at Prefect and the reports, for a trial."""
    from flows import serving

    answers = getattr(serving, action)(serving.Place(port, reports_port or port + 1))
    return ExitStatus.FAILURE if answers is False else ExitStatus.SUCCESS
