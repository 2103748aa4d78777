"""Set-up on machines that lack something: each is told the one thing to do, before any download.

The real script runs in a copy of the project's top, with a folder of stand-in *system* commands
first on the path (an interpreter without pip, an `id` that is not root, ...).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SH = shutil.which("sh") or "/bin/sh"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="set-up is a POSIX shell script")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What set-up needs of the project, in an empty folder, with a folder for stand-ins."""
    (tmp_path / ".make").mkdir()
    for script in (ROOT / ".make").glob("*.sh"):  # what else lies there was made, and may be large
        shutil.copy(script, tmp_path / ".make")
    for name in ("pyproject.toml", "constraints.txt", "Makefile"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "bin").mkdir()
    return tmp_path


def stand_in(checkout: Path, name: str, body: str) -> None:
    """Put a command of this name first on the path."""
    command = checkout / "bin" / name
    command.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    command.chmod(0o755)


def python_without(checkout: Path, *, libraries: str = "", pip: bool = True) -> None:
    """A Python that reports these libraries as missing, with or without pip and venv."""
    refuse = "" if pip else '[ "$2" = pip ] && exit 1\ncase "$2" in *ensurepip*) exit 1;; esac\n'
    probe = f'[ "$1" = - ] && {{ echo "{libraries}"; exit 0; }}\n'
    stand_in(checkout, "python3", f'{refuse}{probe}exec "{sys.executable}" "$@"')


def set_up(checkout: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the script with the stand-ins; anything it would download fails at once."""
    return subprocess.run(
        [SH, ".make/setup.sh"],
        cwd=checkout,
        env={
            "PATH": f"{checkout / 'bin'}:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(checkout / "home"),
            "PIP_NO_INDEX": "1",
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )


def test_no_suitable_python_is_said_clearly(checkout: Path) -> None:
    """The message names the versions that would do, and how to name an interpreter."""
    done = set_up(checkout, PYTHON="/bin/false")

    assert done.returncode == 1
    assert "no Python from 3.11 to 3.14 found (looked for: /bin/false)" in done.stderr
    assert "make compare PYTHON=" in done.stderr


def test_missing_libraries_print_one_command_without_root(checkout: Path) -> None:
    """On Debian, a user who is not root gets exactly one command to type, and nothing is created."""
    python_without(checkout, libraries="libpango-1.0.so.0")
    stand_in(checkout, "id", "echo 1000")
    stand_in(checkout, "apt-get", "echo must not be called >&2; exit 9")
    stand_in(checkout, "uname", "echo Linux")

    done = set_up(checkout)

    assert done.returncode == 1
    commands = [line.strip() for line in done.stderr.splitlines() if "sudo" in line]
    packages = "libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz0b libharfbuzz-subset0 libfontconfig1"
    assert commands == [
        f"sudo apt-get update && sudo apt-get install -y --no-install-recommends {packages}",
    ]
    assert "must not be called" not in done.stderr
    assert not (checkout / ".venv").exists()


def test_root_gets_the_libraries_installed(checkout: Path) -> None:
    """As root on Debian the packages are installed; when apt-get fails its words are shown."""
    python_without(checkout, libraries="libpango-1.0.so.0")
    stand_in(checkout, "id", "echo 0")
    stand_in(
        checkout, "apt-get", 'echo "asked: $*"; [ "$1" = update ] || { echo E: no such package; exit 100; }'
    )

    done = set_up(checkout)

    assert done.returncode == 1
    assert "installing system packages: libpango-1.0-0" in done.stdout
    assert "E: no such package" in done.stderr
    assert "apt-get failed" in done.stderr
    assert not (checkout / ".apt.log").exists()


def test_a_python_without_pip_and_venv_is_told_what_to_install(checkout: Path) -> None:
    """Debian splits pip and venv off; without them and without uv nothing could be fetched."""
    python_without(checkout, pip=False)
    stand_in(checkout, "id", "echo 1000")
    stand_in(checkout, "apt-get", "exit 9")
    stand_in(checkout, "uname", "echo Linux")
    stand_in(checkout, "uv", "exit 1")

    done = set_up(checkout)

    assert done.returncode == 1
    assert "sudo apt-get install -y --no-install-recommends python3-pip" in done.stderr


def test_mac_users_are_told_about_homebrew(checkout: Path) -> None:
    """Without apt-get, on macOS, the one command is brew's."""
    python_without(checkout, libraries="libpango-1.0.dylib")
    stand_in(checkout, "uname", "echo Darwin")
    for tool in ("cat", "cksum", "sed", "dirname", "grep", "rm"):
        (checkout / "bin" / tool).symlink_to(shutil.which(tool) or tool)

    done = set_up(checkout, PATH=str(checkout / "bin"))

    assert done.returncode == 1
    assert "brew install pango" in done.stderr


def test_an_unreachable_index_stops_set_up(checkout: Path) -> None:
    """When uv cannot be fetched the script stops: no half-made environment is taken for a ready one."""
    python_without(checkout)
    stand_in(checkout, "uv", "exit 1")

    done = set_up(checkout, PIP_RETRIES="0")

    assert done.returncode != 0
    assert "setup: ready" not in done.stdout
    assert not (checkout / ".venv" / ".ready").exists()


@pytest.mark.parametrize("backend", ["", "cpu"])
def test_a_ready_environment_is_left_alone(checkout: Path, backend: str) -> None:
    """The second time nothing is looked for and nothing is printed; a chosen backend is kept."""
    (checkout / ".venv" / "bin").mkdir(parents=True)
    (checkout / ".venv" / "bin" / "python").symlink_to(sys.executable)
    files = ("pyproject.toml", "constraints.txt", ".make/setup.sh")
    content = b"".join((checkout / name).read_bytes() for name in files)
    fingerprint = (
        subprocess.run(["cksum"], input=content, capture_output=True, check=True).stdout.decode().strip()
    )
    (checkout / ".venv" / ".ready").write_text(f"{fingerprint}\n{backend}\n", encoding="utf-8")
    stand_in(checkout, "python3", "echo must not be called; exit 9")

    done = set_up(checkout)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_changed_version_is_noticed(checkout: Path) -> None:
    """An edit of constraints.txt makes the environment stale."""
    (checkout / ".venv" / "bin").mkdir(parents=True)
    (checkout / ".venv" / ".ready").write_text("1 2\n\n", encoding="utf-8")

    done = set_up(checkout, PYTHON="/bin/false")

    assert done.returncode == 1
    assert "no Python" in done.stderr


def test_make_lists_its_commands(checkout: Path) -> None:
    """`make` alone prints the commands and changes nothing."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")

    done = subprocess.run(["make"], cwd=checkout, capture_output=True, text=True, check=True, env=os.environ)

    assert "make compare" in done.stdout
    assert "make test " in done.stdout
    assert not (checkout / ".venv").exists()
