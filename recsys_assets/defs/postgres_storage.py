"""Dagster's storage on PostgreSQL, with a connection that stays open.

Dagster's own opens one for each question, and the server a process for each: with a hundred
surfaces, more than a hundred in a second (docs/decisions/event-log-connections.md).
`dagster-postgres.yaml` names this class; the tables are the same, so an instance can go back and
forth.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Final

from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage, PostgresRunStorage
from dagster_postgres.utils import (
    create_pg_engine,
    get_token_provider_from_config,
    pg_url_from_config,
    retry_pg_connection_fn,
)
from sqlalchemy import NullPool, func, select

from recsys_assets.defs.internals import end_newest_partitions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagster_postgres.auth import PgTokenProvider

# Addresses whose tables were there once. A code server opens the instance for each tick of a
# sensor, and Dagster looks for them each time, with seven connections.
_WITH_TABLES: Final = set[str]()
# What processes that start together wait for, in the database: one makes the tables.
_MAKES_TABLES: Final = 0x7EC5A55E


class PooledPostgresStorage(DagsterPostgresStorage):
    """Keeps one connection open for runs, events and schedules, and more while they are asked."""

    def __init__(
        self,
        postgres_url: str,
        should_autocreate_tables: bool = True,
        inst_data: ConfigurableClassData | None = None,
        token_provider: PgTokenProvider | None = None,
    ) -> None:
        # As with SQLite: of this project, the UI's webserver has nothing but this class.
        end_newest_partitions()
        look = should_autocreate_tables and postgres_url not in _WITH_TABLES
        with _alone(postgres_url, token_provider) if look else nullcontext():
            super().__init__(postgres_url, look, inst_data, token_provider)
        _WITH_TABLES.add(postgres_url)
        self._run_storage = _Runs(postgres_url, False, token_provider=token_provider)
        engine = create_pg_engine(
            postgres_url,
            token_provider,
            isolation_level="AUTOCOMMIT",
            pool_size=1,
            max_overflow=-1,  # nobody waits for a connection, as nobody does with Dagster's own
            pool_pre_ping=True,  # the server may have been started anew
        )
        for storage in (self._run_storage, self._event_log_storage, self._schedule_storage):
            storage._engine = engine

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Any
    ) -> PooledPostgresStorage:
        """Build the storage for an instance."""
        return cls(
            pg_url_from_config(config_value),
            config_value.get("should_autocreate_tables", True),
            inst_data,
            get_token_provider_from_config(config_value),
        )


@contextmanager
def _alone(postgres_url: str, token_provider: PgTokenProvider | None) -> Iterator[None]:
    """Wait until no other process makes tables, and let none do so meanwhile.

    Dagster tries again where another process made a table first. But it knows that error from
    psycopg2 only, so the second of two processes that start on an empty database ended.
    """
    engine = create_pg_engine(postgres_url, token_provider, poolclass=NullPool)
    with retry_pg_connection_fn(engine.connect) as connection:
        # It ends with the transaction, so also where a pooler gives the session to others.
        connection.execute(select(func.pg_advisory_xact_lock(_MAKES_TABLES)))
        yield


class _Runs(PostgresRunStorage):
    def dispose(self) -> None:
        """Close the connections, which are those of events and schedules too."""
        super().dispose()
        self._engine.dispose()
