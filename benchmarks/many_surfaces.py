"""Time what thousands of configured surfaces cost, and what many landed files do, against a base.

`one`: a small day of one surface, `recsys-assets materialize --surface`, a new instance and root
each time. `status`: of all. `definitions`: those of all are built, as a code server does.
`landing`: a tick over many files of one surface, nothing new. `warm`: the same small day again and
again in one process. Each is a process of its own; with `--base`, a checkout of another version,
the two take turns.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import measure
import yaml

_HERE: Final = Path(__file__).parents[1]
_DAY: Final = date(2026, 1, 1)
_DAYS: Final = 365  # that the files of `landing` are of
_KINDS: Final = ("popularity", "cooc", "implicit", "session_seq")
_PYTHON: Final = [sys.executable, "-P"]  # the version that PYTHONPATH names, wherever we are
# Of versions that build definitions when the module is imported, and of those that do when asked.
_DEFINITIONS: Final = """
from recsys_assets.definitions import defs
(defs() if callable(defs) else defs).get_repository_def()
"""
_STATUS: Final = """
import contextlib
from recsys_assets.cli import main
with contextlib.suppress(SystemExit):  # 1: nothing is live yet
    main(["status"])
"""
_TICK: Final = """
import inspect, time
from datetime import UTC, datetime, timedelta
from recsys_assets.config import load_config
from recsys_assets.operations import landing
try:
    from recsys_assets.operations.cursors import Cursor
except ImportError:
    from recsys_assets.operations.landing import Cursor
from recsys_assets.storage import open_store

config = load_config()
store, (surface,), text, quiet = open_store(config.root), config.surfaces, None, 0
# Earlier versions know of fewer.
known = len(inspect.signature(Cursor.from_text).parameters)
answers = {"reported": lambda asset, day: None, "tried": lambda day: "made"}
asked = inspect.signature(landing.look).parameters
answers = {name: answer for name, answer in answers.items() if name in asked}
for number in range(60):
    started, now = time.process_time(), datetime.now(UTC) + timedelta(seconds=90 * number)
    found = landing.look(
        store, surface, Cursor.from_text(*(text, config.root)[:known]), now=now, **answers
    )
    text = found.cursor.to_text()
    took = time.process_time() - started
    quiet = 0 if found.raw_events or found.waiting or found.left_over else quiet + 1
    if quiet == 2:
        break
assert quiet == 2, found
print(f"{took:.2f} s CPU: {found}")
"""
_WARM: Final = """
import inspect, time
from datetime import date
from pathlib import Path
import dagster as dg
from recsys_assets.config import load_config
from recsys_assets.definitions import build_definitions
try:
    from recsys_assets.defs.materialize import materialize
except ImportError:
    from recsys_assets.operations.materialize import materialize
from recsys_assets.storage import open_store

config = load_config()
definitions, more = build_definitions(config), {"store": open_store(config.root)}
if "store" not in inspect.signature(materialize).parameters:  # of earlier versions
    more = {}
with dg.DagsterInstance.get() as instance:
    for _ in range(4):
        started, cpu = time.perf_counter(), time.process_time()
        found = materialize(
            definitions, config.surfaces[0], [date(2026, 1, 1)], instance=instance, **more
        )
        assert found.succeeded, found.failures
        wall, took = time.perf_counter() - started, time.process_time() - cpu
print(f"{wall:.2f} s wall {took:.2f} s CPU")
"""


class Bench:
    """A folder with its configurations, and the versions that take turns."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.folder, self.runs = folder, options.runs
        self.trees = [tree.absolute() for tree in (options.base, _HERE) if tree]

    def configure(self, surfaces: int, start: date = _DAY) -> Path:
        """Write a configuration of so many surfaces."""
        entries = [
            {
                "tenant": f"t{number}",
                "surface": "home",
                "start_date": start,
                "source": {"path": "raw"},
                "artifacts": {kind: {} for kind in _KINDS},
            }
            for number in range(surfaces)
        ]
        path = self.folder / "surfaces.yaml"
        path.write_text(yaml.safe_dump({"root": "var", "surfaces": entries}))
        return path

    def turns(self, name: str, command: list[str], *, shown: bool = False) -> None:
        """Run a command with each version in turns; print medians and their ratio."""
        costs: dict[Path, list[measure.Cost]] = {tree: [] for tree in self.trees}
        for number in range(self.runs):
            for tree in self.trees[:: -1 if number % 2 else 1]:
                costs[tree].append(self.run(tree, command))
        medians = {tree: measure.median(of) for tree, of in costs.items()}
        for tree, cost in medians.items():
            ratio = measure.ratios(cost, medians[self.trees[0]])
            print(f"{name:14}{cost}  {ratio}  {tree.name}", flush=True)
            for of in costs[tree] if shown else ():
                print(f"{'':14}{of.output.strip().splitlines()[-1]}")

    def run(self, tree: Path, command: list[str]) -> measure.Cost:
        """Run a command on a new instance and a new root."""
        home = self.folder / "home"
        for left in (home, self.folder / "var"):
            shutil.rmtree(left, ignore_errors=True)
        home.mkdir()
        shutil.copy(tree / "dagster.yaml", home)
        env = {
            "PYTHONPATH": str(tree),
            "DAGSTER_HOME": str(home),
            "RECSYS_CONFIG": str(self.folder / "surfaces.yaml"),
        }
        return measure.run(command, env=env, log=self.folder / "log")

    def land_a_day(self) -> None:
        """Write a small day of the first surface."""
        common = f'"v":1,"ts":"{_DAY}T12:00:00Z","tenant":"t0","surface":"home"'
        path = self.folder / f"raw/t0/home/exposure.{_DAY}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = (
            f'{{{common},"session_id":"s{n // 5}","user_id":"u{n // 5}","item_id":"i{n % 7}"}}\n'
            for n in range(100)
        )
        path.write_text("".join(lines))


def one(bench: Bench, options: argparse.Namespace) -> None:
    """Print what one surface costs beside all others."""
    bench.configure(options.surfaces)
    bench.land_a_day()
    command = ["materialize", "--surface", "t0/home", "--from", str(_DAY), "--to", str(_DAY)]
    bench.turns("one", [*_PYTHON, "-m", "recsys_assets.cli", *command])


def status(bench: Bench, options: argparse.Namespace) -> None:
    """Print what the status of all costs."""
    bench.configure(options.surfaces)
    bench.turns("status", [*_PYTHON, "-c", _STATUS])


def definitions(bench: Bench, options: argparse.Namespace) -> None:
    """Print what the definitions of all cost."""
    bench.configure(options.surfaces)
    bench.turns("definitions", [*_PYTHON, "-c", _DEFINITIONS])


def warm(bench: Bench, _: argparse.Namespace) -> None:
    """Print what a day costs in a process that has made it before."""
    bench.configure(1)
    bench.land_a_day()
    bench.turns("warm", [*_PYTHON, "-c", _WARM], shown=True)


def landing(bench: Bench, options: argparse.Namespace) -> None:
    """Print what a tick over many files costs that are not new."""
    first = date.today() - timedelta(days=_DAYS)
    bench.configure(1, start=first)
    folder = bench.folder / "raw/t0/home"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(options.files):
        part, place = divmod(number, _DAYS)
        (folder / f"exposure.{first + timedelta(days=place)}.{part:05}.jsonl").touch()
    bench.turns("landing", [*_PYTHON, "-c", _TICK], shown=True)


_PARTS: Final[dict[str, Callable[[Bench, argparse.Namespace], None]]] = {
    "one": one,
    "status": status,
    "definitions": definitions,
    "warm": warm,
    "landing": landing,
}


def main() -> None:
    """Read the command line, take turns, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(_PARTS))
    parser.add_argument("--base", type=Path, help="a checkout of the version to compare with")
    parser.add_argument("--surfaces", type=int, default=2000)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    os.environ.pop("RECSYS_ROOT", None)
    print(f"{options.surfaces:,} surfaces, {options.files:,} files; {measure.environment()}")
    print(f"medians of {options.runs}; ratios of wall, CPU and peak to the first version")
    for name in options.parts or _PARTS:
        with tempfile.TemporaryDirectory() as folder:
            _PARTS[name](Bench(Path(folder), options), options)


if __name__ == "__main__":
    main()
