"""The outbox: a mail is on the disk before it is sent, and leaves it only when it was taken.

One file per mail, readable by its owner alone: a first line of JSON that says who still
waits for it, then the mail itself. What could not be delivered is sent with the next
run, oldest first; what was refused for good is kept aside, with the reason. A process
that dies between sending and taking the file away sends that mail twice, under the same
Message-ID: rather twice than never.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import tempfile
import time
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import SMTP
from typing import TYPE_CHECKING

from pydantic import Field, ValidationError

from medcompare.base.artifacts import OUTBOX_FOLDER
from medcompare.base.errors import MedcompareError
from medcompare.base.record import Record
from medcompare.notify.send import BACK_OFF_S, Delivery, Fault, send
from medcompare.runs.summary import UtcText, utc_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from email.message import EmailMessage
    from pathlib import Path

    from medcompare.notify.settings import MailConfig

REFUSED_FOLDER = "refused"
SUFFIX = ".mail"
LOCK_FILE = ".lock"
OWNER_ONLY_FILE, OWNER_ONLY_FOLDER = 0o600, 0o700
LOCK_WAIT_S = 120.0
GIVE_UP_AFTER = timedelta(days=14)
"""A mail that nobody took for so long is kept aside instead of being tried for ever."""
SERVER_FAULTS_THAT_END_A_PASS = 2

logger = logging.getLogger(__name__)


class OutboxError(MedcompareError):
    """The outbox cannot be written, or a file in it cannot be read."""


class QueuedMail(Record):
    """First line of a file in the outbox."""

    queued_at: UtcText
    subject: str
    recipients: tuple[str, ...] = Field(description="Those who still wait for it.")
    delivered: tuple[str, ...] = ()
    n_attempts: int = Field(default=0, ge=0)
    last_fault: Fault | None = None
    refusals: tuple[tuple[str, str], ...] = Field(default=(), description="(recipient, reason).")


class MailOutcome(Record):
    """What became of one mail of the outbox."""

    subject: str
    queued_at: UtcText
    delivery: Delivery


class OutboxReport(Record):
    """What one pass through the outbox did."""

    sent: tuple[MailOutcome, ...] = Field(default=(), description="Mails that were tried, oldest first.")
    n_waiting: int = Field(ge=0, description="Mails that still wait.")
    n_refused: int = Field(ge=0, description="Mails kept aside as refused, of all runs so far.")
    busy: bool = Field(
        default=False, description="Another run was sending; it, or the next run, sends the rest."
    )

    @property
    def sentences(self) -> tuple[str, ...]:
        """What happened, for the log: without addresses and subjects."""
        lines = []
        for outcome in self.sent:
            delivery = outcome.delivery
            lines.append(
                f"mail of {outcome.queued_at[:16]} UTC: "
                f"taken for {len(delivery.delivered)} of {len(delivery.outcomes)} recipients"
            )
            faults = {(o.fault.detail, o.fault.remedy) for o in delivery.outcomes if o.fault is not None}
            lines += [f"  {detail}; {remedy}" for detail, remedy in sorted(faults)]
        if self.busy:
            lines.append("another run is sending mail; what waits is sent by it or with the next run")
        if self.n_waiting:
            lines.append(f"{self.n_waiting} mail(s) wait in the outbox and are sent with the next run")
        if self.n_refused:
            lines.append(
                f"{self.n_refused} mail(s) were refused for good; the outbox keeps them in '{REFUSED_FOLDER}'"
            )
        return tuple(lines)


def outbox_folder(store: Path) -> Path:
    """Where the outbox of a store is."""
    return store / OUTBOX_FOLDER


def deliver(
    message: EmailMessage,
    config: MailConfig,
    folder: Path,
    *,
    now: datetime | None = None,
    back_off_s: Sequence[float] = BACK_OFF_S,
    lock_wait_s: float = LOCK_WAIT_S,
    sleep: Callable[[float], None] = time.sleep,
) -> OutboxReport:
    """Queue `message` and send everything that waits, oldest first.

    Parameters
    ----------
    message : EmailMessage
        The mail of this run.
    config : MailConfig
        Server, and the recipients of `message`.
    folder : Path
        The outbox; made where it is missing.
    now : datetime, optional
        Time of queueing, with a time zone.
    back_off_s : sequence of float
        As in `medcompare.notify.send.send`.
    lock_wait_s : float
        Longest wait for another run that is sending, seconds.
    sleep : callable
        As in `medcompare.notify.send.send`.

    Returns
    -------
    OutboxReport
        Problems of delivery are in it; they are never raised.

    Raises
    ------
    OutboxError
        If the mail could not be written to the disk.
    """
    queue(message, config.recipients, folder, now=now)
    return send_waiting(config, folder, now=now, back_off_s=back_off_s, lock_wait_s=lock_wait_s, sleep=sleep)


def queue(
    message: EmailMessage, recipients: Sequence[str], folder: Path, *, now: datetime | None = None
) -> Path:
    """Write `message` into the outbox; returns its file.

    Raises
    ------
    OutboxError
        If it cannot be written.
    """
    queued_at = utc_text(now or datetime.now(UTC))
    head = QueuedMail(queued_at=queued_at, subject=str(message["Subject"]), recipients=tuple(recipients))
    stamp = "".join(character for character in queued_at[:26] if character.isalnum())
    try:
        _make_private_folder(folder)
        # The name sorts by time; the random part keeps two runs of the same moment apart.
        handle, name = tempfile.mkstemp(dir=folder, prefix=f"{stamp}-", suffix=".part")
        os.close(handle)
        path = folder / f"{name.rpartition(os.sep)[2].removesuffix('.part')}{SUFFIX}"
        _write(path, head, message.as_bytes(policy=SMTP), temporary=folder / name)
    except OSError as error:
        msg = f"the mail cannot be kept in {folder} ({error.strerror or error}): free space, or mend the permissions"
        raise OutboxError(msg) from error
    return path


def send_waiting(
    config: MailConfig,
    folder: Path,
    *,
    now: datetime | None = None,
    back_off_s: Sequence[float] = BACK_OFF_S,
    lock_wait_s: float = LOCK_WAIT_S,
    sleep: Callable[[float], None] = time.sleep,
) -> OutboxReport:
    """Send what waits in the outbox, oldest first.

    Where the server itself fails, a second mail is tried once, in case the first was the
    cause; then the rest is left for the next run. Parameters as in `deliver`.

    Raises
    ------
    OutboxError
        If the outbox cannot be read or written.
    """
    if not folder.is_dir():
        return OutboxReport(n_waiting=0, n_refused=0)
    now = now or datetime.now(UTC)
    sent: list[MailOutcome] = []
    try:
        with _locked(folder, lock_wait_s) as have_lock:
            if have_lock:
                sent.extend(_send_all(config, folder, now, back_off_s, sleep))
    except OSError as error:
        msg = f"outbox {folder}: {error.strerror or error}: free space, or mend the permissions"
        raise OutboxError(msg) from error
    n_refused = len(list((folder / REFUSED_FOLDER).glob(f"*{SUFFIX}")))
    return OutboxReport(
        sent=tuple(sent), n_waiting=len(waiting(folder)), n_refused=n_refused, busy=not have_lock
    )


def waiting(folder: Path) -> tuple[Path, ...]:
    """Files of the mails that wait, oldest first."""
    return tuple(sorted(folder.glob(f"*{SUFFIX}")))


def read_mail(path: Path) -> tuple[QueuedMail, EmailMessage]:
    """A file of the outbox: who waits for it, and the mail.

    Raises
    ------
    OutboxError
        If the file is damaged.
    """
    head, content = _read(path)
    message = message_from_bytes(content, policy=SMTP)
    return head, message


def _read(path: Path) -> tuple[QueuedMail, bytes]:
    first, _, content = path.read_bytes().partition(b"\n")
    try:
        return QueuedMail.model_validate_json(first), content
    except ValidationError:
        msg = f"{path} is not a mail of the outbox: take it out of the folder, or mend its first line"
        raise OutboxError(msg) from None


def _send_all(
    config: MailConfig,
    folder: Path,
    now: datetime,
    back_off_s: Sequence[float],
    sleep: Callable[[float], None],
) -> Iterator[MailOutcome]:
    n_server_faults = 0
    for path in waiting(folder):
        try:
            outcome = _send_one(path, config, now, () if n_server_faults else back_off_s, sleep)
        except OutboxError as error:
            # One damaged file must not hold up the mails behind it.
            logger.warning("%s; it was put into the folder '%s'", error, REFUSED_FOLDER)
            _make_private_folder(folder / REFUSED_FOLDER)
            path.rename(folder / REFUSED_FOLDER / path.name)
            continue
        yield outcome
        faults = [o.fault for o in outcome.delivery.outcomes if o.fault is not None]
        if any(
            fault.kind == "settings" or (fault.kind == "transient" and fault.code is None) for fault in faults
        ):
            n_server_faults += 1
            if n_server_faults == SERVER_FAULTS_THAT_END_A_PASS:
                return


def _send_one(
    path: Path, config: MailConfig, now: datetime, back_off_s: Sequence[float], sleep: Callable[[float], None]
) -> MailOutcome:
    head, message = read_mail(path)
    delivery = send(message, config, recipients=head.recipients, back_off_s=back_off_s, sleep=sleep)
    reasons = {o.recipient: o.fault.detail for o in delivery.outcomes if o.fault is not None}
    faults = [o.fault for o in delivery.outcomes if o.fault is not None and o.fault.kind != "refused"]
    too_old = now - datetime.fromisoformat(head.queued_at) > GIVE_UP_AFTER
    given_up = delivery.waiting if too_old else ()
    after = QueuedMail(
        queued_at=head.queued_at,
        subject=head.subject,
        recipients=() if too_old else delivery.waiting,
        delivered=(*head.delivered, *delivery.delivered),
        n_attempts=head.n_attempts + delivery.n_attempts,
        last_fault=faults[0] if faults else None,
        refusals=(*head.refusals, *((name, reasons[name]) for name in (*delivery.refused, *given_up))),
    )
    _, content = _read(path)
    if after.recipients:
        _write(path, after, content)
    elif after.refusals:
        aside = path.parent / REFUSED_FOLDER
        _make_private_folder(aside)
        _write(aside / path.name, after, content)
        path.unlink()
    else:
        path.unlink()
    return MailOutcome(subject=head.subject, queued_at=head.queued_at, delivery=delivery)


def _write(path: Path, head: QueuedMail, content: bytes, *, temporary: Path | None = None) -> None:
    if temporary is None:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=".part")
        os.close(handle)
        temporary = path.parent / name
    try:
        with temporary.open("wb") as file:
            file.write(head.model_dump_json().encode() + b"\n" + content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(OWNER_ONLY_FILE)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    # The new name itself must survive a power cut, not only the content.
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make_private_folder(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(OWNER_ONLY_FOLDER)


@contextlib.contextmanager
def _locked(folder: Path, wait_s: float) -> Iterator[bool]:
    """Whether this process may send; the kernel frees the lock of a process that dies."""
    descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, OWNER_ONLY_FILE)
    try:
        deadline = time.monotonic() + wait_s
        have_lock = False
        while not have_lock:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                have_lock = True
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    break
                time.sleep(0.1)
        yield have_lock
    finally:
        os.close(descriptor)
