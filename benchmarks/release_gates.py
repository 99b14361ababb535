"""How many sound releases the release gate alarms on, and how often it stops a broken artifact.

The artifacts of a year of days are compared one after the other with those of the day before, on
days before both windows. Then a fault is put into some of them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from functools import partial
from typing import Final

import gates as of_days
import measure
import numpy as np
import polars as pl

from recsys_assets.compute.coded import Piece
from recsys_assets.compute.day_counts import DayCounts
from recsys_assets.compute.outlines import Outline
from recsys_assets.compute.samples import take_sample
from recsys_assets.compute.scores import Asked, Change, compare_scores, score
from recsys_assets.compute.window_counts import WindowCounts
from recsys_assets.config import Gates, Surface
from recsys_assets.kind import WindowEvents
from recsys_assets.kinds import KINDS

Frame = pl.DataFrame
Fault = Callable[[Frame, np.random.Generator], Frame]
SCORED: Final = ("popularity", "cooc", "implicit", "session_seq")


class Year:
    """A year of days, the artifacts of each, and how each compared with the one before."""

    def __init__(self, events: Mapping[date, Frame], window: int) -> None:
        self.gates = Gates.model_validate({})
        self.surface = Surface.model_validate(
            {
                "tenant": "t",
                "surface": "s",
                "start_date": next(iter(events)),
                "source": {"path": "raw"},
                "artifacts": {kind: {} for kind in SCORED},
                "window_days": window,
            }
        )
        self.counts = {day: DayCounts(_as_canonical(of)) for day, of in events.items()}
        self.samples = {
            day: take_sample(
                of.events,
                of.users,
                rows=events[day].height,
                anonymous=events[day]["user_id"].null_count(),
                most=20_000,
            )
            for day, of in self.counts.items()
        }
        self.frames: dict[tuple[date, str], Frame] = {}
        self.outlines: dict[tuple[date, str], Outline] = {}
        self.changes: dict[date, dict[str, Change]] = {}
        self.replayed: tuple[tuple[date, ...], Asked] | None = None
        self.seconds = 0.0

    def make(self, day: date) -> None:
        """Make the artifacts of a day."""
        window = {
            each: self.counts[each]
            for each in self.surface.days_of_window(day)
            if each in self.counts
        }
        together = WindowCounts([*window.values()]) if len(window) > 1 else window[day]
        for kind in SCORED:
            computed = KINDS[kind].compute(
                WindowEvents(window, together), self.surface.artifacts.options(kind), self.surface
            )
            frame = computed.frame.collect()
            self.frames[day, kind] = frame
            started = time.process_time()
            self.outlines[day, kind] = outlined(kind, frame)
            self.seconds += time.process_time() - started

    def asked(self, day: date) -> Asked | None:
        """Return what happened on the days before the windows of a day and the one before."""
        first = self.surface.window(self.before(day)).start
        trusted = tuple(each for each in self.samples if each < first)[-14:]
        if len(trusted) < 14:
            return None
        if self.replayed is None or self.replayed[0] != trusted:
            self.replayed = trusted, Asked.of(self.samples[each] for each in trusted)
        return self.replayed[1]

    def before(self, day: date) -> date:
        """Return the day that is live when a day is to become live; the first is its own."""
        return max((each for each in self.samples if each < day), default=day)

    def compare(self, day: date, kind: str, outline: Outline) -> dict[str, Change]:
        """Compare an outline as that of a day with what was live."""
        started = time.process_time()
        asked = self.asked(day)
        live = self.outlines.get((self.before(day), kind))
        if asked is None or live is None:
            return {}
        first = day - timedelta(days=self.gates.history_days)
        past = [of for at, of in self.changes.items() if first <= at < day]
        after, before = score(outline, asked), score(live, asked)
        found = {}
        for cut in after:
            name = f"{kind}_{cut}"
            earlier = [of[name].logarithm for of in past if name in of]
            found[name] = compare_scores(after[cut], before[cut], earlier, self.gates)
        self.seconds += time.process_time() - started
        return found


def outlined(kind: str, frame: Frame) -> Outline:
    """Return the outline of an artifact."""
    outliner = KINDS[kind].layout.outliner()
    outliner.add(Piece(frame))
    return outliner.made()


def _as_canonical(events: Frame) -> pl.LazyFrame:
    places = pl.int_range(events.height, dtype=pl.Int64, eager=True)
    return events.with_columns(file=pl.lit(0, pl.Int32), line=places).lazy()


def ascending(rows: Frame, _: np.random.Generator) -> Frame:
    """Order a ranking the wrong way round."""
    return rows.reverse()


def without_first(rows: Frame, _: np.random.Generator) -> Frame:
    """Lose the first items of a ranking."""
    return rows.slice(20)


def other_ids(rows: Frame, rng: np.random.Generator, *, first: int | None = None) -> Frame:
    """Give all items of a ranking, or every other of the first, ids that are unknown."""
    wrong = pl.int_range(rows.height, eager=True)
    is_wrong = (
        pl.Series([True] * rows.height) if first is None else (wrong < first) & (wrong % 2 == 0)
    )
    other = pl.when(is_wrong).then("x" + pl.col("item_id")).otherwise("item_id")
    return rows.with_columns(item_id=other)


def weakest_first(rows: Frame, _: np.random.Generator, *, owner: str, keep: int) -> Frame:
    """Keep the weakest of each list instead of the strongest."""
    return rows.reverse().group_by(owner, maintain_order=True).head(keep).sort(owner)


def without_owners(rows: Frame, rng: np.random.Generator, *, owner: str, share: float) -> Frame:
    """Lose a share of the lists."""
    owners = rows[owner].unique().sort()
    lost = owners.filter(pl.Series(rng.random(owners.len()) < share))
    return rows.filter(~pl.col(owner).is_in(lost.implode()))


def few_owners(rows: Frame, rng: np.random.Generator, *, owner: str, keep: int) -> Frame:
    """Keep some lists only."""
    owners = rows[owner].unique().sort()
    kept = pl.Series(rng.permutation(owners.to_numpy())[:keep], dtype=pl.String)
    return rows.filter(pl.col(owner).is_in(kept.implode()))


def lists_of_others(rows: Frame, rng: np.random.Generator, *, owner: str) -> Frame:
    """Deal the lists anew among the owners."""
    owners = rows[owner].unique().sort()
    dealt = pl.Series("dealt", rng.permutation(owners.to_numpy()), dtype=pl.String)
    table = pl.DataFrame([owners, dealt])
    found = rows.join(table, on=owner, how="left", maintain_order="left")
    return found.with_columns(found["dealt"].alias(owner)).drop("dealt").sort(owner)


def _of_lists(owner: str) -> dict[str, Fault]:
    return {
        "lists of others": partial(lists_of_others, owner=owner),
        "half the lists lost": partial(without_owners, owner=owner, share=0.5),
        "a tenth of the lists lost": partial(without_owners, owner=owner, share=0.1),
        "only 100 lists": partial(few_owners, owner=owner, keep=100),
        "10 weakest kept": partial(weakest_first, owner=owner, keep=10),
    }


FAULTS: Final[Mapping[str, Mapping[str, Fault]]] = {
    "popularity": {
        "ascending": ascending,
        "without its first 20": without_first,
        "other ids": other_ids,
        "half of the first 20 wrong": partial(other_ids, first=20),
    },
    "cooc": _of_lists("item_id"),
    "implicit": _of_lists("user_id"),
    "session_seq": _of_lists("user_id"),
}


def main() -> None:
    """Read the command line, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--window", type=int, default=1)
    parser.add_argument("--faults", type=int, default=20, help="days with faults; 0 for none")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(f"machine: {measure.environment()}")
    events, _ = of_days.complete_journey()
    year = Year(dict(list(events.items())[: options.days]), options.window)
    days = list(year.counts)[options.window - 1 :]
    smallest: dict[str, float] = {}
    for day in days:
        year.make(day)
        before = year.before(day)
        for kind in SCORED:
            if before < day and (before, kind) in year.outlines:
                ratio = year.outlines[day, kind].owners / year.outlines[before, kind].owners
                smallest[kind] = min(smallest.get(kind, 1), ratio)
        year.changes[day] = {
            name: of
            for kind in SCORED
            for name, of in year.compare(day, kind, year.outlines[day, kind]).items()
        }
    judged = {day: of for day, of in year.changes.items() if any(c.floor for c in of.values())}
    alarms = {day: of for day, of in judged.items() if any(c.failed for c in of.values())}
    for day, of in alarms.items():
        print(f"  {day}: {said(of)}")
    print(f"window {options.window}: {len(alarms)} of {len(judged)} releases alarm")
    print(f"{1000 * year.seconds / len(days):.1f} ms of CPU a day; least lists kept {smallest}")
    if options.faults:
        late = list(judged)[len(judged) // 8 :]
        report_faults(year, late[:: max(1, len(late) // options.faults)], options.seed)


def said(changes: Mapping[str, Change]) -> str:
    """Say what is worse."""
    return ", ".join(
        f"{name} {of.share:.4f}, live {of.live:.4f}, {of.used:.2f} of its margin"
        for name, of in changes.items()
        if of.failed
    )


def report_faults(year: Year, on: Sequence[date], seed: int) -> None:
    """Print for each fault the share of days on which it is stopped."""
    for kind, faults in FAULTS.items():
        for name, fault in faults.items():
            stopped = 0
            for day in on:
                rng = np.random.default_rng([seed, day.toordinal(), *name.encode()])
                broken = outlined(kind, fault(year.frames[day, kind], rng))
                found = year.compare(day, kind, broken)
                stopped += any(of.failed for of in found.values())
            print(f"{kind:12} {name:30} {round(100 * stopped / len(on)):4}")


if __name__ == "__main__":
    main()
