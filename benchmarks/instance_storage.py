"""Time an instance of Dagster with Dagster's own storage and with the project's, in turns.

Timed are opening the instance, and a question for the newest run, as the daemon asks them all the
time; in SQLite, and in PostgreSQL where that is installed. Counted is the CPU time of this process
and of the server, with all the processes that it starts.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from statistics import median
from typing import Final

import dagster as dg
import yaml

sys.path.append(str(Path(__file__).parents[1]))
from measure import environment

from recsys_assets_tests import postgres

_ROOT: Final = Path(__file__).parents[1]
_FILES: Final = {"SQLite": "dagster.yaml", "PostgreSQL": "dagster-postgres.yaml"}
_OWN: Final[dict[str, object]] = {
    "SQLite": {"sqlite": {"base_dir": {"env": "DAGSTER_HOME"}}},
    "PostgreSQL": {"postgres": {"postgres_url": {"env": "DAGSTER_POSTGRES_URL"}}},
}


def cpu_s_of(pid: int) -> float:
    """Return the CPU seconds of a process and of its children that have ended; 0 of none."""
    if not pid:
        return 0
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Took:
    """Milliseconds of wall time, and of CPU time here and in the server."""

    wall: float
    here: float
    server: float

    def __str__(self) -> str:
        """Return a part of a line."""
        return f"{self.wall:7.2f} wall {self.here:7.2f} CPU {self.server:7.2f} of the server"


@contextmanager
def timed(server: int, into: list[Took], times: int = 1) -> Iterator[None]:
    """Add what it takes to do something some times."""
    before = time.perf_counter(), time.process_time(), cpu_s_of(server)
    yield
    took = time.perf_counter() - before[0], time.process_time() - before[1]
    time.sleep(1 if server else 0)  # the server counts a process when that has ended
    seconds = (*took, cpu_s_of(server) - before[2])
    into.append(Took(*(1000 * each / times for each in seconds)))


def compare(name: str, folder: Path, options: argparse.Namespace, server: int) -> None:
    """Take turns with the two storages of a kind, and print medians."""
    ours = yaml.safe_load((_ROOT / _FILES[name]).read_text())["storage"]
    opened: dict[str, list[Took]] = {"Dagster's own": [], "the project's": []}
    asked: dict[str, list[Took]] = {way: [] for way in opened}
    for turn in range(options.runs + 1):
        for way, storage in zip(opened, (_OWN[name], ours), strict=True):
            settings = {"telemetry": {"enabled": False}, "storage": storage}
            (folder / "dagster.yaml").write_text(yaml.safe_dump(settings))
            with timed(server, opened[way], 10):
                for _ in range(10):
                    with dg.DagsterInstance.get():
                        pass
            with timed(server, asked[way], options.questions), dg.DagsterInstance.get() as instance:
                for _ in range(options.questions):
                    instance.get_runs(limit=1)
            if not turn:  # it made the tables
                opened[way].clear()
                asked[way].clear()
    for way in opened:
        for what, found in (("opening", opened[way]), ("a question", asked[way])):
            middle = Took(*(median(each) for each in zip(*map(astuple, found), strict=True)))
            print(f"{name:11} {way:14} {what:11} ms: {middle}")


def main() -> None:
    """Read the command line, take turns, print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=300)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    print(f"machine: {environment()}; {vars(options)}; no seed")
    with tempfile.TemporaryDirectory() as made:
        os.environ["DAGSTER_HOME"] = made
        compare("SQLite", Path(made), options, 0)
        if not (found := postgres.programs()):
            sys.exit("there is no PostgreSQL on this machine")
        with postgres.running(found) as database:
            os.environ["DAGSTER_POSTGRES_URL"] = database.url.replace("://", "+psycopg2://", 1)
            pid = database.one("select split_part(pg_read_file('postmaster.pid'), chr(10), 1)")
            compare("PostgreSQL", Path(made), options, int(pid))


if __name__ == "__main__":
    main()
