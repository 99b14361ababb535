"""How many events that nothing tells apart repeat another one, as if a line had come twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl

# Events that are looked at, at most; of larger days a sample.
_MOST: Final = 2**17


class Repeats:
    """Counts the events without a request_id that are equal in every column to another one.

    Of many, those of some moments and items are looked at, so that either all equal ones are or
    none: 16 bytes for each, however many there are.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        """Begin a day.

        Args:
            columns: that an event is known by.
        """
        self._is_equal = pl.struct(columns).hash(seed=0).alias("hash")
        self._kept = pl.DataFrame(schema={"key": pl.UInt64, "hash": pl.UInt64})
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
        hashes = some.select(self._is_equal).to_series()
        self._kept = self._kept.vstack(pl.DataFrame({"key": key, "hash": hashes}))
        while self._kept.height > _MOST:
            self._halved += 1
            self._kept = self._kept.filter(self._is_taken(self._kept["key"]))

    def _is_taken(self, key: pl.Series) -> pl.Series:
        taken: pl.Series = key % 2**self._halved == 0
        return taken

    @property
    def looked_at(self) -> int:
        """The number of events that were looked at."""
        return self._kept.height

    @property
    def repeated(self) -> int:
        """How many of those are equal to an earlier one."""
        return self._kept.height - self._kept["hash"].n_unique()
