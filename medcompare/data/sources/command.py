"""The command that would go on, filled in with the names of the user, for error messages."""

from __future__ import annotations

import shlex
from difflib import get_close_matches
from typing import TYPE_CHECKING

from medcompare.base.errors import DataError
from medcompare.data.columns import listed
from medcompare.data.records import PUBLISHED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medcompare.config.data import ChoiceOfSplit, DataConfig, SplitConfig
    from medcompare.data.sources.listing import ImageSource

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


def check_columns(
    source: ImageSource, data: DataConfig, split: SplitConfig, subgroups: Sequence[str]
) -> None:
    """Refuse settings that name a column which the images do not have, before any image is read.

    Parameters
    ----------
    source : ImageSource
        The listed images.
    data, split : DataConfig, SplitConfig
        What was given.
    subgroups : sequence of str
        Columns of ``evaluate.subgroups``.

    Raises
    ------
    DataError
        With the columns that there are, and the command with the one that is spelled most like it.
    """
    columns = [name for name in source.extra_columns if name != PUBLISHED]
    held, _, values = (split.hold_out or "").partition("=")
    asked = [
        ("to hold out by", "--hold-out", [held] if held else [], f"={values}"),
        ("to stratify by", "--stratify-by", [split.stratify_by] if split.stratify_by else [], ""),
        (
            "for subgroups",
            "--set evaluate.subgroups=",
            [name for name in subgroups if name != "patient_id"],
            "",
        ),
    ]
    for purpose, option, names, _ in asked:
        missing = [name for name in names if name not in columns]
        if not missing:
            continue
        options = []
        for _, other, given, after in asked:
            near = [
                name if name in columns else "".join(get_close_matches(name, columns, n=1, cutoff=0))
                for name in given
            ]
            if any(near):
                text = shlex.quote(",".join(filter(None, near)) + after)
                options.append(f"{other}{'' if other.endswith('=') else ' '}{text}")
        named = option.removeprefix("--set ").rstrip("=")
        msg = (
            f"{source.name}: there is no column '{missing[0]}' {purpose} ({named}); columns there are: "
            f"{listed(columns) or 'none'}.\nTry: {command(data, split.published, *options)}"
        )
        raise DataError(msg)
