"""Champion and challenger on MLflow's registry, with the export of one real run."""

from __future__ import annotations

import re
import shutil
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest

from medcompare.base.errors import ConfigError, DataError
from medcompare.cli.app import main
from medcompare.config.registry import NightConfig
from medcompare.handover.export import export_run
from medcompare.handover.night import night
from medcompare.handover.night_end import finished
from medcompare.handover.records import DESCRIPTION, Export, read_export, write_digests
from medcompare.handover.registry import ModelRegistry
from medcompare.runs.history import history_path, list_runs

if TYPE_CHECKING:
    from pathlib import Path

    from tests.flows.small_runs import First

pytestmark = pytest.mark.slow  # MLflow makes its database in half a minute
FIRST_NIGHT = datetime(2026, 11, 1, 2, tzinfo=UTC)


@pytest.fixture(scope="module")
def exported(first: First, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The export of the small network of the first run."""
    folder, _ = export_run(
        first.root / "runs" / "latest", tmp_path_factory.mktemp("export") / "net", model="test_cnn"
    )
    return folder


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
    for role in ("champion", "challenger"):
        assert main(["registry", "add", str(exported), *by, *store]) == 0
        assert f"is the {role} of medcompare" in capsys.readouterr().out

    registry = ModelRegistry(settings.registry, settings.store)
    one = night(settings, registry, at=FIRST_NIGHT)
    run, _, page = finished(settings, registry, one)
    two = night(settings, registry, at=FIRST_NIGHT + timedelta(days=1))

    assert (one.succession.action, one.n_new, one.n_left_out) == ("hold", 40, 0)
    assert (
        "Too little to compare: so far 20 positive and 20 negative new ones; 30 of each"
        in one.succession.reason
    )
    assert one.model_moved == 0
    assert (two.n_new, two.n_left_out) == (0, 40)  # new once, not again
    assert list_runs(history_path(settings.store))[0].name == run.name
    assert [row.display_name for row in run.models] == ["version 1 (Test CNN)", "version 2 (Test CNN)"]
    assert "<svg" in page.read_text("utf-8")
    assert "Hold version 1" in page.read_text("utf-8")
    logged = b"".join(
        path.read_bytes() for path in (settings.store / "registry").rglob("*") if path.is_file()
    )
    assert not re.search(rb"\d{3}\.png", logged)
    assert str(first.images).encode() not in logged
    found = registry._client.search_runs([registry._experiment], filter_string=f"run_name = '{run.name}'")
    assert found[0].data.tags["decision"] == one.headline
    assert found[0].data.metrics["new images"] == 40

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

    # The model is another one where the same images get other scores.
    scores = registry.folder / "v1" / "reference.npz"
    np.savez_compressed(scores, score=np.load(scores)["score"] + 0.1)
    moved = night(settings, registry, at=FIRST_NIGHT + timedelta(days=2))
    assert moved.alarm.changed == ("model",)
    assert "model changed" in moved.headline

    # The reference set is frozen.
    next(reference.rglob("*.png")).unlink()
    with pytest.raises(ConfigError, match="not the frozen one of medcompare"):
        night(settings, registry, at=FIRST_NIGHT + timedelta(days=3))


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
