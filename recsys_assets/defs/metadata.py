"""Plain values to Dagster's metadata."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg

from recsys_assets.pages import Json, Link, Location, Markdown, Rows, Shown

if TYPE_CHECKING:
    import pandera.polars as pa


def as_metadata(shown: Mapping[str, Shown]) -> dict[str, Any]:
    """Return what a page shows as metadata of a materialization, an observation or a check."""
    return {name: _value(value) for name, value in shown.items()}


def _value(shown: Shown) -> Any:
    if isinstance(shown, Markdown):
        return dg.MetadataValue.md(shown.text) if shown.text else dg.MetadataValue.text("none")
    if isinstance(shown, Rows):
        return _table(shown)
    if isinstance(shown, Json):
        return dg.MetadataValue.json(shown.value)
    if isinstance(shown, Link):
        return dg.MetadataValue.url(shown.url)
    if isinstance(shown, Location):
        return dg.MetadataValue.path(shown.text)
    return shown


def _table(shown: Rows) -> dg.MetadataValue[Any]:
    if not shown.rows:
        return dg.MetadataValue.text("none")
    columns = [dg.TableColumn(name) for name in shown.rows[0]]
    records = [dg.TableRecord(dict(row)) for row in shown.rows]
    return dg.MetadataValue.table(records, dg.TableSchema(columns))


def column_schema(contract: pa.DataFrameSchema) -> dg.TableSchema:
    """Return a contract as the asset page shows it: columns and rules."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name,
                type=str(column.dtype),
                description=column.description,
                constraints=dg.TableColumnConstraints(
                    nullable=column.nullable,
                    unique=column.unique,
                    other=[check.name or check.error or "" for check in column.checks],
                ),
            )
            for name, column in contract.columns.items()
        ],
        constraints=dg.TableConstraints(other=[check.name or "" for check in contract.checks]),
    )
