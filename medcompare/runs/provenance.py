"""What is needed to repeat a run: code, versions, machine and configuration."""

from __future__ import annotations

import hashlib
import json
import platform
import shlex
import subprocess
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import Any

from pydantic import BaseModel, Field

from medcompare import __version__
from medcompare.base.code_identity import PACKAGE_ROOT, library_versions
from medcompare.base.hardware import cpu_name, memory_bytes, usable_cores
from medcompare.base.record import Record
from medcompare.base.shared_store import is_address
from medcompare.config.data import DEMO
from medcompare.config.schema import AssessConfig, CompareConfig

SETTINGS_FILE = "settings.json"

LIBRARIES = (
    "torch",
    "torchvision",
    "efficientnet-pytorch",
    "numpy",
    "scipy",
    "scikit-learn",
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
    command: str = Field(description="What repeats the run, however it was started.")
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


def collect_provenance(
    config: CompareConfig | AssessConfig, *, run_name: str, started_at: datetime, gpu: str | None
) -> Provenance:
    """Provenance of the run called `run_name`, which started at `started_at` and ends now."""
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
        command=command_to_repeat(config, run_name),
        config_sha256=hashlib.sha256(config.model_dump_json().encode()).hexdigest(),
    )


def settings_to_repeat(config: CompareConfig | AssessConfig) -> bytes:
    """What a person gave, as JSON for ``--config``: the same run again, with the same origin of each field.

    Paths are absolute, so that the command works in any folder; the name is left out, as the run
    that has it is there already.
    """
    given = config.model_dump(mode="json", exclude_unset=True, exclude={"name"})
    _make_absolute(config, given)
    for folder in ("out", "store"):
        given[folder] = str(Path(getattr(config, folder)).absolute())
    for images in (given.get("data", {}), *given.get("external", {}).values()):
        for field in ("source", "image_root"):
            place = images.get(field)
            if place is not None and place != DEMO and not is_address(place):
                images[field] = str(Path(place).expanduser().absolute())
    return json.dumps(given, indent=2, ensure_ascii=False).encode()


def _make_absolute(record: BaseModel, given: dict[str, Any]) -> None:
    for name, below in list(given.items()):
        value = getattr(record, name)
        if isinstance(value, Path):
            given[name] = str(value.expanduser().absolute())
        elif isinstance(value, BaseModel):
            _make_absolute(value, below)


def command_to_repeat(config: CompareConfig | AssessConfig, run_name: str) -> str:
    """The command line that repeats a run, also one that a form or a schedule started.

    It is to be entered where this software lies. A folder of runs outside of that is written as
    ``...``: names of folders may be names of people.
    """
    flow = "compare" if isinstance(config, CompareConfig) else "assess"
    out = Path(config.out).absolute()
    here = Path.cwd()
    folder = out.relative_to(here).as_posix() if out.is_relative_to(here) else "..."
    return f"python -m flows.{flow} --config {shlex.quote(f'{folder}/{run_name}/{SETTINGS_FILE}')}"


def shortened(argument: str) -> str:
    """`argument` without the folders of a path in it."""
    option, separator, value = argument.rpartition("=")
    return f"{option}{separator}{PurePath(value).name}" if "/" in value else argument
