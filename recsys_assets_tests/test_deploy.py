"""`deploy/`: what runs the project on one host is valid, and its parts agree with each other."""

from __future__ import annotations

import copy
import inspect
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from compose_spec import PyCompose
from dagster._core.execution import asset_backfill
from dagster._daemon.auto_run_reexecution import auto_run_reexecution, event_log_consumer

from recsys_assets.config import load_config
from recsys_assets_tests import compose
from recsys_assets_tests.needed import skip_unless_required

ROOT: Final = Path(__file__).parents[1]
DEPLOY: Final = ROOT / "deploy"
SYSTEMD: Final = DEPLOY / "systemd"
UNITS: Final = sorted(path.name for path in SYSTEMD.iterdir() if path.is_file())
# What each process is started with, wherever it runs.
ROLES: Final = ("code", "webserver", "daemon")
# Above it, a unit may do more than it has to; 0 is a unit that may do nothing.
MOST_EXPOSED: Final = 2.0


def text(name: str) -> str:
    """Return a file of the project."""
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def stack() -> dict[str, Any]:
    """Give compose.yaml, with a password."""
    return compose.read({"POSTGRES_PASSWORD": "of-the-test"})


def directive(name: str) -> str:
    """Return the one directive of the Dockerfile of that name, the last stage's."""
    lines = text("deploy/Dockerfile").replace("\\\n", " ").splitlines()
    return [line.partition(" ")[2] for line in lines if line.startswith(f"{name} ")][-1]


def pins(name: str) -> dict[str, str]:
    """Return each pinned package of a file, in one spelling, and its version."""
    found = re.findall(r"^([\w.-]+)==([^\s;]+)(.*)$", text(name), re.MULTILINE)
    return {
        re.sub(r"[-_.]+", "-", package).lower(): version
        for package, version, rest in found
        if "win32'" not in rest or "!= 'win32'" in rest
    }


def test_the_image_has_the_versions_that_are_tested_and_each_is_known_by_its_hashes() -> None:
    tested, image = pins("constraints.txt"), pins("deploy/requirements.txt")

    # The one that Python 3.11.3 and later does without.
    assert {name: tested.get(name) for name in image if name != "async-timeout"} == {
        name: version for name, version in image.items() if name != "async-timeout"
    }
    for name in ("deploy/requirements.txt", "deploy/requirements-build.txt"):
        pinned = re.split(r"^(?=\w)", text(name), flags=re.MULTILINE)[1:]
        assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", one) for one in pinned), name


def test_the_image_has_what_the_project_asks_for_and_no_tools_of_its_development() -> None:
    project = tomllib.loads(text("pyproject.toml"))["project"]
    (extras,) = re.findall(r"^IMAGE_EXTRAS \?= (.*)$", text("Makefile"), re.MULTILINE)
    asked = project["dependencies"] + [
        each for extra in extras.split() for each in project["optional-dependencies"][extra]
    ]
    image = pins("deploy/requirements.txt")

    names = {re.split(r"[<>=\[]", each)[0].lower().replace("_", "-") for each in asked}
    assert names <= set(image)
    assert not {"pytest", "mypy", "ruff", "pip", "setuptools"} & set(image)


def test_what_the_dockerfile_copies_is_there_and_reaches_the_builder() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", text("deploy/Dockerfile"), re.MULTILINE)
    sources = {source for words in copied for source in words.split()}
    sent = {line[1:] for line in text(".dockerignore").splitlines() if line.startswith("!")}

    assert sources == sent
    assert all((ROOT / source).exists() for source in sources)


def test_the_image_runs_as_somebody_without_rights() -> None:
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", directive("USER"))


def test_what_the_image_does_by_default_is_the_code_server_of_compose(
    stack: dict[str, Any],
) -> None:
    code = stack["services"]["code"]

    assert yaml.safe_load(directive("CMD")) == code["command"]
    check = directive("HEALTHCHECK").partition("CMD ")[2]
    assert ["CMD", *yaml.safe_load(check)] == code["healthcheck"]["test"]


def test_the_location_has_the_name_that_runs_of_a_shell_give_it() -> None:
    (ours,) = yaml.safe_load(text("workspace.yaml"))["load_from"]
    (deployed,) = yaml.safe_load(text("deploy/workspace.yaml"))["load_from"]

    name = ours["python_module"]["location_name"]
    assert deployed["grpc_server"]["location_name"] == name
    assert f"--location-name {name}" in " ".join(yaml.safe_load(directive("CMD")))


def test_compose_accepts_its_file(stack: dict[str, Any]) -> None:
    PyCompose.from_yaml(yaml.safe_dump(stack)).validate()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("healthchek", {}),
        ("stop_grace_period", "long"),
        ("restart", "sometimes"),
        ("depends_on", {"postgres": {"condition": "service_ready"}}),
    ],
)
def test_a_mistake_in_the_file_would_be_seen(stack: dict[str, Any], key: str, value: Any) -> None:
    broken = copy.deepcopy(stack)
    broken["services"]["code"][key] = value

    with pytest.raises(ValueError, match=key):
        PyCompose.from_yaml(yaml.safe_dump(broken))


def test_whatever_a_service_names_is_in_the_file_or_beside_it(stack: dict[str, Any]) -> None:
    for name, service in stack["services"].items():
        assert set(service.get("depends_on", {})) <= set(stack["services"]), name
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            there = (DEPLOY / source).exists() if "/" in source else source in stack["volumes"]
            assert there, f"{name}: {volume}"


def test_nothing_is_opened_beyond_this_host(stack: dict[str, Any]) -> None:
    ports = [port for each in stack["services"].values() for port in each.get("ports", [])]

    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert "ports" not in stack["services"]["code"]  # whoever reaches it runs what they like
    assert "ports" not in stack["services"]["postgres"]


def test_no_password_stands_in_the_file_and_none_is_there_by_default() -> None:
    with pytest.raises(KeyError, match=r"POSTGRES_PASSWORD: copy deploy/example\.env"):
        compose.read({})
    one, other = (str(compose.read({"POSTGRES_PASSWORD": word})) for word in ("tea", "cup"))
    assert one.count("tea") == other.count("cup") > 1
    assert "\n/deploy/.env\n" in text(".gitignore")
    named = set(re.findall(r"^#?([A-Z_]+)=", text("deploy/example.env"), re.MULTILINE))
    assert set(re.findall(r"\$\{(\w+)", text("deploy/compose.yaml"))) - named == {
        "RECSYS_IMAGE",
        "GRAFANA_PASSWORD",
    }


def test_secrets_reach_what_reads_events_and_nothing_else(stack: dict[str, Any]) -> None:
    given = {name for name, service in stack["services"].items() if service.get("env_file")}

    assert given == {"code", "cli", "metrics"}


def test_every_process_of_dagster_has_the_same_instance(stack: dict[str, Any]) -> None:
    services = [stack["services"][name] for name in (*ROLES, "instance", "cli")]

    addresses = {service["environment"]["DAGSTER_POSTGRES_URL"] for service in services}
    (address,) = addresses
    assert address.startswith("postgresql+psycopg2://")
    assert all("logs:/var/lib/dagster/storage" in service["volumes"] for service in services)


def test_runs_are_given_the_time_to_end(stack: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "surfaces.yaml").write_text(text("deploy/config/surfaces.yaml"))
    (surface,) = load_config(tmp_path / "surfaces.yaml").surfaces
    unit = text("deploy/systemd/recsys-assets-code.service")

    for given in (
        re.fullmatch(r"(\d+)m", stack["services"]["code"]["stop_grace_period"]),
        re.search(r"^TimeoutStopSec=(\d+)min$", unit, re.MULTILINE),
    ):
        assert given
        assert int(given[1]) > surface.max_run_minutes
    assert "\nKillMode=mixed\n" in unit
    assert "\nOOMPolicy=continue\n" in unit


def test_the_units_start_what_compose_starts(stack: dict[str, Any]) -> None:
    for role in ROLES:
        unit = text(f"deploy/systemd/recsys-assets-{role}.service")
        (started,) = re.findall(r"^ExecStart=/opt/recsys-assets/bin/(.*)$", unit, re.MULTILINE)
        expected = " ".join(stack["services"][role]["command"])

        on_host = expected.replace("0.0.0.0", "127.0.0.1").replace(  # noqa: S104
            "/opt/recsys-assets/workspace", "/etc/recsys-assets/workspace"
        )
        assert started == on_host


def env_of_daemon(of: str, stack: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the environment of the daemon as one of the deployments gives it."""
    if of == "compose":
        return dict(stack["services"]["daemon"]["environment"])
    if of == "systemd":
        unit = text("deploy/systemd/recsys-assets-daemon.service")
        return dict(re.findall(r"^Environment=(\w+)=(.*)$", unit, re.MULTILINE))
    if of == "chart of Dagster":
        values = yaml.safe_load(text("deploy/kubernetes/dagster-chart-values.yaml"))
        return dict(values["dagsterDaemon"]["env"])
    chart = text("deploy/kubernetes/recsys-assets/templates/dagster.yaml")
    daemon = chart.partition("- name: daemon\n")[2]
    return dict(re.findall(r'- \{name: (\w+), value: "(.*)"\}', daemon))


@pytest.mark.parametrize("of", ["compose", "systemd", "chart", "chart of Dagster"])
def test_a_backfill_waits_for_a_code_server_that_is_away_wherever_the_daemon_runs(
    of: str, stack: dict[str, Any]
) -> None:
    """Dagster asks for it when a code location is not there; `test_machines.py` shows why."""
    variable = "DAGSTER_BACKFILL_RETRY_DEFINITION_CHANGED_ERROR"

    assert f'"{variable}"' in inspect.getsource(asset_backfill)
    assert env_of_daemon(of, stack)[variable] == "1"
    assert variable in text("docs/operate-instance.md")


@pytest.mark.parametrize("of", ["chart", "chart of Dagster"])
def test_on_kubernetes_a_run_is_started_again_when_its_code_server_may_be_back(
    of: str, stack: dict[str, Any]
) -> None:
    """Elsewhere the code server itself says that a run died, so it is there."""
    variable = "DAGSTER_EVENT_LOG_CONSUMER_DAEMON_INTERVAL_SECONDS"

    assert f'"{variable}"' in inspect.getsource(event_log_consumer)
    assert env_of_daemon(of, stack)[variable] == "60"
    assert '"Failed to retry run"' in inspect.getsource(auto_run_reexecution)
    assert variable in text("docs/operate-instance.md")


def test_the_daemon_stops_before_the_code_server() -> None:
    """Units stop in the other order than they start, when they are stopped together."""
    for role in ("webserver", "daemon"):
        unit = text(f"deploy/systemd/recsys-assets-{role}.service")
        assert "\nAfter=recsys-assets-code.service\n" in unit
    for role in ROLES:
        unit = text(f"deploy/systemd/recsys-assets-{role}.service")
        assert "\nPartOf=recsys-assets.target\n" in unit


@pytest.fixture(scope="module")
def units(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the units, with the programs of this environment."""
    if shutil.which("systemd-analyze") is None:
        skip_unless_required("systemd", "systemd-analyze is not on the PATH (Debian: systemd)")
    folder = tmp_path_factory.mktemp("units")
    shutil.copytree(SYSTEMD, folder, dirs_exist_ok=True)
    for path in folder.glob("*.service"):
        programs = path.read_text().replace(
            "/opt/recsys-assets/bin", str(Path(sys.executable).parent)
        )
        path.write_text(programs)
    return folder


def analyze(units: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *words], cwd=units, capture_output=True, text=True, check=False
    )


def test_systemd_accepts_the_units(units: Path) -> None:
    done = analyze(units, "verify", "--man=no", *(f"./{name}" for name in UNITS))

    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_systemd_would_see_a_mistake_in_a_unit(units: Path) -> None:
    broken = units / "recsys-assets-broken.service"
    broken.write_text("[Service]\nExecStart=/no/such/program\nKilMode=mixed\n")

    done = analyze(units, "verify", "--man=no", "./recsys-assets-broken.service")

    assert "KilMode" in done.stderr
    assert "/no/such/program" in done.stderr


@pytest.mark.parametrize("unit", [name for name in UNITS if name.endswith(".service")])
def test_a_unit_may_do_no_more_than_it_has_to(units: Path, unit: str) -> None:
    done = analyze(units, "security", "--offline=true", "--no-pager", f"./{unit}")
    (level,) = re.findall(r"Overall exposure level for .*: ([\d.]+)", done.stdout)

    assert float(level) <= MOST_EXPOSED


def figures(printed: str) -> Mapping[str, float]:
    """Return what the trial of the image prints, by its words."""
    return {
        name: float(figure)
        for name, figure in re.findall(r"^(.*): ([\d.]+)(?: s| MB)?$", printed, re.MULTILINE)
    }


@pytest.mark.image
def test_the_image_is_small_and_publishes_a_day_through_three_containers() -> None:
    done = subprocess.run(
        [sys.executable, DEPLOY / "try_image.py"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert figures(done.stdout)["size of the image"] < 600
    assert "stopping the code server waited for its run" in figures(done.stdout)
