"""Dagster's SQLite event log, with connections that stay open.

Dagster's own opens the database anew for each event, and closing it checkpoints and syncs: for a
year of small days that costs more than computing them (docs/decisions.md). `dagster.yaml` names
this class; the files are the same, so an instance can go back and forth.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final

import dagster as dg
from dagster._core.event_api import EventHandlerFn
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorageWatchdog
from dagster._serdes import ConfigurableClassData
from sqlalchemy import create_engine, event
from sqlalchemy.engine import Connection, Engine
from watchdog.events import FileSystemEvent
from watchdog.observers import Observer

_INDEX: Final = "index"  # the shard that is read across runs
_OPEN_SHARDS: Final = 8
_BUSY_TIMEOUT_S: Final = 60


class PooledSqliteEventLogStorage(SqliteEventLogStorage):
    """Keeps one connection open to the index and to each of the last runs.

    A power cut can lose the last events: commits are not synced one by one. Nothing that is
    published depends on them.
    """

    _obs: Any  # Dagster declares it as None

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        self._lock = threading.Lock()
        super().__init__(base_dir, inst_data)

    @classmethod
    def config_type(cls) -> Any:
        """Return the settings in dagster.yaml: `base_dir`, by default where Dagster has it."""
        return {"base_dir": dg.Field(dg.StringSource, is_required=False)}

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
        return self._transaction(_INDEX, super().index_connection())

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
                with unpooled:  # makes the database, at its first use
                    pass
                self._engines[shard] = _open(self.conn_string_for_shard(shard))
                if len(self._engines) > _OPEN_SHARDS:
                    self._engines.popitem(last=False)[1].dispose()
            self._engines.move_to_end(shard)
            with self._engines[shard].begin() as connection:
                yield connection

    def _close(self) -> None:
        with self._lock:
            while self._engines:
                self._engines.popitem()[1].dispose()


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
    arguments = {"timeout": _BUSY_TIMEOUT_S, "check_same_thread": False}
    engine = create_engine(url, pool_size=1, connect_args=arguments)
    event.listen(engine, "connect", _do_not_sync_each_commit)
    return engine


def _do_not_sync_each_commit(connection: Any, _: object) -> None:
    # The databases are in WAL mode, where this cannot damage them.
    connection.execute("PRAGMA synchronous=NORMAL")
