"""``medcompare reports``: the reports in a browser, see `medcompare.runs.report_server`."""

import signal
import socket
from pathlib import Path
from typing import Annotated

import typer

from medcompare.base.errors import ConfigError
from medcompare.cli.options import OutFolder

LOOPBACK, BACKLOG = "127.0.0.1", 2048


def reports(
    *,
    out: OutFolder = Path("runs"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 for any that is free.")] = 4201,
    host_names: Annotated[
        list[str] | None,
        typer.Option(
            "--host-name",
            metavar="NAME",
            help="Also answer to this name (repeatable); for a reverse proxy on this machine that asks for a password.",
        ),
    ] = None,
) -> None:
    """Serve the reports, and nothing else, to browsers of this host."""
    import uvicorn

    from medcompare.runs.report_server import report_app

    # A shell that starts us in the background ignores Ctrl-C for us.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    app = report_app(out, host_names=host_names or ())
    listening = _listen(port)
    print(f"Reports of {out}: http://{LOOPBACK}:{listening.getsockname()[1]}", flush=True)
    with listening:
        uvicorn.Server(uvicorn.Config(app, server_header=False, access_log=False)).run(sockets=[listening])


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server((LOOPBACK, port), backlog=BACKLOG)
    except OSError as error:
        msg = f"port {port} cannot be used ({error}): choose another with --port"
        raise ConfigError(msg) from None
