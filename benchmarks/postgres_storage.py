"""Time questions to an instance on PostgreSQL: Dagster's own storage, and the project's, in turns.

A question is one for the newest run; the daemon asks such ones all the time. Counted is the CPU
time of this process and of the server, with all the processes that it starts.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Final

import dagster as dg
import yaml

sys.path.append(str(Path(__file__).parents[1]))
from measure import environment

from recsys_assets_tests import postgres

_ROOT: Final = Path(__file__).parents[1]
_URL: Final = {"env": "DAGSTER_POSTGRES_URL"}


def storages() -> dict[str, object]:
    """Return Dagster's own storage and the project's, as in dagster.yaml."""
    ours = yaml.safe_load((_ROOT / "dagster-postgres.yaml").read_text())["storage"]
    return {"Dagster's own": {"postgres": {"postgres_url": _URL}}, "the project's": ours}


def cpu_s_of(pid: int) -> float:
    """Return the CPU seconds of a process and of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def ask(folder: Path, storage: object, questions: int, server: int) -> tuple[float, float, float]:
    """Return wall seconds, and CPU seconds of this process and of the server."""
    settings = {"telemetry": {"enabled": False}, "storage": storage}
    (folder / "dagster.yaml").write_text(yaml.safe_dump(settings))
    before = time.perf_counter(), time.process_time(), cpu_s_of(server)
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        for _ in range(questions):
            instance.get_runs(limit=1)
    took = time.perf_counter() - before[0], time.process_time() - before[1]
    time.sleep(1)  # the server counts a process when it has ended
    return (*took, cpu_s_of(server) - before[2])


def main() -> None:
    """Read the command line, take turns, print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    if not (found := postgres.programs()):
        sys.exit("there is no PostgreSQL on this machine")
    print(f"machine: {environment()}; {vars(options)}; no seed")
    with postgres.running(found) as database, tempfile.TemporaryDirectory() as name:
        os.environ["DAGSTER_POSTGRES_URL"] = database.url.replace("://", "+psycopg2://", 1)
        server = int(database.one("select split_part(pg_read_file('postmaster.pid'), chr(10), 1)"))
        ways = storages()
        costs: dict[str, list[tuple[float, float, float]]] = {way: [] for way in ways}
        ask(Path(name), ways["Dagster's own"], 1, server)  # makes the tables
        for _ in range(options.runs):
            for way, storage in ways.items():
                costs[way].append(ask(Path(name), storage, options.questions, server))
    for way, each in costs.items():
        wall, own, of_server = (
            1000 * median(one) / options.questions for one in zip(*each, strict=True)
        )
        print(
            f"{way:15} {wall:6.2f} ms a question, CPU {own:6.2f} ms here and {of_server:6.2f} ms "
            "of the server"
        )


if __name__ == "__main__":
    main()
