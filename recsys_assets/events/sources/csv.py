"""Rows of separated values in files, with the user's own columns: `source.type: csv`."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Final

import polars as pl
import pyarrow as pa
import pyarrow.csv as pc

from recsys_assets.config import Surface
from recsys_assets.errors import RawEventsError
from recsys_assets.events.chunks import BOM, CHUNK_BYTES
from recsys_assets.events.forms import Text
from recsys_assets.events.sources.mapped import (
    MappedFiles,
    Ragged,
    Rows,
    columns_read,
    refuse_other_fields,
    rules_of,
)
from recsys_assets.events.sources.source import Source

# What stands for a delimiter of several characters: no text has it.
_ONE: Final = b"\x1f"


def open_source(surface: Surface) -> Source:
    """Return the source of a surface."""
    return SeparatedValues(surface)


class SeparatedValues(MappedFiles):
    """Files of rows; the number of a row counts those before it and the header."""

    def split(self, text: Text, location: str) -> Iterator[Rows]:
        """Yield rows as they follow one another, those that are ragged beside them."""
        source = self.surface.source
        names = source.names or self._header(text, location)
        if not names:  # an empty file has no header
            return
        if source.names and source.header:
            self._refuse_an_event_as_header(text, location)
        refuse_other_fields(
            self.surface, pl.DataFrame(schema=dict.fromkeys(names, pl.Binary)), location
        )
        columns = columns_read(source, names)
        ragged: list[Ragged] = []

        def set_aside(row: pc.InvalidRow) -> str:
            problem = f"{row.actual_columns} fields, expected {row.expected_columns}"
            ragged.append(Ragged(row.number, problem, row.text.encode()))
            return "skip"

        is_long = len(source.delimiter.encode()) > 1
        stream = _Stream(text, source.delimiter.encode() if is_long else b"")
        reader = pc.open_csv(
            pa.PythonFile(stream),
            read_options=pc.ReadOptions(
                use_threads=False,
                block_size=CHUNK_BYTES,
                column_names=names,
                skip_rows_after_names=int(source.header),
            ),
            parse_options=pc.ParseOptions(
                delimiter=_ONE.decode() if is_long else source.delimiter,
                quote_char=source.quote or False,
                newlines_in_values=bool(source.quote),
                invalid_row_handler=set_aside,
            ),
            convert_options=pc.ConvertOptions(
                # Not texts: one byte that is no UTF-8 would fail the file, not its row.
                column_types=dict.fromkeys(names, pa.binary()),
                include_columns=list(dict.fromkeys([*columns, names[-1]])),
                strings_can_be_null=False,
            ),
        )
        line, last = 1 + source.header, b""
        for batch in reader:
            ahead = sum(row.line < line + batch.num_rows + at for at, row in enumerate(ragged))
            yield Rows(line, batch, ragged[:ahead])
            line += batch.num_rows + ahead
            del ragged[:ahead]
            last = batch[names[-1]][-1].as_py() if batch.num_rows else b""
        if ragged:
            yield Rows(line, batch.slice(0, 0), ragged)
        elif b"\n" in last and not stream.ended_with(source.quote):
            raise RawEventsError(
                f"{location}: the quote that row {line - 1} opens does not end, and takes what "
                "follows with it. Nothing of the day was kept; mend it, or say in source.quote "
                'what fields are quoted with, `""` where quotes are plain text, and materialize '
                "the day."
            )

    def _first_row(self, text: Text) -> list[str]:
        """Return the fields of the first row, none of a file without rows."""
        source = self.surface.source
        head, delimiter = (
            text.beginning.removeprefix(BOM).decode(errors="replace"),
            source.delimiter,
        )
        if len(delimiter) > 1:
            head, delimiter = head.replace(delimiter, _ONE.decode()), _ONE.decode()
        rows = csv.reader(
            io.StringIO(head, newline=""),
            delimiter=delimiter,
            quotechar=source.quote or None,
            quoting=csv.QUOTE_MINIMAL if source.quote else csv.QUOTE_NONE,
        )
        return next((row for row in rows if row), [])

    def _refuse_an_event_as_header(self, text: Text, location: str) -> None:
        """Refuse a file whose first row would be passed over although it is an event."""
        from recsys_assets.events.fields import LINE
        from recsys_assets.events.rows import map_frame

        names, first = self.surface.source.names or [], self._first_row(text)
        if len(first) != len(names):
            return
        row = dict(zip(names, first, strict=True))
        frame = pl.DataFrame([row], dict.fromkeys(names, pl.String)).with_columns(
            pl.lit(1, pl.Int64).alias(LINE)
        )
        rules = rules_of(self.surface.source, names)
        found = map_frame(frame, rules, place=self.surface.place, day=None)
        if found.events.height or found.other_surface:
            raise RawEventsError(
                f"{location}: the first row is an event, and would be passed over as a header. "
                "Nothing of the day was kept; say `header: false` in source, or land files that "
                "all have one, and materialize the day."
            )

    def _header(self, text: Text, location: str) -> list[str]:
        """Return the names of the columns."""
        names = [name.strip() for name in self._first_row(text)]
        if len(names) == 1 and (others := set(",;|\t") & set(names[0])):
            raise RawEventsError(
                f"{location}: the header is one column, {names[0]!r}. Say what stands between two "
                f"fields, such as source.delimiter: {json.dumps(min(others))}."
            )
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise RawEventsError(
                f"{location}: columns are called {', '.join(map(repr, repeated))} twice. Give them "
                "other names with source.names."
            )
        return names


class _Stream(io.RawIOBase):
    """A text as pyarrow reads it: in whole blocks, and a delimiter of several characters as one."""

    def __init__(self, text: Text, delimiter: bytes) -> None:
        self._text = text
        self._delimiter = delimiter
        self._left = b""  # with which a delimiter may begin
        self._end = b""

    def readable(self) -> bool:
        return True

    def ended_with(self, quote: str) -> bool:
        """Tell whether the last line ended with a quote."""
        return self._end.rstrip(b"\r\n").endswith(quote.encode())

    def read(self, size: int = -1, /) -> bytes:
        block = self._left
        while len(block) < size and (data := self._text.read(size - len(block))):
            block += data
        is_last = len(block) < size
        self._end = (self._end + block)[-4:]
        if is_last and block and not block.endswith((b"\r", b"\n")):
            block += b"\n"  # a header alone is no row without one
        if not self._delimiter:
            return block
        block = block.replace(self._delimiter, _ONE)
        held = 0 if is_last else len(self._delimiter) - 1
        self._left = block[len(block) - held :]
        return block[: len(block) - held]
