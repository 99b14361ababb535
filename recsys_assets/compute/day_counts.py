"""What one day contributes to the artifacts: counts that windows of any length are made of.

Counts of days can be added up, so a day needs to be counted once, however many windows it is part
of. Nothing is lost that an artifact needs: which sessions and users are the same on several days is
known by their ids.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import RLock
from typing import Final, Protocol

import polars as pl

from recsys_assets.compute.codes import (
    count_keys,
    distinct,
    pair_key,
    with_codes,
)

# Part of where counts are kept: raise it when the same events would give other tables.
COUNTS_FORMAT: Final = 1


class Keep(Protocol):
    """Keeps the tables of a day."""

    def read(self, table: str) -> pl.DataFrame | None:
        """Return a table that was kept, if it was."""

    def write(self, table: str, frame: pl.DataFrame) -> None:
        """Keep a table."""


class Counts(Protocol):
    """The counts of a day, or of a window as if it were one day.

    Codes are places in `item_ids` and `users`, and of these counts only.
    """

    @property
    def item_ids(self) -> pl.Series:
        """`item_id` ascending."""

    @property
    def users(self) -> pl.Series:
        """`user_id` ascending."""

    @property
    def first_items(self) -> pl.Series:
        """Code of the item of each user's first event by (ts, file, line); by user ascending."""

    @property
    def user_items(self) -> pl.DataFrame:
        """`key` of (user, item) ascending, `count` (UInt32): exposures of the item to the user."""

    @property
    def baskets(self) -> pl.Series:
        """Distinct keys of (session, item), ascending: what the sessions hold.

        Sessions are numbered from 0 and no number is missing.
        """


class Tables:
    """Tables by name, each made when it is first asked for, and kept."""

    def __init__(self, keep: Keep | None) -> None:
        """Look for tables with `keep` first, and keep those that were not there."""
        self._keep = keep
        self._frames: dict[str, pl.DataFrame] = {}
        self._lock = RLock()  # days of a run that share a day may be computed at the same time

    def look_up(self, name: str) -> pl.DataFrame | None:
        """Return a table if it is there or kept."""
        with self._lock:
            if name not in self._frames and self._keep is not None:
                kept = self._keep.read(name)
                if kept is not None:
                    self._frames[name] = kept
            return self._frames.get(name)

    def get(self, name: str, make: Callable[[], pl.DataFrame]) -> pl.DataFrame:
        """Return a table; make and keep it if need be."""
        with self._lock:
            found = self.look_up(name)
            if found is None:
                self._frames[name] = found = make()
                if self._keep is not None:
                    self._keep.write(name, found)
            return found


class DayCounts:
    """The counts of one day of canonical events; each table is made when it is first asked for.

    Codes are places in `items`, `users` and `sessions`, and of this day only.
    """

    def __init__(self, events: pl.LazyFrame, keep: Keep | None = None) -> None:
        """Count events.

        Args:
            events: contract `canonical_event`, any row order.
            keep: where tables are looked for first, and kept.
        """
        self.events = events
        self._known = events.filter(pl.col("user_id").is_not_null())
        self.tables = Tables(keep)

    @property
    def items(self) -> pl.DataFrame:
        """`item_id` ascending, `count` (UInt32): exposures of each item."""
        return self.tables.get(
            "items",
            lambda: (
                self.events.group_by("item_id")
                .agg(pl.len().alias("count"))
                .sort("item_id")
                .collect(engine="streaming")
            ),
        )

    @property
    def item_ids(self) -> pl.Series:
        """`item_id` ascending."""
        return self.items["item_id"]

    @property
    def users(self) -> pl.Series:
        """`user_id` ascending."""
        return self.tables.get(
            "users", lambda: distinct(self._known, "user_id").to_frame()
        ).to_series()

    @property
    def sessions(self) -> pl.Series:
        """`session_id` ascending."""
        return self.tables.get(
            "sessions", lambda: distinct(self.events, "session_id").to_frame()
        ).to_series()

    @property
    def first_items(self) -> pl.Series:
        """Code of the item of each user's first event by (ts, file, line); by user ascending."""
        return self.tables.get("first_items", self._find_first_items).to_series()

    @property
    def user_items(self) -> pl.DataFrame:
        """`key` of (user, item) ascending, `count` (UInt32): exposures of the item to the user."""
        return self.tables.get(
            "user_items", lambda: count_keys(self._keys(self._known, self.users))
        )

    @property
    def baskets(self) -> pl.Series:
        """Distinct keys of (session, item), ascending: what the sessions hold."""
        return self.tables.get(
            "baskets",
            lambda: without_repeats(self._keys(self.events, self.sessions).sort()).to_frame(),
        ).to_series()

    def _keys(self, events: pl.LazyFrame, owners: pl.Series) -> pl.Series:
        """Return the key of (owner, item) of each event."""
        owner = owners.name
        return (
            events.select(owner, "item_id")
            .pipe(with_codes, self.item_ids)
            .pipe(with_codes, owners)
            .select(key=pair_key(pl.col(f"{owner}_code"), pl.col("item_id_code")))
            .collect(engine="streaming")
            .to_series()
        )

    def _find_first_items(self) -> pl.DataFrame:
        # Of nearly all users one event is left by its time; only the others are sorted.
        at = [name for name in ("file", "line", "part") if name in self._known.collect_schema()]
        earliest = self._known.group_by("user_id").agg(pl.col("ts").min())
        return (
            self._known.select("user_id", "ts", *at, "item_id")
            .join(earliest, on=["user_id", "ts"], how="semi")
            .pipe(with_codes, self.item_ids)
            .collect(engine="streaming")
            .sort("user_id", *at)
            .unique("user_id", keep="first", maintain_order=True)
            .select(item="item_id_code")
        )


def without_repeats(ordered: pl.Series) -> pl.Series:
    """Return the distinct values of an ordered series without nulls."""
    return ordered.filter((ordered != ordered.shift()).fill_null(value=True))
