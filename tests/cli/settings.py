"""The configuration that a command makes of its options, without running it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer.main

from medcompare.cli.app import app
from medcompare.cli.assess import assess_config
from medcompare.cli.compare import compare_config

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medcompare.config.schema import AssessConfig, CompareConfig


def compare_settings(arguments: Sequence[str]) -> CompareConfig:
    """Of ``medcompare compare ARGUMENTS``."""
    return compare_config(_context("compare", arguments))


def assess_settings(arguments: Sequence[str]) -> AssessConfig:
    """Of ``medcompare assess ARGUMENTS``."""
    return assess_config(_context("assess", arguments))


def _context(name: str, arguments: Sequence[str]) -> typer.Context:
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined] # it is a group
    return command.make_context(name, list(arguments))
