"""How many sound days the gates of a day alarm on, and how often they stop each kind of fault.

The days of a year are judged one after the other, as they are made in production: each by those
before it. Then a fault is put into some of them, each judged by the same days before it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Final

import generate
import measure
import numpy as np
import polars as pl
import shapes
from shapes import MADE, SHAPES, by_day
from unlisted import AGES, UNLISTED

from recsys_assets.audit.calibration import Judge
from recsys_assets.compute.faults import COLUMNS, FAULTS, Around, Frame
from recsys_assets.compute.judging import DAY_GATES, Judged
from recsys_assets.compute.profiles import Profile
from recsys_assets.config import Gates
from recsys_assets.verdicts import surely_at_least

ALL_FAULTS: Final = {**FAULTS, **UNLISTED}


class Days:
    """Days of events, each with the profile that it had when it was judged."""

    def __init__(
        self, events: Mapping[date, Frame], groups: Frame, gates: Gates, *, catalog: bool
    ) -> None:
        self.events = events
        self.groups = groups
        self.gates = gates
        self.known = groups["item_id"] if catalog else None
        self.judged: dict[date, Judged] = {}

    def history(self, day: date) -> list[Profile]:
        """Return the profiles of the days before one, those that count."""
        first = day - timedelta(days=self.gates.history_days)
        return [of.profile for at, of in self.judged.items() if first <= at < day]

    def judge(self, day: date, events: Frame) -> Judged:
        """Judge events as those of a day."""
        return Judge(day, self.history(day), self.gates, {}, self.known).judge(events)

    def judge_all(self) -> float:
        """Judge all days as they are; return the CPU seconds a day."""
        started = time.process_time()
        for day, events in self.events.items():
            self.judged[day] = self.judge(day, events)
        return (time.process_time() - started) / len(self.events)

    def with_faults(self, name: str, on: Sequence[date], seed: int) -> Iterator[Judged]:
        """Put a fault into some days, and judge each."""
        for day in on:
            around = Around(
                self.events[day - timedelta(days=1)],
                self.events[day - timedelta(days=AGES.get(name, 7))],
                self.groups,
                f"{seed} {day} {name}",
            )
            yield self.judge(day, ALL_FAULTS[name](self.events[day], around))


def complete_journey() -> tuple[dict[date, Frame], Frame]:
    """Return the days of the demo's data set, and the category of each product."""
    from recsys_assets.demo.complete_journey import data_directory

    folder = data_directory()
    events = (
        pl.scan_parquet(folder / "transactions.parquet")
        .sort("transaction_timestamp", maintain_order=True)
        .select(
            user_id=pl.col("household_id").cast(pl.String),
            session_id=pl.col("basket_id").cast(pl.String),
            item_id=pl.col("product_id").cast(pl.String),
            ts=pl.col("transaction_timestamp").cast(pl.Datetime("ns")).dt.replace_time_zone("UTC"),
        )
        .collect()
    )
    products = pl.read_parquet(folder / "products.parquet")
    groups = products.select(item_id=pl.col("product_id").cast(pl.String), group="product_category")
    return by_day(events), groups


def generated(days: int, sizes: Mapping[str, int]) -> tuple[dict[date, Frame], Frame]:
    """Return days of the generator, whose users have no taste; groups are hundreds of items."""
    first, frames = date(2026, 1, 1), []
    with tempfile.TemporaryDirectory() as name:
        for number in range(days):
            path, day = Path(name, "day.jsonl"), first + timedelta(days=number)
            # As many as there are on such a day: a tenth more or less.
            rng = np.random.default_rng(number)
            events = int(sizes["events"] * rng.normal(1, 0.05))
            generate.generate(
                path,
                **{**sizes, "events": events},
                seed=number,
                first_session=number * 10**6,
                day=day,
            )
            lines = pl.read_ndjson(path, schema_overrides={"user_id": pl.String})
            frames.append(
                lines.select(
                    *COLUMNS[:3],
                    ts=pl.col("ts").str.to_datetime(time_unit="ns", time_zone="UTC"),
                )
            )
    events_of_all = pl.concat(frames)
    items = events_of_all["item_id"].unique().sort()
    groups = items.to_frame().select("item_id", group=pl.col("item_id").str.head(-2))
    return by_day(events_of_all), groups


def report_sound(days: Days) -> None:
    """Print the alarms on days as they are."""
    judged = {day: of for day, of in days.judged.items() if of.found}
    alarms = {day: of for day, of in judged.items() if of.profile.failed}
    for day, of in alarms.items():
        wrong = ", ".join(
            f"{name} {each.value:.4g} (usual {each.level:.4g}, {each.used:+.2f} of its margin)"
            for name, each in of.found.items()
            if each.failed
        )
        print(f"  {day} {day:%a}: {wrong}")
    weak = [day for day, of in judged.items() if any(each.stays for each in of.found.values())]
    print(
        f"{len(alarms)} of {len(judged)} judged days alarm, {_interval(len(alarms), len(judged))}; "
        f"weak faults that stay are told on {len(weak)}: {', '.join(map(str, weak[:9]))}"
    )


def _interval(found: int, of: int) -> str:
    least, rest = surely_at_least(found, of), surely_at_least(of - found, of)
    return f"{100 * least:.1f} to {100 * (1 - rest):.1f} %"


def report_shapes(options: argparse.Namespace) -> None:
    """Print the alarms on days of other shapes: of the data set, of generators, and of files."""
    real, groups = complete_journey()
    few = {"min_sessions": 20}
    tried: list[tuple[str, Mapping[date, Frame], Mapping[str, int]]] = [
        *((name, shape(real), {}) for name, shape in SHAPES.items()),
        ("a tenth of the users, min_sessions: 20", shapes.thinned(real, 0.1), few),
    ]
    for name, events, gates in tried:
        _report_shape(name, Days(events, groups, Gates.model_validate(gates), catalog=True))
    files: dict[str, tuple[Path | None, Callable[[Path], Mapping[date, Frame]]]] = {
        "ratings": (options.ratings, shapes.ratings),
        "flights": (options.flights, shapes.flights),
    }
    of_files: dict[str, Callable[[], Mapping[date, Frame]]] = {
        name: partial(read, path) for name, (path, read) in files.items() if path
    }
    for name, make in {**of_files, **MADE}.items():
        _report_shape(name, Days(make(), groups, Gates.model_validate({}), catalog=False))


def _report_shape(name: str, days: Days) -> None:
    days.judge_all()
    rows = sum(of.height for of in days.events.values()) / len(days.events)
    print(f"\n{name}: {len(days.events)} days of {rows:,.0f} events", flush=True)
    report_sound(days)


def report_faults(days: Days, names: Iterable[str], on: Sequence[date], seed: int) -> None:
    """Print for each fault the share of days that each gate stops, and which it misses."""
    print(f"\n{'percent of ' + str(len(on)) + ' days stopped':42}", *DAY_GATES, "all", sep="  ")
    names, missed = list(names), []
    for name in names:
        found = list(days.with_faults(name, on, seed))
        stopped = Counter(gate for of in found for gate in of.profile.failed)
        whole = sum(bool(of.profile.failed) for of in found)
        shares = [f"{round(100 * stopped[gate] / len(on)):{len(gate)}}" for gate in DAY_GATES]
        print(f"{name:42}", *shares, f"{round(100 * whole / len(on)):3}", sep="  ", flush=True)
        if whole < 0.9 * len(on):
            missed.append(name)
    print(
        f"\n{len(names) - len(missed)} of {len(names)} faults are stopped on at least 90 % of "
        f"days; not these: {'; '.join(missed)}"
    )


def main() -> None:
    """Read the command line, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--generated", type=int, help="so many generated days instead")
    parser.add_argument("--events", type=int, default=30_000, help="events of a generated day")
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--items", type=int, default=5_000)
    parser.add_argument("--faults", type=int, default=20, help="days with faults; 0 for none")
    parser.add_argument("--unlisted", action="store_true", help="put in the faults of unlisted.py")
    parser.add_argument("--shapes", action="store_true", help="judge days of other shapes instead")
    parser.add_argument("--ratings", type=Path, help="MovieLens-100k as Parquet, for --shapes")
    parser.add_argument("--flights", type=Path, help="flights.csv of nycflights13, for --shapes")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(f"machine: {measure.environment()}")
    if options.shapes:
        report_shapes(options)
        return
    sizes = {name: getattr(options, name) for name in ("events", "users", "items")}
    events, groups = (
        generated(options.generated, sizes) if options.generated else complete_journey()
    )
    days = Days(events, groups, Gates.model_validate({}), catalog=not options.generated)
    print(f"{len(events)} days, {sum(of.height for of in events.values()):,} events")
    print(f"{1000 * days.judge_all():.1f} ms of CPU a day")
    report_sound(days)
    if options.faults:
        names = UNLISTED if options.unlisted else FAULTS
        back = {1, 7, *(AGES[name] for name in names if name in AGES)}
        late = [
            day
            for day in list(events)[days.gates.history_days :]
            if all(day - timedelta(days=each) in events for each in back)
        ]
        report_faults(days, names, late[:: max(1, len(late) // options.faults)], options.seed)


if __name__ == "__main__":
    main()
