"""``medcompare recover``: before a worker starts, go on with what a crash interrupted."""

import os
from pathlib import Path

from medcompare.base.errors import MedcompareError
from medcompare.cli.options import StoreFolder


def recover(*, store: StoreFolder = Path(".medcompare")) -> None:
    """Go on with runs that crashed, skip missed nights but the last.

    To be called before a worker starts, as the units, the containers and make serve do.
    """
    from medcompare.runs.prefect_server import bypass_proxy

    bypass_proxy(os.environ)
    for sentence in _recovered(store):
        print(sentence)


def _recovered(store: Path) -> list[str]:
    from flows.recover import recover as go_on
    from flows.recover import skip_missed_runs, start_lost_runs

    try:
        return [*go_on(store), *start_lost_runs(), *skip_missed_runs()]
    except MedcompareError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever keeps us from the server is told in one line
        msg = (
            f"the Prefect server cannot be asked ({type(error).__name__}: {error}): is PREFECT_API_URL right?"
        )
        raise MedcompareError(msg) from None
