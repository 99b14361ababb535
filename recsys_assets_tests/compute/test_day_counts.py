"""Counting day by day, and putting a window together, is counting the window at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from recsys_assets.compute import lists, window_counts
from recsys_assets.compute.cooc import count_cooccurrence
from recsys_assets.compute.day_counts import DayCounts
from recsys_assets.compute.implicit import count_user_exposures
from recsys_assets.compute.popularity import count_exposures
from recsys_assets.compute.session_seq import count_next_items
from recsys_assets.compute.window_counts import WindowCounts
from recsys_assets_tests import strategies
from recsys_assets_tests.frames import Event, events_frame, sessions

TABLES = {"items", "users", "sessions", "first_items", "user_items", "baskets"}
CUTS = st.fixed_dictionaries(
    {
        "max_neighbours": st.integers(1, 4),
        "min_support": st.integers(1, 3),
        "max_items": st.integers(1, 5),
        "max_items_per_session": st.integers(1, 6),
        "top_n": st.integers(1, 4),
    }
)


class Kept(dict[str, pl.DataFrame]):
    """Tables kept in memory."""

    def read(self, table: str) -> pl.DataFrame | None:
        return self.get(table)

    def write(self, table: str, frame: pl.DataFrame) -> None:
        assert table not in self
        self[table] = frame


def artifacts(days: Sequence[DayCounts], cuts: dict[str, int]) -> dict[str, Any]:
    options: dict[str, Any] = dict(cuts)
    top_n = options.pop("top_n")
    counts = days[0] if len(days) == 1 else WindowCounts(days)
    cooc = count_cooccurrence(counts, **options)
    return {
        "popularity": count_exposures(days, top_n=top_n).collect().rows(),
        "cooc": cooc.neighbours.collect().rows(),
        "sessions": (cooc.sessions, cooc.oversized_sessions),
        "implicit": count_user_exposures(counts, top_n=top_n).collect().rows(),
        "session_seq": count_next_items(counts, top_n=top_n).collect().rows(),
    }


def by_day(events: pl.DataFrame) -> list[pl.DataFrame]:
    """Split events as if each of the four seconds were a day; some are empty."""
    return [events.filter(pl.col("ts").dt.second() == second) for second in range(4)]


def counted(days: Sequence[pl.DataFrame], kept: Sequence[Kept]) -> list[DayCounts]:
    return [DayCounts(day.lazy(), keep) for day, keep in zip(days, kept, strict=True)]


@given(strategies.events(), CUTS, st.integers(1, 4), st.sampled_from([0, 10_000_000]))
def test_days_put_together_are_the_window_counted_at_once(
    events: list[Event], cuts: dict[str, int], block_rows: int, most_shared: int
) -> None:
    frame = events_frame(events)

    with pytest.MonkeyPatch.context() as patch:
        for module in (lists, window_counts):
            patch.setattr(module, "BLOCK_ROWS", block_rows)
        patch.setattr(window_counts, "_MOST_SHARED_ROWS", most_shared)
        together = artifacts([DayCounts(day.lazy()) for day in by_day(frame)], cuts)

    assert together == artifacts([DayCounts(frame.lazy())], cuts)


@given(strategies.events(), CUTS)
def test_kept_counts_give_what_the_events_give(events: list[Event], cuts: dict[str, int]) -> None:
    days = by_day(events_frame(events))
    kept = [Kept() for _ in days]
    first = artifacts(counted(days, kept), cuts)

    nothing = [events_frame([]) for _ in days]
    again = artifacts(counted(nothing, kept), cuts)

    assert again == first
    assert all(set(keep) == TABLES for keep in kept)


@given(strategies.shuffled_events())
def test_a_small_day_is_counted_as_a_large_one(drawn: tuple[list[Event], list[Event]]) -> None:
    """Its codes are looked up once, and not by a join for each table."""
    in_order, shuffled = map(events_frame, drawn)

    small, large = DayCounts(shuffled.lazy(), rows=len(shuffled)), DayCounts(in_order.lazy())

    for name in sorted(TABLES):
        assert getattr(small, name).equals(getattr(large, name)), name


@given(strategies.events(), CUTS, strategies.events(max_size=10))
def test_late_events_in_the_middle_of_the_window_are_counted(
    events: list[Event], cuts: dict[str, int], late: list[Event]
) -> None:
    """The kept counts of the other days are used again, those of the day are not."""
    days = by_day(events_frame(events))
    kept = [Kept() for _ in days]
    artifacts(counted(days, kept), cuts)
    moved = [event._replace(second=1, line=1000 + at) for at, event in enumerate(late)]
    days[1] = pl.concat([days[1], events_frame(moved)])
    kept[1] = Kept()

    again = artifacts(counted(days, kept), cuts)

    assert again == artifacts([DayCounts(pl.concat(days).lazy())], cuts)


def test_a_session_over_midnight_counts_once() -> None:
    days = [DayCounts(sessions(s1="ab").lazy()), DayCounts(sessions(s1="abc", s2="ab").lazy())]

    found = count_cooccurrence(
        WindowCounts(days), max_neighbours=9, min_support=1, max_items=9, max_items_per_session=9
    )

    assert found.neighbours.collect().rows() == [
        ("a", "b", 2), ("a", "c", 1), ("b", "a", 2), ("b", "c", 1), ("c", "a", 1), ("c", "b", 1),
    ]  # fmt: skip
    assert found.sessions == 2


def test_a_session_that_is_too_large_only_together_is_left_out() -> None:
    days = [DayCounts(sessions(s1="ab", s2="yz").lazy()), DayCounts(sessions(s1="cd").lazy())]

    found = count_cooccurrence(
        WindowCounts(days), max_neighbours=9, min_support=1, max_items=9, max_items_per_session=3
    )

    assert found.neighbours.collect().rows() == [("y", "z", 1), ("z", "y", 1)]
    assert (found.sessions, found.oversized_sessions) == (2, 1)


def test_only_the_first_event_of_the_window_is_left_out_not_of_each_day() -> None:
    days = [
        DayCounts(events_frame([("u", "s", "a")]).lazy()),
        DayCounts(events_frame([("u", "s", "a"), ("v", "s", "b")]).lazy()),
    ]

    assert count_next_items(WindowCounts(days), top_n=9).collect().rows() == [
        ("u", "a", 1.0),
        ("v", None, None),
    ]


def test_counting_leaves_the_counts_of_a_day_as_they_are() -> None:
    day = DayCounts(events_frame([("u", "s", "a"), ("u", "s", "a")]).lazy())
    before = day.user_items.clone()

    count_next_items(day, top_n=9).collect()

    assert_frame_equal(day.user_items, before)
    assert day.user_items["count"].to_list() == [2]


def test_no_more_is_counted_than_an_artifact_asks_for() -> None:
    kept = Kept()

    count_exposures([DayCounts(events_frame([("u", "s", "a")]).lazy(), kept)], top_n=9)

    assert set(kept) == {"items"}


def test_exposures_that_32_bits_do_not_hold_are_added_up_or_refused() -> None:
    kept = Kept()
    day = DayCounts(events_frame([("u", "s", "a")]).lazy(), kept)
    kept["items"] = day.items.with_columns(count=pl.lit(2**32 - 1, pl.UInt32))
    kept["user_items"] = day.user_items.with_columns(count=pl.lit(2**32 - 1, pl.UInt32))
    days = [DayCounts(events_frame([("u", "s", "a")]).lazy(), kept) for _ in range(2)]

    assert count_exposures(days, top_n=9).collect().rows() == [("a", 2**33 - 2)]
    with pytest.raises(pl.exceptions.InvalidOperationError):
        count_user_exposures(WindowCounts(days), top_n=9)
