"""Checks every statistical procedure runs on its input first."""

import numpy as np
import pytest

from medcompare.base.errors import ConfigError, DataError
from medcompare.stats.arrays import (
    checked_clusters,
    checked_decisions,
    checked_labels,
    checked_level,
    checked_probabilities,
    checked_scores,
    checked_thresholds,
)


def test_labels_become_booleans() -> None:
    """Integers, floats and booleans that mean 0 and 1 are labels."""
    for labels in ([0, 1, 1], [0.0, 1.0, 1.0], [False, True, True], np.array([0, 1, 1], dtype=np.uint8)):
        assert checked_labels(labels).tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([], "non-empty list"),
        ([[0, 1]], r"non-empty list of labels, got shape \(1, 2\)"),
        ([0, 1, 2], "holds .*2.* at position 2"),
        ([0.0, float("nan")], "nan.* at position 1"),
        ([1, 1], "positive cases only"),
        ([0, 0], "negative cases only"),
    ],
    ids=["empty", "matrix", "third label", "nan", "one class: positive", "one class: negative"],
)
def test_bad_labels_are_refused(labels: list[float], message: str) -> None:
    """Each kind of unusable labels has its message."""
    with pytest.raises(DataError, match=message):
        checked_labels(labels)


def test_one_class_is_allowed_where_it_makes_sense() -> None:
    """Procedures that do not need both classes can say so."""
    assert checked_labels([1, 1], both_classes=False).all()


def test_scores_are_float64() -> None:
    """Scores of lesser precision are widened, so ranks are exact."""
    assert checked_scores(np.array([0.1, 0.2], dtype=np.float32), 2).dtype == np.float64


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([0.1, 0.2, 0.3], r"shape \(3,\) but there are 2 labels"),
        ([0.1, float("nan")], "resnet is nan at position 1"),
        ([float("inf"), 0.1], "resnet is inf at position 0"),
    ],
    ids=["length", "nan", "infinite"],
)
def test_bad_scores_are_refused(scores: list[float], message: str) -> None:
    """A score that cannot be ranked is named with its position."""
    with pytest.raises(DataError, match=message):
        checked_scores(scores, 2, name="resnet")


def test_probabilities_outside_the_unit_interval_are_refused() -> None:
    """The message says what to do with scores that are not probabilities."""
    assert checked_probabilities([0, 1], 2).tolist() == [0.0, 1.0]
    with pytest.raises(DataError, match=r"1\.2 at position 1, outside \[0, 1\]; declare"):
        checked_probabilities([0.1, 1.2], 2)


def test_clusters_become_codes() -> None:
    """Ids of any kind become consecutive codes."""
    assert checked_clusters(["p9", "p1", "p9"], 3).tolist() == [1, 0, 1]
    assert checked_clusters([70, 5, 70], 3).tolist() == [1, 0, 1]


def test_bad_clusters_are_refused() -> None:
    """A missing patient id is an error, not a patient."""
    with pytest.raises(DataError, match="one patient id per case"):
        checked_clusters([1, 2], 3)
    with pytest.raises(DataError, match="NaN at position 1"):
        checked_clusters([1.0, float("nan")], 2)


def test_decisions_must_be_booleans_of_equal_length() -> None:
    """Numbers are not decisions, and models are compared on the same cases."""
    assert checked_decisions([], name="x").size == 0
    with pytest.raises(DataError, match="x must be a list of True/False"):
        checked_decisions([0.2, 0.7], name="x")
    with pytest.raises(DataError, match="x has 1 entries where 2 are needed"):
        checked_decisions([True], n_samples=2, name="x")


@pytest.mark.parametrize("level", [0, 1, 95, -0.5, float("nan")])
def test_levels_outside_the_unit_interval_are_refused(level: float) -> None:
    """A level of 95 is a slip, not 0.95."""
    with pytest.raises(ConfigError, match="confidence level between 0 and 1"):
        checked_level(level)


@pytest.mark.parametrize("thresholds", [[], [0.0], [1.0], [[0.5]], [float("nan")]])
def test_threshold_probabilities_are_strictly_inside(thresholds: list[float]) -> None:
    """Net benefit is undefined at a threshold of 1."""
    with pytest.raises(ConfigError, match="strictly between 0 and 1"):
        checked_thresholds(thresholds)
