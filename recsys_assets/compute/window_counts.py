"""The counts of the days of a window, put together: exactly those of the window counted at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from itertools import pairwise
from typing import Final

import numpy as np
import polars as pl

from recsys_assets.compute.codes import (
    Numbers,
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
from recsys_assets.compute.day_counts import (
    DayCounts,
    Keep,
    Tables,
    as_count,
    without_repeats,
)
from recsys_assets.compute.lists import BLOCK_ROWS, in_order, whole_owners

# Kept tables that are looked up at a time: where they are kept may be far away.
_LOOK_UPS: Final = 8
# Rows of a table of the window that is made to be shared: what the cache of a process takes.
_MOST_SHARED_ROWS: Final = 10_000_000
_OF_NONE: Final = pl.DataFrame(schema={"key": pl.UInt64, "count": pl.UInt32})


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

    def user_item_blocks(self, *, weighted: bool = False) -> Iterator[pl.DataFrame]:
        """Yield `key` of (user, item) ascending, `count` (UInt32), in blocks of whole users.

        Of many rows no table is made: a block is put together when it is asked for.

        Raises:
            InputError: the exposures of an item to a user weigh too much.
        """
        name = "weighted_user_items" if weighted else "user_items"
        table = self._tables.look_up(name)
        if table is None:
            self._look_up(name)
            of_days = [
                day.weighted_user_items if weighted else day.user_items for day in self._days
            ]
            as_32_bits = as_count if weighted else partial(pl.Series.cast, dtype=pl.UInt32)
            blocks = (
                block.with_columns(as_32_bits(block["count"])) for block in self._added_up(of_days)
            )
            if sum(of_day.height for of_day in of_days) > _MOST_SHARED_ROWS:
                yield from blocks
                return
            table = self._tables.get(name, lambda: pl.concat([_OF_NONE, *blocks]))
        yield from whole_owners(table)

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
        firsts = [numbered(day.first_items) for day in self._days]
        keys = _recoded(firsts, self._user_codes, self._item_codes).to_frame()
        return (
            keys.with_columns(user=high_code("key"))
            .unique("user", keep="first", maintain_order=True)
            .sort("user")
            .select(item=low_code("key"))
        )

    def _added_up(self, of_days: Sequence[pl.DataFrame]) -> Iterator[pl.DataFrame]:
        """Add up the counts of the days, a range of users after the other; `count` is Int64.

        Codes have the order of ids, in a day and in the window: so what belongs to a range of users
        is a slice of each day.
        """
        # Looked up here: who makes a table holds the lock that the threads would wait for.
        users, items = self._user_codes, self._item_codes
        rows = sum(of_day.height for of_day in of_days)
        ranges = np.linspace(0, self.users.len(), rows // BLOCK_ROWS + 2)
        edges = np.unique(ranges.astype(np.uint32))
        places = [
            _places(of_day["key"], codes, edges)
            for of_day, codes in zip(of_days, users, strict=True)
        ]

        def added_up(ends: tuple[Sequence[int], Sequence[int]]) -> pl.DataFrame:
            slices = zip(of_days, *ends, strict=True)
            block = [of_day.slice(begin, end - begin) for of_day, begin, end in slices]
            keys = _recoded([of_day["key"] for of_day in block], users, items)
            return add_up(keys, pl.concat([of_day["count"] for of_day in block]))

        return in_order(added_up, pairwise(zip(*places, strict=True)))

    def _fill_baskets(self) -> pl.DataFrame:
        built = ["edges"] if any(day.gap for day in self._days) else []
        self._look_up("sessions", "baskets", *built)
        numbers = number_as_they_come(_joined_sessions(self._days))
        keys = _recoded([day.baskets for day in self._days], numbers, self._item_codes)
        return without_repeats(ascending(keys)).to_frame()

    def _look_up(self, *tables: str) -> None:
        """Look up tables of all days at once that would otherwise be read one after the other."""
        wanted = [(day.tables, name) for name in tables for day in self._days]
        with ThreadPoolExecutor(_LOOK_UPS, thread_name_prefix="counts") as pool:
            for _ in pool.map(lambda one: one[0].look_up(one[1]), wanted):
                pass


def _recoded(
    keys: Sequence[pl.Series], owners: Sequence[pl.Series], items: Sequence[pl.Series]
) -> pl.Series:
    """Return the keys (owner, item) of all days in the codes of the window, day after day.

    Args:
        keys: of each day, in its own codes.
        owners: for each day the codes of the window that its own codes of owners stand for.
        items: the same of items.
    """
    return pl.concat([recoded(*of_day) for of_day in zip(keys, owners, items, strict=True)]).alias(
        "key"
    )


def _places(keys: pl.Series, codes: pl.Series, edges: Numbers) -> list[int]:
    """Return where ranges of users begin among the keys of a day.

    Args:
        keys: of (user, item) ascending, in the codes of the day.
        codes: for each user of the day the code in the window, ascending.
        edges: where the ranges begin, as codes of the window.
    """
    first_keys = np.searchsorted(codes.to_numpy(), edges).astype(np.uint64) << np.uint64(32)
    found: list[int] = np.searchsorted(keys.to_numpy(), first_keys).tolist()
    return found


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
