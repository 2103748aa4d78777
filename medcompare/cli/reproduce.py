"""``medcompare reproduce``: every number of a report computed again from the evidence inside its PDF."""

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from medcompare import __version__
from medcompare.base.errors import DataError
from medcompare.base.language import in_language
from medcompare.cli.terminal import ExitStatus

RESULTS_NAME = "results.json"

RELATIVE_TOLERANCE = 1e-9
"""Of two numbers that count as equal: sums taken in another order on another machine differ by some 1e-13."""

ADDED_LATER = frozenset({"notes", "shortcuts", "random_split"})
"""Of an assessment: how files were read, and what other models or other splits reach; the scores do not tell."""

NO_LONGER_SAID = frozenset({"lines", "reasons"})
"""Of a verdict: figures of tables once more, as sentences, in reports of before 2026-11-27."""

MOST_SHOWN = 20
NOT_THERE: Any = object()
"""What stands in a report for a field that its version did not have."""
QUANTITY_KEY = ("quantity", "models", "subset")
"""What names a row of the flat table of quantities."""


def reproduce(
    report: Annotated[
        Path,
        typer.Argument(
            metavar="REPORT.PDF", help="A report of medcompare, or the folder of the run that has it."
        ),
    ],
) -> int:
    """Compute the numbers of a report again from its PDF.

    The evidence inside suffices: neither images nor networks are needed.
    """
    from medcompare.report.printing import PDF_NAME

    if report.is_dir():
        report /= PDF_NAME
    found = reproduced(report)
    if found.made_by != __version__ or found.new:
        print(f"made by medcompare {found.made_by}, computed again by {__version__}")
    for place, n in found.new[:MOST_SHOWN]:
        print(
            f"{place}: not in that report, this version computes it ({n:,} {'figure' if n == 1 else 'figures'})"
        )
    if len(found.new) > MOST_SHOWN:
        print(f"... and {len(found.new) - MOST_SHOWN:,} more that are not in that report")
    for name in found.unprinted:
        print(
            f"{name}: the report does not print the SHA-256 of this file: it was exchanged after the report was made"
        )
    for place, then, now in found.differing[:MOST_SHOWN]:
        print(f"{place}: the report has {_shown(then)}, computed again it is {_shown(now)}")
    if len(found.differing) > MOST_SHOWN:
        print(f"... and {len(found.differing) - MOST_SHOWN:,} more")
    if found.differing or found.unprinted:
        print(
            f"{report}: {len(found.differing):,} of {found.n_compared:,} figures and statements do not agree"
        )
        return ExitStatus.FAILURE
    of_it = " of that report" if found.new else ""
    print(f"{report}: all {found.n_numbers:,} numbers{of_it} agree, and the words of the verdict")
    return ExitStatus.SUCCESS


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 100 else text[:97] + "..."


@dataclass(frozen=True)
class Reproduction:
    """What came of computing a report's numbers again.

    Attributes
    ----------
    n_numbers, n_compared : int
        Numbers in the report; numbers, words and gaps.
    differing : tuple of (str, object, object)
        Place in results.json, what stands there, what comes out now; of numbers and of words.
    new : tuple of (str, int)
        Places that the version that made the report did not have yet, and how many numbers come out there now.
    unprinted : tuple of str
        Attached files whose SHA-256 is not printed in the report.
    made_by : str
        Version that made the report.
    """

    n_numbers: int
    n_compared: int
    differing: tuple[tuple[str, Any, Any], ...]
    new: tuple[tuple[str, int], ...]
    unprinted: tuple[str, ...]
    made_by: str


def reproduced(pdf: Path) -> Reproduction:
    """Read the evidence inside a report and compute its numbers again.

    Raises
    ------
    DataError
        If `pdf` is no report of medcompare with its evidence, or the evidence cannot be read.
    """
    from pydantic import TypeAdapter, ValidationError

    from medcompare.predictions.costs import CostMeasurement
    from medcompare.runs.evidence import SETTINGS_NAME, TABLES, EvidenceSettings, read_cases
    from medcompare.stats.assessment import assess

    files, text = _inside(pdf)
    try:
        settings = EvidenceSettings.model_validate_json(files[SETTINGS_NAME])
        stated = json.loads(files[RESULTS_NAME])
        # As it stands there: read as a record of this version, fields that are new would have their defaults.
        then = stated["assessment"] | {"quantities": stated["quantities"]}
        costs = TypeAdapter(tuple[CostMeasurement, ...]).validate_json(json.dumps(then["costs"]))
        subsets = {
            subset: read_cases(files[TABLES[subset]].decode("utf-8"), subset, settings)
            for subset in settings.tables
        }
        with in_language(settings.language):
            now = assess(
                subsets["test"],
                subsets.get("val"),
                costs,
                display_names=then["display_names"],
                evaluate=settings.evaluate,
                rule=settings.decide,
                thresholds=settings.thresholds,
                seed=settings.seed,
                set_by_user=frozenset(settings.set_by_user),
                not_evaluated_as_trained=settings.not_evaluated_as_trained,
                not_converged=settings.not_converged,
                running=subsets["running"].scores if "running" in subsets else {},
            )
    except (ValidationError, KeyError, ValueError, TypeError, IndexError, UnicodeDecodeError) as error:
        msg = f"{pdf}: the evidence inside was altered or is of another version ({type(error).__name__})"
        raise DataError(msg) from error
    found = list(_pairs(_compared(then), _compared(json.loads(now.model_dump_json())), ""))
    pairs = [pair for pair in found if pair[1] is not NOT_THERE]
    new: Counter[str] = Counter()
    for place, one, value in found:
        if one is NOT_THERE:
            new[re.sub(r"\[\d+\]", "[]", place)] += _n_numbers(value)
    printed = "".join(text.split())
    return Reproduction(
        n_numbers=sum(_is_number(one) for _, one, _ in pairs),
        n_compared=len(pairs),
        differing=tuple(pair for pair in pairs if not _same(*pair[1:])),
        new=tuple(new.items()),
        unprinted=tuple(
            name for name, content in files.items() if hashlib.sha256(content).hexdigest() not in printed
        ),
        made_by=settings.medcompare_version,
    )


def _inside(pdf: Path) -> tuple[dict[str, bytes], str]:
    """The attached files of a PDF by name, and its text."""
    from pypdf import PdfReader
    from pypdf.errors import PyPdfError

    from medcompare.report.printing import WAITING_NAME
    from medcompare.runs.evidence import SETTINGS_NAME, TABLES
    from medcompare.runs.result import remake_command

    if not pdf.exists() and (pdf.parent / WAITING_NAME).is_file():
        again = remake_command(pdf.parent)
        msg = f"{pdf}: the run ended without its PDF, which has the evidence inside; {again} makes it"
        raise DataError(msg)
    try:
        reader = PdfReader(pdf)
        files = {name: contents[0] for name, contents in reader.attachments.items()}
        text = "".join(page.extract_text() for page in reader.pages)
    except (PyPdfError, OSError, ValueError, KeyError) as error:
        msg = f"{pdf}: cannot be read as a PDF ({error})"
        raise DataError(msg) from error
    missing = {RESULTS_NAME, SETTINGS_NAME, TABLES["test"]} - set(files)
    if missing:
        msg = (
            f"{pdf}: no evidence inside ({', '.join(sorted(missing))} missing): not a report of medcompare, one made "
            "before reports carried their evidence, or saved again by a program that drops attachments; "
            "the report.pdf in the folder of the run has it"
        )
        raise DataError(msg)
    return files, text


def _compared(assessment: dict[str, Any]) -> dict[str, Any]:
    """What is compared of an assessment, its quantities by what they are of: another version may have more rows."""
    kept = {name: value for name, value in assessment.items() if name not in ADDED_LATER}
    kept["verdict"] = {name: value for name, value in kept["verdict"].items() if name not in NO_LONGER_SAID}
    rows = {" ".join(map(str, (row[key] for key in QUANTITY_KEY))): row for row in kept["quantities"]}
    return kept | {"quantities": rows} if len(rows) == len(kept["quantities"]) else kept


def _pairs(one: Any, other: Any, path: str) -> Iterator[tuple[str, Any, Any]]:  # noqa: ANN401 - any JSON
    """Every number and word of two JSON values, with its place; what `other` lacks is paired with None.

    What `one` lacks is paired with `NOT_THERE`, whole, unless it is empty.
    """
    if isinstance(one, dict) and isinstance(other, dict):
        for key, value in one.items():
            yield from _pairs(value, other.get(key), f"{path}.{key}".lstrip("."))
        for key, value in other.items():
            if key not in one and value not in (None, [], {}):
                yield f"{path}.{key}".lstrip("."), NOT_THERE, value
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for i, (left, right) in enumerate(zip(one, other, strict=True)):
            yield from _pairs(left, right, f"{path}[{i}]")
    else:
        yield path, one, other


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _n_numbers(value: object) -> int:
    """How many numbers a JSON value holds."""
    if isinstance(value, dict | list):
        return sum(map(_n_numbers, value.values() if isinstance(value, dict) else value))
    return _is_number(value)


def _same(one: Any, other: Any) -> bool:  # noqa: ANN401 - any JSON
    if _is_number(one) and _is_number(other):
        return math.isclose(one, other, rel_tol=RELATIVE_TOLERANCE, abs_tol=1e-12)
    return bool(one == other)
