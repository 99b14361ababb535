"""Backfill surfaces on several machines at once, kill all the while, and look what is left.

A machine is a code server and processes of runs with a DAGSTER_HOME of their own. Each code server
has a part of the surfaces, and a run of any surface may be on any machine. They share PostgreSQL,
which keeps Dagster's state, and a bucket of SeaweedFS with raw files and root; one daemon and one
webserver belong to none of them. At random a run, a code server or a whole machine is killed. What
a backfill lacks in the end is backfilled again, as a person would.

Each day of each surface has to be published exactly once, in order, with the versions that a single
process makes in a root of its own. Linux only; exits with 1 when that is not so.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import yaml

sys.path.append(str(Path(__file__).parents[1]))
from landing import CATALOG, EVENTS, TENANT, Processes, land, show
from measure import environment, run
from operations import idle, launch, tell

from recsys_assets.places import Place
from recsys_assets.storage import open_store
from recsys_assets_tests import postgres
from recsys_assets_tests.machines import (
    WAITS,
    Machine,
    control_plane,
    given_up,
    in_folder,
    kill,
    published,
    running,
)
from recsys_assets_tests.storage.servers import seaweedfs
from recsys_assets_tests.ui.dagster_servers import ROOT, Dagster, running_dagster, wait_for

FIRST: Final = date(2026, 1, 1)
KINDS: Final = ("popularity", "cooc", "implicit", "content_sim")
_ROUNDS: Final = 6  # of backfills at most
_LOOK_S: Final = 1.0
_AGE_S: Final = 8.0  # of a run that is killed, about
# What is killed, and how often of ten.
_VICTIMS: Final = {"run": 6, "code server": 3, "machine": 1}


@dataclass
class Mischief:
    """What is killed, and how often."""

    machines: Sequence[Machine]
    dice: random.Random
    left: int
    every_s: float
    counts: Counter[str] = field(default_factory=Counter)
    _next: float = 0.0
    _what: str = ""

    def look(self) -> None:
        """Kill something, when it is time and there is something."""
        for machine in self.machines:
            if machine.server is None or machine.server.poll() is not None:
                machine.start()
        if not self.left or time.monotonic() < self._next:
            return
        what = self._what = self._what or self.dice.choices([*_VICTIMS], [*_VICTIMS.values()])[0]
        if what == "run":
            pids = [pid for each in self.machines for pid in each.runs()]
            if not pids or self.dice.random() > _LOOK_S / _AGE_S:
                return  # one will come, or is to grow older: it would always die as it starts
            kill(self.dice.choice(pids))
        else:
            machine = self.dice.choice(self.machines)
            machine.kill_server()
            if what == "machine":
                machine.kill_runs()
        self._what = ""
        self.counts[what] += 1
        self.left -= 1
        self._next = time.monotonic() + self.every_s * (0.5 + self.dice.random())


def surfaces_file(path: Path, root: str, bucket: str, names: Sequence[str], days: int) -> None:
    """Write surfaces.yaml for some surfaces."""
    entries = [
        {
            "tenant": TENANT,
            "surface": name,
            "start_date": FIRST,
            "end_date": FIRST + timedelta(days=days),
            "source": {"path": f"{bucket}/raw"},
            "catalog": {"path": f"{bucket}/catalog.csv"},
            "artifacts": {kind: {} for kind in KINDS},
        }
        for name in names
    ]
    path.write_text(yaml.safe_dump({"root": root, "surfaces": entries}))


def land_all(folder: Path, bucket: str, names: Sequence[str], days: Sequence[date]) -> None:
    """Put the raw files of all days and the catalog into the bucket."""
    (folder / "catalog.csv").write_text(CATALOG)
    for number, name in enumerate(names):
        for day in days:
            land(folder, name, day, events=EVENTS + 7 * number + 13 * day.day)
    store = open_store(bucket)
    for path in (folder / "catalog.csv", *(folder / "raw").rglob("*.jsonl")):
        store.put_new(str(path.relative_to(folder)), path.read_bytes())


def records(root: str, surface: str) -> int:
    """Return how many records of flips there are, also of those that nothing came of."""
    return sum(1 for _ in open_store(root).list(f"registry/publications/{TENANT}/{surface}"))


def try_to_launch(dagster: Dagster, days: Sequence[date], name: str) -> bool:
    """Launch a backfill; a code server that was killed may not be back."""
    try:
        launch(dagster, days, surface=f"{TENANT}/{name}", kinds=KINDS)
    except (RuntimeError, OSError):
        return False
    return True


def backfill(arguments: argparse.Namespace, folder: Path, bucket: str, storage: str) -> bool:
    """Backfill on all machines; tell whether each day was published once, as by one process."""
    days = [FIRST + timedelta(days=number) for number in range(arguments.days)]
    names = [f"s{number:03}" for number in range(arguments.surfaces)]
    root, control = f"{bucket}/root", f"{bucket}/control"
    land_all(folder, bucket, names, days)
    machines = in_folder(folder, storage, arguments.machines)
    for number, machine in enumerate(machines):
        part = names[number :: arguments.machines]
        surfaces_file(machine.config, root, bucket, part, arguments.days)
    home = folder / "dagster_home"
    workspace = control_plane(home, storage, machines)
    used = [Processes(each) for each in (home, *(machine.home for machine in machines))]
    dice = random.Random(arguments.seed)  # noqa: S311
    mischief = Mischief(machines, dice, arguments.kills, arguments.every)
    rounds, peak_mb, began = 0, 0.0, time.monotonic()

    def missing() -> list[str]:
        return [
            name
            for name in names
            if {day for _, day, _ in published(root, Place(TENANT, name))} < {*days}
        ]

    with (
        running(machines),
        running_dagster(
            home, machines[0].config, workspace=workspace, lives_at_most_s=arguments.within + 300
        ) as dagster,
    ):
        while time.monotonic() - began < arguments.within:
            if idle(dagster):
                if not (lacking := missing()) or rounds == _ROUNDS:
                    break
                rounds += 1
                for name in lacking:
                    wait_for("a backfill", lambda each=name: try_to_launch(dagster, days, each))  # type: ignore[misc]
            mischief.look()
            now_mb = 0.0
            for each in used:
                each.peak_mb = 0.0
                each.look()
                now_mb += each.peak_mb
            peak_mb = max(peak_mb, now_mb)
            time.sleep(_LOOK_S)
        wall_s = time.monotonic() - began
        show(f"  {tell(dagster)}; rounds of backfills: {rounds}")
        show(f"  not started again: {dict(Counter(given_up(home).values()))}")
    cpu_s = sum(each.total_s for each in used)
    show(f"  killed: {dict(mischief.counts)}")
    show(f"  {wall_s:.0f} s wall, {cpu_s:.0f} s CPU, {peak_mb:.0f} MB, without the two servers")

    surfaces_file(folder / "control.yaml", control, bucket, names, arguments.days)
    (folder / "control_home").mkdir()
    span = [f"--from={days[0]}", f"--to={days[-1]}"]
    cost = run(
        [sys.executable, "-m", "recsys_assets.cli", "materialize", *span],
        env={
            "RECSYS_CONFIG": str(folder / "control.yaml"),
            "DAGSTER_HOME": str(folder / "control_home"),
        },
        log=folder / "control.log",
    )
    show(f"  a single process: {cost}")
    return compare(root, control, names, days)


def compare(root: str, control: str, names: Sequence[str], days: Sequence[date]) -> bool:
    """Tell whether each day was published once, in order, with the versions of the control."""
    well, abandoned = 0, 0
    for name in names:
        flips = published(root, Place(TENANT, name))
        abandoned += records(root, name) - len(flips)
        wanted = published(control, Place(TENANT, name))
        if [day for _, day, _ in wanted] != [*days]:
            show(f"  {name}: the control has {wanted}")
        elif flips != wanted:
            show(f"  {name}: {[(action, str(day)) for action, day, _ in flips]}")
        else:
            well += 1
    show(
        f"  published once each, in order, as by a single process: {well} of {len(names)} surfaces"
    )
    show(f"  records of flips that were cut off: {abandoned}")
    return well == len(names)


def main() -> None:
    """Backfill once; exit with 1 when a day was lost or published twice."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--machines", type=int, default=2)
    parser.add_argument("--surfaces", type=int, default=4)
    parser.add_argument("--days", type=int, default=10)
    parser.add_argument("--kills", type=int, default=20, help="how many there are")
    parser.add_argument("--every", type=float, default=6, help="seconds between two, about")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--within", type=int, default=1200, help="seconds to take at most")
    arguments = parser.parse_args()
    show(f"{environment()}; {vars(arguments)}")
    os.environ["DAGSTER_DISABLE_TELEMETRY"] = "1"
    os.environ["PYTHONPATH"] = str(ROOT)
    os.environ[WAITS] = "1"
    if not (found := postgres.programs()):
        sys.exit("there is no PostgreSQL on this machine")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="machines-")))
        database = stack.enter_context(postgres.running(found))
        (folder / "seaweedfs").mkdir()
        server = stack.enter_context(seaweedfs(folder / "seaweedfs"))
        os.environ.update(server.environment())
        storage = database.url.replace("postgresql:", "postgresql+psycopg2:")
        sys.exit(not backfill(arguments, folder, server.url("many"), storage))


if __name__ == "__main__":
    main()
