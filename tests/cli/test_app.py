"""One command: help that answers at once, the same end for every mistake, completion, a page of the manual."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer.main

from medcompare.cli.app import app, main

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = [
    "compare",
    "assess",
    "export",
    "predict",
    "registry",
    "pdf",
    "reproduce",
    "history",
    "doctor",
    "prune",
    "serve",
    "reports",
    "recover",
]


def python(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """What Python prints, started in the checkout."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT, env={**os.environ, **variables}, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip


def test_help_lists_every_command_in_a_line_and_loads_no_slow_library() -> None:
    """First what is used most; no summary is cut off at 80 columns."""
    code = (
        "import sys\nfrom medcompare.cli.app import main\n"
        "for command in ([], *([name] for name in sys.argv[1:])): assert main([*command, '--help']) == 0\n"
        "slow = 'torch prefect pandas numpy scipy sklearn matplotlib weasyprint uvicorn'.split()\n"
        "print([name for name in slow if name in sys.modules])"
    )

    lines = python("-c", code, *COMMANDS, COLUMNS="80").stdout.splitlines()

    at = lines.index("Commands:") + 1
    rows = [line.split(maxsplit=1) for line in lines[at : at + len(COMMANDS)]]
    assert [name for name, _ in rows] == COMMANDS
    assert all(re.fullmatch(r"[A-Z].*[^.]\.", summary) for _, summary in rows)
    assert lines[at + len(COMMANDS)] == ""
    assert lines[-1] == "[]"


def test_every_command_has_its_help_in_the_manual() -> None:
    """The page is generated; a command without a mark would be left out."""
    page = (ROOT / "docs/command-line.md").read_text("utf-8")

    assert re.findall(r"^<!-- generated: command-help medcompare (\w+) -->$", page, re.MULTILINE) == COMMANDS
    assert list(typer.main.get_command(app).commands) == COMMANDS  # type: ignore[attr-defined] # it is a group


@pytest.mark.parametrize("command", COMMANDS)
def test_a_wrong_option_is_one_line_and_status_2(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """On the stream of errors, and where to look; the same in every command."""
    arguments = ["start"] if command == "serve" else []

    assert main([command, *arguments, "--nonsense"]) == 2

    said = capsys.readouterr()
    assert said.out == ""
    assert re.fullmatch(
        rf"error: No such option: --nonsense.* \(see medcompare {command} --help\)\n", said.err
    )


def test_an_unknown_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """With the one that was probably meant."""
    assert main(["hist"]) == 2
    assert re.match(r"error: No such command 'hist'.*history", capsys.readouterr().err)


def test_a_package_that_is_not_installed_is_named() -> None:
    """As on a machine that only predicts, which has no torch."""
    code = (
        "import sys\nsys.modules['torch'] = None\nfrom medcompare.cli.app import main\n"
        "sys.exit(main(['export', 'x']))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert ended.returncode == 1
    assert ended.stderr == (
        "error: this command needs torch, which is not installed: python -m pip install torch\n"
    )


def test_ctrl_c_is_status_130(tmp_path: Path) -> None:
    """One word, no traceback."""
    child = subprocess.Popen(
        [sys.executable, "-m", "medcompare", "reports", "--port", "0", "--out", str(tmp_path)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stdout.readline().startswith("Reports of")
    time.sleep(0.5)
    child.send_signal(signal.SIGINT)
    _, complaints = child.communicate(timeout=30)

    assert child.returncode == 130
    assert complaints.endswith("interrupted\n")
    assert "Traceback" not in complaints


def test_the_shell_completes_commands_options_and_values() -> None:
    """As the script does that --show-completion prints; it asks which shell it was started from."""
    in_bash = f"{shlex.quote(sys.executable)} -m medcompare --show-completion; exit $?"
    script = subprocess.check_output(["bash", "-c", in_bash], cwd=ROOT, text=True, timeout=60)
    assert "_MEDCOMPARE_COMPLETE=complete_bash" in script

    def offered(line: str) -> list[str]:
        variables = {
            "_MEDCOMPARE_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(line.count(" ")),
        }
        return python("-m", "medcompare", **variables).stdout.split()

    assert offered("medcompare ") == COMMANDS
    assert offered("medcompare prune --keep-") == ["--keep-runs", "--keep-days"]
    assert offered("medcompare history --status fa") == ["failed"]
    assert "resnet50" in offered("medcompare compare --models ")
