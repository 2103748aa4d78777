"""The reports in a browser: a small web server on this machine's loopback interface.

It serves the two report files of each run and a page that lists the runs, nothing else; see
`medcompare.served_reports` for what may be opened.

Requests that name another host are refused: a web page on the internet can point its own
name at 127.0.0.1 and would otherwise read the reports through a visitor's browser.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import logging
import re
import sys
from html import escape
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote, urlsplit

from medcompare.errors import ConfigError
from medcompare.served_reports import CONTENT_TYPES, Reports

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import BinaryIO

    from medcompare.served_reports import ListedRun

LOOPBACK = "127.0.0.1"
LOCAL_NAMES = ("127.0.0.1", "localhost", "[::1]")
"""Names a browser on this machine, or at the other end of a tunnel, may use."""

CHUNK_BYTES = 1 << 16
SLOW_CLIENT_S = 30
"""A client that is silent for so long is let go."""

STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;background:#fff}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.5rem .75rem .5rem 0;border-bottom:1px solid #d0d7de}
td:first-child{white-space:nowrap}
a{color:#0a58ca}
.quiet{color:#59636e}
@media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}a{color:#6cb0ff}
th,td{border-color:#30363d}.quiet{color:#9198a1}}
"""
STYLE_DIGEST = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()

HEADERS: Final = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
}
LOCKED: Final = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
POLICIES: Final = {
    # The report is self-contained: inline styles, pictures and fonts as data, no script.
    "report.html": f"{LOCKED}; style-src 'unsafe-inline'; img-src data:; font-src data:",
    # A browser's own viewer shows the PDF; a stricter policy keeps some of them from doing so.
    "report.pdf": "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "index": f"{LOCKED}; style-src 'sha256-{STYLE_DIGEST}'",
}

logger = logging.getLogger(__name__)


def index_page(runs: Sequence[ListedRun], *, latest: str | None = None) -> str:
    """HTML page that lists `runs`; everything that comes from a run is escaped."""
    rows = "".join(_row(run, is_latest=run.name == latest) for run in runs)
    table = (
        "<table><thead><tr><th scope=col>Date</th><th scope=col>Data set</th><th scope=col>Verdict</th>"
        f"<th scope=col>Report</th></tr></thead><tbody>{rows}</tbody></table>"
        if runs
        else "<p>No reports yet: they appear here when the first run has ended.</p>"
    )
    return _page("Reports", f"<h1>Reports</h1>{table}")


def _row(run: ListedRun, *, is_latest: bool) -> str:
    # The date of the person who looks: the machine's own time zone.
    date = f"{run.started_at:%Y-%m-%d %H:%M}" if run.started_at else "date unknown"
    links = " · ".join(
        f'<a href="/{quote(run.name, safe="")}/{file}">{file.rpartition(".")[2].upper()}</a>'
        for file in run.files
    )
    verdict = escape(run.headline or run.note or "no verdict recorded")
    latest = " <span class=quiet>latest</span>" if is_latest else ""
    return (
        f"<tr><td>{date}{latest}</td><td>{escape(run.data_name or '–')}"
        f"<br><span class=quiet>{escape(run.name)}</span></td><td>{verdict}</td><td>{links}</td></tr>"
    )


def _page(title: str, body: str) -> str:
    return (
        '<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content="width=device-width">'
        f"<title>{escape(title)}</title><style>{STYLE}</style><body>{body}</body></html>\n"
    )


class ReportRequest(BaseHTTPRequestHandler):
    """One request. GET and HEAD of reports and of the list; all else is refused."""

    server: ReportServer
    timeout = SLOW_CLIENT_S
    server_version, sys_version = "medcompare", ""

    def do_GET(self) -> None:
        """Answer with headers and content."""
        self._answer(with_content=True)

    def do_HEAD(self) -> None:
        """Answer with the headers alone."""
        self._answer(with_content=False)

    def _refuse_method(self) -> None:
        self._say(HTTPStatus.METHOD_NOT_ALLOWED, "Reports can only be read.", allow="GET, HEAD")

    do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_TRACE = _refuse_method  # noqa: N815 - as above

    def _answer(self, *, with_content: bool) -> None:
        if not self.server.is_for_us(self.headers.get_all("Host") or []):
            self._say(
                HTTPStatus.MISDIRECTED_REQUEST,
                "This server answers to its own name only.",
                with_content=with_content,
            )
            return
        path = urlsplit(self.path).path if self.path.startswith("/") else ""
        if path == "/":
            self._send_index(with_content=with_content)
            return
        # Split first: a %2F in a name is part of the name, and no run has one.
        parts = [unquote(part, errors="strict") for part in path.split("/")[1:]] if _decodable(path) else []
        if len(parts) == 2 and parts[1] in CONTENT_TYPES:
            with contextlib.suppress(FileNotFoundError):
                self._send_report(
                    *self.server.reports.open_report(parts[0], parts[1]), parts[1], with_content=with_content
                )
                return
        self._say(
            HTTPStatus.NOT_FOUND,
            "No such report. Reports are listed on the first page.",
            with_content=with_content,
        )

    def _send_index(self, *, with_content: bool) -> None:
        runs = self.server.reports.newest_first()
        content = index_page(runs, latest=self.server.reports.latest()).encode()
        self._head(HTTPStatus.OK, "text/html; charset=utf-8", len(content), POLICIES["index"])
        if with_content:
            self.wfile.write(content)

    def _send_report(self, stream: BinaryIO, size: int, run: str, file: str, *, with_content: bool) -> None:
        with stream:
            name = f"{run}.{file.rpartition('.')[2]}"
            self._head(
                HTTPStatus.OK,
                CONTENT_TYPES[file],
                size,
                POLICIES[file],
                {"Content-Disposition": f'inline; filename="{name}"'},
            )
            # No more than announced, should the file grow meanwhile.
            while with_content and size > 0 and (chunk := stream.read(min(CHUNK_BYTES, size))):
                self.wfile.write(chunk)
                size -= len(chunk)

    def _say(
        self, status: HTTPStatus, sentence: str, *, with_content: bool = True, allow: str | None = None
    ) -> None:
        content = _page(
            status.phrase,
            f'<h1>{escape(status.phrase)}</h1><p>{escape(sentence)}</p><p><a href="/">Reports</a></p>',
        ).encode()
        more = {"Allow": allow} if allow else {}
        self._head(status, "text/html; charset=utf-8", len(content), POLICIES["index"], more)
        if with_content:
            self.wfile.write(content)

    def _head(
        self,
        status: HTTPStatus,
        content_type: str,
        size: int,
        policy: str,
        more: dict[str, str] | None = None,
    ) -> None:
        self.send_response(status)
        headers = {
            **HEADERS,
            "Content-Type": content_type,
            "Content-Length": str(size),
            "Content-Security-Policy": policy,
            **(more or {}),
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002 - the signature of http.server
        """Answer a request that is no HTTP, with the same headers as any other."""
        self.close_connection = True
        self._say(
            HTTPStatus(code), "The request could not be understood.", with_content=self.command != "HEAD"
        )

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401 - the signature of http.server
        """One line per request, without control characters."""
        line = (format % args).encode("ascii", "backslashreplace").decode()
        logger.info("%s", "".join(c if c.isprintable() else "?" for c in line))


def _decodable(path: str) -> bool:
    try:
        unquote(path, errors="strict")
    except UnicodeDecodeError:
        return False
    return True


class ReportServer(ThreadingHTTPServer):
    """Serves the reports below `out` on the loopback interface.

    Parameters
    ----------
    out : Path
        Folder of the runs; it may be made later.
    port : int
        Port, 0 for any that is free.
    host_names : sequence of str
        Further names in the ``Host`` header that are answered: those under which a reverse
        proxy, which must do the authentication, makes this server known.

    Raises
    ------
    ConfigError
        If the port is taken or a name is no host name.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, out: Path, *, port: int, host_names: Sequence[str] = ()) -> None:
        for name in host_names:
            if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,250}[A-Za-z0-9])?", name):
                msg = f"--host-name '{name}' is not a host name: give it without http:// and without a port"
                raise ConfigError(msg)
        self.reports = Reports(out)
        self._names = {name.lower() for name in (*LOCAL_NAMES, *host_names)}
        try:
            super().__init__((LOOPBACK, port), ReportRequest)
        except OSError as error:
            msg = f"port {port} cannot be used ({error.strerror or error}): choose another with --port"
            raise ConfigError(msg) from None

    def server_bind(self) -> None:
        """Bind without looking the machine's name up, which may wait for a name server."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = LOOPBACK, self.port

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self.server_address[1])

    def is_for_us(self, hosts: Sequence[str]) -> bool:
        """Whether the ``Host`` headers of a request are exactly one, and name this server."""
        if len(hosts) != 1:
            return False
        name = re.sub(r":\d{1,5}$", "", hosts[0].strip()).lower()
        return name in self._names

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401, ARG002 - the signature of socketserver
        """A browser that went away is no event; anything else is logged with its traceback."""
        error = sys.exc_info()[1]
        if isinstance(error, ConnectionError | TimeoutError):
            return
        logger.error("a request failed", exc_info=error)
