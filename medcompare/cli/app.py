"""The command ``medcompare``; ``python -m flows.compare`` and ``python -m flows.assess`` are two of its commands.

What a command needs for its work is imported when it works: ``--help`` answers at once.
"""

from collections.abc import Sequence
from typing import Annotated

import typer

from medcompare import __version__
from medcompare.base.file_access import keep_private
from medcompare.cli.assess import assess
from medcompare.cli.compare import compare
from medcompare.cli.doctor import doctor
from medcompare.cli.export import export
from medcompare.cli.history import history
from medcompare.cli.pdf import pdf
from medcompare.cli.predict import predict
from medcompare.cli.prune import prune
from medcompare.cli.recover import recover
from medcompare.cli.registry import registry
from medcompare.cli.reports import reports
from medcompare.cli.reproduce import reproduce
from medcompare.cli.serve import serve
from medcompare.cli.terminal import EXIT_STATUSES, exit_status

app = typer.Typer(
    name="medcompare",
    help="A fair comparison of medical image classifiers, from images to a PDF report.",
    epilog=EXIT_STATUSES,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: the same text in every terminal and in the documentation
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    compare,
    assess,
    export,
    predict,
    registry,
    pdf,
    reproduce,
    history,
    doctor,
    prune,
    serve,
    reports,
    recover,
):
    app.command(epilog=EXIT_STATUSES)(command)


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
    keep_private()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    return exit_status(lambda: app(arguments, prog_name="medcompare", standalone_mode=False))
