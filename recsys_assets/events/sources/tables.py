"""Rows of tables that know their files themselves: what Delta and Iceberg have in common.

A table has one version, and days are many: the state of a day is that of the data files that hold
rows of it, as the table's log tells them. The version that a source looks at first is the one it
reads to the end, so that a commit meanwhile changes nothing.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from functools import cached_property
from typing import TYPE_CHECKING, BinaryIO, Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from recsys_assets.config import Surface
from recsys_assets.errors import RawEventsError, StorageError
from recsys_assets.events.sources.data_files import (
    BATCH_ROWS,
    DataFile,
    Version,
    days_in,
    rows_in,
    state_of,
)
from recsys_assets.events.sources.day_column import DayColumn
from recsys_assets.events.sources.mapped import (
    MappedRows,
    columns_read,
    refuse_other_fields,
    rules_of,
)
from recsys_assets.events.sources.source import InputSeen, Reading
from recsys_assets.pages import Location, Shown
from recsys_assets.storage.store import Stored
from recsys_assets.texts import as_code

if TYPE_CHECKING:
    from recsys_assets.events.parsed import ParsedChunk

_MOST_KNOWN: Final = 100_000
# The days of data files that had to be opened for it; the files of a table never change.
_known: dict[tuple[str, str, str], frozenset[date]] = {}


class Table(MappedRows, ABC):
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
    def description(self) -> str:
        """Which table."""
        format_ = self.surface.source.type.capitalize()
        return f"Events as they land, a row of the {format_} table {as_code(self.where)} each."

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
    def open(self, name: str, days: Collection[date]) -> Iterator[Reading]:
        """Open a file, or a day with `order_by`; the rows of other days are left out."""
        stored, files = self._found(name)
        yield _Reading(self, stored, files, days)

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

        rules = rules_of(self.surface.source, piece.columns)
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
        column = self.day_column
        if column.name in file.constants:  # a text, or of no day: others have a span
            value = pl.Series([file.constants[column.name]], strict=False)
            days = column.days(value.cast(self._version.empty.schema[column.name]))
            return set(days.drop_nulls())
        with self._told(file), self.open_file(file) as raw:
            parquet = pq.ParquetFile(raw)
            name = self.stored_names(parquet.schema_arrow, [column.name]).get(column.name)
            return days_in(parquet, name, column) if name else set()

    def rows(self, file: DataFile, days: Collection[date]) -> Iterator[pl.DataFrame]:
        """Yield the rows of a file that are of some days, or tell none.

        Each frame has the columns that are mapped, and LINE: the number of the row in its file, the
        first is 1, whatever was left out before it.

        Raises:
            RawEventsError: the file is not there any more, is damaged or no Parquet.
        """
        empty, column = self._version.empty, self.day_column
        read = columns_read(self.surface.source, empty.columns)
        wanted = [*dict.fromkeys([*read, column.name, *self._order_by])]
        with self._told(file), self.open_file(file) as raw:
            parquet = pq.ParquetFile(raw)
            yield from rows_in(
                parquet,
                empty.select(wanted),
                self.stored_names(parquet.schema_arrow, wanted),
                file.constants,
                deleted=self.deleted_rows(file),
                column=column,
                days=days,
            )

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
        self, table: Table, stored: Stored, files: Sequence[DataFile], days: Collection[date]
    ) -> None:
        self._table, self._stored, self._files, self._days = table, stored, files, days

    def pieces(self) -> Iterator[pl.DataFrame]:
        """Yield its rows.

        With `order_by` all rows of the day are held at a time, of the columns that are mapped.

        Raises:
            RawEventsError: a file is not there any more, is damaged or no Parquet.
        """
        order = self._table.surface.source.order_by
        if not order:
            yield from self._table.rows(self._files[0], self._days)
            return
        from recsys_assets.events.fields import LINE

        days = [date.fromisoformat(self._stored.key)]
        frames = [frame for file in self._files for frame in self._table.rows(file, days)]
        if not frames:
            return
        whole = pl.concat(frames, how="vertical_relaxed")
        frames.clear()
        whole = whole.sort(order, maintain_order=True)
        for start in range(0, whole.height, BATCH_ROWS):
            piece = whole.slice(start, BATCH_ROWS)
            numbers = pl.int_range(start + 1, start + 1 + piece.height, eager=True)
            yield piece.with_columns(numbers.alias(LINE))

    def seen(self) -> InputSeen:
        """Return size and state, and the version of the table."""
        stored = self._stored
        return InputSeen(stored.key, stored.size_bytes, stored.tag, version=self._table.version)

    def content(self) -> str | None:
        """Return nothing: a table may hold the same rows twice."""
        return None
