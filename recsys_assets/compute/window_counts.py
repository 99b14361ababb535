"""The counts of the days of a window, put together: exactly those of the window counted at once."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import pairwise
from typing import Final

import polars as pl

from recsys_assets.compute.codes import (
    add_up,
    ascending,
    codes_among,
    distinct_of_all,
    high_code,
    low_code,
    number_as_they_come,
    numbered,
    recoded,
)
from recsys_assets.compute.day_counts import DayCounts, Keep, Tables, as_count, without_repeats

# Kept tables that are looked up at a time: where they are kept may be far away.
_LOOK_UPS: Final = 8


class WindowCounts:
    """The counts of several days as if they were one (`compute.day_counts.Counts`).

    Each table is made when it is first asked for.
    """

    def __init__(self, days: Sequence[DayCounts], keep: Keep | None = None) -> None:
        """Put days together.

        Args:
            days: oldest first, at least one.
            keep: where tables of the window are looked for first, and kept.
        """
        self._days = days
        self._tables = Tables(keep)

    @property
    def item_ids(self) -> pl.Series:
        """`item_id` ascending."""
        return self._tables.get("items", self._all_items).to_series()

    @property
    def users(self) -> pl.Series:
        """`user_id` ascending."""
        return self._tables.get("users", self._all_users).to_series()

    @property
    def first_items(self) -> pl.Series:
        """Code of the item of each user's first event of all days; by user ascending."""
        return self._tables.get("first_items", self._find_first_items).to_series()

    @property
    def user_items(self) -> pl.DataFrame:
        """`key` of (user, item) ascending, `count` (UInt32): exposures of the item to the user."""
        return self._tables.get("user_items", self._add_up_user_items)

    @property
    def weighted_user_items(self) -> pl.DataFrame:
        """The same `key`, `count` (UInt32): what the exposures of the item to the user weigh."""
        return self._tables.get("weighted_user_items", self._add_up_weights)

    @property
    def baskets(self) -> pl.Series:
        """Distinct keys of (session, item), ascending; a session may go on the next day."""
        return self._tables.get("baskets", self._fill_baskets).to_series()

    @cached_property
    def _item_codes(self) -> list[pl.Series]:
        """For each day the codes, among those of the window, that its own codes stand for."""
        return [codes_among(self.item_ids, day.item_ids) for day in self._days]

    @cached_property
    def _user_codes(self) -> list[pl.Series]:
        return [codes_among(self.users, day.users) for day in self._days]

    def _all_items(self) -> pl.DataFrame:
        self._look_up("items")
        return distinct_of_all([day.item_ids for day in self._days]).to_frame()

    def _all_users(self) -> pl.DataFrame:
        self._look_up("users")
        return distinct_of_all([day.users for day in self._days]).to_frame()

    def _find_first_items(self) -> pl.DataFrame:
        self._look_up("first_items")
        keys = self._recoded(
            [numbered(day.first_items) for day in self._days], self._user_codes
        ).to_frame()
        return (
            keys.with_columns(user=high_code("key"))
            .unique("user", keep="first", maintain_order=True)
            .sort("user")
            .select(item=low_code("key"))
        )

    def _add_up_user_items(self) -> pl.DataFrame:
        self._look_up("user_items")
        sums = self._added_up([day.user_items for day in self._days])
        return sums.with_columns(pl.col("count").cast(pl.UInt32))

    def _add_up_weights(self) -> pl.DataFrame:
        self._look_up("weighted_user_items")
        sums = self._added_up([day.weighted_user_items for day in self._days])
        return sums.with_columns(as_count(sums["count"]))

    def _added_up(self, tables: Sequence[pl.DataFrame]) -> pl.DataFrame:
        """Add up the counts of the days; `count` is Int64."""
        keys = self._recoded([table["key"] for table in tables], self._user_codes)
        return add_up(keys, pl.concat([table["count"] for table in tables]))

    def _fill_baskets(self) -> pl.DataFrame:
        built = ["edges"] if any(day.gap for day in self._days) else []
        self._look_up("sessions", "baskets", *built)
        numbers = number_as_they_come(_joined_sessions(self._days))
        keys = self._recoded([day.baskets for day in self._days], numbers)
        return without_repeats(ascending(keys)).to_frame()

    def _recoded(self, keys: Sequence[pl.Series], owners: Sequence[pl.Series]) -> pl.Series:
        """Return the keys (owner, item) of all days in the codes of the window, day after day."""
        return pl.concat(
            [recoded(*of_day) for of_day in zip(keys, owners, self._item_codes, strict=True)]
        ).alias("key")

    def _look_up(self, *tables: str) -> None:
        """Look up tables of all days at once that would otherwise be read one after the other."""
        wanted = [(day.tables, name) for name in tables for day in self._days]
        with ThreadPoolExecutor(_LOOK_UPS, thread_name_prefix="counts") as pool:
            for _ in pool.map(lambda one: one[0].look_up(one[1]), wanted):
                pass


def _joined_sessions(days: Sequence[DayCounts]) -> list[pl.Series]:
    """Return the `session_id` of each day; a built session that goes on has that of its beginning.

    A day may be missing between two: no session has a pause as long.
    """
    found = [days[0].sessions]
    for before, day in pairwise(days):
        ids = day.sessions
        if gap := min(before.gap, day.gap):
            last = before.edges.filter("is_last")
            pairs = last.join(day.edges.filter(~pl.col("is_last")), on="user_id", suffix="_next")
            going_on = pairs.filter(pl.col("ts_next") - pl.col("ts") <= gap)
            begun = going_on.select(
                code="session_id_code_next", begun=found[-1].gather(going_on["session_id_code"])
            )
            ids = (
                ids.to_frame()
                .with_row_index("code")
                .join(begun, on="code", how="left", maintain_order="left")
                .select(pl.coalesce("begun", "session_id").alias("session_id"))
                .to_series()
            )
        found.append(ids)
    return found
