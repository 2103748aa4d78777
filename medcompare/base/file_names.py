r"""File names as text: bytes that are not UTF-8, and control characters, are written ``\xNN``.

On Linux a file name is bytes. A folder from an archive made on another system may hold names
in Latin-1, which no table in UTF-8, no JSON and no log can hold as they are. So a name becomes
text once, where a folder is listed, and bytes again where its file is opened; in between it is
ordinary text that can be stored, printed and typed.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated

from pydantic import PlainSerializer, PlainValidator

_BYTE = re.compile(r"\\x([0-9a-f]{2})")
# Also what moves the text around it (UAX #9), breaks a line or cannot be seen, as in a report or log it would.
# Joiners (U+200C, U+200D) stay: Persian and Indian words need them.
_NOT_SHOWN = "\ud800-\udfff\\x00-\\x1f\\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
_TO_ESCAPE = re.compile(f"[{_NOT_SHOWN}]|\\\\(?=x[0-9a-f]{{2}})")
_HIDDEN = re.compile(f"[{_NOT_SHOWN}]")


def escape_name(name: str) -> str:
    r"""`name`, as Python gives names of files, as text that is valid UTF-8.

    A backslash that would read as an escape is escaped itself, so that `real_name` undoes this
    for every name.

    Examples
    --------
    >>> escape_name(os.fsdecode(b"L\xe4sion.png"))
    'L\\xe4sion.png'
    """
    return _TO_ESCAPE.sub(lambda match: "".join(f"\\x{byte:02x}" for byte in os.fsencode(match[0])), name)


def shown(text: str) -> str:
    r"""`text` in one line, without marks that reorder it: each written ``\xNN``; for texts that name no file."""
    return _HIDDEN.sub(lambda match: "".join(f"\\x{byte:02x}" for byte in os.fsencode(match[0])), text)


def real_name(text: str) -> str:
    """Name of the file that `escape_name` made `text` of, as Python's functions take it."""
    parts = _BYTE.split(text)
    content = b"".join(bytes.fromhex(part) if i % 2 else os.fsencode(part) for i, part in enumerate(parts))
    return os.fsdecode(content)


def is_text(name: str) -> bool:
    """Whether `name` can be written as UTF-8 as it is."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def file_at(root: Path, name: str) -> Path:
    """File below `root` that a table calls `name`."""
    return root / real_name(name)


def _as_path(value: str | Path) -> Path:
    return Path(real_name(value)) if isinstance(value, str) else value


EscapedPath = Annotated[
    Path, PlainValidator(_as_path), PlainSerializer(lambda path: escape_name(str(path)), return_type=str)
]
"""A path that may hold any bytes, in a record that travels as JSON."""
