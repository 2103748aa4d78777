"""A Prefect server for one run from the command line, where no server is configured.

Prefect would start one by itself. That one gets the Ctrl-C that is meant for the run (which then
waits 150 seconds for an answer and fails instead of ending as interrupted), and likewise SIGTERM where all processes of
a job get it; it outlives a run that is killed, and starts only after the run has imported everything.
"""

from __future__ import annotations

import asyncio
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
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from medcompare.base.code_identity import importing_this_code
from medcompare.runs.prefect_server import API_URL, TEMPORARY_SERVER, prefect_setting

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

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
RETRY_AFTER_S = b"0.1"


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
    os.environ[TEMPORARY_SERVER] = "1"


def prepare_meanwhile() -> None:
    """Prepare in a thread what every run needs once its server answers: to be called when all else is imported."""
    from medcompare.report import fonts, printing

    def work() -> None:
        for name in ("prefect.task_engine", "scipy.special"):  # both are imported when they are first used
            importlib.import_module(name)
        fonts.font_faces()
        printing.prepare()  # last: another process, while this one and the server have a core each

    threading.Thread(target=work, daemon=True).start()


@contextlib.contextmanager
def without_heartbeats() -> Iterator[None]:
    """Send none to our own server, where nobody looks for them: each run would end with a wait of up to a second."""
    if TEMPORARY_SERVER not in os.environ:
        yield
        return
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()
    if "prefect" not in sys.modules:  # the input was refused: nobody has asked the server anything
        process.kill()
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

    app = create_app(ephemeral=True)  # a "final" one would be searched for garbage, for 0.3 s
    gc.freeze()
    gc.enable()

    class UntilInputEnds(uvicorn.Server):
        def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override] # else it ends at SIGTERM
            return contextlib.nullcontext()

        async def main_loop(self) -> None:  # else it looks ten times a second whether it is to end
            # The parent never writes: this returns when it closes the pipe, exits or is killed.
            await asyncio.to_thread(sys.stdin.buffer.read)
            # Requests and writes that are cancelled now, which nobody waits for, would log their call stacks.
            logging.disable()

    settings = uvicorn.Config(
        asked_again_soon(app), log_level="error", lifespan="on", timeout_graceful_shutdown=2
    )
    UntilInputEnds(settings).run(sockets=[socket.socket(fileno=descriptor)])
    os._exit(0)  # everything is written; the end of the interpreter would take another second


def asked_again_soon(app: ASGIApp) -> ASGIApp:
    """`app`, whose 503 says after how many seconds to ask again.

    Prefect answers so where two writers met in SQLite, which takes milliseconds; its client would wait for two seconds.
    """

    async def asked(scope: Scope, receive: Receive, send: Send) -> None:
        async def answer(event: Message) -> None:
            if event["type"] == "http.response.start" and event["status"] == HTTPStatus.SERVICE_UNAVAILABLE:
                event["headers"] = [*event["headers"], (b"retry-after", RETRY_AFTER_S)]
            await send(event)

        await app(scope, receive, answer)

    return asked


if __name__ == "__main__":
    serve(int(sys.argv[1]))
