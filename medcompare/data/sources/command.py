"""The command that would go on, filled in with the names of the user, for error messages."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medcompare.config.data import ChoiceOfSplit, DataConfig

OPTIONS = {
    "--data": "source",
    "--image-root": "image_root",
    "--path-column": "path_column",
    "--label-column": "label_column",
    "--group-by": "group_by",
    "--positive": "positive",
    "--exclude": "exclude",
}
"""Option of the command line -> the field of `DataConfig` that it fills, in the order of a command."""


def command(data: DataConfig, published: ChoiceOfSplit | None, *more: str) -> str:
    """``medcompare compare`` with all that was given on the data, and the options in `more`."""
    words = ["medcompare compare"]
    for option, field in OPTIONS.items():
        value = getattr(data, field)
        if value:
            text = value if isinstance(value, str) else ",".join(value)
            words.append(f"{option} {shlex.quote(text)}")
    if published is not None:
        words.append(f"--published-split {published}")
    return " ".join([*words, *more])
