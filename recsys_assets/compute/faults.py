"""Faults of a day, each as a function from sound events to those that would have landed.

They are those of docs/decisions/day-gates.md. A fault changes `user_id`, `session_id`, `item_id`
and `ts` of canonical events, `COLUMNS`; what it draws, it draws from a seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from random import Random
from typing import Final

import polars as pl

_IDS: Final = ("user_id", "session_id", "item_id")
COLUMNS: Final = (*_IDS, "ts")
Frame = pl.DataFrame


@dataclass(frozen=True)
class Around:
    """What a fault takes from elsewhere.

    Attributes:
        yesterday: events of the day before.
        last_week: events of a week before.
        groups: `item_id`, `group`: all items, and which of them are hidden together.
        seed: of what is drawn.
    """

    yesterday: Frame
    last_week: Frame
    groups: Frame
    seed: str

    @cached_property
    def rng(self) -> Random:
        """What is drawn from."""
        return Random(self.seed)  # noqa: S311

    def drawn(self, count: int, share: float) -> pl.Series:
        """Draw a share of so many; return of each whether it is among them."""
        return self.dealt(pl.int_range(count, eager=True)) < share * count

    def dealt(self, values: pl.Series) -> pl.Series:
        """Return values in an order that is drawn."""
        return values.shuffle(seed=self.rng.getrandbits(63))


Fault = Callable[[Frame, Around], Frame]


def drop_events(day: Frame, around: Around, share: float) -> Frame:
    """Lose events at random."""
    return day.filter(~around.drawn(day.height, share))


def lose_sessions(day: Frame, around: Around, share: float) -> Frame:
    """Lose whole sessions."""
    return day.join(_some(day, "session_id", share, around), on="session_id", how="anti")


def only_before(day: Frame, _: Around, hour: int) -> Frame:
    """Lose what happened from an hour on."""
    return day.filter(pl.col("ts").dt.hour() < hour)


def land_twice(day: Frame, around: Around, share: float) -> Frame:
    """Land the file again, or a part of it."""
    return pl.concat([day, day.filter(around.drawn(day.height, share))])


def one_id(day: Frame, around: Around, share: float, *, known: bool) -> Frame:
    """Give events one and the same item: an unknown one, or the most popular."""
    item = day["item_id"].value_counts(sort=True)["item_id"][0] if known else "undefined"
    return _replaced(day, around, share, "item_id", pl.lit(item))


def bot(day: Frame, around: Around, events: int, *, items: int, sessions: int) -> Frame:
    """Add a user who sees `items` items, one after the other, in so many sessions."""
    at = pl.int_range(events, eager=True)
    seen = around.dealt(around.groups["item_id"].sort()).head(items)
    times = day["ts"].sample(events, with_replacement=True, seed=around.rng.getrandbits(63))
    added = pl.select(
        user_id=pl.lit("a bot"),
        session_id=pl.format("of a bot {}", at % sessions),
        item_id=seen.gather(at % seen.len()),
        ts=times.sort(),
    )
    return pl.concat([day, added]).sort("ts", maintain_order=True)


def shuffle(day: Frame, around: Around, share: float, column: str) -> Frame:
    """Deal the values of a column anew among some rows."""
    rows = around.drawn(day.height, share).arg_true()
    dealt = pl.int_range(day.height, eager=True).scatter(rows, around.dealt(rows).cast(pl.Int64))
    return day.with_columns(day[column].gather(dealt))


def swap_users(day: Frame, around: Around, share: float) -> Frame:
    """Give the sessions of some users to others of them."""
    users = _some(day.drop_nulls("user_id"), "user_id", share, around)["user_id"]
    return _mapped(day, "user_id", pl.DataFrame({"user_id": users, "new": around.dealt(users)}))


def a_session_each(day: Frame, _: Around) -> Frame:
    """Give every event a session of its own."""
    return day.with_columns(session_id=pl.format("s{}", pl.int_range(pl.len())))


def truncate_ids(day: Frame, around: Around, share: float) -> Frame:
    """Cut the last three characters of items."""
    return _replaced(day, around, share, "item_id", pl.col("item_id").str.head(-3) + "x")


def renumber(day: Frame, around: Around, share: float) -> Frame:
    """Deal the ids of items anew among the items."""
    items = _some(day, "item_id", share, around)["item_id"]
    return _mapped(day, "item_id", pl.DataFrame({"item_id": items, "new": around.dealt(items)}))


def shift_hours(day: Frame, around: Around, hours: int, *, how: str) -> Frame:
    """Take local times for UTC: they stay in the day, or what leaves it is lost or is of others."""
    moved = day.with_columns(at=_moved("ts", hours))
    stays = moved["at"].dt.date() == day["ts"].dt.date()
    kept = moved.filter(stays).with_columns(ts="at").drop("at")
    if how == "lost":
        return kept
    if how == "of yesterday":
        other = around.yesterday.with_columns(
            at=pl.col("ts") + pl.duration(hours=hours, time_unit="ns")
        )
        other = other.filter(pl.col("at").dt.date() == day["ts"].dt.date()[0])
        return pl.concat([other.with_columns(ts="at").drop("at"), kept])
    within = _moved("at", -24 if hours > 0 else 24)
    wrapped = moved.filter(~stays).with_columns(ts=within).drop("at")
    return pl.concat([kept, wrapped]).sort("ts", maintain_order=True)


def other_tenant(day: Frame, around: Around, share: float) -> Frame:
    """Add events of another tenant, as a share of the day's: nothing of them is the same."""
    other = around.last_week.with_columns(pl.format("other {}", name).alias(name) for name in _IDS)
    return pl.concat([day, _on_the_date_of(day, other).head(int(day.height * share))])


def no_users(day: Frame, around: Around, share: float) -> Frame:
    """Lose who it was."""
    return _replaced(day, around, share, "user_id", pl.lit(None, dtype=pl.String))


def new_users(day: Frame, around: Around, share: float) -> Frame:
    """Give some users other ids."""
    users = _some(day.drop_nulls("user_id"), "user_id", share, around)
    return _mapped(day, "user_id", users.with_columns(new="new " + pl.col("user_id")))


def old_file(day: Frame, around: Around, *, of: str, share: float = 1) -> Frame:
    """Land the events of an earlier day, with the dates of this one."""
    old = _on_the_date_of(day, getattr(around, of))
    if share == 1:
        return old
    return pl.concat([old.head(int(old.height * share)), day]).head(day.height)


def hide_groups(day: Frame, around: Around, most: int, *, users: float) -> Frame:
    """Hide the strongest groups of items from a part of the users."""
    of_group = day.join(around.groups, on="item_id").group_by("group").len("events")
    hidden = of_group.sort("events", "group", descending=[True, False]).head(most)
    items = around.groups.join(hidden, on="group", how="semi")["item_id"]
    owner = pl.coalesce("user_id", "session_id")
    those = _some(day.select(owner=owner), "owner", users, around)["owner"]
    lost = pl.col("item_id").is_in(items.implode()) & owner.is_in(those.implode())
    return day.filter(~lost)


def lose_first(day: Frame, _: Around, items: int) -> Frame:
    """Lose the strongest items."""
    first = day["item_id"].value_counts().sort("count", "item_id", descending=[True, False])
    return day.filter(~pl.col("item_id").is_in(first["item_id"].head(items).implode()))


def cut_sessions(day: Frame, _: Around, length: int) -> Frame:
    """Begin another session after so many events."""
    part = pl.int_range(pl.len()).over("session_id") // length
    return day.with_columns(session_id=pl.format("{} {}", "session_id", part))


def row_before(day: Frame, around: Around, share: float, column: str) -> Frame:
    """Give events what the event before them has, as two requests at a time do in a tracker."""
    before = pl.col(column).shift(1, fill_value=pl.col(column).first())
    return _replaced(day, around, share, column, before)


def push_lists(day: Frame, around: Around, share: float, lists: int) -> Frame:
    """Show lists of ten weak items to the users of a part of the sessions, in other sessions."""
    weakest = day["item_id"].value_counts().sort("count", "item_id")["item_id"].head(lists * 10)
    table = weakest.to_frame().with_columns(list=pl.int_range(pl.len()) // 10)
    starts = day.unique("session_id", keep="first", maintain_order=True)
    starts = starts.join(_some(day, "session_id", share, around), on="session_id", how="semi")
    shown = starts.drop("item_id").with_columns(list=pl.int_range(pl.len()) % lists)
    added = shown.join(table, on="list").with_columns(session_id="list " + pl.col("session_id"))
    return pl.concat([day, added.select(day.columns)]).sort("ts", maintain_order=True)


def _on_the_date_of(day: Frame, other: Frame) -> Frame:
    move = day["ts"].dt.date()[0] - other["ts"].dt.date()[0]
    return other.with_columns(ts=_moved("ts", 24 * move.days))


def _moved(column: str, hours: int) -> pl.Expr:
    return pl.col(column) + pl.duration(hours=hours, time_unit="ns")


def _some(day: Frame, column: str, share: float, around: Around) -> Frame:
    """Draw some of the distinct values of a column."""
    values = day[column].unique().sort()
    return values.filter(around.drawn(values.len(), share)).to_frame()


def _replaced(day: Frame, around: Around, share: float, column: str, by: pl.Expr) -> Frame:
    drawn = around.drawn(day.height, share)
    return day.with_columns(pl.when(drawn).then(by).otherwise(column).alias(column))


def _mapped(day: Frame, column: str, table: Frame) -> Frame:
    found = day.join(table, on=column, how="left", maintain_order="left")
    return found.with_columns(pl.coalesce("new", column).alias(column)).select(day.columns)


def _shares(fault: Callable[..., Frame], *percent: int) -> dict[int, Fault]:
    return {each: partial(fault, share=each / 100) for each in percent}


_BY_SHARE: Final[Mapping[str, Mapping[int, Fault]]] = {
    "drop events": _shares(drop_events, 20, 50, 90),
    "lose sessions": _shares(lose_sessions, 20, 50, 90),
    "file lands twice": _shares(land_twice, 25, 100),
    "one unknown id": _shares(partial(one_id, known=False), 5, 20, 50),
    "one popular id": _shares(partial(one_id, known=True), 5, 20, 50),
    "sessions shuffled": _shares(partial(shuffle, column="session_id"), 20, 50, 100),
    "items shuffled": _shares(partial(shuffle, column="item_id"), 20, 50, 100),
    "users swapped": _shares(swap_users, 20, 50, 100),
    "ids truncated": _shares(truncate_ids, 20, 100),
    "ids re-numbered": _shares(renumber, 20, 100),
    "other tenant": _shares(other_tenant, 5, 20, 50),
    "user nulled": _shares(no_users, 10, 50, 100),
    "new user ids": _shares(new_users, 50, 100),
}
FAULTS: Final[Mapping[str, Fault]] = {
    **{
        f"{name} {percent} %": fault
        for name, faults in _BY_SHARE.items()
        for percent, fault in faults.items()
    },
    "after noon lost": partial(only_before, hour=12),
    "last two hours lost": partial(only_before, hour=22),
    "bot of 500, crawls, one session": partial(bot, events=500, items=10**6, sessions=1),
    "bot of 500, crawls, 50 sessions": partial(bot, events=500, items=10**6, sessions=50),
    "bot of 500, pushes 10 items": partial(bot, events=500, items=10, sessions=50),
    "bot of 10,000, crawls": partial(bot, events=10_000, items=10**6, sessions=100),
    "bot of 10,000, pushes 10 items": partial(bot, events=10_000, items=10, sessions=1000),
    "every event its own session": a_session_each,
    "sessions cut after 10 events": partial(cut_sessions, length=10),
    "users of the row before, 20 %": partial(row_before, share=0.2, column="user_id"),
    "first 10 items lost": partial(lose_first, items=10),
    "a fifth of sessions see 5 lists": partial(push_lists, share=0.2, lists=5),
    "shifted by 8 h, wraps": partial(shift_hours, hours=8, how="wraps"),
    "shifted by -8 h, wraps": partial(shift_hours, hours=-8, how="wraps"),
    "shifted by 8 h, rest lost": partial(shift_hours, hours=8, how="lost"),
    "shifted by 8 h, yesterday's": partial(shift_hours, hours=8, how="of yesterday"),
    "yesterday's file": partial(old_file, of="yesterday"),
    "last week's file": partial(old_file, of="last_week"),
    "half of last week's file": partial(old_file, of="last_week", share=0.5),
    "half the users lack the top 3 groups": partial(hide_groups, most=3, users=0.5),
    "half the users lack the top 10 groups": partial(hide_groups, most=10, users=0.5),
    "all users lack the top 3 groups": partial(hide_groups, most=3, users=1),
    "all users lack the top 10 groups": partial(hide_groups, most=10, users=1),
}
