"""What `medcompare compare` and `medcompare assess` share: start Prefect, run the flow, end with a status."""

from __future__ import annotations

import os
import signal
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import typer

from flows.console import install_filter, prepare_environment
from flows.temporary_server import start_temporary_server
from medcompare.base.errors import InputError, UnexpectedError, redact
from medcompare.base.file_access import keep_private
from medcompare.base.terminal import ExitStatus, complain
from medcompare.cli.options import accepted_outcomes
from medcompare.runs.prefect_server import (
    HEALTH_TIMEOUT_S,
    bypass_proxy,
    check_prefect_home,
    check_proxies,
    check_server,
)
from medcompare.training.progress import training_display

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from medcompare.runs.result import RunResult
    from medcompare.stats.records import Outcome


EXIT_STATUSES = (
    "Exit status: 0 success, 1 failure, 2 bad input or configuration, "
    "3 a verdict other than --fail-unless asks for, 130 interrupted."
)


def run_command(
    prepare: Callable[[], Callable[[], RunResult]], fail_unless: Sequence[str] | None
) -> NoReturn:
    """Refuse bad input before Prefect is started, else run the flow; ends the command with its status.

    Parameters
    ----------
    prepare : callable
        Checks the input, and returns what runs the flow.
    fail_unless : sequence of str or None
        As the option ``--fail-unless`` gives it.

    Raises
    ------
    typer.Exit
        Always.
    """
    keep_private()
    try:
        accepted = accepted_outcomes(fail_unless)
        start = prepare()
    except InputError as error:
        status = refuse(error)
    except Exception as error:  # noqa: BLE001 - no traceback may print data
        status = fail(error)
    else:
        status = run_flow(start, accepted=accepted)
    raise typer.Exit(status)


def run_flow(start: Callable[[], RunResult], *, accepted: Collection[Outcome] = ()) -> ExitStatus:
    """Run a flow with a readable terminal, and print what it found.

    Parameters
    ----------
    start : callable
        Runs the flow.
    accepted : collection of Outcome
        Verdicts that count as success; with none given, every one does.

    Returns
    -------
    ExitStatus
    """
    try:
        check_proxies(os.environ)
        bypass_proxy(os.environ)
        check_server(os.environ, Path.cwd(), timeout_s=HEALTH_TIMEOUT_S)
        check_prefect_home(os.environ)
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
            result = start()
            print_result(result)
    except KeyboardInterrupt:
        print("\ninterrupted: every training was stopped, nothing half-written was kept", file=sys.stderr)
        return ExitStatus.INTERRUPTED
    except InputError as error:
        return refuse(error)
    except Exception as error:  # noqa: BLE001 - the last line of defence: one sentence, status 1
        return fail(error)
    if accepted and result.outcome not in accepted:
        print(
            f"the verdict is {result.outcome}, --fail-unless accepts {', '.join(accepted)}: "
            f"exit status {ExitStatus.OTHER_VERDICT}",
            file=sys.stderr,
        )
        return ExitStatus.OTHER_VERDICT
    return ExitStatus.SUCCESS


def fail(error: Exception) -> ExitStatus:
    """Print an error without the data that its message may hold."""
    told = redact(error)
    kind = "" if isinstance(told, UnexpectedError) else f"{type(told).__name__}: "
    complain(f"\nfailed: {kind}{told}")
    return ExitStatus.FAILURE


def refuse(error: InputError) -> ExitStatus:
    """Print what is wrong with the input."""
    complain(f"error: {error}")
    return ExitStatus.BAD_INPUT


def print_result(result: RunResult) -> None:
    """The last lines of a run: verdict, run folder, PDF."""
    print(f"\n{result.headline}\n{textwrap.fill(result.sentence, 100)}\n")
    print(f"Run folder  {result.folder}")
    print(f"Report      {result.pdf}")
