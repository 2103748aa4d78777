"""Names of machines and addresses of e-mail, also several between commas."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
HOST_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
MAX_LOCAL_CHARACTERS, MAX_ADDRESS_CHARACTERS, MAX_HOST_CHARACTERS = 64, 254, 253


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def checked_address(text: str) -> str:
    """A bare e-mail address such as ``board@hospital.example``: the unquoted form of RFC 5321, section 4.1.2.

    Raises
    ------
    ValueError
        If it is none, or could end a header line or start another address.
    """
    local, _, host = text.rpartition("@")
    too_long = len(local) > MAX_LOCAL_CHARACTERS or len(text) > MAX_ADDRESS_CHARACTERS
    if too_long or not LOCAL_PART.fullmatch(local) or not is_host(host):
        msg = (
            f"{text[:MAX_ADDRESS_CHARACTERS]!r} is not an e-mail address: write one like board@hospital.example, "
            "without a display name; write a domain with letters beyond a to z in its xn-- form"
        )
        raise ValueError(msg)
    return text


def is_host(text: str) -> bool:
    """Whether `text` has the form of a host name."""
    return len(text) <= MAX_HOST_CHARACTERS and all(HOST_LABEL.fullmatch(label) for label in text.split("."))


def split_at_commas(text: str) -> list[str]:
    """Names in a text between commas, without blanks and empty ones."""
    return [part.strip() for part in text.split(",") if part.strip()]


SPLIT_AT_COMMAS = BeforeValidator(lambda given: split_at_commas(given) if isinstance(given, str) else given)
Names = Annotated[tuple[str, ...], SPLIT_AT_COMMAS]
"""Several names, also as one text between commas."""

Address = Annotated[str, AfterValidator(checked_address)]
"""An e-mail address, as `checked_address` takes it."""
Addresses = Annotated[
    tuple[Address, ...],
    SPLIT_AT_COMMAS,
]
