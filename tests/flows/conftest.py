"""A real Prefect server for the tests of flows, in a home of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session", autouse=True)
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One test server for the session; the user's own profile is never touched."""
    patch = pytest.MonkeyPatch()
    patch.setenv("PREFECT_HOME", str(tmp_path_factory.mktemp("prefect")))
    from prefect.testing.utilities import prefect_test_harness

    import flows  # noqa: F401 - sets Prefect's defaults before it is imported

    with prefect_test_harness(server_startup_timeout=120):
        yield
    patch.undo()


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Folder of 40 + 40 small images that a network can tell apart: bright or dark centres."""
    rng = np.random.default_rng(5)
    root = tmp_path / "two-classes"
    for label, bright in (("cancer", 90), ("non_cancer", 0)):
        folder = root / label
        folder.mkdir(parents=True)
        for number in range(40):
            pixels = rng.integers(40, 160, size=(40, 40, 3))
            pixels[12:28, 12:28] += bright
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number:03d}.png")
    return root
