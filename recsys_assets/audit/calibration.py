"""What the gates of days make of a surface's own days: of those that are stored, and of faults.

Days are judged by the very functions that judge a day when it is made. Nothing is written.
"""

from __future__ import annotations

import logging
import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Final

import polars as pl

from recsys_assets.audit.baseline import Baseline
from recsys_assets.compute.day_counts import DayCounts
from recsys_assets.compute.faults import COLUMNS, FAULTS, Around, Frame
from recsys_assets.compute.judging import Judged, Judgement, judge_day
from recsys_assets.compute.profiles import Profile, hours_of, profile_of
from recsys_assets.config import Gates, Surface
from recsys_assets.errors import InputError, StorageError
from recsys_assets.events.accepted import accepted_days, days_of_events
from recsys_assets.events.catalog import CatalogCache
from recsys_assets.events.listed import known_items
from recsys_assets.storage.overrides import read_overrides
from recsys_assets.storage.store import Store

# Days that faults are put into: so many, or fewer where they have more events than this together.
_MOST_DAYS: Final = 20
_LEAST_DAYS: Final = 3
_EVENTS: Final = 1_000_000
_GROUPS: Final = 100  # of items that are hidden together
_MISSED: Final = 0.9  # share of days below which a fault counts as missed

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Judge:
    """Judges events as those of one day.

    Attributes:
        day: UTC.
        history: profiles of the accepted days before it, ascending.
        gates: the configuration.
        starts: of a gate whose baseline was restarted, the first day that counts for it.
        known: ids of the items of the catalog, where it is read.
    """

    day: date
    history: Sequence[Profile]
    gates: Gates
    starts: Mapping[str, date]
    known: pl.Series | None

    def judge(self, events: Frame) -> Judged:
        """Judge events, contract `canonical_event`."""
        counts, by_hour = DayCounts(events.lazy()), hours_of(events.lazy())
        most = self.gates.sample_events
        profile = profile_of(self.day, counts, by_hour, most=most, known=self.known)
        return self.judge_profile(profile)

    def judge_profile(self, profile: Profile) -> Judged:
        """Judge a day by its profile."""
        return judge_day(profile, self.history, self.gates, self.starts)


@dataclass(frozen=True)
class Tried:
    """What became of one fault.

    Attributes:
        fault: its name.
        stopped: of each day that it was put into, the gates that stopped it. A day that it leaves
            as it was, or empties, is not among them.
    """

    fault: str
    stopped: dict[date, Sequence[str]] = field(default_factory=dict)

    def share(self, gate: str | None = None) -> float:
        """Return the share of days on which a gate, or any of them, stopped it."""
        hits = [gates for gates in self.stopped.values() if (gate in gates if gate else gates)]
        return len(hits) / len(self.stopped)

    @property
    def missed(self) -> list[date]:
        """The days on which nothing stopped it."""
        return [day for day, gates in self.stopped.items() if not gates]

    @property
    def is_missed(self) -> bool:
        """Whether it passes on more days than a few."""
        return bool(self.stopped) and self.share() < _MISSED


@dataclass(frozen=True)
class Calibration:
    """What was found.

    Attributes:
        judged: days that a number of could be judged.
        alarms: of the days that fail as they are, the numbers that are off too far.
        with_faults: days that faults were put into.
        tried: of each fault, what became of it.
    """

    judged: list[date] = field(default_factory=list)
    alarms: dict[date, Sequence[Judgement]] = field(default_factory=dict)
    with_faults: list[date] = field(default_factory=list)
    tried: Mapping[str, Tried] = field(
        default_factory=lambda: {fault: Tried(fault) for fault in FAULTS}
    )

    @property
    def margins(self) -> dict[str, float]:
        """The least margin of each number with which none of the days would fail."""
        found: dict[str, float] = {}
        for wrong in self.alarms.values():
            for each in wrong:
                found[each.name] = max(found.get(each.name, 0), margin_that_passes(each))
        return found


def margin_that_passes(found: Judgement) -> float:
    """Return the least margin, of three decimals, with which a number that failed passes."""
    return math.ceil(abs(found.used) * found.margin * 1000) / 1000


def calibrate(store: Store, surface: Surface, *, days: int) -> Calibration:
    """Judge the stored days of a surface, and faults that are put into some of them.

    Days are held one after the other: the events of three, and the profiles of those before.

    Args:
        store: where its events are.
        surface: whose.
        days: the newest accepted days that are judged, at most.

    Raises:
        InputError: it has too few days; says how many are needed.
        StorageError: an override, or a day that faults are put into, is damaged.
    """
    if surface.variant_of:
        raise InputError(
            f"{surface.name} is made of the days of {surface.events_of.name}, which its gates "
            f"judge: calibrate {surface.events_of.name}"
        )
    accepted = days_of_events(store, surface.place)
    needed = needed_days(surface.gates)
    if len(accepted) < needed:
        raise InputError(
            f"{surface.name} has {len(accepted)} accepted days, and {needed} are needed: "
            f"{_half(surface.gates.reference_days)} that a day is replayed against "
            "(half of gates.reference_days), as many as gates.warm_up_days, "
            f"{surface.gates.warm_up_days}, that were, and one to be judged. Materialize "
            f"{needed - len(accepted)} more"
        )
    found = Calibration()
    judged, rows = accepted[-days:], 1.0
    for day, judge, profile in judges(store, surface, judged):
        _LOG.info("%s: judging %s, of the days to %s", surface.name, day, judged[-1])
        as_it_is = judge.judge_profile(profile)
        if not as_it_is.found:
            continue
        found.judged.append(day)
        rows = profile.numbers["rows"]
        wrong = [each for each in as_it_is.found.values() if each.failed]
        if wrong:
            found.alarms[day] = wrong
    if not found.judged:
        raise InputError(
            f"none of the {len(judged)} days of {surface.name} can be judged: of the "
            f"{surface.gates.history_days} days before one, {surface.gates.warm_up_days} are to be "
            "accepted (gates.history_days, gates.warm_up_days), with events"
        )
    sound = [day for day in found.judged if day not in found.alarms and day >= accepted[needed - 1]]
    chosen = _spread(sound, _affordable(rows))
    for day, judge, _ in judges(store, surface, chosen):
        found.with_faults.append(day)
        for fault, with_it in with_faults(store, surface, judge, FAULTS):
            found.tried[fault].stopped[day] = with_it.profile.failed
            at = f"{day}, day {len(found.with_faults)} of {len(chosen)}"
            _LOG.info("%s: faults put into %s: %s", surface.name, at, fault)
    return found


def needed_days(gates: Gates) -> int:
    """Return the accepted days in a row it takes until a day is judged by all gates."""
    return _half(gates.reference_days) + gates.warm_up_days + 1


def _half(days: int) -> int:
    return -(-days // 2)


def judges(
    store: Store, surface: Surface, days: Sequence[date]
) -> Iterator[tuple[date, Judge, Profile]]:
    """Yield days, ascending, with what judges each and its profile; those without events not."""
    baseline = Baseline(store, surface, read_overrides(store, surface.place), keeps=False)
    known = known_items(surface, CatalogCache())
    for day in days:
        judge = Judge(day, baseline.before(day), surface.gates, baseline.starts(day), known)
        own = [of for of in baseline.before(day + timedelta(days=1)) if of.day == day]
        if own and not own[0].is_empty:
            yield day, judge, own[0]


def _affordable(rows: float) -> int:
    """Return the number of days of so many events that faults are put into."""
    return min(_MOST_DAYS, max(_LEAST_DAYS, int(_EVENTS // rows)))


def _events(store: Store, surface: Surface, day: date) -> Frame:
    accepted = accepted_days(store, surface.place, [day])[day]
    try:
        return accepted.frame.select(COLUMNS).collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise StorageError(
            f"{accepted.location} is damaged: {error}",
            advice=f"Materialize canonical_events of {day} again.",
        ) from None


def _spread(days: Sequence[date], most: int) -> list[date]:
    """Return so many days, evenly spread, the last one among them."""
    count = min(most, len(days))
    return [days[(number + 1) * len(days) // count - 1] for number in range(count)]


def with_faults(
    store: Store, surface: Surface, judge: Judge, faults: Iterable[str]
) -> Iterator[tuple[str, Judged]]:
    """Put faults into a stored day, one at a time; judge each that changes it and leaves events.

    Args:
        store: where its events are.
        surface: whose day.
        judge: of the day; one that has days with events before it.
        faults: names, of `FAULTS`.
    """
    full = [of.day for of in judge.history if not of.is_empty]
    week = bisect_right(full, judge.day - timedelta(days=7))
    day, yesterday, last_week = (
        _events(store, surface, of) for of in (judge.day, full[-1], full[max(0, week - 1)])
    )
    items = pl.concat([day["item_id"], yesterday["item_id"], last_week["item_id"]])
    items = (items if judge.known is None else judge.known).unique().sort()
    groups = items.to_frame("item_id").with_columns(group=pl.int_range(pl.len()) % _GROUPS)
    for name in faults:
        around = Around(yesterday, last_week, groups, f"{judge.day} {name}")
        changed = FAULTS[name](day, around)
        if changed.height and not changed.equals(day):
            yield name, judge.judge(changed)
