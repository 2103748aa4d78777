"""What is looked at before any work."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from flows.preflight import check_folder
from medcompare.base.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_store_that_cannot_be_written_is_refused(small_disk: Path) -> None:
    """Mounted read-only, which the superuser is told too: the folder, and the option that chooses another."""
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)

    with pytest.raises(ConfigError, match=r"store: .*small cannot be written to: .*--store"):
        check_folder("store", small_disk)
