"""A real Prefect server for the tests of flows, in a home of its own, and one run to start from."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from tests.notify.mail_servers import PASSWORD, Mailbox, free_port, mail_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.flows.small_runs import Assessed, First

SENDER, RECIPIENT = "reports@hospital.example", "board@hospital.example"
WAITING = "radiology@hospital.example"
"""Whom the run `unmailed` is for."""


@pytest.fixture(scope="session", autouse=True)
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One test server for the session; the user's own profile is never touched."""
    patch = pytest.MonkeyPatch()
    patch.setenv("PREFECT_HOME", str(tmp_path_factory.mktemp("prefect")))
    # Small networks on a busy machine: threads that wait by spinning take the time of those that work.
    patch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    from prefect.testing.utilities import prefect_test_harness

    import flows  # noqa: F401 - sets Prefect's defaults before it is imported

    with prefect_test_harness(server_startup_timeout=120):
        yield
    patch.undo()


def make_two_classes(root: Path, *, seed: int = 5) -> Path:
    """Folder of 40 + 40 small images that a network can tell apart: bright or dark centres."""
    rng = np.random.default_rng(seed)
    for label, bright in (("cancer", 90), ("non_cancer", 0)):
        folder = root / label
        folder.mkdir(parents=True)
        for number in range(40):
            pixels = rng.integers(40, 160, size=(40, 40, 3))
            pixels[12:28, 12:28] += bright
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number:03d}.png")
    return root


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Images of two classes, to be changed at will."""
    return make_two_classes(tmp_path / "two-classes")


def set_mail_server(patch: pytest.MonkeyPatch, port: int, **settings: str) -> None:
    """Mail through a server on the loopback interface, as the environment asks for it."""
    values = {
        "host": "127.0.0.1",
        "port": str(port),
        "security": "none",
        "sender": SENDER,
        "recipients": RECIPIENT,
        "timeout_s": "5",
    }
    for name, value in (values | settings).items():
        patch.setenv(f"MEDCOMPARE_SMTP_{name.upper()}", value)


@pytest.fixture(scope="session")
def first(prefect_server: None, tmp_path_factory: pytest.TempPathFactory) -> First:  # noqa: ARG001 - must be up
    """The first run ever on a store, mailed, with a umask that hides nothing; copy it to go on from it."""
    from tests.flows.file_modes import umask, watched
    from tests.flows.small_runs import First, run, small_config

    root = tmp_path_factory.mktemp("first")
    pictures = make_two_classes(root / "two-classes")
    mailbox = Mailbox()
    with mail_server(mailbox) as port, pytest.MonkeyPatch.context() as patch:
        set_mail_server(patch, port)
        with umask(0o000), watched(root / "store", root / "runs") as seen:
            done = run(small_config(pictures, root))
            assert os.umask(0o000) == 0o000
    return First(**vars(done), images=pictures, root=root, mails=mailbox.mails, seen=seen)


@pytest.fixture(scope="session")
def exported(first: First, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The export of the small network of the first run."""
    from medcompare.handover.export import export_run

    folder, _ = export_run(
        first.root / "runs" / "latest", tmp_path_factory.mktemp("export") / "net", model="test_cnn"
    )
    return folder


@pytest.fixture(scope="session")
def odd(first: First, tmp_path_factory: pytest.TempPathFactory) -> Assessed:
    """An assessment for the group, whose reports somebody serves, and whose settings of mail are wrong."""
    from tests.flows.file_modes import umask
    from tests.flows.small_runs import Assessed, logged, run, small_assessment

    root = tmp_path_factory.mktemp("odd")
    (root / "runs").mkdir()
    (root / "runs").chmod(0o711)
    with pytest.MonkeyPatch.context() as patch, logged() as log, umask(0o000):
        patch.setenv("MEDCOMPARE_LINK_BASE", "https://reports.example/")
        set_mail_server(patch, free_port(), password=PASSWORD, sender="nobody")
        done = run(small_assessment(first, root, name="One night", file_access="group"))
    return Assessed(**vars(done), root=root, log=log.getvalue())


@pytest.fixture(scope="session")
def unmailed(prefect_server: None, tmp_path_factory: pytest.TempPathFactory) -> Assessed:  # noqa: ARG001 - must be up
    """An assessment of tables in other spellings, for somebody whom a dead server keeps waiting."""
    from medcompare.config.schema import AssessConfig
    from medcompare.notify.nightly import mail_about
    from tests.flows.small_runs import Assessed, logged, run

    root = tmp_path_factory.mktemp("unmailed")
    page = (Path(__file__).parents[2] / "docs/prediction-tables.md").read_text("utf-8")
    (german,) = re.findall(r"^```csv test.csv\n(case_id;.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)
    lines = [
        f"{line};{patient}"
        for line, patient in zip(german.splitlines(), ["Patient", "7", "8", "9"], strict=True)
    ]
    (root / "test.csv").write_text("\n".join(lines))
    other = "case_id,y_true,patient_id,resnet50,efficientnet_b0\nv1,0,7.0,.2,.3\nv2,1,10,.8,.7\n"
    (root / "validation.csv").write_text(other)
    config = AssessConfig.model_validate(
        {
            "predictions": root / "test.csv",
            "validation": root / "validation.csv",
            "out": root / "runs",
            "store": root / "store",
            "evaluate": {"n_resamples": 200},
            "name": "lonely",
            "mail_to": [WAITING],
        }
    )
    with pytest.MonkeyPatch.context() as patch, logged() as log:
        patch.setitem(mail_about.__kwdefaults__, "pauses_s", (0.1, 0.1))
        set_mail_server(patch, free_port())
        done = run(config)
    return Assessed(**vars(done), root=root, log=log.getvalue())
