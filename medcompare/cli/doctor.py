"""Is this machine fit for comparisons? A table of checks, each with a remedy, in seconds.

``medcompare doctor``; exit status 0: nothing failed, 1: a check failed, 2: bad input.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from medcompare.base.errors import ConfigError
from medcompare.base.terminal import ExitStatus, say
from medcompare.cli import doctor_checks as checks
from medcompare.cli.doctor_checks import CheckResult
from medcompare.config.schema import CompareConfig
from medcompare.notify.settings import MailConfig
from medcompare.runs.prefect_server import bypass_proxy

MARKS = {"ok": ("ok", "green"), "warn": ("look", "yellow"), "fail": ("FAIL", "bold red")}
WIDTH_WITHOUT_TERMINAL = 140

Check = tuple[str, "Callable[[], CheckResult]"]


def run_checks(
    *,
    out: Path = Path("runs"),
    store: Path = Path(".medcompare"),
    weights_dir: Path | None = None,
    environment: Mapping[str, str] | None = None,
    deep: bool = False,
    mail_elsewhere: Callable[[], MailConfig | None] | None = None,
) -> tuple[CheckResult, ...]:
    """Run every check, side by side.

    Parameters
    ----------
    out, store : Path
        Folders of the runs and of the cache.
    weights_dir : Path, optional
        Folder with pretrained weights.
    environment : mapping of str to str, optional
        Where ``PREFECT_API_URL`` and ``MEDCOMPARE_SMTP_*`` are looked for; by default the
        process's own.
    deep : bool
        Import torch and ask it for devices, which takes seconds.
    mail_elsewhere : callable, optional
        As in `medcompare.cli.doctor_checks.check_mail`.

    Returns
    -------
    tuple of CheckResult
        Always all of them, in a fixed order.
    """
    environment = dict(os.environ if environment is None else environment)
    models = CompareConfig.model_fields["models"].default
    table: tuple[Check, ...] = (
        ("Python", checks.check_python),
        ("PyTorch", lambda: checks.check_torch(deep=deep)),
        ("WeasyPrint", checks.check_rendering),
        ("Fonts", checks.check_fonts),
        ("Prefect", checks.check_prefect_version),
        ("Prefect server", lambda: checks.check_prefect_server(environment)),
        ("Proxy", lambda: checks.check_proxy(environment)),
        ("Mail server", lambda: checks.check_mail(environment, mail_elsewhere)),
        ("Outbox", lambda: checks.check_outbox(store)),
        ("Pretrained weights", lambda: checks.check_weights(models, weights_dir)),
        ("Disk for out", lambda: checks.check_disk("out", out)),
        ("Disk for store", lambda: checks.check_disk("store", store)),
        ("File access", lambda: checks.check_access(out, store)),
        ("Shared memory", checks.check_shared_memory),
        ("History", lambda: checks.check_history(store)),
        ("Code", checks.check_code),
    )
    with ThreadPoolExecutor(max_workers=len(table)) as pool:
        return tuple(pool.map(guarded, table))


def guarded(check: Check) -> CheckResult:
    """Result of a check; an error nobody foresaw becomes a failed check, not the end of all."""
    name, run = check
    try:
        return run()
    except Exception as error:  # noqa: BLE001 - one broken check must not hide the others
        detail = f"the check itself failed: {type(error).__name__}: {error}"
        return CheckResult(
            name=name, status="fail", detail=detail, remedy="report this as a bug, with the line above"
        )


def results_table(results: Sequence[CheckResult]) -> Table:
    """Table of results; a remedy stands below what it mends."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for result in results:
        word, style = MARKS[result.status]
        text = Text(result.detail)
        if result.remedy is not None:
            text.append(f"\n→ {result.remedy}", style="italic")
        table.add_row(Text(word, style=style), result.name, text)
    return table


def verdict(results: Sequence[CheckResult]) -> str:
    """The checks in one line."""
    n_failed = sum(result.status == "fail" for result in results)
    n_warned = sum(result.status == "warn" for result in results)
    if n_failed:
        return f"{n_failed} of {len(results)} checks failed."
    look = f"; {n_warned} deserve{'s' if n_warned == 1 else ''} a look" if n_warned else ""
    return f"This machine is ready: {len(results)} checks, none failed{look}."


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


def doctor(
    *,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the runs.")] = Path("runs"),
    store: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the cache.")] = Path(".medcompare"),
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
) -> None:
    """Check that this machine can run comparisons. Nothing is changed, nothing is sent."""
    results = run_checks(
        out=out, store=store, weights_dir=weights_dir, deep=deep, mail_elsewhere=mail_from_server
    )
    if as_json:
        say(json.dumps([result.model_dump() for result in results], indent=1, ensure_ascii=False))
    else:
        console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL)
        console.print(results_table(results))
        console.print(Text(f"\n{verdict(results)}"))
    if any(result.status == "fail" for result in results):
        raise typer.Exit(ExitStatus.FAILURE)
