"""Rows of a table of Postgres, with the user's own columns: `source.type: postgres`.

A day is one input, `TABLE DAY`: its rows, as one snapshot has them, numbered from 1 in source
order. What is held at a time is a few batches (8 MiB each).
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import polars as pl
import pyarrow as pa

from recsys_assets.config import Surface
from recsys_assets.errors import RawEventsError, RecsysAssetsError
from recsys_assets.events.chunks import Chunk
from recsys_assets.events.sources.mapped import MappedRows, rules_of
from recsys_assets.events.sources.postgres_session import Session, open_session
from recsys_assets.events.sources.postgres_sql import Statements, everything
from recsys_assets.events.sources.source import InputSeen, Reading, Source
from recsys_assets.pages import Shown
from recsys_assets.storage.store import Stored
from recsys_assets.texts import as_code

if TYPE_CHECKING:
    from recsys_assets.events.parsed import ParsedChunk

# Seconds that the database may take to say what is there; a tick of a sensor has 60.
_LOOKING_S: Final = 40
# A look that takes longer than this is kept for so many times as long as it took: sensors look
# twice a minute, and the database is to be busy with that for a twentieth of the time at most.
_LONG_S: Final = 1.0
_KEPT_TIMES: Final = 20
# Years that Python has too; what is further away is outside of any day.
_FIRST, _LAST = datetime(1700, 1, 1), datetime(2199, 12, 31)


def open_source(surface: Surface) -> Source:
    """Return the source of a surface."""
    return Postgres(surface)


class _Rows(NamedTuple):
    """Rows that follow one another, and the names of all columns of the table.

    As columns, or a line of JSON each in the column `line`.
    """

    first_line: int
    batch: pa.RecordBatch
    names: Collection[str]
    as_lines: bool


class _State(NamedTuple):
    """What the rows of a day are."""

    size_bytes: int
    sha256: str


class _Look(NamedTuple):
    """What was found, and until when it is not looked for again."""

    landed: dict[date, list[Stored]]
    until: float


_looks: dict[str, _Look] = {}


class Postgres(MappedRows):
    """A table, a view or a query of a database."""

    def __init__(self, surface: Surface) -> None:
        self.surface = surface
        self._source = surface.source
        self._name = surface.source.table or "query"

    @property
    def _database(self) -> str:
        return f"${self._source.dsn_env}"

    @property
    def _where(self) -> str:
        what = "source.query" if self._source.table is None else f"table {self._source.table!r}"
        return f"{what} in {self._database}"

    @property
    def description(self) -> str:
        """Table and column, and the variable, whose value is a secret."""
        what = "a query" if self._source.table is None else as_code(self._source.table)
        return (
            f"Events as rows of {what} in the database whose address is in "
            f"{as_code(self._database)}, by {as_code(self._source.time_column or '')}."
        )

    @property
    def shown(self) -> Mapping[str, Shown]:
        """What is read."""
        if self._source.table is None:
            return {"query": self._source.query or "", "database": self._database}
        return {"table": self._source.table, "database": self._database}

    def inputs(self, day: date) -> list[str]:
        """Return the day, if it has rows.

        Raises:
            ConfigError: what it connects with is not there.
            SourceUnavailableError: the database does not answer.
            RawEventsError: there is no such table or column, or it may not be read.
        """
        with self._looking() as (session, statements):
            return [f"{self._name} {day}"] if session.rows(statements.any(day)) else []

    def wanted(self, day: date) -> str:
        """Return which rows."""
        return f"row of {self._where} is of {day} by {self._source.time_column!r}"

    @contextmanager
    def open(self, name: str, days: Collection[date]) -> Iterator[Reading]:
        """Open a day, which the name says."""
        yield _Reading(self, name, _day_of(name))

    def label(self, name: str) -> str:
        """Return the name, and where it is."""
        return f"{name} in {self._database}"

    def size_bytes(self, name: str) -> int | None:
        """Return the bytes of the texts of the rows as they are now."""
        with suppress(RecsysAssetsError), self._looking() as (session, statements):
            day = _day_of(name)
            state = states(session, statements, [day]).get(day)
            return None if state is None or not name.startswith(f"{self._name} ") else state[0]
        return None

    def landed(self) -> dict[date, list[Stored]]:
        """Return the newest days that have rows, as many as `landing.lookback_days` says.

        One statement reads the rows of these days; what is older is not read. Where that takes
        long, it is not done again for some minutes.
        """
        key, started = self.surface.model_dump_json(), time.monotonic()
        if key in _looks and started < _looks[key].until:
            return _looks[key].landed
        landed = self._look(datetime.now(UTC))
        took = time.monotonic() - started
        if took > _LONG_S:
            _looks[key] = _Look(landed, started + _KEPT_TIMES * took)
        return landed

    def _look(self, now: datetime) -> dict[date, list[Stored]]:
        last = self.surface.newest_day(now)
        if last is None:
            return {}
        with self._looking() as (session, statements):
            days = _days(self.surface.start_date, last)
            ((place,),) = session.rows(statements.newest(days))
            if not place:
                return {}
            looked_at = days[:place][-self._source.landing.lookback_days :]
            found = states(session, statements, looked_at)
        return {
            day: [Stored(f"{self._name} {day}", state.size_bytes, now, state.sha256)]
            for day, state in found.items()
        }

    def is_complete(self, day: date) -> bool | None:
        """Return None: nothing marks the days of a table."""
        return None

    def content(self, landed: Stored) -> str:
        """Return the state of the day, which is of its rows."""
        return landed.tag

    def is_still(self, seen: InputSeen, landed: Stored, *, read_at: datetime) -> bool:
        """Compare the states of the day."""
        return (seen.size_bytes, seen.sha256) == (landed.size_bytes, landed.tag)

    def parse(self, piece: _Rows, day: date | None) -> ParsedChunk:
        """Map rows."""
        from recsys_assets.events.fields import LINE
        from recsys_assets.events.rows import map_frame, map_json_lines

        frame, place = _frame(piece.batch), self.surface.place
        rules = rules_of(self._source, piece.names)
        if piece.as_lines:
            # Only between two tokens: within a text of JSON a newline is written \n.
            lines = frame["line"].str.replace_all("\n", " ", literal=True)
            chunk = Chunk(piece.first_line, lines.str.join("\n").item().encode())
            return map_json_lines(chunk, rules, place=place, day=day)
        after = piece.first_line + frame.height
        numbers = pl.int_range(piece.first_line, after, eager=True).alias(LINE)
        return map_frame(frame.with_columns(numbers), rules, place=place, day=day)

    @contextmanager
    def _looking(self) -> Iterator[tuple[Session, Statements]]:
        with self.session(_LOOKING_S) as session:
            yield session, self.statements(session)

    def session(self, timeout_s: int) -> Any:
        """Connect."""
        return open_session(self._source.dsn_env or "", self._where, timeout_s=timeout_s)

    def statements(self, session: Session) -> Statements:
        """Return the statements, once the columns are known.

        Raises:
            RawEventsError: a column is not there: says what there is.
        """
        from recsys_assets.events.fields import ITEM, listed, steps

        source = self._source
        if source.query is not None:  # by itself: in brackets, two could be one
            session.columns(source.query)
        types = session.columns(everything(source))
        explode = source.explode
        fields = [
            field
            for field in rules_of(source, types).fields
            if not (explode and steps(field)[0][0] == ITEM)
        ]
        if explode:
            fields.append(explode.field)
        columns = {field: field if field in types else steps(field)[0][0] for field in fields}
        for key, name in (
            *(("source.columns", name) for name in columns.values()),
            ("source.time_column", source.time_column or ""),
            *(("source.order_by", name) for name in source.order_by),
        ):
            if name not in types:
                raise RawEventsError(
                    f"{self._where}: no field {name!r}: there are {listed(types)}. Say in {key} "
                    "which one is meant."
                )
        read = list(dict.fromkeys(columns.values()))
        is_within = [field != column for field, column in columns.items()]
        is_list = [explode and explode.split is None]
        is_json = [types[name] in {"json", "jsonb"} or types[name][0] == "_" for name in read]
        return Statements(source, types, read, any([*is_within, *is_list, *is_json]))


class _Reading:
    """A day that is being read."""

    def __init__(self, source: Postgres, name: str, day: date) -> None:
        self._source = source
        self._name = name
        self._day = day
        self._state = _State(0, hashlib.sha256().hexdigest())

    def pieces(self) -> Iterator[_Rows]:
        """Yield its rows, then look at what they are, all of it in one snapshot.

        Raises:
            ConfigError: what it connects with is not there.
            SourceUnavailableError: the database does not answer, or does no longer.
            RawEventsError: the database refuses it, or it takes longer than a run may.
        """
        with self._source.session(self._source.surface.max_run_minutes * 60) as session:
            statements, line = self._source.statements(session), 1
            with closing(session.batches(statements.rows(self._day))) as batches:
                for batch in batches:
                    yield _Rows(line, batch, statements.types, statements.as_lines)
                    line += batch.num_rows
            found = states(session, statements, [self._day])
            self._state = found.get(self._day, self._state)

    def seen(self) -> InputSeen:
        """Return the state of the day."""
        return InputSeen(self._name, *self._state)

    def content(self) -> str | None:
        """Return None: a day is one input, and no other holds the same."""
        return None


def states(session: Session, statements: Statements, days: Sequence[date]) -> dict[date, _State]:
    """Return what the rows of consecutive days are, of those that have any."""
    found = {}
    for place, rows, newest, size_bytes, hashes in session.rows(statements.states(days)):
        text = f"{rows} {newest} {size_bytes} {hashes}"
        found[days[place - 1]] = _State(size_bytes, hashlib.sha256(text.encode()).hexdigest())
    return found


def _frame(batch: pa.RecordBatch) -> pl.DataFrame:
    """Return rows as columns, with times that Python has too."""
    frame = pl.DataFrame(batch)
    return frame.with_columns(
        pl.col(name).clip(_FIRST.date(), _LAST.date())
        if dtype == pl.Date
        else pl.col(name).clip(*(pl.lit(end, dtype) for end in (_FIRST, _LAST)))
        for name, dtype in frame.schema.items()
        if isinstance(dtype, pl.Date | pl.Datetime)
    )


def _days(first: date, last: date) -> list[date]:
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


def _day_of(name: str) -> date:
    """Return the day of an input.

    Raises:
        RawEventsError: it is of another source.
    """
    found = re.search(r" (\d{4}-\d{2}-\d{2})\Z", name)
    if found is None:
        raise RawEventsError(f"{name!r} is no day of a table")
    return date.fromisoformat(found[1])
