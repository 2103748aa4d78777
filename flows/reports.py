"""The reports in a browser, on this machine only: see `medcompare.report_server`.

``python -m flows.reports --out runs --port 4201``
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from medcompare.errors import InputError
from medcompare.report_server import LOOPBACK, ReportServer
from medcompare.terminal import complain, say

if TYPE_CHECKING:
    from collections.abc import Sequence

SUCCESS, BAD_INPUT = 0, 2


def build_parser() -> argparse.ArgumentParser:
    """Parser of ``python -m flows.reports``."""
    parser = argparse.ArgumentParser(
        prog="python -m flows.reports",
        description="Serve the reports, and nothing else, to browsers on this machine.",
        epilog="Exit status: 0 after Ctrl-C or SIGTERM, 2 bad input (such as a port that is taken).",
    )
    parser.add_argument(
        "--out", metavar="DIR", type=Path, default=Path("runs"), help="folder of the runs (default: runs)"
    )
    parser.add_argument("--port", type=_port, default=4201, help="port (default: 4201)")
    parser.add_argument(
        "--host-name",
        metavar="NAME",
        action="append",
        default=[],
        help="also answer to this name; for a reverse proxy on this machine that asks for a password",
    )
    return parser


def _port(text: str) -> int:
    number = int(text) if text.isdigit() else -1
    if not 0 <= number <= 65535:
        msg = f"'{text}' is not a port from 0 (any that is free) to 65535"
        raise argparse.ArgumentTypeError(msg)
    return number


def main(argv: Sequence[str] | None = None) -> int:
    """Serve reports until told to stop; returns the exit status."""
    arguments = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s  %(message)s")
    try:
        server = ReportServer(arguments.out, port=arguments.port, host_names=arguments.host_name)
    except InputError as error:
        complain(f"error: {error}")
        return BAD_INPUT
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        say(f"Reports of {arguments.out}: http://{LOOPBACK}:{server.port}")
        sys.stdout.flush()
        stopping.wait()
        server.shutdown()
    return SUCCESS


if __name__ == "__main__":
    sys.exit(main())
