"""Small frames of canonical events, written as rows."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import NamedTuple

import polars as pl

from recsys_assets.compute.coded import Coded
from recsys_assets.compute.codes import codes_among
from recsys_assets.contracts import CANONICAL_DTYPES

DAY = date(2026, 1, 1)
_MIDNIGHT = datetime(2026, 1, 1)


class Event(NamedTuple):
    """One canonical event; what is left out says that the row stands where it happened."""

    user_id: str | None
    session_id: str
    item_id: str
    second: int | None = None
    file: int = 0
    line: int | None = None


def events_frame(rows: Iterable[Event | tuple[str | None, str, str]]) -> pl.DataFrame:
    """Build a frame of canonical events, `second` counted from midnight of `DAY`."""
    events = [Event(*row) for row in rows]
    return pl.DataFrame(
        [
            (
                _MIDNIGHT + timedelta(seconds=at if event.second is None else event.second),
                event.user_id,
                event.session_id,
                None,
                event.item_id,
                None,
                event.file,
                at + 1 if event.line is None else event.line,
            )
            for at, event in enumerate(events)
        ],
        schema=CANONICAL_DTYPES,
        orient="row",
    )


def shown(*items: str) -> pl.DataFrame:
    """Build a frame in which one user in one session sees `items`, one after the other."""
    return events_frame(("u", "s", item) for item in items)


def sessions(**items: str) -> pl.DataFrame:
    """Build a frame of anonymous sessions, each item one character: `sessions(s1="abc")`."""
    return events_frame((None, session, item) for session in items for item in items[session])


def coded(frame: pl.DataFrame, *columns: str) -> Coded:
    """Put codes in the place of the ids of some columns, which share their ids."""
    together = pl.concat([frame[column] for column in columns])
    ids = together.drop_nulls().unique().sort().alias("id")
    codes = [codes_among(ids, frame[column].alias("id")).alias(column) for column in columns]
    return Coded(frame.lazy().with_columns(codes), dict.fromkeys(columns, ids))
