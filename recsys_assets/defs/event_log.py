"""Dagster's SQLite event log, with connections that stay open and fewer questions.

Dagster's own opens the database anew for each event, and closing it checkpoints and syncs; of an
event of an asset it also asks for the schema, twice. For a year of small days that costs more than
computing them (docs/decisions/event-log-connections.md). `dagster.yaml` names this class; files and
tables are the same, so an instance can go back and forth.
"""

from __future__ import annotations

import os
import shutil
import threading
import uuid
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final

import dagster as dg
from dagster._core.event_api import EventHandlerFn
from dagster._core.events import DagsterEventType
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    AssetKeyTable,
    SqlEventLogStorageTable,
)
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorageWatchdog
from dagster._serdes import ConfigurableClassData, serialize_value
from sqlalchemy import create_engine
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.event import listen
from sqlalchemy.pool import NullPool
from watchdog.events import FileSystemEvent
from watchdog.observers import Observer

from recsys_assets.defs.internals import BATCH_SIZE_VARIABLE, end_newest_partitions

INDEX: Final = "index"  # the shard that is read across runs
_OPEN_SHARDS: Final = 8
BUSY_TIMEOUT_S: Final = 60
BASE_DIR: Final = {"base_dir": dg.Field(dg.StringSource, is_required=False)}
_BATCH: Final = 1000
_EMPTY: Final = f".empty-{dg.__version__}"  # no run's: Dagster looks for names without a dot
_NO_ID: Final = 0  # of an event whose id nothing refers to


class PooledSqliteEventLogStorage(SqliteEventLogStorage):
    """Keeps one connection open to the index and to each of the last runs.

    A power cut can lose the last events: commits are not synced one by one. Nothing that is
    published depends on them.
    """

    _obs: Any  # Dagster declares it as None

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        self._lock = threading.Lock()
        self._tables: set[str] = set()
        self._has_index_columns = False
        # What a run plans comes as a batch only where this is set.
        os.environ.setdefault(BATCH_SIZE_VARIABLE, str(_BATCH))
        # Of this project, the UI's webserver has nothing but this class: it is the one that plots.
        end_newest_partitions()
        super().__init__(base_dir, inst_data)

    @classmethod
    def config_type(cls) -> Any:
        """Return the settings in dagster.yaml: `base_dir`, by default where Dagster has it."""
        return BASE_DIR

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> PooledSqliteEventLogStorage:
        """Build the storage for an instance."""
        home = Path(os.environ["DAGSTER_HOME"], "history", "runs")
        return cls(config_value.get("base_dir") or str(home), inst_data)

    def run_connection(self, run_id: str | None = None) -> AbstractContextManager[Connection]:
        """Give a connection to a run's events, in a transaction."""
        return self._transaction(str(run_id), super().run_connection(run_id))

    def index_connection(self) -> AbstractContextManager[Connection]:
        """Give a connection to the events that are read across runs, in a transaction."""
        return self._transaction(INDEX, super().index_connection())

    def has_table(self, table_name: str) -> bool:
        """Tell whether a table is there; one that was found is not looked for again."""
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables

    def store_event_batch(self, events: Sequence[dg.EventLogEntry]) -> None:
        """Store events: what a run plans to materialize, and to check, in one transaction each."""
        planned: dict[str, list[dg.EventLogEntry]] = {}
        checks: dict[str, list[dg.EventLogEntry]] = {}
        for event in events:
            if event.dagster_event_type is DagsterEventType.ASSET_MATERIALIZATION_PLANNED:
                planned.setdefault(event.run_id, []).append(event)
            elif event.dagster_event_type is DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED:
                checks.setdefault(event.run_id, []).append(event)
            else:
                self.store_event(event)
        for run_id, of_run in checks.items():
            self._store_planned_checks(run_id, of_run)
        for run_id, of_run in planned.items():
            rows = [self._event_to_row(event) for event in of_run]
            with self.run_connection(run_id) as connection:
                connection.execute(SqlEventLogStorageTable.insert(), rows)
            with self.index_connection() as connection:
                connection.execute(SqlEventLogStorageTable.insert(), rows)
                # An asset keeps run and time of its last event, whatever the partition is.
                last = {event.get_dagster_event().asset_key: event for event in of_run}
                for event in last.values():
                    self._store_asset_event(connection, event, _NO_ID)

    def store_event(self, event: dg.EventLogEntry) -> None:
        """Store an event; one of a materialization is written out once, and in two transactions.

        Dagster's own writes it out anew for what was last of its asset: such an event has up to
        seventy numbers, and a day of a long run is six of them and little else.
        """
        if event.dagster_event_type is not DagsterEventType.ASSET_MATERIALIZATION:
            super().store_event(event)
            return
        row, insert = self._event_to_row(event), SqlEventLogStorageTable.insert()
        with self.run_connection(event.run_id) as connection:
            connection.execute(insert, row)
        with self.index_connection() as connection:
            key = connection.execute(insert, row).inserted_primary_key
            event_id = key[0] if key else _NO_ID
            self._store_asset_event_tags(connection, [event], [event_id])
            changed = {
                "last_materialization": _as_record(row["event"], event_id),
                "last_run_id": event.run_id,
            }
            if self._has_asset_key_index_cols_on_connection(connection):
                changed["last_materialization_timestamp"] = row["timestamp"]
            if not _update_asset(connection, row["asset_key"], changed):
                super()._store_asset_event(connection, event, event_id)

    def _has_asset_key_index_cols_on_connection(self, conn: Connection) -> bool:
        """Tell whether a migration was made; one that was made is not looked for again."""
        if not self._has_index_columns:
            self._has_index_columns = super()._has_asset_key_index_cols_on_connection(conn)
        return self._has_index_columns

    def _store_asset_event(self, conn: Connection, event: dg.EventLogEntry, event_id: int) -> None:
        """Keep the last event of an asset: update, insert when it is the first.

        Dagster's own inserts, which fails for every event of an asset but its first, then updates.
        """
        key = event.get_dagster_event().asset_key
        if key is None:
            return
        columns = self._has_asset_key_index_cols_on_connection(conn)
        values = self._get_asset_entry_values(event, event_id, columns)
        if values and not _update_asset(conn, key.to_string(), values):
            super()._store_asset_event(conn, event, event_id)

    def _store_planned_checks(self, run_id: str, events: Sequence[dg.EventLogEntry]) -> None:
        """Store that checks are planned: a day has some fifty, each of three transactions."""
        rows = [self._event_to_row(event) for event in events]
        insert = SqlEventLogStorageTable.insert()
        with self.run_connection(run_id) as connection:
            connection.execute(insert, rows)
        with self.index_connection() as connection:
            for event, row in zip(events, rows, strict=True):
                key = connection.execute(insert.values(**row)).inserted_primary_key
                executions = self._planned_check(event, key[0] if key else None, row["event"])
                connection.execute(AssetCheckExecutionsTable.insert(), executions)

    def _store_asset_check_evaluation_planned(
        self, event: dg.EventLogEntry, event_id: int | None
    ) -> None:
        """Keep that a check is planned, for each partition.

        Dagster's own writes the event out anew for each: 51 ms for a year of days, this takes 4.
        """
        executions = self._planned_check(event, event_id, serialize_value(event))
        with self.index_connection() as connection:
            connection.execute(AssetCheckExecutionsTable.insert(), executions)

    def _planned_check(
        self, event: dg.EventLogEntry, event_id: int | None, text: str
    ) -> list[dict[str, Any]]:
        planned = event.get_dagster_event().asset_check_planned_data
        subset = planned.partitions_subset
        row = {
            "asset_key": planned.asset_key.to_string(),
            "check_name": planned.check_name,
            "run_id": event.run_id,
            "execution_status": AssetCheckExecutionRecordStatus.PLANNED.value,
            "evaluation_event": text,
            "evaluation_event_timestamp": self._event_insert_timestamp(event),  # type: ignore[no-untyped-call]
            "evaluation_event_storage_id": event_id,
        }
        keys = subset.get_partition_keys() if subset else [None]
        return [{**row, "partition": key} for key in keys]

    def watch(self, run_id: str, cursor: str | None, callback: EventHandlerFn) -> None:
        """Call back for each further event of a run; the UI shows a run with it as it goes."""
        if not self._obs:
            self._obs = Observer()
            self._obs.start()
        watchdog = _Watchdog(self, run_id, callback, cursor)
        files = self._obs.schedule(watchdog, self._base_dir, recursive=True)
        self._watchers[run_id][callback] = watchdog, files

    def wipe(self) -> None:
        """Remove every event."""
        self._close()
        super().wipe()

    def dispose(self) -> None:
        """Close every connection."""
        self._close()
        super().dispose()

    @contextmanager
    def _transaction(
        self, shard: str, unpooled: AbstractContextManager[Connection]
    ) -> Iterator[Connection]:
        with self._lock:
            if shard not in self._engines:
                if not self._is_copied(shard):
                    with unpooled:  # makes the database, at its first use
                        pass
                self._engines[shard] = _open(self.conn_string_for_shard(shard))
                if len(self._engines) > _OPEN_SHARDS:
                    self._engines.popitem(last=False)[1].dispose()
            self._engines.move_to_end(shard)
            with self._engines[shard].begin() as connection:
                yield connection

    def _is_copied(self, shard: str) -> bool:
        """Make the database of a new run from an empty one: Dagster takes 0.1 s for its tables.

        The empty one is made once for each version of Dagster.
        """
        path, empty = Path(self.path_for_shard(shard)), Path(self.path_for_shard(_EMPTY))
        if shard == INDEX or path.exists():
            return False
        if not empty.exists():
            new = self._beside(empty)
            engine = create_engine(f"sqlite:///{new}", poolclass=NullPool)
            self._initdb(engine)
            new.replace(empty)
        copy = self._beside(path)
        shutil.copyfile(empty, copy)
        try:
            os.link(copy, path)
        except FileExistsError:  # another process was first
            return False
        finally:
            copy.unlink()
        self._initialized_dbs.add(shard)
        return True

    @staticmethod
    def _beside(path: Path) -> Path:
        return path.with_name(f".{uuid.uuid4().hex}")

    def _close(self) -> None:
        with self._lock:
            while self._engines:
                self._engines.popitem()[1].dispose()


def _update_asset(connection: Connection, asset_key: str, values: Mapping[str, Any]) -> bool:
    """Keep what was last of an asset; tell whether there was anything before."""
    update = AssetKeyTable.update().where(AssetKeyTable.c.asset_key == asset_key)
    return bool(connection.execute(update, values).rowcount)


def _as_record(event: str, number: int) -> str:
    """Return the text of an `EventLogRecord` from that of its event."""
    return f'{{"__class__": "EventLogRecord", "event_log_entry": {event}, "storage_id": {number}}}'


class _Watchdog(SqliteEventLogStorageWatchdog):
    """Reads on when the run's write-ahead log grows.

    Dagster's own waits for the database file to change, which it does at a checkpoint: as long as
    a connection is open, there may be none.
    """

    @property
    def patterns(self) -> list[str]:
        """The files whose changes count."""
        return [self._log_path, f"{self._log_path}-wal"]

    def on_modified(self, event: FileSystemEvent) -> None:
        """Hand over what was added."""
        self._process_log()


def _open(url: str) -> Engine:
    # One connection, used by one thread after the other under the lock.
    arguments = {"timeout": BUSY_TIMEOUT_S, "check_same_thread": False}
    engine = create_engine(url, pool_size=1, connect_args=arguments)
    listen(engine, "connect", _do_not_sync_each_commit)
    return engine


def _do_not_sync_each_commit(connection: Any, _: object) -> None:
    # The databases are in WAL mode, where this cannot damage them.
    connection.execute("PRAGMA synchronous=NORMAL")
