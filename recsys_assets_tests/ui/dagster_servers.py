"""A real `dagster-webserver` and a real `dagster-daemon` on the files of a project."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

from recsys_assets_tests.ports import free_port

ROOT: Final = Path(__file__).parents[2]
# How GraphQL names the one code location; a sensor or a job is named beside it.
LOCATION: Final = {
    "repositoryName": "__repository__",
    "repositoryLocationName": "recsys_assets",
}
_NO_PROXY: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))

# The daemon looks at backfills and automation every 30 s, which no setting changes. A backfill
# takes a look per layer of the graph: the test waits for what is done, not for the next look.
_HURRIED_DAEMON: Final = """
import sys
import dagster._daemon.controller as controller
controller.DEFAULT_DAEMON_INTERVAL_SECONDS = 1
from dagster._daemon.cli import main
sys.argv[0] = "dagster-daemon"
main()
"""

T = TypeVar("T")


@dataclass(frozen=True)
class Dagster:
    """A running instance: where its UI is, what it knows by GraphQL, and a shell beside it."""

    url: str
    environment: Mapping[str, str]

    def run(self, *command: str) -> None:
        """Run `recsys-assets` as in a shell on the same instance.

        Raises:
            CalledProcessError: its exit code is not 0.
        """
        program = [sys.executable, "-m", "recsys_assets.cli", *command]
        subprocess.run(program, env=dict(self.environment), check=True, timeout=300)

    def ask(self, query: str, **variables: Any) -> Any:
        """Return what the one field that a query asks for holds.

        Raises:
            OSError: the webserver does not answer, or not yet.
            RuntimeError: it refuses the query.
        """
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(  # noqa: S310
            f"{self.url}/graphql", body, {"Content-Type": "application/json"}
        )
        with _NO_PROXY.open(request, timeout=60) as answer:
            answered = json.load(answer)
        if answered.get("errors"):
            raise RuntimeError(f"GraphQL refused {query!r}: {answered['errors']}")
        (found,) = answered["data"].values()
        return found

    def launch_backfill(self, surface: str, assets: Sequence[str], days: Sequence[date]) -> None:
        """Launch a backfill of assets of a surface, as the dialog does.

        Raises:
            RuntimeError: it was not launched.
        """
        found = self.ask(
            """mutation ($params: LaunchBackfillParams!) {
              launchPartitionBackfill(backfillParams: $params) {
                __typename ... on PythonError { message }
              }
            }""",
            params={
                "assetSelection": [{"path": [*surface.split("/"), name]} for name in assets],
                "partitionNames": [str(day) for day in days],
                "fromFailure": False,
            },
        )
        if found["__typename"] != "LaunchBackfillSuccess":
            raise RuntimeError(f"the backfill was refused: {found}")

    def backfills(self) -> list[str]:
        """Return the status of each backfill."""
        found = self.ask(
            """{ partitionBackfillsOrError(limit: 1000) {
              ... on PartitionBackfills { results { status } }
            } }"""
        )
        return [each["status"] for each in found["results"]]

    def backfill(self) -> str | None:
        """Return the status of the last backfill."""
        found = self.ask(
            """{ partitionBackfillsOrError(limit: 1) {
              ... on PartitionBackfills { results { status } }
            } }"""
        )
        return found["results"][0]["status"] if found["results"] else None

    def runs(self) -> int:
        """Return how many runs there were."""
        count: int = self.ask("{ runsOrError { ... on Runs { count } } }")["count"]
        return count

    def start_sensor(self, sensor: str) -> None:
        """Start a sensor, as its switch does.

        Raises:
            RuntimeError: it was not started.
        """
        found = self.ask(
            """mutation ($sensor: SensorSelector!) { startSensor(sensorSelector: $sensor) {
              __typename ... on Error { message }
            } }""",
            sensor={**LOCATION, "sensorName": sensor},
        )
        if found["__typename"] != "Sensor":
            raise RuntimeError(f"{sensor} was not started: {found}")

    def ticks(self, sensor: str) -> int:
        """Return how often a sensor has looked, without an error."""
        found = self.ask(
            """query ($sensor: SensorSelector!) { sensorOrError(sensorSelector: $sensor) {
              ... on Sensor { sensorState { ticks { status } } }
            } }""",
            sensor={**LOCATION, "sensorName": sensor},
        )
        done = [tick["status"] for tick in found["sensorState"]["ticks"]]
        return sum(status in {"SUCCESS", "SKIPPED"} for status in done)

    def is_running(self, schedule: str) -> bool:
        """Tell whether a schedule has been started."""
        found = self.ask(
            """query ($schedule: ScheduleSelector!) { scheduleOrError(scheduleSelector: $schedule) {
              ... on Schedule { scheduleState { status } }
            } }""",
            schedule={**LOCATION, "scheduleName": schedule},
        )
        return bool(found["scheduleState"]["status"] == "RUNNING")

    def days(self, asset: str) -> dict[str, list[date]]:
        """Return the days of an asset by status: MATERIALIZED, FAILED, MATERIALIZING."""
        found = self.ask(
            """query ($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) {
              ... on AssetNode { assetPartitionStatuses {
                ... on TimePartitionStatuses { ranges { status startKey endKey } }
              } }
            } }""",
            key={"path": asset.split("/")},
        )
        days: dict[str, list[date]] = {}
        for each in found["assetPartitionStatuses"]["ranges"]:
            first, last = map(date.fromisoformat, (each["startKey"], each["endKey"]))
            days.setdefault(each["status"], []).extend(
                first + timedelta(days=number) for number in range((last - first).days + 1)
            )
        return days

    def check(self, asset: str, name: str) -> str | None:
        """Return what the last execution of an asset check came to: SUCCEEDED, FAILED."""
        found = self.ask(
            """query ($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) {
              ... on AssetNode { assetChecksOrError { ... on AssetChecks {
                checks { name executionForLatestMaterialization { status } }
              } } }
            } }""",
            key={"path": asset.split("/")},
        )
        last: dict[str, str] | None = {
            check["name"]: check["executionForLatestMaterialization"]
            for check in found["assetChecksOrError"]["checks"]
        }[name]
        return last["status"] if last else None

    def flips(self, surface: str) -> list[str]:
        """Return what the page of `live` says of each flip, the newest first."""
        found = self.ask(
            """query ($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) {
              ... on AssetNode { assetMaterializations(limit: 50) { description } }
            } }""",
            key={"path": [*surface.split("/"), "live"]},
        )
        return [str(each["description"]) for each in found["assetMaterializations"]]


def wait_for(what: str, look: Callable[[], T], *, within_s: float = 600) -> T:
    """Look until there is something to see, and return it.

    Raises:
        TimeoutError: there was not, in time.
    """
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if seen := look():
            return seen
        time.sleep(0.2)
    raise TimeoutError(f"{what}: not within {within_s:g} s")


@contextlib.contextmanager
def running_dagster(
    home: Path,
    config_file: Path,
    *,
    workspace: Path = ROOT / "workspace.yaml",
    hurried: bool = True,
    lives_at_most_s: int = 1500,
) -> Iterator[Dagster]:
    """Run webserver and daemon as a deployment does, and stop them with all their runs.

    Args:
        home: becomes DAGSTER_HOME, with the repository's dagster.yaml if it has none; holds the
            servers' logs.
        config_file: becomes RECSYS_CONFIG.
        workspace: names the code locations.
        hurried: look at backfills and automation every second; a deployment does every 30 s.
        lives_at_most_s: `timeout` ends a server that its test could not end.
    """
    dagster, port = _prepared(home, config_file)
    webserver = ["-m", "dagster_webserver", "--host=127.0.0.1", f"--port={port}"]
    # One after the other: both make the databases of a new instance, and the later one fails.
    with _running(
        "webserver",
        [*webserver, f"--workspace={workspace}"],
        home=home,
        environment=dagster.environment,
        lives_at_most_s=lives_at_most_s,
    ) as one:
        wait_for("webserver", lambda: _is_up(one) and _has_loaded(dagster))
        with running_daemon(
            dagster, home, workspace=workspace, hurried=hurried, lives_at_most_s=lives_at_most_s
        ):
            yield dagster


@contextlib.contextmanager
def running_daemon(
    dagster: Dagster,
    home: Path,
    *,
    workspace: Path = ROOT / "workspace.yaml",
    hurried: bool,
    lives_at_most_s: int,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a daemon beside the webserver of a home, and stop it with the runs that it started."""
    program = ["-c", _HURRIED_DAEMON] if hurried else ["-m", "dagster._daemon"]
    with _running(
        "daemon",
        [*program, "run", f"--workspace={workspace}"],
        home=home,
        environment=dagster.environment,
        lives_at_most_s=lives_at_most_s,
    ) as daemon:
        wait_for("daemon", lambda: _is_up(daemon) and _is_healthy(dagster))
        yield daemon


@contextlib.contextmanager
def running_dev(
    home: Path, config_file: Path, *arguments: str, lives_at_most_s: int = 1500
) -> Iterator[Dagster]:
    """Run `dagster dev`, and stop it with all that it started.

    Args:
        home: as for `running_dagster`.
        config_file: becomes RECSYS_CONFIG.
        arguments: of the command, as they are typed in the directory of the project.
        lives_at_most_s: `timeout` ends it when its test could not.
    """
    dagster, port = _prepared(home, config_file)
    # Not started where it is typed: there it warns of the other dagster.yaml.
    absolute = [str(ROOT / word) if (ROOT / word).is_file() else word for word in arguments]
    command = ["-m", "dagster", "dev", *absolute, "--host=127.0.0.1", f"--port={port}"]
    with _running(
        "dev",
        command,
        home=home,
        environment=dagster.environment,
        lives_at_most_s=lives_at_most_s,
    ) as dev:
        wait_for("dagster dev", lambda: _is_up(dev) and _has_loaded(dagster))
        wait_for("its daemon", lambda: _is_up(dev) and _is_healthy(dagster))
        yield dagster


def _prepared(home: Path, config_file: Path) -> tuple[Dagster, int]:
    """Make a home; return how its servers are reached, and on which port."""
    home.mkdir(exist_ok=True)
    if not (home / "dagster.yaml").exists():
        shutil.copy(ROOT / "dagster.yaml", home)
    environment = {
        **{name: value for name, value in os.environ.items() if name != "RECSYS_ROOT"},
        "DAGSTER_HOME": str(home),
        "RECSYS_CONFIG": str(config_file),
        "PYTHONPATH": str(ROOT),
    }
    port = free_port()
    return Dagster(f"http://127.0.0.1:{port}", environment), port


def _is_up(server: subprocess.Popen[bytes]) -> bool:
    if server.poll() is not None:
        raise RuntimeError(f"{server.args!r} ended with {server.returncode}")
    return True


def _has_loaded(dagster: Dagster) -> bool:
    try:
        workspace = dagster.ask(
            "{ workspaceOrError { ... on Workspace { locationEntries { loadStatus } } } }"
        )
    except OSError:
        return False
    return all(entry["loadStatus"] == "LOADED" for entry in workspace["locationEntries"])


def _is_healthy(dagster: Dagster) -> bool:
    instance = dagster.ask(
        "{ instance { daemonHealth { allDaemonStatuses { required healthy } } } }"
    )
    daemons = instance["daemonHealth"]["allDaemonStatuses"]
    return all(daemon["healthy"] for daemon in daemons if daemon["required"])


@contextlib.contextmanager
def _running(
    name: str,
    arguments: Sequence[str],
    *,
    home: Path,
    environment: Mapping[str, str],
    lives_at_most_s: int,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server; when what is done with it fails, its log is part of what is reported."""
    log = home / f"{name}.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            ["timeout", "--kill-after=5", str(lives_at_most_s), sys.executable, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            cwd=home,
            start_new_session=True,  # so that its code server and its runs are ended with it
        )
    try:
        yield server
    except BaseException as error:
        error.add_note(f"{log}:\n{log.read_text(errors='replace')[-4000:]}")
        raise
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()
