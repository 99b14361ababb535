"""Dagster instances in memory at a fraction of what they cost.

Of a small day through Dagster, much of the time goes into what is recorded of it. Dagster makes the
tables anew for each instance in memory, and opens a connection for each statement. Here the tables
are copied from an instance that is made once in a process, and one connection stays open. What is
recorded, and how it is asked for, is Dagster's own.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import pytest
from dagster._core.storage import event_log, runs
from dagster._core.storage.event_log import InMemoryEventLogStorage
from dagster._core.storage.runs import InMemoryRunStorage
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.pool import StaticPool


class Events(InMemoryEventLogStorage):
    """Events in a copy of an empty database."""

    def __init__(self, *_: object, **__: object) -> None:
        self._inst_data = None
        self._handlers = defaultdict(set)
        self._storage_id = 0
        self._db_lock = threading.Lock()
        self._engine = _copied(_empty_events()._held_conn)
        self._held_conn = self._engine.connect()

    @contextmanager
    def _connect(self) -> Iterator[Connection]:
        with self._db_lock, self._held_conn.begin():
            yield self._held_conn


class Runs(InMemoryRunStorage):
    """Runs in a copy of an empty database."""

    def __init__(self, *_: object, **__: object) -> None:
        self._lock = threading.RLock()
        self._engine = _copied(_empty_runs()._held_conn)
        self._held_conn = self._engine.connect()

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        with self._lock:
            if self._held_conn.in_transaction():  # of a caller of ours
                yield self._held_conn
            else:
                with self._held_conn.begin():
                    yield self._held_conn


@cache
def _empty_events() -> InMemoryEventLogStorage:
    return InMemoryEventLogStorage()


@cache
def _empty_runs() -> InMemoryRunStorage:
    return InMemoryRunStorage()


def _copied(made: Connection) -> Engine:
    database = sqlite3.connect(":memory:", check_same_thread=False)
    original = made.connection.driver_connection
    assert isinstance(original, sqlite3.Connection)
    original.backup(database)
    return create_engine("sqlite://", creator=lambda: database, poolclass=StaticPool)


@contextmanager
def cheap_instances() -> Iterator[None]:
    """Let `DagsterInstance.ephemeral` give such instances."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(event_log, "InMemoryEventLogStorage", Events)
        patch.setattr(runs, "InMemoryRunStorage", Runs)
        yield
