"""The stage an error was raised in, and what to do about it."""

from __future__ import annotations

import errno

import pytest

from medcompare.base.errors import (
    ArtifactError,
    ConfigError,
    DataError,
    DiskFullError,
    InputError,
    TrainingError,
    WeightsError,
)
from medcompare.runs.stages import BETWEEN_STAGES, INTERRUPTED, in_stage, remedy_of, stage_of

CHANGE_INPUT = "Change the input or the setting that the log of the run names: the same input fails again."
FREE_DISK = "Free some disk: medcompare prune shows what can be deleted. Then start the run again."
CHANGE_TRAINING = (
    "Change the settings of the training that the log of the run names: the same training fails again."
)
READ_LOG = "Read the log of the run, then start it again: what was finished is reused."


def test_the_innermost_stage_wins() -> None:
    """The stage nearest to the cause is named, not the one around it."""
    error = DataError("no class")
    with pytest.raises(DataError, match="no class"), in_stage("outer"), in_stage("train test_cnn"):
        raise error

    assert stage_of(error) == "train test_cnn"


def test_an_error_keeps_its_stage_through_later_blocks() -> None:
    """An error that is raised again elsewhere still names where it came from."""
    error = OSError(errno.EIO, "input/output error")
    with pytest.raises(OSError, match="input/output"), in_stage("ingest"):
        raise error
    with pytest.raises(OSError, match="input/output"), in_stage("report"):
        raise error

    assert stage_of(error) == "ingest"


def test_what_comes_from_outside_is_marked_too() -> None:
    """Ctrl-C is no `Exception` and yet interrupts a stage."""
    with pytest.raises(KeyboardInterrupt) as caught, in_stage("train"):
        raise KeyboardInterrupt

    assert stage_of(caught.value) == "train"


def test_an_unmarked_error_is_between_the_stages() -> None:
    """Nobody said where: said so; a block that ends well marks nothing."""
    error = RuntimeError("boom")
    with in_stage("split"):
        pass

    assert stage_of(error) == BETWEEN_STAGES == "between the stages"


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (InputError("x"), CHANGE_INPUT),
        (ConfigError("x"), CHANGE_INPUT),
        (DataError("x"), CHANGE_INPUT),
        (WeightsError("x"), CHANGE_INPUT),
        (OSError(errno.ENOSPC, "no space left on device"), FREE_DISK),
        (OSError(errno.EDQUOT, "disk quota exceeded"), FREE_DISK),
        (DiskFullError("the checkpoint cannot be saved"), FREE_DISK),
        (OSError(errno.EIO, "input/output error"), READ_LOG),
        (OSError("without a number"), READ_LOG),
        (TrainingError("loss is not finite"), CHANGE_TRAINING),
        (TrainingError("killed from outside", transient=True), READ_LOG),
        (ArtifactError("altered"), READ_LOG),
        (RuntimeError("boom"), READ_LOG),
        (KeyboardInterrupt(), INTERRUPTED),
    ],
)
def test_the_remedy_fits_the_error(error: BaseException, remedy: str) -> None:
    """Input is to be changed, a full disk freed, the rest read about in the log."""
    assert remedy_of(error) == remedy
