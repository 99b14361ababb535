"""Events that Dagster has stored, as rows of its database: read, replaced and forgotten."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import dagster as dg
from dagster._core.storage.event_log import SqlEventLogStorage, SqliteEventLogStorage
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    AssetKeyTable,
    SqlEventLogStorageTable,
)
from sqlalchemy import or_, select
from sqlalchemy import text as sql_text
from sqlalchemy.engine import Connection

from recsys_assets.defs.event_log import BUSY_TIMEOUT_S, INDEX
from recsys_assets.errors import ConfigError

_LOG: Final = "-wal"  # what the log of writes adds to the name of a database


@dataclass(frozen=True)
class StoredEvent:
    """An event as a row has it; of `event_logs`, in the shard of its run or in the index.

    Attributes:
        table: the name.
        number: of the row.
        text: the event, JSON.
        run_id: of which run.
        in_shard: whether it is the copy in the shard of its run.
    """

    table: str
    number: int
    text: str
    run_id: str
    in_shard: bool = False


# The column of a table that has an event as text.
_TEXTS: Final[Mapping[str, tuple[Any, str]]] = {
    "event_logs": (SqlEventLogStorageTable, "event"),
    "asset_keys": (AssetKeyTable, "last_materialization"),
    "asset_check_executions": (AssetCheckExecutionsTable, "evaluation_event"),
}


def stored_events(instance: dg.DagsterInstance, prefixes: Sequence[str]) -> Iterator[StoredEvent]:
    """Yield what is stored of the runs that were about some assets, by the begin of their keys.

    SQLite keeps the events of a run in a database of its own, and those of assets in the index too.
    """
    storage, runs = _sql(instance), set[str]()
    # Nothing is yielded while a connection is open: whoever asks may write.
    for name in _TEXTS:
        with storage.index_connection() as connection:
            table = _TEXTS[name][0]
            run_id = table.c.last_run_id if name == "asset_keys" else table.c.run_id
            of_ours = (table.c.asset_key.startswith(each, autoescape=True) for each in prefixes)
            of_runs = select(run_id).where(or_(*of_ours)).distinct()
            runs |= {run for (run,) in connection.execute(of_runs) if run}
    for run in sorted(runs):
        for name in _TEXTS:
            yield from _of_run(storage.index_connection(), name, run)
        if isinstance(storage, SqliteEventLogStorage):
            yield from _of_run(storage.run_connection(run), "event_logs", run, in_shard=True)


def _of_run(
    opened: AbstractContextManager[Connection], name: str, run: str, *, in_shard: bool = False
) -> list[StoredEvent]:
    table, column = _TEXTS[name]
    run_id = table.c.last_run_id if name == "asset_keys" else table.c.run_id
    with opened as connection:
        wanted = select(table.c.id, table.c[column]).where(run_id == run)
        return [
            StoredEvent(name, number, text, run, in_shard)
            for number, text in connection.execute(wanted)
            if text
        ]


def replace_stored(instance: dg.DagsterInstance, event: StoredEvent, text: str) -> None:
    """Put another text in the place of a stored event; of SQLite, over its bytes."""
    storage, (table, column) = _sql(instance), _TEXTS[event.table]
    opened = storage.run_connection(event.run_id) if event.in_shard else storage.index_connection()
    with opened as connection:
        if connection.dialect.name == "sqlite":
            connection.execute(sql_text("PRAGMA secure_delete=ON"))
        update = table.update().where(table.c.id == event.number)
        connection.execute(update.values({column: text}))


def forget_replaced(instance: dg.DagsterInstance) -> list[str]:
    """Take away what the databases still have of texts before they were replaced, whoever did it.

    Of SQLite, the free space of the index, in which Dagster itself replaces what was last of an
    asset, and the logs of writes of all databases; of PostgreSQL, dead rows and statistics.

    Returns:
        What could not be done, each with what to do.
    """
    storage = _sql(instance)
    if isinstance(storage, SqliteEventLogStorage):
        index = Path(storage.path_for_shard(INDEX))
        logs = {log.with_name(log.name[: -len(_LOG)]) for log in index.parent.glob(f"*.db{_LOG}")}
        found = (_forget_in_file(path, anew=path == index) for path in sorted({index} | logs))
        return [problem for problem in found if problem]
    with storage.index_connection() as connection:
        if connection.dialect.name == "postgresql":  # each of its statements commits by itself
            connection.execute(sql_text(f"vacuum (analyze) {', '.join(_TEXTS)}"))
    return []


def _forget_in_file(path: Path, *, anew: bool) -> str:
    """Empty the log of writes of a database of SQLite, which may be written anew before."""
    try:
        with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_S)) as database:
            if anew:
                database.execute("vacuum")
            is_read, _, _ = database.execute("pragma wal_checkpoint(truncate)").fetchone()
    except sqlite3.Error as error:
        return f"{path} could not be written anew ({error}): do the same again"
    return f"{path}{_LOG} is being read: do the same again" if is_read else ""


def _sql(instance: dg.DagsterInstance) -> SqlEventLogStorage:
    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        raise ConfigError(
            f"the events of this Dagster instance are in {type(storage).__name__}, which is no SQL "
            "database: whether they hold ids is unknown. Look there yourself, and leave Dagster out"
        )
    return storage
