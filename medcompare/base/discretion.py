"""What may stand in a mail or a traceback: no file name, no path, no patient's id.

Messages of errors name the file and the value at fault, which is right in a log and
wrong in an inbox. So a mailed message keeps only words that this software or the
operating system uses itself; whatever else stands in it, such as a name in the user's
data, gives way. That takes out rather too much than too little; the whole message stays
in the run's log.
"""

from __future__ import annotations

import ast
import builtins
import errno
import os
import re
import signal
import traceback
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from medcompare.base.code_identity import PACKAGE_ROOT
from medcompare.base.errors import MedcompareError, UnexpectedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MOST_FRAMES = 12

FILE, VALUE, ADDRESS = "(a file)", "(a value)", "(an address)"

EXTRA_WORDS = (
    # Words of frequent messages of libraries that stand in no source of ours.
    "CUDA GPU out of memory tried to allocate GiB MiB KiB total capacity free reserved device assert triggered "
    "error failed refused expected got found invalid exceeded unable could not open image truncated corrupt "
    "unexpected end of data tensor shape size mismatch worker killed exited timeout timed out Errno SSL TLS "
    "certificate "
    # Of Python itself.
    "convert string float literal codec encode decode character position ordinal range subscriptable iterable "
    "attribute argument keyword positional "
    # Of pydantic, about a setting.
    "input should be a valid integer number boolean tuple dictionary greater less than or equal parse fractional part"
)

WEB_ADDRESS = re.compile(r"\w+://[^\s'\"<>]+")
# From the start of a path to an extension, blanks in between included, as in "/data/scan of monday.png".
PATH_WITH_EXTENSION = re.compile(
    r"[^\s\"',;:()]*(?:[A-Za-z]:)?[/\\][^\n\"'<>|:;]*?\.[A-Za-z][A-Za-z0-9]{0,5}\b(?![/\\])"
)
PATH = re.compile(r"[^\s,;:(\"']*(?:[A-Za-z]:)?[/\\][^\s,;:)\"']*")
FILE_NAME = re.compile(
    r"[^\s,;:()\"'=]+\.(?:png|jpe?g|tiff?|bmp|gif|webp|dcm|dicom|nii|svs|ndpi|mrxs|csv|tsv|txt|json|toml|ya?ml|"
    r"pth?|onnx|pdf|html?|zip|tar|gz|xlsx?|parquet|npy|npz|log|db|sqlite3?|part)\b",
    re.IGNORECASE,
)
QUOTED = re.compile(r"(?<!\w)'([^'\n]*)'(?!\w)|\"([^\"\n]*)\"|[“„]([^”“\n]*)[”“]")
SPACED_PATH = re.compile(rf"{re.escape(FILE)}(?:[^\S\n]+[^\s:;,.]+){{0,3}}?[^\S\n]+{re.escape(FILE)}")
NUMBER_OF_A_PERSON = re.compile(
    r"\b((?:patient|case|subject|person|id|mrn)(?:_?ids?|s)?)([ :=#]{1,3})\d[\w.-]*", re.IGNORECASE
)
TOKEN = re.compile(r"(?<!\w)[\w@][\w@.'+-]*[\w@]|(?<!\w)[\w@]")
QUANTITY = re.compile(
    r"0|[1-9]\d{0,3}|\d{1,6}\.\d{1,6}|\d+(?:\.\d+)?e[+-]?\d+|\d{1,4}(?:px|s|ms|min|h|mb|gb|kb|th|st|n[d]|rd)|"
    r"\d{1,5}x\d{1,5}|v\d+|(?:float|bfloat|int|sha)\d+",
    re.IGNORECASE,
)
WORD = re.compile(r"[^\W\d]+(?:['\u2019-][^\W\d]+)*")


def discreet(text: str, *, keep: Iterable[str] = (), private: Iterable[str] = ()) -> str:
    """`text` without paths, file names, quoted values and words that are not our own.

    Parameters
    ----------
    text : str
        Message of an error.
    keep : iterable of str
        Words that may stay, such as the names of models.
    private : iterable of str
        Words that must go even though we use them too, such as patients' ids that are
        ordinary words.

    Returns
    -------
    str
        One line.
    """
    kept = {word.casefold() for word in keep}
    banned = {word.casefold() for word in private}
    for word in sorted(banned, key=len, reverse=True):
        if word:
            text = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", VALUE, text, flags=re.IGNORECASE)

    def quoted(match: re.Match[str]) -> str:
        inner = next(group for group in match.groups() if group is not None)
        is_ours = inner.casefold() in kept or _is_field_or_option(inner)
        return match.group() if is_ours else VALUE

    def token(match: re.Match[str]) -> str:
        found = match.group()
        return found if found.casefold() in kept or _is_ours(found) else VALUE

    for placeholder, pattern in ((ADDRESS, WEB_ADDRESS), (FILE, PATH_WITH_EXTENSION), (FILE, PATH)):
        text = pattern.sub(placeholder, text)
    text = QUOTED.sub(quoted, text)
    text = FILE_NAME.sub(FILE, text)
    text = NUMBER_OF_A_PERSON.sub(rf"\1\2{VALUE}", text)
    text = SPACED_PATH.sub(FILE, text)
    # The placeholders themselves are set aside while words are weighed.
    parts = re.split(r"(\((?:a file|a value|an address)\))", text)
    text = "".join(part if i % 2 else TOKEN.sub(token, part) for i, part in enumerate(parts))
    text = re.sub(rf"{re.escape(VALUE)}(?:[ .@]*{re.escape(VALUE)})+", VALUE, text)
    return " ".join(text.split())


def without_data(error: Exception) -> Exception:
    """`error` if it is one of ours, else one that says what and where without repeating any data.

    Messages of Python and libraries may hold whatever was being worked on: a key, a row, a whole
    table. Of ours each sentence is written for a reader; of others only class, place and words of
    our own stay.

    Returns
    -------
    Exception
        A `MedcompareError`; for an error of the system an `OSError` of the same number, without its file.
    """
    if isinstance(error, MedcompareError):
        return error
    if isinstance(error, OSError) and error.errno is not None:
        clean: Exception = OSError(error.errno, os.strerror(error.errno))
    else:
        clean = UnexpectedError(_told(error))
    clean.__dict__.update(error.__dict__)  # the stage it was raised in
    return clean


def _told(error: Exception) -> str:
    """Class, harmless words and places of `error`."""
    frames = traceback.extract_tb(error.__traceback__)
    root = PACKAGE_ROOT.parent
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(root)]
    places = [*ours, *(frames[-1:] if frames and frames[-1] not in ours else [])]
    where = "".join(
        f"\n  {_place(Path(frame.filename), root)}, line {frame.lineno}, in {frame.name}"
        for frame in places[-MOST_FRAMES:]
    )
    said = discreet(str(error))
    sentence = f"{type(error).__name__}: {said}" if said else type(error).__name__
    note = "This is a fault of the software: please report these lines, which hold no data of yours."
    return f"{sentence}\n{note}{where}"


def _place(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else "/".join(path.parts[-2:])


def _is_field_or_option(text: str) -> bool:
    parts = re.split(r"[. ]", text.removeprefix("--"))
    return all(part in vocabulary() or part.isdigit() for part in parts) and bool(
        re.fullmatch(r"(--)?[a-z][a-z_.-]*", text)
    )


def _is_ours(token: str) -> bool:
    if QUANTITY.fullmatch(token):
        return True
    if any(character.isdigit() for character in token) or "@" in token:
        return False
    known = vocabulary()
    if token.casefold() in known:
        return True
    # A dotted field name, or words joined by a hyphen; an underscore joins only what is known as a whole.
    parts = re.split(r"[.'\u2019+-]", token.casefold())
    return all(part in known for part in parts if part)


@cache
def vocabulary() -> frozenset[str]:
    """Every word in the texts of this package and of the operating system's errors, in small letters."""
    return frozenset(word.casefold() for text in _texts() for word in WORD.findall(text))


def _texts() -> Iterator[str]:
    yield EXTRA_WORDS
    yield from (os.strerror(code) for code in errno.errorcode)
    yield from errno.errorcode.values()
    yield from (name.name for name in signal.Signals)
    yield from dir(builtins)
    for path in sorted(PACKAGE_ROOT.rglob("*.py")):
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (OSError, SyntaxError):
            continue  # edited while a run is going: fewer words are known, which errs on the safe side
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
            elif isinstance(node, ast.ClassDef):
                yield node.name
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                yield node.target.id  # fields of records: what a configuration error names
