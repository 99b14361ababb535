"""Lines of JSON of any shape, read at once where they are alike, by pyarrow.

It reads what Python's own reader reads, and nothing else: what the two disagree on is not given to
it. So what it cannot read goes through Python's, which says why a line is none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import polars as pl
import pyarrow as pa
import pyarrow.json as pj

# Lines that are not divided further in search of those that are not like the others.
_NOT_DIVIDED: Final = 500
# An object, or several: it ends on its line, because nothing in an open one begins with a brace.
_OBJECT: Final = r"^[ \t\r]*\{.*\}[ \t\r]*$"
# pyarrow takes these for numbers.
_NO_NUMBERS: Final = r"NaN|Inf"
# Python gives up on what is nested too deeply and on numbers with too many digits. Lines of fewer
# bytes hold neither.
_FEW_BYTES: Final = 400
_MANY_DIGITS: Final = rf"[0-9]{{{_FEW_BYTES}}}"


def read_objects(lines: pl.DataFrame, schema: pa.Schema) -> pl.DataFrame | None:
    """Read lines as objects with fields of some types; None where any is none, or has others.

    Args:
        lines: `text` of each.
        schema: fields, null where an object lacks them; whatever else it has is passed over. One
            that occurs twice is never read.
    """
    text = pl.col("text")
    is_doubtful = ~text.str.contains(_OBJECT) | text.str.contains(_NO_NUMBERS)
    long = lines.filter(text.str.len_bytes() > _FEW_BYTES)
    is_extreme = (text.str.count_matches(r"[\[{]") > _FEW_BYTES) | text.str.contains(_MANY_DIGITS)
    if lines.select(is_doubtful.any()).item() or long.select(is_extreme.any()).item():
        return None
    raw = lines["text"].str.join("\n").item().encode()
    try:
        table = pj.read_json(
            pa.BufferReader(raw),
            read_options=pj.ReadOptions(use_threads=False, block_size=len(raw) + 1),
            parse_options=pj.ParseOptions(
                explicit_schema=schema, unexpected_field_behavior="ignore"
            ),
        )
    except pa.ArrowInvalid:
        return None
    return pl.DataFrame(table) if table.num_rows == lines.height else None


def in_halves(
    lines: pl.DataFrame, read: Callable[[pl.DataFrame], pl.DataFrame | None]
) -> Iterator[tuple[pl.DataFrame, pl.DataFrame | None]]:
    """Yield lines with what was read of them, None where a few could not be read at once.

    A line that is not like the others costs its few neighbours, and not all of them.
    """
    if lines.is_empty():
        return
    found = read(lines)
    if found is not None or lines.height <= _NOT_DIVIDED:
        yield lines, found
        return
    half = lines.height // 2
    yield from in_halves(lines.head(half), read)
    yield from in_halves(lines.slice(half), read)
