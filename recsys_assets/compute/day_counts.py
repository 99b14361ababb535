"""What one day contributes to the artifacts: counts that windows of any length are made of.

Counts of days can be added up, so a day needs to be counted once, however many windows it is part
of. Nothing is lost that an artifact needs: which sessions and users are the same on several days is
known by their ids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import cached_property
from threading import RLock
from typing import TYPE_CHECKING, Final, Protocol

import polars as pl

from recsys_assets.compute.built import find_edges
from recsys_assets.compute.codes import (
    ascending,
    count_keys,
    distinct,
    pair_key,
    with_codes,
)
from recsys_assets.compute.lists import whole_owners
from recsys_assets.errors import InputError

if TYPE_CHECKING:
    from polars._typing import EngineType

# What an event counts where its source gives events weights.
_WEIGHT: Final = pl.col("weight").fill_null(1)
# Events of a day that is small: starting a query in parts takes longer than computing it.
FEW_EVENTS: Final = 50_000
# The table of a small day that its other tables are made of; made again faster than read.
CODED: Final = "coded"
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

    def user_item_blocks(self, *, weighted: bool = False) -> Iterator[pl.DataFrame]:
        """Yield `key` of (user, item) ascending, `count` (UInt32), in blocks of whole users.

        The count is of the exposures of the item to the user, or what they weigh.
        """

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

    def __init__(
        self,
        events: pl.LazyFrame,
        keep: Keep | None = None,
        leave_out: Callable[[pl.LazyFrame], pl.LazyFrame] | None = None,
        gap: timedelta = timedelta(0),
        rows: int | None = None,
    ) -> None:
        """Count events.

        Args:
            events: contract `canonical_event`, any row order.
            keep: where tables are looked for first, and kept.
            leave_out: takes those away that are not to count, once events are counted at all.
            gap: the longest pause within the sessions that were built; 0 where none were.
            rows: how many these are at most, where that is known.
        """
        self.gap = gap
        self._is_small = is_small(rows)
        self._engine: EngineType = "in-memory" if self._is_small else "streaming"
        self._given = events
        self._leave_out = leave_out
        self.tables = Tables(keep)

    @cached_property
    def events(self) -> pl.LazyFrame:
        """The events that count."""
        return self._leave_out(self._given) if self._leave_out else self._given

    @property
    def _known(self) -> pl.LazyFrame:
        return self.events.filter(pl.col("user_id").is_not_null())

    @property
    def items(self) -> pl.DataFrame:
        """`item_id` ascending, `count` (UInt32): exposures of each item."""
        return self.tables.get(
            "items",
            lambda: (
                self.events.group_by("item_id")
                .agg(pl.len().alias("count"))
                .sort("item_id")
                .collect(engine=self._engine)
            ),
        )

    @property
    def weighted_items(self) -> pl.DataFrame:
        """`item_id` ascending, `count` (Int64): what the exposures of each item weigh."""
        return self.tables.get(
            "weighted_items",
            lambda: (
                self.events.group_by("item_id")
                .agg(_WEIGHT.sum().alias("count"))
                .sort("item_id")
                .collect(engine=self._engine)
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
            "users", lambda: distinct(self._known, "user_id", self._engine).to_frame()
        ).to_series()

    @property
    def sessions(self) -> pl.Series:
        """`session_id` ascending."""
        return self.tables.get(
            "sessions", lambda: distinct(self.events, "session_id", self._engine).to_frame()
        ).to_series()

    @property
    def first_items(self) -> pl.Series:
        """Code of the item of each user's first event by (ts, file, line); by user ascending."""
        return self.tables.get("first_items", self._find_first_items).to_series()

    @property
    def user_items(self) -> pl.DataFrame:
        """`key` of (user, item) ascending, `count` (UInt32): exposures of the item to the user."""
        return self.tables.get("user_items", lambda: count_keys(self._keys(self.users)))

    @property
    def weighted_user_items(self) -> pl.DataFrame:
        """The same `key`, `count` (UInt32): what the exposures of the item to the user weigh."""
        return self.tables.get("weighted_user_items", self._weigh_user_items)

    def user_item_blocks(self, *, weighted: bool = False) -> Iterator[pl.DataFrame]:
        """Yield the rows of one of these in blocks of whole users."""
        return whole_owners(self.weighted_user_items if weighted else self.user_items)

    @property
    def baskets(self) -> pl.Series:
        """Distinct keys of (session, item), ascending: what the sessions hold."""
        return self.tables.get(
            "baskets",
            lambda: without_repeats(ascending(self._keys(self.sessions))).to_frame(),
        ).to_series()

    @property
    def edges(self) -> pl.DataFrame:
        """The built sessions that the day before or after may have a part of: `find_edges`."""
        return self.tables.get("edges", lambda: find_edges(self.events, self.sessions, self.gap))

    @cached_property
    def session_sizes(self) -> pl.DataFrame:
        """`session_id` ascending, `events`, `several`: whether several users are in it.

        An event without user is nobody's. It finds `sessions` on the way: asked for first, it costs
        hardly more than these.
        """
        # Hashes are compared in a fraction of the time of ids.
        user = pl.when(pl.col("user_id").is_not_null()).then(pl.col("user_id").hash())
        by_session = (
            self.events.group_by("session_id")
            .agg(events=pl.len(), several=(user.min() != user.max()).fill_null(value=False))
            .sort("session_id")
            .collect(engine=self._engine)
        )
        self.tables.get("sessions", lambda: by_session.select("session_id"))
        return by_session

    @cached_property
    def user_sizes(self) -> pl.DataFrame:
        """`user_id` ascending, `events`; it finds `users` on the way, in the same manner."""
        by_user = (
            self._known.group_by("user_id")
            .agg(events=pl.len())
            .sort("user_id")
            .collect(engine=self._engine)
        )
        self.tables.get("users", lambda: by_user.select("user_id"))
        return by_user

    def sessions_of_several_users(self) -> int:
        """Count the sessions with events of several users."""
        return int(self.session_sizes["several"].sum())

    def _keys(self, owners: pl.Series) -> pl.Series:
        """Return the key of (owner, item) of each event that has an owner."""
        key = pair_key(pl.col(f"{owners.name}_code"), pl.col("item_id_code"))
        coded = self._with_codes(owners)
        return coded.select(key=key).collect(engine=self._engine).to_series()

    def _with_codes(self, owners: pl.Series, *further: str) -> pl.LazyFrame:
        """Return the codes of owner and item, and further columns, of events that have an owner."""
        if self._is_small:
            found = self.tables.get(CODED, self._code)
            return found.lazy().filter(pl.col(f"{owners.name}_code").is_not_null())
        wanted = self.events.select(owners.name, "item_id", *further)
        return wanted.pipe(with_codes, self.item_ids).pipe(with_codes, owners)

    def _code(self) -> pl.DataFrame:
        """Look up the codes of all events, for all tables of a small day."""
        codes = {
            f"{ids.name}_code": pl.col(ids.name).cast(pl.Enum(ids)).to_physical().cast(pl.UInt32)
            for ids in (self.users, self.sessions, self.item_ids)
        }
        coded = self.events.select("ts", *self._in_source, **codes)
        return coded.collect(engine=self._engine)

    @cached_property
    def _in_source(self) -> list[str]:
        """The columns that say where in its source an event stands, in their order."""
        columns = self.events.collect_schema()
        return [name for name in ("file", "line", "part") if name in columns]

    def _weigh_user_items(self) -> pl.DataFrame:
        weighed = (
            self._known.select("user_id", "item_id", count=_WEIGHT)
            .pipe(with_codes, self.item_ids)
            .pipe(with_codes, self.users)
            .group_by(key=pair_key(pl.col("user_id_code"), pl.col("item_id_code")))
            .agg(pl.col("count").sum())
            .sort("key")
            .collect(engine=self._engine)
        )
        return weighed.with_columns(count=as_count(weighed["count"]))

    def _find_first_items(self) -> pl.DataFrame:
        coded = self._with_codes(self.users, "ts", *self._in_source)
        if not self._is_small:
            # Of nearly all users one event is left by its time; only the others are sorted.
            earliest = coded.group_by("user_id_code").agg(pl.col("ts").min())
            coded = coded.join(earliest, on=["user_id_code", "ts"], how="semi")
        return (
            coded.collect(engine=self._engine)
            .sort("user_id_code", "ts", *self._in_source)
            .unique("user_id_code", keep="first", maintain_order=True)
            .select(item="item_id_code")
        )


def is_small(rows: int | None) -> bool:
    """Tell whether so many events are few; of an unknown number, they are not."""
    return rows is not None and rows <= FEW_EVENTS


def as_count(numbers: pl.Series) -> pl.Series:
    """Return numbers as 32 bits, which lists are ordered by.

    Raises:
        InputError: one is too large for them.
    """
    most = 2**32 - 1
    if numbers.len() and int(numbers.max()) > most:  # type: ignore[arg-type]
        raise InputError(
            f"the exposures of an item to a user weigh more than {most:,} together: make the "
            "numbers of source.weight.values smaller, and materialize canonical_events of the days "
            "again"
        )
    return numbers.cast(pl.UInt32)


def without_repeats(ordered: pl.Series) -> pl.Series:
    """Return the distinct values of an ordered series without nulls."""
    return ordered.filter((ordered != ordered.shift()).fill_null(value=True))
