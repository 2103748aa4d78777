"""Catch-up off: of the nights that were missed, only the last is made up for.

``python -m flows.missed``, before a worker starts (``make serve`` and the units in
``deploy/systemd`` call it). Prefect has no such setting: while no worker runs, its server keeps
every scheduled run, marks it late, and hands all of them to the next worker, one after the other.
This skips all but the newest overdue run of each schedule; runs asked for by hand are kept.
"""

from __future__ import annotations

import argparse
import os
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from medcompare.runs.prefect_server import bypass_proxy

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

SUCCESS, FAILURE, BAD_INPUT = 0, 1, 2
PAGE = 200


def superseded(runs: Sequence[Any]) -> list[Any]:
    """Overdue runs that a newer overdue run of the same deployment and schedule replaces.

    The newest is kept, be it due this very moment or days ago.

    Parameters
    ----------
    runs : sequence of FlowRun
        Overdue runs that a schedule made.
    """
    newest: dict[tuple[UUID | None, str], Any] = {}
    for run in runs:
        key = _schedule_of(run)
        if key not in newest or run.expected_start_time > newest[key].expected_start_time:
            newest[key] = run
    return [run for run in runs if newest[_schedule_of(run)] is not run]


def _schedule_of(run: Any) -> tuple[UUID | None, str]:  # noqa: ANN401 - a FlowRun, which only Prefect can name
    return run.deployment_id, str(run.created_by.id if run.created_by else "")


def skip_missed_runs(now: datetime) -> list[str]:
    """Cancel what `superseded` names on the server of ``PREFECT_API_URL``; return the names of the runs."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterExpectedStartTime,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )
    from prefect.client.schemas.objects import StateType
    from prefect.states import Cancelled

    overdue = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
        expected_start_time=FlowRunFilterExpectedStartTime(before_=now),
    )
    skipped = []
    with get_client(sync_client=True) as client:
        found: list[Any] = []
        while True:
            page = client.read_flow_runs(flow_run_filter=overdue, limit=PAGE, offset=len(found))
            found.extend(page)
            if len(page) < PAGE:
                break
        for run in superseded([run for run in found if run.auto_scheduled and run.deployment_id]):
            why = "missed while no worker ran; only the last missed run is made up for"
            client.set_flow_run_state(run.id, Cancelled(name="Skipped", message=why))
            skipped.append(f"{run.name} (due {run.expected_start_time:%Y-%m-%d %H:%M} UTC)")
    return skipped


def main(argv: Sequence[str] | None = None) -> int:
    """Skip missed runs from the command line; returns the exit status."""
    argparse.ArgumentParser(
        prog="python -m flows.missed",
        description="Skip the scheduled runs that were missed while no worker ran, but the last of each schedule.",
        epilog="Exit status: 0 success, 1 the server does not answer, 2 bad input.",
    ).parse_args(argv)
    if not os.environ.get("PREFECT_API_URL"):
        print("error: PREFECT_API_URL is not set: there is no server to ask", file=sys.stderr)
        return BAD_INPUT
    bypass_proxy(os.environ)
    try:
        skipped = skip_missed_runs(datetime.now(UTC))
    except Exception as error:  # noqa: BLE001 - whatever the client raises, in one sentence
        print(f"error: {os.environ['PREFECT_API_URL']}: {type(error).__name__}: {error}", file=sys.stderr)
        return FAILURE
    for run in skipped:
        print(f"skipped {run}")
    print(f"{len(skipped)} missed runs skipped" if skipped else "no missed runs to skip")
    return SUCCESS


if __name__ == "__main__":
    sys.exit(main())
