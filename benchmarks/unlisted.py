"""Faults of a day that margins were not set on: what else may become of the events of a day."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import polars as pl

from recsys_assets.compute.faults import (
    Around,
    Fault,
    Frame,
    hide_groups,
    lose_first,
    new_users,
    push_lists,
    row_before,
    shift_hours,
)


def times_cut(day: Frame, _: Around, every: str) -> Frame:
    """Cut times to the hour, or to the day; the order of the file stays."""
    return day.with_columns(pl.col("ts").dt.truncate(every))


def sessions_of_a_second(day: Frame, _: Around) -> Frame:
    """Give all events of a session the time of its first one."""
    start = pl.col("ts").min().over("session_id")
    return day.with_columns(ts=start).sort("ts", maintain_order=True)


def sessions_backwards(day: Frame, _: Around) -> Frame:
    """Turn the order of events in sessions round."""
    return day.reverse().with_columns(day["ts"])


def in_order_of_items(day: Frame, _: Around) -> Frame:
    """Sort the items of each session by id, as an export of sets does."""
    return (
        day.sort("session_id", "ts", maintain_order=True)
        .with_columns(pl.col("item_id").sort().over("session_id"))
        .sort("ts", maintain_order=True)
    )


def spelled(day: Frame, around: Around, column: str, share: float, by: pl.Expr) -> Frame:
    """Write some of the ids of a column another way: each always, or never."""
    drawn = _chosen(day, column, share, around)
    return day.with_columns(pl.when(drawn).then(by).otherwise(column).alias(column))


def lose(day: Frame, around: Around, column: str, share: float) -> Frame:
    """Lose a share of the users, sessions or items."""
    return day.filter(~_chosen(day, column, share, around).fill_null(value=False))


def lose_rare(day: Frame, _: Around, least: int) -> Frame:
    """Lose the items with few events."""
    return day.filter(pl.len().over("item_id") >= least)


def of_sessions(day: Frame, _: Around, keep: Callable[[pl.Expr, pl.Expr], pl.Expr]) -> Frame:
    """Keep events by their place in the session, and its length."""
    place = pl.int_range(pl.len()).over("session_id")
    return day.filter(keep(place, pl.len().over("session_id")))


def lose_hours(day: Frame, _: Around, first: int, last: int) -> Frame:
    """Lose what happened in some hours."""
    return day.filter(~pl.col("ts").dt.hour().is_between(first, last, closed="left"))


def lose_busiest(day: Frame, _: Around, hours: int) -> Frame:
    """Lose the hours with most events."""
    counts = day["ts"].dt.hour().rename("hour").value_counts()
    lost = counts.sort("count", "hour", descending=True)["hour"].head(hours)
    return day.filter(~pl.col("ts").dt.hour().is_in(lost.implode()))


def hour_twice(day: Frame, _: Around, hours: int) -> Frame:
    """Land the hours with most events again."""
    counts = day["ts"].dt.hour().rename("hour").value_counts()
    again = counts.sort("count", "hour", descending=True)["hour"].head(hours)
    more = day.filter(pl.col("ts").dt.hour().is_in(again.implode()))
    return pl.concat([day, more]).sort("ts", maintain_order=True)


def times_ten(day: Frame, _: Around) -> Frame:
    """Land each event ten times."""
    return pl.concat([day] * 10).sort("ts", maintain_order=True)


def again_as_others(day: Frame, around: Around, share: float, *, users: bool) -> Frame:
    """Land sessions again under other ids, and perhaps for other users."""
    more = day.filter(_chosen(day, "session_id", share, around))
    more = more.with_columns(session_id="again " + pl.col("session_id"))
    if users:
        more = more.with_columns(user_id="again " + pl.col("user_id"))
    return pl.concat([day, more]).sort("ts", maintain_order=True)


def sessions_merged(day: Frame, around: Around, together: int) -> Frame:
    """Put sessions of whoever together, as those behind one address."""
    ids = around.dealt(day["session_id"].unique().sort())
    merged = pl.select(pl.format("m{}", pl.int_range(ids.len()) // together)).to_series()
    return _mapped(day, "session_id", ids, merged)


def sessions_of_users(day: Frame, _: Around) -> Frame:
    """Put all of a user's sessions into one."""
    return day.with_columns(session_id=pl.coalesce("of " + pl.col("user_id"), "session_id"))


def sessions_halved(day: Frame, _: Around) -> Frame:
    """Cut sessions in halves."""
    place, length = pl.int_range(pl.len()).over("session_id"), pl.len().over("session_id")
    part = (2 * place >= length).cast(pl.Int8)
    return day.with_columns(session_id=pl.format("{} {}", "session_id", part))


def one_session_without_id(day: Frame, around: Around, share: float) -> Frame:
    """Put some events into one session, as a missing id that was written does."""
    drawn = around.drawn(day.height, share)
    return day.with_columns(session_id=pl.when(drawn).then(pl.lit("null")).otherwise("session_id"))


def one_user(day: Frame, around: Around, share: float) -> Frame:
    """Give the sessions of a share to one user, such as a guest."""
    drawn = _chosen(day, "session_id", share, around)
    return day.with_columns(user_id=pl.when(drawn).then(pl.lit("guest")).otherwise("user_id"))


def users_are_sessions(day: Frame, _: Around) -> Frame:
    """Take the session for the user."""
    return day.with_columns(user_id="session_id")


def coarse_items(day: Frame, around: Around) -> Frame:
    """Write the group of an item instead of the item."""
    found = day.join(around.groups, on="item_id", how="left", maintain_order="left")
    group = pl.coalesce(pl.format("group {}", "group"), "item_id")
    return found.with_columns(item_id=group).select(day.columns)


def next_in_catalog(day: Frame, around: Around, share: float) -> Frame:
    """Write the id of the item that follows in the catalog, as one row too far does."""
    items = around.groups["item_id"].sort()
    follows = items.shift(-1, fill_value=items[0])
    changed = _mapped(day, "item_id", items, follows)["item_id"]
    drawn = _chosen(day, "item_id", share, around)
    return day.with_columns(item_id=pl.when(drawn).then(changed).otherwise("item_id"))


def random_lists(day: Frame, around: Around, share: float) -> Frame:
    """Show a share of the sessions whatever the catalog has, as a broken experiment does."""
    items = around.groups["item_id"].sort()
    other = items.sample(day.height, with_replacement=True, seed=around.rng.getrandbits(63))
    drawn = _chosen(day, "session_id", share, around)
    return day.with_columns(item_id=pl.when(drawn).then(other).otherwise("item_id"))


def same_before_all(day: Frame, around: Around, items: int, share: float) -> Frame:
    """Add the same popular items before each session of a share, as a row at the top of a page."""
    first = day["item_id"].value_counts().sort("count", "item_id", descending=[True, False])
    starts = day.unique("session_id", keep="first", maintain_order=True)
    starts = starts.filter(_chosen(starts, "session_id", share, around))
    added = starts.drop("item_id").join(first.select("item_id").head(items), how="cross")
    return pl.concat([added.select(day.columns), day]).sort("ts", maintain_order=True)


def bots(day: Frame, around: Around, count: int, sessions: int, events: int) -> Frame:
    """Add bots that crawl in short sessions."""
    total = count * sessions * events
    at = pl.int_range(total, eager=True)
    items = around.groups["item_id"].sort()
    times = day["ts"].sample(total, with_replacement=True, seed=around.rng.getrandbits(63))
    added = pl.select(
        user_id=pl.format("bot {}", at // (sessions * events)),
        session_id=pl.format("of bots {}", at // events),
        item_id=items.sample(total, with_replacement=True, seed=around.rng.getrandbits(63)),
        ts=times.sort(),
    )
    return pl.concat([day, added]).sort("ts", maintain_order=True)


def tests(day: Frame, around: Around, share: float) -> Frame:
    """Add test traffic: one user, one path of few items, many sessions."""
    count = int(share * day.height) // 5 * 5
    at = pl.int_range(count, eager=True)
    items = day["item_id"].unique().sort().sample(5, seed=around.rng.getrandbits(63))
    times = day["ts"].sample(count, with_replacement=True, seed=around.rng.getrandbits(63))
    added = pl.select(
        user_id=pl.format("test {}", at // 5 % 20),
        session_id=pl.format("of tests {}", at // 5),
        item_id=items.gather(at % 5),
        ts=times.sort(),
    )
    return pl.concat([day, added]).sort("ts", maintain_order=True)


def mixed_in(day: Frame, around: Around, of: str, share: float, *, new: bool, whole: bool) -> Frame:
    """Mix sessions of an earlier day in, beside the day or instead of as many of its sessions."""
    old: Frame = getattr(around, of)
    move = day["ts"].dt.date()[0] - old["ts"].dt.date()[0]
    old = old.with_columns(pl.col("ts") + pl.duration(days=move.days, time_unit="ns"))
    old = old.filter(_chosen(old, "session_id", share, around))
    if new:
        old = old.with_columns(session_id="old " + pl.col("session_id"))
    kept = day if whole else day.filter(~_chosen(day, "session_id", share, around))
    return pl.concat([kept, old.select(day.columns)]).sort("ts", maintain_order=True)


def _chosen(day: Frame, column: str, share: float, around: Around) -> pl.Series:
    """Return of each event whether its value of a column is among some that are drawn."""
    values = day[column].drop_nulls().unique().sort()
    drawn = values.filter(around.drawn(values.len(), share))
    return day[column].is_in(drawn.implode())


def _mapped(day: Frame, column: str, old: pl.Series, new: pl.Series) -> Frame:
    table = pl.DataFrame({column: old, "new": new})
    found = day.join(table, on=column, how="left", maintain_order="left")
    return found.with_columns(pl.coalesce("new", column).alias(column)).select(day.columns)


def _padded(column: str) -> pl.Expr:
    return "00" + pl.col(column)


def _spaced(column: str) -> pl.Expr:
    return pl.col(column) + " "


UNLISTED: Final[Mapping[str, Fault]] = {
    "times cut to the hour": partial(times_cut, every="1h"),
    "times cut to the day": partial(times_cut, every="1d"),
    "sessions of one second": sessions_of_a_second,
    "sessions backwards": sessions_backwards,
    "items of sessions in order of ids": in_order_of_items,
    "item ids padded, 5 %": partial(spelled, column="item_id", share=0.05, by=_padded("item_id")),
    "item ids padded, 100 %": partial(spelled, column="item_id", share=1, by=_padded("item_id")),
    "item ids with a space, 20 %": partial(
        spelled, column="item_id", share=0.2, by=_spaced("item_id")
    ),
    "user ids with a space, 10 %": partial(
        spelled, column="user_id", share=0.1, by=_spaced("user_id")
    ),
    "user ids with a space, 50 %": partial(
        spelled, column="user_id", share=0.5, by=_spaced("user_id")
    ),
    "user ids hashed anew, 20 %": partial(new_users, share=0.2),
    "a tenth of users lost": partial(lose, column="user_id", share=0.1),
    "a quarter of users lost": partial(lose, column="user_id", share=0.25),
    "half of users lost": partial(lose, column="user_id", share=0.5),
    "a tenth of items lost": partial(lose, column="item_id", share=0.1),
    "half of items lost": partial(lose, column="item_id", share=0.5),
    "first item lost": partial(lose_first, items=1),
    "first 100 items lost": partial(lose_first, items=100),
    "items with one event lost": partial(lose_rare, least=2),
    "strongest group lost": partial(hide_groups, most=1, users=1),
    "first event of sessions only": partial(of_sessions, keep=lambda at, _: at == 0),
    "first event of sessions lost": partial(of_sessions, keep=lambda at, _: at > 0),
    "sessions cut after 5 events": partial(of_sessions, keep=lambda at, _: at < 5),
    "sessions cut after 20 events": partial(of_sessions, keep=lambda at, _: at < 20),
    "sessions of one event lost": partial(of_sessions, keep=lambda _, of: of > 1),
    "sessions of 20 and more lost": partial(of_sessions, keep=lambda _, of: of < 20),
    "busiest hour lost": partial(lose_busiest, hours=1),
    "busiest 3 hours lost": partial(lose_busiest, hours=3),
    "hours 0 to 6 lost": partial(lose_hours, first=0, last=6),
    "busiest hour twice": partial(hour_twice, hours=1),
    "events ten times": times_ten,
    "sessions again, 25 %": partial(again_as_others, share=0.25, users=False),
    "sessions again, 100 %": partial(again_as_others, share=1, users=False),
    "sessions again as new users, 25 %": partial(again_as_others, share=0.25, users=True),
    "sessions merged by 2": partial(sessions_merged, together=2),
    "sessions merged by 10": partial(sessions_merged, together=10),
    "one session a user": sessions_of_users,
    "sessions cut in halves": sessions_halved,
    "5 % in a session `null`": partial(one_session_without_id, share=0.05),
    "a guest has 5 %": partial(one_user, share=0.05),
    "a guest has 50 %": partial(one_user, share=0.5),
    "sessions taken for users": users_are_sessions,
    "items of the row before, 20 %": partial(row_before, column="item_id", share=0.2),
    "items of the row before, 100 %": partial(row_before, column="item_id", share=1),
    "groups instead of items": coarse_items,
    "next item of the catalog, 10 %": partial(next_in_catalog, share=0.1),
    "next item of the catalog, 30 %": partial(next_in_catalog, share=0.3),
    "next item of the catalog, 100 %": partial(next_in_catalog, share=1),
    "random items in 10 % of sessions": partial(random_lists, share=0.1),
    "random items in 50 % of sessions": partial(random_lists, share=0.5),
    "3 items before all sessions": partial(same_before_all, items=3, share=1),
    "3 items before 20 % of sessions": partial(same_before_all, items=3, share=0.2),
    "10 bots of 50 sessions": partial(bots, count=10, sessions=50, events=3),
    "50 bots of 2 sessions": partial(bots, count=50, sessions=2, events=5),
    "a twentieth of sessions see 5 lists": partial(push_lists, share=0.05, lists=5),
    "half of sessions see 20 lists": partial(push_lists, share=0.5, lists=20),
    "test traffic of 2 %": partial(tests, share=0.02),
    "test traffic of 5 %": partial(tests, share=0.05),
    "shifted by 1 h, yesterday's": partial(shift_hours, hours=1, how="of yesterday"),
    "shifted by 1 h, rest lost": partial(shift_hours, hours=1, how="lost"),
    "shifted by 3 h, yesterday's": partial(shift_hours, hours=3, how="of yesterday"),
    "10 % of yesterday's sessions as well": partial(
        mixed_in, of="yesterday", share=0.1, new=False, whole=True
    ),
    "half of yesterday's sessions as well": partial(
        mixed_in, of="yesterday", share=0.5, new=False, whole=True
    ),
    "half are yesterday's with new session ids": partial(
        mixed_in, of="yesterday", share=0.5, new=True, whole=False
    ),
    "all are yesterday's with new session ids": partial(
        mixed_in, of="yesterday", share=1, new=True, whole=False
    ),
    "file of 8 days before": partial(mixed_in, of="last_week", share=1, new=False, whole=False),
    "file of 21 days before": partial(mixed_in, of="last_week", share=1, new=False, whole=False),
    "file of 28 days before": partial(mixed_in, of="last_week", share=1, new=False, whole=False),
    "file of 35 days before": partial(mixed_in, of="last_week", share=1, new=False, whole=False),
}
# Days back to what a fault takes for the file of a week before.
AGES: Final[Mapping[str, int]] = {f"file of {days} days before": days for days in (8, 21, 28, 35)}
