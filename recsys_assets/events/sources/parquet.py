"""Rows of Parquet files, with the user's own columns: `source.type: parquet`."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import date
from typing import BinaryIO, Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from recsys_assets.config import Surface
from recsys_assets.events.sources.files import told_of
from recsys_assets.events.sources.hashing import HashingReader
from recsys_assets.events.sources.mapped import (
    MappedFiles,
    Rows,
    columns_read,
    refuse_other_fields,
)
from recsys_assets.events.sources.source import InputSeen, Reading, Source

_BATCH_ROWS: Final = 2**17


def open_source(surface: Surface) -> Source:
    """Return the source of a surface."""
    return Parquet(surface)


class Parquet(MappedFiles):
    """Parquet files; the number of a row is its place in the file, the first is 1."""

    @contextmanager
    def open(self, name: str, days: Collection[date]) -> Iterator[Reading]:
        """Open a file."""
        location = self.label(name)
        with told_of(location):
            raw, _ = self._store.open(name)
        with raw:
            yield _Reading(self, name, raw)


def _uuids(file: pq.ParquetFile) -> set[str]:
    """Return the columns of UUIDs, which are 16 bytes each."""
    columns = (file.schema.column(number) for number in range(len(file.schema)))
    return {column.path for column in columns if column.logical_type.type == "UUID"}


def _with_texts(batch: pa.RecordBatch, uuids: Collection[str]) -> pa.RecordBatch:
    """Return rows whose UUIDs are texts, as everything else writes them."""
    frame = pl.DataFrame(batch)
    if not (of := [name for name in frame.columns if name in uuids]):
        return batch
    digits = pl.col(of).bin.encode("hex")
    written = digits.str.replace(r"^(.{8})(.{4})(.{4})(.{4})(.{12})$", "$1-$2-$3-$4-$5")
    return next(iter(frame.with_columns(written).to_arrow().combine_chunks().to_batches()), batch)


class _Reading:
    """A file that is being read."""

    def __init__(self, source: Parquet, name: str, raw: BinaryIO) -> None:
        self._source = source
        self._name = name
        self._raw = raw
        self._stored = HashingReader(raw)

    def pieces(self) -> Iterator[Rows]:
        """Yield its rows, then hash it.

        Raises:
            RawEventsError: it is damaged, no Parquet, or lacks a field. Or the disk fails.
            StoreUnavailableError: the object store does not answer.
        """
        location = self._source.label(self._name)
        with told_of(location):
            file = pq.ParquetFile(self._raw)
            surface, empty = self._source.surface, pl.DataFrame(file.schema_arrow.empty_table())
            refuse_other_fields(surface, empty, location)
            columns = columns_read(surface.source, empty.columns)
            uuids, line = _uuids(file), 1
            for batch in file.iter_batches(_BATCH_ROWS, columns=columns):
                yield Rows(line, _with_texts(batch, uuids))
                line += batch.num_rows
            self._raw.seek(0)
            self._stored.read_all()

    def seen(self) -> InputSeen:
        """Return size and SHA-256 of the file."""
        return InputSeen(self._name, self._stored.size_bytes, self._stored.sha256)

    def content(self) -> str | None:
        """Return the SHA-256 of the file."""
        return self._stored.sha256
