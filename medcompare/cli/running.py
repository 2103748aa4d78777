"""What `medcompare compare` and `medcompare assess` share: start Prefect, run the flow, print the verdict."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from medcompare.base.errors import MedcompareError
from medcompare.cli.options import accepted_outcomes
from medcompare.cli.terminal import ExitStatus, complain, console

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from medcompare.runs.result import RunResult
    from medcompare.stats.records import Outcome


def run_command(
    prepare: Callable[[], Callable[[], RunResult]], fail_unless: Sequence[str] | None
) -> ExitStatus:
    """Refuse bad input before Prefect is imported, else run the flow and print what it found.

    Parameters
    ----------
    prepare : callable
        Checks the input, and returns what runs the flow. A server of our own starts meanwhile, and is not waited for
        where the input is refused.
    fail_unless : sequence of str or None
        As the option ``--fail-unless`` gives it.

    Returns
    -------
    ExitStatus
    """
    from flows.console import install_filter, prepare_environment
    from flows.temporary_server import start_temporary_server, without_heartbeats
    from medcompare.runs.prefect_server import (
        HEALTH_TIMEOUT_S,
        bypass_proxy,
        check_prefect_home,
        check_proxies,
        check_server,
    )
    from medcompare.runs.summary import package_digest
    from medcompare.training.progress import training_display

    accepted = accepted_outcomes(fail_unless)
    check_proxies(os.environ)
    bypass_proxy(os.environ)
    check_server(os.environ, Path.cwd(), timeout_s=HEALTH_TIMEOUT_S)
    check_prefect_home(os.environ)
    prepare_environment()
    start_temporary_server()
    start = prepare()
    # A shell that starts us in the background ignores Ctrl-C for us; a run must be stoppable. What ends a
    # container, a service or a job of a cluster (SIGTERM) ends a run in the same way.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    complain("Starting Prefect ...")
    # Needed at the start of a run, and known by the time Prefect's server answers.
    threading.Thread(target=package_digest, daemon=True).start()
    try:
        with training_display(install_filter()), without_heartbeats():
            result = start()
    except KeyboardInterrupt:
        complain("\nevery training was stopped and saved where it was; the same command goes on from there")
        raise
    except Exception as error:
        if not isinstance(error, MedcompareError):  # Prefect's server says only that it failed
            check_prefect_home(os.environ)
        raise
    return print_result(result, accepted=accepted)


def print_result(result: RunResult, *, accepted: Collection[Outcome] = ()) -> ExitStatus:
    """Print the last lines of a run: verdict, run folder, report, and what kept it from full success, if anything."""
    from medcompare.runs.result import remake_command

    out = console()
    out.print(f"\n{result.headline}\n{result.sentence}\n", markup=False, width=min(out.width, 100))
    print(f"Run folder  {result.folder}\nReport      {result.pdf or result.html}", flush=True)
    if result.no_pdf is not None:
        complain(
            f"\nno PDF: {result.no_pdf.cause}\n"
            f"Everything else is there. To make the PDF: {remake_command(Path(result.folder))}"
        )
    if accepted and result.outcome not in accepted:
        complain(
            f"the verdict is {result.outcome}, --fail-unless accepts {', '.join(accepted)}: "
            f"exit status {ExitStatus.OTHER_VERDICT}"
        )
        return ExitStatus.OTHER_VERDICT
    return ExitStatus.SUCCESS if result.no_pdf is None else ExitStatus.NO_PDF
