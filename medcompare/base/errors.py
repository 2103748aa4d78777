"""Errors a person can act on: each message names the file or field and the remedy.

`DataError` and `ConfigError` mean the input must change (exit status 2, never
retried). `ArtifactError` means a stored file is missing or was altered (computed again).
`TrainingError` means a training failed; `transient` says whether trying again can help.

Messages may name files and values, so they stay in the log of the run. What leaves the
machine, such as a mail, quotes only the class and its constant `public`.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import sqlite3
import traceback
from typing import TYPE_CHECKING, ClassVar

from medcompare.base.language import message

if TYPE_CHECKING:
    from pathlib import Path

_OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}
_SQLITE = {sqlite3.SQLITE_FULL: errno.ENOSPC, sqlite3.SQLITE_READONLY: errno.EROFS}
_NOT_TEXT = re.compile("[\ud800-\udfff]")
"""Python's placeholders for bytes that are not UTF-8."""

MAX_FRAMES = 12
STAGE_ATTRIBUTE = "medcompare_stage"
"""Where `medcompare.runs.stages` notes the stage an error was raised in."""


class MedcompareError(Exception):
    r"""Base of every error this project raises on purpose.

    Bytes of a file name that are not UTF-8 appear in the message as ``\xNN``
    (`medcompare.base.file_names`), so that every log and database can hold it.

    Parameters
    ----------
    message : str
        What happened, where, and what to do.
    how : str, default=""
        What happened in words without data, which may be mailed, where that is more than `public`.
    """

    public: ClassVar[str] = ""
    """What may be mailed about an error of this class: a constant, without data."""

    def __init__(self, message: str = "", *, how: str = "") -> None:
        self.how = how
        super().__init__(_NOT_TEXT.sub(lambda match: f"\\x{ord(match[0]) & 0xFF:02x}", message))


class InputError(MedcompareError):
    """The user's input must change; trying again cannot help."""

    public = message("the input cannot be used")


class ConfigError(InputError):
    """A configuration field or command-line argument is wrong."""

    public = message("a setting is wrong")


class DataError(InputError):
    """The images, a manifest or a table of predictions are not usable."""

    public = message("images, manifest or prediction table cannot be used")


class WeightsError(InputError):
    """Pretrained weights cannot be had or are not the published file."""

    public = message("pretrained weights are missing or not the published file")


class ArtifactError(MedcompareError):
    """A stored file is missing or does not match its recorded digest."""

    public = message("a file of the store is missing or was altered")


class SharedStoreError(MedcompareError):
    """The bucket of a shared store cannot be read or written to; trying again may help."""

    public = message("the bucket of the store cannot be reached")


class RegistryError(MedcompareError):
    """The model registry does not answer, or not as one; trying again may help."""

    public = "the model registry cannot be reached"


class ExportError(MedcompareError):
    """A network that is exported does not give the scores of its run."""

    public = message("an exported network does not give the scores of its run")


class ReportError(MedcompareError):
    """The report, or its PDF, cannot be made."""

    public = message("the report cannot be made")


class DiskFullError(MedcompareError):
    """There is no room left to write to; trying again at once cannot help."""

    public = message("no space left on the disk")


def cannot_write(error: OSError, folder: Path, *, n_bytes: int | None = None) -> MedcompareError | OSError:
    """`error` of writing below `folder` in words, with the remedy; itself where nothing better can be said.

    `n_bytes` is what was to be written, where that is known; what was written of it must be removed before.
    """
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        why = "disk is full" if error.errno == errno.ENOSPC else "disk quota is used up"
        free = shutil.disk_usage(next(place for place in (folder, *folder.parents) if place.exists())).free
        missing = "" if n_bytes is None else f", and {n_bytes / 1e6:.3g} MB are to be written there"
        return DiskFullError(
            f"the {why}: {free / 1e6:.3g} MB free where {folder} lies{missing}; free some "
            "(medcompare prune shows what can be deleted) or choose another folder with --store or --out. "
            "The same command then goes on from there"
        )
    if error.errno == errno.EFBIG:
        return DiskFullError(
            f"a file in {folder} would be larger than this system allows: raise the limit (ulimit -f unlimited) "
            "or choose another folder with --store or --out"
        )
    if error.errno in {errno.EROFS, errno.EACCES, errno.EPERM}:
        return ConfigError(
            f"{folder} cannot be written to ({error.strerror}): let this user write there or choose another folder "
            "with --store or --out"
        )
    return error


WRITE_ERRORS = (OSError, DiskFullError, ConfigError)
"""Of whatever writes: what `cannot_write` makes of an error, and those that it leaves as they are."""
EXPECTED_ERRORS = (InputError, DiskFullError)
"""What a person must fix outside the software: the message says all, a traceback would hide it."""


class UnexpectedError(MedcompareError):
    """An error that nobody foresaw, as `redact` reports it; `kind` is the class it had."""

    public = message("an unexpected error in the software")

    def __init__(self, message: str = "", *, kind: str = "UnexpectedError") -> None:
        super().__init__(message)
        self.kind = kind


class TrainingError(MedcompareError):
    """A training process failed.

    Parameters
    ----------
    message : str
        What happened, when (epoch, step) and what to do.
    transient : bool, default=False
        Whether the same training may succeed when tried again (device busy,
        process killed from outside); never for a loss that is not finite.
    how : str, default=""
        As of `MedcompareError`: how the process ended.
    """

    public = message("a training or prediction process failed")

    def __init__(self, message: str, *, transient: bool = False, how: str = "") -> None:
        super().__init__(message, how=how)
        self.transient = transient


class MemoryRanOutError(TrainingError):
    """Memory ran out on one of several devices; the same training may succeed with fewer images at once."""


class PeerError(TrainingError):
    """Another process of the same training has ended; it knows why."""


def redact(error: Exception, store: Path | None = None) -> Exception:
    """`error` if it is one of ours, else one that repeats no data.

    Messages of Python and of libraries may hold whatever was being worked on: a key, a row, a
    whole table. So only the class, and the modules, functions and lines it passed through, are kept.

    Parameters
    ----------
    error : Exception
        Of whatever kind.
    store : Path, optional
        Where is written to, to be named where the disk is full or read-only.

    Returns
    -------
    Exception
        A `MedcompareError`; for an error of the system an `OSError` of the same number, without its file.
    """
    if isinstance(error, MedcompareError):
        return error
    number = _SQLITE.get(getattr(error, "sqlite_errorcode", 0), getattr(error, "errno", None))
    if number in _OF_THE_DISK and store is not None:
        clean: Exception = cannot_write(OSError(number, os.strerror(number)), store)
    elif isinstance(error, OSError) and error.errno is not None:
        clean = OSError(error.errno, os.strerror(error.errno))
    else:
        kind = type(error).__name__
        note = "This is a fault of the software: please report these lines, which hold no data of yours."
        clean = UnexpectedError("\n  ".join([f"{kind}\n{note}", *_places(error)]), kind=kind)
    if hasattr(error, STAGE_ATTRIBUTE):
        setattr(clean, STAGE_ATTRIBUTE, getattr(error, STAGE_ATTRIBUTE))
    return clean


def _places(error: Exception) -> list[str]:
    """Where `error` passed through our code, and where it was raised."""
    frames = list(traceback.walk_tb(error.__traceback__))
    names = [str(frame.f_globals.get("__name__", "?")) for frame, _ in frames]
    return [
        f"{name}, line {line}, in {frame.f_code.co_name}"
        for position, (name, (frame, line)) in enumerate(zip(names, frames, strict=True), start=1)
        if name.partition(".")[0] in {"medcompare", "tasks", "flows"} or position == len(frames)
    ][-MAX_FRAMES:]
