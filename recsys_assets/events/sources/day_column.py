"""The column of a table that tells the day of a row."""

from __future__ import annotations

from datetime import date
from typing import Any, Final

import polars as pl

from recsys_assets.config.columns import Moment
from recsys_assets.config.sources import Source
from recsys_assets.errors import RawEventsError

_DAY_FORMAT: Final = "%Y-%m-%d"


class DayColumn:
    """`source.time_column`, or the column of `ts`, which is read as the mapping reads it.

    Attributes:
        name: of the column.
    """

    def __init__(self, source: Source) -> None:
        self.name = source.time_column or source.ts_column or ""
        self._is_ts = self.name == source.ts_column
        ts = source.columns.ts if source.columns and self._is_ts else None
        self._spec = ts or Moment.model_validate({"from": self.name})
        self._zone = self._spec.time_zone or source.time_zone

    def __repr__(self) -> str:
        """Return all that decides which day a value tells."""
        return f"{self.name} {self._is_ts} {self._spec!r} {self._zone}"

    def refuse_other(self, empty: pl.DataFrame, location: str) -> None:
        """Refuse a table whose column is not there, or tells no days.

        Args:
            empty: the columns of the table.
            location: of the table.

        Raises:
            RawEventsError: says why, and what to do.
        """
        from recsys_assets.events.fields import is_text, is_whole, listed

        dtype = empty.schema.get(self.name)
        if dtype is None:
            raise RawEventsError(
                f"{location}: no column {self.name!r}: there are {listed(empty.columns)}. Say in "
                "source.time_column which one tells the day"
            )
        is_number = is_whole(dtype) or dtype.is_float()
        if isinstance(dtype, pl.Datetime) and dtype.time_zone is None and self._zone is None:
            problem = "its times have no offset: say in source.time_zone where they are of"
        elif is_number and self._is_ts and self._spec.unit is None:
            problem = "say in `unit` of columns.ts what it counts"
        elif not (dtype.is_temporal() or is_text(dtype) or (is_number and self._is_ts)):
            problem = "name a date, a time or a text that begins with YYYY-MM-DD"
        else:
            return
        raise RawEventsError(
            f"{location}: column {self.name!r} is {dtype} and tells no day: {problem}"
        )

    def days(self, values: pl.Series) -> pl.Series:
        """Return the day of each value, null where it tells none; UTC, but of dates their own."""
        from recsys_assets.events.fields import is_text
        from recsys_assets.events.timestamps import moments

        if not self._is_ts and values.dtype == pl.Date:
            return values
        if not self._is_ts and is_text(values.dtype):
            return values.cast(pl.String).str.head(10).str.to_date(_DAY_FORMAT, strict=False)
        return moments(values.alias(self.name).to_frame(), self._spec, self._zone).dt.date()

    def spans(
        self, lows: list[Any], highs: list[Any], dtype: pl.DataType
    ) -> list[tuple[date, date] | None]:
        """Return the first and the last day between each two values; None where unknown."""
        from recsys_assets.events.fields import is_text

        if self._is_ts and is_text(dtype):  # which sorts as text
            return [None] * len(lows)
        first, last = (
            self.days(pl.Series(values, strict=False).cast(dtype, strict=False)).to_list()
            for values in (lows, highs)
        )
        return [
            None if low is None or high is None else (low, high)
            for low, high in zip(first, last, strict=True)
        ]
