"""What every test has: repeatable randomness, a home of its own, small images.

Tests that need real images ask for `real_data`; it skips, with its reason, where there are none.
"""

from __future__ import annotations

import atexit
import gc
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from medcompare.base.hardware import CGROUP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROJECT_ROOT = Path(__file__).resolve().parent.parent
REAL_DATA = Path(os.environ.get("MEDCOMPARE_TEST_DATA", PROJECT_ROOT.parent / "shared" / "data"))

# Set before anything imports Prefect: the user's own profile, database and results are never touched.
_PREFECT_HOME = Path(tempfile.mkdtemp(prefix="medcompare-tests-"))
os.environ["PREFECT_HOME"] = str(_PREFECT_HOME)
os.environ.pop("PREFECT_API_URL", None)
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW", "ignore")
# Workers of pytest-xdist share the cores; one that takes them all slows the others down.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")


# A process that ran a Prefect flow keeps services of Prefect, which assert when it exits that their
# threads run. A child forked by a test, or by a loader in a test, has no such threads: without this it
# would end with status 1 whatever it did. Nothing in the product forks after it has imported Prefect.
os.register_at_fork(after_in_child=threading._threading_atexits.clear)


def pytest_collection_finish() -> None:
    """Look for cycles in what tests make, not in the million objects of imported libraries, which stay anyway."""
    gc.freeze()
    atexit.register(gc.unfreeze)  # else libraries in C++ complain at the end of what was never freed


def pytest_sessionfinish() -> None:
    """Remove the home that Prefect was given."""
    shutil.rmtree(_PREFECT_HOME, ignore_errors=True)


WITH_PROCESSES = ("tests/flows/", "tests/training/test_process.py", "tests/training/test_ranks.py")


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A file stays on one worker, and all files of flows on the same one.

    Their server, the process that imports torch for trainings, and their first run, two trainings and a report,
    are then started once. xdist's own groups do nothing
    with pytest 9.2, which reads the names of tests elsewhere than xdist 3.8 writes them.
    """
    from xdist.scheduler import LoadFileScheduling

    class FlowsTogether(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return "flows" if file.startswith(WITH_PROCESSES) else file

    return FlowsTogether(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.fixture(autouse=True)
def seeds_fixed() -> None:
    """Seed every global generator, torch's only where a test has already imported it."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - libraries that still use the global generator
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(autouse=True)
def umask_restored() -> Iterator[None]:
    """Commands called in this process close its umask to others for good; the next test starts as before."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture(scope="session")
def project_root() -> Path:
    """Top folder of the project."""
    return PROJECT_ROOT


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real image collections, see CONTRIBUTING.md."""
    if not REAL_DATA.is_dir():
        pytest.skip("no real images: put them in ../shared/data or name their folder in MEDCOMPARE_TEST_DATA")
    return REAL_DATA


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """Client of a server of this machine that speaks S3, with an empty bucket ``study``; AWS's settings lead to it."""
    for name in ("s3fs", "moto", "flask_cors"):
        pytest.importorskip(name, reason=f"{name} is not installed, which the tests of buckets need")
    import boto3
    import s3fs
    from moto.moto_server.threaded_moto_server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "not-a-secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
        }.items():
            patch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        client = boto3.client("s3")
        client.create_bucket(Bucket="study")
        yield client
        s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes, in memory; only root may mount one."""
    folder = tmp_path / "small"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no small file system can be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def small_memory() -> Iterator[Path]:
    """A control group of 400 MB without swap, of either version; only root may make one."""
    versions = ((CGROUP / "memory", "memory.limit_in_bytes"), (CGROUP, "memory.max"))
    for base, limit in versions:
        group = base / f"medcompare-test-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / limit).write_text(str(400 << 20))
            yield group
        except FileNotFoundError:
            continue
        else:
            return
        finally:
            group.rmdir()
    pytest.skip("no control group with a limit of memory can be made here")


@pytest.fixture
def make_images(tmp_path: Path) -> Callable[..., Path]:
    """Builder of an image folder with two classes that a small network can learn.

    ``make_images(n_per_class=20, size_px=40, seed=0)`` returns the folder: textured tissue-like
    noise, with a brighter centre in the class ``cancer``. The classes overlap a little.
    """

    def build(n_per_class: int = 20, size_px: int = 40, seed: int = 0, name: str = "images") -> Path:
        rng = np.random.default_rng(seed)
        root = tmp_path / name
        rows = np.linspace(-1, 1, size_px)
        centre = np.exp(-4 * (rows[:, None] ** 2 + rows[None, :] ** 2))
        for label, strength in (("cancer", 70.0), ("non_cancer", 15.0)):
            folder = root / label
            folder.mkdir(parents=True)
            for number in range(n_per_class):
                base = rng.normal(120, 25, size=(size_px, size_px, 3))
                bright = rng.normal(strength, 15.0)
                pixels = (base + bright * centre[:, :, None]).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{label}_{number:04d}.png")
        return root

    return build
