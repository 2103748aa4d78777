"""The outbox: a mail is on the disk before it is sent, and is deleted only when the server took it.

A folder of ``.eml`` files. Two headers of our own, removed before sending, name the recipients
who still wait and those who were refused for good. What could not be delivered is sent with the
next run, oldest first. A process that dies between sending and deleting sends that mail twice,
under the same Message-ID, rather than never.
"""

from __future__ import annotations

import contextlib
import logging
import time
import uuid
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import SMTP
from typing import TYPE_CHECKING

from medcompare.base.artifacts import write_atomically
from medcompare.base.errors import WRITE_ERRORS, MedcompareError
from medcompare.base.file_access import locked
from medcompare.base.language import message
from medcompare.notify.send import send

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from email.message import EmailMessage
    from pathlib import Path

    from medcompare.notify.settings import MailConfig

OUTBOX_FOLDER = "outbox"
SUFFIX, REFUSED_SUFFIX = ".eml", ".refused"
WAITING, REFUSED = "X-Medcompare-Waiting", "X-Medcompare-Refused"
PAUSES_S = (2.0, 10.0)
"""Before the second and the third attempt of a run."""
GIVE_UP_AFTER = timedelta(days=14)
MAX_SERVER_FAULTS = 2
"""Mails in a row that the server itself failed on, after which the others wait."""

logger = logging.getLogger(__name__)


class OutboxError(MedcompareError):
    """The outbox cannot be written or read."""

    public = message("the outbox cannot be used")


def outbox_folder(store: Path) -> Path:
    """Where the outbox of a store is."""
    return store / OUTBOX_FOLDER


def waiting(folder: Path) -> list[Path]:
    """Files of the mails that wait, oldest first."""
    return sorted(folder.glob(f"*{SUFFIX}"))


def refused(folder: Path) -> list[Path]:
    """Files of the mails that some recipient will never get."""
    return sorted(folder.glob(f"*{REFUSED_SUFFIX}"))


def queue(
    message: EmailMessage, recipients: Sequence[str], folder: Path, *, now: datetime | None = None
) -> Path:
    """Write `message` into the outbox; returns its file.

    Raises
    ------
    OutboxError
        If it cannot be written.
    """
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    # The name sorts by time; the random part tells two runs of the same moment apart.
    path = folder / f"{moment:%Y%m%dT%H%M%S%f}-{uuid.uuid4().hex[:8]}{SUFFIX}"
    with _errors_of(folder):
        _write(path, message, recipients, ())
    return path


def send_waiting(
    config: MailConfig,
    folder: Path,
    *,
    now: datetime | None = None,
    pauses_s: Sequence[float] = PAUSES_S,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Send what waits, oldest first; after each of `pauses_s` again where the fault may pass.

    Two runs at once take turns. Problems of delivery are logged, never raised.

    Raises
    ------
    OutboxError
        If the outbox cannot be read or written.
    """
    if not folder.is_dir():
        return
    with _errors_of(folder), locked(folder / ".lock"):
        for pause in (0.0, *pauses_s):
            if pause:
                sleep(pause)
            if not _send_all(config, folder, now or datetime.now(UTC)):
                break
        if n_waiting := len(waiting(folder)):
            logger.warning("%d mail(s) wait in the outbox and are sent with the next run", n_waiting)


def _send_all(config: MailConfig, folder: Path, now: datetime) -> bool:
    """Try every mail once; return whether trying again soon can help."""
    can_pass, n_server_faults = False, 0
    for path in waiting(folder):
        try:
            faults = _send_one(path, config, now)
        except WRITE_ERRORS:
            raise
        except Exception as error:  # noqa: BLE001 - a damaged file, which must not hold up the mails behind it
            kind = type(error).__name__
            logger.warning(
                "%s is no mail that can be sent (%s); it is kept as %s", path.name, kind, REFUSED_SUFFIX
            )
            path.rename(path.with_suffix(REFUSED_SUFFIX))
            continue
        can_pass |= bool(faults & {"transient", "server"})
        n_server_faults = n_server_faults + 1 if faults & {"server", "settings"} else 0
        if n_server_faults == MAX_SERVER_FAULTS:
            break
    return can_pass


def _send_one(path: Path, config: MailConfig, now: datetime) -> set[str]:
    """Send one mail to those who wait for it; returns the kinds of what went wrong."""
    message = message_from_bytes(path.read_bytes(), policy=SMTP)
    recipients, were_refused = (
        str(message.get(name, "")).replace(",", " ").split() for name in (WAITING, REFUSED)
    )
    del message[WAITING], message[REFUSED]
    if not recipients:
        msg = f"no header {WAITING}"
        raise ValueError(msg)
    faults = send(message, config, recipients)
    logger.info(
        "mail of %s: taken for %d of %d recipients",
        path.name[:13],
        len(recipients) - len(faults),
        len(recipients),
    )
    for sentence in sorted({f"{fault.detail}; {fault.remedy}" for fault in faults.values()}):
        logger.warning("mail: %s", sentence)
    date = getattr(message["Date"], "datetime", None)
    is_old = date is not None and now - date > GIVE_UP_AFTER
    given_up = [name for name, fault in faults.items() if fault.kind == "refused" or is_old]
    still = [name for name in faults if name not in given_up]
    if given_up:
        logger.warning(
            "a mail is given up for %d recipient(s); the outbox keeps it as %s", len(given_up), REFUSED_SUFFIX
        )
    were_refused += given_up
    if still:
        _write(path, message, still, were_refused)
    else:
        if were_refused:
            _write(path.with_suffix(REFUSED_SUFFIX), message, (), were_refused)
        path.unlink()
    return {fault.kind for fault in faults.values()}


def _write(
    path: Path, message: EmailMessage, waiting_for: Sequence[str], were_refused: Sequence[str]
) -> None:
    for name, addresses in ((WAITING, waiting_for), (REFUSED, were_refused)):
        if addresses:
            message[name] = ", ".join(addresses)
    write_atomically(path, message.as_bytes(policy=SMTP))


@contextlib.contextmanager
def _errors_of(folder: Path) -> Iterator[None]:
    try:
        yield
    except WRITE_ERRORS as error:
        why = getattr(error, "strerror", None) or error
        msg = f"outbox {folder}: {why}: free space, or correct the permissions"
        raise OutboxError(msg) from error
