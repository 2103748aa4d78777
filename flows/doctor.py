"""Check that this machine can run comparisons: see `medcompare.cli.doctor`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from medcompare.base.errors import ConfigError
from medcompare.cli.doctor import main
from medcompare.runs.prefect_server import bypass_proxy

if TYPE_CHECKING:
    from medcompare.notify.settings import MailConfig


def mail_from_server() -> MailConfig | None:
    """Settings of the mail block, where a server is named that may hold one.

    Raises
    ------
    ConfigError
        If the block is filled in wrongly, or the server cannot be asked.
    """
    if "PREFECT_API_URL" not in os.environ:
        return None  # Prefect would start a server of its own, just to find it empty
    bypass_proxy(os.environ)
    from tasks.mail_block import mail_config_from_block

    try:
        return mail_config_from_block()
    except ConfigError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever Prefect raises where its server is gone
        msg = f"the mail block could not be read from the Prefect server: {error}"
        raise ConfigError(msg) from None


if __name__ == "__main__":
    sys.exit(main(mail_elsewhere=mail_from_server))
