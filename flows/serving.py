"""Server, worker and web page of the reports on this machine: started, looked at, stopped.

``python -m flows.serving start|stop|status|wait``; ``make serve`` and ``make serve-stop`` call it.
For a trial on one machine, and for developing; a machine that is to run every night by
itself uses the units in ``deploy/systemd``, see docs/operations.md.

Everything stays below ``.medcompare``: Prefect's home and database in ``prefect``, pid
files and logs in ``serve``. A profile of the user's own is neither read nor written.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.serving_place import (
    ORDER,
    POOL,
    REPORTS,
    SERVER,
    WORKER,
    Place,
    environment,
    programs,
    reports_answer,
    run_processes,
    server_answers,
    set_state,
    unfinished_runs,
    worker_polls,
)
from medcompare.base.file_access import keep_private
from medcompare.cli.background import (
    BackgroundError,
    Program,
    end_processes,
    one_at_a_time,
    port_is_free,
    read_pid_file,
    run_to_end,
    running_process,
    start_program,
    stop_program,
    wait_until,
    who_listens,
)
from medcompare.runs.prefect_server import bypasses_proxy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import psutil

SUCCESS, FAILURE, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
START_LIMIT_S = {SERVER: 180.0, WORKER: 90.0, REPORTS: 30.0}
"""Seconds within which each must answer; a first start makes the database."""

STOP_GRACE_S = {SERVER: 15.0, WORKER: 15.0, REPORTS: 5.0}
CANCEL_GRACE_S = 40.0
"""Seconds in which a worker must have ended its runs as cancelled."""

RUN_GRACE_S = 15.0
"""Seconds that the process of a run gets to end its trainings, where no worker ends it."""


# --- start -----------------------------------------------------------------------------------------


def start(place: Place) -> int:
    """Start what does not run yet, wait until all of it answers, say what to do next."""
    wanted = programs(place)
    readiness: dict[str, Callable[[float], bool]] = {
        SERVER: lambda _: server_answers(place),
        WORKER: lambda since: worker_polls(place, since=since),
        REPORTS: lambda _: reports_answer(place),
    }
    running = {name: running_process(program.pid_file) for name, program in wanted.items()}
    for name, found in running.items():
        if found and found[1].port != wanted[name].port:
            say(
                f"error: {name} runs already, on port {found[1].port}; to move it: make serve-stop, then again"
            )
            return BAD_INPUT
    for name, program in wanted.items():
        if not running[name] and program.port is not None and not port_is_free(program.port):
            variable = "SERVE_PORT" if name == SERVER else "REPORTS_PORT"
            say(
                f"error: port {program.port} for the {name} is taken by {who_listens(program.port)}.\n"
                f"       Stop that, or choose another:  make serve {variable}={free_port(program.port + 10)}"
            )
            return BAD_INPUT

    (place.checkout / place.out).mkdir(parents=True, exist_ok=True)
    started: list[str] = []
    try:
        for name, program in wanted.items():
            found = running[name]
            if found:
                say(f"{name:8} runs already (process {found[1].pid})")
                continue
            if program.pid_file.exists():
                say(f"{name:8} left a pid file behind without running (crash, or restart of the machine)")
            began = time.monotonic()
            if name == WORKER:
                tidy_up(place)
            since = time.time()
            process = start_program(program)
            started.append(name)
            say(f"{name:8} starting ...", end="\r" if sys.stdout.isatty() else "\n")
            wait_until(
                program,
                process,
                lambda name=name, since=since: readiness[name](since),  # type: ignore[misc]
                timeout_s=START_LIMIT_S[name],
            )
            say(f"{name:8} ready after {time.monotonic() - began:.0f} s (process {process.pid})")
    except (BackgroundError, KeyboardInterrupt) as error:
        interrupted = isinstance(error, KeyboardInterrupt)
        say("interrupted" if interrupted else f"error: {error}")
        if started:
            say("What was started is taken down again.")
        for name in reversed(started):
            stop_program(wanted[name].pid_file, grace_s=STOP_GRACE_S[name])
        return INTERRUPTED if interrupted else FAILURE
    say_what_next(place, all_new=len(started) == len(wanted))
    return SUCCESS


def tidy_up(place: Place) -> None:
    """Before a worker starts: end what crashed, and skip the nights that were missed but the last."""
    for module in ("flows.recover", "flows.missed"):
        run_to_end(
            Program(
                name=module.partition(".")[2],
                command=(sys.executable, "-m", module),
                folder=place.folder,
                cwd=place.checkout,
                environment=environment(place),
            ),
            timeout_s=120,
        )


def free_port(first: int) -> int:
    """A free port from `first` on, with a free one behind it."""
    return next((p for p in range(first, first + 1000, 10) if port_is_free(p) and port_is_free(p + 1)), first)


def say_what_next(place: Place, *, all_new: bool) -> None:
    """Addresses, and the commands to type next."""
    venv = Path(sys.executable).parent
    inside = os.environ.get("VIRTUAL_ENV") == str(venv.parent)
    activate = "" if inside else f"  source {_short(venv / 'activate', place)}\n"
    hosts = "" if bypasses_proxy(os.environ) else environment(place).get("NO_PROXY", "")
    no_proxy = f"  export NO_PROXY={hosts} no_proxy={hosts}\n" if hosts else ""
    stop = "" if all_new else "Everything runs.\n"
    say(
        f"\n{stop}Runs     {place.ui}\nReports  {place.reports}\n\nNext, from {place.checkout}:\n{activate}"
        f"  export PREFECT_API_URL={place.api}\n"
        f"{no_proxy}"
        "  prefect deploy --all                                # once, and after every change of prefect.yaml\n"
        "  prefect deployment run compare/manual --watch       # a run now: the demonstration data\n"
        "  make serve-stop                                     # take everything down"
    )


def _short(path: Path, place: Place) -> str:
    return str(path.relative_to(place.checkout)) if path.is_relative_to(place.checkout) else str(path)


# --- stop ------------------------------------------------------------------------------------------


def stop(place: Place) -> int:
    """Stop everything in the reverse order; running flow runs end as cancelled."""
    files = {name: place.folder / f"{name}.pid" for name in ORDER}
    recorded = read_pid_file(files[SERVER])
    if recorded is not None and recorded.port is not None:
        place = Place(
            port=recorded.port, reports_port=place.reports_port, checkout=place.checkout, out=place.out
        )
    if not any(path.exists() for path in files.values()):
        say("Nothing runs.")
        return SUCCESS
    try:
        end_runs(
            place,
            has_server=running_process(files[SERVER]) is not None,
            has_worker=running_process(files[WORKER]) is not None,
        )
    except BackgroundError as error:
        say(f"error: {error}")
        return FAILURE
    for name in reversed(ORDER):
        try:
            happened = stop_program(files[name], grace_s=STOP_GRACE_S[name])
        except BackgroundError as error:
            say(f"error: {name}: {error}")
            return FAILURE
        if happened is not None:
            say(f"{name:8} stopped: {happened}" if "process" in happened else f"{name:8} {happened}")
    return SUCCESS


def end_runs(place: Place, *, has_server: bool, has_worker: bool) -> None:
    """End the flow runs of our pool as cancelled, with their processes.

    A worker that is stopped waits for its runs, which may take hours; runs that are killed stand
    as crashed, or for ever as running. Cancelled ones end their trainings and say what happened.
    A run whose worker died goes on by itself: nobody but us ends it.
    """
    runs = cancel_runs(place, wait_s=CANCEL_GRACE_S if has_worker else 0) if has_server else []
    left = run_processes(place)
    if left:
        say(f"run      {len(left)} process(es) of runs are ended")
        end_processes(left, grace_s=RUN_GRACE_S)
    with contextlib.suppress(OSError, ValueError):
        for run in runs:
            set_state(place, run, "CANCELLED")


def cancel_runs(place: Place, *, wait_s: float) -> list[dict[str, Any]]:
    """Ask for the end of the runs of our pool; returns those that have not ended within `wait_s` seconds."""
    try:
        runs = unfinished_runs(place)
        for run in runs:
            say(f"run      '{run['name']}' is cancelled; started again, it repeats no finished stage")
            set_state(place, run, "CANCELLING")
        deadline = time.monotonic() + wait_s
        while runs and time.monotonic() < deadline:
            time.sleep(0.5)
            runs = unfinished_runs(place)
    except (OSError, ValueError) as error:
        say(f"run      the server cannot be asked for running runs ({error})")
        return []
    return runs


# --- status ----------------------------------------------------------------------------------------


def status(place: Place) -> int:
    """Say what runs; the exit status is 0 where everything does and answers."""
    found: dict[str, tuple[psutil.Process, Any] | None] = {
        name: running_process(place.folder / f"{name}.pid") for name in ORDER
    }
    # Also of one that has died: it is that port where it is missing.
    recorded = {name: read_pid_file(place.folder / f"{name}.pid") for name in ORDER}
    ports = {name: one.port for name, one in recorded.items() if one}
    place = Place(
        port=ports.get(SERVER) or place.port,
        reports_port=ports.get(REPORTS) or place.reports_port,
        checkout=place.checkout,
        out=place.out,
    )
    addresses = {SERVER: place.ui, WORKER: f"pool {POOL}", REPORTS: place.reports}
    answers = {
        SERVER: lambda: server_answers(place),
        WORKER: lambda: worker_polls(place, since=time.time() - 120),
        REPORTS: lambda: reports_answer(place),
    }
    all_well = True
    for name in ORDER:
        one = found[name]
        well = one is not None and answers[name]()
        all_well = all_well and well
        state = "answers" if well else "does not answer" if one else "does not run"
        pid = f"process {one[1].pid}" if one else ""
        say(f"{name:8} {state:16} {addresses[name]:28} {pid}".rstrip())
    return SUCCESS if all_well else FAILURE


def wait(place: Place) -> int:
    """Wait until the server answers: for a service manager, after it has started the server."""
    deadline = time.monotonic() + START_LIMIT_S[SERVER]
    while not server_answers(place):
        if time.monotonic() > deadline:
            say(f"error: no Prefect server answers at {place.api} within {START_LIMIT_S[SERVER]:.0f} s")
            return FAILURE
        time.sleep(0.5)
    return SUCCESS


# --- command line ----------------------------------------------------------------------------------


def say(text: str, *, end: str = "\n") -> None:
    """Print at once: the next line may take a minute. Nobody reading any more stops nothing."""
    with contextlib.suppress(BrokenPipeError):
        print(text, end=end, flush=True)


def _port(text: str) -> int:
    number = int(text) if text.isdigit() else 0
    if not 1024 <= number <= 65535:
        msg = f"'{text}' is not a port from 1024 to 65535"
        raise argparse.ArgumentTypeError(msg)
    return number


def build_parser() -> argparse.ArgumentParser:
    """Parser of ``python -m flows.serving``."""
    parser = argparse.ArgumentParser(
        prog="python -m flows.serving",
        description="Server, worker and reports on this machine, for a trial: start, stop, look.",
        epilog="Exit status: 0 success, 1 failure, 2 bad input (a port is taken), 130 interrupted.",
    )
    parser.add_argument("action", choices=("start", "stop", "status", "wait"))
    parser.add_argument("--port", type=_port, default=4200, help="port of the server (default: 4200)")
    parser.add_argument(
        "--reports-port", type=_port, help="port of the reports (default: the one after the server's)"
    )
    parser.add_argument(
        "--out", metavar="DIR", type=Path, default=Path("runs"), help="folder of the runs (default: runs)"
    )
    return parser


CHANGING = {"start": start, "stop": stop}
LOOKING = {"status": status, "wait": wait}


def main(argv: Sequence[str] | None = None) -> int:
    """Start, stop or look at the programs; returns the exit status."""
    keep_private()  # for the server and the worker, too
    parser = build_parser()
    arguments = parser.parse_args(argv)
    reports_port = arguments.reports_port or arguments.port + 1
    if reports_port == arguments.port:
        parser.error(f"--port and --reports-port are both {reports_port}")
    place = Place(port=arguments.port, reports_port=reports_port, out=arguments.out)
    try:
        if arguments.action in LOOKING:
            return LOOKING[arguments.action](place)
        with one_at_a_time(place.folder):
            return CHANGING[arguments.action](place)
    except BackgroundError as error:
        say(f"error: {error}")
        return FAILURE


if __name__ == "__main__":
    sys.exit(main())
