"""Champion and challenger on MLflow's registry, with the export of one real run."""

from __future__ import annotations

import re
import shutil
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from medcompare.base.errors import ConfigError, DataError
from medcompare.base.language import in_language
from medcompare.cli.app import main
from medcompare.config.registry import NightConfig
from medcompare.handover.night import Night, night
from medcompare.handover.night_end import finished, logged, nights_of
from medcompare.handover.night_images import scored_by
from medcompare.handover.nights_page import nights_page
from medcompare.handover.records import (
    DESCRIPTION,
    DIGESTS,
    GRAPH,
    WEIGHTS,
    Export,
    read_export,
    write_digests,
)
from medcompare.handover.registry import NIGHTS, ROLES, ModelRegistry, Version
from medcompare.handover.torch_network import Graph, write_graph, write_weights
from medcompare.models.registry import build_model
from medcompare.models.zoo import find_model
from medcompare.runs.history import history_path, list_runs
from tests.flows.conftest import make_two_classes

if TYPE_CHECKING:
    from pathlib import Path

    from medcompare.runs.summary import RunSummary
    from tests.flows.small_runs import First

pytestmark = pytest.mark.slow  # MLflow makes its database in half a minute
FIRST_NIGHT = datetime(2026, 11, 1, 2, tzinfo=UTC)


def config(root: Path, reference: Path, data: Path) -> NightConfig:
    """Settings of a night on small data."""
    return NightConfig.model_validate(
        {
            "reference": {"source": str(reference)},
            "data": {"source": str(data)},
            "store": root / "store",
            "out": root / "pages",
            "evaluate": {"n_resamples": 200},
        }
    )


def half(images: Path, to: Path, which: int) -> Path:
    """Every other image of each class, and at most 20 of a class."""
    for folder in sorted(path for path in images.iterdir() if path.is_dir()):
        (to / folder.name).mkdir(parents=True)
        for file in sorted(folder.iterdir())[which::2][:20]:
            shutil.copy(file, to / folder.name / file.name)
    return to


def runs_called(registry: ModelRegistry, name: str) -> list[Any]:
    """Runs of MLflow."""
    found: list[Any] = registry._client.search_runs(
        [registry._experiment], filter_string=f"run_name = '{name}'"
    )
    return found


def ended(settings: NightConfig, registry: ModelRegistry, found: Night) -> tuple[RunSummary, Path]:
    """What follows a night, without its mail."""
    run, _, page = finished(settings, registry, found)
    logged(registry, found, run, page)
    return run, page


def spoilt(exported: Path, to: Path) -> Path:
    """An export whose last layer takes one feature for another: better than chance, and worse than it was."""
    shutil.copytree(exported, to)
    export = read_export(to)
    spec = find_model(export.model)
    network = build_model(spec, seed=0)
    network.load_state_dict(load_file(to / WEIGHTS))
    weights = network.get_submodule(spec.head).weight.data
    weights.copy_(weights[:, torch.randperm(weights.shape[1], generator=torch.Generator().manual_seed(3))])
    write_weights(network, to / WEIGHTS)
    write_graph(
        Graph(network, spec, export.preprocessing, "none"), to / GRAPH, size_px=export.preprocessing.size_px
    )
    (to / DIGESTS).unlink()
    write_digests(to)
    return to


def many(to: Path, *, seed: int) -> Path:
    """320 images, a fifth of them under the wrong class: nobody is without an error."""
    for k in range(4):
        drawn = make_two_classes(to.with_name(f"{to.name}-{k}"), seed=seed + k)
        for name, other in (("cancer", "non_cancer"), ("non_cancer", "cancer")):
            for i, file in enumerate(sorted((drawn / name).iterdir())):
                place = to / (name if i % 5 else other)
                place.mkdir(parents=True, exist_ok=True)
                file.rename(place / f"{k}-{name}-{file.name}")
    return to


def test_from_the_first_champion_to_a_rollback(
    first: First, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Add, night, promote, roll back; and what MLflow, history and page hold of it."""
    reference, new = half(first.images, tmp_path / "reference", 0), half(first.images, tmp_path / "new", 1)
    settings = config(tmp_path, reference, new)
    store = ["--store", str(settings.store)]
    with pytest.raises(ConfigError, match="has no champion: medcompare registry add EXPORT"):
        night(settings, ModelRegistry(settings.registry, settings.store))
    assert main(["registry", "add", str(exported), *store]) == 2
    assert "who decides, and why?" in capsys.readouterr().err
    by = ["--by", "Dr. Ada", "--because", "first of its kind"]
    assert main(["registry", "add", str(exported), "--report", str(exported / WEIGHTS), *by, *store]) == 2
    assert "is no PDF: give report.pdf of the run" in capsys.readouterr().err
    report = ["--report", str(first.root / "runs" / "latest" / "report.pdf")]
    for role in ("champion", "challenger"):
        assert main(["registry", "add", str(exported), *report, *by, *store]) == 0
        assert f"is the {role} of medcompare" in capsys.readouterr().out

    registry = ModelRegistry(settings.registry, settings.store)
    one = night(settings, registry, at=FIRST_NIGHT)
    run, page = ended(settings, registry, one)
    two = night(settings, registry, at=FIRST_NIGHT + timedelta(days=1))

    assert (one.succession.action, one.n_new, one.n_left_out) == ("hold", 40, 0)
    assert (
        "Too little to compare: so far 20 positive and 20 negative new ones; 30 of each"
        in one.succession.reason
    )
    # Whose mark stands for the night in the trend.
    assert (one.model_moved, run.verdict.model) == (0, run.models[0].model)  # type: ignore[union-attr]
    assert (two.n_new, two.n_left_out) == (0, 40)  # new once, not again
    assert list_runs(history_path(settings.store))[0].name == run.name
    assert [row.display_name for row in run.models] == ["version 1 (Test CNN)", "version 2 (Test CNN)"]
    assert all(
        part in page.read_text("utf-8")
        for part in (
            "<svg",
            "Version 1 (Test CNN) remains the champion",
            "the verdict of each run: mark of the model to use.",
        )
    )
    held = b"".join(path.read_bytes() for path in (settings.store / "registry").rglob("*") if path.is_file())
    assert not re.search(rb"\d{3}\.png", held)
    assert str(first.images).encode() not in held
    (logged_night,) = runs_called(registry, "Night 1: hold")
    assert logged_night.data.tags["decision"] == one.headline
    assert logged_night.data.tags["run"] == run.name
    assert logged_night.data.metrics["new images"] == 40
    ended(settings, registry, two)
    (all_nights,) = runs_called(registry, NIGHTS)
    series = registry._client.get_metric_history(all_nights.info.run_id, "new images")
    assert [(point.step, point.value) for point in series] == [(1, 40), (2, 0)]
    assert {file.path for file in registry._client.list_artifacts(all_nights.info.run_id)} == {"nights.html"}

    registry.remember(looks=7)
    assert main(["registry", "promote", "2", *by, *store]) == 0
    assert registry.looks == 0  # a new reign
    assert main(["registry", *store]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"champion +version 2", shown)
    assert re.search(r"previous +version 1", shown)
    assert main(["registry", "rollback", *by, *store]) == 0
    assert registry.role("champion").number == "1"  # type: ignore[union-attr]
    assert registry.role("previous") is None
    assert main(["registry", "rollback", *by, *store]) == 2
    assert main(["registry", "promote", "9", *by, *store]) == 2
    assert "has no version 9; there are: 1, 2" in capsys.readouterr().err


def test_another_model_and_another_reference_set_are_noticed(
    first: First, exported: Path, tmp_path: Path
) -> None:
    """The first rings, in the language of the night; the second is refused."""
    reference, new = half(first.images, tmp_path / "reference", 0), half(first.images, tmp_path / "new", 1)
    settings = config(tmp_path, reference, new)
    registry = ModelRegistry(settings.registry, settings.store)
    registry.add(exported, by="Dr. Ada", because="first of its kind")
    night(settings, registry, at=FIRST_NIGHT)

    scores = registry.folder / "v1" / "reference.npz"
    np.savez_compressed(scores, score=np.load(scores)["score"] + 0.1)
    with in_language("de"):
        moved = night(settings, registry, at=FIRST_NIGHT + timedelta(days=1))
        page = nights_page(nights_of(registry), ())
    assert moved.alarm.changed == ("model",)
    assert moved.headline.startswith("Alarm: model changed. Version ")
    told = (
        '<html lang="de">',
        "geändert: ",
        "Scores derselben Referenzbilder verschoben sich",
        "Version 1 (Test CNN) bleibt Champion",
    )
    assert [part for part in told if part not in page] == []

    next(reference.rglob("*.png")).unlink()
    with pytest.raises(ConfigError, match="not the frozen one of medcompare"):
        night(settings, registry, at=FIRST_NIGHT + timedelta(days=2))


def test_versions_that_prepare_images_alike_share_them_and_others_do_not(
    first: First, exported: Path, tmp_path: Path
) -> None:
    """Together every version finds what it finds alone, whatever the others are given."""
    other = shutil.copytree(exported, tmp_path / "larger")
    made = read_export(exported)
    larger = made.preprocessing.model_copy(update={"resize_px": made.preprocessing.resize_px + 8})
    (other / DESCRIPTION).write_text(
        made.model_copy(update={"preprocessing": larger}).model_dump_json(), "utf-8"
    )
    (other / DIGESTS).unlink()
    write_digests(other)
    folders = dict(zip(ROLES, (exported, spoilt(exported, tmp_path / "spoilt"), other), strict=True))
    versions = {
        role: Version(number=role, folder=folder, export=read_export(folder))
        for role, folder in folders.items()
    }
    data = config(tmp_path, first.images, first.images).data

    together, _ = scored_by(versions, data, labelled=True, store=tmp_path)

    for role, version in versions.items():
        alone = scored_by({role: version}, data, labelled=True, store=tmp_path)[0][role]
        for name, values in vars(alone).items():
            np.testing.assert_array_equal(getattr(together[role], name), values)
    scores = {role: images.score for role, images in together.items()}
    assert np.abs(scores["challenger"] - scores["champion"]).max() > 1e-4
    assert np.abs(scores["previous"] - scores["champion"]).max() > 1e-4


@pytest.mark.parametrize("promote", ["ask", "auto"])
def test_the_flow_promotes_by_itself_only_where_it_is_told_to(
    exported: Path, tmp_path: Path, promote: str
) -> None:
    """A spoilt network is the champion, and the one it was made from the challenger."""
    from flows.registry import night as flow

    values: dict[str, Any] = {
        "registry": {"promote": promote},
        "reference": {"source": str(many(tmp_path / "reference", seed=100))},
        "data": {"source": str(many(tmp_path / "new", seed=110))},
        "store": str(tmp_path / "store"),
        "out": str(tmp_path / "pages"),
        "evaluate": {"n_resamples": 200},
    }
    registry = ModelRegistry(NightConfig.model_validate(values).registry, tmp_path / "store")
    registry.add(spoilt(exported, tmp_path / "spoilt"), by="Dr. Ada", because="by mistake")
    registry.add(exported, by="Dr. Ada", because="the right one")

    state = flow(values, return_state=True)

    crowned = {role: found.number for role in ROLES if (found := registry.role(role)) is not None}
    asked = " (a person decides)" if promote == "ask" else ""
    assert str(state.message).startswith(f"Promote version 2 (Test CNN){asked}")
    assert state.result()["decision"] == state.message
    if promote == "ask":
        assert crowned == {"champion": "1", "challenger": "2"}
        assert not runs_called(registry, "Promoted version 2")
    else:
        assert crowned == {"champion": "2", "previous": "1"}
        (run,) = runs_called(registry, "Promoted version 2")
        assert "by medcompare (registry.promote=auto): Version 2" in run.data.tags["mlflow.note.content"]
    assert registry.looks == (1 if promote == "ask" else 0)


def test_other_classes_are_another_model(exported: Path, tmp_path: Path) -> None:
    """An export that tells other things apart is refused, with the setting that helps."""
    other = shutil.copytree(exported, tmp_path / "other")
    made = read_export(exported).model_copy(update={"classes": ("a", "b")})
    (other / DESCRIPTION).write_text(made.model_dump_json(), "utf-8")
    (other / "SHA256SUMS").unlink()
    write_digests(other)
    registry = ModelRegistry(NightConfig().registry, tmp_path / "store")
    registry.add(exported, by="x", because="y")

    assert isinstance(read_export(other), Export)
    with pytest.raises(DataError, match=r"another model, --set registry\.model=NAME"):
        registry.add(other, by="x", because="y")
