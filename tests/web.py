"""Web servers on this machine that tests ask."""

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import uvicorn
from starlette.applications import Starlette


class QuietHandler(BaseHTTPRequestHandler):
    """Says nothing on the terminal."""

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        """Answer with a body of stated length; `headers` with ``_`` for ``-``."""
        self.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)


class Asked(NamedTuple):
    """One request."""

    path: str
    login: str | None
    """Its ``Authorization``."""


@contextmanager
def running(server: ThreadingHTTPServer) -> Iterator[str]:
    """Let `server` answer; yields its address."""
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


@contextmanager
def web_server(answers: Mapping[str, tuple[int, str]]) -> Iterator[tuple[str, list[Asked]]]:
    """A server with these answers to GET, 404 elsewhere; yields its address and what it was asked."""
    asked: list[Asked] = []

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            asked.append(Asked(self.path, self.headers.get("Authorization")))
            status, text = answers.get(self.path, (404, "no"))
            self.answer(status, text.encode())

    with running(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as address:
        yield address, asked


@contextmanager
def serving(app: Starlette) -> Iterator[int]:
    """Port on which an application of ours answers."""
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield int(listening.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join()
