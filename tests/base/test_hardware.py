"""What the machine offers: read from files made here, so that the answers are known."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest
import torch

from medcompare.base.devices import native_bfloat16_on_cpu, pick_device, resolve_precision
from medcompare.base.errors import ConfigError
from medcompare.base.hardware import (
    cpu_name,
    loading_processes,
    memory_bytes,
    oom_kills,
    parallel_plan,
    summarise_devices,
    usable_cores,
)

if TYPE_CHECKING:
    from pathlib import Path

CPU = torch.device("cpu")


def write(folder: Path, **files: str) -> Path:
    """A folder that looks like a control group."""
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_a_containers_quota_limits_the_cores(tmp_path: Path) -> None:
    """Version 2 and version 1 of control groups; a fraction counts as one; never more than the mask."""
    free = usable_cores(cgroup=tmp_path / "none")

    assert free == len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else free >= 1
    assert usable_cores(cgroup=write(tmp_path / "a", cpu_DOT_max="50000 100000\n")) == 1
    assert usable_cores(cgroup=write(tmp_path / "b", cpu_DOT_max="max 100000\n")) == free
    assert usable_cores(cgroup=write(tmp_path / "c", cpu_DOT_max="99900000 100000\n")) == free
    old = write(tmp_path / "d", cpu__cpu_DOT_cfs_quota_us="100000\n", cpu__cpu_DOT_cfs_period_us="100000\n")
    assert usable_cores(cgroup=old) == 1
    endless = write(tmp_path / "e", cpu__cpu_DOT_cfs_quota_us="-1\n", cpu__cpu_DOT_cfs_period_us="100000\n")
    assert usable_cores(cgroup=endless) == free


def test_a_containers_limit_limits_the_memory(tmp_path: Path) -> None:
    """The lower of machine and container."""
    free = memory_bytes(cgroup=tmp_path / "none")

    assert memory_bytes(cgroup=write(tmp_path / "a", memory_DOT_max="1000000\n")) == 1_000_000
    assert memory_bytes(cgroup=write(tmp_path / "b", memory_DOT_max="max\n")) == free
    assert free > 2**28


@pytest.mark.parametrize(
    ("flags", "native"),
    [
        ("fpu avx512f avx512_bf16", True),
        ("fpu amx_bf16 amx_tile", True),
        ("fpu avx2 avx512f", False),
    ],
)
def test_native_bfloat16_is_read_from_the_processors_flags(
    tmp_path: Path, flags: str, *, native: bool
) -> None:
    """AVX512-BF16 or AMX."""
    path = tmp_path / "cpuinfo"
    path.write_text(f"processor : 0\nmodel name : Some  CPU @ 2 GHz\nflags : {flags}\n")

    assert native_bfloat16_on_cpu(cpuinfo=path) is native
    assert cpu_name(cpuinfo=path) == "Some CPU @ 2 GHz"


def test_a_processor_that_says_nothing_has_a_name_all_the_same(tmp_path: Path) -> None:
    """And no native bfloat16."""
    assert cpu_name(cpuinfo=tmp_path / "none") != ""
    assert not native_bfloat16_on_cpu(cpuinfo=tmp_path / "none")


@pytest.mark.parametrize(
    ("n_models", "max_parallel", "n_cores", "n_gpus", "n_parallel", "n_threads"),
    [
        # Two at a time: (2 / 2 + 1/4) / 2^0.92 = 0.66; one after the other 2 / 4^0.92 = 0.56.
        pytest.param(2, None, 4, 0, 1, 4, id="few: one after the other"),
        pytest.param(2, 2, 4, 0, 2, 2, id="two models share four cores, if asked"),
        pytest.param(3, 3, 4, 0, 3, 1, id="never more threads than cores"),
        # 10 / 2 + 1/4 = 5.25; one after the other 10 / 2^0.92 = 5.28.
        pytest.param(10, None, 2, 0, 2, 1, id="many: no more trainings than cores"),
        # (2 / 2 + 1/4) / 32^0.92, and 2 / 32^0.92, as a step has 32 images.
        pytest.param(2, None, 64, 0, 2, 32, id="no more threads than images in a step"),
        pytest.param(1, None, 4, 0, 1, 4, id="one has all"),
        pytest.param(3, 1, 4, 0, 1, 4, id="one after the other, if asked"),
        pytest.param(2, None, 16, 1, 1, 16, id="one GPU: one at a time"),
        pytest.param(3, None, 16, 2, 2, 8, id="two GPUs"),
        pytest.param(2, 2, 16, 1, 2, 8, id="two on one GPU, if asked"),
    ],
)
def test_trainings_share_the_machine_without_oversubscribing(
    n_models: int, max_parallel: int | None, n_cores: int, n_gpus: int, *, n_parallel: int, n_threads: int
) -> None:
    """Threads x trainings never exceed the cores."""
    plan = parallel_plan(n_models, max_parallel=max_parallel, n_cores=n_cores, n_gpus=n_gpus)

    assert (plan.n_parallel, plan.n_threads) == (n_parallel, n_threads)
    assert [plan.device_index(i) for i in range(3)] == (
        [i % n_gpus for i in range(3)] if n_gpus else [0, 0, 0]
    )


@pytest.mark.parametrize(
    ("n_cores", "n_gpus", "n_devices", "n_parallel", "n_threads", "first"),
    [
        pytest.param(16, 8, 4, 2, 8, [0, 4, 0, 4], id="two networks, four of eight GPUs each"),
        pytest.param(16, 8, 3, 2, 8, [0, 3, 0, 3], id="two GPUs are left over"),
        pytest.param(16, 2, 2, 1, 16, [0, 0, 0, 0], id="one after the other"),
        pytest.param(4, 0, 2, 1, 4, [0, 0, 0, 0], id="processes share the cores"),
        pytest.param(2, 0, 2, 1, 2, [0, 0, 0, 0], id="all cores for one"),
    ],
)
def test_trainings_on_several_devices_share_the_machine(
    n_cores: int, n_gpus: int, n_devices: int, n_parallel: int, n_threads: int, *, first: list[int]
) -> None:
    """No GPU is in two of the trainings that run at the same time."""
    plan = parallel_plan(4, max_parallel=None, n_cores=n_cores, n_gpus=n_gpus, n_devices=n_devices)

    assert (plan.n_parallel, plan.n_threads) == (n_parallel, n_threads)
    assert [plan.device_index(position) for position in range(4)] == first


@pytest.mark.parametrize(
    ("device", "n_threads", "n_cores", "n_parallel", "n_processes"),
    [
        pytest.param("cpu", 1, 2, 2, 0, id="two cores train"),
        pytest.param("cpu", 32, 32, 1, 4, id="one for eight threads"),
        pytest.param("cuda", 16, 16, 1, 16, id="all cores feed one GPU"),
        pytest.param("cuda", 8, 16, 2, 8, id="shared between two trainings"),
        pytest.param("cuda", 64, 64, 1, 16, id="not more than help"),
    ],
)
def test_loading_processes_follow_the_device(
    tmp_path: Path, device: str, n_threads: int, n_cores: int, n_parallel: int, *, n_processes: int
) -> None:
    """A processor trains with its cores; a GPU leaves them free. Where memory to share is short, fewer."""
    machine = {"n_threads": n_threads, "n_cores": n_cores, "n_parallel": n_parallel}

    assert loading_processes(device, **machine, batch_bytes=1, shared_memory=tmp_path / "none") == n_processes
    third = shutil.disk_usage(tmp_path).free // 12
    assert loading_processes("cuda", **machine, batch_bytes=third, shared_memory=tmp_path) <= min(
        3, n_cores // n_parallel
    )


def test_a_device_that_is_not_there_is_a_configuration_error() -> None:
    """What there is, is listed."""
    absent = "mps" if not torch.backends.mps.is_available() else "cuda"

    with pytest.raises(ConfigError, match=f"train.device is '{absent}', but torch .* finds only: cpu"):
        pick_device(absent)
    assert pick_device("cpu") == CPU
    assert summarise_devices("cpu").n_accelerators == 0


def test_precision() -> None:
    """What is asked for is done; channels-last on a processor; bfloat16 never on mps."""
    assert resolve_precision("bfloat16", CPU) == ("bfloat16", "channels_last")
    assert resolve_precision("float32", CPU) == ("float32", "channels_last")
    assert resolve_precision("float32", torch.device("cuda")) == ("float32", "contiguous")
    for setting in ("auto", "same"):
        automatic = resolve_precision(setting, CPU)[0]
        assert automatic == ("bfloat16" if native_bfloat16_on_cpu() else "float32")
    assert resolve_precision("auto", torch.device("mps"))[0] == "float32"
    assert resolve_precision("float16", CPU) == ("float16", "channels_last")
    for setting in ("bfloat16", "float16"):
        with pytest.raises(ConfigError, match=f"'{setting}', which is not supported on mps"):
            resolve_precision(setting, torch.device("mps"))


def test_processes_ended_for_lack_of_memory_are_counted(tmp_path: Path) -> None:
    """In the innermost group that tells, of version 2 and 1, and in all; silence where nothing is said."""
    own, vmstat, absent = tmp_path / "own", tmp_path / "vmstat", tmp_path / "absent"
    vmstat.write_text("pgfault 5\noom_kill 7\n")
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "memory.events").write_text("low 0\noom 2\noom_kill 3\n")
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 4\n")

    own.write_text("0::/job\n")
    assert oom_kills(cgroup=tmp_path, own=own, vmstat=vmstat) == (3, 7)
    own.write_text("5:cpu:/x\n4:memory:/elsewhere\n")
    assert oom_kills(cgroup=tmp_path, own=own, vmstat=absent) == (4, 0)
    assert oom_kills(cgroup=tmp_path, own=absent, vmstat=absent) is None
