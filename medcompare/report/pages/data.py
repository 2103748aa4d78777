"""Section on data: what came in, what was excluded, how it was split."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medcompare.base.formatting import (
    capital,
    format_count,
    format_number,
    format_p,
    format_percent,
    format_significant,
    format_time,
    join_words,
)
from medcompare.data.records import MAX_LEVELS, PUBLISHED
from medcompare.report.blocks import (
    Bullets,
    Cell,
    Heading,
    Notes,
    Paragraph,
    Section,
    code,
    muted,
    table,
    words,
)
from medcompare.report.pages.flow import SUBSET_NAMES, flow_of_cases, flow_of_images
from medcompare.report.vocabulary import format_patients

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medcompare.data.records import Characteristic, DatasetManifest, DatasetSplit
    from medcompare.report.blocks import Block, Row, Table
    from medcompare.report.vocabulary import View

MAX_INLINE_ROWS = 10
"""Longer lists of rejected files are at the end of the methods section."""

MAX_REJECTED_ROWS = 150
"""Still longer lists go on in ``results.json`` only."""


def data_section(view: View, number: int) -> Section:
    """Flow of cases, subsets, image sizes, rejected files."""
    inputs = view.inputs
    blocks: list[Block] = []
    if inputs.manifest is not None:
        lead = "Every image was decoded once; what could not be used was excluded, counted and listed."
        blocks.append(flow_of_images(view, inputs.manifest))
    else:
        lead = "The predictions were supplied; the images behind them were not seen by this software."
        blocks.append(flow_of_cases(view))
    if inputs.split is not None:
        blocks += [
            _subset_table(inputs.split),
            Paragraph(f"{inputs.split.method.rstrip('.')}."),
            Bullets(_split_facts(inputs.split)),
            *_characteristics(view, inputs.split),
        ]
    if inputs.manifest is not None:
        blocks += _data_changes(view)
        blocks += [Heading("What the images are"), _image_table(inputs.manifest)]
        blocks += [Paragraph(warning, "warning") for warning in inputs.manifest.warnings]
    blocks += [*_shortcuts(view), *_random_split(view)]
    if not inputs.assessment.clustered:
        text = format_patients(inputs.assessment)
        if inputs.assessment.n_patients is None:
            text += " If patients contribute several images, the intervals are too narrow."
        blocks.append(Paragraph(text, "note"))
    if 0 < len(inputs.rejected) <= MAX_INLINE_ROWS:
        blocks += rejected_blocks(view)
    elif inputs.rejected:
        count = format_count(len(inputs.rejected))
        blocks.append(Paragraph(f"The {count} excluded files are listed at the end of the methods section."))
    return Section(number=number, anchor="data", title="Data and split", lead=lead, blocks=tuple(blocks))


def _subset_table(split: DatasetSplit) -> Table:
    negative, positive = split.classes
    with_patients = any(summary.n_patients is not None for summary in split.subsets)
    heads = ["Images", negative, positive, "Positive", "Share of images", "Target share"]
    if with_patients:
        heads += ["Patients", f"Patients with {positive}"]
    rows = []
    for one in split.subsets:
        row = [
            SUBSET_NAMES[one.subset],
            format_count(one.n_images),
            *(format_count(count) for count in one.class_counts),
            "no images" if one.positive_fraction is None else format_percent(one.positive_fraction),
            format_percent(one.fraction),
            format_percent(one.target_fraction),
        ]
        if with_patients:
            row.append("unknown" if one.n_patients is None else format_count(one.n_patients))
            row.append("unknown" if one.patients_by_class is None else format_count(one.patients_by_class[1]))
        rows.append(row)
    return table("Subsets", (words("Subset"), *heads), rows, dense=False)


def _columns(manifest: DatasetManifest) -> tuple[str, ...]:
    """Further columns but that of a published split, which the subsets themselves show."""
    return tuple(column for column in manifest.extra_columns if column != PUBLISHED)


def _characteristics(view: View, split: DatasetSplit) -> list[Block]:
    """Further columns of the manifest per subset; which of them are not tabulated, and why."""
    inputs = view.inputs
    columns = () if inputs.manifest is None else _columns(inputs.manifest)
    if not columns:
        return []
    totals = [summary.n_images for summary in split.subsets]
    blocks: list[Block] = [Heading("Characteristics of the subsets")]
    if inputs.characteristics:
        subsets = [f"{SUBSET_NAMES[one.subset]} (n = {format_count(one.n_images)})" for one in split.subsets]
        blocks.append(
            table(
                f"Images that are {split.classes[1]} / all images (share of all images of the subset)",
                (words("Column of the data", "25%"), *subsets, "Test, training", "Classes"),
                [_characteristic_row(row, totals) for row in inputs.characteristics],
            )
        )
        text = (
            "The last two columns: standardised differences, in standard deviations, between test and training images "
            f"and between {split.classes[1]} and {split.classes[0]}. By custom a difference above 0.1 is worth a look: "
            "between the subsets it says that the test is of other patients than the training, between the classes "
            "that a network may have learned the column in place of the disease."
        )
        blocks.append(Paragraph(text, "note"))
    tabulated = {row.column for row in inputs.characteristics}
    others = [column for column in columns if column not in tabulated]
    if others:
        text = (
            f"Not tabulated: {join_words(others)}. Such a column is blank, has a value of its own for every patient "
            f"or image, or has more than {MAX_LEVELS} values that are not numbers."
        )
        blocks.append(Paragraph(text, "note"))
    return blocks


def _characteristic_row(row: Characteristic, totals: Sequence[int]) -> Row:
    if row.quartiles is not None:
        cells = [
            muted("none given")
            if each is None
            else Cell(
                format_significant(each[1]),
                interval=f"({format_significant(each[0])} to {format_significant(each[2])})",
            )
            for each in row.quartiles
        ]
    else:
        cells = [
            Cell(
                f"{format_count(positive)} / {format_count(negative + positive)}",
                interval=f"({format_percent((negative + positive) / total)})" if total else "",
            )
            for (negative, positive), total in zip(row.counts, totals, strict=True)
        ]
    name = "median (quartiles)" if row.level is None else row.level or "not given"
    differences = [
        "" if each is None else f"{each:.2f}" for each in (row.difference_test, row.difference_class)
    ]
    return (f"{row.column}{',' if row.level is None else ':'} {name}", *cells, *differences)


def _data_changes(view: View) -> list[Block]:
    """Images added, removed and relabelled since the last run of the same data, and whether their kind drifted."""
    data = view.inputs.data_changes
    if data is None:
        return []
    run = f"run {data.previous} of {format_time(data.previous_at[:19] + '+00:00')}"
    n_images = f"{format_count(data.n_before)} images then, {format_count(data.n_after)} now"
    same = "the same images with the same labels" if data.n_before == data.n_after else n_images
    text = f"Compared with {run}: {f'{n_images}; {data.counts}' if data.counts else same}. {data.note}"
    blocks: list[Block] = [
        Heading("What changed since the last run of the same data"),
        Paragraph(text.strip()),
    ]
    named = [
        f"{capital(what)}: {_listed(cases, n)}"
        for what, cases, n in (
            ("added", data.added, data.n_added),
            ("removed", data.removed, data.n_removed),
            (
                "relabelled",
                [f"{one.case_id} ({one.before} \u2192 {one.after})" for one in data.relabelled],
                data.n_relabelled,
            ),
        )
        if n
    ]
    if named:
        blocks.append(Bullets(tuple(named)))
    if data.drift:
        heads = (
            words("Statistic", "30%"),
            "Images",
            "Median",
            "Beside: median (images)",
            "Difference",
            "KS distance",
            "p (Holm)",
        )
        rows: list[Row] = [
            (
                capital(one.statistic),
                f"{format_count(one.n[0])} {one.images}",
                format_significant(one.medians[0]),
                f"{format_significant(one.medians[1])} ({format_count(one.n[1])})",
                "" if one.difference is None else format_number(one.difference, digits=2, signed=True),
                format_number(one.distance, digits=2),
                Cell(format_p(one.p_value), strong=one.drifted),
            )
            for one in data.drift
        ]
        note = (
            "Added images beside all of the earlier run, removed images beside those that stayed. Difference: of the "
            f"means, in standard deviations. {capital(data.test)}. Bold: adjusted p below 0.01, and a distance of at "
            "least 0.1."
        )
        blocks += [table("Drift of image statistics", heads, rows), Paragraph(note, "note")]
    elif data.n_added or data.n_removed:
        text = "Drift was not tested: fewer than five images came or went, or the earlier run measured none."
        blocks.append(Paragraph(text, "note"))
    return blocks


def _listed(cases: Sequence[str], n: int) -> str:
    more = f" and {format_count(n - len(cases))} more" if n > len(cases) else ""
    return f"{', '.join(cases)}{more}."


SHORTCUTS = {
    "file": "File: size, format, mode, words of the name, further columns",
    "colours": "Colours: how many pixels of each",
    "thumbnail": "Thumbnail of 12 \u00d7 12 pixels",
}


def _shortcuts(view: View) -> list[Block]:
    """What a linear model reaches without seeing the disease, beside the networks."""
    found = view.assessment.shortcuts
    if not found:
        return []
    names = view.assessment.display_names
    tested = [model for model in view.assessment.models if all(model in one.differences for one in found)]
    careless = any(one.careless_difference is not None for one in found)
    notes = Notes()
    rows: list[Row] = [
        (
            SHORTCUTS[one.kind],
            notes.cell(one.auc),
            *(notes.cell(one.differences[model], signed=True) for model in tested),
            *([notes.cell(one.careless_difference, signed=True)] if one.careless_difference else []),
        )
        for one in found
    ]
    heads = [
        "AUC",
        *(f"{names[model]} more" for model in tested),
        *(["Careless split more"] if careless else []),
    ]
    text = (
        "A linear model saw only what each row names. Where it reaches a high AUC, a network may reach one in the same "
        "way, and elsewhere fail. AUC: 5-fold cross-validation over all images, patients and copies kept together; the "
        "networks beside it on the test images."
    )
    if careless:
        text += (
            " Last column: what the same model would seem to gain from folds that ignore patients and copies."
        )
    return [
        Heading("How easy is this data set without seeing the disease?"),
        table("Trivial models", (words("The model sees", "34%"), *heads), rows, notes=notes, titled=False),
        Paragraph(text, "note"),
    ]


def _random_split(view: View) -> list[Block]:
    """How much better the networks would have seemed after a careless split."""
    found = view.assessment.random_split
    if not found:
        return []
    notes = Notes()
    rows: list[Row] = [
        (
            view.label(one.model),
            notes.cell(one.auc),
            notes.cell(one.auc_random),
            notes.cell(one.difference, signed=True),
        )
        for one in found
    ]
    heads = (words("Network", "34%"), "AUC, this split", "AUC, random split", "Random split more")
    split = view.inputs.split
    of_all = "" if split is None else f" of {format_count(split.subsets[2].n_images)}"
    text = (
        "The same networks were trained and tested once more after a random split by single images, of the same sizes "
        "and classes. Its test images with a patient or a copy in training or validation: "
        f"{format_count(found[0].n_leaked)}{of_all}. "
    )
    if all(one.difference.value is None for one in found):
        text += "How much better the networks would have seemed cannot be said from so few cases."
    else:
        text += (
            f"Last column: random minus this split, with its {found[0].difference.level:.0%} interval; one that "
            "holds 0 shows no difference. What a random split seems to add is no accuracy on new patients. The "
            "interval takes the two test subsets as independent and leaves out the chance of the trainings."
        )
    return [
        Heading("How optimistic would a careless split have been?"),
        table("The same networks after a random split", heads, rows, notes=notes, titled=False),
        Paragraph(text, "note"),
    ]


def _split_facts(split: DatasetSplit) -> tuple[str, ...]:
    facts = []
    if split.disjoint:
        looked_up = "; ".join(f"{kind}: {format_count(n)}" for kind, n in split.disjoint)
        facts.append(
            f"Verified in the finished table, which training and test read: each is in one subset only ({looked_up})."
        )
    if split.n_duplicates_kept_together:
        facts.append(
            f"Copies of images kept in one subset: {format_count(split.n_duplicates_kept_together)}."
        )
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
        ("Further columns", ", ".join(_columns(manifest)) or "none"),
        ("Fingerprint", manifest.fingerprint),
    ]
    return table("Images", (words("Property", "28%"), code("Value")), rows, titled=False)


def rejected_blocks(view: View) -> list[Block]:
    """Every file that was excluded, with its reason; empty without any."""
    rejected = view.inputs.rejected
    if not rejected:
        return []
    names = "pseudonyms" if view.inputs.pseudonymised else "file names"
    caption = f"{format_count(len(rejected))} excluded files ({names})"
    heads = (code("File", "34%"), words("Class", "14%"), words("Reason", "20%"), words("Detail"))
    rows = [
        (row.name, row.label or "unknown", row.reason, row.detail or "\u2013")
        for row in rejected[:MAX_REJECTED_ROWS]
    ]
    blocks: list[Block] = [Heading("Excluded files"), table(caption, heads, rows, fine=True)]
    if len(rejected) > len(rows):
        rest = format_count(len(rejected) - len(rows))
        blocks.append(Paragraph(f"{rest} more are in results.json.", "note"))
    return blocks
