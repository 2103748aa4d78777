"""The folder of one run: filled out of sight, shown only when it is complete.

A run that fails leaves nothing that looks like a report: everything is written to
``<out>/.<name>.partial`` and renamed at the end.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import re
import shutil
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from medcompare.base.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LATEST = "latest"


def default_run_name(started_at: datetime, data_name: str) -> str:
    """Name such as ``2026-11-22_214005_oral-oscc-224``: sorts by time, safe as a folder."""
    slug = re.sub(r"[^A-Za-z0-9]+", "-", data_name).strip("-").lower() or "run"
    return f"{started_at:%Y-%m-%d_%H%M%S}_{slug[:60]}"


def partial_folder(out: Path, name: str, pid: int) -> Path:
    """Hidden folder that the process `pid` fills for the run `name`."""
    return out / f".{name}.{pid}.partial"


@contextmanager
def run_folder(out: Path, name: str) -> Iterator[Path]:
    """Folder to fill; becomes ``<out>/<name>`` when the block ends without an error.

    Parameters
    ----------
    out : Path
        Folder that receives the runs; made where it is missing.
    name : str
        Name of the run, unique in `out`.

    Yields
    ------
    Path
        The hidden folder being filled.

    Raises
    ------
    ConfigError
        If `out` cannot be written or a run of that name exists.
    """
    final = out / name
    if final.exists():
        msg = f"a run named '{name}' exists in {out}: choose another --name or leave it out"
        raise ConfigError(msg)
    partial = partial_folder(out, name, os.getpid())
    try:
        partial.mkdir(parents=True, exist_ok=True)  # `held_name` may have made it already
    except OSError as error:
        msg = f"out: cannot write to {out} ({error.strerror}): choose another folder with --out"
        raise ConfigError(msg) from None
    try:
        yield partial
        partial.rename(final)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    point_latest(out, name)


def point_latest(out: Path, name: str) -> None:
    """Let ``<out>/latest`` point to the run `name`, without a moment in between."""
    temporary = out / f".{LATEST}.{os.getpid()}"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(name, target_is_directory=True)
    temporary.replace(out / LATEST)


def free_run_name(out: Path, wanted: str) -> str:
    """`wanted`, or with a number behind it where a run of that name exists or is being filled."""
    name, number = wanted, 2
    while (out / name).exists() or any(out.glob(f".{glob.escape(name)}.*.partial")):
        name, number = f"{wanted}-{number}", number + 1
    return name


@contextmanager
def held_name(out: Path, given: str | None, *, started_at: datetime, data_name: str) -> Iterator[str]:
    """`given` as it is, else a default name that is free in `out`; kept from other runs during the block.

    Two runs that begin in the same second would otherwise choose the same name, and the second
    would fail when its report is written.

    Raises
    ------
    ConfigError
        If this process is filling a folder of that name.
    """
    with contextlib.ExitStack() as alone:
        # Where `out` cannot be used, the checks of the run say so in plain words.
        with contextlib.suppress(OSError):
            out.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(out, os.O_RDONLY)
            alone.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        name = given or free_run_name(out, default_run_name(started_at, data_name))
        claim = partial_folder(out, name, os.getpid())
        try:
            claim.mkdir(parents=True)
        except FileExistsError:
            msg = f"a run named '{name}' is being written in {out}: choose another --name or leave it out"
            raise ConfigError(msg) from None
        except OSError:
            pass
    try:
        yield name
    finally:
        with contextlib.suppress(OSError):  # gone where the run has renamed it
            claim.rmdir()


def now() -> datetime:
    """The present, with its time zone."""
    return datetime.now().astimezone()
