"""Time a new day, and a year of small days, with gates against the same without.

A new day: the days before are there, with their profiles, as in production. Each of the last days
is materialized as a process of its own, Dagster, checks and publishing included, with and without
gates in turns, and compared with the one that is live. What is printed is the whole process of the
command line, of which imports are about 1.5 s of CPU; with `--warm`, the days alone, made one by
one in one process. A year (`--year`): the days of Complete Journey up to Christmas in one run, into
roots of their own; imports are 2 % of it.
"""

from __future__ import annotations

import argparse
import gc
import os
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import inputs
import measure
import yaml
from day import INSTANCE

from recsys_assets.config import load_config

_UNLIMITED = 1_000_000_000
_CLI = [sys.executable, "-m", "recsys_assets.cli", "materialize", "--json"]
_FIRST = date(2017, 1, 1)
_WARM_AFTER = 2  # days of a process
_KINDS = ("popularity", "cooc", "implicit", "session_seq")


class Bench:
    """One surface with a configuration for each mode of its gates."""

    def __init__(self, folder: Path, tenant: str, surface: str, **more: Any) -> None:
        self.folder = folder
        for mode in ("off", "warn"):
            entry: dict[str, Any] = {
                "tenant": tenant,
                "surface": surface,
                "start_date": _FIRST,
                "source": {"path": "raw"},
                "artifacts": {kind: {} for kind in _KINDS},
                "guardrails": {
                    "max_artifact_bytes": _UNLIMITED,
                    "max_oversized_session_share": 1,
                },
                "gates": {"mode": mode},
                **more,
            }
            text = yaml.safe_dump({"root": f"var.{mode}", "surfaces": [entry]})
            self.config(mode).write_text(text)

    def config(self, mode: str) -> Path:
        """Return where the configuration is."""
        return self.folder / f"surfaces.{mode}.yaml"

    def materialize(self, first: date, last: date, mode: str) -> measure.Cost:
        """Materialize days in a process of its own, on a new instance."""
        home = self.folder / "home"
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        shutil.copy(INSTANCE, home)
        return measure.run(
            [*_CLI, "--from", str(first), "--to", str(last)],
            env={"RECSYS_CONFIG": str(self.config(mode)), "DAGSTER_HOME": str(home)},
            log=self.folder / "log",
        )

    def accept(self, days: list[date]) -> None:
        """Make the days before, without their artifacts: parsed, judged and accepted."""
        from recsys_assets.audit.events import audit_events
        from recsys_assets.audit.gates import DayGates
        from recsys_assets.audit.shared import Shared
        from recsys_assets.events.accepted import accept_day
        from recsys_assets.storage import open_store

        config = load_config(self.config("warn"))
        (surface,), store = config.surfaces, open_store(config.root)
        gates = DayGates(store, surface, Shared())
        for day in days:
            with store.scratch() as scratch:
                audited = audit_events(store, surface, day, scratch, Shared(), gates).settled()
                assert audited.value, audited.verdicts
                accept_day(store, surface.place, audited.value)
        shutil.copytree(self.folder / "var.warn/canonical", self.folder / "var.off/canonical")


def new_days(folder: Path, options: argparse.Namespace) -> None:
    """Print what a new day costs."""
    bench = Bench(folder, "demo", "home")
    days = [_FIRST + timedelta(days=n) for n in range(options.before + options.days)]
    sizes = inputs.sizes(options)
    for number, day in enumerate(days):
        path = folder / f"raw/demo/home/exposure.{day}.jsonl"
        varied = {"seed": sizes["seed"] + number, "first-session": number * 10**7}
        inputs.generate(path, sizes | varied, day)
    print(", ".join(f"{value:,} {name}" for name, value in sizes.items()), f"in {len(days)} days")
    bench.accept(days[: options.before])
    costs: dict[str, list[measure.Cost]] = {"off": [], "warn": []}
    if options.warm:
        in_one_process(bench, days[options.before :], costs)
        report(costs)
        return
    for number, day in enumerate(days[options.before :]):
        for mode in sorted(costs, reverse=bool(number % 2)):
            cost = bench.materialize(day, day, mode)
            if number:  # before the second one there is nothing live to compare with
                costs[mode].append(cost)
    report(costs)


def in_one_process(bench: Bench, days: list[date], costs: dict[str, list[measure.Cost]]) -> None:
    """Make days one by one in this process, both ways in turns; the first ones are not counted."""
    from recsys_assets.cli.days import load
    from recsys_assets.defs.instance import dagster_home, open_instance
    from recsys_assets.defs.materialize import materialize
    from recsys_assets.storage import open_store

    with ExitStack() as opened:
        ways = {}
        for mode in costs:
            home = bench.folder / f"home.{mode}"
            home.mkdir()
            shutil.copy(INSTANCE, home)
            os.environ["DAGSTER_HOME"] = str(home)
            config = load_config(bench.config(mode))
            loaded = load(config, [surface.place for surface in config.surfaces])
            ways[mode] = loaded, opened.enter_context(open_instance(dagster_home()))
        gc.freeze()
        gc.enable()
        for number, day in enumerate(days):
            for mode in sorted(costs, reverse=bool(number % 2)):
                (loaded, instance), begun = ways[mode], (time.perf_counter(), time.process_time())
                (surface,), store = loaded.config.surfaces, open_store(loaded.config.root)
                made = materialize(
                    loaded.definitions, surface, [day], store=store, instance=instance
                )
                wall, cpu = time.perf_counter() - begun[0], time.process_time() - begun[1]
                assert made.succeeded, made.failures
                if number >= _WARM_AFTER:
                    costs[mode].append(measure.Cost(wall, cpu, measure.peak_mb(), output=""))


def year(folder: Path, options: argparse.Namespace) -> None:
    """Print what a year of small days costs."""
    from recsys_assets.demo.complete_journey import (
        SURFACE,
        TENANT,
        write_catalog,
        write_raw_events,
    )

    kinds: dict[str, Any] = {kind: {} for kind in (*_KINDS, "content_sim")}
    bench = Bench(
        folder, TENANT, SURFACE, artifacts=kinds, catalog={"path": str(folder / "catalog.csv")}
    )
    write_catalog(folder / "catalog.csv")
    days = [_FIRST + timedelta(days=n) for n in range(358)]  # there are none at Christmas
    print(f"Complete Journey, {write_raw_events(folder / 'raw', days):,} events in a year")
    costs: dict[str, list[measure.Cost]] = {"off": [], "warn": []}
    for number in range(options.runs):
        for mode in sorted(costs, reverse=bool(number % 2)):
            shutil.rmtree(folder / f"var.{mode}", ignore_errors=True)
            costs[mode].append(bench.materialize(days[0], days[-1], mode))
    report(costs)


def report(costs: dict[str, list[measure.Cost]]) -> None:
    """Print the medians of both ways, and their ratio."""
    medians = {mode: measure.median(of) for mode, of in costs.items()}
    for mode, cost in medians.items():
        print(f"gates.mode {mode:8}{cost}  {measure.ratios(cost, medians['off'])}")
    print(f"medians of {len(costs['off'])}; ratios of wall, CPU and peak to a day without gates")


def main() -> None:
    """Read the command line, generate, take turns, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    inputs.add_sizes(parser)
    parser.add_argument("--before", type=int, default=56, help="days that are there already")
    parser.add_argument("--days", type=int, default=6, help="new days; the first is not counted")
    parser.add_argument("--warm", action="store_true", help="the new days in one process")
    parser.add_argument("--year", action="store_true", help="a year of small days instead")
    parser.add_argument("--runs", type=int, default=1, help="runs of the year, each way")
    parser.add_argument("--folder", type=Path, help="where to write")
    options = parser.parse_args()
    print(f"machine: {measure.environment()}")
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        (year if options.year else new_days)(Path(name), options)


if __name__ == "__main__":
    main()
