"""Time a new day of a trailing window against a new day without one.

The days before are there, as in production: canonical events of all, and the counts that the run
of the last one kept. Then some new days land, and each is materialized as a process of its own,
Dagster, checks and publishing included, in three ways that take turns: with a window of one day;
with the long window; and with the long window after the kept counts were deleted, which counts all
of its days again. The second and the third must give the same versions.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import inputs
import measure
import yaml
from day import INSTANCE

NEW_DAYS = 3
_UNLIMITED = 1_000_000_000
_CLI = [sys.executable, "-m", "recsys_assets.cli", "materialize", "--json"]


class Bench:
    """One surface, in one root, with a configuration for each length of window."""

    def __init__(self, folder: Path, surface: dict[str, Any], first: date, top_n: int) -> None:
        self.folder = folder
        self._surface = surface | {
            "start_date": first,
            "source": {"path": "raw"},
            "guardrails": {
                "max_artifact_bytes": _UNLIMITED,
                "max_oversized_session_share": 1,
            },
            "artifacts": {
                "popularity": {},
                "cooc": {},
                "implicit": {"top_n": top_n},
                "session_seq": {"top_n": top_n},
            },
        }
        (folder / "home").mkdir()
        shutil.copy(INSTANCE, folder / "home")

    def materialize(self, first: date, last: date, window_days: int) -> measure.Cost:
        """Materialize days in a process of its own."""
        config = self.folder / f"surfaces.{window_days}.yaml"
        surface = {**self._surface, "window_days": window_days}
        config.write_text(yaml.safe_dump({"root": "var", "surfaces": [surface]}))
        return measure.run(
            [*_CLI, "--from", str(first), "--to", str(last)],
            env={"RECSYS_CONFIG": str(config), "DAGSTER_HOME": str(self.folder / "home")},
            log=self.folder / "log",
        )

    def staged(self, day: date) -> dict[str, tuple[str, int]]:
        """Return version and size of what was staged for a day, by kind."""
        refs = (self.folder / "var/staged").rglob(f"{day}.json")
        read = {path.parent.name: json.loads(path.read_bytes()) for path in refs}
        return {kind: (ref["version"], ref["size_bytes"]) for kind, ref in sorted(read.items())}


def main() -> None:
    """Read the command line, generate, take turns, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    inputs.add_sizes(parser)
    parser.add_argument("--window-days", type=int, default=28)
    parser.add_argument("--top-n", type=int, default=500, help="items kept per user")
    parser.add_argument("--journey", action="store_true", help="days of Complete Journey instead")
    parser.add_argument("--folder", type=Path, help="where to write")
    options = parser.parse_args()
    days = [date(2017, 1, 1) + timedelta(days=n) for n in range(options.window_days + NEW_DAYS)]
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        if options.journey:
            from recsys_assets.demo.complete_journey import SURFACE, TENANT, write_raw_events

            bench = Bench(folder, {"tenant": TENANT, "surface": SURFACE}, days[0], options.top_n)
            what = f"Complete Journey, {write_raw_events(folder / 'raw', days):,} events"
        else:
            bench = Bench(folder, {"tenant": "demo", "surface": "home"}, days[0], options.top_n)
            what = generate(folder, options, days)
        print(
            f"input: {what} in {len(days)} days; window of {options.window_days} days, "
            f"{options.top_n} items a user"
        )
        print(f"machine: {measure.environment()}\n")
        compare(bench, days, options.window_days)


def generate(folder: Path, options: argparse.Namespace, days: list[date]) -> str:
    """Write a raw file a day, in a process of its own; return a line on it."""
    sizes = inputs.sizes(options)
    for number, day in enumerate(days):
        path = folder / f"raw/demo/home/exposure.{day}.jsonl"
        inputs.generate(
            path, sizes | {"seed": sizes["seed"] + number, "first-session": number * 10**7}, day
        )
    return ", ".join(f"{value:,} {name}" for name, value in sizes.items())


def compare(bench: Bench, days: list[date], window_days: int) -> None:
    """Prepare the days before, then let the three ways take turns over the new days."""
    before, new = days[:-NEW_DAYS], days[-NEW_DAYS:]
    bench.materialize(before[0], before[-1], 1)
    bench.materialize(before[-1], before[-1], window_days)
    ways: dict[str, list[measure.Cost]] = {"one": [], "kept": [], "all": []}
    for day in new:
        ways["one"].append(bench.materialize(day, day, 1))
        ways["kept"].append(bench.materialize(day, day, window_days))
        kept = bench.staged(day)
        counts, aside = bench.folder / "var/counts", bench.folder / "counts"
        counts.rename(aside)
        ways["all"].append(bench.materialize(day, day, window_days))
        assert bench.staged(day) == kept, "kept counts gave other versions"
        shutil.rmtree(counts)
        aside.rename(counts)
    medians = {way: measure.median(costs) for way, costs in ways.items()}
    names = {
        "one": "window of 1 day",
        "kept": f"window of {window_days} days",
        "all": "the same, all days counted",
    }
    for way, cost in medians.items():
        print(f"{names[way]:28}{cost}  {measure.ratios(cost, medians['one'])}")
    print(f"\nmedians of {NEW_DAYS} new days; ratios of wall, CPU and peak to a window of 1 day")
    sizes = ", ".join(f"{kind} {size:,}" for kind, (_, size) in bench.staged(new[-1]).items())
    used = subprocess.run(
        ["du", "-sb", bench.folder / "var/counts"], capture_output=True, text=True, check=True
    )
    print(
        f"bytes of the documents of the long window: {sizes}; of the kept counts: "
        f"{int(used.stdout.split()[0]):,}"
    )


if __name__ == "__main__":
    main()
