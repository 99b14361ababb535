"""Time runs of one small day each under real servers, in turns against other versions.

Each version gets webserver, daemon and code server of its own, with SQLite, and a surface of four
kinds. Its days are launched at once, as from the UI; the daemon runs two at a time, and looks every
second. Printed are the time from the launch to the end of the last run, the CPU time of all
processes meanwhile, and the most memory they had together. Linux only.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path
from statistics import median
from typing import Any, Final

import yaml

HERE: Final = Path(__file__).parents[1]
FIRST: Final = date(2026, 1, 1)
ASSETS: Final = ("canonical_events", "popularity", "cooc", "implicit", "session_seq", "manifest")
LAUNCH: Final = """mutation ($params: ExecutionParams!) { launchRun(executionParams: $params) {
  __typename ... on Error { message }
} }"""
ENDED: Final = """{ runsOrError(filter: {statuses: [SUCCESS, FAILURE, CANCELED]}) {
  ... on Runs { count }
} }"""


def measure(days: int) -> None:
    """Run the days by the version that is first on the path, and print what they took."""
    # Of that version.
    from landing import TENANT, Processes, land

    from recsys_assets_tests.ui.dagster_servers import LOCATION, running_dagster

    with tempfile.TemporaryDirectory(prefix="runs-") as name:
        folder = Path(name)
        surface = {
            "tenant": TENANT,
            "surface": "home",
            "start_date": FIRST,
            "source": {"path": "raw"},
            "artifacts": {kind: {} for kind in ASSETS[1:-1]},
        }
        text = yaml.safe_dump({"root": "var", "surfaces": [surface]})
        (folder / "surfaces.yaml").write_text(text)
        of = [FIRST + timedelta(days=number) for number in range(days)]
        for day in of:
            land(folder, "home", day)
        home = folder / "dagster_home"
        with running_dagster(home, folder / "surfaces.yaml") as dagster:
            processes = Processes(home)
            processes.look()
            before_s, began = processes.total_s, time.monotonic()
            for day in of:
                params: dict[str, Any] = {
                    "selector": {
                        **LOCATION,
                        "jobName": "__ASSET_JOB",
                        "assetSelection": [{"path": [TENANT, "home", each]} for each in ASSETS],
                    },
                    "executionMetadata": {
                        "tags": [{"key": "dagster/partition", "value": str(day)}]
                    },
                    "mode": "default",
                    "runConfigData": {},
                }
                dagster.ask(LAUNCH, params=params)
            while dagster.ask(ENDED)["count"] < days:
                processes.look()
                time.sleep(0.2)
            wall_s = time.monotonic() - began
            processes.look()
            cpu_s = processes.total_s - before_s
    print(f"{wall_s} {cpu_s} {processes.peak_mb}")


def main() -> None:
    """Measure this version and the others in turns, and print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=8)
    parser.add_argument("--runs", type=int, default=2, help="turns")
    parser.add_argument("--base", type=Path, action="append", default=[], help="a checkout")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        measure(options.days)
        return
    sys.path.append(str(HERE / "benchmarks"))
    from measure import environment

    print(f"{environment()}; {vars(options)}; no seed")
    trees = [*(tree.absolute() for tree in options.base), HERE]
    took: dict[Path, list[list[float]]] = {tree: [] for tree in trees}
    for _ in range(options.runs):
        for tree in trees:
            done = subprocess.run(
                [sys.executable, __file__, "--one", f"--days={options.days}"],
                env={
                    **os.environ,
                    "PYTHONPATH": f"{tree}{os.pathsep}{HERE / 'benchmarks'}",
                    "DAGSTER_DISABLE_TELEMETRY": "1",
                },
                check=True,
                stdout=subprocess.PIPE,
                text=True,
            )
            took[tree].append([*map(float, done.stdout.split()[-3:])])
            wall, cpu, peak = took[tree][-1]
            print(f"{tree.name:12} {wall:6.1f} s wall {cpu:6.1f} s CPU {peak:6.0f} MB", flush=True)
    for tree, each in took.items():
        wall, cpu, peak = (median(one) for one in zip(*each, strict=True))
        print(f"{tree.name:12} medians {wall:.1f} s, {cpu:.1f} s CPU, {peak:.0f} MB")


if __name__ == "__main__":
    main()
