"""How many events that nothing tells apart repeat another one, as if a line had come twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl

from recsys_assets.contracts import row_hash

# Different events that are looked at, at most; of larger days a sample, halved so often at most.
_MOST: Final = 2**15
_MOST_HALVED: Final = 60


class Repeats:
    """Counts the events without a request_id that are equal in every column to another one.

    Of many different ones, those of some moments and items are looked at, so that either all equal
    ones are or none: what is held is of bounded size, however many there are.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        """Begin a day.

        Args:
            columns: that an event is known by.
        """
        self._hash = row_hash(columns).alias("hash")
        self._held = pl.DataFrame(schema={"key": pl.UInt64, "hash": pl.UInt64, "events": pl.Int64})
        self._halved = 0

    def add(self, events: pl.DataFrame) -> None:
        """Look at further events."""
        unknown = events["request_id"].is_null()
        if not unknown.any():
            return
        some = events if unknown.all() else events.filter(unknown)
        key = some["ts"].hash(0) ^ some["item_id"].hash(0)
        if self._halved:
            is_taken = self._is_taken(key)
            some, key = some.filter(is_taken), key.filter(is_taken)
        found = some.select(key.alias("key"), self._hash, events=pl.lit(1, pl.Int64))
        self._held = self._held.vstack(found)
        if self._held.height > _MOST:
            once = self._held.group_by("hash").agg(pl.first("key"), pl.sum("events"))
            while once.height > _MOST and self._halved < _MOST_HALVED:
                self._halved += 1
                once = once.filter(self._is_taken(once["key"]))
            self._held = once.select(self._held.columns)

    def _is_taken(self, key: pl.Series) -> pl.Series:
        taken: pl.Series = key % 2**self._halved == 0
        return taken

    @property
    def looked_at(self) -> int:
        """The number of events that were looked at."""
        return int(self._held["events"].sum())

    @property
    def repeated(self) -> int:
        """How many of those are equal to an earlier one."""
        return self.looked_at - self._held["hash"].n_unique()
