"""What sources of mapped rows have in common; Pandera is imported where rows are mapped only."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import polars as pl
import pyarrow as pa

from recsys_assets.config import Surface
from recsys_assets.config.sources import DECIDE_EVENTS, Source
from recsys_assets.errors import RawEventsError
from recsys_assets.events.sources.files import Files

if TYPE_CHECKING:
    from recsys_assets.events.mapping import Rules
    from recsys_assets.events.parsed import ParsedChunk

# Part of the identity of mapped sources: raise it when the same rows would give other events.
MAPPING_FORMAT: Final = 1


def identity_of(source: Source) -> dict[str, Any]:
    """Return what decides, besides the rows, which events a mapped source gives."""
    include = {*DECIDE_EVENTS}
    if source.is_table_of_files:  # it is known by its files, whatever it is called
        include.remove("table")
    keys = source.model_dump(mode="json", by_alias=True, exclude_defaults=True, include=include)
    return {"type": source.type, "format": MAPPING_FORMAT, **keys}


def rules_of(source: Source, names: Collection[str] | None = None) -> Rules:
    """Return how rows are mapped: as configured, else by the canonical names.

    Args:
        source: what is configured.
        names: of the fields that the rows have; None where every row has its own.
    """
    from recsys_assets.events.mapping import Rules, same_names

    return Rules(source, source.columns or same_names(names, source))


def columns_read(source: Source, names: Sequence[str]) -> list[str]:
    """Return the columns that the mapping reads, of those that there are."""
    from recsys_assets.events.fields import steps

    fields = [
        *rules_of(source, names).fields,
        *([source.explode.field] if source.explode else []),
    ]
    return [name for name in names if any(name in {field, steps(field)[0][0]} for field in fields)]


def refuse_other_fields(surface: Surface, empty: pl.DataFrame, location: str) -> None:
    """Refuse rows that lack a field, or have one that no row of them can be mapped with.

    Args:
        surface: whose source they are of.
        empty: their columns.
        location: of the rows.

    Raises:
        RawEventsError: says which, and what there is.
    """
    from recsys_assets.events.fields import LINE, UnknownFieldError
    from recsys_assets.events.rows import map_frame

    try:
        map_frame(
            empty.with_columns(pl.lit(None, pl.Int64).alias(LINE)),
            rules_of(surface.source, empty.columns),
            place=surface.place,
            day=surface.start_date,
        )
    except UnknownFieldError as error:
        raise RawEventsError(
            f"{location}: {error}. Say in source.columns which fields are which."
        ) from None


class Ragged(NamedTuple):
    """A row that has not as many fields as the header."""

    line: int
    problem: str
    text: bytes


class Rows(NamedTuple):
    """Rows that follow one another in an input; `ragged` ones stand between those of `batch`."""

    first_line: int
    batch: pa.RecordBatch
    ragged: Sequence[Ragged] = ()


class MappedRows:
    """What a source of rows is known by whose fields are columns."""

    surface: Surface

    @property
    def identity(self) -> Mapping[str, Any]:
        """Which rows are read, in which order, and how they are mapped; not from where."""
        return identity_of(self.surface.source)

    @property
    def tag(self) -> str:
        """The picture of the type."""
        return self.surface.source.type


class MappedFiles(MappedRows, Files):
    """Files of rows whose fields are columns. A format says how a file is split into `Rows`."""

    @property
    def description(self) -> str:
        """Pattern and path."""
        return f"Events as they land, a row of {self.surface.source.type} each: {self.where}."

    def parse(self, piece: Rows, day: date | None) -> ParsedChunk:
        """Map rows."""
        from recsys_assets.events.fields import LINE
        from recsys_assets.events.parsed import RefusedLine
        from recsys_assets.events.rows import map_frame

        frame = pl.DataFrame(piece.batch)
        first, after = piece.first_line, piece.first_line + frame.height + len(piece.ragged)
        lines = pl.int_range(first, after, eager=True).alias(LINE)
        if piece.ragged:
            lines = lines.filter(~lines.is_in([row.line for row in piece.ragged]))
        rules = rules_of(self.surface.source, frame.columns)
        result = map_frame(frame.with_columns(lines), rules, place=self.surface.place, day=day)
        refused = [
            # A quote that does not end takes further lines with it, and each of them is lost.
            RefusedLine(row.line, "wrong_fields", row.problem, b"" if number else row.text, 1)
            for row in piece.ragged
            for number in range(row.text.count(b"\n") + 1)
        ]
        result.refused = sorted([*result.refused, *refused], key=lambda row: row.line)
        result.lines += len(refused)
        result.size_bytes += len(refused)
        return result
