"""What changed in the images: counts and names that are known, and drift that is there or is not."""

from __future__ import annotations

import hashlib
import io
import tracemalloc
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medcompare.base.artifacts import ArtifactStore
from medcompare.config.data import DataConfig
from medcompare.data.file_facts import FILE_FACTS, N_THUMBNAIL
from medcompare.data.manifest import ingest
from medcompare.data.sources.resolve import resolve_source
from medcompare.report.notices import changed_data
from medcompare.runs import data_changes as module
from medcompare.runs.data_changes import ALPHA, data_changes
from tests.runs.sample_runs import summary

if TYPE_CHECKING:
    from pathlib import Path

    from medcompare.runs.changes import DataChanges
    from medcompare.runs.summary import RunSummary


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    """An empty store."""
    return ArtifactStore(tmp_path)


@dataclass(kw_only=True)
class Images:
    """Images by content, each with its label, patient and brightness."""

    content: list[str]
    label: list[int]
    patient: list[str]
    grey: list[float] = field(default_factory=list)
    original: list[str] = field(default_factory=list)

    def chosen(self, rows: list[int], **others: Any) -> Images:
        """Some of the images, with other values of a field."""
        return Images(
            **{
                name: others.get(name, [values[i] for i in rows] if values else [])
                for name, values in vars(self).items()
            }
        )


def drawn(n: int, *, seed: int, names: str = "image", shift: float = 0.0, of_patient: int = 1) -> Images:
    """Images whose brightness varies between patients and within."""
    rng = np.random.default_rng(seed)
    patients = [i // of_patient for i in range(n)]
    level = rng.normal(120 + shift, 12, n)[patients] if of_patient > 1 else np.full(n, 120 + shift)
    return Images(
        content=[f"{names} {seed} {i}" for i in range(n)],
        label=[i % 2 for i in patients],
        patient=[f"{names} {seed} P{i}" if of_patient > 1 else "" for i in patients],
        grey=list(level + rng.normal(0, 8, n)),
    )


def run_of(store: ArtifactStore, night: int, images: Images, **changes: Any) -> RunSummary:
    """A run that used these images, sorted by digest as the manifest sorts them."""
    digests = [hashlib.sha256(text.encode()).hexdigest() for text in images.content]
    table = pd.DataFrame(
        {
            "case_id": [f"case-{digest[:8]}" for digest in digests],
            "path": [f"{i}.png" for i in range(len(digests))],
            "label": images.label, "patient_id": images.patient, "sha256": digests,
            "width_px": 64, "height_px": 64, "mode": "RGB",
            **({"original_class": images.original} if images.original else {}),
        }
    ).sort_values("sha256", kind="stable")  # fmt: skip
    facts = np.zeros(len(digests) if images.grey else 0, dtype=FILE_FACTS)
    if images.grey:
        rng = np.random.default_rng([int(digest[:8], 16) for digest in digests])
        facts["sha256"], facts["n_bytes"] = digests, rng.integers(4000, 5000, len(digests))
        levels = np.clip(np.array(images.grey)[:, None] + rng.integers(-3, 4, (len(digests), 3)), 0, 255)
        facts["thumbnail"] = np.tile(levels, (1, N_THUMBNAIL // 3)).astype(np.uint8)
        facts["contrast"], facts["blur"] = (
            rng.normal(40, 5, len(digests)),
            rng.normal(0.5, 0.05, len(digests)),
        )
    _, once = np.unique(facts["sha256"], return_index=True)
    out = io.BytesIO()
    np.save(out, facts[once])
    return summary(
        night,
        **{
            "data_fingerprint": hashlib.sha256(table.to_csv(index=False).encode()).hexdigest(),
            "data_place": "p" * 64,
            "classes": ("benign", "cancer"),
            "images": store.write(table.to_csv(index=False).encode(), ".csv"),
            "file_facts": store.write(out.getvalue(), ".npy"),
            "n_images": len(digests),
            **changes,
        },
    )


def compared(store: ArtifactStore, before: Images, after: Images) -> DataChanges:
    """The second run beside the first."""
    first, second = run_of(store, 1, before), run_of(store, 2, after)
    found = data_changes([first], second, store)
    assert found is not None
    return found


def case(content: str) -> str:
    """Case id of an image."""
    return f"case-{hashlib.sha256(content.encode()).hexdigest()[:8]}"


def test_added_removed_and_relabelled_are_counted_and_named(store: ArtifactStore) -> None:
    """One is gone, two are new, one has another label and one another patient: by hand."""
    before = Images(content=list("abcde"), label=[0, 0, 1, 1, 1], patient=list("12345"))
    after = Images(content=list("bcdexy"), label=[0, 0, 1, 1, 1, 0], patient=list("234967"))

    found = compared(store, before, after)

    assert (found.previous, found.n_before, found.n_after) == ("2026-11-01_oral", 5, 6)
    assert found.counts == "2 added, 1 removed, 1 relabelled and 1 filed under another patient"
    assert set(found.added) == {case("x"), case("y")}
    assert found.removed == (case("a"),)
    assert [(one.case_id, one.before, one.after) for one in found.relabelled] == [
        (case("c"), "cancer", "benign")
    ]
    [notice] = changed_data(found)
    assert notice == (
        "Since the last run of the same data (1 November 2026, 02:00 UTC) the label of 1 image changed: "
        "see Data and split."
    )


def test_a_second_copy_of_a_file_is_an_image_added(store: ArtifactStore) -> None:
    """Contents do not tell copies apart, numbers do."""
    before = Images(content=list("ab"), label=[0, 1], patient=["", ""])
    after = Images(content=list("abb"), label=[0, 1, 1], patient=["", "", ""])

    assert compared(store, before, after).counts == "1 added"


def test_other_sides_for_the_classes_relabel_nothing(store: ArtifactStore) -> None:
    """The class that an image had at first counts, also where the label turned round."""
    before = Images(content=list("abc"), label=[0, 0, 1], patient=["", "", ""], original=["nv", "mel", "bcc"])
    after = before.chosen([0, 1, 2], label=[1, 1, 0])

    assert compared(store, before, after).counts == ""
    plain = before.chosen([0, 1, 2], original=[])
    assert compared(store, plain, after).n_relabelled == 3


def test_only_so_many_are_named(store: ArtifactStore) -> None:
    """Twenty names; the count tells of the others."""
    before, after = drawn(10, seed=1), drawn(60, seed=1)

    found = compared(store, before, after)

    assert (found.n_added, len(found.added)) == (50, 20)


def test_a_first_run_says_nothing(store: ArtifactStore) -> None:
    """Nor does one whose earlier runs are of other data, came later, or recorded no table."""
    run = run_of(store, 5, drawn(20, seed=1))
    elsewhere = run_of(store, 1, drawn(20, seed=2), data_place="q" * 64, series="another")
    namesake = run_of(store, 2, drawn(20, seed=2), data_place="q" * 64)
    later = run_of(store, 6, drawn(30, seed=1))
    old = summary(3)

    assert data_changes([later, old, namesake, elsewhere], run, store) is None


def test_a_folder_that_was_moved_is_known_by_its_images(store: ArtifactStore) -> None:
    """Another place, but the same series and images in common."""
    first = run_of(store, 1, drawn(20, seed=1), data_place="q" * 64)

    found = data_changes([first], run_of(store, 2, drawn(22, seed=1)), store)

    assert found is not None
    assert found.counts == "2 added"


def test_a_table_that_was_pruned_is_said(store: ArtifactStore) -> None:
    """The counts are unknown, not zero: the note says so."""
    first, second = run_of(store, 1, drawn(20, seed=1)), run_of(store, 2, drawn(22, seed=1))
    assert first.images is not None
    store.path_of(first.images).unlink()

    found = data_changes([first], second, store)

    assert found is not None
    assert found.note.startswith("The table of images of that run is no longer in the store")


@pytest.mark.parametrize("of_patient", [1, 4], ids=["images", "patients"])
def test_a_change_of_brightness_is_found(store: ArtifactStore, of_patient: int) -> None:
    """Forty images of a brighter scanner beside 200: found in brightness, and nowhere else."""
    before = drawn(200, seed=1, of_patient=of_patient)
    new = drawn(40, seed=2, names="new", shift=40, of_patient=of_patient)
    after = Images(**{name: values + getattr(new, name) for name, values in vars(before).items()})

    found = compared(store, before, after)

    assert [one.statistic for one in found.drift if one.drifted] == ["brightness (mean grey level, 0 to 255)"]
    [drift] = [one for one in found.drift if one.drifted]
    assert (drift.images, drift.n) == ("added", (40, 200))
    assert drift.medians[0] - drift.medians[1] == pytest.approx(40, abs=12)
    assert drift.difference is not None
    assert drift.difference > 2
    assert ("whole patients" in found.test) == (of_patient > 1)
    [notice] = changed_data(found)
    assert notice == (
        "The 40 images added since the last run of the same data (1 November 2026, 02:00 UTC) differ from the earlier "
        "ones in brightness: another scanner, stain or export? See Data and split."
    )


def test_another_stain_is_found_in_files(tmp_path: Path) -> None:
    """From image files on: twenty of a bluer stain beside sixty differ in red and blue."""
    store, runs = ArtifactStore(tmp_path / "store"), []
    for night, n in ((1, 60), (2, 80)):
        for i in range(n):
            rng = np.random.default_rng(i)
            stain = (0.85, 0.9, 1.1) if i >= 60 else (1.05, 0.9, 1.0)
            tissue = rng.normal(150, 20, (32, 32, 1)) + rng.normal(0, 4, (1, 1, 1))
            pixels = np.clip(tissue * stain, 0, 255).astype(np.uint8)
            path = tmp_path / "images" / ("cancer", "benign")[i % 2] / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
        data = DataConfig(source=str(tmp_path / "images"), near_duplicates=False)
        manifest = ingest(resolve_source(data, demo_root=tmp_path), data, store)
        runs.append(
            summary(
                night,
                data_fingerprint=manifest.fingerprint,
                classes=manifest.classes,
                images=manifest.images,
                file_facts=manifest.file_facts,
            )
        )

    found = data_changes(runs[:1], runs[1], store)

    assert found is not None
    assert found.counts == "20 added"
    drifted = {one.statistic for one in found.drift if one.drifted}
    assert {"share of red in the colours", "share of blue in the colours"} <= drifted
    assert "shorter side (pixels)" not in {one.statistic for one in found.drift}  # the same everywhere


def test_patients_of_another_kind_altogether_are_as_far_away_as_can_be(store: ArtifactStore) -> None:
    """The distance is 1 to the last digit, whatever shares are summed."""
    before = drawn(207, seed=1, of_patient=3)
    new = drawn(47, seed=2, names="new", shift=-90, of_patient=3)
    after = Images(**{name: values + getattr(new, name) for name, values in vars(before).items()})

    assert max(one.distance for one in compared(store, before, after).drift) == 1.0


def test_the_dark_ones_that_were_removed_are_missed(store: ArtifactStore) -> None:
    """Whoever sorts images out by hand changes what the set is of: beside those that stayed."""
    before = drawn(300, seed=1)
    stayed = [i for i, grey in enumerate(before.grey) if grey > 115]

    found = compared(store, before, before.chosen(stayed))

    assert [(one.images, one.statistic[:10]) for one in found.drift if one.drifted] == [
        ("removed", "brightness")
    ]
    assert "removed since" in changed_data(found)[0]


def test_the_same_data_raise_no_alarm(store: ArtifactStore) -> None:
    """Nothing changed: no counts, no test."""
    found = compared(store, drawn(50, seed=1), drawn(50, seed=1))

    assert (found.counts, found.drift, found.test, changed_data(found)) == ("", (), "", ())


def quiet_nights(store: ArtifactStore, n: int, *, of_patient: int) -> tuple[float, float]:
    """Share of pairs of samples of one kind with an adjusted p below 0.05, and with an alarm."""
    smallest, alarms = [], []
    for seed in range(n):
        found = compared(
            store,
            drawn(120, seed=2 * seed, of_patient=of_patient),
            drawn(80, seed=2 * seed + 1, of_patient=of_patient),
        )
        smallest.append(min(one.p_value for one in found.drift))
        alarms.append(any(one.drifted for one in found.drift))
    return float(np.mean(np.array(smallest) < 0.05)), float(np.mean(alarms))


@pytest.mark.parametrize("n", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_quiet_nights_are_quiet(store: ArtifactStore, n: int) -> None:
    """Two samples of the same images, again and again: Holm keeps its level of 5 %, and alarms are at most 1 %."""
    share, alarms = quiet_nights(store, n, of_patient=1)

    assert share <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / n)
    assert alarms <= ALPHA + 2 * np.sqrt(ALPHA * (1 - ALPHA) / n)


@pytest.mark.slow
def test_quiet_nights_of_patients_are_quiet(store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same with four alike images of each patient, where a test of images would cry wolf."""
    monkeypatch.setattr(module, "N_PERMUTATIONS", 399)
    share, _ = quiet_nights(store, 200, of_patient=4)
    monkeypatch.setattr(module._Table, "grouped", property(lambda _: False, lambda *_: None), raising=False)
    careless, _ = quiet_nights(store, 60, of_patient=4)

    assert share <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 200)
    assert careless > 0.15


def test_tables_are_read_in_pieces(store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of any size give the same, and an image costs numbers, not objects: 300 bytes for both tables."""
    n = 20_000
    before, after = (
        Images(content=[str(i) for i in range(k)], label=[0, 1] * (k // 2), patient=["P"] * k)
        for k in (n, n + 100)
    )
    first, second = run_of(store, 1, before), run_of(store, 2, after)
    whole = data_changes([first], second, store)
    monkeypatch.setattr(module, "CHUNK", 500)
    tracemalloc.start()
    found = data_changes([first], second, store)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert found == whole
    assert found is not None
    assert found.n_added == 100
    assert peak < 300 * n
