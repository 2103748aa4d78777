"""Checkpoints: equal weights, equal bytes; the wrong file is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from medcompare.base.artifacts import ArtifactStore
from medcompare.base.errors import ArtifactError, ConfigError, DiskFullError
from medcompare.training.checkpoints import (
    ResumePoint,
    load,
    load_checkpoint,
    save,
    state_on_cpu,
    write_checkpoint,
)

ROOT = Path(__file__).resolve().parents[2]


def network() -> nn.Module:
    """A convolution, whose weights have a memory layout."""
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


def test_equal_weights_give_equal_bytes(tmp_path: Path) -> None:
    """Whatever the memory layout they were trained in; nothing is left beside the object."""
    store = ArtifactStore(tmp_path)
    plain = write_checkpoint(store, state_on_cpu(network()), model="m")
    other = write_checkpoint(store, state_on_cpu(network().to(memory_format=torch.channels_last)), model="m")

    assert plain == other
    assert [path.name for path in tmp_path.iterdir()] == ["objects"]


def test_a_copied_state_does_not_train_on() -> None:
    """`state_on_cpu` is a copy."""
    net = network()
    state = state_on_cpu(net)
    before = state["0.weight"].clone()
    with torch.no_grad():
        net[0].weight.add_(1)

    assert torch.equal(state["0.weight"], before)


def test_round_trip(tmp_path: Path) -> None:
    """What is loaded is what was stored."""
    store = ArtifactStore(tmp_path)
    net = network()
    artifact = write_checkpoint(store, state_on_cpu(net), model="m")
    other = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    load_checkpoint(store, artifact, other, model="m")

    assert all(
        torch.equal(a, b) for a, b in zip(net.state_dict().values(), other.state_dict().values(), strict=True)
    )


def test_the_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    """Both names stand in the message."""
    store = ArtifactStore(tmp_path)
    artifact = write_checkpoint(store, state_on_cpu(network()), model="m")

    with pytest.raises(ArtifactError, match=r"checkpoint of 'm' .* not of 'n'"):
        load_checkpoint(store, artifact, network(), model="n")


def test_an_altered_checkpoint_is_refused(tmp_path: Path) -> None:
    """The digest is checked before anything is loaded."""
    store = ArtifactStore(tmp_path)
    artifact = write_checkpoint(store, state_on_cpu(network()), model="m")
    path = tmp_path / artifact.path
    path.write_bytes(path.read_bytes()[:-1] + b"x")

    with pytest.raises(ArtifactError, match="was altered"):
        load_checkpoint(store, artifact, network(), model="m")


def test_resume_point_keeps_the_last_state(tmp_path: Path) -> None:
    """Saved, replaced, cleared; clearing twice is no error."""
    point = ResumePoint(tmp_path, "key")
    assert point.load() is None
    for epoch in (1, 2, 3):
        point.save({"epoch": epoch, "tensor": torch.ones(2)})
    loaded = point.load()

    assert loaded is not None
    assert loaded["epoch"] == 3
    assert [path.name[:9] for path in sorted(point.folder.iterdir())] == ["00000002-", "00000003-"]
    point.clear()
    point.clear()
    assert point.load() is None


def test_a_state_comes_back_as_it_was(tmp_path: Path) -> None:
    """Numbers as keys, as an optimiser has them, floats to the last bit, kinds and memory layouts of tensors."""
    channels_last = torch.rand(2, 3, 4, 4).contiguous(memory_format=torch.channels_last)
    state = {
        "optimizer": {
            "state": {0: {"step": torch.tensor(3.0), "average": channels_last}},
            "groups": [{"lr": 0.1}],
        },
        "random": torch.get_rng_state(),
        "counts": torch.arange(3),
        "halves": torch.rand(3).to(torch.bfloat16),
        "nothing": None,
        "sum": 1 / 3,
    }
    save(state, tmp_path / "file")
    loaded = load(tmp_path / "file")
    averages = loaded["optimizer"]["state"][0]["average"]

    assert list(loaded) == list(state)
    assert (loaded["sum"], loaded["nothing"], loaded["optimizer"]["groups"]) == (1 / 3, None, [{"lr": 0.1}])
    assert (averages.stride(), averages.equal(channels_last)) == (channels_last.stride(), True)
    for name in ("random", "counts", "halves"):
        assert loaded[name].dtype == state[name].dtype
        assert loaded[name].equal(state[name])


def test_no_part_of_a_file_is_left_by_a_killed_training(tmp_path: Path) -> None:
    """What was being written is removed by the next attempt, which reads the checkpoint before it."""
    point = ResumePoint(tmp_path, "key")
    point.save({"epoch": 1})
    (point.folder / ".safetensors.1a2b.part").write_bytes(b"half a file")

    assert point.load() == {"epoch": 1}
    assert len(list(point.folder.iterdir())) == 1


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    """One of an earlier version, say."""
    store = ArtifactStore(tmp_path)
    artifact = store.write(b"not the format of this version", ".pt")

    with pytest.raises(ArtifactError, match="is no checkpoint of format 3"):
        load_checkpoint(store, artifact, network(), model="m")


def test_a_file_size_limit_is_called_so(tmp_path: Path) -> None:
    """By a process that may write no more than a megabyte: what to do, and the checkpoint of before stays."""
    point = ResumePoint(tmp_path, "key")
    point.save({"epoch": 1})
    code = (
        "import resource, sys, torch, pathlib; resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20));"
        "from medcompare.training.checkpoints import ResumePoint;"
        "ResumePoint(pathlib.Path(sys.argv[1]), 'key').save({'weight': torch.rand(1 << 20)})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert "DiskFullError: a file in" in done.stderr.splitlines()[-1]
    assert "ulimit -f unlimited" in done.stderr
    assert point.load() == {"epoch": 1}
    assert len(list(point.folder.iterdir())) == 1


def test_a_read_only_folder_is_called_so(small_disk: Path) -> None:
    """Named, with the remedy; what was saved can still be read."""
    point = ResumePoint(small_disk, "key")
    point.save({"epoch": 1})
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)

    with pytest.raises(ConfigError, match=r"cannot be written to \(Read-only file system\).*--store"):
        point.save({"epoch": 2})
    with pytest.raises(ConfigError, match=r"cannot be written to \(Read-only file system\).*--store"):
        ArtifactStore(small_disk).write(b"content", ".csv")
    assert point.load() == {"epoch": 1}


def test_a_full_disk_is_called_so(small_disk: Path) -> None:
    """Not in torch's words; nothing half-written is left to fill it further, and the checkpoint of before stays."""
    ResumePoint(small_disk, "key").save({"epoch": 1})
    large = {"weight": torch.rand(1_000_000)}

    with pytest.raises(DiskFullError, match=r"the disk is full: 2\.\d+ MB free .*, and 4 MB are to"):
        write_checkpoint(ArtifactStore(small_disk), large, model="test_cnn")
    with pytest.raises(DiskFullError, match="choose another folder with --store"):
        ResumePoint(small_disk, "key").save(large)

    assert ResumePoint(small_disk, "key").load() == {"epoch": 1}
    assert len([path for path in small_disk.rglob("*") if path.is_file()]) == 1


def test_another_machine_goes_on(tmp_path: Path) -> None:
    """From the last checkpoint in the bucket; none is left where the training has ended."""
    import fsspec

    from medcompare.base.shared_store import SharedStore, share

    fsspec.filesystem("memory").store.clear()
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        share(folder, "memory://resume/store")
    first = ResumePoint(one, "key")
    for epoch in (1, 2, 3):
        first.save({"epoch": epoch, "weight": torch.full((4,), float(epoch))})

    second = ResumePoint(other, "key")
    state = second.load()

    assert state is not None
    assert (state["epoch"], state["weight"].tolist()) == (3, [3.0] * 4)
    assert len(SharedStore("memory://resume/store").names("resume")) == 2  # that and the one before it
    second.save({"epoch": 4})
    assert first.load() == {"epoch": 4}
    second.clear()
    assert SharedStore("memory://resume/store").names("") == []
    assert ResumePoint(tmp_path / "third", "key").load() is None
