"""Documents back to rows: the columns of the kind's contract, in published order."""

from __future__ import annotations

import io
from typing import Any

import polars as pl

from recsys_assets import contracts
from recsys_assets.documents import ListLayout, stored_version
from recsys_assets.errors import CorruptBlobError, StorageError
from recsys_assets.kinds import KINDS
from recsys_assets.storage.registry import version_of
from recsys_assets.storage.store import Store


def read_rows(store: Store, uri: str, kind: str) -> pl.DataFrame:
    """Return the rows of a document, once its bytes are those that its version names.

    An owner of an empty list is one row whose entry is null. Memory grows with the document.

    Raises:
        StorageError: the blob is missing, is not what its version names, or is laid out otherwise.
    """
    try:
        file, size_bytes = store.open(store.key(uri))
    except FileNotFoundError:
        raise StorageError(f"{uri} is missing", advice="Materialize the day again.") from None
    with file:
        data = file.read()
    try:
        found = stored_version(io.BytesIO(data), size_bytes)
    except StorageError as error:
        raise CorruptBlobError(uri, expected=version_of(uri), found=str(error)) from None
    if found != version_of(uri):
        raise CorruptBlobError(uri, expected=version_of(uri), found=found)
    try:
        return rows_of(data, kind)
    except (pl.exceptions.PolarsError, KeyError) as error:
        raise StorageError(f"{uri} is not laid out as documents of {kind} are: {error}") from None


def rows_of(data: bytes, kind: str) -> pl.DataFrame:
    """Return the rows of a document's bytes."""
    layout, columns = KINDS[kind].layout, contracts.dtypes(KINDS[kind].contract)
    document = pl.Series([data]).cast(pl.String).str.json_decode(_form(layout, columns))
    rows = document.struct.field(layout.key).explode(empty_as_null=False).struct.unnest()
    if layout.entry is not None:
        entries = pl.col("items").struct.rename_fields([layout.entry, layout.value])
        rows = rows.explode("items", empty_as_null=True).with_columns(entries).unnest("items")
    return rows.select(columns.names())


def _form(layout: ListLayout, columns: pl.Schema) -> pl.Struct:
    value = columns[layout.value]
    of: dict[str, Any] = {layout.owner: columns[layout.owner], layout.value: value}
    if layout.entry is not None:
        entries = pl.List(pl.Struct({"item_id": pl.String, layout.value: value}))
        of = {layout.owner: columns[layout.owner], "items": entries}
    return pl.Struct({layout.key: pl.List(pl.Struct(of))})
