"""Everything that ``make serve`` starts, in a copy of this checkout, and a Chromium that looks at it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flows.serving import Place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.browser.pages import Pages

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "chrome")
SCREENSHOTS = "MEDCOMPARE_SCREENSHOTS"


def free_ports() -> tuple[int, int]:
    """Two free ports, one after the other."""
    for _ in range(100):
        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            port = int(one.getsockname()[1])
            try:
                two.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port, port + 1
    pytest.fail("no two free ports side by side")


@pytest.fixture(scope="session")
def copy_of_checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tracked files as they are in the working tree, without runs, caches or settings of this place."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: the files that belong to the project are not known")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    folder = tmp_path_factory.mktemp("copy") / "medcompare"
    for name in listed.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def command(folder: Path, *arguments: str, timeout_s: float = 300, **variables: str) -> str:
    """Output of a Python module run in the copy, with the copy's code."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env={**kept, "PYTHONPATH": str(folder), **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(arguments)}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def served(copy_of_checkout: Path, chromium: tuple[str, str]) -> Iterator[Place]:  # noqa: ARG001 - looked for first
    """Server, worker and reports running, everything deployed; stopped at the end, whatever happened."""
    port, reports_port = free_ports()
    place = Place(port, reports_port)
    ports = ("--port", str(port), "--reports-port", str(reports_port))
    try:
        command(copy_of_checkout, "medcompare", "serve", "start", *ports)
        command(copy_of_checkout, "prefect", "deploy", "--all", PREFECT_API_URL=place.api)
        yield place
    finally:
        command(copy_of_checkout, "medcompare", "serve", "stop")


@pytest.fixture(scope="session")
def chromium() -> tuple[str, str]:
    """Chromium and the program that drives it."""
    pytest.importorskip("selenium")
    browser = next(filter(None, map(shutil.which, CHROMIUM)), None)
    driver = shutil.which("chromedriver")
    if browser is None or driver is None:
        missing = "chromedriver" if browser else "Chromium"
        pytest.skip(f"{missing} is not on the PATH")
    return browser, driver


@pytest.fixture(scope="session")
def pages(served: Place, chromium: tuple[str, str]) -> Iterator[Pages]:
    """The pages of Prefect in a Chromium that reaches no other machine."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    from tests.browser.pages import Pages

    options = webdriver.ChromeOptions()
    options.binary_location = chromium[0]
    for switch in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--window-size=1400,1000",
        "--no-proxy-server",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    ):
        options.add_argument(switch)
    driver = webdriver.Chrome(options=options, service=Service(chromium[1]))
    folder = os.environ.get(SCREENSHOTS)
    try:
        yield Pages(driver, served, screenshots=Path(folder) if folder else None)
    finally:
        driver.quit()
