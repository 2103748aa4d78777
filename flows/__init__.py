"""The flows, and how Prefect behaves around them.

The settings below must stand before Prefect is imported; what the user has set in the
environment wins. No telemetry leaves the machine: the images are of patients.
"""

from __future__ import annotations

import atexit
import gc
import logging
import os
import sys

os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("DO_NOT_TRACK", "1")
RECORDER = "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER"
SERVER_WRITES = {f"{RECORDER}_BATCH_SIZE": "100", f"{RECORDER}_FLUSH_INTERVAL": "1"}
"""For a server that we start: how tasks went is written once a second.

By default it is written with every event, and then a task that asks for a slot in the same moment
finds SQLite locked and asks again two seconds later; tasks with a tag always ask.
"""

for _name, _value in SERVER_WRITES.items():
    os.environ.setdefault(_name, _value)
os.environ.setdefault("PREFECT_LOGGING_EXTRA_LOGGERS", "medcompare")
# Outside a run there is nowhere to send a line to; the terminal shows it.
os.environ.setdefault("PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW", "ignore")
# Prefect hands our loggers its handlers but leaves their level to the root logger's WARNING.
logging.getLogger("medcompare").setLevel(logging.INFO)

# Libraries and report are a million objects that live to the end. Looking through them for cycles
# as often as Python does by default takes a fifth of a run that has nothing to compute.
gc.set_threshold(100_000, 20, 50)


@atexit.register
def _end_at_once() -> None:
    """Nor does the end of a process look twice more. Triton would name all that it then still finds."""
    if "triton" not in sys.modules:
        gc.freeze()
