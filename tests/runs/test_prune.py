"""Housekeeping frees what nobody refers to, and nothing else."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from medcompare.base.artifacts import ArtifactStore
from medcompare.base.errors import ConfigError, DataError
from medcompare.base.store_lock import IN_USE_FILE, StoreBusyError, store_alone, store_in_use
from medcompare.cli.app import main
from medcompare.runs.history import history_path, record_run
from medcompare.runs.prune import PrunePlan, delete, describe, plan_pruning
from medcompare.runs.summary import RunFiles
from tests.runs.sample_runs import summary

if TYPE_CHECKING:
    from medcompare.base.record import Artifact

NOW = datetime.now(UTC)


class House:
    """A store and its runs, with files of any age."""

    def __init__(self, root: Path) -> None:
        self.out, self.store = root / "runs", root / "store"
        self.artifacts = ArtifactStore(self.store)

    def age(self, path: Path, days: float) -> Path:
        """Let `path` be so old."""
        moment = (NOW - timedelta(days=days)).timestamp()
        os.utime(path, (moment, moment))
        return path

    def object(self, content: bytes, days: float, suffix: str = ".pt") -> Artifact:
        """A stored file."""
        artifact = self.artifacts.write(content, suffix)
        self.age(self.store / artifact.path, days)
        return artifact

    def result(self, name: str, days: float, *artifacts: Artifact, **more: Any) -> Path:
        """A cached result as Prefect writes it."""
        path = self.store / "results" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        inner = json.dumps({"data": {"files": [a.model_dump() for a in artifacts], **more}})
        path.write_text(json.dumps({"metadata": {"serializer": {"type": "json"}}, "result": inner}))
        return self.age(path, days)

    def run(self, name: str, days: float, *artifacts: Artifact) -> Path:
        """A run folder."""
        folder = self.out / name
        folder.mkdir(parents=True)
        (folder / "report.pdf").write_bytes(b"%PDF")
        (folder / "results.json").write_text(json.dumps({"files": [a.model_dump() for a in artifacts]}))
        self.age(folder / "results.json", days)
        return self.age(folder, days)

    def plan(self, **policy: Any) -> PrunePlan:
        """What would go."""
        return plan_pruning(self.out, self.store, now=NOW, **policy)

    def prune(self, **policy: Any) -> int:
        """Delete it; returns the bytes freed."""
        freed, left = delete(self.plan(**policy), self.store)
        assert left == []
        return freed


@pytest.fixture
def house(tmp_path: Path) -> House:
    """An empty store with its runs."""
    house = House(tmp_path)
    (house.store / "objects").mkdir(parents=True)
    return house


def _names(plan: PrunePlan) -> list[tuple[str, str]]:
    return [(removal.kind, removal.path.name) for removal in plan.removals]


def test_what_old_runs_alone_refer_to_goes(house: House) -> None:
    """Two old runs, one kept: the file only the other one needs goes, with its cached result."""
    shared, old, new = house.object(b"shared", 100), house.object(b"old", 100), house.object(b"new", 90)
    house.run("older", 100, shared, old)
    house.run("newer", 90, shared, new)
    house.result("a", 100, old)
    house.result("b", 100, shared)
    house.result("c", 90, new)

    plan = house.plan(keep_runs=1, keep_days=30)

    assert _names(plan) == [("cached result", "a"), ("stored file", Path(old.path).name)]
    assert plan.kept_runs == ("newer",)
    assert plan.n_bytes == 3 + (house.store / "results/a").stat().st_size
    assert "Note: 1 older run folders stay" in list(describe(plan))[-1]


def test_a_dry_run_touches_nothing(house: House) -> None:
    """Planning deletes and writes nothing, not even a lock."""
    house.object(b"orphan", 100)
    before = sorted(house.store.rglob("*"))

    assert house.plan().n_bytes == 6
    assert sorted(house.store.rglob("*")) == before


def test_pruning_deletes_what_was_planned_and_says_how_much(house: House) -> None:
    """Freed bytes are those of the files; kept files are still verified; empty folders go."""
    orphan, kept = house.object(b"orphan", 100), house.object(b"kept", 100)
    house.run("run", 100, kept)

    assert house.prune() == 6

    assert not (house.store / orphan.path).exists()
    assert not (house.store / orphan.path).parent.exists()
    assert house.artifacts.read(kept) == b"kept"
    assert house.plan().removals == ()


def test_decoded_images_go_when_no_training_used_them_for_long(house: House) -> None:
    """By their time of last use; what a dead process left half written goes after a day."""
    folder = house.store / "pixels" / "ab"
    folder.mkdir(parents=True)
    for name, days in (("abc-1", 100), ("abc-2", 50), (".abc-3.1.part", 2)):
        (folder / name).write_bytes(b"pixels")
        house.age(folder / name, days)

    assert _names(house.plan()) == [("decoded image", "abc-1"), ("leftover", ".abc-3.1.part")]


def test_a_kept_result_keeps_all_its_files(house: House) -> None:
    """A result that is recent, or shares a file with a kept run, keeps the others it names."""
    a, b, c = house.object(b"a", 100), house.object(b"b", 100), house.object(b"c", 100)
    house.run("run", 100, a)
    house.result("shares", 100, a, b)
    house.result("recent", 5, c)

    assert _names(house.plan(keep_days=30)) == []


def test_a_result_without_files_goes_by_age(house: House) -> None:
    """Plain figures are kept while young; a result whose files are gone is of no use."""
    house.result("young", 20, value=1)
    house.result("old", 40, value=1)
    gone = house.object(b"gone", 40)
    house.result("broken", 40, gone)
    (house.store / gone.path).unlink()

    assert {removal.path.name for removal in house.plan(keep_days=30).removals} == {"old", "broken"}


def test_a_fingerprint_in_common_keeps_nothing(house: House) -> None:
    """A digest that is no stored file, such as that of the data, ties no results to a run."""
    artifact = house.object(b"a", 100)
    house.run("run", 1, artifact)
    path = house.out / "run/results.json"
    path.write_text(json.dumps({"fingerprint": "f" * 64}))
    house.result("old", 100, value="f" * 64)

    assert [removal.kind for removal in house.plan(keep_days=30).removals] == ["cached result", "stored file"]


def test_what_may_belong_to_a_run_in_progress_is_not_touched(house: House) -> None:
    """Files younger than a day stay though nothing refers to them yet."""
    house.object(b"young", 0.5)
    house.object(b"old", 1.5)
    house.result("young", 0.5)

    assert [removal.n_bytes for removal in house.plan(keep_days=0).removals] == [3]


def test_the_newest_runs_the_recent_ones_and_the_latest_are_kept(house: House) -> None:
    """By number, by age, and what `latest` points to."""
    for days in (1.5, 10, 20, 30, 40):
        house.run(f"run-{days:g}", days)
    (house.out / "latest").symlink_to("run-40")

    assert house.plan(keep_runs=1, keep_days=15).kept_runs == ("run-1.5", "run-10", "run-40")
    assert house.plan(keep_runs=3, keep_days=0).kept_runs == ("run-1.5", "run-10", "run-20", "run-40")


def test_reports_go_only_when_asked_for(house: House) -> None:
    """With --reports, old run folders are deleted whole, before what they refer to."""
    artifact = house.object(b"a", 100)
    house.run("old", 100, artifact)
    house.run("new", 90)
    policy = {"keep_runs": 1, "keep_days": 30, "reports": True}

    assert [removal.kind for removal in house.plan(**policy).removals] == ["run folder", "stored file"]
    house.prune(**policy)

    assert [path.name for path in house.out.iterdir()] == ["new"]


def test_runs_of_other_folders_in_the_history_count(house: House, tmp_path: Path) -> None:
    """One store may serve several folders of runs: none loses its files."""
    artifact = house.object(b"a", 100)
    elsewhere = House(tmp_path / "other")
    folder = elsewhere.run("far", 100, artifact)
    files = RunFiles(folder=str(folder), pdf="", html="", results="")
    record_run(history_path(house.store), summary(files=files))

    plan = house.plan()

    assert plan.removals == ()
    assert plan.kept_runs == ("far",)


def test_a_run_that_cannot_be_read_stops_everything(house: House) -> None:
    """Not knowing what a kept run refers to, nothing is deleted."""
    orphan = house.object(b"orphan", 100)
    (house.run("run", 1) / "results.json").write_bytes(b"\xff\xfe broken \xff")

    with pytest.raises(DataError, match=r"results\.json cannot be read .*nothing is deleted"):
        house.plan()

    assert (house.store / orphan.path).exists()


def test_a_folder_that_is_no_store_is_refused(tmp_path: Path) -> None:
    """A wrong --store deletes nothing and leaves nothing."""
    (tmp_path / "photos").mkdir()
    with pytest.raises(ConfigError, match="this is no store of medcompare"):
        plan_pruning(tmp_path, tmp_path / "photos", now=NOW)

    assert list((tmp_path / "photos").iterdir()) == []


def test_leftovers_of_writers_that_died_go(house: House) -> None:
    """Temporary files that are old enough; not those being written."""
    folder = house.store / "objects/aa"
    folder.mkdir()
    for name, days in ((".old.part", 2), (".young.part", 0.1)):
        (folder / name).write_bytes(b"half")
        house.age(folder / name, days)
    outbox = house.store / "outbox"
    outbox.mkdir()
    (outbox / "20260101T-x.eml").write_bytes(b"a mail that waits")
    house.age(outbox / "20260101T-x.eml", 300)

    assert _names(house.plan()) == [("leftover", ".old.part")]


def test_what_a_killed_training_leaves_goes(house: House) -> None:
    """Its scratch folder after a day; the state it would resume from when runs as old are deleted too."""
    for name, days in (("old", 100), ("young", 2)):
        scratch = house.store / f"scratch-{name}"
        scratch.mkdir()
        (scratch / "images.npy").write_bytes(b"pixels")
        house.age(scratch, days)
        resume = house.store / "resume" / name
        resume.mkdir(parents=True)
        (resume / "00000001-ab.safetensors").write_bytes(b"state")
        house.age(resume, days)

    plan = house.plan()

    assert sorted(_names(plan)) == [
        ("leftover", "old"),
        ("leftover", "scratch-old"),
        ("leftover", "scratch-young"),
    ]
    assert plan.n_bytes == 17


def test_unpacked_images_that_nobody_read_for_long_go(house: House) -> None:
    """Of archives and of addresses, whole folders; those of a nightly run are touched every night and stay."""
    for root in ("unpacked", "remote"):
        for name, days in (("old", 300), ("read", 0.5)):
            folder = house.store / root / name
            folder.mkdir(parents=True)
            (folder / "1.png").write_bytes(b"pixels")
            house.age(folder, days)
        (house.store / root / ".being-written.lock").touch()

    plan = house.plan()

    assert [
        (removal.kind, removal.path.relative_to(house.store).as_posix()) for removal in plan.removals
    ] == [
        ("unpacked folder", "unpacked/old"),
        ("unpacked folder", "remote/old"),
    ]
    assert plan.n_bytes == 12


def test_unfinished_runs_of_dead_processes_go(house: House) -> None:
    """Also what an interrupted deletion left; not while the process lives, nor what is young."""
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    young, going = f".fresh.{ended.pid}.partial", f".going.{os.getpid()}.partial"
    for name, days in (
        (f".dead.{ended.pid}.partial", 2),
        (f".old.{ended.pid}.partial.{ended.pid}.partial", 2),
        (young, 0.1),
        (going, 2),
    ):
        (house.out / name).mkdir(parents=True)
        (house.out / name / "half.pdf").write_bytes(b"half")
        house.age(house.out / name, days)

    assert house.prune() == 8
    assert sorted(path.name for path in house.out.iterdir()) == [young, going]


def _hold(store: Path, held: Any) -> None:
    with store_in_use(store):
        held.set()
        time.sleep(60)


def test_a_run_that_holds_the_store_forbids_deleting_until_it_dies(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    """The lock is freed even where its process is killed outright."""
    orphan = house.object(b"orphan", 100)
    context = multiprocessing.get_context("fork")
    held = context.Event()
    holder = context.Process(target=_hold, args=(house.store, held))
    holder.start()
    assert held.wait(20)

    command = ["prune", "--out", str(house.out), "--store", str(house.store), "--delete"]
    assert main(command) == 1
    assert "a run is using" in capsys.readouterr().err
    assert (house.store / orphan.path).exists()

    holder.kill()
    holder.join(20)
    assert main(command) == 0
    assert not (house.store / orphan.path).exists()


def test_runs_share_the_store(tmp_path: Path) -> None:
    """Two runs at once hold it together; alone it is then not to be had."""
    with store_in_use(tmp_path), store_in_use(tmp_path), pytest.raises(StoreBusyError), store_alone(tmp_path):
        pass
    with store_alone(tmp_path), (tmp_path / IN_USE_FILE).open() as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)


def test_what_cannot_be_deleted_is_said_and_the_rest_goes(house: House) -> None:
    """One file that is gone already does not keep the others."""
    orphans = [house.object(content, 100) for content in (b"one", b"two")]
    plan = house.plan()
    gone = plan.removals[0].path
    gone.unlink()

    assert delete(plan, house.store) == (3, [f"{gone} (No such file or directory)"])
    assert not any((house.store / orphan.path).exists() for orphan in orphans)


def test_links_are_never_followed(house: House, tmp_path: Path) -> None:
    """A link in the store does not lead out of it."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_bytes(b"precious")
    house.age(outside / "precious", 500)
    (house.store / "objects/zz").symlink_to(outside)
    (house.store / "objects/link").symlink_to(outside / "precious")

    house.prune(keep_days=0)

    assert (outside / "precious").exists()


def test_the_terminal_says_what_would_go(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    """Dry by default, deletes with --delete, refuses bad input with status 2."""
    orphan = house.object(b"x" * 2500, 100)
    places = ["prune", "--out", str(house.out), "--store", str(house.store)]

    assert main(places) == 0
    said = capsys.readouterr().out
    assert "1 stored file" in said
    assert "This would free 2.50\u202fkB. Nothing was deleted" in said
    assert (house.store / orphan.path).exists()

    assert main([*places, "--delete", "--list"]) == 0
    said = capsys.readouterr().out
    assert orphan.sha256 in said
    assert "Freed 2.50\u202fkB." in said
    assert not (house.store / orphan.path).exists()

    assert main([*places, "--keep-runs", "0"]) == 2
    assert "'--keep-runs': Input should be greater than or equal to 1" in capsys.readouterr().err
    assert main([*places, "--keep-days", "nan"]) == 2
    assert main(["prune", "--store", str(house.out / "absent")]) == 2


def test_an_empty_plan_says_nothing_would_go(house: House) -> None:
    """The description of a tidy store."""
    assert next(describe(house.plan())).strip() == "nothing"
