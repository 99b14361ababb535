"""The day of a raw line, by the same rules by which it is parsed later."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import polars as pl

from recsys_assets.config.columns import Columns
from recsys_assets.config.sources import Source
from recsys_assets.events.chunks import Chunk
from recsys_assets.events.mapping import Rules
from recsys_assets.events.rows import map_json_lines
from recsys_assets.places import Place

_ANY: Final = Place("-", "-")  # whose lines they are is not asked
# Years that a day is written with in four digits.
_LAST_MS: Final = 4_102_444_800_000


def time_rules(source: Source) -> Rules:
    """Return how the time of a line of JSON is read, and nothing else of it."""
    ts = source.columns.ts if source.columns else "ts"
    columns = Columns.model_validate({"ts": ts, "item_id": {"value": "-"}})
    kept: dict[str, Any] = {"where": {}, "weight": None, "no_session": []}
    return Rules(source.model_copy(update=kept), columns)


def days_of_lines(lines: Sequence[bytes], otherwise_ms: Sequence[int], rules: Rules) -> pl.Series:
    """Return the UTC day of each line, as YYYY-MM-DD.

    Of a line whose entries are events it is the day of the first one.

    Args:
        lines: without newlines.
        otherwise_ms: for lines whose time cannot be read, a moment in milliseconds since 1970.
        rules: of `time_rules`.
    """
    chunk = Chunk(1, b"\n".join(lines))
    read = map_json_lines(chunk, rules, place=_ANY, day=None).events
    own = read.select("line", own="ts").unique("line", keep="first", maintain_order=True)
    numbers = pl.int_range(1, len(lines) + 1, dtype=pl.Int64, eager=True).alias("line")
    other = pl.Series("other", otherwise_ms, pl.Int64).clip(0, _LAST_MS)
    return (
        pl.DataFrame([numbers, other])
        .join(own, on="line", how="left", maintain_order="left")
        .select(
            pl.coalesce(
                pl.col("own").dt.date(), pl.from_epoch("other", time_unit="ms").dt.date()
            ).dt.to_string("%Y-%m-%d")
        )
        .to_series()
    )
