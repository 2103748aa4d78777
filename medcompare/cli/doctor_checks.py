"""What a machine needs for comparisons, one small check each; none changes anything.

A check returns a `Found` and never raises for what it looks for; `medcompare.cli.doctor`
runs them side by side and catches what nobody foresaw.
"""

from __future__ import annotations

import importlib.util
import json
import platform
import shutil
import smtplib
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from packaging.requirements import Requirement
from packaging.version import Version

from medcompare.base.code_identity import PACKAGE_ROOT
from medcompare.base.errors import ConfigError, MedcompareError
from medcompare.base.file_access import who_may_read
from medcompare.base.formatting import format_bytes
from medcompare.base.hardware import may_have_gpu
from medcompare.models.weights import file_in, hub_folder, places_of
from medcompare.models.zoo import MODELS
from medcompare.notify.outbox import outbox_folder, refused, waiting
from medcompare.notify.send import fault_of, probe
from medcompare.notify.settings import mail_config_from_environment
from medcompare.runs.history import history_path, list_runs
from medcompare.runs.prefect_server import (
    API_URL,
    ServerError,
    bypass_proxy,
    bypasses_proxy,
    check_proxies,
    check_server,
    prefect_setting,
    proxies_in,
    without_login,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from medcompare.notify.settings import MailConfig

Status = Literal["ok", "warn", "fail"]

PREFECT_NEEDS = ("prefect", "fastapi", "sqlalchemy")
"""Prefect, and libraries of which it does not work with every version that it allows itself."""
LITTLE_SHARED_MEMORY_BYTES = 512_000_000
LITTLE_DISK_BYTES, NO_DISK_BYTES = 5_000_000_000, 500_000_000
HTTP_TIMEOUT_S = 4.0
SMTP_TIMEOUT_S = 8.0
TORCH_TIMEOUT_S = 120.0
BASE64_GROWTH = 1.38
"""A mail grows by a third and its line ends when a PDF travels in it."""


class Found(NamedTuple):
    """What one check found."""

    status: Status
    detail: str
    remedy: str | None = None


def _fail(detail: str, remedy: str) -> Found:
    return Found("fail", detail, remedy)


def _warn(detail: str, remedy: str) -> Found:
    return Found("warn", detail, remedy)


def _ok(detail: str, remedy: str | None = None) -> Found:
    return Found("ok", detail, remedy)


def check_rendering() -> Found:
    """A tiny PDF is really made: WeasyPrint finds its system libraries and embeds a font."""
    try:
        from weasyprint import HTML
    except ImportError:
        return _fail("not installed", "set up again: make setup")
    except OSError as error:
        return _fail(f"a system library is missing ({error})", _library_remedy())
    html = "<p style=\"font-family: 'DejaVu Sans', sans-serif\">0.912 (0.871 to 0.942)</p>"
    pdf = HTML(string=html).write_pdf(uncompressed_pdf=True)
    if not pdf or not pdf.startswith(b"%PDF"):
        return _fail("no PDF came out", "set up again: make distclean setup")
    if b"/FontFile" not in pdf:
        return _fail(
            "no font was embedded",
            "install a font, e.g. on Debian: apt-get install fonts-dejavu-core",
        )
    return _ok(f"version {version('weasyprint')} made a PDF of {format_bytes(len(pdf))}")


def _library_remedy() -> str:
    if sys.platform == "darwin":
        return "brew install pango; then export DYLD_FALLBACK_LIBRARY_PATH=$(brew --prefix)/lib"
    return "on Debian or Ubuntu: sudo apt-get install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0"


def check_fonts() -> Found:
    """The fonts of the report, which travel with matplotlib, are there; scripts they lack are named."""
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or spec.origin is None:
        return _fail("matplotlib is not installed", "set up again: make setup")
    folder = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"
    wanted = ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSansMono.ttf")
    missing = [font for font in wanted if not (folder / font).is_file()]
    if missing:
        remedy = "matplotlib was installed without its fonts: reinstall it with pip instead of the system's package"
        return _fail(f"missing: {', '.join(missing)}", remedy)
    from medcompare.report.fonts import scripts_without_font

    lacking = scripts_without_font()
    detail = "DejaVu Sans, as carried by matplotlib"
    if not lacking:
        return _ok(f"{detail}; other scripts in fonts of this machine")
    packages = " ".join(sorted(set(lacking.values())))
    # Nothing is wrong with a machine on which nobody uses such names.
    return _ok(
        f"{detail}; names in these scripts would be refused, as no font here has them: {', '.join(lacking)}",
        f"where you use such names, on Debian or Ubuntu: sudo apt-get install {packages}",
    )


def check_torch(*, deep: bool) -> Found:
    """Torch is installed and fits the hardware; `deep` imports it and asks."""
    try:
        found = {library: version(library) for library in ("torch", "torchvision")}
    except PackageNotFoundError as error:
        return _fail(f"{error.name} is not installed", "set up again: make setup")
    text = f"torch {found['torch']}, torchvision {found['torchvision']}"
    if deep:
        return _imported_torch(text)
    if may_have_gpu() and found["torch"].endswith("+cpu"):
        remedy = "reinstall torch for this GPU, or leave it: training then uses the processor"
        return _warn(f"{text}, built for the processor only, though there is an accelerator", remedy)
    seen = "an accelerator is there" if may_have_gpu() else "no accelerator: training uses the processor"
    return _ok(f"{text}; {seen} (--deep imports torch and asks it)")


def _imported_torch(text: str) -> Found:
    code = (
        "import json, torch, torchvision; torch.ones(2, 2) @ torch.ones(2, 2); c = torch.cuda; "
        "print(json.dumps({'cuda': c.is_available(), 'built_for': torch.version.cuda, "
        "'gpus': [c.get_device_name(i) for i in range(c.device_count())] if c.is_available() else []}))"
    )
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and text
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=TORCH_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return _fail(f"{text}: importing it took more than {TORCH_TIMEOUT_S:.0f} s", "look at the disk")
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"ended with status {done.returncode}"])[-1]
        return _fail(f"{text}: {last}", "set up again: make distclean setup")
    found = json.loads(done.stdout.strip().splitlines()[-1])
    if found["cuda"]:
        return _ok(f"{text}, CUDA {found['built_for']}: {', '.join(found['gpus'])}")
    if may_have_gpu() and sys.platform != "darwin":
        remedy = "check the driver with nvidia-smi, and that torch is built for it"
        return _warn(f"{text}: there is an accelerator that torch cannot use", remedy)
    return _ok(f"{text}: imported; training uses the processor")


def check_shared_memory(
    folder: Path = Path("/dev/shm"),  # noqa: S108 - what is looked at
    *,
    little_bytes: int = LITTLE_SHARED_MEMORY_BYTES,
) -> Found:
    """Room for data-loading processes to hand over batches."""
    if not folder.is_dir():
        return _ok(f"{folder} is not used on this system")
    total = shutil.disk_usage(folder).total
    if total < little_bytes:
        remedy = "start the container with --shm-size=1g, or set train.num_workers to 0"
        return _warn(f"{folder} holds only {format_bytes(total)}", remedy)
    return _ok(f"{folder} holds {format_bytes(total)}")


def check_disk(
    label: str, folder: Path, *, little_bytes: int = LITTLE_DISK_BYTES, none_bytes: int = NO_DISK_BYTES
) -> Found:
    """`folder`, or the nearest one above it that exists, can be written and has room."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        return _fail(f"{place} is a file, not a folder", f"name another folder with --{label}")
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        return _fail(
            f"{place} cannot be written ({error.strerror})",
            f"correct the permissions, or use --{label}",
        )
    free = shutil.disk_usage(place).free
    detail = f"{format_bytes(free)} free in {place}"
    if free < none_bytes:
        return _fail(detail, "free space: medcompare prune says what can go")
    if free < little_bytes:
        return _warn(detail, "free space soon: medcompare prune says what can go")
    return _ok(detail)


def check_access(out: Path, store: Path) -> Found:
    """Cache and runs are closed to other users, also those that earlier versions left open."""
    detail, remedy = who_may_read(store, out)
    return _warn(detail, remedy) if remedy else _ok(detail)


def check_prefect_version(installed: Callable[[str], str] = version) -> Found:
    """Prefect and the libraries it is known to stumble over are of versions that ``pyproject.toml`` allows."""
    try:
        needed = {one.name: one for one in map(Requirement, requires("medcompare") or ())}
        found = {one: installed(one) for one in PREFECT_NEEDS}
    except PackageNotFoundError as error:
        return _fail(f"{error.name} is not installed", "set up again: make setup")
    detail = ", ".join(f"{one} {text}" for one, text in found.items())
    wrong = [str(needed[one]) for one, text in found.items() if not needed[one].specifier.contains(text)]
    if wrong:
        listed = " ".join(f"'{one}'" for one in wrong)
        return _fail(f"{detail}: not what works together", f"pip install {listed}")
    return _ok(detail)


def check_prefect_server(environment: Mapping[str, str], folder: Path = Path()) -> Found:
    """The server that Prefect is told to use answers, and is of the version of this client."""
    setting = prefect_setting(API_URL, environment, folder)
    if setting is None:
        return _ok(f"{API_URL} is not set: each run starts a server of its own")
    try:
        server = check_server(environment, folder, timeout_s=HTTP_TIMEOUT_S)
    except ServerError as error:
        return _fail(error.detail, error.remedy)
    shown, client = without_login(setting.value), version("prefect")
    if server is not None and Version(server).release[:2] != Version(client).release[:2]:
        detail = f"{shown} runs {server}, this client is {client}"
        return _warn(detail, "use the same version on both sides")
    return _ok(f"{shown} runs {server or 'a version it does not tell'}")


def check_proxy(environment: Mapping[str, str]) -> Found:
    """No proxy is asked for addresses of this machine, where the Prefect server is."""
    set_here = ", ".join(sorted(proxies_in(environment)))
    if not set_here:
        return _ok("none is set")
    try:
        check_proxies(environment)
    except ServerError as error:
        return _fail(error.detail, error.remedy)
    if not bypasses_proxy(environment):
        detail = (
            f"{set_here} would be asked for 127.0.0.1 too. Runs and make serve see to it themselves; "
            "the command prefect, as in prefect deploy, does not"
        )
        bypass = dict(environment)
        bypass_proxy(bypass)
        remedy = f"export NO_PROXY={bypass['NO_PROXY']} no_proxy={bypass['no_proxy']}"
        return _warn(detail, remedy)
    return _ok(f"{set_here}; not asked for addresses of this machine")


def check_mail(
    environment: Mapping[str, str], elsewhere: Callable[[], MailConfig | None] | None = None
) -> Found:
    """The mail server lets us in; nothing is sent.

    Parameters
    ----------
    environment : mapping of str to str
        Where ``MEDCOMPARE_SMTP_*`` are looked for.
    elsewhere : callable, optional
        Settings that are kept outside the environment, and hold where it has none.
    """
    try:
        config = mail_config_from_environment(environment) or (elsewhere() if elsewhere is not None else None)
    except ConfigError as error:
        return _fail(str(error).replace("\n", "; "), "correct the setting")
    if config is None:
        also = "" if elsewhere is None else " and no mail block is filled in"
        return _ok(f"MEDCOMPARE_SMTP_HOST is not set{also}: no mail is sent")
    quick = config.model_copy(update={"timeout_s": min(config.timeout_s, SMTP_TIMEOUT_S)})
    try:
        limit = probe(quick)
    except (OSError, smtplib.SMTPException, ConfigError) as error:
        fault = fault_of(error, quick)
        remedy = "check host, port and firewall" if fault.kind in {"server", "transient"} else fault.remedy
        return _fail(fault.detail, remedy)
    login = f", logged in as {config.username}" if config.username else ""
    detail = f"{config.host}:{config.port}, {config.security}{login}"
    if limit is not None and limit < config.max_attachment_bytes * BASE64_GROWTH:
        largest = format_bytes(int(limit / BASE64_GROWTH))
        setting = f"MEDCOMPARE_SMTP_MAX_ATTACHMENT_BYTES={int(limit / BASE64_GROWTH)}"
        remedy = f"set {setting} or lower; larger reports are then linked"
        return _warn(
            f"{detail}: takes reports up to {largest} only, less than max_attachment_bytes",
            remedy,
        )
    return _ok(detail)


def check_outbox(store: Path) -> Found:
    """No mail waits, none was refused."""
    folder = outbox_folder(store)
    n_waiting, n_refused = len(waiting(folder)), len(refused(folder))
    if n_waiting or n_refused:
        remedy = f"those that wait are sent with the next run, whose log says what kept them; see {folder}"
        return _warn(f"{n_waiting} mails wait, {n_refused} were refused for good", remedy)
    return _ok("empty")


def check_history(store: Path) -> Found:
    """The history can be read."""
    try:
        runs = list_runs(history_path(store))
    except MedcompareError as error:
        # Its message ends with the remedy, which differs: a newer history must not be moved away.
        detail, _, remedy = str(error).rpartition(": ")
        return _fail(detail, remedy)
    if not runs:
        return _ok("no run recorded yet")
    return _ok(f"{len(runs)} runs, the last {runs[0].status} ({runs[0].name})")


def check_weights(models: tuple[str, ...], weights_dir: Path | None, *, version: str = "V1") -> Found:
    """Pretrained weights of the default models lie where they are looked for."""
    missing = []
    for model in models:
        spec = MODELS.get(model)
        file = spec.weights.get(version) if spec is not None else None
        if file is not None and not any(file_in(folder, file) for _, folder in places_of(file, weights_dir)):
            missing.append(file.filename)
    if missing:
        remedy = (
            f"they are downloaded when first needed; without internet, put them into {hub_folder()} or name "
            "their folder with --weights-dir"
        )
        return _warn(f"not on this machine: {', '.join(missing)}", remedy)
    return _ok(f"there for {', '.join(models)}")


def check_code(root: Path = PACKAGE_ROOT.parent) -> Found:
    """The commit can be told, so that reports can name it."""
    try:
        done = subprocess.run(  # noqa: S603 - fixed program and arguments
            ["git", "-C", str(root), "rev-parse", "--short", "HEAD"],  # noqa: S607 - git from the PATH
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return _warn(
            f"git does not answer ({type(error).__name__})",
            "install git: reports then name the commit",
        )
    if done.returncode != 0:
        remedy = "work from a clone, or as the user who owns it: reports then name the commit"
        return _warn("this is no git repository that can be read", remedy)
    return _ok(f"commit {done.stdout.strip()}, Python {platform.python_version()}")
