"""The web server of the reports: what it serves, and everything it must not."""

from __future__ import annotations

import http.client
import json
import os
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from medcompare.errors import ConfigError
from medcompare.report_server import ReportServer, index_page
from medcompare.served_reports import ListedRun, Reports, summary_of_results

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PDF, HTML = b"%PDF-1.7 night", b"<!doctype html><title>night</title>"


def add_run(out: Path, name: str, *, started_at: str = "2026-11-22T02:00:00+00:00", **texts: str) -> Path:
    """A run folder as runs leave it, with a table of patients beside the report."""
    folder = out / name
    folder.mkdir(parents=True)
    results = {
        "provenance": {"started_at": started_at},
        "manifest": {"name": texts.get("data_name", "oral")},
        "assessment": {"verdict": {"headline": texts.get("headline", "Prefer B")}},
    }
    (folder / "report.pdf").write_bytes(PDF)
    (folder / "report.html").write_bytes(HTML)
    (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
    (folder / "predictions_test.csv").write_text("case_id,patient_id\n1,Mustermann\n", encoding="utf-8")
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Two nights, the second one ``latest``, and something secret beside the folder of the runs."""
    runs = tmp_path / "runs"
    add_run(runs, "2026-11-21_oral", started_at="2026-11-21T02:00:00+00:00")
    add_run(runs, "2026-11-22_oral")
    (runs / "latest").symlink_to("2026-11-22_oral", target_is_directory=True)
    add_run(tmp_path, "elsewhere")
    (tmp_path / "secret.pdf").write_bytes(b"secret")
    return runs


@pytest.fixture
def server(out: Path) -> Iterator[ReportServer]:
    """The real server on a free port."""
    with ReportServer(out, port=0, host_names=("reports.example.org",)) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def ask(
    server: ReportServer, path: str, *, method: str = "GET", host: str | None = None
) -> tuple[http.client.HTTPResponse, bytes]:
    """Answer and content; the path goes out exactly as it is given."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host if host is not None else f"127.0.0.1:{server.port}")
    connection.endheaders()
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer, content


@pytest.mark.parametrize("run", ["2026-11-22_oral", "latest"])
def test_a_pdf_opens_in_the_browser(server: ReportServer, run: str) -> None:
    """Whole file, right type, shown and not downloaded, under a telling name, kept by no cache."""
    answer, content = ask(server, f"/{run}/report.pdf")

    assert (answer.status, content) == (200, PDF)
    assert answer.headers["Content-Type"] == "application/pdf"
    assert answer.headers["Content-Length"] == str(len(PDF))
    assert answer.headers["Content-Disposition"] == 'inline; filename="2026-11-22_oral.pdf"'
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_an_html_report_may_load_nothing_and_run_nothing(server: ReportServer) -> None:
    """Only inline styles and embedded pictures: no script, no other server, no form, no frame."""
    answer, content = ask(server, "/2026-11-21_oral/report.html")
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";"))

    assert (answer.status, content) == (200, HTML)
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert policy == {
        "default-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "style-src": "'unsafe-inline'",
        "img-src": "data:",
        "font-src": "data:",
    }


def test_head_answers_without_content(server: ReportServer) -> None:
    """A link checker learns the size and gets no file."""
    answer, content = ask(server, "/latest/report.pdf", method="HEAD")

    assert (answer.status, answer.headers["Content-Length"], content) == (200, str(len(PDF)), b"")


def test_names_with_spaces_open(server: ReportServer, out: Path) -> None:
    """Names of runs may hold spaces and dots; in an address they are escaped."""
    add_run(out, "nightly 2026-11-23 oral.v2")

    assert ask(server, "/nightly%202026-11-23%20oral.v2/report.pdf")[1] == PDF
    assert b'href="/nightly%202026-11-23%20oral.v2/report.pdf"' in ask(server, "/")[1]


@pytest.mark.parametrize(
    "path",
    [
        "/2026-11-22_oral/predictions_test.csv",
        "/2026-11-22_oral/results.json",
        "/2026-11-22_oral/config.json",
        "/2026-11-22_oral/",
        "/2026-11-22_oral",
        "/2026-11-22_oral/report.pdf/",
        "/2026-11-22_oral/./report.pdf",
        "/2026-11-22_oral/../2026-11-22_oral/report.pdf",
        "/no-such-run/report.pdf",
        "/../elsewhere/report.pdf",
        "/..%2felsewhere/report.pdf",
        "/%2e%2e/elsewhere/report.pdf",
        "/%2e%2e%2felsewhere/report.pdf",
        "/..\\elsewhere/report.pdf",
        "/2026-11-22_oral/..%2f..%2fsecret.pdf",
        "/2026-11-22_oral%00/report.pdf",
        "/2026-11-22_oral/report.pdf%00.html",
        "/%ff%fe/report.pdf",
        "/./report.pdf",
        "//report.pdf",
        "/.hidden/report.pdf",
        "/" + "a" * 3000 + "/report.pdf",
        "http://127.0.0.1/2026-11-22_oral/report.pdf",
        "*",
        "/favicon.ico",
        "/etc/passwd",
    ],
)
def test_nothing_else_is_served(server: ReportServer, path: str) -> None:
    """Tables of patients, other folders, half names: not found, and nothing of them in the answer."""
    answer, content = ask(server, path)

    assert answer.status == 404
    assert b"No such report" in content
    assert b"Mustermann" not in content
    assert b"secret" not in content


def test_links_out_of_the_folder_are_not_followed(server: ReportServer, out: Path, tmp_path: Path) -> None:
    """A linked run, a linked report and a ``latest`` that leads away are all not found."""
    (out / "linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    folder = add_run(out, "with-link")
    (folder / "report.pdf").unlink()
    (folder / "report.pdf").symlink_to(tmp_path / "secret.pdf")
    os.mkfifo(add_run(out, "with-pipe") / "pipe")
    (out / "with-pipe" / "report.pdf").unlink()
    (out / "with-pipe" / "pipe").rename(out / "with-pipe" / "report.pdf")

    for target in ("../elsewhere", str(tmp_path / "elsewhere"), "latest", "linked", "."):
        (out / "latest").unlink()
        (out / "latest").symlink_to(target)
        assert ask(server, "/latest/report.pdf")[0].status == 404, target
    for run in ("linked", "with-link", "with-pipe"):
        assert ask(server, f"/{run}/report.pdf")[0].status == 404, run
    listed = ask(server, "/")[1].decode()
    assert "linked" not in listed
    assert "/with-link/report.html" in listed
    assert "/with-link/report.pdf" not in listed


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:9999", 200),
        ("LOCALHOST", 200),
        ("127.0.0.1", 200),
        ("[::1]:4201", 200),
        ("reports.example.org", 200),
        ("evil.example.com", 421),
        ("127.0.0.1.evil.example.com:4201", 421),
        ("localhost.evil.example.com", 421),
        ("evil.example.com#127.0.0.1", 421),
        ("", 421),
    ],
)
def test_other_names_are_refused(server: ReportServer, host: str, status: int) -> None:
    """A page on the internet whose name points here reads no report through a visitor's browser."""
    assert ask(server, "/latest/report.pdf", host=host)[0].status == status


def test_exactly_one_host_is_needed(server: ReportServer) -> None:
    """No Host header, or two that differ: refused."""
    for headers in ("", "Host: 127.0.0.1\r\nHost: evil.example.com\r\n"):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
            raw.sendall(f"GET / HTTP/1.1\r\n{headers}Connection: close\r\n\r\n".encode())
            assert raw.makefile("rb").readline().split()[1] == b"421"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_nothing_can_be_written(server: ReportServer, method: str) -> None:
    """Reading is all there is, and the answer says so."""
    answer, _ = ask(server, "/latest/report.pdf", method=method)

    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_what_is_no_http_gets_the_same_headers(server: ReportServer) -> None:
    """Nonsense is answered with an error that repeats nothing of it."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
        raw.sendall(b"GET <script>alert(1)</script> x y HTTP/1.1\r\n\r\n")
        answer = raw.makefile("rb").read()

    assert b" 400 " in answer.splitlines()[0]
    assert b"Content-Security-Policy: default-src 'none'" in answer
    assert b"alert(1)" not in answer


def test_listens_on_the_loopback_interface_only(server: ReportServer) -> None:
    """Other machines reach it through a tunnel or a proxy that asks who they are, or not at all."""
    assert server.server_address[0] == "127.0.0.1"


def test_list_names_runs_newest_first(server: ReportServer, out: Path) -> None:
    """By the time of start, not by name; folders without a report and hidden ones are left out."""
    add_run(out, "a-late-one", started_at="2026-11-23T02:00:00+00:00")
    add_run(out, ".2026-11-24_oral.partial")
    (out / "empty").mkdir()
    _, content = ask(server, "/")
    text = content.decode()

    names = ("a-late-one", "2026-11-22_oral", "2026-11-21_oral")
    places = [text.index(f"/{name}/report.pdf") for name in names]
    assert places == sorted(places)
    assert "partial" not in text
    assert "empty" not in text
    assert text.count("latest</span>") == 1


def test_list_follows_a_changed_folder(out: Path) -> None:
    """A result that is written anew is read anew; an unchanged one is remembered."""
    reports = Reports(out)
    assert [run.headline for run in reports.newest_first()] == ["Prefer B", "Prefer B"]
    results = out / "2026-11-22_oral" / "results.json"
    changed = results.read_text("utf-8").replace("Prefer B", "Neither is adequate")
    results.write_text(changed, encoding="utf-8")

    assert [run.headline for run in reports.newest_first()] == ["Neither is adequate", "Prefer B"]
    assert reports.newest_first()[0] is reports.newest_first()[0]


def test_list_before_the_first_run(tmp_path: Path) -> None:
    """No folder yet is no error: the page says what will appear."""
    assert Reports(tmp_path / "none").newest_first() == ()
    assert Reports(tmp_path / "none").latest() is None
    assert "No reports yet" in index_page(())


@pytest.mark.parametrize(
    ("content", "headline", "note"),
    [
        (b"{", None, "results.json cannot be read"),
        (b"[1, 2]", None, None),
        (b'{"assessment": {"verdict": {"headline": 7}}, "provenance": []}', None, None),
        (b'{"assessment": {"verdict": {"headline": "B"}}, "manifest": null}', "B", None),
    ],
    ids=["not JSON", "a list", "wrong types", "assessment of predictions"],
)
def test_results_of_any_shape_are_listed(content: bytes, headline: str | None, note: str | None) -> None:
    """A file of another version, or a damaged one, costs its own line at most."""
    run = summary_of_results("night", content, ("report.pdf",))

    assert (run.headline, run.note, run.started_at) == (headline, note, None)


def test_run_without_results_is_listed_by_name(out: Path) -> None:
    """Its report can still be opened."""
    (out / "2026-11-22_oral" / "results.json").unlink()

    run = next(run for run in Reports(out).newest_first() if run.name == "2026-11-22_oral")
    assert (run.note, run.files) == ("no results.json", ("report.pdf", "report.html"))


def test_what_comes_from_a_run_is_escaped() -> None:
    """Names of data sets and verdicts are text, never markup."""
    evil = "<script>alert('1')</script>\"&"
    page = index_page(
        [
            ListedRun(name="n", started_at=None, data_name=evil, headline=evil, files=("report.pdf",)),
            ListedRun(name='a" onx="', started_at=None, data_name=None, headline=None, files=("report.pdf",)),
        ]
    )

    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(&#x27;1&#x27;)&lt;/script&gt;&quot;&amp;") == 2
    assert 'href="/a%22%20onx%3D%22/report.pdf"' in page


def test_style_of_the_list_is_allowed_by_its_policy(server: ReportServer) -> None:
    """The digest in the policy is the digest of the style the page carries."""
    import base64
    import hashlib

    answer, content = ask(server, "/")
    style = content.partition(b"<style>")[2].partition(b"</style>")[0]

    digest = base64.b64encode(hashlib.sha256(style).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in answer.headers["Content-Security-Policy"]


def test_port_that_is_taken_is_refused(server: ReportServer, out: Path) -> None:
    """The message names the port and the option."""
    with pytest.raises(ConfigError, match=rf"port {server.port} cannot be used .*--port"):
        ReportServer(out, port=server.port)


@pytest.mark.parametrize("name", ["https://a.example.org", "a.example.org:80", "", "a b", "*"])
def test_host_names_are_checked(out: Path, name: str) -> None:
    """An address or a pattern is no host name."""
    with pytest.raises(ConfigError, match="is not a host name"):
        ReportServer(out, port=0, host_names=(name,))
