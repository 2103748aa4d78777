"""Nobody else reads images' names, predictions and reports, whatever the umask that a run is started with."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.flows.file_modes import GROUP, OWNER, modes_below, too_open, umask, wrong
from tests.flows.small_runs import small_assessment

if TYPE_CHECKING:
    from tests.flows.small_runs import Assessed, First


def test_only_the_owner_can_read_what_a_run_leaves(first: First) -> None:
    """Cache, history, locks, checkpoints, tables, report: folders 700, files 600, started with a umask of 000.

    What exists for a moment only is never more open than what stays. A comparison for the group, with a
    umask of 077, is in the tests of recovery.
    """
    modes = modes_below(first.root / "runs", first.root / "store")

    assert wrong(modes, OWNER) == {}
    assert too_open(first.seen, OWNER) == {}
    assert len(first.seen) > 30
    names = {path.name for path in modes}
    assert {"report.pdf", "results.json", "predictions_test.csv", "history", ".in-use.lock"} <= names
    assert len(modes) > 40


def test_an_assessment_for_the_group(odd: Assessed) -> None:
    """The other flow has the same option; folders that are there keep their mode, and it is said."""
    assert stat.S_IMODE((odd.root / "runs").stat().st_mode) == 0o711
    assert wrong(modes_below(Path(odd.result.folder), odd.root / "store"), GROUP) == {}


@pytest.mark.slow  # the same is looked at in the run of the installed command, in the tests of the wheel
def test_the_command_line_keeps_prefects_own_files_private(first: First, tmp_path: Path) -> None:
    """The database of the temporary server holds paths and messages of the run."""
    home = tmp_path / "prefect"
    config = small_assessment(first, tmp_path)
    command = [sys.executable, "-m", "flows.assess", "--predictions", str(config.predictions)]
    command += ["--out", str(config.out), "--store", str(config.store), "--set", "evaluate.n_resamples=200"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    with umask(0o000):
        subprocess.run(
            command,
            env=environment | {"PREFECT_HOME": str(home)},
            check=True,
            capture_output=True,
            timeout=240,
        )

    assert wrong(modes_below(home, config.out, config.store), OWNER) == {}
    assert any(home.rglob("*.db"))
