"""The counts of a day in the store, so that each window it is part of need not count it again.

They are a function of the day's accepted events and stand under their fingerprint: events that
come late give another one. So they are never out of date, and whoever deletes them loses time only.
"""

from __future__ import annotations

import io
import logging
from datetime import date

import polars as pl

from recsys_assets.compute.day_counts import COUNTS_FORMAT
from recsys_assets.storage import layout
from recsys_assets.storage.store import Store

_LOG = logging.getLogger(__name__)


class KeptCounts:
    """Keeps the tables of one day of a surface, as `compute.day_counts.Keep`."""

    def __init__(
        self, store: Store, tenant: str, surface: str, day: date, *, fingerprint: str
    ) -> None:
        """Keep what is counted of the accepted events with this fingerprint."""
        self._store = store
        self._where = (tenant, surface, day, f"{fingerprint}-{COUNTS_FORMAT}")

    def read(self, table: str) -> pl.DataFrame | None:
        """Return a table that was kept; None when it was not, or cannot be read any more.

        Raises:
            StoreUnavailableError: the object store does not answer.
        """
        key = layout.counts(*self._where, table)
        try:
            file, _ = self._store.open(key)
        except FileNotFoundError:
            return None
        with file:
            data = file.read()
        try:
            return pl.read_parquet(io.BytesIO(data))
        except pl.exceptions.PolarsError as error:
            _LOG.warning("%s is damaged and is counted again: %s", self._store.location(key), error)
            return None

    def write(self, table: str, frame: pl.DataFrame) -> None:
        """Keep a table, in place of a damaged one."""
        buffer = io.BytesIO()
        frame.write_parquet(buffer, compression="zstd", compression_level=1)
        self._store.replace(layout.counts(*self._where, table), buffer.getvalue())
