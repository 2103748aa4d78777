"""Flow of the images, as STARD and CONSORT draw it: found, excluded with reasons, training, validation and test."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from medcompare.base.formatting import format_count, format_percent, join_words
from medcompare.base.language import message, t, tn
from medcompare.report.blocks import Flow, FlowStep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medcompare.data.records import DatasetManifest, SubsetSummary
    from medcompare.report.vocabulary import View

SUBSET_NAMES = {"train": message("Training"), "val": message("Validation"), "test": message("Test")}
SUBSET_USES = {
    "train": message("fits the networks"),
    "val": message("picks checkpoint and threshold"),
    "test": message("used for this report"),
}


def flow_of_images(view: View, manifest: DatasetManifest) -> Flow:
    """From the files found to the subsets, by class and patient, with what left on the way and why."""
    classes = manifest.classes
    subsets = () if view.inputs.split is None else view.inputs.split.subsets
    excluded = Counter((row.reason, row.label) for row in view.inputs.rejected)
    left = []
    for reason, n in manifest.rejected_by_reason:
        of_class = [
            f"{format_count(excluded[reason, name])} {name}" for name in classes if excluded[reason, name]
        ]
        left.append(f"{format_count(n)} {t(reason)}{f' ({join_words(of_class)})' if of_class else ''}")
    n_found, n_usable = manifest.n_patients_found, manifest.n_patients
    if n_found is not None and n_usable is not None and n_found > n_usable:
        left.append(
            tn(
                "{n} patient without an image left",
                "{n:,} patients without an image left",
                n_found - n_usable,
            )
        )
    found = [
        n + sum(m for (_, label), m in excluded.items() if label == name)
        for n, name in zip(manifest.class_counts, classes, strict=True)
    ]
    steps = [
        FlowStep(
            title=t("Files found"),
            number=format_count(manifest.n_found),
            lines=_by_class(classes, found, n_patients=n_found),
            aside_title=t("Excluded: {n:,}", n=manifest.n_rejected),
            aside=tuple(left) or (t("none"),),
        )
    ]
    # Nobody is in two subsets: the sums over the subsets are those of all.
    used = [sum(one.class_counts[label] for one in subsets) for label in (0, 1)]
    of_patients = [one.patients_by_class for one in subsets if one.patients_by_class is not None]
    patients = [sum(counts) for counts in zip(*of_patients, strict=True)]
    usable = FlowStep(
        title=t("Usable images"),
        number=format_count(manifest.n_images),
        lines=_by_class(classes, manifest.class_counts, patients, n_patients=n_usable),
    )
    removed = [n - m for n, m in zip(manifest.class_counts, used, strict=True)]
    if subsets and sum(removed):
        n_split = sum(one.n_patients or 0 for one in subsets) or None
        steps += [
            replace(
                usable,
                lines=_by_class(classes, manifest.class_counts, n_patients=n_usable),
                aside_title=t("Removed from training and validation: {n:,}", n=sum(removed)),
                aside=(*_by_class(classes, removed), t("their patient, or a copy, is in another subset")),
            ),
            FlowStep(
                title=t("In the split"),
                number=format_count(sum(used)),
                lines=_by_class(classes, used, patients, n_patients=n_split),
            ),
        ]
    else:
        steps.append(usable)
    ends = tuple(_end(one, classes, n_earlier_looks=view.inputs.n_earlier_looks) for one in subsets)
    return Flow(steps=tuple(steps), ends=ends)


def _by_class(
    classes: tuple[str, str],
    counts: Sequence[int],
    patients: Sequence[int] = (),
    *,
    n_patients: int | None = None,
) -> tuple[str, ...]:
    """Images of each class, with how many patients they are of, and the patients of both together."""
    lines = [f"{format_count(n)} {name}" for n, name in zip(counts, classes, strict=True)]
    if patients:
        lines = [
            tn("{images} of {n} patient", "{images} of {n:,} patients", n, images=images)
            for images, n in zip(lines, patients, strict=True)
        ]
    if n_patients is not None:
        n_both = sum(patients) - n_patients if patients else 0
        both = t("{n:,} of both classes", n=n_both)
        lines.append(f"{_patients(n_patients)}, {both}" if n_both else _patients(n_patients))
    return tuple(lines)


def _patients(n: int) -> str:
    return tn("{n} patient", "{n:,} patients", n)


def _end(summary: SubsetSummary, classes: tuple[str, str], *, n_earlier_looks: int) -> FlowStep:
    uses = [t(SUBSET_USES[summary.subset])]
    if summary.subset == "test" and n_earlier_looks:
        uses.append(tn("and in {n} earlier run", "and in {n:,} earlier runs", n_earlier_looks))
    counts, patients = summary.class_counts, summary.patients_by_class or ()
    share = t(
        "{share} of all images (target {target})",
        share=format_percent(summary.fraction),
        target=format_percent(summary.target_fraction),
    )
    if summary.positive_fraction is not None:
        positive = t(
            "{share} {positive}", share=format_percent(summary.positive_fraction), positive=classes[1]
        )
        share = f"{share}; {positive}"
    return FlowStep(
        title=t(SUBSET_NAMES[summary.subset]),
        number=format_count(summary.n_images),
        lines=(*_by_class(classes, counts, patients, n_patients=summary.n_patients), share, *uses),
    )


def flow_of_cases(view: View) -> Flow:
    """The cases of predictions that were supplied."""
    assessment = view.assessment
    lines = [
        f"{format_count(assessment.n_negative)} {assessment.classes[0]}",
        f"{format_count(assessment.n_positive)} {assessment.classes[1]} ({format_percent(assessment.prevalence)})",
    ]
    if assessment.n_patients is not None:
        lines.append(_patients(assessment.n_patients))
    step = FlowStep(
        title=t("Cases scored by every model"), number=format_count(assessment.n), lines=tuple(lines)
    )
    return Flow(steps=(step,))
