"""Maps over pictures: in the right place, on one scale, still an image; and what the report says of them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from medcompare.base.artifacts import ArtifactStore
from medcompare.base.errors import ArtifactError
from medcompare.report.hard_cases import mapped_models
from medcompare.report.overlays import MAX_OPACITY, Overlays, coloured, read_maps, scale_png
from medcompare.report.pages.saliency import map_image, saliency_blocks
from medcompare.report.vocabulary import view_of
from tests.report.sample import make_assessment, make_hard_cases, make_inputs, make_saliency, with_maps

if TYPE_CHECKING:
    from pathlib import Path

    from medcompare.report.blocks import Block
    from medcompare.report.inputs import CaseMap, ReportInputs

SIDE = 128
"""Of the picture: a pixel of it is two of an image of 256, the network sees the middle 112 of them."""
EDGE = 8


def picture(level: int | None = None) -> bytes:
    """A PNG of one grey level, or of noise in colour."""
    pixels = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3))
    out = io.BytesIO()
    Image.fromarray(np.asarray(pixels if level is None else np.full_like(pixels, level), np.uint8)).save(
        out, "PNG"
    )
    return out.getvalue()


def drawn(maps: Any, case: int = 0, *, level: int | None = 128, **grid: Any) -> tuple[CaseMap, np.ndarray]:
    """The map of one case, and its pixels."""
    values = np.asarray(maps, np.float32)
    cases = tuple(f"c{i}" for i in range(len(values)))
    found = Overlays(make_saliency("a", cases, cells=values.shape[1], **grid), values).of(
        f"c{case}", picture(level)
    )
    return found, np.asarray(Image.open(io.BytesIO(found.jpeg)).convert("RGB"), dtype=float)


def colour(pixels: np.ndarray) -> np.ndarray:
    """How far each pixel is from grey."""
    distance: np.ndarray = np.ptp(pixels, axis=2)
    return distance


def one_hot(*at: int, cells: int = 7, value: float = 1.0) -> np.ndarray:
    """A map with one cell above 0."""
    found = np.zeros((cells, cells))
    found[at] = value
    return found


@pytest.mark.parametrize("origin", [0.0, 15.5, 31.0])
@pytest.mark.parametrize("cell", [(3, 3), (2, 4), (4, 1)])
def test_colour_is_where_the_cell_looks(origin: float, cell: tuple[int, int]) -> None:
    """Its middle, in pixels of the picture, by hand: the edge, then half a pixel of it per pixel of the network."""
    _, pixels = drawn([one_hot(*cell)], origin_px=origin)

    heat = colour(pixels)
    heat[heat < 12] = 0  # what JPEG makes of grey
    middle = [float(heat.sum(axis=1 - axis) @ np.arange(SIDE) / heat.sum()) for axis in (0, 1)]
    assert middle == pytest.approx([EDGE + (origin + 32 * i + 0.5) / 2 - 0.5 for i in cell], abs=0.7)


def test_what_the_network_does_not_see_is_faded_and_has_no_colour() -> None:
    """Of an image of one grey level: the edge is lighter, whatever the map."""
    _, pixels = drawn(np.ones((1, 7, 7)))

    inside = pixels[EDGE:-EDGE, EDGE:-EDGE]
    edge = np.ones((SIDE, SIDE), dtype=bool)
    edge[EDGE - 2 : 2 - EDGE, EDGE - 2 : 2 - EDGE] = False  # JPEG blurs the border a little
    assert colour(pixels)[edge].max() < 20
    assert np.abs(pixels[edge].mean() - (128 + 0.55 * 127)) < 3
    assert colour(inside[4:-4, 4:-4]).min() > 60


def test_one_scale_for_all_cases_of_a_model() -> None:
    """Half the evidence of another case has less colour; the line is drawn in both, at half of each."""
    maps = [one_hot(3, 3, value=value) for value in (1, 9, 0.25)]
    usual, outlier, weak = (drawn(maps, case)[1] for case in range(3))
    alone = drawn(maps[2:])[1]

    middle = EDGE + 48
    # The map in the middle has the full colour; one far above the others does not take it from them.
    assert colour(usual)[middle, middle] > 1.5 * colour(weak)[middle, middle] > 0
    assert np.abs(usual[middle, middle] - outlier[middle, middle]).max() < 20
    assert np.abs(alone - usual).max() < 20
    for one in (usual, weak):
        assert one.min() < 40
        assert one.max() > 220


def test_without_evidence_nothing_is_drawn() -> None:
    """Only evidence against: the image in grey, no line, and the words say so."""
    found, pixels = drawn(-np.ones((1, 7, 7)))

    assert found.strongest_at is None
    assert np.ptp(pixels[EDGE + 2 : -EDGE - 2, EDGE + 2 : -EDGE - 2]) < 4


def test_the_image_stays_recognisable() -> None:
    """Under the strongest colour too: lightness follows that of the image."""
    _, pixels = drawn(np.ones((1, 7, 7)), level=None)

    before = np.asarray(Image.open(io.BytesIO(picture())).convert("L"), float)
    after = np.asarray(Image.fromarray(pixels.astype(np.uint8)).convert("L"), float)
    part = slice(EDGE + 4, -EDGE - 4)
    assert np.corrcoef(before[part, part].ravel(), after[part, part].ravel())[0, 1] > 0.9


def test_more_is_lighter_and_less_clear() -> None:
    """The scale can be told in grey: lightness (CIE Y) rises with the evidence on a dark ground; so does opacity."""
    share = np.linspace(0, 1, 50)[None]
    on_black, on_white = (coloured(np.full((1, 50, 1), level), share)[0] for level in (0.0, 1.0))

    assert (np.diff(on_black @ (0.2126, 0.7152, 0.0722)) > 0).all()
    opacity = 1 - (on_white - on_black)
    assert (np.diff(opacity[:, 0]) > 0).all()
    assert opacity[-1] == pytest.approx(MAX_OPACITY)
    assert scale_png() == scale_png()


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ((0, 0), "upper left"),
        ((3, 3), "centre"),
        ((6, 3), "lower"),
        ((3, 6), "middle right"),
        ((0, 6), "upper right"),
    ],
)
def test_the_strongest_place_in_words(cell: tuple[int, int], words: str) -> None:
    """For who cannot see it: its ninth of what the network sees."""
    assert drawn([one_hot(*cell)], origin_px=15.5)[0].strongest_at == words


def test_equal_maps_give_equal_bytes() -> None:
    """And small ones: a report has dozens."""
    one, two = (drawn([one_hot(2, 2)], level=None)[0] for _ in range(2))

    assert one == two
    assert len(one.jpeg) < 20_000


def said(inputs: ReportInputs) -> list[Block]:
    """What is said of the maps."""
    return saliency_blocks(view_of(inputs))


def text_of(inputs: ReportInputs) -> str:
    """All that in one string."""
    return " ".join(getattr(block, "text", getattr(block, "caption", "")) for block in said(inputs))


def test_the_report_says_what_a_map_does_not_show() -> None:
    """Scale, coarseness, limits and the check of each model, in words."""
    text = text_of(make_inputs())

    for part in (
        "evidence for cancer (Grad-CAM, captum 0.9.0)",
        "one scale per model",
        "ResNet-50 7 × 7 cells, one every 32 of 224 pixels",
        "not why, and not whether it is right",
        "No case should be decided by its map",
        "Checked: networks of the same kind with random weights give less than 50% of the variation of the maps, which",
        "so depend on what was learned: ResNet-50 12% (2% to 22%) and EfficientNet-B0 12% (2% to 22%) (median and",
        "range over 18 cases, squared rank correlation with 2 such networks, after Adebayo et al. 2018)",
    ):
        assert part in text
    assert "scores are means over its views" not in text


def test_maps_that_do_not_depend_on_the_weights_are_left_out() -> None:
    """And the report says that they must not be read, with the numbers."""
    inputs = make_inputs()
    first, second = inputs.saliency
    doubtful = make_saliency(
        first.model,
        first.cases,
        random_share_median=0.81,
        random_share_lowest=0.4,
        random_share_highest=0.97,
    )
    assert not doubtful.readable
    text = text_of(inputs.model_copy(update={"saliency": (doubtful, second)}))

    assert (
        "Left out are maps that must not be read: networks of the same kind with random weights give 50% of their "
        "variation or more, so that they show the image and not what was learned: ResNet-50 81% (40% to 97%) (median"
    ) in text
    assert "what was learned: EfficientNet-B0 12% (2% to 22%) (median" in text
    assert "ResNet-50 7 × 7 cells" not in text
    undefined = dict.fromkeys(("random_share_median", "random_share_lowest", "random_share_highest"))
    flat = make_saliency(first.model, first.cases, random_shares=(None,) * 18, **undefined)
    assert not flat.readable
    assert "Maps of ResNet-50 are left out: they do not vary over the image." in text_of(
        inputs.model_copy(update={"saliency": (flat, second)})
    )
    neither = inputs.model_copy(update={"saliency": (doubtful,)})
    assert "Maps beside an image" not in text_of(neither)
    assert "No maps of EfficientNet-B0: Grad-CAM needs a grid of features" in text_of(neither)


def test_nothing_is_said_where_there_are_no_networks() -> None:
    """Predictions made elsewhere, and cases whose images are gone: no maps and no empty place."""
    assert said(make_inputs(full=False)) == []
    assert said(make_inputs(thumbnails=False)) == []
    assert said(make_inputs(hard_cases=(), saliency=())) == []


def test_views_at_test_time_are_told() -> None:
    """Scores are then means, and a map is of one view."""
    inputs = make_inputs()
    turned = tuple(one.model_copy(update={"test_time_augmentation": "hflip"}) for one in inputs.trained)

    assert "Maps are of each image as it is; scores are means over its views." in text_of(
        inputs.model_copy(update={"trained": turned})
    )


def test_alternative_texts_name_model_case_and_place() -> None:
    """Heard in place of the picture."""
    inputs = make_inputs()
    view, case = view_of(inputs), inputs.hard_cases[0]
    place = case.maps[0].strongest_at

    assert map_image(view, case, case.maps[0], width_mm=26).alt == (
        f"Map: evidence of ResNet-50 for cancer in case {case.case_id} is strongest in the {place} of the image"
    )
    none = case.maps[0].model_copy(update={"strongest_at": None})
    assert map_image(view, case, none, width_mm=26).alt == (
        f"Map: no evidence of ResNet-50 for cancer in case {case.case_id}"
    )


def test_maps_are_of_the_two_models_that_are_compared() -> None:
    """In the order of everything else; of a single model its own."""
    assessment = make_assessment()
    cases, found = with_maps(assessment, make_hard_cases(assessment, thumbnails=True))

    assert [one.model for one in found] == [one.model for one in cases[0].maps] == list(assessment.models)
    alone = assessment.model_copy(update={"models": assessment.models[:1], "comparisons": ()})
    assert mapped_models(alone) == assessment.models[:1]


def test_maps_are_read_as_they_were_stored(tmp_path: Path) -> None:
    """Checked by their digest: an altered file is refused."""
    store, maps = ArtifactStore(tmp_path), np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    content = io.BytesIO()
    np.save(content, maps)
    found = make_saliency("a", ("x", "y"), maps=store.write(content.getvalue(), ".npy"))

    assert np.array_equal(read_maps(found, store), maps)
    (tmp_path / found.maps.path).chmod(0o600)
    (tmp_path / found.maps.path).write_bytes(b"other")
    with pytest.raises(ArtifactError):
        read_maps(found, store)
