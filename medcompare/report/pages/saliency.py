"""What the maps of evidence show, what they do not, and whether they depend on what was learned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medcompare.base.formatting import format_count, format_number, format_percent, join_words
from medcompare.models.spec import MIN_CELLS
from medcompare.predictions.saliency import MAX_RANDOM_SHARE
from medcompare.report.blocks import Image, Paragraph, picture_uri
from medcompare.report.hard_cases import mapped_models
from medcompare.report.overlays import scale_png

if TYPE_CHECKING:
    from medcompare.predictions.saliency import SaliencyMaps
    from medcompare.report.blocks import Block
    from medcompare.report.inputs import CaseMap, HardCase
    from medcompare.report.vocabulary import View

SCALE_MM = 44.0


def map_image(view: View, case: HardCase, found: CaseMap, *, width_mm: float) -> Image:
    """One map, with its place in words for who cannot see it."""
    evidence = f"evidence of {view.name(found.model)} for {view.assessment.classes[1]} in case {case.case_id}"
    alt = f"Map: no {evidence}"
    if found.strongest_at is not None:
        alt = f"Map: {evidence} is strongest in the {found.strongest_at} of the image"
    return Image(src=picture_uri(found.jpeg, "jpeg"), alt=alt, width_mm=width_mm)


def saliency_blocks(view: View) -> list[Block]:
    """What to know of the maps before they are looked at; empty where the networks are not there to make any."""
    if view.inputs.source != "trained by medcompare" or not any(
        case.thumbnail_png for case in view.inputs.hard_cases
    ):
        return []
    by_model = {one.model: one for one in view.inputs.saliency}
    without = [model for model in mapped_models(view.assessment) if model not in by_model]
    found = [by_model[model] for model in view.styles if model in by_model]
    shown = [one for one in found if one.readable]
    texts = [*(_check(view, one) for one in found)]
    if without:
        texts.append(
            f"No maps of {join_words(view.name(model) for model in without)}: Grad-CAM needs a grid of features that "
            f"the network pools, of at least {MIN_CELLS} × {MIN_CELLS} cells; most networks have one for every 32 × 32 "
            "pixels of an image, and transformers none."
        )
    legend: list[Block] = _legend(view, shown) if shown else []
    return [*legend, Paragraph(" ".join(texts), "note")]


def _legend(view: View, shown: list[SaliencyMaps]) -> list[Block]:
    positive = view.assessment.classes[1]
    grids = join_words(
        f"{view.name(one.model)} {one.cells} × {one.cells} cells, one every {format_number(one.step_px, digits=0)} of "
        f"{format_count(one.image_size_px)} pixels"
        for one in shown
    )
    averaged = {row.model for row in view.inputs.trained if row.test_time_augmentation != "none"}
    unturned = (
        " Maps are of each image as it is; scores are means over its views."
        if averaged & {one.model for one in shown}
        else ""
    )
    return [
        Paragraph(
            f"Maps beside an image show where a network finds evidence for {positive} (Grad-CAM, "
            f"{shown[0].library}), on one scale per model: from none to the strongest in any of its maps here. The "
            "line encloses what is at least half as strong as the strongest place of that image; the faded edge is "
            f"not seen by the network. The maps are coarse and drawn smoothly ({grids}): they show nothing "
            f"finer.{unturned}"
        ),
        Image(
            src=picture_uri(scale_png()),
            alt="Scale of the maps: from clear for none through violet and green to yellow for the strongest",
            width_mm=SCALE_MM,
            caption="Evidence: none (left) to the strongest of that model (right)",
        ),
        Paragraph(
            "A map shows where a score comes from, not why, and not whether it is right. It does not prove that a "
            f"network looks at the disease; what counts against {positive} is not drawn; and a place without colour "
            "may still matter. No case should be decided by its map.",
            "warning",
        ),
    ]


def _check(view: View, one: SaliencyMaps) -> str:
    """Whether the maps of a model depend on what it learned, in a sentence."""
    name = view.name(one.model)
    if one.random_share_median is None or one.random_share_lowest is None or one.random_share_highest is None:
        return f"Maps of {name} are left out: they do not vary over the image, so that they could not be checked."
    n = sum(share is not None for share in one.random_shares)
    share = (
        f"networks of the same kind with random weights give {format_percent(one.random_share_median, digits=0)} of "
        f"their variation (median of {format_count(n)} {'case' if n == 1 else 'cases'}; range "
        f"{format_percent(one.random_share_lowest, digits=0)} to {format_percent(one.random_share_highest, digits=0)}; "
        f"squared rank correlation, {one.n_random} random networks)"
    )
    limit = format_percent(MAX_RANDOM_SHARE, digits=0)
    if one.readable:
        return (
            f"Maps of {name} depend on what was learned, as {share}, less than {limit} (checked after Adebayo et al. "
            "2018)."
        )
    return (
        f"Maps of {name} are left out, as they must not be read: {share}, {limit} or more (after Adebayo et al. 2018). "
        "They would show the image, not what was learned."
    )
