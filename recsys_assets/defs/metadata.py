"""Plain values to Dagster's metadata."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from recsys_assets.config import Surface
from recsys_assets.errors import InputError, RecsysAssetsError
from recsys_assets.pages import Json, Link, Location, Markdown, Rows, Shown

if TYPE_CHECKING:
    import pandera.polars as pa


# What stands in quotes; an apostrophe within a word begins none.
_QUOTED: Final = re.compile(r"""(?<!\w)'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""")


class UntoldError(Exception):
    """Stands for an error whose text is kept from Dagster."""


def as_metadata(shown: Mapping[str, Shown], *, show_ids: bool = True) -> dict[str, Any]:
    """Return what a page shows as metadata of a materialization, an observation or a check."""
    return {
        name: _value(value if show_ids or not isinstance(value, Rows) else value.without_ids())
        for name, value in shown.items()
    }


def problem_of(error: InputError, surface: Surface) -> str:
    """Return what is wrong with an input: without what it quotes, where no ids are shown."""
    return str(error) if surface.shows_ids else _QUOTED.sub("'...'", str(error))


@contextmanager
def no_ids_in_errors(surface: Surface) -> Iterator[None]:
    """Keep what others say of an error from Dagster, where no ids are shown: it may quote rows.

    The type and the stack stay. Our own errors quote no ids, only what they were raised from may.
    """
    try:
        yield
    except (RecsysAssetsError, dg.DagsterError, dg.Failure) as error:
        if surface.shows_ids:
            raise
        raise error from None
    except Exception as error:
        if surface.shows_ids:
            raise
        raise UntoldError(
            f"{type(error).__name__}. What it says may hold ids, and `pages.show_ids` is false: do "
            "the same in a notebook to read it"
        ).with_traceback(error.__traceback__) from None


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
