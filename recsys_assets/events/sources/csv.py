"""Rows of separated values in files, with the user's own columns: `source.type: csv`."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Final

import pyarrow as pa
import pyarrow.csv as pc

from recsys_assets.config import Surface
from recsys_assets.errors import RawEventsError
from recsys_assets.events.chunks import BOM, CHUNK_BYTES
from recsys_assets.events.forms import Text
from recsys_assets.events.sources.mapped import MappedFiles, Ragged, Rows
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
        ragged: list[Ragged] = []
        empty = pa.record_batch([pa.array([], pa.binary())] * len(names), names)
        self.check(empty, location)

        def set_aside(row: pc.InvalidRow) -> str:
            raw = (row.text or "").encode()
            problem = f"{row.actual_columns} fields, expected {row.expected_columns}"
            ragged.append(Ragged(row.number, problem, raw))
            return "skip"

        one = len(source.delimiter.encode()) == 1
        reader = pc.open_csv(
            pa.PythonFile(_Stream(text, b"" if one else source.delimiter.encode())),
            read_options=pc.ReadOptions(
                use_threads=False,
                block_size=CHUNK_BYTES,
                column_names=names,
                skip_rows_after_names=int(source.header),
            ),
            parse_options=pc.ParseOptions(
                delimiter=source.delimiter if one else _ONE.decode(),
                quote_char=source.quote or False,
                newlines_in_values=bool(source.quote),
                invalid_row_handler=set_aside,
            ),
            convert_options=pc.ConvertOptions(
                # Not texts: one byte that is no UTF-8 would fail the file, not its row.
                column_types=dict.fromkeys(names, pa.binary()),
                strings_can_be_null=False,
            ),
        )
        line = 1 + source.header
        for batch in reader:
            ahead = sum(row.line < line + batch.num_rows + at for at, row in enumerate(ragged))
            yield Rows(line, batch, ragged[:ahead])
            del ragged[:ahead]
            line += batch.num_rows + ahead
        if ragged:
            yield Rows(line, empty, ragged)

    def _header(self, text: Text, location: str) -> list[str]:
        """Return the names of the columns."""
        source = self.surface.source
        head = text.beginning.removeprefix(BOM).decode(errors="replace")
        delimiter = source.delimiter
        if len(delimiter) > 1:
            head, delimiter = head.replace(delimiter, _ONE.decode()), _ONE.decode()
        quoting = csv.QUOTE_MINIMAL if source.quote else csv.QUOTE_NONE
        rows = csv.reader(
            io.StringIO(head, newline=""),
            delimiter=delimiter,
            quotechar=source.quote or None,
            quoting=quoting,
        )
        names = [name.strip() for name in next((row for row in rows if row), [])]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise RawEventsError(
                f"{location}: two columns are called {', '.join(map(repr, repeated))}: say `names` in the source"
            )
        return names


class _Stream(io.RawIOBase):
    """A text as pyarrow reads it, a delimiter of several characters as one."""

    def __init__(self, text: Text, delimiter: bytes) -> None:
        self._text = text
        self._delimiter = delimiter
        self._left = b""  # may begin with, or be, what a delimiter begins with
        self._ended = False

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        if not self._delimiter:
            return self._text.read(size)
        while not self._ended:
            data = self._text.read(size)
            self._ended = not data
            data = (self._left + data).replace(self._delimiter, _ONE)
            held = 0 if self._ended else len(self._delimiter) - 1
            self._left = data[len(data) - held :]
            if out := data[: len(data) - held]:
                return out
        return b""
