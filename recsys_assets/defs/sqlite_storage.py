"""Dagster's storage in SQLite, with connections that stay open.

Dagster's own makes an engine and opens the database for each question, and closing it checkpoints
and syncs: the daemon asks a dozen for each tick of a sensor. `dagster.yaml` names this class; files
and tables are the same, so an instance can go back and forth.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from dagster._core.storage.runs import SqliteRunStorage
from dagster._core.storage.schedules import SqliteScheduleStorage
from dagster._core.storage.sqlite import create_db_conn_string
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData
from sqlalchemy import create_engine
from sqlalchemy.engine import Connection, Engine

from recsys_assets.defs.event_log import BASE_DIR, BUSY_TIMEOUT_S, PooledSqliteEventLogStorage
from recsys_assets.locks import exclusive

_RUNS: Final = "history/runs.db"
_SCHEDULES: Final = "schedules/schedules.db"
_LOCK: Final = ".making.lock"


class PooledSqliteStorage(DagsterSqliteStorage):
    """Keeps connections to runs, events and schedules open."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        # Not what Dagster's own does, which is to make its own three.
        self.base_dir, self._inst_data = base_dir, inst_data
        runs, schedules = (Path(base_dir, name) for name in (_RUNS, _SCHEDULES))
        if not (_is_made(runs) and _is_made(schedules)):
            Path(base_dir).mkdir(parents=True, exist_ok=True)
            # Two processes that make databases at once leave them half made.
            with exclusive(Path(base_dir, _LOCK)):
                _make(base_dir, runs, schedules)
        self._schedule_storage = _Schedules(_address(schedules))
        self._run_storage = _Runs(_address(runs))
        self._run_storage.schedules = self._schedule_storage
        self._event_log_storage = PooledSqliteEventLogStorage(_events(base_dir))

    @classmethod
    def config_type(cls) -> Any:
        """Return the settings in dagster.yaml: `base_dir`, by default where Dagster has it."""
        return BASE_DIR

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> PooledSqliteStorage:
        """Build the storage for an instance."""
        base_dir = config_value.get("base_dir") or os.environ["DAGSTER_HOME"]
        return cls.from_local(base_dir, inst_data)


class _StaysOpen:
    """Keeps one connection open, and more while several threads ask."""

    _conn_string: str

    @cached_property
    def _engine(self) -> Engine:
        return create_engine(
            self._conn_string,
            pool_size=1,
            max_overflow=-1,
            connect_args={"timeout": BUSY_TIMEOUT_S},
        )

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """Give a connection, in a transaction."""
        with self._engine.begin() as connection:
            yield connection

    def dispose(self) -> None:
        """Close every connection."""
        self._engine.dispose()


class _Schedules(_StaysOpen, SqliteScheduleStorage):
    pass


class _Runs(_StaysOpen, SqliteRunStorage):
    schedules: _Schedules

    def dispose(self) -> None:
        """Close those to schedules too: Dagster closes runs and events only."""
        super().dispose()
        self.schedules.dispose()


def _make(base_dir: str, runs: Path, schedules: Path) -> None:
    """Make the databases that no process has made.

    Dagster's own reads all of its migrations for that, each time, and compares nothing: 0.04 s of
    CPU time. So a database that was made is not given to it again.
    """
    # Events first: where both others are made, they are too.
    PooledSqliteEventLogStorage(_events(base_dir)).dispose()
    for storage, file in ((SqliteScheduleStorage, schedules), (SqliteRunStorage, runs)):
        if not _is_made(file):
            storage.from_local(str(file.parent))


def _address(file: Path) -> str:
    return create_db_conn_string(str(file.parent), file.stem)


def _events(base_dir: str) -> str:
    return str(Path(base_dir, "history/runs"))


def _is_made(file: Path) -> bool:
    """Tell whether a database has the one version that making it ends with."""
    if not file.exists():
        return False
    with closing(sqlite3.connect(file, timeout=BUSY_TIMEOUT_S)) as database:
        try:
            (versions,) = database.execute("select count(*) from alembic_version").fetchone()
        except sqlite3.OperationalError:  # it is being made, or was not to its end
            return False
    return bool(versions == 1)
