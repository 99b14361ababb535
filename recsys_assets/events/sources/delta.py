"""Rows of a Delta table: `source.type: delta`. Its log is read by deltalake, an extra."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final
from urllib.parse import unquote

import polars as pl
import pyarrow as pa

from recsys_assets.config import Surface, is_object_url
from recsys_assets.errors import ConfigError, RawEventsError
from recsys_assets.events.sources.data_files import DataFile, Version, state_of
from recsys_assets.events.sources.source import Source
from recsys_assets.events.sources.tables import Table
from recsys_assets.storage import open_store

if TYPE_CHECKING:
    from deltalake import DeltaTable

# What a table may ask of its readers, and is done here.
_KNOWN: Final = {
    "deletionVectors",
    "timestampNtz",
    "typeWidening",
    "typeWidening-preview",
    "v2Checkpoint",
    "vacuumProtocolCheck",
}
_LOG: Final = "_delta_log"


def open_source(surface: Surface) -> Source:
    """Return the source of a surface."""
    return Delta(surface)


class Delta(Table):
    """A Delta table; its files are read as Parquet, from the store that has them."""

    @property
    def where(self) -> str:
        """Its path or URL."""
        return self.surface.source.path

    @property
    def tag(self) -> str:
        """The picture of Delta, by Dagster's name for it."""
        return "deltalake"

    def load(self) -> Version:
        """Read the log.

        Raises:
            ConfigError: deltalake is not installed.
        """
        try:
            from deltalake import DeltaTable
            from deltalake.exceptions import DeltaError
        except ImportError:
            raise ConfigError(
                "a Delta table needs deltalake: pip install 'recsys-assets[delta]'"
            ) from None
        # By our own store first: it says what is wrong with a bucket, and without secrets.
        if next(iter(open_store(self.where).list(f"{_LOG}/")), None) is None:
            raise RawEventsError(
                f"source.path {self.where} is no Delta table: there is no {_LOG} in it"
            )
        try:
            table = DeltaTable(self.where if is_object_url(self.where) else Path(self.where))
            self._refuse_unknown(table)
            actions = pl.DataFrame(table.get_add_actions(flatten=True))
            deleted = self._deletion_vectors(table)
            below = table.table_uri.rstrip("/")
            schema = pa.schema(table.schema().to_arrow())
        except (DeltaError, OSError, ValueError) as error:
            # What a bucket answered may be in it: docs/decisions/store-error-texts.md
            said = "" if is_object_url(self.where) else f": {error}"
            raise RawEventsError(
                f"{self.where}: its log cannot be read ({type(error).__name__}{said})"
            ) from None
        committed = max(actions["modification_time"].to_list(), default=0)
        files = [
            self._file(action, deleted.pop(_name(f"{below}/{action['path']}"), None))
            for action in actions.iter_rows(named=True)
        ]
        if deleted:
            raise RawEventsError(
                f"{self.where}: deletion vectors are of files that the table does not have: "
                f"{next(iter(deleted))}"
            )
        return Version(
            str(table.version()),
            datetime.fromtimestamp(committed / 1000, UTC),
            files,
            pl.DataFrame(schema.empty_table()),
        )

    def open_file(self, file: DataFile) -> BinaryIO:
        """Open a file below the table."""
        return open_store(self.where).open(file.name)[0]

    def stored_names(self, stored: pa.Schema, wanted: Iterable[str]) -> dict[str, str]:
        """Return the names that a file has: they are those of the table."""
        return {name: name for name in wanted if name in stored.names}

    def deleted_rows(self, file: DataFile) -> pl.Series | None:
        """Return what the deletion vector of a file says."""
        deleted: pl.Series | None = file.deleted
        return deleted

    def _refuse_unknown(self, table: DeltaTable) -> None:
        mode = table.metadata().configuration.get("delta.columnMapping.mode", "none")
        asked = {*(table.protocol().reader_features or [])} - _KNOWN
        if mode != "none":
            asked.add("columnMapping")
        else:
            asked.discard("columnMapping")
        if asked:
            raise RawEventsError(
                f"{self.where} needs of its readers what is not done here: "
                f"{', '.join(sorted(asked))}. Write the events to a table without"
            )

    def _deletion_vectors(self, table: DeltaTable) -> dict[str, pl.Series]:
        """Return the deleted rows of each file that has a deletion vector, by its whole name."""
        if "deletionVectors" not in (table.protocol().reader_features or []):
            return {}
        found = {}
        for batch in table.deletion_vectors():
            for file, kept in pl.DataFrame(batch).iter_rows():
                found[_name(file)] = pl.Series(kept, dtype=pl.Boolean).not_().arg_true()
        return found

    def _file(self, action: Mapping[str, Any], deleted: pl.Series | None) -> DataFile:
        name, column = unquote(action["path"]), self.day_column.name
        if "://" in name:
            raise RawEventsError(
                f"{self.where} has files outside of it, as a shallow clone does ({name}): name "
                "the table that has them"
            )
        constants = {
            key.removeprefix("partition."): value
            for key, value in action.items()
            if key.startswith("partition.")
        }
        return DataFile(
            name,
            action["size_bytes"],
            state_of(
                name,
                action["size_bytes"],
                action["modification_time"],
                None if deleted is None else deleted.to_list(),
            ),
            low=constants.get(column, action.get(f"min.{column}")),
            high=constants.get(column, action.get(f"max.{column}")),
            constants=constants,
            deleted=deleted,
        )


def _name(path: str) -> str:
    """Return a path that is written one way, whether it was encoded or not."""
    return unquote(unquote(path))
