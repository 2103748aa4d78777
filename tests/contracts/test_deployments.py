"""What starts and serves the pipeline names only what exists, with values that are accepted.

Deployments, work pools, image, containers, units: files that nobody runs until a machine is set
up, and then unattended.
"""

from __future__ import annotations

import configparser
import importlib.util
import json
import re
import shlex
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer.main
import yaml

from flows import SERVER_WRITES
from flows.serving import Place, environment
from medcompare.cli.app import app
from medcompare.config.predict import PredictConfig
from medcompare.config.registry import NightConfig
from medcompare.config.schema import AssessConfig, CompareConfig

ROOT = Path(__file__).resolve().parents[2]
DEPLOYMENT_FILES = ("prefect.yaml", "deploy/docker/prefect.yaml", "deploy/kubernetes/prefect.yaml")
UNITS = sorted((ROOT / "deploy/systemd").glob("*.service"))
CONFIGS = {
    "flows/compare.py:compare": CompareConfig,
    "flows/assess.py:assess": AssessConfig,
    "flows/predict.py:predict": PredictConfig,
    "flows/registry.py:night": NightConfig,
}


def content(name: str) -> Any:
    """A YAML file of the project."""
    return yaml.safe_load((ROOT / name).read_text("utf-8"))


def pinned(package: str) -> str:
    """Its exact version in constraints.txt."""
    return re.search(rf"^{package}==(\S+)$", (ROOT / "constraints.txt").read_text("utf-8"), re.MULTILINE)[1]  # type: ignore[index]


@pytest.mark.parametrize("name", DEPLOYMENT_FILES)
def test_deployments_are_what_the_manual_says(name: str) -> None:
    """Five of them; flows that exist; parameters the forms accept; one night at a time."""
    file = content(name)
    deployments = {one["name"]: one for one in file["deployments"]}

    assert file["prefect-version"] == pinned("prefect")
    assert list(deployments) == ["nightly", "manual", "assess", "predict", "registry"]
    for one in deployments.values():
        path, _, flow = one["entrypoint"].partition(":")
        assert f"\ndef {flow}(" in (ROOT / path).read_text("utf-8")
        assert one["description"].endswith(".")
        # Left out, `prefect deploy` would ask for one in a terminal.
        assert isinstance(one["schedules"], list)
        if "parameters" in one:
            assert CONFIGS[one["entrypoint"]].model_validate(one["parameters"]["config"])
    nightly = deployments["nightly"]
    assert [one["slug"] for one in nightly["schedules"]] == ["every-night"]
    assert nightly["concurrency_limit"]["limit"] == 1
    assert nightly["concurrency_limit"]["collision_strategy"] in {"ENQUEUE", "CANCEL_NEW"}
    assert [one["schedules"] for one in deployments.values()][1:] == [[], [], [], []]


@pytest.mark.parametrize("name", DEPLOYMENT_FILES)
def test_schedules_are_understood(name: str) -> None:
    """Prefect itself reads the cron expression and the time zone."""
    from prefect.client.schemas.schedules import CronSchedule

    for deployment in content(name)["deployments"]:
        for schedule in deployment["schedules"]:
            read = CronSchedule(cron=schedule["cron"], timezone=schedule["timezone"])
            assert read.timezone == "Europe/Berlin"


@pytest.mark.parametrize("kind", ["docker", "kubernetes"])
def test_variables_fit_the_template_of_their_pool(kind: str) -> None:
    """Names, types and bounds; and every variable of the template is used in it, and the other way round."""
    template = json.loads((ROOT / f"deploy/{kind}/base-job-template.json").read_text("utf-8"))
    given = content(f"deploy/{kind}/prefect.yaml")["definitions"]["work_pools"][kind]["job_variables"]
    known = template["variables"]["properties"]
    used = re.findall(r"{{ (\w+) }}", json.dumps(template["job_configuration"]))

    assert given.keys() - known.keys() == set()
    jsonschema.validate(given, template["variables"])
    assert set(used) == set(known)


def test_variants_need_no_build_and_no_answer() -> None:
    """A null build at the deployment itself is what keeps Prefect from asking about images."""
    for name in DEPLOYMENT_FILES[1:]:
        assert all("build" in one and one["build"] is None for one in content(name)["deployments"])
        assert content(name)["pull"], "a null pull is asked for"


def commands_of(unit: Path) -> dict[str, list[str]]:
    """Key -> command lines of a unit (``Exec*`` may stand several times)."""
    found: dict[str, list[str]] = {}
    for line in unit.read_text("utf-8").splitlines():
        key, _, value = line.partition("=")
        if key.startswith("Exec"):
            found.setdefault(key, []).append(value)
    return found


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.stem)
def test_units_start_what_exists(unit: Path) -> None:
    """Every command is one of ours, with arguments that it takes, or one of Prefect's."""
    for line in (line for lines in commands_of(unit).values() for line in lines):
        python, dash, module, *arguments = shlex.split(line)
        assert (python, dash) == ("/opt/medcompare/.venv/bin/python", "-m")
        assert module in {"medcompare", "prefect"}
        if module == "medcompare":
            name, *options = arguments
            command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined] # it is a group
            command.make_context(name, options)


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.stem)
def test_units_run_without_rights_and_come_back(unit: Path) -> None:
    """Not as root, on a read-only system, restarted for ever, under the same settings."""
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(unit, encoding="utf-8")
    service = dict(parser["Service"])

    assert service["User"] == "medcompare"
    assert service["WorkingDirectory"] == "/opt/medcompare"
    assert (service["NoNewPrivileges"], service["ProtectSystem"]) == ("yes", "strict")
    assert "EnvironmentFile=/etc/medcompare/medcompare.env" in unit.read_text("utf-8")
    if service["Type"] != "oneshot":
        assert service["Restart"] == "always"
        assert parser["Install"]["WantedBy"] == "multi-user.target"


def test_secrets_reach_the_worker_alone() -> None:
    """From a file of its own, which may be missing; the example holds no password."""
    with_secrets = [unit.stem for unit in UNITS if "/etc/medcompare/secrets.env" in unit.read_text("utf-8")]
    example = (ROOT / "deploy/systemd/secrets.env.example").read_text("utf-8")

    assert with_secrets == ["medcompare-worker"]
    assert re.findall(r"^\w*PASSWORD=(.*)$", example, re.MULTILINE) == [""]


def test_before_work_begins_what_crashed_is_marked_and_missed_nights_are_skipped() -> None:
    """Wherever a worker is started."""
    worker = commands_of(ROOT / "deploy/systemd/medcompare-worker.service")

    assert [line.rpartition(" ")[2] for line in worker["ExecStartPre"]] == ["recover"]
    assert "python -m medcompare recover && exec prefect worker" in (ROOT / "Dockerfile").read_text("utf-8")
    kubernetes = (ROOT / "deploy/kubernetes/medcompare.yaml").read_text("utf-8")
    assert "command: [python, -m, medcompare, recover]" in kubernetes


def test_make_serve_has_the_settings_of_the_units() -> None:
    """Of Prefect, whatever else is set there; servers that a command line starts write as rarely."""
    lines = (ROOT / "deploy/systemd/medcompare.env").read_text("utf-8").splitlines()
    unit = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    trial = environment(Place(4200, 4201), caller={})

    shared = {name for name in unit if name.startswith("PREFECT_")} - {"PREFECT_HOME"}
    assert {name: trial[name] for name in shared} == {name: unit[name] for name in shared}
    assert trial["MEDCOMPARE_LINK_BASE"] == unit["MEDCOMPARE_LINK_BASE"]
    assert {name: unit[name] for name in SERVER_WRITES} == SERVER_WRITES


def test_the_image_holds_what_it_needs_and_nothing_else() -> None:
    """What is copied exists and is let through; nobody works as root; versions are the exact ones."""
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    let_through = {
        line[1:].removesuffix("/**")
        for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines()
        if line.startswith("!")
    }
    copied = {
        name for line in re.findall(r"^COPY (.+) \S+$", dockerfile, re.MULTILINE) for name in line.split()
    }

    assert copied == let_through
    assert [name for name in copied if not (ROOT / name).exists()] == []
    assert (ROOT / ".dockerignore").read_text("utf-8").splitlines()[1] == "*"
    assert re.findall(r"^USER (\w+)$", dockerfile, re.MULTILINE) == ["medcompare"]
    assert "--constraints constraints.txt" in dockerfile
    setup = (ROOT / ".make/setup.sh").read_text("utf-8")
    listed = re.search(r'apt_packages="(libpango[^"]+)"', setup)
    assert listed is not None
    assert set(re.findall(r"^ +(lib\S+) \\$", dockerfile, re.MULTILINE)) == set(listed[1].split())


def test_containers_publish_nothing_beyond_this_machine() -> None:
    """Ports are bound to loopback; services use the one image; data is read-only."""
    services = content("deploy/docker/compose.yaml")["services"]

    assert list(services) == ["server", "worker", "reports"]
    ports = [port for one in services.values() for port in one.get("ports", [])]
    assert ports == ["127.0.0.1:4200:4200"]
    assert {one["image"] for one in services.values()} == {"medcompare"}
    assert any(volume.endswith(":/data:ro") for volume in services["worker"]["volumes"])
    for service in ("worker", "reports"):
        for name in re.findall(r"flows\.\w+", " ".join(services[service].get("command", []))):
            assert importlib.util.find_spec(name) is not None


def test_kubernetes_objects_fit_together() -> None:
    """Claim, account, pool and versions are named alike in the three files."""
    objects = list(yaml.safe_load_all((ROOT / "deploy/kubernetes/medcompare.yaml").read_text("utf-8")))
    by_kind = {one["kind"]: one for one in objects}
    variant = content("deploy/kubernetes/prefect.yaml")["definitions"]["work_pools"]["kubernetes"]
    pod = by_kind["Deployment"]["spec"]["template"]["spec"]
    worker = next(one for one in pod["containers"] if one["name"] == "worker")

    assert variant["job_variables"]["claim"] == by_kind["PersistentVolumeClaim"]["metadata"]["name"]
    assert variant["job_variables"]["namespace"] == by_kind["Namespace"]["metadata"]["name"]
    assert pod["serviceAccountName"] == by_kind["ServiceAccount"]["metadata"]["name"]
    assert variant["name"] in worker["command"]
    assert worker["image"].startswith(f"prefecthq/prefect:{pinned('prefect')}-")
    ours = {one["image"] for one in [*pod["initContainers"], *pod["containers"]]} - {worker["image"]}
    assert ours == {variant["job_variables"]["image"]}
    mounted = {
        one["name"]
        for part in [*pod["initContainers"], *pod["containers"]]
        for one in part.get("volumeMounts", [])
    }
    assert mounted == {one["name"] for one in pod["volumes"]}
