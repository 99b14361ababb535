"""DuckDB in this process: `type: duckdb`. What `memory_limit` does not hold goes to the disk."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import duckdb
import polars as pl
import pyarrow as pa
import sqlglot

from recsys_assets.config import Engine as Configured
from recsys_assets.config import is_object_url
from recsys_assets.engines.engine import by_columns
from recsys_assets.errors import EngineError
from recsys_assets.events.accepted import AcceptedDay
from recsys_assets.storage import open_store
from recsys_assets.storage.private import private_directory

_PIECE_ROWS: Final = 100_000
_COLUMNS: Final = "epoch_ns(ts) as ts, user_id, session_id, item_id, file, line"


def open_engine(configured: Configured) -> DuckDb:
    """Return the engine."""
    return DuckDb(configured.memory_limit, configured.spill, configured.spill_limit)


@dataclass(frozen=True)
class DuckDb:
    """DuckDB with a limit on its memory; null is DuckDB's own."""

    memory_limit: str | None
    spill: str | None
    spill_limit: str | None

    @contextmanager
    def session(self, days: Sequence[AcceptedDay], scratch: Path) -> Iterator[_Session]:
        """Open a database in memory; days of an object store are copied here first."""
        with ExitStack() as stack, _told("could not begin"):
            folder = scratch
            if self.spill is not None:
                Path(self.spill).mkdir(parents=True, exist_ok=True)
                folder = stack.enter_context(private_directory(Path(self.spill)))
            settings: dict[str, str | bool | int | float | list[str]] = {
                "temp_directory": str(folder / "spilled"),
                "preserve_insertion_order": False,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
            }
            if self.memory_limit is not None:
                settings["memory_limit"] = self.memory_limit
            connection = stack.enter_context(duckdb.connect(config=settings))
            if self.spill_limit is not None:  # among the settings, DuckDB would not keep to it
                connection.execute(f"set max_temp_directory_size = '{self.spill_limit}'")
            parts = []
            for columns, those in by_columns(days).items():
                paths = [_path(day.location, folder) for day in those]
                parts.append(f"select {_COLUMNS}, {columns} from read_parquet({paths})")
            connection.execute(f"create view stored as {' union all '.join(parts)}")
            session = _Session(connection)
            stack = stack.pop_all()
        with stack:
            yield session


class _Session:
    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def define(self, name: str, text: str) -> None:
        """Give a query a name."""
        with _told(f"could not define {name}"):
            self._connection.execute(f"create or replace view {name} as {_own(text)}")

    def give(self, name: str, frame: pl.DataFrame) -> None:
        """Give rows a name."""
        with _told(f"could not take {name}"):
            self._connection.register("taken", frame.to_arrow())
            self._connection.execute(f"create table {name} as select * from taken")
            self._connection.unregister("taken")

    def query(self, text: str) -> Iterator[pl.DataFrame]:
        """Yield the rows of a query."""
        with _told("could not compute"):
            # Of its own, since another query may begin before this one has ended.
            cursor = self._connection.cursor()
            reader = cursor.sql(_own(text)).to_arrow_reader(_PIECE_ROWS)
            empty = pl.DataFrame(pa.Table.from_batches([], schema=reader.schema))
        yield empty
        while True:
            with _told("could not compute"):
                batch = next(reader, None)
            if batch is None:
                return
            yield pl.DataFrame(batch)


@lru_cache(256)  # most texts come again
def _own(text: str) -> str:
    (translated,) = sqlglot.transpile(text, read="spark", write="duckdb")
    return translated


def _path(location: str, folder: Path) -> str:
    """Return what DuckDB reads the file at a location by, which it takes for a pattern."""
    if is_object_url(location):
        above, _, name = location.rpartition("/")
        file, _ = open_store(above).open(name)
        location = str(folder / name)
        with file, Path(location).open("wb") as copy:
            shutil.copyfileobj(file, copy)
    return re.sub(r"([*?\[])", r"[\1]", location)


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Raise in the place of DuckDB's errors what they mean."""
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        key = "spill_limit" if "max_temp_directory_size" in str(error) else "memory_limit"
        raise EngineError(
            f"DuckDB {what}: memory_limit and the disk together do not hold it "
            f"({_first_line(error)})",
            advice=f"Raise engine.{key}, or free space where engine.spill is.",
        ) from None
    except (duckdb.Error, OSError) as error:
        raise EngineError(
            f"DuckDB {what}: {_first_line(error)}",
            advice="Nothing was changed; materialize the artifact again.",
        ) from None


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
