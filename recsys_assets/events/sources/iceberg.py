"""Rows of an Iceberg table: `source.type: iceberg`. Its metadata is read by pyiceberg, an extra."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, BinaryIO, Final, cast

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from recsys_assets.config import Surface, without_secrets
from recsys_assets.errors import ConfigError, RawEventsError, RecsysAssetsError
from recsys_assets.events.sources.data_files import DataFile, Version, state_of
from recsys_assets.events.sources.source import Source
from recsys_assets.events.sources.tables import Table

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile as IcebergFile
    from pyiceberg.table import FileScanTask
    from pyiceberg.table import Table as IcebergTable

_FIELD_ID: Final = b"PARQUET:field_id"


def open_source(surface: Surface) -> Source:
    """Return the source of a surface."""
    return Iceberg(surface)


class Iceberg(Table):
    """An Iceberg table, named by its place or by a catalog; its files are read as Parquet."""

    @property
    def where(self) -> str:
        """Its path or URL, or its name in a catalog."""
        return self.surface.source.table or self.surface.source.path

    def load(self) -> Version:
        """Read the metadata."""
        table = self._table
        snapshot = table.current_snapshot()
        schema = table.schema()
        with self._told_of_table():
            tasks = [*table.scan().plan_files()] if snapshot else []
            files = [self._file(task) for task in tasks]
        return Version(
            str(snapshot.snapshot_id) if snapshot else "",
            datetime.fromtimestamp((snapshot.timestamp_ms if snapshot else 0) / 1000, UTC),
            files,
            pl.DataFrame(schema.as_arrow().empty_table()),
        )

    def open_file(self, file: DataFile) -> BinaryIO:
        """Open a file wherever the table has it."""
        return self._open(self._location(file.name))

    def stored_names(self, stored: pa.Schema, wanted: Iterable[str]) -> dict[str, str]:
        """Return the names that the columns had when a file was written: columns go by their id.

        A file without ids was not written for the table, and has the names that it has.
        """
        by_id = {
            int(field.metadata[_FIELD_ID]): field
            for field in stored
            if field.metadata and _FIELD_ID in field.metadata
        }
        if not by_id:
            return {name: name for name in wanted if name in stored.names}
        schema, found = self._table.schema(), {}
        for name in wanted:
            column = schema.find_field(name)
            if column.field_id in by_id:
                field = by_id[column.field_id]
                found[name] = field.name
                self._refuse_renamed(name, _names_below(column.field_type), field.type)
        return found

    def deleted_rows(self, file: DataFile) -> pl.Series | None:
        """Return the positions that delete files name."""
        if not file.deleted:
            return None
        location = self._location(file.name)
        with self._told_of_table():
            found = [self._positions(of, location) for of in file.deleted]
        return pl.concat(found).unique().sort()

    @cached_property
    def _table(self) -> IcebergTable:
        try:
            import pyiceberg  # noqa: F401
        except ImportError:
            raise ConfigError(
                "an Iceberg table needs pyiceberg: pip install 'recsys-assets[iceberg]'"
            ) from None
        with self._told_of_table():
            if self.surface.source.table is None:
                from recsys_assets.events.sources.iceberg_files import table_at

                return table_at(self.surface.source.path)
            from pyiceberg.catalog import load_catalog

            catalog, _, name = self.surface.source.table.partition(".")
            return load_catalog(catalog).load_table(name)

    @contextmanager
    def _told_of_table(self) -> Iterator[None]:
        """Say of what fails in pyiceberg which table it is."""
        try:
            yield
        except RecsysAssetsError:
            raise
        except Exception as error:  # what a catalog may raise is not known here
            raise RawEventsError(
                f"{self.where}: the Iceberg table cannot be read "
                f"({type(error).__name__}: {without_secrets(str(error))})"
            ) from None

    def _file(self, task: FileScanTask) -> DataFile:
        from pyiceberg.conversions import from_bytes
        from pyiceberg.transforms import IdentityTransform

        file, schema = task.file, self._table.schema()
        name = file.file_path.removeprefix(f"{self._table.location().rstrip('/')}/")
        if file.file_format != "PARQUET":
            raise RawEventsError(f"{self.where}: file {name} is {file.file_format}, not Parquet")
        constants = {
            schema.find_column_name(each.source_id): file.partition[number]
            for number, each in enumerate(self._table.specs()[file.spec_id].fields)
            if isinstance(each.transform, IdentityTransform)
        }
        column = next((of for of in schema.fields if of.name == self.day_column.name), None)
        low = high = constants.get(self.day_column.name)
        if column is not None and column.field_type.is_primitive:
            kind = cast("Any", column.field_type)
            if file.lower_bounds and column.field_id in file.lower_bounds:
                low = from_bytes(kind, file.lower_bounds[column.field_id])
            if file.upper_bounds and column.field_id in file.upper_bounds:
                high = from_bytes(kind, file.upper_bounds[column.field_id])
        deleted = sorted(task.delete_files, key=lambda of: of.file_path)
        return DataFile(
            name,
            file.file_size_in_bytes,
            state_of(
                file.file_path,
                file.file_size_in_bytes,
                file.record_count,
                [(of.file_path, of.file_size_in_bytes) for of in deleted],
            ),
            low=low,
            high=high,
            constants={str(of): value for of, value in constants.items()},
            deleted=deleted,
        )

    def _location(self, name: str) -> str:
        is_whole = "://" in name or name.startswith(("/", "file:"))
        return name if is_whole else f"{self._table.location().rstrip('/')}/{name}"

    def _open(self, location: str) -> BinaryIO:
        return cast("BinaryIO", self._table.io.new_input(location).open())

    def _positions(self, deletes: IcebergFile, location: str) -> pl.Series:
        """Return the rows of a file that a delete file names."""
        with self._open(deletes.file_path) as raw:
            if deletes.file_format == "PUFFIN":
                from pyiceberg.table.deletion_vector import deletion_vectors_from_puffin_file
                from pyiceberg.table.puffin import PuffinFile

                vectors = deletion_vectors_from_puffin_file(PuffinFile(raw.read()))
                found = [
                    row
                    for vector in vectors
                    if vector.referenced_data_file == location
                    for row in vector.to_vector().to_pylist()
                ]
                return pl.Series(found, dtype=pl.Int64)
            table = pq.read_table(raw, columns=["file_path", "pos"])
        rows = pl.DataFrame(table).filter(pl.col("file_path") == location)
        return rows["pos"].cast(pl.Int64)

    def _refuse_renamed(self, name: str, of_table: Mapping[int, str], stored: pa.DataType) -> None:
        for number, stored_as in _stored_names_below(stored):
            if of_table.get(number, stored_as) != stored_as:
                raise RawEventsError(
                    f"{self.where}: {stored_as!r} within column {name!r} is called "
                    f"{of_table[number]!r} by now, and older files are read by their names only. "
                    "Rewrite them, or name it as before"
                )


def _names_below(kind: Any) -> dict[int, str]:
    """Return the names of all fields within a type of Iceberg, by their ids."""
    found: dict[int, str] = {}
    for field in getattr(kind, "fields", ()):
        found |= {field.field_id: field.name, **_names_below(field.field_type)}
    for inner in ("element_type", "value_type"):
        if hasattr(kind, inner):
            found |= _names_below(getattr(kind, inner))
    return found


def _stored_names_below(kind: pa.DataType) -> Iterator[tuple[int, str]]:
    """Yield the id and the name of all fields within a type of a file."""
    for number in range(kind.num_fields if pa.types.is_nested(kind) else 0):
        field = kind.field(number)
        if pa.types.is_struct(kind) and field.metadata and _FIELD_ID in field.metadata:
            yield int(field.metadata[_FIELD_ID]), field.name
        yield from _stored_names_below(field.type)
