"""An error of somebody else's code loses its message, and keeps its class and its place."""

from __future__ import annotations

import contextlib
import errno
import json
import re
import sqlite3
from typing import TYPE_CHECKING

import pytest

from medcompare.base import errors
from medcompare.base.errors import DiskFullError, MedcompareError, UnexpectedError, redact
from medcompare.config.errors import validated
from medcompare.runs.stages import in_stage, stage_of

if TYPE_CHECKING:
    from pathlib import Path

PATIENT = "Mustermann"


class Model:
    """A configuration whose library raises, with what it was given in the error."""

    @classmethod
    def model_validate(cls, values: object) -> Model:
        """Fail."""
        error = ValueError(f"could not convert {values}")
        error.add_note(f"{values} 1957")
        raise error


def test_a_foreign_message_is_replaced_by_class_and_places() -> None:
    """Where it was raised, and every place of ours on the way; notes that a library added go as well."""
    with pytest.raises(ValueError, match=PATIENT) as caught, in_stage("ingest"):
        validated(Model, PATIENT)  # type: ignore[type-var]

    told = redact(caught.value)

    assert isinstance(told, UnexpectedError)
    assert (told.kind, stage_of(told)) == ("ValueError", "ingest")
    assert str(told).startswith("ValueError\nThis is a fault of the software")
    assert "medcompare.config.errors, line " in str(told)
    assert f"\n  {__name__}, line " in str(told)
    assert not hasattr(told, "__notes__")
    assert PATIENT not in str(told) + str(vars(told))


def test_an_error_of_the_system_keeps_its_number_only() -> None:
    """What decides about a retry stays, the file goes."""
    with pytest.raises(OSError, match=PATIENT) as caught, in_stage("ingest"):
        raise OSError(errno.ENOSPC, f"for {PATIENT}", f"/mnt/{PATIENT}.png")

    told = redact(caught.value)

    assert isinstance(told, OSError)
    assert (told.errno, told.strerror, told.filename) == (errno.ENOSPC, "No space left on device", None)
    assert stage_of(told) == "ingest"


def test_an_error_of_ours_is_kept() -> None:
    """Its message was written for the reader of the log."""
    error = errors.DataError("a.png cannot be read")
    assert redact(error) is error


def test_what_may_be_mailed_about_an_error_is_a_constant() -> None:
    """No class of ours makes it from its arguments."""
    classes = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, MedcompareError)
    ]
    assert len(classes) > 5
    assert {type(vars(kind).get("public", "")) for kind in classes} == {str}
    assert PATIENT not in json.dumps([kind(PATIENT).public for kind in classes])


@pytest.mark.parametrize("kind", ["file", "database"])
def test_a_full_disk_is_named_whoever_writes(kind: str, small_disk: Path) -> None:
    """Python's and SQLite's errors become one that names the store, without the file; without a store they stay."""
    try:
        if kind == "file":
            (small_disk / "case-17.bin").write_bytes(bytes(3_000_000))
        else:
            with contextlib.closing(sqlite3.connect(small_disk / "case-17.db")) as database:
                database.execute("CREATE TABLE t (x BLOB)")
                database.execute("INSERT INTO t VALUES (zeroblob(3000000))")
                database.commit()
    except (OSError, sqlite3.OperationalError) as error:
        told, alone = redact(error, small_disk), redact(error)

    assert isinstance(told, DiskFullError)
    assert re.match(rf"the disk is full: \S+ MB free where {small_disk} lies; free some", str(told))
    assert not isinstance(alone, DiskFullError)
    assert "case-17" not in f"{told}{alone}"
