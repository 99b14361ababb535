"""Parquet files of a table: which days they have rows of, and these rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Final, NamedTuple

import polars as pl
import pyarrow.parquet as pq

from recsys_assets.events.sources.day_column import DayColumn

BATCH_ROWS: Final = 2**17


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


def state_of(*known: Any) -> str:
    """Return the SHA-256 of what is known of files."""
    return hashlib.sha256(json.dumps(known, default=str).encode()).hexdigest()


def days_in(parquet: pq.ParquetFile, name: str, column: DayColumn) -> set[date]:
    """Return the days of a file by its row groups, and by its rows where a group has several.

    Args:
        parquet: the file.
        name: of the day column in it.
        column: the same in the table.
    """
    found: set[date] = set()
    for group in range(parquet.num_row_groups):
        span, _ = _span_of_group(parquet, group, name, column)
        if span and span[0] == span[1]:
            found.add(span[0])
            continue
        for batch in parquet.iter_batches(BATCH_ROWS, row_groups=[group], columns=[name]):
            days = column.days(pl.DataFrame(batch).to_series())
            found.update(days.drop_nulls().unique())
    return found


def rows_in(
    parquet: pq.ParquetFile,
    empty: pl.DataFrame,
    stored: Mapping[str, str],
    constants: Mapping[str, Any],
    *,
    deleted: pl.Series | None,
    column: DayColumn,
    days: Collection[date],
) -> Iterator[pl.DataFrame]:
    """Yield the rows that are of some days, or tell none.

    Row groups without such rows are not read. A batch is held at a time.

    Args:
        parquet: the file.
        empty: the columns that are wanted, as the table has them.
        stored: what they are called in the file, of those that it has.
        constants: the values of others.
        deleted: rows that are left out, the first is 0.
        column: that tells the day.
        days: UTC.
    """
    # Not above: it takes Pandera, which takes a second to import, and listing needs none.
    from recsys_assets.events.fields import LINE

    there = [pl.col(of).cast(empty.schema[name]).alias(name) for name, of in stored.items()]
    lacking = [
        pl.lit(constants.get(name)).cast(dtype).alias(name)
        for name, dtype in empty.schema.items()
        if name not in stored
    ]
    of_day = stored.get(column.name)
    after = 0
    for group in range(parquet.num_row_groups):
        before, after = after, after + parquet.metadata.row_group(group).num_rows
        if of_day:
            span, has_nulls = _span_of_group(parquet, group, of_day, column)
            if span and not has_nulls and not any(span[0] <= day <= span[1] for day in days):
                continue
        for batch in parquet.iter_batches(
            BATCH_ROWS, row_groups=[group], columns=[*stored.values()]
        ):
            numbers = pl.int_range(before, before + batch.num_rows, eager=True)
            before += batch.num_rows
            frame = pl.DataFrame([(numbers + 1).alias(LINE)])
            if there:
                frame = frame.hstack(pl.DataFrame(batch).select(there))
            kept = pl.repeat(value=True, n=frame.height, eager=True)
            if deleted is not None:
                kept &= ~numbers.is_in(deleted.implode())
            if of_day:
                kept &= column.days(frame[column.name]).is_in([*days]).fill_null(value=True)
            if kept.any():
                yield frame.filter(kept).with_columns(lacking)


def _span_of_group(
    parquet: pq.ParquetFile, group: int, name: str, column: DayColumn
) -> tuple[tuple[date, date] | None, bool]:
    """Return the first and last day of a row group, and whether rows of it may tell none."""
    of_group = parquet.metadata.row_group(group)
    for number in range(of_group.num_columns):
        of_column = of_group.column(number)
        if of_column.path_in_schema == name and of_column.is_stats_set:
            found = of_column.statistics
            has_nulls = not found.has_null_count or found.null_count > 0
            try:
                low, high = (found.min, found.max) if found.has_min_max else (None, None)
            except ValueError:  # nanoseconds, which Python's times do not have
                return None, True
            dtype = pl.DataFrame(parquet.schema_arrow.empty_table()).schema[name]
            return column.spans([low], [high], dtype)[0], has_nulls
    return None, True
