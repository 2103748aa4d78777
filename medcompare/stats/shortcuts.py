"""How easy a data set is without seeing the disease: a trivial model on what is not the picture, or hardly.

A network can reach a high AUC from the file format, the scanner's colours or a coarse layout that go with the
class in this data set only (DeGrave, Janizek & Lee 2021, Nature Machine Intelligence 3:610). What a linear model
makes of these alone says how much of a network's AUC may be of that kind.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy

from medcompare.base.language import t
from medcompare.data.assignments import STANDARD_COLUMNS
from medcompare.data.file_facts import read_file_facts
from medcompare.data.records import MAX_LEVELS, ORIGINAL
from medcompare.data.split import units_of
from medcompare.stats.estimates import Estimate
from medcompare.stats.in_detail import RandomSplit, Shortcut
from medcompare.stats.intervals.auc import auc_difference, auc_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from medcompare.base.artifacts import ArtifactStore
    from medcompare.data.records import DatasetManifest
    from medcompare.predictions.cases import ScoredCases

N_FOLDS = 5
N_QUANTILES = 8
MIN_SHARE = 0.02
"""Share of either class that must have a value, or a word in its file names, for it to count: a value of one class
only is most often the class's own name."""

_WORD = re.compile(r"[a-z]+|\d+x", re.IGNORECASE)


def shortcuts(
    table: pd.DataFrame,
    manifest: DatasetManifest,
    store: ArtifactStore,
    test: ScoredCases,
    *,
    level: float,
    seed: int,
) -> tuple[Shortcut, ...]:
    """What a linear model reaches on the files' facts, on their colours and on 12 x 12 pixels.

    Linear discriminant analysis with the shrinkage of Ledoit & Wolf (2004, Journal of Multivariate Analysis
    88:365), which leaves nothing to tune, scored in `N_FOLDS`-fold cross-validation in which patients and copies
    are never on two sides.

    Parameters
    ----------
    table : DataFrame
        The images of the split, with their case ids.
    manifest : DatasetManifest
        Names the tables of copies and of facts of the files.
    store : ArtifactStore
        Holds them.
    test : ScoredCases
        The networks' scores, for the difference on the same images.
    level : float
        Confidence level.
    seed : int
        Of the folds.

    Returns
    -------
    tuple of Shortcut
        Empty where a class has fewer than `N_FOLDS` units, or nothing was measured.
    """
    if manifest.file_facts is None:
        return ()
    facts = read_file_facts(store.read(manifest.file_facts))
    units = units_of(table, manifest, store)
    place = {sha256.decode(): i for i, sha256 in enumerate(facts["sha256"].tolist())}
    chosen = table["sha256"].isin(place).to_numpy()
    table, units = table[chosen].reset_index(drop=True), units[chosen]
    facts = facts[[place[sha256] for sha256 in table["sha256"]]]
    y = table["label"].to_numpy(dtype=np.int64)
    if min((len(set(units[y == label].tolist())) for label in (0, 1)), default=0) < N_FOLDS:
        return ()
    clusters = units if len(np.unique(units)) < len(units) else None
    found = []
    for kind, values in (
        ("file", _file_values(table, facts, y, manifest.extra_columns)),
        ("colours", facts["colour"].astype(np.float64)),
        ("thumbnail", facts["thumbnail"].astype(np.float64)),
    ):
        scores = out_of_fold(values, y, units, seed=seed)
        careless = out_of_fold(values, y, None, seed=seed) if clusters is not None else None
        found.append(
            Shortcut(
                kind=kind,
                auc=cross_validated_auc(y, scores, clusters, level=level),
                careless_difference=None
                if careless is None
                else auc_difference(y, scores, careless, level=level, clusters=clusters),
                **_beside_networks(table, scores, test, level=level),
            )
        )
    return tuple(found)


def out_of_fold(
    values: NDArray[np.float64], y: NDArray[np.int64], groups: NDArray[np.intp] | None, *, seed: int
) -> NDArray[np.float64]:
    """Log odds of each image from a linear model that was fitted without its group, or without it alone.

    Parameters
    ----------
    values : ndarray of shape (n, k)
        What the model sees.
    y : ndarray of shape (n,)
        0/1 labels.
    groups : ndarray of shape (n,) or None
        Images of one group are in one fold; None: single images, as a careless split has it.
    seed : int
        Of the folds.

    Returns
    -------
    ndarray of shape (n,)
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold  # noqa: PLC0415 - takes a second, and most runs find this done

    values = values[:, np.ptp(values, axis=0) > 0] if len(values) else values
    scores = np.zeros(len(y))
    if not values.shape[1]:
        return scores
    folds = StratifiedKFold if groups is None else StratifiedGroupKFold
    for train, held_out in folds(N_FOLDS, shuffle=True, random_state=seed).split(values, y, groups):
        if len(np.unique(y[train])) == 1:
            continue
        scores[held_out] = _log_odds(values[train], y[train], values[held_out])
    return scores


def _log_odds(
    values: NDArray[np.float64], y: NDArray[np.int64], asked: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Linear discriminant for equally likely classes, at the rows of `asked`.

    scikit-learn's `LinearDiscriminantAnalysis` does the same, but for 432 columns its general solver needs
    twenty times as long as this one for a covariance that is positive definite.
    """
    from sklearn.covariance import ledoit_wolf  # noqa: PLC0415 - takes a second, and most runs find this done

    spread = values.std(axis=0)
    spread[spread == 0] = 1.0
    values, asked = values / spread, asked / spread
    means = np.stack([values[y == label].mean(axis=0) for label in (0, 1)])
    covariance, _ = ledoit_wolf(values - means[y], assume_centered=True)
    slope: NDArray[np.float64] = np.linalg.solve(covariance, means[1] - means[0])
    log_odds: NDArray[np.float64] = (asked - means.mean(axis=0)) @ slope
    return log_odds


def cross_validated_auc(
    y: NDArray[np.int64], scores: NDArray[np.float64], clusters: NDArray[np.intp] | None, *, level: float
) -> Estimate:
    """AUC of out-of-fold scores, with an interval that also holds the chance in the fits.

    The folds' models share most of their images, so DeLong's interval is too short: of 150 data sets of noise
    it held 0.5 in 83 to 88 % (240 images of 120 patients; 24, 144 and 432 columns). It is widened by the factor of
    Nadeau & Bengio (2003, Machine Learning 52:239), the root of 1 + n_folds x n_test / n_train, which is 1.5.

    Parameters
    ----------
    y : ndarray of shape (n,)
        0/1 labels.
    scores : ndarray of shape (n,)
        From `out_of_fold`.
    clusters : ndarray of shape (n,) or None
        What belongs together.
    level : float
        Confidence level.

    Returns
    -------
    Estimate
        In [0, 1].
    """
    wider = float(np.sqrt(1 + N_FOLDS / (N_FOLDS - 1)))
    level_of_wider = float(2 * scipy.stats.norm.cdf(wider * scipy.stats.norm.ppf((1 + level) / 2)) - 1)
    found = auc_interval(y, scores, level=level_of_wider, clusters=clusters)
    return found.model_copy(
        update={
            "level": level,
            "method": t("{method}, {times:.1f} times as wide", method=found.method, times=wider),
        }
    )


def _file_values(
    table: pd.DataFrame, facts: NDArray[np.void], y: NDArray[np.int64], columns: Sequence[str]
) -> NDArray[np.float64]:
    """Indicators of size, weight, format, mode, words of the name, and of every further column."""
    width, height = (table[name].astype(float) for name in ("width_px", "height_px"))
    n_bytes = facts["n_bytes"].astype(float)
    numbers = {
        "width": width,
        "height": height,
        "ratio": width / height,
        "bytes": pd.Series(n_bytes),
        "bytes per pixel": pd.Series(n_bytes) / (width * height),
    }
    levels: dict[str, pd.Series[str]] = {
        "format": pd.Series([each.decode() for each in facts["format"].tolist()]),
        "mode": table["mode"],
        "size": table["width_px"].astype(str) + "x" + table["height_px"].astype(str),
    }
    for column in columns:
        if column in {ORIGINAL, *STANDARD_COLUMNS} or column not in table:
            continue
        as_number = pd.to_numeric(table[column], errors="coerce")
        if table[column].nunique() <= MAX_LEVELS:
            levels[column] = table[column]
        elif as_number.notna().any():
            numbers[column] = as_number
    for name, values in numbers.items():
        levels[f"{name} by quantile"] = pd.qcut(values, N_QUANTILES, duplicates="drop").astype(str)
    found: list[NDArray[np.float64]] = [
        np.array(levels[name] == value, dtype=np.float64)
        for name in levels
        for value, count in Counter(levels[name]).items()
        if MIN_SHARE * len(y) <= count < len(y)
    ]
    found += _words_of_names(table["path"], y)
    return np.column_stack(found) if found else np.zeros((len(y), 0))


def _words_of_names(paths: pd.Series[str], y: NDArray[np.int64]) -> list[NDArray[np.float64]]:
    """Indicators of words in file names that some images of either class have."""
    words = [
        {word.lower() for word in _WORD.findall(path.rsplit("/", 1)[-1].rsplit(".", 1)[0])} for path in paths
    ]
    counts = Counter(word for each in words for word in each)
    indicators = [
        np.array([word in each for each in words], dtype=np.float64)
        for word, count in sorted(counts.items())
        if 2 * MIN_SHARE * len(y) <= count < len(y)
    ]
    return [each for each in indicators if min(each[y == label].mean() for label in (0, 1)) >= MIN_SHARE]


def _beside_networks(
    table: pd.DataFrame, scores: NDArray[np.float64], test: ScoredCases, *, level: float
) -> dict[str, object]:
    """AUC on those test images that were looked at, and how much more each network reaches on the same."""
    of_case = dict(zip(table["case_id"], scores.tolist(), strict=True))
    looked_at = np.array([case in of_case for case in test.case_id])
    y = test.y_true[looked_at]
    if len(np.unique(y)) == 1 or not looked_at.any():
        return {}
    own = np.array([of_case[case] for case in np.asarray(test.case_id)[looked_at].tolist()])
    clusters = None if test.clusters is None else test.clusters[looked_at]
    return {
        "auc_test": auc_interval(y, own, level=level, clusters=clusters),
        "differences": {
            model: auc_difference(y, own, each[looked_at], level=level, clusters=clusters)
            for model, each in test.scores.items()
        },
    }


def beside_random_split(
    test: ScoredCases, random: ScoredCases, *, n_leaked: int, level: float
) -> tuple[RandomSplit, ...]:
    """How optimistic a careless split would have been: AUC of the same networks after a random split, and after this.

    The interval of the difference puts those of the two AUCs together ("square and add": Zou & Donner 2008,
    Statistics in Medicine 27:1693). It takes them as independent, as the two trainings and most of the test images
    differ, and holds no chance of the trainings.

    Parameters
    ----------
    test : ScoredCases
        Scores on the test images of this run.
    random : ScoredCases
        Scores of the networks of the random split on its test images.
    n_leaked : int
        Of these, those with a patient or copy in training or validation.
    level : float
        Confidence level.

    Returns
    -------
    tuple of RandomSplit
        One of each network.
    """
    found = []
    for model in test.scores:
        auc, other = (
            auc_interval(cases.y_true, cases.scores[model], level=level, clusters=cases.clusters)
            for cases in (test, random)
        )
        found.append(
            RandomSplit(
                model=model,
                auc=auc,
                auc_random=other,
                difference=_independent_difference(auc, other, level=level),
                n_leaked=n_leaked,
            )
        )
    return tuple(found)


def _independent_difference(first: Estimate, second: Estimate, *, level: float) -> Estimate:
    """Second minus first."""
    a, low_a, high_a = first.value, first.ci_low, first.ci_high
    b, low_b, high_b = second.value, second.ci_low, second.ci_high
    method = t("square and add, of two independent AUCs")
    if a is None or b is None:
        note = first.note if a is None else second.note
        return Estimate(value=None, level=level, method=method, note=note)
    if low_a is None or high_a is None or low_b is None or high_b is None:
        return Estimate(value=b - a, level=level, method=method, note=t("no interval: an AUC has none"))
    return Estimate(
        value=b - a,
        ci_low=b - a - float(np.hypot(b - low_b, high_a - a)),
        ci_high=b - a + float(np.hypot(high_b - b, a - low_a)),
        level=level,
        method=method,
    )
