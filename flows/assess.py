"""The assessment: predictions in, the same statistics, verdict and report out; no training.

Trigger      ``python -m flows.assess``, or a manual run from the Prefect UI.
Caching      the statistics are keyed on the content of the tables, the settings and the code.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    # See flows/compare.py: bad input is refused before Prefect is imported.
    from flows.assess_command import main

    sys.exit(main())

from prefect import flow

from medcompare.config import AssessConfig
from medcompare.run_result import RunResult


@flow(
    name="assess",
    description="Compare models from their predictions alone, without training.",
    persist_result=False,
)
def assess(config: AssessConfig) -> RunResult:
    """Read and check the tables, compute every figure, decide, report."""
    raise NotImplementedError
