"""What changed in the images since the last run of the same data: added, removed, relabelled, and drift.

Apart from `medcompare.runs.changes`, which the command line loads: this reads tables, with pandas and scipy. Two tables
of a million images are held as a few numbers for each image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
import scipy

from medcompare.base.errors import ArtifactError
from medcompare.base.language import message, t
from medcompare.data.characteristics import standardised_difference
from medcompare.data.file_facts import FILE_FACTS, SIDE, read_file_facts
from medcompare.data.records import ORIGINAL
from medcompare.runs.changes import DataChanges, Drift, Relabelled
from medcompare.stats.multiplicity import holm

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from medcompare.base.artifacts import ArtifactStore
    from medcompare.runs.summary import RunSummary

CHUNK = 100_000
"""Rows of a table of images that are read at a time."""

N_NAMED = 20
"""So many cases of a kind are named."""

MIN_IMAGES = 5
"""With fewer images on a side nothing is tested."""

MAX_TESTED = 5000
"""So many images of a side, the first by their digests, are tested: enough to see a distance of 0.03."""

ALPHA = 0.01
"""Of all statistics together, for each pair of runs: one false alarm in a hundred."""

MIN_DISTANCE = 0.1
"""Drift that a test finds but that moves fewer than a tenth of the images past some value is not an alarm: with
thousands of images any difference is found."""

N_PERMUTATIONS = 1999

_COLUMNS = ("case_id", "label", "patient_id", "sha256", "width_px", "height_px", ORIGINAL)
_GREY = np.array([0.299, 0.587, 0.114])
"""Weights of red, green and blue in a grey level (ITU-R BT.601, as Pillow has it)."""


def data_changes(runs: Sequence[RunSummary], run: RunSummary, store: ArtifactStore) -> DataChanges | None:
    """Compare the images of `run` with those of the last run of the same data.

    Parameters
    ----------
    runs : sequence of RunSummary
        Completed runs, newest first.
    run : RunSummary
        The run that has just ended.
    store : ArtifactStore
        Holds the tables of images.

    Returns
    -------
    DataChanges or None
        None where no run of the same data came before. The same data are those of the same place; or those of
        the same series, such as a nightly one, if the two have an image in common: two folders may have one name.
    """
    if run.images is None:
        return None
    for other in runs:
        same_place = other.data_place == run.data_place
        if (
            other.images is None
            or not (same_place or other.series == run.series)
            or (other.started_at, other.run_id) >= (run.started_at, run.run_id)
        ):
            continue
        return _compared(other, run, store, same_place=same_place)
    return None


def _compared(
    other: RunSummary, run: RunSummary, store: ArtifactStore, *, same_place: bool
) -> DataChanges | None:
    found = {
        "previous": other.name,
        "previous_at": other.started_at,
        "n_before": other.n_images or 0,
        "n_after": run.n_images or 0,
        **dict.fromkeys(("n_added", "n_removed", "n_relabelled", "n_other_patient"), 0),
    }
    if other.data_fingerprint == run.data_fingerprint:
        return DataChanges.model_validate(found)
    try:
        before, after = _Table(other, store), _Table(run, store)
        if before.has_original != after.has_original:
            before, after = (_Table(one, store, original=False) for one in (other, run))
        _, stayed, still = np.intersect1d(before.key, after.key, assume_unique=True, return_indices=True)
        if not (same_place or len(stayed)):
            return None
        is_removed, is_added = np.ones(len(before.key), dtype=bool), np.ones(len(after.key), dtype=bool)
        is_removed[stayed], is_added[still] = False, False
        relabelled = before.name[stayed] != after.name[still]
        facts = [_facts(one, store) for one in (other, run)]
        drift: tuple[Drift, ...] = ()
        test = ""
        if all(len(each) for each in facts):
            drift, test = _drift(before, after, facts, is_removed, is_added)
        names_before, names_after = (
            table.named(rows[relabelled][:N_NAMED]) for table, rows in ((before, stayed), (after, still))
        )
        return DataChanges.model_validate(
            found
            | {
                "n_added": int(is_added.sum()),
                "n_removed": int(is_removed.sum()),
                "n_relabelled": int(relabelled.sum()),
                "n_other_patient": int((before.patient[stayed] != after.patient[still]).sum()),
                "added": [case for case, _ in after.named(np.flatnonzero(is_added)[:N_NAMED])],
                "removed": [case for case, _ in before.named(np.flatnonzero(is_removed)[:N_NAMED])],
                "relabelled": [
                    Relabelled(case_id=case, before=old, after=new)
                    for (_, old), (case, new) in zip(names_before, names_after, strict=True)
                ],
                "drift": drift,
                "test": test,
            }
        )
    except ArtifactError:
        note = t(
            "The table of images of that run is no longer in the store: what was added, removed or relabelled is not "
            "known."
        )
        return DataChanges.model_validate(found | {"note": note})


class _Table:
    """A stored table of images in numbers: 64 bits of each digest, and hashes of class and patient."""

    def __init__(self, run: RunSummary, store: ArtifactStore, *, original: bool = True) -> None:
        assert run.images is not None  # noqa: S101 - asked by `data_changes`
        self._path, self._classes = store.path_of(run.images), run.classes or ("0", "1")
        self._original = original
        self.has_original = False
        parts: list[pd.DataFrame] = []
        for chunk in self._chunks():
            self.has_original = original and ORIGINAL in chunk
            parts.append(
                pd.DataFrame(
                    {
                        "digest": [int(text[:16], 16) for text in chunk["sha256"]],
                        "name": pd.util.hash_array(self._names(chunk).to_numpy(dtype=object)),
                        "patient": pd.util.hash_array(chunk["patient_id"].to_numpy(dtype=object)),
                        "width_px": chunk["width_px"].astype(np.int32),
                        "height_px": chunk["height_px"].astype(np.int32),
                        "blank": chunk["patient_id"] == "",
                    }
                ).astype({"digest": np.uint64})
            )
        table = pd.concat(parts, ignore_index=True)
        self.digest, self.name, self.patient = (
            table[column].to_numpy() for column in ("digest", "name", "patient")
        )
        self.grouped = not table["blank"].all()
        self.size = table[["width_px", "height_px"]].to_numpy()
        # The second copy of a file is another image than the first.
        copy = table.groupby("digest").cumcount().to_numpy().astype(np.uint64)
        self.key = self.digest + copy * np.uint64(0x9E3779B97F4A7C15)

    def _chunks(self) -> Iterator[pd.DataFrame]:
        with pd.read_csv(
            self._path,
            dtype=str,
            keep_default_na=False,
            usecols=lambda name: name in _COLUMNS,
            chunksize=CHUNK,
        ) as chunks:
            yield from chunks

    def _names(self, chunk: pd.DataFrame) -> pd.Series[str]:
        """Class of each image, as it was before classes were put together."""
        if self._original and ORIGINAL in chunk:
            return chunk[ORIGINAL]
        return chunk["label"].map(dict(zip("01", self._classes, strict=True)))

    def named(self, rows: NDArray[np.intp]) -> list[tuple[str, str]]:
        """Case id and class of some rows, in their order."""
        found: dict[int, tuple[str, str]] = {}
        for chunk in self._chunks() if len(rows) else ():
            here = chunk.loc[chunk.index.isin(rows)]
            found.update(zip(here.index, zip(here["case_id"], self._names(here), strict=True), strict=True))
        return [found[row] for row in rows.tolist()]


def _facts(run: RunSummary, store: ArtifactStore) -> NDArray[np.void]:
    """What was measured of the images of a run; empty where that was not, or by an earlier version."""
    facts = None if run.file_facts is None else read_file_facts(store.read(run.file_facts))
    return np.empty(0, dtype=FILE_FACTS) if facts is None or facts.dtype != FILE_FACTS else facts


def _drift(
    before: _Table,
    after: _Table,
    facts: Sequence[NDArray[np.void]],
    is_removed: NDArray[np.bool_],
    is_added: NDArray[np.bool_],
) -> tuple[tuple[Drift, ...], str]:
    """Added images beside all earlier ones, and removed ones beside those that stayed; and how it was tested."""
    everything = np.ones(len(before.key), dtype=bool)
    earlier, removed, stayed = (
        _measured(before, facts[0], chosen) for chosen in (everything, is_removed, ~is_removed)
    )
    added = _measured(after, facts[1], is_added)
    sides: tuple[tuple[Literal["added", "removed"], _Measured, _Measured], ...] = (
        ("added", added, earlier),
        ("removed", removed, stayed),
    )
    grouped = before.grouped and after.grouped
    rows = [
        (images, name, a, b, *_kolmogorov_smirnov(a, b, these[1], those[1], grouped=grouped))
        for images, these, those in sides
        if min(len(these[1]), len(those[1])) >= MIN_IMAGES
        for name, a in these[0].items()
        if np.ptp(np.concatenate([a, b := those[0][name]])) > 0
    ]
    adjusted = holm([row[-1] for row in rows])
    found = []
    for (images, name, a, b, distance, _), p in zip(rows, adjusted, strict=True):
        size = standardised_difference(a[:, None], b[:, None])
        found.append(
            Drift(
                images=images,
                statistic=name,
                n=(len(a), len(b)),
                medians=(float(np.median(a)), float(np.median(b))),
                difference=None if size is None else float(np.copysign(size, a.mean() - b.mean())),
                distance=distance,
                p_value=1.0 if p is None else p,
                drifted=p is not None and p < ALPHA and distance >= MIN_DISTANCE,
            )
        )
    if not found:
        return (), ""
    if not grouped:
        return tuple(found), t("two-sample Kolmogorov-Smirnov test of images, p-values adjusted by Holm")
    return tuple(found), t(
        "two-sample Kolmogorov-Smirnov test by {n} permutations of whole patients, p-values adjusted by Holm",
        n=N_PERMUTATIONS,
    )


_Measured = tuple[dict[str, "NDArray[np.float64]"], "NDArray[np.uint64]"]
"""Statistics of images by name, and the patient of each."""


def _measured(table: _Table, facts: NDArray[np.void], chosen: NDArray[np.bool_]) -> _Measured:
    """Statistics of the chosen images of which there are facts, each content once."""
    digests = np.array([int(sha256[:16], 16) for sha256 in facts["sha256"].tolist()], dtype=np.uint64)
    of_chosen, rows = np.unique(table.digest[chosen], return_index=True)
    _, places, kept = np.intersect1d(digests, of_chosen, assume_unique=True, return_indices=True)
    places, kept = places[:MAX_TESTED], kept[:MAX_TESTED]
    facts, rows = facts[places], np.flatnonzero(chosen)[rows[kept]]
    colours = facts["thumbnail"].reshape(-1, SIDE * SIDE, 3).mean(axis=1, dtype=np.float64)
    n_px = table.size[rows].astype(np.float64).prod(axis=1)
    total = np.maximum(colours.sum(axis=1), 1.0)
    return {
        message("brightness (mean grey level, 0 to 255)"): colours @ _GREY,
        message("contrast (standard deviation of the grey levels)"): facts["contrast"].astype(np.float64),
        message("blur (share of fine detail left after blurring)"): facts["blur"].astype(np.float64),
        message("share of red in the colours"): colours[:, 0] / total,
        message("share of blue in the colours"): colours[:, 2] / total,
        message("shorter side (pixels)"): table.size[rows].min(axis=1).astype(np.float64),
        message("bytes per pixel of the file"): facts["n_bytes"] / n_px,
    }, table.patient[rows]


def _kolmogorov_smirnov(
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    patients_a: NDArray[np.uint64],
    patients_b: NDArray[np.uint64],
    *,
    grouped: bool,
) -> tuple[float, float]:
    """Distance and p-value; of grouped images from permutations of the patients, all images of one together.

    A patient on both sides counts as two, which makes the test cautious: its images are alike. Whole clusters
    are what can be exchanged (Good 2005, Permutation, Parametric and Bootstrap Tests of Hypotheses, ch. 3).
    """
    if not grouped:
        result = scipy.stats.ks_2samp(a, b)
        return float(result.statistic), float(result.pvalue)
    values, in_a = np.concatenate([a, b]), np.repeat(np.array([1, 0], np.uint64), [len(a), len(b)])
    _, blocks = np.unique(
        np.column_stack([np.concatenate([patients_a, patients_b]), in_a]), axis=0, return_inverse=True
    )
    order = np.argsort(values)
    of_image, ends = blocks[order], np.append(np.diff(values[order]) > 0, True)

    def distance(first: NDArray[np.intp], _: NDArray[np.intp]) -> float:
        chosen = np.zeros(blocks.max() + 1)
        chosen[first] = 1.0
        side = chosen[of_image]
        n = side.sum()
        return float(np.abs(np.cumsum(side / n - (1 - side) / (len(side) - n)))[ends].max())

    found = scipy.stats.permutation_test(
        (np.unique(blocks[in_a == 1]), np.unique(blocks[in_a == 0])),
        distance,
        vectorized=False,
        n_resamples=N_PERMUTATIONS,
        alternative="greater",
        rng=np.random.default_rng(0),
    )
    # A sum of shares ends a rounding above 1.
    return min(float(found.statistic), 1.0), float(found.pvalue)
