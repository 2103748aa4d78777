"""Web addresses of reports, where somebody serves the folder of runs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from medcompare.errors import ConfigError
from medcompare.mail_config import is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping

LINK_BASE_VARIABLE = "MEDCOMPARE_LINK_BASE"
REPORT_NAME = "report.pdf"


def report_link(run_name: str, environment: Mapping[str, str]) -> str | None:
    """Web address of a run's PDF, None where ``MEDCOMPARE_LINK_BASE`` is not set.

    Parameters
    ----------
    run_name : str
        Name of the run's folder.
    environment : mapping of str to str
        Usually ``os.environ``.

    Raises
    ------
    ConfigError
        If the variable holds anything but an address of the web.
    """
    base = environment.get(LINK_BASE_VARIABLE, "").strip()
    if not base:
        return None
    if not re.fullmatch(r"https?://[^\s<>\"'\x00-\x1f\x7f]+", base):
        msg = f"{LINK_BASE_VARIABLE}: {base!r} is not an address that begins with https:// or http://"
        raise ConfigError(msg)
    return f"{base.rstrip('/')}/{quote(run_name, safe='')}/{REPORT_NAME}"


def for_others(address: str | None) -> str | None:
    """`address` where it means the same on another machine, as in a mail; None otherwise."""
    if address is None or is_loopback(urlsplit(address).hostname or ""):
        return None
    return address
