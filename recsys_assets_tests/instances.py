"""Dagster instances in memory at a fraction of what they cost.

Of a small day through Dagster, much of the time goes into what is recorded of it. Dagster makes the
tables anew for each instance in memory. Here the tables are copied from an instance that is made
once in a process. What is recorded, and how it is asked for, is Dagster's own.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from uuid import uuid4

import pytest
from dagster._core.storage import event_log, runs
from dagster._core.storage.event_log import InMemoryEventLogStorage
from dagster._core.storage.runs import InMemoryRunStorage
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.pool import NullPool


class Events(InMemoryEventLogStorage):
    """Events in a copy of an empty database."""

    def __init__(self, *_: object, **__: object) -> None:
        self._inst_data = None
        self._handlers = defaultdict(set)
        self._storage_id = 0
        self._db_lock = threading.Lock()
        self._engine, self._held_conn = _copied(_empty_events()._held_conn)

    @contextmanager
    def _connect(self) -> Iterator[Connection]:
        # One of its own: what steps in threads leave of a common one is freed at any time.
        with self._db_lock, self._engine.begin() as connection:
            yield connection


class Runs(InMemoryRunStorage):
    """Runs in a copy of an empty database."""

    def __init__(self, *_: object, **__: object) -> None:
        self._lock = threading.RLock()
        self._engine, self._held_conn = _copied(_empty_runs()._held_conn)
        self._used: Connection | None = None

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        with self._lock:
            if self._used:  # by a caller of ours
                yield self._used
                return
            with self._engine.begin() as connection:
                self._used = connection
                try:
                    yield connection
                finally:
                    self._used = None


@cache
def _empty_events() -> InMemoryEventLogStorage:
    return InMemoryEventLogStorage()


@cache
def _empty_runs() -> InMemoryRunStorage:
    return InMemoryRunStorage()


def _copied(made: Connection) -> tuple[Engine, Connection]:
    """Return a copy of a database, which lasts as long as the first connection to it."""
    name = f"file:{uuid4().hex}?mode=memory&cache=shared"
    engine = create_engine("sqlite://", creator=lambda: _opened(name), poolclass=NullPool)
    original = made.connection.driver_connection
    assert isinstance(original, sqlite3.Connection)
    first = engine.connect()
    database = first.connection.driver_connection
    assert isinstance(database, sqlite3.Connection)
    original.backup(database)
    return engine, first


def _opened(name: str) -> sqlite3.Connection:
    return sqlite3.connect(name, uri=True, check_same_thread=False)


@contextmanager
def cheap_instances() -> Iterator[None]:
    """Let `DagsterInstance.ephemeral` give such instances."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(event_log, "InMemoryEventLogStorage", Events)
        patch.setattr(runs, "InMemoryRunStorage", Runs)
        yield
