"""Web addresses of reports."""

from __future__ import annotations

import pytest

from medcompare.errors import ConfigError
from medcompare.links import for_others, report_link


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
