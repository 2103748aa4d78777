"""Cheap signs that the classes differ in something other than disease.

A network learns whatever distinguishes the classes: a magnification, a scanner's image size, a
file format. What can be seen without looking at pixels is looked for here and said; it is
never corrected.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import numpy as np
import scipy

from medcompare.base.language import message, t

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MIN_CRAMERS_V = 0.15
"""Association that is worth a sentence: between Cohen's small (0.1) and medium (0.3) effect."""

MAX_P_VALUE = 0.001
"""Small, since many tokens and columns are looked at."""

MAX_CATEGORIES = 30
MAX_DISTINCT_NUMBERS = 8
MIN_TOKEN_SHARE = 0.05
MAX_TOKEN_WARNINGS = 3

_TOKEN = re.compile(r"\d+(?:\.\d+)?[A-Za-z]+|[A-Za-z]+\d*|\d+")

MODES = {
    "1": message("black and white"),
    "L": message("grey"),
    "LA": message("grey"),
    "P": message("palette"),
    "I": message("deep grey"),
    "I;16": message("deep grey"),
}
"""Words for Pillow's names, where they are no words themselves."""


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
        Corrected for bias, as many small groups look related by chance.

    References
    ----------
    Bergsma (2013), A bias-correction for Cramér's V and Tschuprow's T, J Korean Stat Soc
    42:323-328.
    """
    names, codes = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    table = np.zeros((2, len(names)))
    np.add.at(table, (np.asarray(y, dtype=int), codes), 1)
    if len(names) < 2 or np.any(table.sum(axis=1) == 0):
        return 0.0, 1.0
    chi2, p_value, _, _ = scipy.stats.chi2_contingency(table, correction=False)
    # The smaller dimension is two, so both sides of Bergsma's formula use 2 x k tables.
    n, k = table.sum(), len(names)
    phi2 = max(0.0, chi2 / n - (k - 1) / (n - 1))
    k_corrected, two_corrected = k - (k - 1) ** 2 / (n - 1), 2 - 1 / (n - 1)
    smaller = min(k_corrected, two_corrected) - 1
    return (float(np.sqrt(phi2 / smaller)) if smaller > 0 else 0.0), float(p_value)


def confounder_warnings(
    *,
    y: Sequence[int],
    classes: tuple[str, str],
    paths: Sequence[str],
    sizes: Sequence[tuple[int, int]],
    formats: Sequence[str],
    modes: Sequence[str],
    columns: Mapping[str, Sequence[str]],
    patients: Sequence[str] | None = None,
) -> list[str]:
    """Sentences about image size, format, colour mode, file-name tokens and columns that go with the class.

    Parameters
    ----------
    y : sequence of int
        Class of each image, 0 (negative) or 1 (positive).
    classes : tuple of (str, str)
        Names of the two.
    paths, sizes, formats, modes : sequences
        Per image: path, (width, height) in pixels, file format, mode in Pillow's names.
    columns : mapping
        Further manifest columns, by name. Numbers are grouped by quarters; text with more
        than 30 different values is skipped.
    patients : sequence of str, optional
        Patient of each image. Where given, columns are compared between patients: ten images
        of one patient are not ten observations of that patient's sex.

    Returns
    -------
    list of str
        One sentence per finding; none where nothing is conspicuous.
    """
    candidates: list[tuple[str, Sequence[int], Sequence[str]]] = [
        (t("Image size"), y, _size_groups(sizes)),
        (t("File format"), y, formats),
        (t("Colour mode"), y, [t(MODES[mode]) if mode in MODES else mode for mode in modes]),
    ]
    for name, values in columns.items():
        units = sorted(set(zip(patients or range(len(y)), y, values, strict=True)))
        groups_of_units = _column_groups([u[2] for u in units])
        candidates.append((t("Column '{name}'", name=name), [u[1] for u in units], groups_of_units))
    warnings = []
    for subject, labels, groups in candidates:
        if len(set(groups)) > MAX_CATEGORIES:
            continue
        v, p_value = cramers_v(labels, groups)
        if v >= MIN_CRAMERS_V and p_value < MAX_P_VALUE:
            warnings.append(
                t(
                    "{subject} differs between the classes (Cramér's V {v:.2f}; {contrast}): a network may learn it in "
                    "place of the disease.",
                    subject=subject,
                    v=v,
                    contrast=_contrast(labels, classes, groups),
                )
            )
    return warnings + _token_warnings(y, classes, paths)


def _size_groups(sizes: Sequence[tuple[int, int]]) -> list[str]:
    exact = [f"{width}x{height}" for width, height in sizes]
    if len(set(exact)) <= MAX_CATEGORIES:
        return exact
    # Freely cropped images: quarters by area show a difference without a category per image.
    return _quarters([float(width * height) for width, height in sizes])


def _column_groups(values: Sequence[str]) -> list[str]:
    """`values`, or their quarters where they are numbers of many kinds; empty ones apart."""
    filled = [value for value in values if value]
    if len(set(filled)) <= MAX_DISTINCT_NUMBERS:
        return list(values)
    try:
        numbers = [float(value) for value in filled]
    except ValueError:
        return list(values)
    if not np.isfinite(numbers).all():
        return list(values)
    quarters = iter(_quarters(numbers))
    return [next(quarters) if value else "" for value in values]


def _quarters(numbers: Sequence[float]) -> list[str]:
    cuts = np.quantile(numbers, [0.25, 0.5, 0.75])
    names = t("lowest quarter"), t("second quarter"), t("third quarter"), t("highest quarter")
    return [names[i] for i in np.searchsorted(cuts, numbers, side="left")]


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
    seen: list[set[int]] = []
    for token, members in sorted(holders.items()):
        # Of tokens that go together or exclude each other (100x, 400x) the first says it all.
        if any(len(members ^ other) in {0, len(paths)} for other in seen):
            continue
        inside = Counter(y[i] for i in members)
        shares = [inside[label] / n_by_class[label] for label in (0, 1)]
        if min(shares) == 0 or max(shares) < MIN_TOKEN_SHARE:
            continue
        v, p_value = cramers_v(y, ["with" if i in members else "without" for i in range(len(paths))])
        if v >= MIN_CRAMERS_V and p_value < MAX_P_VALUE:
            seen.append(members)
            found.append((v, _token_sentence(token, shares, classes, v)))
    found.sort(key=lambda pair: (-pair[0], pair[1]))
    return [sentence for _, sentence in found[:MAX_TOKEN_WARNINGS]]


def _token_sentence(token: str, shares: Sequence[float], classes: tuple[str, str], v: float) -> str:
    return t(
        "File names with '{token}' make up {share_positive:.0f}% of {positive} and {share_negative:.0f}% of {negative} "
        "(Cramér's V {v:.2f}): if it means magnification, scanner or place, a network may learn it in place of the "
        "disease.",
        token=token,
        share_positive=100 * shares[1],
        positive=classes[1],
        share_negative=100 * shares[0],
        negative=classes[0],
        v=v,
    )


def _contrast(y: Sequence[int], classes: tuple[str, str], groups: Sequence[str]) -> str:
    """The group whose share differs most between the classes, in numbers."""
    n_by_class = Counter(y)
    counts = Counter(zip(groups, y, strict=True))
    shares = {
        group: (counts[group, 1] / n_by_class[1], counts[group, 0] / n_by_class[0])
        for group in sorted(set(groups))
    }
    group = max(shares, key=lambda name: abs(shares[name][0] - shares[name][1]))
    return t(
        "{group}: {share_positive:.0f}% of {positive}, {share_negative:.0f}% of {negative}",
        group=group or t("empty"),
        share_positive=100 * shares[group][0],
        positive=classes[1],
        share_negative=100 * shares[group][1],
        negative=classes[0],
    )
