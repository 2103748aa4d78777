"""The web server of the reports: what it serves, and everything it must not."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import psutil
import pytest

from medcompare.base.errors import ConfigError
from medcompare.runs.report_server import (
    ListedRun,
    for_others,
    index_page,
    listed_runs,
    report_app,
    report_link,
)
from tests.web import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PDF, HTML = b"%PDF-1.7 night", b"<!doctype html><title>night</title>"
UNREADABLE = "results.json cannot be read"


def add_results(
    folder: Path, *, started_at: str = "2026-11-22T02:00:00+00:00", headline: str = "Prefer B"
) -> None:
    """``results.json`` with what the list shows, and more."""
    results = {
        "provenance": {"started_at": started_at, "seed": 0},
        "manifest": {"name": "oral"},
        "assessment": {"verdict": {"headline": headline}},
    }
    (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")


def add_run(out: Path, name: str, *, started_at: str = "2026-11-22T02:00:00+00:00") -> Path:
    """A run folder as runs leave it, with a table of patients beside the report."""
    folder = out / name
    folder.mkdir(parents=True)
    (folder / "report.pdf").write_bytes(PDF)
    (folder / "report.html").write_bytes(HTML)
    add_results(folder, started_at=started_at)
    (folder / "predictions_test.csv").write_text("case_id,patient_id\n1,Mustermann\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder that holds the folder of the runs."""
    return tmp_path_factory.mktemp("place")


@pytest.fixture
def out(place: Path) -> Path:
    """Two nights, the second one ``latest``, and something secret beside the folder of the runs."""
    shutil.rmtree(place)
    runs = place / "runs"
    add_run(runs, "2026-11-21_oral", started_at="2026-11-21T02:00:00+00:00")
    add_run(runs, "2026-11-22_oral")
    (runs / "latest").symlink_to("2026-11-22_oral", target_is_directory=True)
    add_run(place, "elsewhere")
    (place / "secret.pdf").write_bytes(b"secret")
    return runs


@pytest.fixture(scope="module")
def server(place: Path) -> Iterator[int]:
    """Port of the real server."""
    with serving(report_app(place / "runs", host_names=("reports.example.org",))) as port:
        yield port


@pytest.fixture
def port(server: int, out: Path) -> int:  # noqa: ARG001 - made for every test
    """Port of the server, with the folder of the runs as `out` makes it."""
    return server


def ask(
    port: int, path: str, *, method: str = "GET", host: str | None = None
) -> tuple[http.client.HTTPResponse, bytes]:
    """Answer and content; the path goes out exactly as it is given."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host if host is not None else f"127.0.0.1:{port}")
    connection.endheaders()
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer, content


@pytest.mark.parametrize("run", ["2026-11-22_oral", "latest"])
def test_a_pdf_opens_in_the_browser(port: int, run: str) -> None:
    """Whole file, right type, shown and not downloaded, under a telling name, kept by no cache."""
    answer, content = ask(port, f"/{run}/report.pdf")

    assert (answer.status, content) == (200, PDF)
    assert answer.headers["Content-Type"] == "application/pdf"
    assert answer.headers["Content-Length"] == str(len(PDF))
    assert answer.headers["Content-Disposition"] == 'inline; filename="2026-11-22_oral.pdf"'
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_page_that_states_no_script_may_load_nothing_and_run_nothing(port: int) -> None:
    """Only inline styles and embedded pictures: no script, no other server, no form, no frame."""
    answer, content = ask(port, "/2026-11-21_oral/report.html")
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


DIGEST = f"sha256-{base64.b64encode(hashlib.sha256(b'').digest()).decode()}"
STATED = f'<meta http-equiv="Content-Security-Policy" content="script-src \'{DIGEST}\'">'


@pytest.mark.parametrize(
    ("page", "allowed"),
    [
        (f"<!doctype html><html><head>{STATED}<title>night</title>", f"; script-src '{DIGEST}'"),
        (f"<!doctype html><html><head><title>night</title>{' ' * 500}{STATED}", ""),
        (f"<!doctype html>{STATED}".replace(DIGEST, "unsafe-inline"), ""),
        (f"<!doctype html>{STATED}".replace(DIGEST, f"{DIGEST}' 'unsafe-inline"), f"; script-src '{DIGEST}'"),
        ("", ""),
    ],
    ids=["in its head", "below names of the data", "any script", "that one and any other", "an empty file"],
)
def test_a_report_may_run_the_script_that_its_head_states(
    port: int, out: Path, page: str, allowed: str
) -> None:
    """That one and nothing else, whichever version made the report."""
    (out / "2026-11-22_oral" / "report.html").write_text(page, encoding="ascii")
    policy = ask(port, "/2026-11-22_oral/report.html")[0].headers["Content-Security-Policy"]

    assert policy.partition("font-src data:")[2] == allowed
    assert policy.count("script-src") == (1 if allowed else 0)


def test_head_answers_without_content(port: int) -> None:
    """A link checker learns the size and gets no file."""
    answer, content = ask(port, "/latest/report.pdf", method="HEAD")

    assert (answer.status, answer.headers["Content-Length"], content) == (200, str(len(PDF)), b"")


def test_names_with_spaces_open(port: int, out: Path) -> None:
    """Names of runs may hold spaces and dots; in an address they are escaped."""
    add_run(out, "nightly 2026-11-23 oral.v2")

    assert ask(port, "/nightly%202026-11-23%20oral.v2/report.pdf")[1] == PDF
    assert b'href="/nightly%202026-11-23%20oral.v2/report.pdf"' in ask(port, "/")[1]


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
def test_nothing_else_is_served(port: int, path: str) -> None:
    """Tables of patients, other folders, half names: not found, and nothing of them in the answer."""
    answer, content = ask(port, path)

    assert answer.status == 404
    assert b"No such report" in content
    assert b"Mustermann" not in content
    assert b"secret" not in content


def test_links_out_of_the_folder_are_not_followed(port: int, out: Path, place: Path) -> None:
    """A linked run, a linked report and a ``latest`` that leads away are all not found."""
    (out / "linked").symlink_to(place / "elsewhere", target_is_directory=True)
    folder = add_run(out, "with-link")
    (folder / "report.pdf").unlink()
    (folder / "report.pdf").symlink_to(place / "secret.pdf")
    os.mkfifo(add_run(out, "with-pipe") / "pipe")
    (out / "with-pipe" / "report.pdf").unlink()
    (out / "with-pipe" / "pipe").rename(out / "with-pipe" / "report.pdf")

    for target in ("../elsewhere", str(place / "elsewhere"), "latest", "linked", "."):
        (out / "latest").unlink()
        (out / "latest").symlink_to(target)
        assert ask(port, "/latest/report.pdf")[0].status == 404, target
    for run in ("linked", "with-link", "with-pipe"):
        assert ask(port, f"/{run}/report.pdf")[0].status == 404, run
    listed = ask(port, "/")[1].decode()
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
        ("evil.example.com", 400),
        ("127.0.0.1.evil.example.com:4201", 400),
        ("localhost.evil.example.com", 400),
        ("evil.example.com#127.0.0.1", 400),
        ("", 400),
    ],
)
def test_other_names_are_refused(port: int, host: str, status: int) -> None:
    """A page on the internet whose name points here reads no report through a visitor's browser."""
    assert ask(port, "/latest/report.pdf", host=host)[0].status == status


@pytest.mark.parametrize(
    "request_head",
    [
        "GET / HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example.com\r\n",
        "GET <script>alert(1)</script> x y HTTP/1.1\r\n",
    ],
    ids=["no host", "two hosts", "not HTTP"],
)
def test_a_request_that_is_not_understood_is_refused(port: int, request_head: str) -> None:
    """Exactly one Host header is needed; the error repeats nothing of the request."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
        raw.sendall(f"{request_head}Connection: close\r\n\r\n".encode())
        answer = raw.makefile("rb").read()

    assert answer.split()[1] == b"400"
    assert b"alert" not in answer
    assert b"Verdict" not in answer


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_nothing_can_be_written(port: int, method: str) -> None:
    """Reading is all there is, and the answer says so."""
    answer, _ = ask(port, "/latest/report.pdf", method=method)

    assert (answer.status, set(answer.headers["Allow"].split(", "))) == (405, {"GET", "HEAD"})
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_all_of_200_requests_at_once_are_answered(port: int) -> None:
    """The list and a report, as when a mail with a link goes to a whole department."""
    paths = ["/", "/latest/report.pdf"] * 100
    with ThreadPoolExecutor(200) as pool:
        answers = list(pool.map(lambda path: ask(port, path), paths))

    assert {answer.status for answer, _ in answers} == {200}
    assert {content for _, content in answers[1::2]} == {PDF}


def test_list_names_runs_newest_first(port: int, out: Path) -> None:
    """By the time of start, not by name; folders without a report and hidden ones are left out."""
    add_run(out, "a-late-one", started_at="2026-11-23T02:00:00+00:00")
    add_run(out, ".2026-11-24_oral.partial")
    (out / "empty").mkdir()
    _, content = ask(port, "/")
    text = content.decode()

    names = ("a-late-one", "2026-11-22_oral", "2026-11-21_oral")
    places = [text.index(f"/{name}/report.pdf") for name in names]
    assert places == sorted(places)
    assert "partial" not in text
    assert "empty" not in text
    assert text.count("latest</span>") == 1


def test_list_follows_a_changed_folder(out: Path) -> None:
    """Changed results are read again."""
    assert [run.verdict for run in listed_runs(out)] == ["Prefer B", "Prefer B"]
    add_results(out / "2026-11-22_oral", headline="Neither is adequate")

    assert [run.verdict for run in listed_runs(out)] == ["Neither is adequate", "Prefer B"]


def test_list_before_the_first_run(tmp_path: Path) -> None:
    """No folder yet is no error: the page says what will appear."""
    assert listed_runs(tmp_path / "none") == []
    assert "No reports yet" in index_page(())


@pytest.mark.parametrize(
    ("content", "verdict"),
    [
        (b"{", UNREADABLE),
        (b"", UNREADABLE),
        (b"[1, 2]", UNREADABLE),
        (b"\xff\xfe", UNREADABLE),
        (b'{"assessment": {"verdict": {"headline": 7}}, "provenance": []}', UNREADABLE),
        (b'{"assessment": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}", UNREADABLE),
        (b'{"assessment": {"verdict": {"headline": "\\ud800"}}}', UNREADABLE),
        (b'{"provenance": {"started_at": "0001-01-01T00:00:00+14:00"}}', UNREADABLE),
        (b'{"provenance": {"started_at": "9999-12-31T23:59:59-14:00"}}', UNREADABLE),
        (b'{"provenance": {"started_at": "yesterday"}}', UNREADABLE),
        (b'{"provenance": {"started_at": ' + b"9" * 10_000 + b"}}", UNREADABLE),
        (b'{"other": ' + b"9" * 10_000 + b"}", UNREADABLE),
        (b'{"assessment": {"verdict": {"headline": "B"}}, "manifest": null}', "B"),
        (None, "no results.json"),
    ],
    ids=[
        *("cut short", "empty", "a list", "not text", "wrong types", "nested deeply", "lone surrogate"),
        *(
            "year 1",
            "year 9999",
            "no date",
            "huge date",
            "huge number",
            "assessment of predictions",
            "missing",
        ),
    ],
)
def test_results_of_any_shape_are_listed(port: int, out: Path, content: bytes | None, verdict: str) -> None:
    """A damaged file, or one of another version, costs its own line at most; the report still opens."""
    results = out / "2026-11-22_oral" / "results.json"
    results.unlink() if content is None else results.write_bytes(content)
    listed = {run.name: run for run in listed_runs(out)}
    answer, page = ask(port, "/")

    assert listed["2026-11-22_oral"].verdict == verdict
    assert listed["2026-11-22_oral"].files == ("report.pdf", "report.html")
    assert listed["2026-11-21_oral"].verdict == "Prefer B"
    assert answer.status == 200
    assert verdict in page.decode()


def test_what_comes_from_a_run_is_escaped() -> None:
    """Names of data sets and verdicts are text, never markup."""
    evil = "<script>alert('1')</script>\"&"
    page = index_page(
        [
            ListedRun(name="n", data_name=evil, verdict=evil, files=("report.pdf",)),
            ListedRun(name='a" onx="', files=("report.pdf",)),
        ]
    )

    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(&#x27;1&#x27;)&lt;/script&gt;&quot;&amp;") == 2
    assert 'href="/a%22%20onx%3D%22/report.pdf"' in page


def test_style_of_the_list_is_allowed_by_its_policy(port: int) -> None:
    """The digest in the policy is the digest of the style the page carries."""
    answer, content = ask(port, "/")
    style = content.partition(b"<style>")[2].partition(b"</style>")[0]

    digest = base64.b64encode(hashlib.sha256(style).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in answer.headers["Content-Security-Policy"]


def test_the_command_listens_on_the_loopback_interface_until_it_is_told_to_stop(out: Path) -> None:
    """Other machines reach it through a tunnel or a proxy; a second server on the port is refused."""
    command = [sys.executable, "-m", "medcompare", "reports", "--out", str(out), "--port"]
    with subprocess.Popen(
        [*command, "0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as one:
        assert one.stdout is not None
        port = int(one.stdout.readline().rpartition(":")[2])
        addresses = {found.laddr.ip for found in psutil.Process(one.pid).net_connections() if found.laddr}
        content = ask(port, "/latest/report.pdf")[1]
        other = subprocess.run([*command, str(port)], capture_output=True, text=True, check=False)
        one.send_signal(signal.SIGINT)
        status = one.wait(30)

    assert (addresses, content, status) == ({"127.0.0.1"}, PDF, 130)
    assert other.returncode == 2
    assert f"port {port} cannot be used" in other.stderr
    assert "--port" in other.stderr


@pytest.mark.parametrize("name", ["https://a.example.org", "a.example.org:80", "", "a b", "*"])
def test_host_names_are_checked(out: Path, name: str) -> None:
    """An address or a pattern is no host name."""
    with pytest.raises(ConfigError, match="is not a host name"):
        report_app(out, host_names=(name,))


# --- links -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("environment", [{}, {"MEDCOMPARE_LINK_BASE": ""}, {"MEDCOMPARE_LINK_BASE": "  "}])
def test_no_base_no_link(environment: dict[str, str]) -> None:
    """Nobody serves the folder of runs: there is no address to give."""
    assert report_link("2026-11-22_020000_oral", environment) is None


@pytest.mark.parametrize(
    ("base", "name", "link"),
    [
        ("https://reports.example", "one", "https://reports.example/one/report.pdf"),
        ("https://reports.example/", "one", "https://reports.example/one/report.pdf"),
        (" http://ward7:8081/runs// ", "one", "http://ward7:8081/runs/one/report.pdf"),
        (
            "https://reports.example",
            "Night of 5 Nov",
            "https://reports.example/Night%20of%205%20Nov/report.pdf",
        ),
        (
            "https://reports.example",
            "a/../b?c#d%",
            "https://reports.example/a%2F..%2Fb%3Fc%23d%25/report.pdf",
        ),
        ("https://reports.example", "grün", "https://reports.example/gr%C3%BCn/report.pdf"),
    ],
)
def test_a_link_names_the_report_of_the_run(base: str, name: str, link: str) -> None:
    """Slashes at the end of the base do not double; nothing in a name leaves its place in the path."""
    assert report_link(name, {"MEDCOMPARE_LINK_BASE": base}) == link


@pytest.mark.parametrize(
    "base",
    [
        "reports.example",
        "ftp://reports.example",
        "javascript:alert(1)",
        "https://",
        "https://reports.example/a b",
        'https://reports.example/"><script>',
        "https://reports.example/\nBcc: spy@evil.example",
    ],
)
def test_anything_else_is_refused(base: str) -> None:
    """Only a web address goes into a mail and onto a page."""
    with pytest.raises(
        ConfigError, match=r"MEDCOMPARE_LINK_BASE: .* is not an address that begins with https://"
    ):
        report_link("one", {"MEDCOMPARE_LINK_BASE": base})


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (None, None),
        ("http://127.0.0.1:4201/run/report.pdf", None),
        ("http://localhost:4200/runs/1", None),
        ("http://[::1]:4200/runs/1", None),
        ("https://reports.clinic.example/run/report.pdf", "https://reports.clinic.example/run/report.pdf"),
    ],
)
def test_a_mail_links_only_where_others_can_go(address: str | None, expected: str | None) -> None:
    """An address of this machine means nothing in somebody else's inbox."""
    assert for_others(address) == expected
