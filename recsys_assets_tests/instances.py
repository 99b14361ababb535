"""Dagster instances in memory at a fraction of what they cost.

Of a small day through Dagster, much of the time goes into what is recorded of it. Dagster makes the
tables anew for each instance in memory. Here the tables are copied from an instance that is made
once in a process. What is recorded, and how it is asked for, is Dagster's own.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Final
from uuid import uuid4

import pytest
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluation,
    AssetCheckEvaluationPlanned,
)
from dagster._core.events import ASSET_CHECK_EVENTS, ASSET_EVENTS
from dagster._core.events.log import EventLogEntry
from dagster._core.storage import event_log, runs
from dagster._core.storage.asset_check_execution_record import (
    AssetCheckExecutionRecordStatus as Status,
)
from dagster._core.storage.event_log import (
    AssetKeyTable,
    InMemoryEventLogStorage,
    SqlEventLogStorageMetadata,
    SqlEventLogStorageTable,
)
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable
from dagster._core.storage.runs import InMemoryRunStorage
from sqlalchemy import Connection, Engine, bindparam, create_engine, text
from sqlalchemy.pool import NullPool


class Events(InMemoryEventLogStorage):
    """Events in a copy of an empty database, which are written when somebody asks for one.

    All that wait are written together: one by one, they take half of the time of a small day.
    """

    def __init__(self, *_: object, **__: object) -> None:
        self._inst_data = None
        self._handlers = defaultdict(set)
        self._lock = threading.RLock()
        self._engine, self._held_conn = _copied(_empty_events()._held_conn)
        self._waiting: list[EventLogEntry] = []
        self._checks: set[_Key] = set()  # whose rows are there
        self._used: Connection | None = None

    def store_event(self, event: EventLogEntry) -> None:
        with self._lock:
            self._waiting.append(event)

    def watch(self, *_: object) -> None:
        raise NotImplementedError("events are not written when they happen")

    def has_table(self, table_name: str) -> bool:
        return table_name in SqlEventLogStorageMetadata.tables

    def _has_asset_key_col_on_connection(self, conn: Connection, column_name: str) -> bool:
        return column_name in AssetKeyTable.c

    def _write(self) -> None:
        with self._begun() as connection:
            events, self._waiting = self._waiting, []
            rows = [self._event_to_row(event) for event in events]
            connection.execute(SqlEventLogStorageTable.insert(), rows)
            last = connection.execute(text("select last_insert_rowid()")).scalar_one()
            checks: dict[_Key, dict[str, object]] = {}
            for number, (event, row) in enumerate(
                zip(events, rows, strict=True), last - len(events) + 1
            ):
                kind = event.dagster_event_type
                if kind in ASSET_EVENTS and event.get_dagster_event().asset_key:
                    self._store_asset_event_tags(connection, [event], [number])
                    self._store_asset_event(connection, event, number)
                elif kind in ASSET_CHECK_EVENTS:
                    checks.update(_checks(event, row, number))
            new = [row for key, row in checks.items() if key not in self._checks]
            known = [
                {**row, **{f"of_{name}": row[name] for name in _FOUND_BY}}
                for key, row in checks.items()
                if key in self._checks
            ]
            if new:
                connection.execute(AssetCheckExecutionsTable.insert(), new)
            if known:
                connection.execute(_EVALUATED, known)
            self._checks |= checks.keys()

    @contextmanager
    def _connect(self) -> Iterator[Connection]:
        with self._lock:
            if self._used:  # by `_write`
                yield self._used
                return
            if self._waiting:
                self._write()
            with self._begun() as connection:
                yield connection

    @contextmanager
    def _begun(self) -> Iterator[Connection]:
        # One of its own: what steps in threads leave of a common one is freed at any time.
        with self._engine.begin() as connection:
            self._used = connection
            try:
                yield connection
            finally:
                self._used = None


# What a row of a check is found by: the asset, the check, the run and the day.
_Key = tuple[object, ...]
_FOUND_BY: Final = ("asset_key", "check_name", "run_id", "partition")
_EVALUATED: Final = AssetCheckExecutionsTable.update().where(
    *(
        AssetCheckExecutionsTable.c[name].is_not_distinct_from(bindparam(f"of_{name}"))
        for name in _FOUND_BY
    )
)


def _checks(
    event: EventLogEntry, stored: Mapping[str, object], number: int
) -> Iterator[tuple[_Key, dict[str, object]]]:
    """Give what Dagster makes of the event of a check: a row per day, which is planned first."""
    data = event.get_dagster_event().event_specific_data
    if isinstance(data, AssetCheckEvaluation):
        status = Status.SUCCEEDED if data.passed else Status.FAILED
        days, target = [data.partition], data.target_materialization_data
    else:
        assert isinstance(data, AssetCheckEvaluationPlanned)
        subset = data.partitions_subset
        status, target = Status.PLANNED, None
        days = [*subset.get_partition_keys()] if subset else [None]
    for day in days:
        row = {
            "asset_key": data.asset_key.to_string(),
            "check_name": data.check_name,
            "partition": day,
            "run_id": event.run_id,
            "execution_status": status.value,
            "evaluation_event": stored["event"],
            "evaluation_event_timestamp": stored["timestamp"],
            "evaluation_event_storage_id": number,
            "materialization_event_storage_id": target.storage_id if target else None,
        }
        # Those of no run are as many as there are events.
        yield (*map(row.get, _FOUND_BY), *(() if event.run_id else (number,))), row


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
