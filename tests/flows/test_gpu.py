"""A server that is gone for a moment costs neither a run nor the work that was done."""

from __future__ import annotations

import http.server
import threading

import httpx
import pytest
from prefect import task
from prefect.states import Failed

from medcompare.base.errors import redact
from tasks.cache import is_retryable, redact_tracebacks
from tasks.gpu import patient
from tests.notify.mail_servers import free_port


def test_a_server_that_starts_again_is_waited_for() -> None:
    """Asked again until it answers."""
    port, asked = free_port(), []
    server: list[http.server.HTTPServer] = []

    def ask() -> int:
        asked.append(1)
        if len(asked) == 3:
            server.append(http.server.HTTPServer(("127.0.0.1", port), http.server.SimpleHTTPRequestHandler))
            threading.Thread(target=server[0].handle_request, daemon=True).start()
        return httpx.head(f"http://127.0.0.1:{port}/", trust_env=False).status_code

    assert patient(ask, pauses_s=(0, 0, 0, 0)) == 200
    assert len(asked) == 3
    server[0].server_close()


def test_a_server_that_stays_away_is_an_error() -> None:
    """After the last pause, with the error of the client."""
    port, asked = free_port(), []

    def ask() -> None:
        asked.append(1)
        httpx.head(f"http://127.0.0.1:{port}/", trust_env=False)

    with pytest.raises(httpx.ConnectError):
        patient(ask, pauses_s=(0, 0))
    assert len(asked) == 3


def test_a_task_that_misses_the_server_is_tried_again() -> None:
    """The error says so, in the log and in a mail, and holds no address."""

    @redact_tracebacks
    @task
    def ask() -> None:
        httpx.head(f"http://127.0.0.1:{free_port()}/secret", trust_env=False)

    with pytest.raises(ConnectionRefusedError, match=r"\] the Prefect server does not answer$") as caught:
        ask.fn()
    assert str(redact(caught.value)) == "[Errno 111] Connection refused"
    assert is_retryable(ask, None, Failed(data=caught.value))  # type: ignore[arg-type] # the run is not looked at
