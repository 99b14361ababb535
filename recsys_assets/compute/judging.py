"""Judge the numbers of a day by those of the days before it: level, spread, margin.

docs/gates.md has the rule in words, docs/decisions/day-gates.md why it is this one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from statistics import median, median_low
from typing import Final, Literal

from recsys_assets.compute.profiles import Profile
from recsys_assets.compute.replays import replay
from recsys_assets.config import Gates

DayGate = Literal["volume", "shape", "identity", "replay"]
DAY_GATES: Final[Sequence[DayGate]] = ("volume", "shape", "identity", "replay")

_LEAST: Final = 1e-3  # below it, logarithms say nothing
_NORMAL: Final = 1.4826  # of a normal distribution: standard deviations a median distance
_OF_WEEKDAY: Final = 3  # days of a weekday that make a level of their own
_WEEKS: Final = 2  # and so many, where all of them are off
_WEAK: Final = 0.4  # part of a margin beyond which a number is off, if it stays so
_WEAK_DAYS: Final = 3


@dataclass(frozen=True)
class Number:
    """How one number of a day is judged.

    Attributes:
        gate: the check that it belongs to.
        said: what it counts, as people read it.
        form: how its values are written for them.
        is_log: whether margins are factors: small shares, and counts.
        by_weekday: whether weekdays have levels of their own.
        only_more: whether less than usual is fine.
        is_replayed: whether it needs the days before.
    """

    gate: DayGate
    said: str
    form: str = ".2%"
    is_log: bool = False
    by_weekday: bool = False
    only_more: bool = False
    is_replayed: bool = False

    def scaled(self, value: float) -> float:
        """Return the value as it is compared."""
        return math.log(max(value, _LEAST)) if self.is_log else value

    def unscaled(self, value: float) -> float:
        """Return what `scaled` gave back."""
        return math.exp(value) if self.is_log else value


NUMBERS: Final[Mapping[str, Number]] = {
    "rows": Number("volume", "events", ",.0f", is_log=True, by_weekday=True),
    "sessions": Number("volume", "sessions", ",.0f", is_log=True, by_weekday=True),
    "length": Number("shape", "events a session", ".3g", is_log=True, by_weekday=True),
    "repeats": Number(
        "shape", "share of events that show an item again in its session", only_more=True
    ),
    "no_user": Number("shape", "share of events without a user"),
    "shared_sessions": Number("shape", "share of sessions of several users", only_more=True),
    "top_item": Number("shape", "share of the strongest item", is_log=True),
    "top_user": Number("shape", "share of the strongest user", is_log=True, only_more=True),
    "top_session": Number("shape", "share of the longest session", is_log=True),
    "hours": Number(
        "shape",
        "distance of the hours from the usual ones",
        ".3g",
        only_more=True,
        is_replayed=True,
    ),
    "quiet": Number(
        "shape", "usual share of hours that have no event now", only_more=True, is_replayed=True
    ),
    "new_items": Number("identity", "share of events of new items", is_replayed=True),
    "new_users": Number("identity", "share of users who are new", is_replayed=True),
    "old_sessions": Number(
        "identity",
        "share of sessions that the week before has already",
        only_more=True,
        is_replayed=True,
    ),
    "uncatalogued": Number(
        "identity", "share of events of items that the catalog lacks", only_more=True
    ),
    "replay_popularity": Number(
        "replay", "share of events of the usual first 100 items", is_log=True, is_replayed=True
    ),
    "risen_items": Number(
        "replay", "share of events of items far above their usual", only_more=True, is_replayed=True
    ),
    "replay_cooc": Number(
        "replay", "share of foretold steps between items", is_log=True, is_replayed=True
    ),
    "replay_users": Number(
        "replay", "share of events whose user had the item before", is_log=True, is_replayed=True
    ),
}


@dataclass(frozen=True)
class Judgement:
    """How far a number is off its level.

    Attributes:
        name: of the number.
        value: of the day.
        level: the usual value.
        margin: how far it may be off; of a logarithm where `Number.is_log`.
        used: which part of the margin it is off; negative below the level.
        stays: whether it is a weak fault that stays: off to one side for days.
    """

    name: str
    value: float
    level: float
    margin: float
    used: float
    stays: bool = False

    @property
    def failed(self) -> bool:
        """Whether it is off too far."""
        return self.used > 1 or (self.used < -1 and not NUMBERS[self.name].only_more)

    @property
    def figures(self) -> dict[str, float]:
        """The value, the level and what is used of the margin, by the names that people see."""
        return {
            self.name: self.value,
            f"{self.name}/usual": self.level,
            f"{self.name}/margin_used": self.used,
        }

    @property
    def low(self) -> float | None:
        """The least value that passes; None where all small ones do."""
        number = NUMBERS[self.name]
        if number.only_more:
            return None
        return max(0.0, number.unscaled(number.scaled(self.level) - self.margin))

    @property
    def high(self) -> float:
        """The largest value that passes."""
        number = NUMBERS[self.name]
        return number.unscaled(number.scaled(self.level) + self.margin)


@dataclass(frozen=True)
class Judged:
    """A day in the light of the days before it.

    Attributes:
        profile: with the numbers that need those days, and how far they are off.
        found: of each number that could be judged; none of a day without events.
        before: the days that it was replayed against.
        learned: days of history that each gate has, up to those it takes.
    """

    profile: Profile
    found: Mapping[str, Judgement]
    before: Sequence[Profile]
    learned: Mapping[str, int]


def judge_day(
    day: Profile,
    history: Sequence[Profile],
    gates: Gates,
    starts: Mapping[str, date] | None = None,
) -> Judged:
    """Replay a day against the days before it, and judge its numbers.

    Args:
        day: the profile of a day by itself.
        history: profiles of accepted days before it, ascending.
        gates: the configuration.
        starts: of a gate whose baseline was restarted, the first day that counts for it.
    """
    starts = starts or {}
    history = [each for each in history if not each.is_empty]
    before = reference_of(day.day, history, gates, starts)
    numbers = dict(day.numbers)
    if before and not day.is_empty:
        numbers |= replay(day, before)
    few = numbers["sessions"] < gates.min_sessions
    oldest = day.day - timedelta(days=gates.history_days)
    found: dict[str, Judgement] = {}
    learned: dict[str, int] = {}
    for name, number in NUMBERS.items() if not day.is_empty else ():
        past = [
            (each.day, number.scaled(each.numbers[name]))
            for each in history
            if each.day >= max(oldest, starts.get(number.gate, oldest))
            and name in each.numbers
            and (not number.is_replayed or _is_replayed(each.reference_days, gates))
        ]
        learned[number.gate] = max(learned.get(number.gate, 0), min(len(past), gates.warm_up_days))
        least = getattr(gates.margins, name)
        if (
            name not in numbers
            or least is None
            or len(past) < gates.warm_up_days
            or (few and number.gate != "volume")
            or (number.is_replayed and not _is_replayed(len(before), gates))
        ):
            continue
        level, margin = _level_and_margin(number, day.day, past, least, gates)
        used = (number.scaled(numbers[name]) - level) / margin
        value = numbers[name]
        stays = _stays(name, used, history)
        found[name] = Judgement(name, value, number.unscaled(level), margin, used, stays)
    profile = replace(
        day,
        numbers=numbers,
        reference_days=len(before),
        used={name: each.used for name, each in found.items()},
        failed=[
            gate
            for gate in DAY_GATES
            if any(each.failed and NUMBERS[name].gate == gate for name, each in found.items())
        ],
    )
    return Judged(profile, found, before, learned)


def reference_of(
    day: date, history: Sequence[Profile], gates: Gates, starts: Mapping[str, date]
) -> list[Profile]:
    """Return the days, of those before a day, that it is replayed against.

    Args:
        day: that is judged.
        history: profiles of accepted days before it, ascending.
        gates: the configuration.
        starts: of a gate whose baseline was restarted, the first day that counts for it.
    """
    first = day - timedelta(days=gates.reference_days)
    first = max([first, *(starts[gate] for gate in ("identity", "replay") if gate in starts)])
    return [each for each in history if first <= each.day and not each.is_empty]


def _is_replayed(reference_days: int, gates: Gates) -> bool:
    """Tell whether numbers come of enough days to be compared."""
    return 2 * reference_days >= gates.reference_days


def _level_and_margin(
    number: Number, day: date, past: Sequence[tuple[date, float]], least: float, gates: Gates
) -> tuple[float, float]:
    """Return what is usual on such a day, and how far off is too far, of values that are scaled.

    A weekday that is always off is not unsound: it has a level of its own, and differs as it does.
    """
    level, spread = _level_and_spread(number, day, past, gates)
    margin = max(gates.spreads * spread, least)
    same = [value for at, value in past if at.weekday() == day.weekday()]
    if len(same) < _WEEKS or median_low(abs(value - level) for value in same) <= _WEAK * margin:
        return level, margin
    level = median(same)
    off = median(abs(value - level) for value in same) * len(same) / (len(same) - 1)
    return level, max(gates.spreads * _NORMAL * off, margin)


def _level_and_spread(
    number: Number, day: date, past: Sequence[tuple[date, float]], gates: Gates
) -> tuple[float, float]:
    """Return what is usual, and how far values usually are off, of values that are scaled."""
    every = median(value for _, value in past)
    if not number.by_weekday:
        recent = day - timedelta(days=gates.reference_days)
        level = median([value for at, value in past if at >= recent] or [every])
        return level, _NORMAL * median(abs(value - level) for _, value in past)
    by_weekday: dict[int, list[float]] = {}
    for at, value in past:
        by_weekday.setdefault(at.weekday(), []).append(value)
    levels = {
        weekday: median(values) if len(values) >= _OF_WEEKDAY else every
        for weekday, values in by_weekday.items()
    }
    off = median(abs(value - levels[at.weekday()]) for at, value in past)
    weeks = len(past) / 7
    grown = weeks / (weeks - 1) if weeks >= 2 else 2.0  # the median of few fits them too well
    return levels.get(day.weekday(), every), _NORMAL * off * grown


def _stays(name: str, used: float, history: Sequence[Profile]) -> bool:
    """Tell whether a number has been off to one side for days, each time within its margin."""
    if abs(used) <= _WEAK or (used < 0 and NUMBERS[name].only_more):
        return False
    side = math.copysign(1, used)
    last = history[-(_WEAK_DAYS - 1) :]
    return len(last) == _WEAK_DAYS - 1 and all(
        each.used.get(name, 0) * side > _WEAK for each in last
    )
