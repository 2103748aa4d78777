"""How every command ends, and how wide it prints: one table of exit statuses, one sentence for what went wrong."""

import os
import sys
from collections.abc import Callable
from enum import IntEnum

import typer
from rich.console import Console

from medcompare.base.errors import InputError, MedcompareError, UnexpectedError, redact

WIDTH_WITHOUT_TERMINAL = 160
_OURS = ("medcompare", "flows", "tasks")


class ExitStatus(IntEnum):
    """How a command ended, for scripts and pipelines."""

    SUCCESS = 0
    FAILURE = 1
    BAD_INPUT = 2
    OTHER_VERDICT = 3
    NO_PDF = 4
    INTERRUPTED = 130


EXIT_STATUSES = (
    "Exit status: 0 success, 1 failure, 2 bad input or configuration, "
    "3 a verdict other than --fail-unless asks for, 4 a finished run without its PDF, 130 interrupted."
)


def exit_status(command: Callable[[], int | None]) -> int:
    """Run `command`, say in plain words what went wrong, and return the exit status."""
    try:
        status = command()
    except MedcompareError as error:
        complain(f"error: {error}")
        return ExitStatus.BAD_INPUT if isinstance(error, InputError) else ExitStatus.FAILURE
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        hint = f" (see {context.command_path} --help)" if context else ""
        complain(f"error: {error.format_message()}{hint}")
        return ExitStatus.BAD_INPUT
    except KeyboardInterrupt:
        status = ExitStatus.INTERRUPTED
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        if package in _OURS:  # the software is incomplete
            complain(f"failed: {redact(error)}")
        else:  # such as a machine that only predicts
            complain(
                f"error: this command needs {package}, which is not installed: python -m pip install {package}"
            )
        return ExitStatus.FAILURE
    except Exception as error:  # noqa: BLE001 - the last line of defence: no traceback may print data
        told = redact(error)
        kind = "" if isinstance(told, UnexpectedError) else f"{type(told).__name__}: "
        complain(f"failed: {kind}{told}")
        return ExitStatus.FAILURE
    if status == ExitStatus.INTERRUPTED:  # typer makes a status of Ctrl-C
        complain("interrupted")
    return status or ExitStatus.SUCCESS


def complain(text: str) -> None:
    """Print `text` to standard error."""
    print(text, file=sys.stderr)


def console() -> Console:
    """Standard output as wide as the terminal, and wide where a file or a program reads it."""
    known = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(highlight=False, width=None if known else WIDTH_WITHOUT_TERMINAL)
