"""Cheap signs that the classes differ in something other than disease.

A network learns whatever tells the classes apart: a magnification, a scanner's image size, a
file format. What can be seen without looking at pixels is looked for here and said; it is
never corrected.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MIN_CRAMERS_V = 0.15
"""Association that is worth a sentence: between Cohen's small (0.1) and medium (0.3) effect."""

MAX_P_VALUE = 0.001
"""Small, since many tokens and columns are looked at."""

MAX_CATEGORIES = 30
MIN_TOKEN_SHARE = 0.05
MAX_TOKEN_WARNINGS = 3

_TOKEN = re.compile(r"\d+(?:\.\d+)?[A-Za-z]+|[A-Za-z]+\d*|\d+")


def cramers_v(y: Sequence[int], groups: Sequence[str]) -> tuple[float, float]:
    """Cramér's V between class and group, with the p-value of the chi-squared test.

    Parameters
    ----------
    y : sequence of int
        Class of each image, 0 or 1.
    groups : sequence of str
        Group of each image, in the same order.

    Returns
    -------
    tuple of (float, float)
        V in [0, 1] (0: unrelated) and p; (0.0, 1.0) where there is one group or one class.

    References
    ----------
    Cramér (1946), Mathematical Methods of Statistics, section 21.9; no continuity correction.
    """
    names, codes = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    table = np.zeros((2, len(names)))
    np.add.at(table, (np.asarray(y, dtype=int), codes), 1)
    if len(names) < 2 or np.any(table.sum(axis=1) == 0):  # noqa: PLR2004 - nothing to associate
        return 0.0, 1.0
    chi2, p_value, _, _ = stats.chi2_contingency(table, correction=False)
    # The smaller dimension of a table with two classes is two, so its divisor is one.
    return float(np.sqrt(chi2 / table.sum())), float(p_value)


def confounder_warnings(
    *,
    y: Sequence[int],
    classes: tuple[str, str],
    paths: Sequence[str],
    sizes: Sequence[tuple[int, int]],
    formats: Sequence[str],
    columns: Mapping[str, Sequence[str]],
) -> list[str]:
    """Sentences about image size, format, file-name tokens and columns that go with the class.

    Parameters
    ----------
    y : sequence of int
        Class of each image, 0 (negative) or 1 (positive).
    classes : tuple of (str, str)
        Names of the two.
    paths, sizes, formats : sequences
        Per image: path, (width, height) in pixels, file format.
    columns : mapping
        Further manifest columns, by name; those with more than 30 different values are skipped.

    Returns
    -------
    list of str
        One sentence per finding; none where nothing stands out.
    """
    candidates: list[tuple[str, Sequence[str]]] = [
        ("Image size", _size_groups(sizes)),
        ("File format", formats),
        *((f"Column '{name}'", values) for name, values in columns.items()),
    ]
    warnings = []
    for subject, groups in candidates:
        if len(set(groups)) > MAX_CATEGORIES:
            continue
        v, p_value = cramers_v(y, groups)
        if v >= MIN_CRAMERS_V and p_value < MAX_P_VALUE:
            warnings.append(
                f"{subject} differs between the classes (Cramér's V {v:.2f}; {_contrast(y, classes, groups)}): "
                "a network may learn it in place of the disease."
            )
    return warnings + _token_warnings(y, classes, paths)


def _size_groups(sizes: Sequence[tuple[int, int]]) -> list[str]:
    exact = [f"{width}x{height}" for width, height in sizes]
    if len(set(exact)) <= MAX_CATEGORIES:
        return exact
    # Freely cropped images: quarters by area show a difference without a category per image.
    areas = np.asarray([width * height for width, height in sizes], dtype=float)
    quarters = np.searchsorted(np.quantile(areas, [0.25, 0.5, 0.75]), areas, side="left")
    return [("smallest quarter", "second quarter", "third quarter", "largest quarter")[i] for i in quarters]


def _token_warnings(y: Sequence[int], classes: tuple[str, str], paths: Sequence[str]) -> list[str]:
    """Findings on tokens of file names such as ``400x``.

    A token found in one class only is most often the class's own name, and a bare number
    a counter: neither says anything about the image.
    """
    holders: defaultdict[str, set[int]] = defaultdict(set)
    for i, path in enumerate(paths):
        stem = path.rsplit("/", 1)[-1].rsplit(".", 1)[0]
        for token in _TOKEN.findall(stem):
            if not token.isdigit():
                holders[token.lower()].add(i)
    n_by_class = Counter(y)
    found: list[tuple[float, str]] = []
    for token, members in sorted(holders.items()):
        inside = Counter(y[i] for i in members)
        shares = [inside[label] / n_by_class[label] for label in (0, 1)]
        if min(shares) == 0 or max(shares) < MIN_TOKEN_SHARE:
            continue
        v, p_value = cramers_v(y, ["with" if i in members else "without" for i in range(len(paths))])
        if v >= MIN_CRAMERS_V and p_value < MAX_P_VALUE:
            found.append(
                (
                    v,
                    f"File names with '{token}' make up {shares[1]:.0%} of {classes[1]} and {shares[0]:.0%} of "
                    f"{classes[0]} (Cramér's V {v:.2f}): if it stands for magnification, scanner or place, "
                    "a network may learn it in place of the disease.",
                )
            )
    found.sort(key=lambda pair: (-pair[0], pair[1]))
    return [sentence for _, sentence in found[:MAX_TOKEN_WARNINGS]]


def _contrast(y: Sequence[int], classes: tuple[str, str], groups: Sequence[str]) -> str:
    """The group whose share differs most between the classes, in numbers."""
    n_by_class = Counter(y)
    counts = Counter(zip(groups, y, strict=True))
    shares = {
        group: (counts[group, 1] / n_by_class[1], counts[group, 0] / n_by_class[0])
        for group in sorted(set(groups))
    }
    group = max(shares, key=lambda name: abs(shares[name][0] - shares[name][1]))
    return f"{group or 'empty'}: {shares[group][0]:.0%} of {classes[1]}, {shares[group][1]:.0%} of {classes[0]}"
