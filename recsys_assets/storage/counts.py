"""The counts of a day in the store, so that each window it is part of need not count it again.

They are a function of the day's accepted events and stand under their fingerprint: events that
come late give another one. So they are never out of date, and whoever deletes them loses time only.
"""

from __future__ import annotations

import io
import logging
from collections import OrderedDict
from collections.abc import Callable, Container
from datetime import date
from threading import Lock
from typing import Final

import polars as pl

from recsys_assets.compute.day_counts import CODED, COUNTS_FORMAT
from recsys_assets.places import Place
from recsys_assets.storage import layout
from recsys_assets.storage.store import Store

# Tables that are needed more than once.
_SHARED: Final = frozenset({"items", "users", "sessions", "user_items", CODED})
# Of a day in a window: the rest is put together once, and shared as the window's.
_SHARED_OF_WINDOW_DAYS: Final = frozenset({"items", "users"})
# A day of ten million events fits; of a larger one, each artifact counts what it needs.
_MAX_SHARED_BYTES: Final = 2**27

_LOG = logging.getLogger(__name__)


def without_some(fingerprint: str, without: str) -> str:
    """Return what counts are kept under: those of some of the events are others than those of all.

    Args:
        fingerprint: of the events, or a `source_hash`.
        without: names what is left out; empty where all events count.
    """
    return f"{fingerprint}-without-{without}" if without else fingerprint


class CountsCache:
    """Tables of days and windows in memory, which the artifacts of a process share.

    Of all together no more than `_MAX_SHARED_BYTES`, those that were used last.
    """

    def __init__(self) -> None:
        self._tables: OrderedDict[tuple[str, str], tuple[pl.DataFrame, int]] = OrderedDict()
        self._lock = Lock()

    def of(self, fingerprint: str, tables: Container[str] = _SHARED) -> SharedCounts:
        """Return those that are counted of the events with this fingerprint, or `source_hash`."""
        return SharedCounts(self, fingerprint, tables)

    def get(self, fingerprint: str, table: str) -> pl.DataFrame | None:
        """Return a table, if it is still there."""
        with self._lock:
            found = self._tables.get((fingerprint, table))
            if found is None:
                return None
            self._tables.move_to_end((fingerprint, table))
            return found[0]

    def put(self, fingerprint: str, table: str, frame: pl.DataFrame) -> None:
        """Keep a table that is not too large, in place of those that were not used for longest."""
        size = int(frame.estimated_size())
        if size > _MAX_SHARED_BYTES:
            return
        with self._lock:
            self._tables[fingerprint, table] = frame, size
            while sum(size for _, size in self._tables.values()) > _MAX_SHARED_BYTES:
                self._tables.popitem(last=False)


class SharedCounts:
    """The tables of one day or window in a cache (`compute.day_counts.Keep`)."""

    def __init__(self, cache: CountsCache, fingerprint: str, tables: Container[str]) -> None:
        """Keep the tables that are named, others not."""
        self._cache = cache
        self._fingerprint = fingerprint
        self._names = tables

    def read(self, table: str) -> pl.DataFrame | None:
        """Return a table that was kept."""
        return self._cache.get(self._fingerprint, table)

    def write(self, table: str, frame: pl.DataFrame) -> None:
        """Keep a table."""
        if table in self._names:
            self._cache.put(self._fingerprint, table, frame)


class KeptCounts:
    """Keeps the tables of one day in the store, and shares them (`compute.day_counts.Keep`)."""

    def __init__(
        self,
        store: Store,
        place: Place,
        day: date,
        *,
        fingerprint: str,
        is_current: Callable[[], bool],
        cache: CountsCache,
        without: str = "",
    ) -> None:
        """Keep what is counted of the accepted events with this fingerprint.

        Args:
            store: where they are kept.
            place: whose events.
            day: of the events.
            fingerprint: of the accepted events.
            is_current: tells whether these are the accepted events still. They are scanned where
                they lie, so those of another run may be in their place by the time they are read.
            cache: where they are shared.
            without: names what is left out of the counts; empty where all events count.
        """
        fingerprint = without_some(fingerprint, without)
        self._store = store
        self._shared = cache.of(fingerprint, _SHARED_OF_WINDOW_DAYS)
        self._is_current = is_current
        self._where = (place, day, f"{fingerprint}-{COUNTS_FORMAT}")

    def read(self, table: str) -> pl.DataFrame | None:
        """Return a table that was kept; None when it was not, or cannot be read any more.

        Raises:
            StoreUnavailableError: the object store does not answer.
        """
        shared = self._shared.read(table)
        if shared is not None or table == CODED:
            return shared
        key = layout.counts(*self._where, table)
        try:
            file, _ = self._store.open(key)
        except FileNotFoundError:
            return None
        with file:
            data = file.read()
        try:
            frame = pl.read_parquet(io.BytesIO(data))
        except pl.exceptions.PolarsError as error:
            _LOG.warning("%s is damaged and is counted again: %s", self._store.location(key), error)
            return None
        self._shared.write(table, frame)
        return frame

    def write(self, table: str, frame: pl.DataFrame) -> None:
        """Keep a table, in place of a damaged one, if it was made of these events for sure."""
        if table == CODED or not self._is_current():
            return
        buffer = io.BytesIO()
        frame.write_parquet(buffer, compression="zstd", compression_level=1)
        self._store.replace(layout.counts(*self._where, table), buffer.getvalue())
        self._shared.write(table, frame)
