"""Sessions of the events that have none: built by the pauses of a user, or one an event.

Sessions are built once the day is read, since events come in any order of time. What is held is 8
bytes an event of the day, and a bucket of users: some 150 bytes for each of about 2 million events.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import polars as pl

from recsys_assets.compute.built import BUILT
from recsys_assets.contracts import TIMESTAMP
from recsys_assets.events.writers import rewrite

_BUCKET_ROWS: Final = 2_000_000


def give_sessions(
    path: Path, dtypes: Mapping[str, Any], *, day: date, gap: timedelta | None
) -> int:
    """Rewrite a staged day with a session for each event that has none; return how many were built.

    Events of one user that follow each other within `gap` are one session, known by the user and
    the time of its first event. Only events without a session are looked at: one that has an id
    keeps it, and parts or joins no others. An event without a user is a session of its own.

    Args:
        path: the events, of which some lack a session.
        dtypes: their columns.
        day: of the events.
        gap: the longest pause within a session; None makes each event a session of its own.
    """
    starts, built = _starts(path, gap) if gap is not None else (None, 0)
    at = [name for name in ("file", "line", "part") if name in dtypes]
    own = pl.concat_str(pl.lit(f"none {day}"), *at, separator=" ")

    def change(first: int, group: pl.DataFrame) -> pl.DataFrame:
        ids = [pl.col("session_id"), own]
        if starts is not None:
            ids.insert(1, _built_id(pl.lit(starts.slice(first, group.height))))
        return group.with_columns(session_id=pl.coalesce(ids))

    rewrite(path, dtypes, change)
    return built


def _built_id(start: pl.Expr) -> pl.Expr:
    """Give the id of a session by its user and its first event; null where there is none."""
    moment = start.dt.strftime("%Y-%m-%dT%H:%M:%S%.fZ")
    return pl.concat_str(pl.lit(BUILT) + moment, "user_id", separator=" ")


def _starts(path: Path, gap: timedelta) -> tuple[pl.Series, int]:
    """Return when the session of each event begins, null where none is built, and their number."""
    events = pl.scan_parquet(path, glob=False).select("ts", "user_id", "session_id")
    rows = events.select(pl.len()).collect().item()
    starts = pl.repeat(None, rows, dtype=TIMESTAMP, eager=True)
    built, buckets = 0, 1 + rows // _BUCKET_ROWS
    user, ts = pl.col("user_id"), pl.col("ts")
    is_start = user.ne_missing(user.shift()) | (ts - ts.shift() > gap)
    for bucket in range(buckets):
        some = (
            events.with_row_index("row")
            .filter(pl.col("session_id").is_null(), user.is_not_null())
            .filter(user.hash() % buckets == bucket)
            .select("row", "user_id", "ts")
            .collect(engine="streaming")
            .sort("user_id", "ts")
            .select("row", start=pl.when(is_start).then(ts), is_start=is_start)
        )
        built += int(some["is_start"].sum())
        starts = starts.scatter(some["row"], some["start"].forward_fill())
    return starts, built
