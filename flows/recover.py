"""``python -m flows.recover``: after a crash, say so in the history, free what was held, and go on.

Every run marks and frees for itself when it begins. A worker calls this before it starts, as a
run that waits for the slot of a dead one would never begin; runs of deployments that crashed
are scheduled again, once.
"""

from __future__ import annotations

import argparse
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from medcompare.base.errors import MedcompareError
from medcompare.base.file_access import keep_private
from medcompare.runs.history import history_path, list_runs, mark_crashed_runs, this_host
from medcompare.runs.prefect_server import bypass_proxy

if TYPE_CHECKING:
    from collections.abc import Sequence

SUCCESS, FAILURE = 0, 1
MOST_RUNS = 100
"""Crashed runs the server is told of; older ones it has long been told of."""


def main(argv: Sequence[str] | None = None) -> int:
    """Mark what died, free its slots; returns the exit status."""
    keep_private()
    parser = argparse.ArgumentParser(
        prog="python -m flows.recover", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument(
        "--store", type=Path, default=Path(".medcompare"), help="folder of the cache and the history"
    )
    parser.add_argument("--no-resume", action="store_true", help="do not schedule crashed runs again")
    arguments = parser.parse_args(argv)
    path = history_path(arguments.store)
    try:
        marked = mark_crashed_runs(path, host=this_host(), now=datetime.now(UTC))
        for run in marked:
            print(
                f"run '{run.name}' of {run.started_at[:16]} UTC had crashed; it is marked so in the history"
            )
        # Also those marked earlier: the server may have been away then.
        crashed = (
            [run.run_id for run in list_runs(path, status="crashed", limit=MOST_RUNS)]
            if path.is_file()
            else []
        )
    except MedcompareError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILURE
    bypass_proxy(os.environ)
    from flows.orchestration import clear_up_after, resume_crashed
    from tasks.mail import mail

    try:
        for sentence in clear_up_after(crashed):
            print(sentence)
        resumed = {} if arguments.no_resume else resume_crashed(datetime.now(UTC))
        for name in resumed.values():
            print(f"run '{name}' is scheduled again")
        for run in marked:
            if run.run_id not in resumed:
                mail.fn(run, arguments.store)
    except Exception as error:  # noqa: BLE001 - whatever keeps us from the server is said in one line
        print(
            f"error: the Prefect server cannot be asked ({error}): is PREFECT_API_URL right?", file=sys.stderr
        )
        return FAILURE
    return SUCCESS


if __name__ == "__main__":
    sys.exit(main())
