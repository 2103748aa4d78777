"""``medcompare doctor``: is this machine fit for comparisons? A table of checks, each with a remedy, in seconds."""

import json
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from medcompare.base.errors import ConfigError
from medcompare.cli.options import OutFolder, StoreFolder
from medcompare.cli.terminal import ExitStatus, console

if TYPE_CHECKING:
    from medcompare.cli.doctor_checks import Found
    from medcompare.notify.settings import MailConfig

MARKS = {"ok": ("ok", "green"), "warn": ("look", "yellow"), "fail": ("FAIL", "bold red")}


def run_checks(
    out: Path,
    store: Path,
    *,
    weights_dir: Path | None = None,
    environment: Mapping[str, str] = os.environ,
    deep: bool = False,
    mail_elsewhere: Callable[[], "MailConfig | None"] | None = None,
) -> dict[str, "Found"]:
    """Run every check, side by side.

    Parameters
    ----------
    out, store : Path
        Folders of the runs and of the cache.
    weights_dir : Path, optional
        Folder with pretrained weights.
    environment : mapping of str to str
        Where ``PREFECT_API_URL`` and ``MEDCOMPARE_SMTP_*`` are looked for.
    deep : bool
        Import torch and ask it for devices, which takes seconds.
    mail_elsewhere : callable, optional
        As in `medcompare.cli.doctor_checks.check_mail`.

    Returns
    -------
    dict of str to Found
        Always all of them, in a fixed order.
    """
    from medcompare.cli import doctor_checks as checks
    from medcompare.config.schema import CompareConfig

    models = CompareConfig.model_fields["models"].default
    table: dict[str, Callable[[], Found]] = {
        "PyTorch": lambda: checks.check_torch(deep=deep),
        "WeasyPrint": checks.check_rendering,
        "Fonts": checks.check_fonts,
        "Prefect": checks.check_prefect_version,
        "Prefect server": lambda: checks.check_prefect_server(environment),
        "Proxy": lambda: checks.check_proxy(environment),
        "Mail server": lambda: checks.check_mail(environment, mail_elsewhere),
        "Outbox": lambda: checks.check_outbox(store),
        "Pretrained weights": lambda: checks.check_weights(models, weights_dir),
        "Disk for out": lambda: checks.check_disk("out", out),
        "Disk for store": lambda: checks.check_disk("store", store),
        "File access": lambda: checks.check_access(out, store),
        "Shared memory": checks.check_shared_memory,
        "History": lambda: checks.check_history(store),
        "Code": checks.check_code,
    }
    with ThreadPoolExecutor(max_workers=len(table)) as pool:
        return dict(zip(table, pool.map(guarded, table.values()), strict=True))


def guarded(check: "Callable[[], Found]") -> "Found":
    """Result of a check; an error nobody foresaw becomes a failed check, not the end of all."""
    from medcompare.cli.doctor_checks import Found

    try:
        return check()
    except Exception as error:  # noqa: BLE001 - one broken check must not hide the others
        detail = f"the check itself failed: {type(error).__name__}: {error}"
        return Found("fail", detail, "report this as a bug, with the line above")


def results_table(results: Mapping[str, "Found"]) -> Table:
    """Table of results, each remedy below its finding."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, found in results.items():
        word, style = MARKS[found.status]
        text = Text(found.detail)
        if found.remedy is not None:
            text.append(f"\n→ {found.remedy}", style="italic")
        table.add_row(Text(word, style=style), name, text)
    return table


def verdict(statuses: list[str]) -> str:
    """The checks in one line."""
    if n_failed := statuses.count("fail"):
        return f"{n_failed} of {len(statuses)} checks failed."
    n_warned = statuses.count("warn")
    look = f"; {n_warned} deserve{'s' if n_warned == 1 else ''} a look" if n_warned else ""
    return f"This machine is ready: {len(statuses)} checks, none failed{look}."


def mail_from_server() -> "MailConfig | None":
    """Settings of the mail block, where a server is named that may hold one.

    Raises
    ------
    ConfigError
        If the block is filled in wrongly, or the server cannot be asked.
    """
    if "PREFECT_API_URL" not in os.environ:
        return None  # Prefect would start a server of its own, just to find it empty
    from medcompare.runs.prefect_server import bypass_proxy

    bypass_proxy(os.environ)
    from tasks.mail_block import mail_config_from_block

    try:
        return mail_config_from_block()
    except ConfigError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever Prefect raises where its server is gone
        msg = f"the mail block could not be read from the Prefect server: {error}"
        raise ConfigError(msg) from None


def doctor(
    *,
    out: OutFolder = Path("runs"),
    store: StoreFolder = Path(".medcompare"),
    weights_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder with pretrained weight files.", exists=True, file_okay=False
        ),
    ] = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Also import torch and ask it for devices (some seconds).")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> ExitStatus:
    """Check that this machine can run comparisons.

    Nothing is changed, nothing is sent. A check that fails ends the command with status 1.
    """
    results = run_checks(out, store, weights_dir=weights_dir, deep=deep, mail_elsewhere=mail_from_server)
    statuses: list[str] = [found.status for found in results.values()]
    if as_json:
        rows = [{"name": name, **found._asdict()} for name, found in results.items()]
        print(json.dumps(rows, indent=1, ensure_ascii=False))
    else:
        console().print(results_table(results), f"\n{verdict(statuses)}")
    return ExitStatus.FAILURE if "fail" in statuses else ExitStatus.SUCCESS
