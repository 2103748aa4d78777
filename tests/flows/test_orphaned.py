"""A run goes on where nobody reads any more what it prints."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

PRINTING = """
import logging, sys
import flows
from prefect.logging import get_logger
from prefect.logging.configuration import setup_logging
from flows.orphaned import go_on_without_reader

setup_logging()
if sys.argv[1] == "prepared":
    go_on_without_reader()
get_logger("night").info("one line")
sys.stdin.readline()
for _ in range(2):
    get_logger("night").info("nobody reads this")
    logging.getLogger("medcompare.train").info("nor this")
print("went on")
"""


@pytest.mark.parametrize(("how", "ended"), [("prepared", (0, "went on\n")), ("as Prefect is", (1, ""))])
def test_lines_nobody_reads_end_nothing(how: str, ended: tuple[int, str]) -> None:
    """The other end of the pipe closes, as when a worker is killed; unprepared, the process ends there and then."""
    with subprocess.Popen(
        [sys.executable, "-c", PRINTING, how],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        assert "one line" in process.stderr.readline()
        process.stderr.close()
        process.stdin.write("\n")
        process.stdin.close()
        printed = process.stdout.read()
        assert (process.wait(60), printed) == ended
