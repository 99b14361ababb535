"""A session with a database of Postgres: one snapshot, nothing is written, nothing secret is told.

The driver is ADBC, which gives Arrow. What it says of a connection may quote its address, so that
is never repeated; what the server says of a statement is.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from typing import Any, Final

import pyarrow as pa

from recsys_assets.errors import (
    ConfigError,
    RawEventsError,
    RecsysAssetsError,
    SourceUnavailableError,
)
from recsys_assets.postgres import UNAVAILABLE, address_in, why_not_connected

# Of what the server sends, so much is a batch; a few are held at a time.
_BATCH_BYTES: Final = 8 * 2**20
_HINT: Final = "adbc.postgresql.batch_size_hint_bytes"
_LONGEST_S: Final = 2_000_000  # the server counts milliseconds in 32 bits
# How values are written as text, which the state of a day is a hash of.
_SETTINGS: Final = {
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
}
# What to do about what the server says, by its code.
_ADVICE: Final = {
    "42P01": "Is the table called so, with its schema: `schema.table`, as the database writes it?",
    "3F000": "Is the table called so, with its schema: `schema.table`, as the database writes it?",
    "42703": "Columns are written as the database writes them, large and small letters alike.",
    "42501": "Let this user read it: grant select on it, and usage on its schema.",
    "42601": "source.query must be one select, as psql takes it.",
    "25006": "A source is only read: source.query must change nothing.",
    "57014": "Is there an index on source.time_column? The landing sensor reads the rows of "
    "source.landing.lookback_days days.",
}


class Session:
    """A transaction that reads: all of its statements see the same rows."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def columns(self, statement: str) -> dict[str, str]:
        """Return name and type of the columns that a statement would give; it does not run."""
        with self._connection.cursor() as cursor:
            schema: pa.Schema = cursor.adbc_execute_schema(statement)
        return {field.name: field.metadata[b"POSTGRESQL:type"].decode() for field in schema}

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """Return the few rows of a statement."""
        with self._connection.cursor() as cursor:
            cursor.execute(statement)
            return [tuple(row) for row in cursor.fetchall()]

    def batches(self, statement: str) -> Generator[pa.RecordBatch, None, None]:
        """Yield the rows of a statement as they come."""
        with self._connection.cursor() as cursor:
            cursor.adbc_statement.set_options(**{_HINT: str(_BATCH_BYTES)})
            cursor.execute(statement)
            with cursor.fetch_record_batch() as reader:
                yield from reader


@contextmanager
def open_session(variable: str, where: str, *, timeout_s: int) -> Iterator[Session]:
    """Connect to the database whose address a variable holds.

    Args:
        variable: of the environment.
        where: what is read, for people.
        timeout_s: after which the server ends a statement.

    Raises:
        ConfigError: the variable is not set, or the driver is not installed.
        SourceUnavailableError: the database does not let in, or the connection broke.
        RawEventsError: the server refuses a statement.
    """
    with closing(_connect(variable, where)) as connection:
        try:
            session = Session(connection)
            with connection.cursor() as cursor:
                cursor.execute("set transaction isolation level repeatable read, read only")
            settings = {**_SETTINGS, "statement_timeout": f"{min(timeout_s, _LONGEST_S)}s"}
            calls = (f"set_config('{name}', '{value}', true)" for name, value in settings.items())
            session.rows(f"select {', '.join(calls)}")
            yield session
        except (_driver().Error, pa.ArrowException, OSError) as error:
            raise _problem(error, where, timeout_s) from None  # which has the whole statement


def _driver() -> Any:
    """Import the driver.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import adbc_driver_postgresql.dbapi as driver
    except ImportError:
        raise ConfigError(
            "a source of `type: postgres` needs adbc-driver-postgresql: pip install "
            "'recsys-assets[postgres-source]'"
        ) from None
    return driver


def _connect(variable: str, where: str) -> Any:
    driver, dsn = _driver(), address_in(variable, where)
    problem = ""
    try:
        return driver.connect(dsn)
    except driver.Error as error:
        problem = why_not_connected(str(error))
    # Not above: what the driver said would go with it, and quotes the address.
    raise SourceUnavailableError(
        f"{where}: the database at the address in ${variable} cannot be used: {problem}",
        advice="Nothing of the day was kept; materialize it again once it can.",
    )


def _problem(error: Exception, where: str, timeout_s: int) -> RecsysAssetsError:
    """Return what the server said of a statement, without the statement."""
    told: dict[bytes, bytes] = dict(getattr(error, "details", None) or ())
    found = re.search(r"(ERROR|FATAL): +(.*)", str(error))
    said = told.get(b"PG_DIAG_MESSAGE_PRIMARY", b"").decode(errors="replace")
    said = said or (found[2] if found else "")
    code = (
        getattr(error, "sqlstate", None)
        or (re.findall(r"SQLSTATE: (\w{5})", str(error)) or [""])[-1]
    )
    ended = found is not None and found[1] == "FATAL"  # what the server says last of a session
    if not said or ended or code.startswith(UNAVAILABLE):
        return SourceUnavailableError(
            f"{where}: the connection to the database broke{f' ({said})' if said else ''}",
            advice="Nothing of the day was kept; materialize it again.",
        )
    if code == "57014":
        said = f"{said} ({timeout_s} s)"
    advice = _ADVICE.get(code, "")
    return RawEventsError(
        f"{where}: the database says: {said}",
        advice=f"{advice} Nothing of the day was kept.".strip(),
    )
