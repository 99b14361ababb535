"""What becomes of a piece of raw events: events, refused lines, and what is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl

from recsys_assets.places import Place


@dataclass(frozen=True, slots=True)
class RefusedLine:
    """A raw line that is no exposure event v1, with a reason to count by and a detail to read."""

    line: int
    reason: str
    detail: str
    raw: bytes
    counted_bytes: int | None = None  # where `raw` is more or less than the line

    @property
    def size_bytes(self) -> int:
        """Size of the line with its newline; of an entry of a line, its part of that."""
        return len(self.raw) + 1 if self.counted_bytes is None else self.counted_bytes


@dataclass
class ParsedChunk:
    """What became of one chunk: `events` has every canonical column but `file`.

    A session that is null is none. Where an entry of a line is an event, `lines` counts entries.
    """

    events: pl.DataFrame
    refused: list[RefusedLine] = field(default_factory=list)
    lines: int = 0  # without blank ones
    size_bytes: int = 0  # of all lines, each with its newline
    outside_window: int = 0
    other_surface: int = 0
    left_out: int = 0  # what `where` leaves out, and lines without an entry


class RefusedError(Exception):
    """A line is no event: why, in a word to count by and in a detail to read."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason)
        self.reason, self.detail = reason, detail


def keep(
    read: pl.DataFrame, kept: Mapping[str, Any], *, place: Place, day: date | None
) -> tuple[pl.DataFrame, Counter[str]]:
    """Return the events of a surface and day, and how many are of others.

    Args:
        read: with `ts`, and `tenant` and `surface` where rows may be of others.
        kept: the columns that are returned.
        place: whose events are kept.
        day: UTC day that is kept; None keeps all of them.
    """
    ours = read
    for name, owner in (("tenant", place.tenant), ("surface", place.surface)):
        if name in read.columns:
            ours = ours.filter(pl.col(name) == owner)
    within = pl.lit(value=True)
    if day is not None:
        start = datetime(day.year, day.month, day.day, tzinfo=UTC)
        within = pl.col("ts").is_between(start, start + timedelta(days=1), closed="left")
    events = ours.lazy().filter(within).select(*kept).collect()
    return events, Counter(
        other_surface=read.height - ours.height, outside_window=ours.height - events.height
    )
