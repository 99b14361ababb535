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

from recsys_assets.compute.day_counts import COUNTS_FORMAT
from recsys_assets.storage import layout
from recsys_assets.storage.store import Store

# Tables that are needed more than once.
_SHARED: Final = frozenset({"items", "users", "sessions", "user_items"})
# Of a day in a window: the rest is put together once, and shared as the window's.
_SHARED_OF_WINDOW_DAYS: Final = frozenset({"items", "users"})
# A day of ten million events fits; of a larger one, each artifact counts what it needs.
_MAX_SHARED_BYTES: Final = 2**27
_shared: OrderedDict[tuple[str, str], tuple[pl.DataFrame, int]] = OrderedDict()  # and its bytes
_sharing = Lock()

_LOG = logging.getLogger(__name__)


class SharedCounts:
    """Keeps tables of a day or a window in memory, so that the artifacts of a process share them.

    Of all together no more than `_MAX_SHARED_BYTES`, those that were used last.
    """

    def __init__(self, fingerprint: str, tables: Container[str] = _SHARED) -> None:
        """Keep what is counted of the events with this fingerprint, or this `source_hash`."""
        self._fingerprint = fingerprint
        self._names = tables

    def read(self, table: str) -> pl.DataFrame | None:
        """Return a table that was kept."""
        with _sharing:
            found = _shared.get((self._fingerprint, table))
            if found is None:
                return None
            _shared.move_to_end((self._fingerprint, table))
            return found[0]

    def write(self, table: str, frame: pl.DataFrame) -> None:
        """Keep a table, in place of those that were not used for longest."""
        size = int(frame.estimated_size())
        if table not in self._names or size > _MAX_SHARED_BYTES:
            return
        with _sharing:
            _shared[self._fingerprint, table] = frame, size
            while sum(size for _, size in _shared.values()) > _MAX_SHARED_BYTES:
                _shared.popitem(last=False)


class KeptCounts:
    """Keeps the tables of one day in the store, and shares them (`compute.day_counts.Keep`)."""

    def __init__(
        self,
        store: Store,
        tenant: str,
        surface: str,
        day: date,
        *,
        fingerprint: str,
        is_current: Callable[[], bool],
    ) -> None:
        """Keep what is counted of the accepted events with this fingerprint.

        Args:
            store: where they are kept.
            tenant: whose events.
            surface: whose events.
            day: of the events.
            fingerprint: of the accepted events.
            is_current: tells whether these are the accepted events still. They are scanned where
                they lie, so those of another run may be in their place by the time they are read.
        """
        self._store = store
        self._shared = SharedCounts(fingerprint, _SHARED_OF_WINDOW_DAYS)
        self._is_current = is_current
        self._where = (tenant, surface, day, f"{fingerprint}-{COUNTS_FORMAT}")

    def read(self, table: str) -> pl.DataFrame | None:
        """Return a table that was kept; None when it was not, or cannot be read any more.

        Raises:
            StoreUnavailableError: the object store does not answer.
        """
        shared = self._shared.read(table)
        if shared is not None:
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
        if not self._is_current():
            return
        buffer = io.BytesIO()
        frame.write_parquet(buffer, compression="zstd", compression_level=1)
        self._store.replace(layout.counts(*self._where, table), buffer.getvalue())
        self._shared.write(table, frame)
