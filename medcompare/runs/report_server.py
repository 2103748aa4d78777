"""The reports in a browser: a list of the runs and, of each run, ``report.pdf`` and ``report.html``.

A run folder also holds predictions with patient ids, so nothing else of it is served. Requests
that name another host are refused: a web page on the internet can point its own name at
127.0.0.1 and would otherwise read the reports through a visitor's browser.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

from pydantic import AwareDatetime, BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import FileResponse, HTMLResponse
from starlette.routing import Route

from medcompare.base.errors import ConfigError
from medcompare.base.hosts import is_loopback
from medcompare.runs.folder import LATEST

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LINK_BASE_VARIABLE = "MEDCOMPARE_LINK_BASE"
LOCAL_NAMES = ("127.0.0.1", "localhost", "[::1]")
"""Names that a browser on this machine, or at the other end of a tunnel, may use."""

PDF, HTML, RESULTS = "report.pdf", "report.html", "results.json"
RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,254}")
SCRIPT_DIGEST = re.compile(rb"script-src '(sha256-[A-Za-z0-9+/]{43}=)'")
"""As a report's head states it, see ``templates/report.html.j2``."""
HEAD_BYTES = 512
"""Of a report: doctype and policy, which end before the first text that comes from data or user."""
MAX_LISTED = 400
"""Older reports still open by their address."""

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
LOCKED: Final = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
HEADERS: Final = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": f"{LOCKED}; style-src 'sha256-{STYLE_DIGEST}'",
}
POLICIES: Final = {
    # The report is self-contained: inline styles, pictures and fonts as data, its one script (`_policy`).
    HTML: f"{LOCKED}; style-src 'unsafe-inline'; img-src data:; font-src data:",
    # A browser's own viewer shows the PDF; a stricter policy keeps some of them from doing so.
    PDF: "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
}


# --- links to what is served -------------------------------------------------------------------------


def report_link(run_name: str, environment: Mapping[str, str], *, file: str = PDF) -> str | None:
    """Web address of a run's report, None where ``MEDCOMPARE_LINK_BASE`` is not set.

    Parameters
    ----------
    run_name : str
        Name of the run's folder.
    environment : mapping of str to str
        Usually ``os.environ``.
    file : str
        Name of the report's file.

    Raises
    ------
    ConfigError
        If the variable is not a web address.
    """
    base = environment.get(LINK_BASE_VARIABLE, "").strip()
    if not base:
        return None
    if not re.fullmatch(r"https?://[^\s<>\"'\x00-\x1f\x7f]+", base):
        msg = f"{LINK_BASE_VARIABLE}: {base!r} is not an address that begins with https:// or http://"
        raise ConfigError(msg)
    return f"{base.rstrip('/')}/{quote(run_name, safe='')}/{file}"


def for_others(address: str | None) -> str | None:
    """`address` where it means the same on another machine, as in a mail; None otherwise."""
    if address is None or is_loopback(urlsplit(address).hostname or ""):
        return None
    return address


# --- the list of runs --------------------------------------------------------------------------------


class _Named(BaseModel):
    name: str | None = None


class _Started(BaseModel):
    started_at: AwareDatetime | None = None


class _Verdict(BaseModel):
    headline: str | None = None


class _Assessment(BaseModel):
    verdict: _Verdict | None = None


class _Results(BaseModel):
    """The few fields of ``results.json`` that the list shows."""

    provenance: _Started | None = None
    manifest: _Named | None = None
    assessment: _Assessment | None = None


@dataclass(frozen=True, kw_only=True)
class ListedRun:
    """One line of the page that lists the runs."""

    name: str
    files: tuple[str, ...]
    started_at: float = 0.0
    """Seconds since the epoch, 0 where it is not known."""
    date: str = "date unknown"
    data_name: str = "–"
    verdict: str = "no verdict recorded"


def listed_runs(out: Path) -> list[ListedRun]:
    """The runs below `out` that have a report, newest first, at most `MAX_LISTED`."""
    found = []
    for folder in out.glob("*"):
        files = tuple(name for name in (PDF, HTML) if _served_path(out, folder.name, name))
        if files and folder.name != LATEST:
            found.append(_listed(folder, files))
    return sorted(found, key=lambda run: (run.started_at, run.name), reverse=True)[:MAX_LISTED]


def _listed(folder: Path, files: tuple[str, ...]) -> ListedRun:
    try:
        status = (folder / RESULTS).stat()
    except OSError:
        return ListedRun(name=folder.name, files=files, verdict=f"no {RESULTS}")
    return _read(folder, files, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=10 * MAX_LISTED)
def _read(folder: Path, files: tuple[str, ...], _mtime_ns: int, _size: int) -> ListedRun:
    """Line of a run; read again when its ``results.json`` has changed."""
    try:
        results = _Results.model_validate_json((folder / RESULTS).read_bytes())
        moment = results.provenance.started_at if results.provenance else None
        verdict = results.assessment.verdict if results.assessment else None
        return ListedRun(
            name=folder.name,
            files=files,
            started_at=moment.timestamp() if moment else 0.0,
            # The date of the person who looks: the machine's own time zone.
            date=f"{moment.astimezone():%Y-%m-%d %H:%M}" if moment else ListedRun.date,
            data_name=(results.manifest and results.manifest.name) or ListedRun.data_name,
            verdict=(verdict and verdict.headline) or ListedRun.verdict,
        )
    # A date in year 1 has no local time.
    except (ValidationError, OSError, OverflowError, ValueError):
        return ListedRun(name=folder.name, files=files, verdict=f"{RESULTS} cannot be read")


def index_page(runs: Sequence[ListedRun], *, latest: str | None = None) -> str:
    """HTML page that lists `runs`; everything that comes from a run is escaped."""
    rows = "".join(_row(run, is_latest=run.name == latest) for run in runs)
    table = (
        "<table><thead><tr><th scope=col>Date</th><th scope=col>Data set</th><th scope=col>Verdict</th>"
        f"<th scope=col>Report</th></tr></thead><tbody>{rows}</tbody></table>"
        if runs
        else "<p>No reports yet: they appear here when the first run has ended.</p>"
    )
    return _page("Reports", table)


def _row(run: ListedRun, *, is_latest: bool) -> str:
    links = " · ".join(
        f'<a href="/{quote(run.name, safe="")}/{file}">{file.rpartition(".")[2].upper()}</a>'
        for file in run.files
    )
    latest = " <span class=quiet>latest</span>" if is_latest else ""
    return (
        f"<tr><td>{run.date}{latest}</td><td>{escape(run.data_name)}"
        f"<br><span class=quiet>{escape(run.name)}</span></td><td>{escape(run.verdict)}</td><td>{links}</td></tr>"
    )


def _page(title: str, body: str) -> str:
    return (
        '<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content="width=device-width">'
        f"<title>{escape(title)}</title><style>{STYLE}</style><body><h1>{escape(title)}</h1>{body}</body></html>\n"
    )


# --- the server --------------------------------------------------------------------------------------


def _served_path(out: Path, run: str, file: str) -> Path | None:
    """Path of a report; None unless it is a plain file in a run folder of `out`, reached by no link."""
    if not RUN_NAME.fullmatch(run) or file not in POLICIES:
        return None
    path = out.resolve() / run / file
    return path if path.is_file() and path.resolve() == path else None


def _policy(path: Path) -> str:
    """Content security policy of a served file.

    A report may run the script whose digest its own head states, and no other: that of the installed version would
    keep reports of other versions from sorting and copying their tables. Names that come from data stand further
    down, so none of them can state a digest.
    """
    policy = POLICIES[path.name]
    if path.name != HTML:
        return policy
    with path.open("rb") as file:
        stated = SCRIPT_DIGEST.search(file.read(HEAD_BYTES))
    return f"{policy}; script-src '{stated[1].decode('ascii')}'" if stated else policy


def _run_of(out: Path, name: str) -> str:
    """`name`, or the run that ``latest``, a link, points to."""
    try:
        return str((out / LATEST).readlink()) if name == LATEST else name
    except OSError:
        return name


def report_app(out: Path, *, host_names: Sequence[str] = ()) -> Starlette:
    """Application that serves the reports below `out`.

    Parameters
    ----------
    out : Path
        Folder of the runs; it may be made later.
    host_names : sequence of str
        Further names in the ``Host`` header that are answered: those under which a reverse
        proxy, which must ask for a password, makes this server known.

    Raises
    ------
    ConfigError
        If a name is not a host name.
    """
    for name in host_names:
        if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,250}[A-Za-z0-9])?", name):
            msg = f"--host-name '{name}' is not a host name: give it without http:// and without a port"
            raise ConfigError(msg)

    def index(_: Request) -> Response:
        return HTMLResponse(index_page(listed_runs(out), latest=_run_of(out, LATEST)))

    def report(request: Request) -> Response:
        run, file = _run_of(out, request.path_params["run"]), request.path_params["file"]
        path = _served_path(out, run, file)
        if path is None:
            return not_found(request, None)
        return FileResponse(
            path,
            headers={"Content-Security-Policy": _policy(path)},
            filename=f"{run}{path.suffix}",
            content_disposition_type="inline",
        )

    def not_found(_: Request, __: Exception | None) -> Response:
        text = '<p>No such report. Reports are listed on the <a href="/">first page</a>.</p>'
        return HTMLResponse(_page("Not Found", text), status_code=404)

    app = Starlette(
        routes=[Route("/", index), Route("/{run}/{file}", report)],
        middleware=[
            Middleware(_WithHeaders),
            Middleware(TrustedHostMiddleware, allowed_hosts=[*LOCAL_NAMES, *host_names], www_redirect=False),
        ],
        exception_handlers={404: not_found},
    )
    app.router.redirect_slashes = False
    return app


class _WithHeaders:
    """Adds `HEADERS` to every answer that does not set them itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)
