"""What is needed to repeat a run: code, versions, machine and configuration."""

from __future__ import annotations

import hashlib
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import PurePath

from pydantic import Field

from medcompare import __version__
from medcompare.code_identity import PACKAGE_ROOT, library_versions
from medcompare.hardware import cpu_name, memory_bytes, usable_cores
from medcompare.records import Record

LIBRARIES = (
    "torch",
    "torchvision",
    "efficientnet-pytorch",
    "numpy",
    "scipy",
    "scikit-learn",
    "statsmodels",
    "pandas",
    "pillow",
    "prefect",
    "matplotlib",
    "weasyprint",
)


class Provenance(Record):
    """What is needed to repeat a run."""

    medcompare_version: str
    code_commit: str | None
    code_dirty: bool | None
    versions: tuple[tuple[str, str], ...]
    python: str
    platform: str
    cpu: str
    n_cores: int
    memory_bytes: int
    gpu: str | None
    started_at: str = Field(description="UTC, ISO 8601.")
    finished_at: str
    command: str = Field(description="How the run was started, without secrets.")
    config_sha256: str


def git(*arguments: str) -> str | None:
    """Output of a git command in the project's folder, None where there is no repository."""
    try:
        done = subprocess.run(  # noqa: S603 - fixed program and arguments
            ["git", "-C", str(PACKAGE_ROOT.parent), *arguments],  # noqa: S607 - git from the PATH
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def collect_provenance(config: Record, *, started_at: datetime, gpu: str | None) -> Provenance:
    """Provenance of a run that started at `started_at` and ends now."""
    commit = git("rev-parse", "HEAD")
    status = git("status", "--porcelain", "--untracked-files=no") if commit else None
    return Provenance(
        medcompare_version=__version__,
        code_commit=commit,
        code_dirty=None if status is None else bool(status),
        versions=library_versions(LIBRARIES),
        python=platform.python_version(),
        platform=platform.platform(terse=True),
        cpu=cpu_name(),
        n_cores=usable_cores(),
        memory_bytes=memory_bytes(),
        gpu=gpu,
        started_at=started_at.astimezone(UTC).isoformat(timespec="seconds"),
        finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
        command=how_started(),
        config_sha256=hashlib.sha256(config.model_dump_json().encode()).hexdigest(),
    )


def how_started() -> str:
    """The command line, with file names shortened to their last part: folders may name people."""
    program = "python -m flows." + PurePath(sys.argv[0]).stem
    return " ".join([program, *(shortened(argument) for argument in sys.argv[1:])])


def shortened(argument: str) -> str:
    """`argument` without the folders of a path in it."""
    option, separator, value = argument.rpartition("=")
    return f"{option}{separator}{PurePath(value).name}" if "/" in value else argument
