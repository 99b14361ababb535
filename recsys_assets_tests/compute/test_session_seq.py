from __future__ import annotations

from collections import Counter

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from recsys_assets.compute.day_counts import DayCounts
from recsys_assets.compute.session_seq import count_next_items
from recsys_assets.contracts import ARTIFACTS
from recsys_assets_tests import strategies
from recsys_assets_tests.frames import Event, events_frame, shown


def run(events: pl.DataFrame, *, top_n: int = 500) -> pl.DataFrame:
    return count_next_items(DayCounts(events.lazy()), top_n=top_n).collect()


def test_every_item_but_the_first_of_the_user_is_a_next_item() -> None:
    assert run(shown("a", "b", "b", "a")).rows() == [("u", "b", 2.0), ("u", "a", 1.0)]


def test_an_item_that_comes_after_itself_counts() -> None:
    assert run(shown("a", "a")).rows() == [("u", "a", 1.0)]


def test_the_sequence_of_a_user_runs_across_sessions() -> None:
    assert run(events_frame([("u", "s1", "a"), ("u", "s2", "b")])).rows() == [("u", "b", 1.0)]


def test_the_first_event_is_the_earliest_not_the_first_row() -> None:
    events = events_frame([Event("u", "s", "late", 9), Event("u", "s", "early", 1)])

    assert run(events).rows() == [("u", "late", 1.0)]


def test_equal_times_are_told_apart_by_the_line_not_by_row_order() -> None:
    events = [Event("u", "s", "first", 0, 0, 1), Event("u", "s", "second", 0, 0, 2)]

    assert run(events_frame(reversed(events))).rows() == [("u", "second", 1.0)]


def test_equal_times_are_told_apart_by_the_file_before_the_line() -> None:
    events = [Event("u", "s", "first", 0, 1, 50), Event("u", "s", "second", 0, 2, 1)]

    assert run(events_frame(reversed(events))).rows() == [("u", "second", 1.0)]
    assert run(events_frame(events)).rows() == [("u", "second", 1.0)]


def test_the_time_goes_before_the_source_order() -> None:
    events = events_frame([Event("u", "s", "late", 9, 0, 1), Event("u", "s", "early", 1, 1, 1)])

    assert run(events).rows() == [("u", "late", 1.0)]


def test_times_are_told_apart_to_the_nanosecond() -> None:
    events = shown("late", "early").with_columns(
        ts=pl.Series([2, 1], dtype=pl.Int64).cast(pl.Datetime("ns", "UTC"))
    )

    assert run(events).rows() == [("u", "late", 1.0)]


def test_a_user_with_one_event_stays_as_one_row_of_nulls() -> None:
    events = events_frame(
        [("a", "s", "x"), ("b", "s", "x"), ("b", "s", "y"), ("c", "s", "x"), (None, "s", "x")]
    )

    assert run(events).rows() == [("a", None, None), ("b", "y", 1.0), ("c", None, None)]


def test_events_without_a_user_are_skipped() -> None:
    assert run(events_frame([(None, "s", "a"), (None, "s", "b")])).height == 0


def test_the_highest_score_comes_first_and_ties_break_by_item_id() -> None:
    assert run(shown("z", "b", "a", "c", "c")).rows() == [
        ("u", "c", 2.0),
        ("u", "a", 1.0),
        ("u", "b", 1.0),
    ]


def test_users_are_in_the_order_of_utf8_bytes() -> None:
    events = events_frame((user, "s", item) for user in "😀\uffeeaB" for item in "xy")

    assert run(events)["user_id"].to_list() == ["B", "a", "\uffee", "😀"]


def test_only_the_first_top_n_items_of_each_user_stay() -> None:
    actual = run(shown("z", "b", "a", "c", "c"), top_n=2)

    assert actual.rows() == [("u", "c", 2.0), ("u", "a", 1.0)]


def test_no_events_give_no_rows_and_hold_the_contract() -> None:
    actual = run(events_frame([]))

    assert actual.height == 0
    ARTIFACTS["session_seq"].validate(actual, lazy=True)


@pytest.mark.parametrize("top_n", [0, -1])
def test_a_top_n_below_one_is_refused_with_its_value(top_n: int) -> None:
    with pytest.raises(ValueError, match=rf"top_n={top_n}$"):
        run(shown("a"), top_n=top_n)


@given(strategies.events(), st.integers(1, 5))
def test_agrees_with_brute_force(events: list[Event], top_n: int) -> None:
    sequences: dict[str, list[Event]] = {}
    for event in sorted(events, key=lambda event: (event.second, event.file, event.line)):
        if event.user_id is not None:
            sequences.setdefault(event.user_id, []).append(event)
    expected: list[tuple[str, str | None, float | None]] = []
    for user, sequence in sorted(sequences.items()):
        counts = Counter(after.item_id for after in sequence[1:])
        ranked = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0].encode()))
        expected += [(user, item, float(n)) for item, n in ranked[:top_n]] or [(user, None, None)]

    assert run(events_frame(events), top_n=top_n).rows() == expected


@given(strategies.shuffled_events())
def test_row_order_of_events_is_irrelevant(both: tuple[list[Event], list[Event]]) -> None:
    ordered, shuffled = both

    assert_frame_equal(run(events_frame(shuffled)), run(events_frame(ordered)))


@given(strategies.events(), st.integers(1, 5))
def test_the_result_holds_its_contract(events: list[Event], top_n: int) -> None:
    ARTIFACTS["session_seq"].validate(run(events_frame(events), top_n=top_n), lazy=True)
