"""Keep an installation busy for simulated hours, break it all the while, and look what is left.

Days of some surfaces land under a real daemon with its sensors running: good ones, bad ones that
are mended hours later, and late files of days that were live already. An hour takes some seconds.
Every other hour the worker of a run is killed, and now and then the daemon. Once nothing is left to
do, the servers are stopped, and each surface is held to what a single command makes of the same
files in a root of its own: nothing may be lost, and nothing may be live that landed never. Printed
hour by hour are the memory of all processes, the size of what Dagster keeps, and what ticks took.
Linux only; exits with 1 when something was lost.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from statistics import median
from typing import Final

import yaml
from sqlalchemy import create_engine, text

sys.path.append(str(Path(__file__).parents[1]))
from landing import CATALOG, EVENTS, TENANT, Processes, land, show
from measure import environment

from recsys_assets_tests import postgres
from recsys_assets_tests.ui.dagster_servers import (
    LOCATION,
    ROOT,
    Dagster,
    running_daemon,
    running_dagster,
    wait_for,
)

FIRST: Final = date(2026, 1, 1)
TICKS: Final = """query ($sensor: SensorSelector!) { sensorOrError(sensorSelector: $sensor) {
  ... on Sensor { sensorState { ticks(limit: 40) { status timestamp endTimestamp } } }
} }"""
GOING_ON: Final = """{ runsOrError(filter: {statuses: [QUEUED, STARTING, STARTED]}) {
  ... on Runs { count }
} }"""


QUIET_S: Final = 100.0  # three looks of the daemon


@dataclass
class Surface:
    """What has landed of a surface."""

    name: str
    days: list[date] = field(default_factory=list)
    bad: dict[date, int] = field(default_factory=dict)  # when each is mended

    @property
    def next_day(self) -> date:
        """The day that lands next."""
        return FIRST + timedelta(days=len(self.days))


@dataclass
class Weather:
    """What happens in an hour, by a seed."""

    folder: Path
    surfaces: list[Surface]
    dice: random.Random
    counts: dict[str, int] = field(default_factory=dict)

    def hour(self, hour: int, *, last: bool) -> None:
        """Let files land; in the last hour what is bad is mended."""
        for surface in self.surfaces:
            for day, mended in [*surface.bad.items()]:
                if last or mended <= hour:
                    del surface.bad[day]
                    self._land(surface, day, EVENTS, "mended")
            if not last and self.dice.random() < 1 / 6:
                day = surface.next_day
                surface.days.append(day)
                if self.dice.random() < 0.05:
                    surface.bad[day] = hour + self.dice.randint(1, 3)
                    self._land(surface, day, 0, "bad")
                else:
                    self._land(surface, day, EVENTS, "good")
            elif not last and surface.days and self.dice.random() < 0.02:
                day = self.dice.choice(surface.days)
                if day not in surface.bad:
                    self._land(surface, day, EVENTS + self.dice.randint(1, 50), "late")

    def _land(self, surface: Surface, day: date, events: int, what: str) -> None:
        land(self.folder, surface.name, day, events=events)
        self.counts[what] = self.counts.get(what, 0) + 1


def configure(folder: Path, surfaces: list[Surface]) -> None:
    """Write surfaces.yaml, one for a control with another root, and the catalogs."""
    entries = [
        {
            "tenant": TENANT,
            "surface": surface.name,
            "start_date": FIRST,
            "source": {"path": "raw", "landing": {"settle_seconds": 2}},
            "catalog": {"path": "catalog.csv"},
            "artifacts": {kind: {} for kind in ("popularity", "cooc", "implicit", "content_sim")},
        }
        for surface in surfaces
    ]
    (folder / "raw").mkdir()
    (folder / "catalog.csv").write_text(CATALOG)
    for name, root in (("surfaces.yaml", "var"), ("control.yaml", "control")):
        (folder / name).write_text(yaml.safe_dump({"root": root, "surfaces": entries}))


def live(folder: Path, root: str, surface: str) -> Mapping[str, object]:
    """Return what is live: each kind's version."""
    path = folder / root / f"registry/current/{TENANT}/{surface}/manifest.json"
    with contextlib.suppress(OSError):
        found = json.loads(path.read_bytes())
        versions = {kind: uri.rpartition("/")[2] for kind, uri in found["current"].items()}
        del versions["publication"]  # it says when
        return versions
    return {}


def processes_of(home: Path, word: str) -> Iterator[int]:
    """Yield the Python processes of a home whose command line has a word."""
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                command = Path(f"/proc/{entry.name}/cmdline").read_bytes()
                environ = Path(f"/proc/{entry.name}/environ").read_bytes()
                is_python = b"python" in command.split(b"\0")[0]
                if is_python and word.encode() in command and str(home).encode() in environ:
                    yield int(entry.name)


def kill_a_worker(home: Path, dice: random.Random) -> bool:
    """Kill the process of a run, a child of the code server; tell whether one came in time."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        forking = {*processes_of(home, "multiprocessing.forkserver import main")}
        forked = [pid for pid in forking if parent_of(pid) in forking]
        anew = processes_of(home, "multiprocessing.spawn import spawn_main")
        if workers := [*forked, *anew]:
            os.kill(dice.choice(workers), signal.SIGKILL)
            return True
        time.sleep(0.1)
    return False


def parent_of(pid: int) -> int:
    """Return the parent of a process, 0 of one that is gone."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[1])
    return 0


def kept_mb(home: Path, storage: str | None) -> float:
    """Return how much Dagster keeps: its files, and its tables where it has PostgreSQL."""
    size = sum(path.stat().st_size for path in home.rglob("*") if path.is_file())
    if storage:
        with create_engine(storage).connect() as connection:
            tables = connection.scalar(text("select pg_database_size(current_database())"))
            size += int(tables or 0)
    return size / 2**20


def ticks_of(dagster: Dagster, sensor: str) -> list[float]:
    """Return how long the last ticks of a sensor took, in seconds."""
    found = dagster.ask(TICKS, sensor={**LOCATION, "sensorName": sensor})
    return [
        tick["endTimestamp"] - tick["timestamp"]
        for tick in found["sensorState"]["ticks"]
        if tick["endTimestamp"]
    ]


def settle(dagster: Dagster, *, within_s: float) -> tuple[float, int]:
    """Wait until the daemon has nothing to do; return how long it took, and the runs left."""
    began = since = time.monotonic()
    seen = -1, -1
    while True:
        now = dagster.runs(), dagster.ask(GOING_ON)["count"]
        if now != seen or now[1]:
            since, seen = time.monotonic(), now
        if time.monotonic() - since > QUIET_S:
            return since - began, 0
        if time.monotonic() - began > within_s:
            return within_s, now[1]
        time.sleep(2)


def control(
    folder: Path, environment: Mapping[str, str], surfaces: list[Surface]
) -> tuple[dict[str, Mapping[str, object]], str]:
    """Make the days of all by a single command in a root of its own.

    Returns:
        What is live there of each surface, and what the command said if it made nothing.
    """
    newest = max(day for each in surfaces for day in each.days)
    (home := folder / "control_home").mkdir()
    made = subprocess.run(
        [
            *(sys.executable, "-m", "recsys_assets.cli", "materialize"),
            *(f"--from={FIRST}", f"--to={newest}"),
        ],
        env={
            **environment,
            "RECSYS_CONFIG": str(folder / "control.yaml"),
            "DAGSTER_HOME": str(home),
        },
        check=False,
        capture_output=True,
        text=True,
    )
    wanted = {each.name: live(folder, "control", each.name) for each in surfaces}
    return wanted, made.stderr if made.returncode == 2 else ""


def soak(arguments: argparse.Namespace, folder: Path, storage: str | None) -> bool:
    """Let the hours pass; tell whether nothing was lost."""
    dice = random.Random(arguments.seed)  # noqa: S311
    surfaces = [Surface(f"s{number:04}") for number in range(arguments.surfaces)]
    configure(folder, surfaces)
    weather, home = Weather(folder, surfaces, dice), folder / "dagster_home"
    home.mkdir()
    settings = "dagster-postgres.yaml" if storage else "dagster.yaml"
    shutil.copy(ROOT / settings, home / "dagster.yaml")
    os.environ["DAGSTER_POSTGRES_URL"] = storage or ""
    # Webserver and daemon would both make the tables of PostgreSQL, and one of them fail.
    subprocess.run(
        [sys.executable, "-m", "recsys_assets.defs.instance"],
        env={**os.environ, "DAGSTER_HOME": str(home), "PYTHONPATH": str(ROOT)},
        check=True,
    )
    limit_s = 2 * int(arguments.hours * arguments.hour_seconds) + arguments.within + 3600
    kills = {"worker": 0, "daemon": 0}
    with ExitStack() as stack:
        dagster = stack.enter_context(
            running_dagster(home, folder / "surfaces.yaml", hurried=False, lives_at_most_s=limit_s)
        )
        shared = [f"landings_{n + 1}" for n in range(-(-len(surfaces) // 25))]
        for sensor in (*shared, *(f"{TENANT}__{each.name}_materialize" for each in surfaces)):
            dagster.start_sensor(sensor)
        wait_for("a tick of the last", lambda: dagster.ticks(shared[-1]), within_s=600)
        time.sleep(40)  # what lands before conditions were looked at once is not theirs
        processes = Processes(home)
        show("   hour  landed  runs  MB of processes  MB of Dagster  s a tick, half and most")
        for hour in range(arguments.hours + 1):
            began = time.monotonic()
            weather.hour(hour, last=hour == arguments.hours)
            time.sleep(arguments.hour_seconds / 2)
            if hour % 2:
                kills["worker"] += kill_a_worker(home, dice)
            if hour % arguments.daemon_every == arguments.daemon_every - 1:
                for pid in processes_of(home, "dagster._daemon"):
                    os.kill(pid, signal.SIGKILL)
                kills["daemon"] += 1
                stack.enter_context(
                    running_daemon(dagster, home, hurried=False, lives_at_most_s=limit_s)
                )
            while time.monotonic() - began < arguments.hour_seconds:
                time.sleep(0.5)
            processes.peak_mb = 0.0
            processes.look()
            took = [each for sensor in shared for each in ticks_of(dagster, sensor)]
            show(
                f"   {hour:4}  {sum(weather.counts.values()):6}  {dagster.runs():4}  "
                f"{processes.peak_mb:15.0f}  {kept_mb(home, storage):13.1f}  "
                f"{median(took):.1f} {max(took):.1f}"
            )
        settled_s, left = settle(dagster, within_s=arguments.within)
    # With the servers gone: both would be slow beside each other.
    wanted, trouble = control(folder, dagster.environment, surfaces)
    lost = [name for name, what in wanted.items() if live(folder, "var", name) != what]
    nothing = sum(not what for what in wanted.values())
    show(
        f"  landed {weather.counts}; killed {kills}; at rest {settled_s:.0f} s after the last hour"
    )
    if left:
        show(f"  not at rest: {left} runs were left when the servers were stopped")
    show(f"  as a single command makes it: {len(surfaces) - len(lost)} of {len(surfaces)}")
    show(f"  of which nothing is live: {nothing}")
    for name in lost[:10]:
        show(f"  {name}: {live(folder, 'var', name)} and not {wanted[name]}")
    if trouble:
        show(trouble)
    return not lost and not trouble


def main() -> None:
    """Soak once; exit with 1 when something was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--surfaces", type=int, default=100)
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--hour-seconds", type=float, default=60, help="what an hour takes")
    parser.add_argument("--daemon-every", type=int, default=4, help="hours from kill to kill of it")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--postgres", action="store_true", help="Dagster keeps its state there")
    parser.add_argument("--within", type=int, default=1800, help="seconds to come to rest at most")
    arguments = parser.parse_args()
    show(f"{environment()}; {vars(arguments)}")
    os.environ["DAGSTER_DISABLE_TELEMETRY"] = "1"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
        storage = None
        if arguments.postgres:
            if not (found := postgres.programs()):
                sys.exit("there is no PostgreSQL on this machine")
            url = stack.enter_context(postgres.running(found)).url
            storage = url.replace("://", "+psycopg2://", 1)  # what dagster-postgres is written for
        sys.exit(not soak(arguments, folder, storage))


if __name__ == "__main__":
    main()
