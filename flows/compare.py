"""The comparison: images in, a recommendation and a PDF report out.

Trigger      ``python -m flows.compare``, a manual run from the Prefect UI, or the nightly
             deployment in ``prefect.yaml``.
Caching      every stage is keyed on the content of its inputs and on the code that does the
             work (`tasks.policies`); the report is always written anew, as it names the run.
Parallelism  trainings run side by side, each in a process of its own, tagged ``gpu``; cost is
             measured afterwards, one model at a time with nothing else running.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    # The command line is read, and bad input refused, before Prefect is imported. The flow
    # then runs from the module `flows.compare`: names of `__main__` must not enter cache keys.
    from flows.command_line import main

    sys.exit(main())

from typing import TYPE_CHECKING

from prefect import flow
from prefect.logging import get_run_logger
from prefect.task_runners import ThreadPoolTaskRunner

from medcompare.config import CompareConfig
