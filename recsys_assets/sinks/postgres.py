"""Rows in PostgreSQL: `type: postgres`.

A version is a partition of its kind's table, loaded and attached in one transaction while nothing
names it. One further transaction makes it live: it moves the record of the surface, unless that is
of a newer generation, and says which versions are live. Views show those. A version that has left
is dropped after a grace.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

import psycopg

from recsys_assets.config import PostgresSink
from recsys_assets.errors import SinkError
from recsys_assets.kinds import KINDS
from recsys_assets.places import Place
from recsys_assets.postgres import UNAVAILABLE, address_in, why_not_connected
from recsys_assets.sinks.postgres_tables import LOCK_S, Tables
from recsys_assets.sinks.service_tables import OfService
from recsys_assets.sinks.sink import Delivered, Delivery, Sink, outcome_before
from recsys_assets.storage.deliveries import Held

# Seconds that the server may take to say what it holds; a tick of a sensor has 60.
_LOOKING_S: Final = 10
# What to do about what the server says, by its code.
_ADVICE: Final = {
    "42501": "Let this user create and fill the schema of the sink; docs/sinks.md has the grants.",
    "42P01": "A table is missing: docs/sinks.md says which are made, and which must be there.",
    "42703": "A table has other columns than docs/sinks.md says.",
    "57014": "It took longer than max_load_minutes of the sink.",
    "55P03": "Something else holds a lock for long; the next attempt may get it.",
    "22021": "An id holds a character that the database cannot hold.",
}


def open_sink(sink: PostgresSink, root: str) -> Sink:
    """Return the sink; where everything is written does not matter to it."""
    return Postgres(sink)


class Postgres:
    """A schema of a database."""

    def __init__(self, sink: PostgresSink) -> None:
        self._sink = sink
        self._where = f"the database in ${sink.dsn_env}"

    def held(self, places: Collection[Place]) -> dict[Place, Held]:
        """Return what it holds of surfaces."""
        with self._connected(_LOOKING_S) as connection:
            return Tables(connection, self._sink.db_schema).held(places)

    def deliver(self, delivery: Delivery) -> Delivered:
        """Load the versions that are not there, and make them live in one transaction."""
        with self._connected(self._sink.max_load_minutes * 60) as connection:
            tables = Tables(connection, self._sink.db_schema)
            tables.make(delivery.versions)
            tables.wait_for_turn(delivery.place)
            held = tables.held([delivery.place]).get(delivery.place)
            before = outcome_before(held, delivery)
            if before is None or held is None:
                done = self._load_and_flip(connection, tables, delivery)
            else:
                done = Delivered(before, held)
            problems = tables.clean(delivery.place, self._sink.grace_minutes)
            return replace(done, problems=tuple(problems))

    def users(self, place: Place) -> Iterator[tuple[str, Iterable[str]]]:
        """Yield each table of a version of a kind of users, and whose ids it has.

        The tables of the service have ids of items only.
        """
        with self._connected(self._sink.max_load_minutes * 60) as connection:
            schema = self._sink.db_schema
            for table, users in Tables(connection, schema).users(place):
                yield f"{self._where}: {schema}.{table}", users

    def purge(self, place: Place) -> None:
        """Drop the versions that are not live, whenever they left."""
        with self._connected(self._sink.max_load_minutes * 60) as connection:
            tables = Tables(connection, self._sink.db_schema)
            tables.wait_for_turn(place)
            for problem in tables.clean(place, grace_minutes=0):
                raise SinkError(problem)

    def _load_and_flip(self, connection: Any, tables: Tables, delivery: Delivery) -> Delivered:
        loaded = {
            kind: tables.load(delivery.place, KINDS[kind], version, delivery.rows(kind))
            for kind, version in delivery.versions.items()
            if not tables.has(version)
        }
        settings = self._sink.service_tables
        service = OfService(connection, settings, delivery) if settings else None
        if service:
            service.stage()
        started = time.monotonic()
        with connection.transaction():
            flipped = tables.flip(delivery)
            if flipped and service:
                service.merge()
        if not flipped:  # by one that did not wait for its turn
            return Delivered("outdated", tables.held([delivery.place])[delivery.place])
        return Delivered("delivered", delivery.held, loaded, time.monotonic() - started)

    @contextmanager
    def _connected(self, timeout_s: int) -> Iterator[Any]:
        """Connect, each statement a transaction unless one is begun; tell what goes wrong.

        Raises:
            ConfigError: the variable is not set.
            SinkError: the database does not let in, the connection broke, or it refuses something.
        """
        dsn = address_in(self._sink.dsn_env, self._where)
        problem = ""
        try:
            connection = psycopg.connect(dsn, autocommit=True)
        except psycopg.Error as error:
            problem = why_not_connected(str(error))
        if problem:  # not above: what the driver said would go with it, and quotes the address
            raise SinkError(f"{self._where} cannot be used: {problem}")
        try:
            with connection:
                connection.execute(
                    "select set_config('statement_timeout', %s, false), "
                    "set_config('lock_timeout', %s, false), set_config('TimeZone', 'UTC', false), "
                    "set_config('maintenance_work_mem', '256MB', false)",
                    [f"{timeout_s}s", f"{LOCK_S}s"],
                )
                yield connection
        except psycopg.Error as error:
            raise self._problem(error) from None  # which has a row in it

    def _problem(self, error: Any) -> SinkError:
        """Return what the server said of a statement, without the statement."""
        code = error.sqlstate or ""
        said = (error.diag.message_primary or "").strip()
        if not said or code.startswith(UNAVAILABLE):
            return SinkError(f"the connection to {self._where} broke{f' ({said})' if said else ''}")
        return SinkError(f"{self._where} says: {said}", advice=_ADVICE.get(code, ""))
