"""Cases that models got wrong: which of them a report shows, and their small pictures."""

from __future__ import annotations

import io
from string import ascii_uppercase
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps

from medcompare.base.artifacts import sha256_of_bytes
from medcompare.base.errors import DataError
from medcompare.base.file_names import file_at
from medcompare.base.language import t
from medcompare.data.decoding import decode_rgb
from medcompare.data.reading import read_regular
from medcompare.report.inputs import CaseScore, HardCase

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from medcompare.data.assignments import ImageRow
    from medcompare.data.decoding import Range
    from medcompare.predictions.cases import ScoredCases
    from medcompare.report.overlays import Overlays
    from medcompare.stats.records import Assessment

MAX_HARD_CASES, THUMBNAIL_PX = 18, 112


def pseudonymous(cases: tuple[HardCase, ...]) -> tuple[HardCase, ...]:
    """`cases` with ids that can be recomputed from the originals, but not read."""
    return tuple(
        case.model_copy(update={"case_id": f"case {sha256_of_bytes(case.case_id.encode())[:8]}"})
        for case in cases
    )


def mapped_models(assessment: Assessment) -> tuple[str, ...]:
    """Models of whose evidence a report shows maps: the two that it compares in full, or the only one."""
    pair = assessment.pair_of_verdict()
    return assessment.models[:1] if pair is None else (pair.reference, pair.candidate)


def shown_cases(test: ScoredCases, assessment: Assessment) -> tuple[list[int], int]:
    """Which test cases that a model got wrong are shown, and how many there are in all.

    First positives that every model missed, then false alarms of every model, then cases on which the models disagree;
    within a kind those furthest on the wrong side of a threshold. Each kind has a third of the places, the others what
    a kind leaves.
    """
    thresholds, predicted = _predicted(test, assessment)
    positive = test.y_true == 1
    wrong = {model: called != positive for model, called in predicted.items()}
    n_wrong = np.sum(list(wrong.values()), axis=0)
    margin = np.max([np.abs(test.scores[m] - thresholds[m]) * wrong[m] for m in wrong], axis=0)
    by_all = n_wrong == len(wrong)
    kinds = [
        sorted(np.flatnonzero(chosen).tolist(), key=lambda i: (-float(margin[i]), test.case_id[i]))
        for chosen in (by_all & positive, by_all & ~positive, (n_wrong > 0) & ~by_all)
    ]
    places = [min(len(kind), MAX_HARD_CASES // len(kinds)) for kind in kinds]
    for k, kind in enumerate(kinds):
        places[k] += min(len(kind) - places[k], MAX_HARD_CASES - sum(places))
    return [i for kind, n in zip(kinds, places, strict=True) for i in kind[:n]], sum(map(len, kinds))


def _predicted(
    test: ScoredCases, assessment: Assessment
) -> tuple[dict[str, float], dict[str, NDArray[np.bool_]]]:
    """Threshold of each model, and which cases it predicts to be positive."""
    thresholds = {one.model: one.operating_point.threshold for one in assessment.evaluations}
    return thresholds, {model: scores >= thresholds[model] for model, scores in test.scores.items()}


def hard_cases(
    test: ScoredCases,
    assessment: Assessment,
    *,
    thumbnails: Thumbnails | None,
    overlays: Sequence[Overlays] = (),
) -> tuple[tuple[HardCase, ...], int]:
    """The `shown_cases` with scores and pictures, and how many there are in all."""
    _, predicted = _predicted(test, assessment)
    chosen, n_all = shown_cases(test, assessment)
    patients = _letters([] if test.patient_id is None else [str(test.patient_id[i]) for i in chosen])
    pictures = [None if thumbnails is None else thumbnails.of(test.case_id[i]) for i in chosen]
    cases = tuple(
        HardCase(
            case_id=test.case_id[i],
            truth=1 if test.y_true[i] else 0,
            scores=tuple(
                CaseScore(model=model, score=float(scores[i]), called_positive=bool(predicted[model][i]))
                for model, scores in test.scores.items()
            ),
            thumbnail_png=picture,
            facts=(
                *([] if test.patient_id is None else patients.get(str(test.patient_id[i]), ())),
                *(f"{column}: {levels[i]}" for column, levels in test.subgroups.items()),
            ),
            maps=() if picture is None else tuple(one.of(test.case_id[i], picture) for one in overlays),
        )
        for i, picture in zip(chosen, pictures, strict=True)
    )
    return cases, n_all


def _letters(patients: list[str]) -> dict[str, tuple[str]]:
    """``patient A`` and so on for those who come more than once, in this order; ids stay out of the report."""
    several = dict.fromkeys(patient for patient in patients if patients.count(patient) > 1)
    return {
        patient: (t("patient {letter}", letter=letter),)
        for patient, letter in zip(several, ascii_uppercase, strict=False)
    }


class Thumbnails:
    """Small pictures of the images of a split, by case id.

    Parameters
    ----------
    images : sequence of ImageRow
        With the path of each.
    data_root : Path
        Folder the paths are relative to.
    """

    def __init__(self, images: Sequence[ImageRow], data_root: Path) -> None:
        self._images = {row.case_id: (file_at(data_root, row.path), row.grey_range) for row in images}

    def of(self, case_id: str) -> bytes | None:
        """Small PNG of one image without its metadata; None where the file is gone."""
        return thumbnail(*self._images[case_id])


def thumbnail(path: Path, grey_range: Range | None = None) -> bytes | None:
    """Small PNG of an image without its metadata; None where the file is gone."""
    try:
        pixels = decode_rgb(read_regular(path), name="of a case", grey_range=grey_range)
    except (OSError, DataError):
        return None
    out = io.BytesIO()
    small = ImageOps.fit(Image.fromarray(pixels), (THUMBNAIL_PX, THUMBNAIL_PX))
    small.save(out, format="PNG")
    return out.getvalue()
