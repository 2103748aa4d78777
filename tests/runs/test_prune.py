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
from medcompare.runs.history import history_path, record_run, this_host
from medcompare.runs.prune import _delete, describe, main, prune
from medcompare.runs.prune_plan import PrunePlan, PrunePolicy, plan_pruning
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
        return plan_pruning(self.out, self.store, PrunePolicy(**policy), now=NOW)


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
    assert "no kept run and no kept result" in plan.removals[1].reason
    assert "1 older run folders stay" in plan.notes[0]


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

    result = prune(house.out, house.store, PrunePolicy(), now=NOW)

    assert (result.n_deleted, result.n_bytes, result.skipped) == (1, 6, ())
    assert not (house.store / orphan.path).exists()
    assert not (house.store / orphan.path).parent.exists()
    assert house.artifacts.read(kept) == b"kept"
    assert prune(house.out, house.store, PrunePolicy(), now=NOW).n_deleted == 0


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

    plan = house.plan(keep_days=30)

    assert {removal.path.name: removal.reason for removal in plan.removals} == {
        "old": "older than what is kept, used by no kept run",
        "broken": "the files it refers to are gone",
    }


def test_a_fingerprint_in_common_keeps_nothing(house: House) -> None:
    """A digest that is no stored file, such as that of the data, ties no results to a run."""
    artifact = house.object(b"a", 100)
    house.run("run", 1, artifact)
    path = house.out / "run/results.json"
    path.write_text(json.dumps({"fingerprint": "f" * 64}))
    house.result("old", 100, value="f" * 64)

    assert [removal.kind for removal in house.plan(keep_days=30).removals] == ["cached result", "stored file"]


def test_what_may_belong_to_a_run_in_progress_is_not_touched(house: House) -> None:
    """Files younger than the limit stay though nobody refers to them yet."""
    house.object(b"young", 0.5)
    house.object(b"old", 1.5)
    house.result("young", 0.5)

    assert [removal.n_bytes for removal in house.plan(keep_days=0).removals] == [3]
    assert len(house.plan(keep_days=0, in_progress_hours=6).removals) == 3


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
    policy = PrunePolicy(keep_runs=1, keep_days=30, reports=True)

    assert [removal.kind for removal in house.plan(**policy.model_dump()).removals] == [
        "run folder",
        "stored file",
    ]
    prune(house.out, house.store, policy, now=NOW)

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
        prune(house.out, house.store, PrunePolicy(), now=NOW)

    assert (house.store / orphan.path).exists()


def test_a_folder_that_is_no_store_is_refused(tmp_path: Path) -> None:
    """A wrong --store deletes nothing and leaves nothing."""
    (tmp_path / "photos").mkdir()
    with pytest.raises(ConfigError, match="this is no store of medcompare"):
        prune(tmp_path, tmp_path / "photos", PrunePolicy(), now=NOW)

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
    (outbox / "20260101T-x.mail").write_bytes(b"a mail that waits")
    house.age(outbox / "20260101T-x.mail", 300)

    plan = house.plan()

    assert _names(plan) == [("leftover", ".old.part")]
    assert plan.n_other_bytes == 17


def test_what_a_killed_training_leaves_goes(house: House) -> None:
    """Its scratch folder and the state it would resume from, once nobody can want them."""
    for name, days in (("old", 2), ("young", 0.1)):
        scratch = house.store / f"scratch-{name}"
        scratch.mkdir()
        (scratch / "images.npy").write_bytes(b"pixels")
        house.age(scratch, days)
        resume = house.store / "resume" / f"{name}.pt"
        resume.parent.mkdir(exist_ok=True)
        resume.write_bytes(b"state")
        house.age(resume, days)

    plan = house.plan()

    assert _names(plan) == [("leftover", "scratch-old"), ("leftover", "old.pt")]
    assert plan.n_bytes == 11


def test_unfinished_runs_of_dead_processes_go(house: House) -> None:
    """A partial folder goes when its process is gone and it is old; interrupted deletions are finished."""
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    for name, days in (
        (f".dead.{ended.pid}.partial", 2),
        (f".fresh.{ended.pid}.partial", 0.1),
        (".gone.1.deleted", 0.1),
    ):
        (house.out / name).mkdir(parents=True)
        (house.out / name / "half.pdf").write_bytes(b"half")
        house.age(house.out / name, days)

    prune(house.out, house.store, PrunePolicy(), now=NOW)

    assert [path.name for path in house.out.iterdir()] == [f".fresh.{ended.pid}.partial"]


def test_a_run_that_is_being_written_forbids_deleting(house: House) -> None:
    """A partial folder of a living process, whatever its age."""
    orphan = house.object(b"orphan", 100)
    (house.out / f".now.{os.getpid()}.partial").mkdir(parents=True)

    assert house.plan().in_progress == (f"run 'now' is being written by process {os.getpid()}",)
    with pytest.raises(StoreBusyError, match="run 'now' is being written"):
        prune(house.out, house.store, PrunePolicy(), now=NOW)
    assert (house.store / orphan.path).exists()


def test_a_run_that_the_history_knows_to_be_going_forbids_deleting(house: House) -> None:
    """A recorded run of this machine whose process lives."""
    running = summary(
        status="running", host=this_host(), pid=os.getpid(), started_at=datetime.now(UTC).isoformat()
    )
    record_run(history_path(house.store), running)

    with pytest.raises(StoreBusyError, match="is going on in process"):
        prune(house.out, house.store, PrunePolicy(), now=NOW)

    record_run(history_path(house.store), summary(status="running", host="elsewhere", pid=os.getpid()))
    assert house.plan().in_progress == ()


def _hold(store: Path, held: Any) -> None:
    with store_in_use(store):
        held.set()
        time.sleep(60)


def test_a_run_that_holds_the_store_forbids_deleting_until_it_dies(house: House) -> None:
    """The lock is freed even where its process is killed outright."""
    orphan = house.object(b"orphan", 100)
    context = multiprocessing.get_context("fork")
    held = context.Event()
    holder = context.Process(target=_hold, args=(house.store, held))
    holder.start()
    assert held.wait(20)

    with pytest.raises(StoreBusyError, match="a run is using"):
        prune(house.out, house.store, PrunePolicy(), now=NOW)
    assert (house.store / orphan.path).exists()

    holder.kill()
    holder.join(20)
    assert prune(house.out, house.store, PrunePolicy(), now=NOW).n_deleted == 1


def test_runs_share_the_store(tmp_path: Path) -> None:
    """Two runs at once hold it together; alone it is then not to be had."""
    with store_in_use(tmp_path), store_in_use(tmp_path), pytest.raises(StoreBusyError), store_alone(tmp_path):
        pass
    with store_alone(tmp_path), (tmp_path / IN_USE_FILE).open() as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)


def test_a_file_that_changed_or_went_meanwhile_is_left(house: House) -> None:
    """What was written again after the plan was made stays, and that is said."""
    orphan = house.object(b"orphan", 100)
    [removal] = house.plan().removals
    house.age(house.store / orphan.path, 0)

    assert _delete(removal) == "changed meanwhile"
    assert _delete(removal.model_copy(update={"path": house.store / "absent"})) == "No such file or directory"
    assert (house.store / orphan.path).exists()


def test_links_are_never_followed(house: House, tmp_path: Path) -> None:
    """A link in the store does not lead out of it."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_bytes(b"precious")
    house.age(outside / "precious", 500)
    (house.store / "objects/zz").symlink_to(outside)
    (house.store / "objects/link").symlink_to(outside / "precious")

    prune(house.out, house.store, PrunePolicy(keep_days=0), now=NOW)

    assert (outside / "precious").exists()


def test_the_terminal_says_what_would_go(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    """Dry by default, deletes with --delete, refuses bad input with status 2."""
    orphan = house.object(b"x" * 2500, 100)
    places = ["--out", str(house.out), "--store", str(house.store)]

    assert main(places) == 0
    said = capsys.readouterr().out
    assert "1 stored file" in said
    assert "This would free 2.50\u202fkB. Nothing was deleted" in said
    assert (house.store / orphan.path).exists()

    assert main([*places, "--list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["removals"][0]["n_bytes"] == 2500

    assert main([*places, "--delete", "--list"]) == 0
    said = capsys.readouterr().out
    assert orphan.sha256 in said
    assert "Freed 2.50\u202fkB." in said
    assert not (house.store / orphan.path).exists()

    assert main([*places, "--keep-runs", "0"]) == 2
    assert "--keep-runs: input should be greater than or equal to 1 (given: 0)" in capsys.readouterr().err
    assert main(["--store", str(house.out / "absent")]) == 2
    with store_in_use(house.store):
        assert main([*places, "--delete"]) == 1
    assert "a run is using" in capsys.readouterr().err


def test_an_empty_plan_says_nothing_would_go(house: House) -> None:
    """The description of a tidy store."""
    assert next(describe(house.plan())).strip() == "nothing"


def test_it_starts_fast_and_imports_neither_torch_nor_prefect() -> None:
    """The command line answers at once."""
    code = (
        "import sys, medcompare.runs.prune, medcompare.runs.history_view, medcompare.cli.doctor\n"
        "print([m for m in ('torch', 'prefect', 'weasyprint') if m in sys.modules])"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout.strip() == "[]"
