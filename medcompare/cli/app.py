"""The command ``medcompare``; ``python -m flows.compare`` and ``python -m flows.assess`` are two of its commands."""

from collections.abc import Sequence
from typing import Annotated

import typer

from medcompare import __version__
from medcompare.cli.assess import assess
from medcompare.cli.compare import compare
from medcompare.cli.doctor import doctor
from medcompare.cli.running import EXIT_STATUSES

app = typer.Typer(
    name="medcompare",
    help="A fair comparison of medical image classifiers, from images to a PDF report.",
    epilog=EXIT_STATUSES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: the same text in every terminal and in the documentation
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (compare, assess):
    app.command(epilog=EXIT_STATUSES)(command)
PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


@app.command(context_settings=PASSED_ON, add_help_option=False)
def history(ctx: typer.Context) -> None:
    """List recorded runs, or say what changed from one to another."""
    from medcompare.runs.history_view import main as view

    raise typer.Exit(view(ctx.args))


@app.command(context_settings=PASSED_ON, add_help_option=False)
def prune(ctx: typer.Context) -> None:
    """Free the disk of what no kept run needs; a dry run unless told otherwise."""
    from medcompare.runs.prune import main as housekeeping

    raise typer.Exit(housekeeping(ctx.args))


@app.command(context_settings=PASSED_ON, add_help_option=False)
def serve(ctx: typer.Context) -> None:
    """Start, stop or look at server, worker and reports of a checkout, for a trial."""
    from flows.serving import main as serving

    raise typer.Exit(serving(ctx.args))


app.command(epilog="Exit status: 0 no check failed, 1 a check failed, 2 bad input.")(doctor)


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - the signature of a callback
    if wanted:
        print(f"medcompare {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    try:
        app(arguments, prog_name="medcompare")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0
