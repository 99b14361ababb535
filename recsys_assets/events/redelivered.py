"""Events that were delivered again: which they are, and the file of a day without them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import polars as pl
import pyarrow.parquet as pq

from recsys_assets.contracts import row_hash
from recsys_assets.events.writers import EventsWriter, numbered, rewrite

_BUCKET_ROWS: Final = 2_000_000
# Where an event stands; all else is what it is known by.
_STANDS_AT: Final = {"file", "line"}
# The earliest of the events that are known by the same stays.
_ORDER: Final = ("ts", "file", "line")


def event_fields(columns: Iterable[str]) -> list[str]:
    """Return the columns that an event is known by; those that agree in them are the same event."""
    return [name for name in columns if name not in _STANDS_AT]


def known_by(columns: Iterable[str], deduplicate_by: str | None) -> list[str]:
    """Return the columns that an event is known by, with the key of that name or without it."""
    if deduplicate_by is None:
        return event_fields(columns)
    return [name for name in columns if name in {deduplicate_by, "part"}]


def event_hash(known_by: Sequence[str]) -> pl.Expr:
    """Give the hash of what an event is known by."""
    return row_hash(known_by).alias("hash")


class HashingWriter(EventsWriter):
    """Writes events, and keeps the hashes of those with a request_id, in order."""

    def __init__(self, path: Path, dtypes: Mapping[str, Any], known_by: Sequence[str]) -> None:
        """Begin a file with columns of some types; those of `known_by` are hashed."""
        super().__init__(path, dtypes)
        self.path, self.dtypes, self.known_by = path, dtypes, known_by
        self.hashes: list[pl.Series] = []

    def write(self, frame: pl.DataFrame) -> None:
        """Append events."""
        known = frame
        if frame["request_id"].null_count():
            known = frame.filter(pl.col("request_id").is_not_null())
        self.hashes.append(known.select(event_hash(self.known_by)).to_series())
        super().write(frame)


def others_writer(path: Path, of: HashingWriter) -> HashingWriter:
    """Begin a file of the events that other days have, as far as they tell which one stays."""
    needed = {*_ORDER, *of.known_by, "item_id"}
    dtypes = {name: dtype for name, dtype in of.dtypes.items() if name in needed}
    return HashingWriter(path, dtypes, of.known_by)


class Dropped(NamedTuple):
    """How many events were dropped, and how many of them are of another item than what stays."""

    events: int
    other_items: int


def drop_redelivered(day: HashingWriter, others: HashingWriter | None = None) -> Dropped:
    """Rewrite the file of a day without events that repeat an earlier one.

    Hashes only find the candidates; whether two events are the same is decided on what they are
    known by. Candidates are looked at in buckets of hashes, row group by row group, of which each
    event goes on once: so neither a day that was delivered twice nor an event that was repeated for
    hours takes more memory than a bucket.

    Args:
        day: its events, written.
        others: those that other days have, of which one may be the earlier one.
    """
    written = [day, others] if others else [day]
    hashes = [chunk for of in written for chunk in of.hashes]
    if not hashes:
        return Dropped(0, 0)
    in_order = pl.concat(hashes)
    ordered = in_order.sort()
    repeated = ordered.filter(ordered == ordered.shift()).unique()
    if repeated.is_empty():
        return Dropped(0, 0)
    is_repeated = in_order.is_in(repeated.implode())
    # About as many as go on from the row groups, which are somewhat larger than chunks.
    candidates, start = 0, 0
    for chunk in hashes:
        candidates += chunk.filter(is_repeated.slice(start, chunk.len())).n_unique()
        start += chunk.len()
    buckets = 1 + candidates // _BUCKET_ROWS
    paths = [of.path for of in written]
    found = [
        _repeats(paths, is_repeated & (in_order % buckets == bucket), day.known_by)
        for bucket in range(buckets)
    ]
    repeats = pl.concat(rows for rows, _ in found)
    if repeats.is_empty():
        return Dropped(0, 0)
    with pq.ParquetFile(day.path) as whole:
        rows = whole.metadata.num_rows
    is_kept = pl.repeat(value=True, n=rows, eager=True).scatter(repeats, False)
    rewrite(day.path, day.dtypes, lambda at, group: group.filter(is_kept.slice(at, group.height)))
    return Dropped(len(repeats), sum(other_items for _, other_items in found))


def _repeats(
    paths: Sequence[Path], is_candidate: pl.Series, known_by: Sequence[str]
) -> tuple[pl.Series, int]:
    """Return the rows, in any order, of the day's events that repeat an earlier candidate.

    And how many of them are of another item than that one.

    Args:
        paths: the day's events, and those of other days.
        is_candidate: of each event with a request_id, in order, whether it is looked at.
        known_by: what an event is known by.
    """
    needed = list(dict.fromkeys([*_ORDER, "item_id", *known_by]))
    found: list[tuple[pl.Series, int]] = []
    firsts, passed = [], 0
    for path in paths:
        row = pl.col("row") if path == paths[0] else pl.lit(None, pl.UInt32).alias("row")
        with pq.ParquetFile(path) as whole:
            for start, group in numbered(whole):
                with_rows = group.with_row_index("row", start)
                known = with_rows.filter(pl.col("request_id").is_not_null())
                candidates = known.filter(is_candidate.slice(passed, known.height))
                passed += known.height
                first, later = _earliest(candidates.select(row, *needed), known_by)
                firsts.append(first)
                found.append(later)
    found.append(_earliest(pl.concat(firsts), known_by)[1])
    return pl.concat(rows for rows, _ in found), sum(other_items for _, other_items in found)


def _earliest(
    events: pl.DataFrame, known_by: Sequence[str]
) -> tuple[pl.DataFrame, tuple[pl.Series, int]]:
    """Return the earliest of the events that are known by the same.

    And, of the others that are the day's, the rows and how many are of another item.
    """
    if "ts" not in known_by:  # otherwise they are in order: those that agree in it are
        events = events.sort(_ORDER)
    is_first = events.select(pl.struct(known_by).is_first_distinct()).to_series()
    is_later = ~is_first & events["row"].is_not_null()
    other_items = 0
    if "item_id" not in known_by and is_later.any():
        item = pl.col("item_id")
        is_other = events.select(item != item.first().over(known_by)).to_series()
        other_items = int((is_other & is_later).sum())
    return events.filter(is_first), (events["row"].filter(is_later), other_items)
