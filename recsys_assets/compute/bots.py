"""Events of bots: of sessions and of users that hold too many items on one day."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from recsys_assets.compute.codes import high_code
from recsys_assets.compute.day_counts import DayCounts


@dataclass(frozen=True)
class BotLimits:
    """The distinct items of a day above which a session, or a user, is left out; None: never."""

    items_per_session: int | None = None
    items_per_user: int | None = None

    def __bool__(self) -> bool:
        """Tell whether anything is left out at all."""
        return self.items_per_session is not None or self.items_per_user is not None

    def __str__(self) -> str:
        """Return what tells counts without these bots from others."""
        limits = {"session": self.items_per_session, "user": self.items_per_user}
        return "-".join(f"{of}{most}" for of, most in limits.items() if most is not None)


def oversized_sessions(day: DayCounts, most: int) -> pl.Series:
    """Return the `session_id` of the sessions that hold more than `most` items that day."""
    return _over(day.baskets.to_frame(), day.sessions, most)


def oversized_users(day: DayCounts, most: int) -> pl.Series:
    """Return the `user_id` of the users who were shown more than `most` items that day."""
    return _over(day.user_items, day.users, most)


def without_bots(day: DayCounts, limits: BotLimits) -> Callable[[pl.LazyFrame], pl.LazyFrame]:
    """Return what takes the events of bots from those of a day.

    Args:
        day: the counts of all its events. Sessions and users are judged by these, so a session is
            as large as it is, whoever in it is a bot.
        limits: above which they are bots.
    """

    def take_away(events: pl.LazyFrame) -> pl.LazyFrame:
        if limits.items_per_session is not None:
            bots = oversized_sessions(day, limits.items_per_session).to_frame().lazy()
            events = events.join(bots, on="session_id", how="anti")
        if limits.items_per_user is not None:
            bots = oversized_users(day, limits.items_per_user).to_frame().lazy()
            events = events.join(bots, on="user_id", how="anti")  # an event without user stays
        return events

    return take_away


def _over(held: pl.DataFrame, owners: pl.Series, most: int) -> pl.Series:
    """Return the owners of more than `most` of the distinct `key`."""
    sizes = held.group_by(owner=high_code("key")).len("items")
    return owners.gather(sizes.filter(pl.col("items") > most)["owner"].sort())
