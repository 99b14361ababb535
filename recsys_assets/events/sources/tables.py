"""Rows of tables that know their files themselves: what Delta and Iceberg have in common.

A table has one version, and days are many: the state of a day is that of the data files that hold
rows of it, as the table's log tells them. The version that a source looks at first is the one it
reads to the end, so that a commit meanwhile changes nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from recsys_assets.config import Surface
from recsys_assets.errors import RawEventsError, StorageError
from recsys_assets.events.sources.day_column import DayColumn
from recsys_assets.events.sources.mapped import (
    columns_read,
    identity_of,
    refuse_other_fields,
    rules_of,
)
from recsys_assets.events.sources.source import InputSeen, Reading
from recsys_assets.pages import Location, Shown
from recsys_assets.storage.store import Stored
from recsys_assets.texts import as_code

if TYPE_CHECKING:
    from recsys_assets.events.parsed import ParsedChunk

_BATCH_ROWS: Final = 2**17
_MOST_KNOWN: Final = 100_000
# The days of data files that had to be opened for it; the files of a table never change.
_known: dict[tuple[str, str, str], frozenset[date]] = {}


@dataclass(frozen=True)
class DataFile:
    """A file of a table, as the log of the table tells it.

    Attributes:
        name: what it is called in the table.
        size_bytes: of its bytes.
        state: another one whenever the file or its deleted rows are others.
        low: the least value of the day column, None where that is unknown.
        high: the greatest one.
        constants: values of columns that the file itself may lack.
        deleted: what tells which of its rows are deleted, for `Table.deleted_rows`.
    """

    name: str
    size_bytes: int
    state: str
    low: Any = None
    high: Any = None
    constants: Mapping[str, Any] = field(default_factory=dict)
    deleted: Any = None


class Version(NamedTuple):
    """A table as it is at one version.

    Attributes:
        name: of the version.
        committed: when it was made.
        files: its files.
        empty: its columns.
    """

    name: str
    committed: datetime
    files: Sequence[DataFile]
    empty: pl.DataFrame


class Table(ABC):
    """A table as a source. A format says how its log is read, and how its files are."""

    def __init__(self, surface: Surface) -> None:
        self.surface = surface
        self.day_column = DayColumn(surface.source)
        self._order_by = surface.source.order_by

    @property
    @abstractmethod
    def where(self) -> str:
        """The path, URL or name by which a person finds the table."""

    @abstractmethod
    def load(self) -> Version:
        """Return the newest version.

        Raises:
            RawEventsError: it is no table, or has what is not read here.
            StoreUnavailableError: the object store does not answer.
        """

    @abstractmethod
    def open_file(self, file: DataFile) -> BinaryIO:
        """Open a file of the table, or raise FileNotFoundError."""

    @abstractmethod
    def stored_names(self, stored: pa.Schema, wanted: Iterable[str]) -> dict[str, str]:
        """Return what some columns of the table are called in a file, of those that it has.

        Raises:
            RawEventsError: fields within a column are called otherwise than in the table.
        """

    @abstractmethod
    def deleted_rows(self, file: DataFile) -> pl.Series | None:
        """Return which rows of a file are deleted, the first is 0; None where none are."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """How rows are found, ordered and mapped."""
        return identity_of(self.surface.source)

    @property
    def tag(self) -> str:
        """The picture of the format."""
        return self.surface.source.type

    @property
    def description(self) -> str:
        """Which table."""
        return f"Events as they land, a row of the {self.tag} table {as_code(self.where)} each."

    @property
    def shown(self) -> Mapping[str, Shown]:
        """The table."""
        return {"table": Location(self.where)}

    def wanted(self, day: date) -> str:
        """Return the day and the table."""
        return f"row is of {day} by {self.day_column.name!r} in {self.where}"

    def inputs(self, day: date) -> list[str]:
        """Return the files that have rows of the day; with `order_by` the day is one."""
        return [stored.key for stored in self._landed([day]).get(day, [])]

    def landed(self) -> dict[date, list[Stored]]:
        """Return the files by the days that they have rows of.

        Raises:
            RawEventsError: it is no table, or none of its rows tells a day.
            StoreUnavailableError: the object store does not answer.
        """
        found = self._landed(None)
        if self._version.files and not found:
            raise RawEventsError(
                f"{self.where}: no row tells a day by {self.day_column.name!r}. Say in "
                "source.time_column which column does"
            )
        return found

    def _landed(self, only: Collection[date] | None) -> dict[date, list[Stored]]:
        by_day: dict[date, list[DataFile]] = {}
        for file in self._version.files:
            for day in self._days_of(file, only):
                by_day.setdefault(day, []).append(file)
        return {day: self._inputs(day, files) for day, files in by_day.items()}

    def _inputs(self, day: date, files: Sequence[DataFile]) -> list[Stored]:
        committed = self._version.committed
        if not self._order_by:
            return [Stored(file.name, file.size_bytes, committed, file.state) for file in files]
        size = sum(file.size_bytes for file in files)
        return [Stored(str(day), size, committed, state_of(*(file.state for file in files)))]

    @contextmanager
    def open(self, name: str, day: date | None = None) -> Iterator[Reading]:
        """Open a file, or a day with `order_by`; the rows of other days are left out."""
        stored, files = self._found(name)
        yield _Reading(self, stored, files, day)

    def _found(self, name: str) -> tuple[Stored, Sequence[DataFile]]:
        if self._order_by:
            day = date.fromisoformat(name)
            files = [file for file in self._version.files if day in self._days_of(file, [day])]
            return self._inputs(day, files)[0], files
        file = self._by_name[name]
        return Stored(name, file.size_bytes, self._version.committed, file.state), [file]

    def parse(self, piece: pl.DataFrame, day: date | None) -> ParsedChunk:
        """Map rows."""
        from recsys_assets.events.rows import map_frame

        rules = rules_of(self.surface.source, self._version.empty.columns)
        return map_frame(piece, rules, place=self.surface.place, day=day)

    def label(self, name: str) -> str:
        """Return the table and the file, or the day."""
        return f"{self.where} of {name}" if self._order_by else f"{self.where}/{name}"

    def size_bytes(self, name: str) -> int | None:
        """Return the size of a file, or of the files of a day, in the newest version."""
        try:
            return self._found(name)[0].size_bytes
        except (KeyError, IndexError, ValueError, RawEventsError, StorageError):
            return None

    def is_complete(self, day: date) -> bool | None:
        """Tell that days are not marked."""
        return None

    def content(self, landed: Stored) -> str:
        """Return the state of a file, or of the files of a day."""
        return landed.tag

    def is_still(self, seen: InputSeen, landed: Stored, *, read_at: datetime) -> bool:
        """Compare the state."""
        return landed.tag == seen.sha256

    @property
    def version(self) -> str:
        """The version that is read."""
        return self._version.name

    @cached_property
    def _version(self) -> Version:
        found = self.load()
        self.day_column.refuse_other(found.empty, self.where)
        for name in self._order_by:
            if name not in found.empty.columns:
                raise RawEventsError(
                    f"{self.where}: no column {name!r}, which source.order_by names: there are "
                    f"{', '.join(found.empty.columns)}"
                )
        refuse_other_fields(self.surface, found.empty, self.where)
        files = sorted(found.files, key=lambda file: os.fsencode(file.name))
        return found._replace(files=files)

    @cached_property
    def _by_name(self) -> Mapping[str, DataFile]:
        return {file.name: file for file in self._version.files}

    @cached_property
    def _spans(self) -> Mapping[str, tuple[date, date] | None]:
        """The first and the last day of each file, as the log tells them."""
        files, column = self._version.files, self.day_column
        spans = column.spans(
            [file.low for file in files],
            [file.high for file in files],
            self._version.empty.schema[column.name],
        )
        return {file.name: span for file, span in zip(files, spans, strict=True)}

    def _days_of(self, file: DataFile, only: Collection[date] | None) -> Collection[date]:
        """Return the days that a file has rows of; of some days only, where they are given.

        Bounds that span several days do not tell which of them have rows, and a few late events
        would make every day between another one. So such a file is looked into, once.
        """
        span = self._spans[file.name]
        if span and only is not None:
            only = [day for day in only if span[0] <= day <= span[1]]
            if not only:
                return only
        if span and span[0] == span[1]:
            return [span[0]]
        key = (self.where, repr(self.day_column), file.state)
        if key not in _known:
            if len(_known) >= _MOST_KNOWN:
                _known.clear()
            _known[key] = frozenset(self._days_in(file))
        return _known[key] if only is None else _known[key].intersection(only)

    def _days_in(self, file: DataFile) -> set[date]:
        """Return the days of a file by its row groups, and by its rows where groups have several.

        A file that is deleted from in part keeps the days of the deleted rows: it is another file
        by its state already.
        """
        found: set[date] = set()
        if self.day_column.name in file.constants:  # of no day: it would have a span
            return found
        with self._told(file), self.open_file(file) as raw:
            parquet = pq.ParquetFile(raw)
            column = self.day_column.name
            name = self.stored_names(parquet.schema_arrow, [column]).get(column)
            for group in range(parquet.num_row_groups) if name else ():
                span, _ = self._span_of_group(parquet, group, name)
                if span and span[0] == span[1]:
                    found.add(span[0])
                    continue
                for batch in parquet.iter_batches(_BATCH_ROWS, row_groups=[group], columns=[name]):
                    values = pl.DataFrame(batch).to_series()
                    found.update(self.day_column.days(values).drop_nulls().unique())
        return found

    def _span_of_group(
        self, parquet: pq.ParquetFile, group: int, name: str | None
    ) -> tuple[tuple[date, date] | None, bool]:
        """Return the first and last day of a row group, and whether rows of it may tell none."""
        of_group = parquet.metadata.row_group(group)
        for number in range(of_group.num_columns):
            column = of_group.column(number)
            if column.path_in_schema == name and column.is_stats_set:
                found = column.statistics
                dtype = pl.DataFrame(parquet.schema_arrow.empty_table()).schema[name]
                has_nulls = not found.has_null_count or found.null_count > 0
                try:
                    low, high = (found.min, found.max) if found.has_min_max else (None, None)
                except ValueError:  # nanoseconds, which Python's times do not have
                    return None, True
                return self.day_column.spans([low], [high], dtype)[0], has_nulls
        return None, True

    def rows(self, file: DataFile, day: date | None) -> Iterator[pl.DataFrame]:
        """Yield the rows of a file that are of a day, or tell none; None yields all.

        Each frame has the columns that are mapped, and LINE: the number of the row in its file, the
        first is 1, whatever was left out before it.

        Raises:
            RawEventsError: the file is not there any more, is damaged or no Parquet.
        """
        from recsys_assets.events.fields import LINE

        empty = self._version.empty
        wanted = dict.fromkeys(
            [
                *columns_read(self.surface.source, empty.columns),
                self.day_column.name,
                *self._order_by,
            ]
        )
        with self._told(file), self.open_file(file) as raw:
            deleted = self.deleted_rows(file)
            parquet = pq.ParquetFile(raw)
            stored = self.stored_names(parquet.schema_arrow, wanted)
            there = [
                pl.col(column).cast(empty.schema[name]).alias(name)
                for name, column in stored.items()
            ]
            lacking = [
                pl.lit(file.constants.get(name)).cast(empty.schema[name]).alias(name)
                for name in wanted
                if name not in stored
            ]
            after = 0
            for group in range(parquet.num_row_groups):
                before, after = after, after + parquet.metadata.row_group(group).num_rows
                if day is not None and not self._may_hold(parquet, group, stored, day):
                    continue
                for batch in parquet.iter_batches(
                    _BATCH_ROWS, row_groups=[group], columns=[*stored.values()]
                ):
                    numbers = pl.int_range(before, before + batch.num_rows, eager=True)
                    before += batch.num_rows
                    frame = pl.DataFrame([(numbers + 1).alias(LINE)])
                    if there:
                        frame = frame.hstack(pl.DataFrame(batch).select(there))
                    frame = frame.with_columns(lacking)
                    kept = pl.repeat(value=True, n=frame.height, eager=True)
                    if deleted is not None:
                        kept &= ~numbers.is_in(deleted.implode())
                    if day is not None and self.day_column.name in stored:
                        days = self.day_column.days(frame[self.day_column.name])
                        kept &= days.is_null() | (days == day).fill_null(value=False)
                    frame = frame.filter(kept)
                    if frame.height:
                        yield frame

    def _may_hold(
        self, parquet: pq.ParquetFile, group: int, stored: Mapping[str, str], day: date
    ) -> bool:
        span, has_nulls = self._span_of_group(parquet, group, stored.get(self.day_column.name))
        return span is None or has_nulls or span[0] <= day <= span[1]

    @contextmanager
    def _told(self, file: DataFile) -> Iterator[None]:
        """Say of what fails while a file is read which one it is, and what to do."""
        location = f"{self.where}: file {file.name}"
        try:
            yield
        except FileNotFoundError:
            raise RawEventsError(
                f"{location} is not there, though version {self.version} has it: it was removed, "
                "as VACUUM or expiring snapshots do. Nothing of the day was kept; materialize it "
                "again, which reads the newest version, and keep removed files for a day at least"
            ) from None
        except (OSError, EOFError, pa.ArrowException, StorageError) as error:
            problem = error.problem if isinstance(error, StorageError) else error
            raise RawEventsError(
                f"{location} cannot be read to its end ({problem}). Nothing of the day was kept; "
                "mend the table and materialize the day."
            ) from error


class _Reading:
    """A file, or a day, that is being read."""

    def __init__(
        self, table: Table, stored: Stored, files: Sequence[DataFile], day: date | None
    ) -> None:
        self._table, self._stored, self._files, self._day = table, stored, files, day

    def pieces(self) -> Iterator[pl.DataFrame]:
        """Yield its rows.

        With `order_by` all rows of the day are held at a time, of the columns that are mapped.

        Raises:
            RawEventsError: a file is not there any more, is damaged or no Parquet.
        """
        order = self._table.surface.source.order_by
        if not order:
            yield from self._table.rows(self._files[0], self._day)
            return
        from recsys_assets.events.fields import LINE

        day = date.fromisoformat(self._stored.key)
        frames = [frame for file in self._files for frame in self._table.rows(file, day)]
        if not frames:
            return
        whole = pl.concat(frames, how="vertical_relaxed")
        frames.clear()
        whole = whole.sort(order, maintain_order=True)
        for start in range(0, whole.height, _BATCH_ROWS):
            piece = whole.slice(start, _BATCH_ROWS)
            numbers = pl.int_range(start + 1, start + 1 + piece.height, eager=True)
            yield piece.with_columns(numbers.alias(LINE))

    def seen(self) -> InputSeen:
        """Return size and state, and the version of the table."""
        stored = self._stored
        return InputSeen(stored.key, stored.size_bytes, stored.tag, version=self._table.version)

    def content(self) -> str | None:
        """Return nothing: a table may hold the same rows twice."""
        return None


def state_of(*known: Any) -> str:
    """Return the SHA-256 of what is known of files."""
    return hashlib.sha256(json.dumps(known, default=str).encode()).hexdigest()
