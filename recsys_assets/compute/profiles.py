"""What is kept of a day to judge later ones by: some numbers, and a sample of its events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final

import polars as pl

from recsys_assets.compute.day_counts import DayCounts
from recsys_assets.compute.samples import Sample, take_sample

HOURS: Final = 24


@dataclass(frozen=True)
class Profile:
    """A day as later days see it.

    Attributes:
        day: UTC.
        numbers: by name, those of `judging.NUMBERS` that the day has.
        by_hour: events in each of the 24 UTC hours.
        sample: of its events.
        reference_days: days that it was replayed against.
        used: of each number that was judged, which part of its margin it was off; above 1, or below
            -1, is too far.
        failed: checks of gates that found it unsound, whatever became of that.
    """

    day: date
    numbers: Mapping[str, float]
    by_hour: Sequence[int]
    sample: Sample
    reference_days: int = 0
    used: Mapping[str, float] = field(default_factory=dict)
    failed: Sequence[str] = ()

    @property
    def is_empty(self) -> bool:
        """Whether the day has no events, so that it says nothing of other days."""
        return not self.numbers["rows"]


def profile_of(
    day: date,
    counts: DayCounts,
    by_hour: Sequence[int],
    *,
    most: int,
    known: pl.Series | None = None,
) -> Profile:
    """Return the profile of a day by itself.

    Args:
        day: UTC.
        counts: of its events.
        by_hour: events in each of the 24 UTC hours.
        most: events in the sample, about.
        known: ids of the items of the catalog; None where there is none.
    """
    rows, users, sessions = sum(by_hour), counts.user_sizes, counts.session_sizes
    known_rows = int(users["events"].sum())
    sample = take_sample(
        counts.events, users["user_id"], rows=rows, anonymous=rows - known_rows, most=most
    )
    numbers: dict[str, float] = {"rows": rows, "sessions": sessions.height}
    if rows:
        numbers |= {
            "length": rows / sessions.height,
            "repeats": sample.repeats,
            "no_user": 1 - known_rows / rows,
            "shared_sessions": counts.sessions_of_several_users() / sessions.height,
            "top_item": _most(counts.items["count"]) / rows,
            "top_session": _most(sessions["events"]) / rows,
        }
        if users.height:
            numbers["top_user"] = _most(users["events"]) / rows
        if known is not None:
            # The items of the day are few beside those of a catalog.
            listed = known.filter(known.is_in(counts.item_ids.implode())).to_frame("item_id")
            unknown = counts.items.join(listed, on="item_id", how="anti")
            numbers["uncatalogued"] = int(unknown["count"].sum()) / rows
    return Profile(day, numbers, list(by_hour), sample)


def hours_of(events: pl.LazyFrame) -> list[int]:
    """Count the events, contract `canonical_event`, of each of the 24 UTC hours."""
    found = events.group_by(hour=pl.col("ts").dt.hour()).len("events").collect(engine="streaming")
    by_hour = [0] * HOURS
    for hour, count in found.iter_rows():
        by_hour[hour] = count
    return by_hour


def _most(counts: pl.Series) -> int:
    return int(counts.max())  # type: ignore[arg-type]
