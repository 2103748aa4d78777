"""The reports in a browser, on this machine only: see `medcompare.runs.report_server`.

``python -m flows.reports --out runs --port 4201``
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from medcompare.base.errors import ConfigError
from medcompare.base.terminal import ExitStatus, complain, say
from medcompare.runs.report_server import report_app

if TYPE_CHECKING:
    from collections.abc import Sequence

LOOPBACK, BACKLOG = "127.0.0.1", 2048


def build_parser() -> argparse.ArgumentParser:
    """Parser of ``python -m flows.reports``."""
    parser = argparse.ArgumentParser(
        prog="python -m flows.reports",
        description="Serve the reports, and nothing else, to browsers on this machine.",
        epilog="Exit status: 0 after Ctrl-C, 2 bad input, such as a port that is taken.",
    )
    parser.add_argument(
        "--out", metavar="DIR", type=Path, default=Path("runs"), help="folder of the runs (default: runs)"
    )
    parser.add_argument("--port", type=int, default=4201, help="port, 0 for any that is free (default: 4201)")
    parser.add_argument(
        "--host-name",
        metavar="NAME",
        action="append",
        default=[],
        help="also answer to this name; for a reverse proxy on this machine that asks for a password",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Serve reports until told to stop; returns the exit status."""
    arguments = build_parser().parse_args(argv)
    try:
        app = report_app(arguments.out, host_names=arguments.host_name)
        listening = socket.create_server((LOOPBACK, arguments.port), backlog=BACKLOG)
    except ConfigError as error:
        complain(f"error: {error}")
        return ExitStatus.BAD_INPUT
    except (OSError, OverflowError) as error:
        complain(f"error: port {arguments.port} cannot be used ({error}): choose another with --port")
        return ExitStatus.BAD_INPUT
    say(f"Reports of {arguments.out}: http://{LOOPBACK}:{listening.getsockname()[1]}")
    sys.stdout.flush()
    with listening, contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(uvicorn.Config(app, server_header=False, access_log=False)).run(sockets=[listening])
    return ExitStatus.SUCCESS


if __name__ == "__main__":
    sys.exit(main())
