"""Built sessions that may go on after midnight.

A day is made alone, so a built session ends with it. Days that are put together join the last one
of a user to the first one of the next day where the pause between them is within a session.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import polars as pl

from recsys_assets.compute.codes import with_codes

# What the ids of built sessions begin with, and no other's should.
BUILT: Final = "gap "
_DAY: Final = timedelta(days=1)


def find_edges(events: pl.LazyFrame, sessions: pl.Series, gap: timedelta) -> pl.DataFrame:
    """Return the first and the last built session of each user, of those that `gap` may join.

    Args:
        events: of one day.
        sessions: their `session_id`, ascending.
        gap: the longest pause within a session.

    Returns:
        `user_id`; `is_last`, which of the two it is; `ts` of the first event of the one, or of the
        last event of the other; `session_id_code`, its place in `sessions`.
    """
    since_midnight = pl.col("ts") - pl.col("ts").dt.truncate("1d")
    built = events.filter(pl.col("session_id").str.starts_with(BUILT))
    in_time = pl.col("ts", "session_id").sort_by("ts")
    first = built.filter(since_midnight <= gap).group_by("user_id").agg(in_time.first())
    last = built.filter(_DAY - since_midnight <= gap).group_by("user_id").agg(in_time.last())
    return (
        pl.concat([first.with_columns(is_last=False), last.with_columns(is_last=True)])
        .pipe(with_codes, sessions)
        .sort("user_id", "is_last")
        .collect(engine="streaming")
    )
