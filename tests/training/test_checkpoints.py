"""Checkpoints: equal weights, equal bytes; the wrong file is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from medcompare.base.artifacts import ArtifactStore
from medcompare.base.errors import ArtifactError, DiskFullError
from medcompare.training.checkpoints import ResumePoint, load_checkpoint, state_on_cpu, write_checkpoint

if TYPE_CHECKING:
    from pathlib import Path


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
    point.save({"epoch": 1})
    point.save({"epoch": 2, "tensor": torch.ones(2)})
    loaded = point.load()

    assert loaded is not None
    assert loaded["epoch"] == 2
    point.clear()
    point.clear()
    assert point.load() is None


def test_a_full_disk_is_called_so(small_disk: Path) -> None:
    """Not in torch's words; and nothing half-written is left to fill it further."""
    large = {"weight": torch.rand(1_000_000)}

    with pytest.raises(DiskFullError, match=r"the disk is full: \d MB free .*medcompare prune"):
        write_checkpoint(ArtifactStore(small_disk), large, model="test_cnn")
    with pytest.raises(DiskFullError, match="choose another folder with --store"):
        ResumePoint(small_disk, "key").save(large)

    assert [path for path in small_disk.rglob("*") if path.is_file()] == []
