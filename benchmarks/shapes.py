"""Days of events in other shapes than those that margins were set on: data to try gates on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final, Literal

import numpy as np
import polars as pl

Frame = pl.DataFrame
Days = Mapping[date, Frame]
_DAY_MS: Final = 86_400_000


def thinned(days: Days, share: float) -> Days:
    """Keep a share of the users."""
    return {day: of.filter(_place("user_id") < share) for day, of in days.items()}


def anonymous(days: Days) -> Days:
    """Forget who it was."""
    nobody = pl.lit(None, pl.String).alias("user_id")
    return {day: of.with_columns(nobody) for day, of in days.items()}


def sessions_by_day(days: Days) -> Days:
    """Put what a user does on a day into one session."""
    return {
        day: of.with_columns(session_id=pl.format("{} {}", pl.col("user_id"), pl.lit(str(day))))
        for day, of in days.items()
    }


def closed(days: Days, weekdays: Sequence[int]) -> Days:
    """Have no days of some weekdays; 0 is Monday."""
    return {day: of for day, of in days.items() if day.weekday() not in weekdays}


def quiet(days: Days, weekdays: Sequence[int], share: float) -> Days:
    """Have a share of the users on some weekdays only."""
    few = _place("user_id", "on quiet days") < share
    return {day: of.filter(few) if day.weekday() in weekdays else of for day, of in days.items()}


def growing(days: Days, rate: float, count: int) -> Days:
    """Have more users each day; the last of so many days has all of them."""
    last = list(days.items())[:count]
    return {
        day: of.filter(_place("user_id") < (1 + rate) ** (at + 1 - count))
        for at, (day, of) in enumerate(last)
    }


def with_holidays(days: Days, every: int, share: float) -> Days:
    """Have a share of the users on every so manieth day."""
    few = _place("user_id", "on holidays") < share
    return {
        day: of.filter(few) if not at % every else of
        for at, (day, of) in enumerate(days.items(), 1)
    }


def new_each_week(days: Days, share: float, weekday: int = 0) -> Days:
    """Replace a share of the items on each Monday, for good."""
    some = _place("item_id") < share
    return {
        day: of.with_columns(
            item_id=pl.when(some)
            .then(pl.format("{} of {}", "item_id", pl.lit((day.toordinal() - 1 - weekday) // 7)))
            .otherwise("item_id")
        )
        for day, of in days.items()
    }


def newsletter(days: Days, share: float, weekday: int = 3) -> Days:
    """Begin a share of sessions with one item on a day of the week: another one each week."""
    made = dict(days)
    for day in made:
        if day.weekday() == weekday:
            starts = made[day].unique("session_id", keep="first", maintain_order=True)
            starts = starts.filter(_place("session_id") < share)
            item = made[day]["item_id"].unique().sort()[day.toordinal() % 500]
            added = starts.with_columns(item_id=pl.lit(item))
            made[day] = pl.concat([added, made[day]]).sort("ts", maintain_order=True)
    return made


def short_weekends(days: Days, first: int, last: int) -> Days:
    """Have events between two hours only on Saturdays and Sundays."""
    hour = pl.col("ts").dt.hour().is_between(first, last, closed="left")
    return {day: of.filter(hour) if day.weekday() > 4 else of for day, of in days.items()}


def strangers_at_weekends(days: Days, share: float) -> Days:
    """Forget a share of the users on Saturdays and Sundays."""
    some = _place("user_id") < share
    known = pl.when(~some).then("user_id").alias("user_id")
    return {day: of.with_columns(known) if day.weekday() > 4 else of for day, of in days.items()}


def of_tastes(
    *,
    days: int,
    events: int,
    users: int,
    items: int,
    seed: int,
    growth: float = 0,
    new_items: float = 0.002,
    kept_users: float = 0.7,
) -> Days:
    """Return days of users who each like some groups of items, with hours, weekdays and churn.

    Args:
        days: how many.
        events: of the first day, about.
        users: who come regularly.
        items: at first.
        seed: of what is drawn.
        growth: of events and users a day, as a share.
        new_items: that come a day, as a share; as many of the oldest go.
        kept_users: share of sessions of users who come regularly; the others come once.
    """
    rng = np.random.default_rng(seed)
    groups, of_user = 50, 3
    made, first = {}, date(2025, 1, 1)
    by_hour = 1 + np.cos((np.arange(24) - 20) * np.pi / 12) ** 2 + rng.random(24) / 2
    strength = rng.pareto(1.1, groups) + 0.1
    for number in range(days):
        day = first + timedelta(days=number)
        size = (1 + growth) ** number
        weekly = (1, 0.95, 0.95, 1, 1.15, 1.35, 1.25)[day.weekday()]
        count = int(events * size * weekly * rng.lognormal(0, 0.06) / 8)  # sessions of about 8
        length = np.clip(rng.geometric(1 / 8, count), 1, 80)
        session = np.repeat(np.arange(count), length)
        regular = (users * size * rng.power(0.5, count)).astype(np.int64)
        once = 10**9 + number * 10**6 + np.arange(count)
        user = np.where(rng.random(count) < kept_users, regular, once)
        # What a user likes is drawn from the id, and the same each day.
        liked = (user * 2654435761 + rng.integers(0, of_user, count) * 40503) // 65536 % groups
        chosen = np.where(
            rng.random(count) < 0.6, liked, rng.choice(groups, count, p=strength / strength.sum())
        )
        mine = rng.random(session.size) < 0.8
        group = np.where(mine, chosen[session], rng.integers(0, groups, session.size))
        within = (items / groups * rng.power(0.35, session.size)).astype(np.int64)
        # The strongest of a group come last, and all move on as items come.
        come = (int(number * new_items * items) + np.arange(groups)) // groups
        item = (within + come[group]) * groups + group
        hour = rng.choice(24, count, p=by_hour / by_hour.sum())
        start = (hour * 3600 + rng.integers(0, 3600, count)) * 1000
        place = np.arange(session.size) - np.searchsorted(session, session)
        ms = np.minimum(
            start[session] + place * rng.integers(2_000, 40_000, session.size), _DAY_MS - 1
        )
        midnight = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000)
        frame = pl.DataFrame(
            {"ms": midnight + ms, "user": user[session], "session": session, "item": item}
        )
        made[day] = frame.sort("ms", maintain_order=True).select(
            user_id=pl.when(pl.col("user") % 12 != 0).then(pl.format("u{}", "user")),
            session_id=pl.format("s{}-{}", pl.lit(number), "session"),
            item_id=pl.format("i{}", "item"),
            ts=_times("ms"),
        )
    return made


def of_exposures(*, days: int, events: int, users: int, items: int, seed: int) -> Days:
    """Return days of a heavy head of items and session-local neighbours, at all hours.

    It draws what the generator of the conformance data draws.
    """
    made, first = {}, date(2026, 1, 1)
    for number in range(days):
        rng = np.random.default_rng([seed, number])
        count = int(events * rng.normal(1, 0.05))
        lengths = np.minimum(1 + rng.geometric(1 / 9, count // 5), 60)
        sessions = int(np.searchsorted(np.cumsum(lengths), count)) + 1
        session = np.repeat(np.arange(sessions), lengths[:sessions])[:count]
        user = np.minimum((rng.pareto(1.2, sessions) * users / 20).astype(np.int64), users - 1)
        start = rng.integers(0, _DAY_MS - 3_600_000, sessions)
        place = np.arange(count) - np.searchsorted(session, session)
        ms = start[session] + place * rng.integers(500, 20_000, count)
        head = np.minimum((rng.pareto(0.9, count) * items / 200).astype(np.int64), items - 1)
        near = rng.integers(0, items, sessions)[session] + np.minimum(
            rng.geometric(0.05, count), 300
        )
        day = first + timedelta(days=number)
        midnight = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000)
        frame = pl.DataFrame(
            {
                "ms": midnight + np.minimum(ms, _DAY_MS - 1),
                "user": user[session],
                "known": (rng.random(sessions) >= 0.1)[session],
                "session": session,
                "item": np.where(rng.random(count) < 0.6, near % items, head),
            }
        )
        made[day] = frame.sort("ms", maintain_order=True).select(
            user_id=pl.when("known").then(pl.format("u{}", "user")),
            session_id=pl.format("s{}-{}", pl.lit(number), "session"),
            item_id=pl.format("i{}", "item"),
            ts=_times("ms"),
        )
    return made


def ratings(path: Path) -> Days:
    """Return the days of MovieLens-100k, from a Parquet file of its ratings."""
    read = pl.read_parquet(path).sort("timestamp", maintain_order=True)
    ts = _times("timestamp", "s")
    day = ts.dt.date().cast(pl.String)
    return by_day(
        read.select(
            user_id=pl.format("u{}", "user_id"),
            session_id=pl.format("{} {}", "user_id", day),
            item_id=pl.format("i{}", "movie_id"),
            ts=ts,
        )
    )


def flights(path: Path) -> Days:
    """Return flights from New York: of a plane, its days as sessions, and routes as items."""
    read = pl.read_csv(path, null_values=["NA"]).filter(pl.col("tailnum").is_not_null())
    day = pl.date("year", "month", "day")
    minute = pl.col("sched_dep_time") // 100 * 60 + pl.col("sched_dep_time") % 100
    return by_day(
        read.filter(pl.col("dep_time").is_not_null())
        .select(
            user_id="tailnum",
            session_id=pl.format("{} {}", "tailnum", day.cast(pl.String)),
            item_id=pl.format("{}-{}", "origin", "dest"),
            ts=(
                day.cast(pl.Datetime("ns")) + pl.duration(minutes=minute, time_unit="ns")
            ).dt.replace_time_zone("UTC"),
        )
        .sort("ts", maintain_order=True)
    )


def by_day(events: Frame) -> dict[date, Frame]:
    """Return the events of each day, days ascending."""
    parts = events.with_columns(day=pl.col("ts").dt.date()).partition_by("day", as_dict=True)
    return {day: parts[day,].drop("day") for (day,) in sorted(parts)}


def _times(column: str, unit: Literal["s", "ms"] = "ms") -> pl.Expr:
    return pl.from_epoch(pl.col(column), unit).cast(pl.Datetime("ns")).dt.replace_time_zone("UTC")


def _place(column: str, salt: str = "") -> pl.Expr:
    """Return where each value lies between 0 and 1."""
    return (pl.format("{}{}", pl.lit(salt), pl.col(column)).hash(7) % 2**20) / 2**20


SHAPES: Final[Mapping[str, Callable[[Days], Days]]] = {
    "half the users": partial(thinned, share=0.5),
    "a tenth of the users": partial(thinned, share=0.1),
    "anonymous": anonymous,
    "a session a day": sessions_by_day,
    "closed at weekends": partial(closed, weekdays=[5, 6]),
    "quiet Sundays": partial(quiet, weekdays=[6], share=0.3),
    "grows by 1 % a day": partial(growing, rate=0.01, count=140),
    "grows by 3 % a day": partial(growing, rate=0.03, count=100),
    "a holiday every 30 days": partial(with_holidays, every=30, share=0.3),
    "a fifth of items new on Mondays": partial(new_each_week, share=0.2),
    "a newsletter on Thursdays": partial(newsletter, share=0.6),
    "weekends from 14 to 22 h": partial(short_weekends, first=14, last=22),
    "strangers at weekends": partial(strangers_at_weekends, share=0.3),
}
_small = partial(of_tastes, days=200, events=3_000, users=1_000, items=800)
_middle = partial(of_tastes, days=150, events=10_000, users=3_000, items=1_000)
MADE: Final[Mapping[str, Callable[[], Days]]] = {
    "tastes, small": partial(_small, seed=1),
    "tastes, small, another seed": partial(_small, seed=2),
    "tastes, small, grows by 1 % a day": partial(_small, days=150, growth=0.01, seed=3),
    "tastes": partial(_middle, seed=1),
    "tastes, another seed": partial(_middle, seed=2),
    "tastes, 2 % of items new each day": partial(_middle, new_items=0.02, seed=3),
    "tastes, 30 % of items new each day": partial(_middle, new_items=0.3, seed=4),
    "tastes, most users come once": partial(_middle, kept_users=0.2, seed=5),
    "tastes, large": partial(of_tastes, days=80, events=100_000, users=30_000, items=8_000, seed=1),
    "exposures, small": partial(
        of_exposures, days=150, events=3_000, users=2_000, items=1_000, seed=5
    ),
    "exposures": partial(of_exposures, days=100, events=30_000, users=10_000, items=5_000, seed=5),
    "exposures, large": partial(
        of_exposures, days=70, events=100_000, users=50_000, items=20_000, seed=5
    ),
}
