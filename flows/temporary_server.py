"""A Prefect server for one run from the command line, started beside everything else.

Prefect would start such a server by itself, but only once the flow begins, and after importing
the server into the flow's own process too: five seconds in which nothing else happens. Here it
starts first, in a process of its own, while the flow's libraries are being imported.

Only where nobody has set Prefect up: an address, a profile or a settings file means that
Prefect has been told what to do, and then this module leaves everything to Prefect.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from medcompare.base.code_identity import importing_this_code

if TYPE_CHECKING:
    from collections.abc import Mapping

MARK = "MEDCOMPARE_TEMPORARY_SERVER"
"""Set beside ``PREFECT_API_URL`` where the address is that of our own temporary server."""

STOP_TIMEOUT_S = 5.0

_DECIDED_BY = (
    "PREFECT_API_URL",
    "PREFECT_PROFILE",
    "PREFECT_PROFILES_PATH",
    "PREFECT_SERVER_EPHEMERAL_ENABLED",
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE",
)
_DECIDED_IN = (".env", "prefect.toml")


def prefect_is_set_up(environment: Mapping[str, str], folder: Path) -> bool:
    """Whether the user has told Prefect where its server is, or that none may be started.

    Looks where Prefect looks, without importing it: variables, the profiles of
    ``PREFECT_HOME``, and settings files in `folder`. Says yes where it cannot be sure.
    """
    home = Path(environment.get("PREFECT_HOME") or "~/.prefect").expanduser()
    if any(name in environment for name in _DECIDED_BY) or (home / "profiles.toml").exists():
        return True
    if any((folder / name).exists() for name in _DECIDED_IN):
        return True
    with contextlib.suppress(FileNotFoundError):
        return "[tool.prefect" in (folder / "pyproject.toml").read_text(encoding="utf-8", errors="replace")
    return False


def start_temporary_server() -> None:
    """Start a server on a free local port and point Prefect at it; must precede Prefect's import.

    Returns at once: the port is open already, so the first request waits until the server
    answers. The server ends with this process, however that ends. Does nothing where Prefect
    is set up, imported already, or where a process cannot inherit a socket (Windows).
    """
    if "prefect" in sys.modules or os.name == "nt" or prefect_is_set_up(os.environ, Path.cwd()):
        return
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        port = listening.getsockname()[1]
        process = subprocess.Popen(  # noqa: S603 - this interpreter, and a module of our own
            [sys.executable, "-m", "flows.temporary_server", str(listening.fileno())],
            stdin=subprocess.PIPE,
            pass_fds=[listening.fileno()],
            # Ctrl-C is for the run alone: it still has to tell the server how it ended.
            start_new_session=True,
            env=importing_this_code({**os.environ, "PREFECT_UI_ENABLED": "0"}),
        )
    # Registered before Prefect is imported, hence run after Prefect has sent its last events.
    atexit.register(_stop, process)
    os.environ["PREFECT_API_URL"] = f"http://127.0.0.1:{port}/api"
    os.environ[MARK] = "1"


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
    import uvicorn
    from prefect.server.api.server import create_app

    app = create_app(ephemeral=True, final=True)
    server = uvicorn.Server(
        uvicorn.Config(app, log_level="error", lifespan="on", timeout_graceful_shutdown=2)
    )

    def stop_with_parent() -> None:
        # The parent never writes: this returns when it closes the pipe, exits or is killed.
        sys.stdin.buffer.read()
        logging.getLogger("uvicorn.error").addFilter(_is_no_cut_off_request)
        server.should_exit = True

    threading.Thread(target=stop_with_parent, daemon=True).start()
    server.run(sockets=[socket.socket(fileno=descriptor)])
    # Everything is written; taking the interpreter apart piece by piece would hold the run up for a second.
    os._exit(0)


def _is_no_cut_off_request(record: logging.LogRecord) -> bool:
    """Whether a message tells of more than a request that nobody waits for any more.

    The run has ended, perhaps with a request under way, as from a thread that reports that it is alive.
    uvicorn cancels it after its grace and logs the whole call stack of that.
    """
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, asyncio.CancelledError) and "graceful shutdown exceeded" not in record.msg


if __name__ == "__main__":
    serve(int(sys.argv[1]))
