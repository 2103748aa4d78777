"""Section on data: what came in, what was excluded, how it was split."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medcompare.base.formatting import (
    format_count,
    format_percent,
    format_significant,
    join_words,
)
from medcompare.data.records import MAX_LEVELS
from medcompare.report.blocks import (
    Bullets,
    Cell,
    Column,
    Flow,
    FlowStep,
    Heading,
    Paragraph,
    Section,
    Table,
    absent,
    text_rows,
)
from medcompare.report.vocabulary import format_patients

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medcompare.data.records import Characteristic, DatasetManifest, DatasetSplit, SubsetSummary
    from medcompare.report.blocks import Block
    from medcompare.report.vocabulary import View

SUBSET_NAMES = {"train": "Training", "val": "Validation", "test": "Test"}
SUBSET_USES = {
    "train": "fits the networks",
    "val": "picks checkpoint and threshold",
    "test": "used for this report",
}
MAX_INLINE_ROWS = 10
"""Longer lists of rejected files stand at the end of the methods section."""

MAX_REJECTED_ROWS = 150
"""Still longer lists go on in ``results.json`` only."""


def data_section(view: View, number: int) -> Section:
    """Flow of cases, subsets, image sizes, rejected files."""
    inputs = view.inputs
    blocks: list[Block] = []
    if inputs.manifest is not None:
        lead = "Every image was decoded once; what could not be used was excluded, counted and listed."
        blocks.append(_flow(inputs.manifest, inputs.split, n_earlier_looks=inputs.n_earlier_looks))
    else:
        lead = "The predictions were supplied; the images behind them were not seen by this software."
        blocks.append(_supplied_flow(view))
    if inputs.split is not None:
        blocks += [
            _subset_table(inputs.split),
            Paragraph(text=inputs.split.method),
            Bullets(items=_split_facts(inputs.split)),
            *_characteristics(view, inputs.split),
        ]
    if inputs.manifest is not None:
        blocks += [Heading(text="What the images are"), _image_table(inputs.manifest)]
        blocks += [Paragraph(text=warning, tone="warning") for warning in inputs.manifest.warnings]
    if not inputs.assessment.clustered:
        text = format_patients(inputs.assessment)
        if inputs.assessment.n_patients is None:
            text += " If patients contribute several images, the intervals are too narrow."
        blocks.append(Paragraph(text=text, tone="note"))
    if 0 < len(inputs.rejected) <= MAX_INLINE_ROWS:
        blocks += rejected_blocks(view)
    elif inputs.rejected:
        count = format_count(len(inputs.rejected))
        blocks.append(
            Paragraph(text=f"The {count} excluded files are listed at the end of the methods section.")
        )
    return Section(number=number, anchor="data", title="Data and split", lead=lead, blocks=tuple(blocks))


def _flow(manifest: DatasetManifest, split: DatasetSplit | None, *, n_earlier_looks: int) -> Flow:
    aside = tuple(f"{format_count(count)} {reason}" for reason, count in manifest.rejected_by_reason)
    groups = []
    if manifest.n_duplicate_groups:
        groups = [
            f"{format_count(manifest.n_duplicate_groups)} groups of identical files",
            f"{format_count(manifest.n_conflicting_groups)} with opposite labels, excluded",
        ]
    classes = [
        f"{format_count(n)} {name}" for name, n in zip(manifest.classes, manifest.class_counts, strict=True)
    ]
    patients = [] if manifest.n_patients is None else [f"{format_count(manifest.n_patients)} patients"]
    steps = (
        FlowStep(
            title="Files found", number=format_count(manifest.n_found), aside=aside or ("nothing excluded",)
        ),
        FlowStep(
            title="Usable images",
            number=format_count(manifest.n_images),
            lines=(*classes, *patients),
            aside=tuple(groups) or ("no identical files",),
        ),
    )
    ends = (
        ()
        if split is None
        else tuple(_end(summary, split.classes, n_earlier_looks=n_earlier_looks) for summary in split.subsets)
    )
    return Flow(steps=steps, ends=ends)


def _end(summary: SubsetSummary, classes: tuple[str, str], *, n_earlier_looks: int) -> FlowStep:
    lines = [f"{format_count(n)} {name}" for name, n in zip(classes, summary.class_counts, strict=True)]
    if summary.n_patients is not None:
        lines.append(f"{format_count(summary.n_patients)} patients")
    uses = [SUBSET_USES[summary.subset]]
    if summary.subset == "test" and n_earlier_looks:
        uses.append(f"and in {n_earlier_looks:,} earlier run{'s' if n_earlier_looks > 1 else ''}")
    return FlowStep(
        title=SUBSET_NAMES[summary.subset],
        number=format_count(summary.n_images),
        lines=(*lines, *uses),
    )


def _supplied_flow(view: View) -> Flow:
    assessment = view.inputs.assessment
    lines = [
        f"{format_count(assessment.n_negative)} {assessment.classes[0]}",
        f"{format_count(assessment.n_positive)} {assessment.classes[1]} ({format_percent(assessment.prevalence)})",
    ]
    if assessment.n_patients is not None:
        lines.append(f"{format_count(assessment.n_patients)} patients")
    step = FlowStep(
        title="Cases scored by every model", number=format_count(assessment.n), lines=tuple(lines)
    )
    return Flow(steps=(step,))


def _subset_table(split: DatasetSplit) -> Table:
    negative, positive = split.classes
    with_patients = any(summary.n_patients is not None for summary in split.subsets)
    columns = [
        Column(head="Subset", kind="text"),
        Column(head="Images"),
        Column(head=negative),
        Column(head=positive),
        Column(head="Positive"),
        Column(head="Share of images"),
        Column(head="Target share"),
    ]
    if with_patients:
        columns += [Column(head="Patients"), Column(head=f"Patients with {positive}")]
    rows = []
    for summary in split.subsets:
        share = (
            "no images" if summary.positive_fraction is None else format_percent(summary.positive_fraction)
        )
        row = [
            SUBSET_NAMES[summary.subset],
            format_count(summary.n_images),
            *(format_count(count) for count in summary.class_counts),
            share,
            format_percent(summary.fraction),
            format_percent(summary.target_fraction),
        ]
        if with_patients:
            by_class = summary.patients_by_class
            row.append("unknown" if summary.n_patients is None else format_count(summary.n_patients))
            row.append("unknown" if by_class is None else format_count(by_class[1]))
        rows.append(row)
    return Table(caption="Subsets", columns=tuple(columns), rows=text_rows(rows))


def _characteristics(view: View, split: DatasetSplit) -> list[Block]:
    """Further columns of the manifest per subset; which of them are not tabulated, and why."""
    inputs = view.inputs
    if inputs.manifest is None or not inputs.manifest.extra_columns:
        return []
    totals = [summary.n_images for summary in split.subsets]
    rows = [
        (Cell(text=_characteristic_name(row)), *_characteristic_cells(row, totals))
        for row in inputs.characteristics
    ]
    blocks: list[Block] = [Heading(text="Characteristics of the subsets")]
    if rows:
        names = [SUBSET_NAMES[summary.subset] for summary in split.subsets]
        blocks.append(
            Table(
                caption=f"Images that are {split.classes[1]} / all images (share of all images of the subset)",
                columns=(
                    Column(head="Column of the data", kind="text", width="31%"),
                    *(
                        Column(head=f"{name} (n = {format_count(n)})")
                        for name, n in zip(names, totals, strict=True)
                    ),
                ),
                rows=tuple(rows),
                dense=True,
            )
        )
    tabulated = {row.column for row in inputs.characteristics}
    others = [column for column in inputs.manifest.extra_columns if column not in tabulated]
    if others:
        text = (
            f"Not tabulated: {join_words(others)}. Such a column is blank, has a value of its own for every patient "
            f"or image, or has more than {MAX_LEVELS} values that are not numbers."
        )
        blocks.append(Paragraph(text=text, tone="note"))
    return blocks


def _characteristic_name(row: Characteristic) -> str:
    if row.level is None:
        return f"{row.column}, median (quartiles)"
    return f"{row.column}: {row.level or 'not given'}"


def _characteristic_cells(row: Characteristic, totals: Sequence[int]) -> list[Cell]:
    if row.quartiles is not None:
        return [
            absent("none given")
            if each is None
            else Cell(
                text=format_significant(each[1]),
                interval=f"({format_significant(each[0])} to {format_significant(each[2])})",
            )
            for each in row.quartiles
        ]
    return [
        Cell(
            text=f"{format_count(positive)} / {format_count(negative + positive)}",
            interval=f"({format_percent((negative + positive) / total)})" if total else "",
        )
        for (negative, positive), total in zip(row.counts, totals, strict=True)
    ]


def _split_facts(split: DatasetSplit) -> tuple[str, ...]:
    facts = []
    if split.grouped_by is not None:
        facts.append(
            f"Patients in more than one subset: {split.max_group_overlap} (verified after the split)."
        )
    if split.n_duplicates_kept_together:
        facts.append(f"Identical files kept in one subset: {format_count(split.n_duplicates_kept_together)}.")
    facts.append(f"Seed of the split: {split.seed}.")
    return (*facts, *split.notes)


def _image_table(manifest: DatasetManifest) -> Table:
    sizes = (
        ", ".join(f"{size} ({format_count(count)})" for size, count in manifest.image_sizes) or "not recorded"
    )
    rows = [
        ("Data set", manifest.name),
        ("Classes (negative, positive)", f"{manifest.classes[0]}, {manifest.classes[1]}"),
        ("Image sizes in pixels (count)", sizes.replace("x", " \u00d7 ")),
        ("Further columns", ", ".join(manifest.extra_columns) or "none"),
        ("Fingerprint", manifest.fingerprint),
    ]
    return Table(
        caption="Images",
        columns=(Column(head="Property", kind="text", width="28%"), Column(head="Value", kind="code")),
        rows=text_rows(rows),
        dense=True,
        titled=False,
    )


def rejected_blocks(view: View) -> list[Block]:
    """Every file that was excluded, with its reason; empty without any."""
    rejected = view.inputs.rejected
    if not rejected:
        return []
    shown = rejected[:MAX_REJECTED_ROWS]
    names = "pseudonyms" if view.inputs.pseudonymised else "file names"
    blocks: list[Block] = [
        Heading(text="Excluded files"),
        Table(
            caption=f"{format_count(len(rejected))} excluded files ({names})",
            columns=(
                Column(head="File", kind="code", width="34%"),
                Column(head="Class", kind="text", width="14%"),
                Column(head="Reason", kind="text", width="20%"),
                Column(head="Detail", kind="text"),
            ),
            rows=tuple(
                (
                    Cell(text=row.name),
                    Cell(text=row.label or "unknown"),
                    Cell(text=row.reason),
                    Cell(text=row.detail or "\u2013"),
                )
                for row in shown
            ),
            dense=True,
            fine=True,
        ),
    ]
    if len(rejected) > len(shown):
        rest = format_count(len(rejected) - len(shown))
        blocks.append(Paragraph(text=f"{rest} more are in results.json.", tone="note"))
    return blocks
