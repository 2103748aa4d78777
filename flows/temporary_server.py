"""A Prefect server for one run from the command line, where no server is configured.

Prefect would start one by itself. That one gets the Ctrl-C that is meant for the run (which then
waits 150 seconds for an answer and fails instead of ending as interrupted), and likewise SIGTERM where all processes of
a job get it; it outlives a run that is killed, and starts only after the run has imported everything.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

from medcompare.base.code_identity import importing_this_code
from medcompare.runs.prefect_server import API_URL, prefect_setting

if TYPE_CHECKING:
    from collections.abc import Iterator

Value = TypeVar("Value")

MARK = "MEDCOMPARE_TEMPORARY_SERVER"
"""Set beside ``PREFECT_API_URL`` where the address is that of our own temporary server."""

LEFT_TO_PREFECT = {"PREFECT_PROFILE", "PREFECT_SERVER_EPHEMERAL_ENABLED"}
LEFT_OUT = {
    "PREFECT_UI_ENABLED": "0",
    "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",
    "PREFECT_MEMOIZE_BLOCK_AUTO_REGISTRATION": "false",
}
"""What a run asks this server for neither: pages, and the kinds of blocks, for which it would import all integrations,
even to see that it has them.

A kind that a block is saved of is registered with it."""
STOP_TIMEOUT_S = 5.0


def start_temporary_server() -> None:
    """Start the server and name it in ``PREFECT_API_URL``; to be called before Prefect is imported.

    Returns at once: the port is open already, so the first request waits until the server
    answers. The server ends with this process, however that ends. Does nothing where a server
    is configured.
    """
    configured = prefect_setting(API_URL, os.environ, Path.cwd()) or LEFT_TO_PREFECT & os.environ.keys()
    if configured or "prefect" in sys.modules:
        return
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        port = listening.getsockname()[1]
        process = subprocess.Popen(  # noqa: S603 - this interpreter, and a module of our own
            [sys.executable, "-m", "flows.temporary_server", str(listening.fileno())],
            stdin=subprocess.PIPE,
            pass_fds=[listening.fileno()],
            start_new_session=True,  # Ctrl-C is for the run, which still has to tell the server how it ended
            env=importing_this_code({**os.environ, **LEFT_OUT}),
        )
    # Registered before Prefect is imported, hence run after Prefect has sent its last events.
    atexit.register(_stop, process)
    os.environ[API_URL] = f"http://127.0.0.1:{port}/api"
    os.environ[MARK] = "1"


def prepare_meanwhile() -> None:
    """Prepare in a thread what every run needs once its server answers: to be called when all else is imported."""
    from medcompare.report import fonts, printing

    def work() -> None:
        printing.prepare()
        for name in ("prefect.task_engine", "scipy.special"):  # both are imported when they are first used
            importlib.import_module(name)
        fonts.font_faces()

    threading.Thread(target=work, daemon=True).start()


@contextlib.contextmanager
def without_heartbeats() -> Iterator[None]:
    """Send none to our own server, where nobody looks for them: each run would end with a wait of up to a second."""
    if MARK not in os.environ:
        yield
        return
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield


def unlinked(value: Value) -> Value:
    """`value` as an input of a task in which Prefect does not look for results of other tasks.

    It looks at each of 100,000 values of a report three times to draw arrows, and our own server has no pages.
    """
    if MARK not in os.environ:
        return value
    from prefect.utilities.annotations import quote

    return cast("Value", quote(value))


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def serve(descriptor: int) -> None:
    """Serve Prefect's API on the open socket `descriptor` until standard input ends."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    gc.disable()  # what is imported stays
    import uvicorn
    from prefect.server.api.server import create_app

    app = create_app(ephemeral=True, final=True)
    gc.freeze()
    gc.enable()
    server = uvicorn.Server(
        uvicorn.Config(app, log_level="error", lifespan="on", timeout_graceful_shutdown=2)
    )
    server.capture_signals = contextlib.nullcontext  # type: ignore[assignment,method-assign] # else uvicorn ends at SIGTERM

    def stop_with_parent() -> None:
        # The parent never writes: this returns when it closes the pipe, exits or is killed.
        sys.stdin.buffer.read()
        # Requests and writes that are cancelled now, which nobody waits for, would log their call stacks.
        logging.disable()
        server.should_exit = True

    threading.Thread(target=stop_with_parent, daemon=True).start()
    server.run(sockets=[socket.socket(fileno=descriptor)])
    os._exit(0)  # everything is written; the end of the interpreter would take another second


if __name__ == "__main__":
    serve(int(sys.argv[1]))
