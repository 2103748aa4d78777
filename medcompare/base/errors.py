"""Errors a person can act on: each message names the file or field and the remedy.

`DataError` and `ConfigError` mean the input must change (exit status 2, never
retried). `ArtifactError` means a stored file is gone or altered (computed anew).
`DiskFullError` means what it says.
`TrainingError` means a training failed; `transient` says whether trying again can help.
"""

from __future__ import annotations

import re

_NOT_TEXT = re.compile("[\ud800-\udfff]")
"""Python's stand-ins for bytes that are not UTF-8."""


class MedcompareError(Exception):
    r"""Base of every error this project raises on purpose.

    Bytes of a file name that are not UTF-8 stand in the message as ``\xNN``
    (`medcompare.base.file_names`), so that every log and database can hold it.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(_NOT_TEXT.sub(lambda match: f"\\x{ord(match[0]) & 0xFF:02x}", message))


class InputError(MedcompareError):
    """The user's input must change; trying again cannot help."""


class ConfigError(InputError):
    """A configuration field or command-line argument is wrong."""


class DataError(InputError):
    """The images, a manifest or a table of predictions are not usable."""


class WeightsError(InputError):
    """Pretrained weights cannot be had or are not the published file."""


class ArtifactError(MedcompareError):
    """A stored file is missing or does not match its recorded digest."""


class DiskFullError(MedcompareError):
    """There is no room left to write to; trying again at once cannot help."""


EXPECTED_ERRORS = (InputError, DiskFullError)
"""What a person must mend outside the software: its sentence says all, a traceback would hide it."""


class UnexpectedError(MedcompareError):
    """An error that nobody foresaw, without the data that its message may hold (see `medcompare.base.discretion`)."""


class TrainingError(MedcompareError):
    """A training process failed.

    Parameters
    ----------
    message : str
        What happened, when (epoch, step) and what to do.
    transient : bool, default=False
        Whether the same training may succeed when tried again (device busy,
        process killed from outside); never for a loss that is not finite.
    """

    def __init__(self, message: str, *, transient: bool = False) -> None:
        super().__init__(message)
        self.transient = transient
