"""Is this machine fit for comparisons? A table of checks, each with a remedy, in seconds.

``python -m flows.doctor``; exit status 0: nothing failed, 1: a check failed, 2: bad input.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from medcompare.base.terminal import say
from medcompare.cli import doctor_checks as checks
from medcompare.cli.doctor_checks import CheckResult
from medcompare.config.schema import CompareConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from medcompare.notify.settings import MailConfig

SUCCESS, FAILURE = 0, 1
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


def build_parser() -> argparse.ArgumentParser:
    """Parser of ``python -m flows.doctor``."""
    parser = argparse.ArgumentParser(
        prog="python -m flows.doctor",
        description="Check that this machine can run comparisons. Nothing is changed, nothing is sent.",
        epilog="Exit status: 0 no check failed, 1 a check failed, 2 bad input.",
    )
    parser.add_argument(
        "--out", metavar="DIR", type=Path, default=Path("runs"), help="folder of the runs (default: runs)"
    )
    parser.add_argument(
        "--store",
        metavar="DIR",
        type=Path,
        default=Path(".medcompare"),
        help="folder of the cache (default: .medcompare)",
    )
    parser.add_argument("--weights-dir", metavar="DIR", type=Path, help="folder with pretrained weight files")
    parser.add_argument(
        "--deep", action="store_true", help="also import torch and ask it for devices (some seconds)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def main(
    argv: Sequence[str] | None = None, *, mail_elsewhere: Callable[[], MailConfig | None] | None = None
) -> int:
    """Check this machine from the command line; returns the exit status."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    if arguments.weights_dir is not None and not arguments.weights_dir.is_dir():
        parser.error(f"--weights-dir {arguments.weights_dir}: no such folder")
    results = run_checks(
        out=arguments.out,
        store=arguments.store,
        weights_dir=arguments.weights_dir,
        deep=arguments.deep,
        mail_elsewhere=mail_elsewhere,
    )
    if arguments.json:
        say(json.dumps([result.model_dump() for result in results], indent=1, ensure_ascii=False))
    else:
        console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL)
        console.print(results_table(results))
        console.print(Text(f"\n{verdict(results)}"))
    return FAILURE if any(result.status == "fail" for result in results) else SUCCESS
