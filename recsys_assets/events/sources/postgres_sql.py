"""The SQL that finds the rows of a day in a table, or in a query in place of one.

Names are quoted. What else is put into a statement are moments of days, written here: with bound
parameters the driver would not stream.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from recsys_assets.config.sources import Source
from recsys_assets.errors import RawEventsError

# Of a column by which days are found: what its values are compared and sorted into days as.
_TIMES: Final[Mapping[str, str]] = {
    "timestamptz": "timestamptz",
    "timestamp": "timestamp",
    "date": "timestamp",
    "int2": "int8",
    "int4": "int8",
    "int8": "int8",
    "numeric": "numeric",
    "float4": "float8",
    "float8": "float8",
}
_PER_SECOND: Final = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
# Read as they are. Every other type is read as its text, or within a line of JSON.
_AS_THEY_ARE: Final = {
    "bool", "int2", "int4", "int8", "float4", "float8", "text", "varchar", "bpchar", "name",
    "timestamptz", "timestamp", "date",
}  # fmt: skip
_TEXTS: Final = {"text", "varchar", "bpchar", "name"}


def quoted(name: str) -> str:
    """Return a name as SQL takes it, whatever is in it."""
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def relation(source: Source) -> str:
    """Return what rows are selected from."""
    if source.table is not None:
        return ".".join(map(quoted, source.table.split(".")))
    # A line of its own for the bracket: the query may end in a comment.
    return f"(\n{source.query}\n)"


def everything(source: Source) -> str:
    """Return what selects all there is: to be described, not to be run."""
    return f"select * from {relation(source)} as rows"  # noqa: S608 (names are quoted)


@dataclass(frozen=True)
class Statements:
    """The statements of a source whose columns are known.

    Attributes:
        source: what is configured.
        types: of every column, as the database calls them.
        read: the columns that the mapping reads.
        as_lines: whether rows are read as lines of JSON, and not as columns.
    """

    source: Source
    types: Mapping[str, str]
    read: Sequence[str]
    as_lines: bool

    def rows(self, day: date) -> str:
        """Return what selects the rows of a day in source order."""
        columns = [self._value(name) for name in self.read]
        if self.as_lines:
            named = [
                f"'{name.replace(chr(39), chr(39) * 2)}', {value}"
                for name, value in zip(self.read, columns, strict=True)
            ]
            wanted = f"json_build_object({', '.join(named)})::text as line"
        else:
            wanted = ", ".join(
                f"{value} as {quoted(name)}" for name, value in zip(self.read, columns, strict=True)
            )
        return f"select {wanted} {self._from([day])} order by {', '.join(self._order())}"

    def any(self, day: date) -> str:
        """Return what selects one row of a day, if there is one."""
        return f"select 1 {self._from([day])} limit 1"

    def newest(self, days: Sequence[date]) -> str:
        """Return what selects the place, from 1, of the newest day that has rows."""
        return f"select {self._day(f'max({self._time})', days)} {self._from(days)}"

    def states(self, days: Sequence[date]) -> str:
        """Return what selects, for each day with rows, its place from 1 and what its rows are.

        That is their number, the newest time, the bytes and the sum of the hashes of their texts.
        It reads the rows of all these days once.
        """
        columns = ", ".join(map(quoted, self._kept))
        # Of what stands behind an offset, the text is made once, and not for each use of it.
        texts = f"select {self._time} as t, row({columns})::text as r {self._from(days)} offset 0"
        figures = "count(*), max(t)::text, sum(octet_length(r))::int8"
        hashes = "sum(hashtextextended(r, 0))::text"
        place = self._day("t", days)
        return f"select {place}, {figures}, {hashes} from ({texts}) as s group by 1"  # noqa: S608

    @property
    def _kept(self) -> list[str]:
        """The columns that decide which events there are, and in which order."""
        return list(dict.fromkeys([*self.source.order_by, self._time_column, *self.read]))

    @property
    def _time_column(self) -> str:
        return self.source.time_column or ""

    @property
    def _time(self) -> str:
        return quoted(self._time_column)

    def _from(self, days: Sequence[date]) -> str:
        first, after = self._bound(days[0]), self._bound(days[-1] + timedelta(days=1))
        return (
            f"from {relation(self.source)} as rows "
            f"where {self._time} >= {first} and {self._time} < {after}"
        )

    def _day(self, time: str, days: Sequence[date]) -> str:
        """Return the place, from 1, of a time among ascending days."""
        of = _TIMES[self.types[self._time_column]]
        bounds = ", ".join(self._bound(day) for day in days)
        return f"width_bucket({time}::{of}, array[{bounds}]::{of}[])"

    def _bound(self, day: date) -> str:
        """Return the moment that a day begins, in what the column counts: an index serves that."""
        source, of = self.source, self.types[self._time_column]
        moment = datetime(day.year, day.month, day.day, tzinfo=UTC)
        ts = source.columns.ts if source.columns else None
        zone = (ts and ts.time_zone) or source.time_zone
        if of == "timestamptz":
            return f"timestamptz '{moment.isoformat(sep=' ')}'"
        if of == "timestamp" and zone is None:
            raise RawEventsError(
                f"time_column {self._time_column!r} is a timestamp without a time zone. Say in "
                "source.time_zone which one is meant, such as UTC"
            )
        if of in {"timestamp", "date"}:
            local = moment.astimezone(ZoneInfo(zone or "UTC")).replace(tzinfo=None)
            return f"timestamp '{local.isoformat(sep=' ')}'"
        if of in _TIMES and ts and ts.unit:
            return str(int(moment.timestamp()) * _PER_SECOND[ts.unit])
        if of in _TIMES:
            raise RawEventsError(
                f"time_column {self._time_column!r} holds numbers. Say what they count since 1970: "
                "source.columns.ts: {from: ..., unit: ms}"
            )
        raise RawEventsError(
            f"time_column {self._time_column!r} is {of}, and days are found by a timestamp, a date "
            "or a number. Give it another type in a view, or in source.query"
        )

    def _value(self, name: str) -> str:
        """Return a column as it is read."""
        of, column = self.types[name], quoted(name)
        if of == "numeric":  # which has as many zeros behind the point as somebody once wrote
            return f"trim_scale({column})" if self.as_lines else f"trim_scale({column})::text"
        if of == "date" and self.as_lines:
            return f"{column}::timestamp"
        return column if self.as_lines or of in _AS_THEY_ARE else f"{column}::text"

    def _order(self) -> list[str]:
        """Return a total order, up to rows that are equal in all that is read."""
        given = list(dict.fromkeys([*self.source.order_by, self._time_column]))
        rest = [name for name in self.read if name not in given]
        return [*map(quoted, given), *map(self._comparable, rest)]

    def _comparable(self, name: str) -> str:
        of, column = self.types[name], quoted(name)
        if of in _TEXTS:
            return f'{column} collate "C"'
        return column if of in _AS_THEY_ARE else f'{column}::text collate "C"'
