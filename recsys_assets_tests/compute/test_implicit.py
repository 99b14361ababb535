from __future__ import annotations

from collections import Counter

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from recsys_assets.compute.day_counts import DayCounts
from recsys_assets.compute.implicit import count_user_exposures
from recsys_assets.contracts import ARTIFACTS
from recsys_assets_tests import strategies
from recsys_assets_tests.frames import Event, events_frame, shown


def run(events: pl.DataFrame, *, top_n: int = 500) -> pl.DataFrame:
    return count_user_exposures(DayCounts(events.lazy()), top_n=top_n).collect()


def test_the_score_is_how_often_the_user_was_shown_the_item_in_any_session() -> None:
    events = events_frame([("u", "s", "a"), ("u", "s", "a"), ("u", "t", "a"), ("v", "s", "a")])

    assert run(events).rows() == [("u", "a", 3.0), ("v", "a", 1.0)]


def test_events_without_a_user_are_skipped() -> None:
    assert run(events_frame([(None, "s", "a"), ("u", "s", "b")])).rows() == [("u", "b", 1.0)]


def test_the_highest_score_comes_first_and_ties_break_by_item_id() -> None:
    assert run(shown("b", "a", "c", "c")).rows() == [
        ("u", "c", 2.0),
        ("u", "a", 1.0),
        ("u", "b", 1.0),
    ]


def test_users_and_items_are_in_the_order_of_utf8_bytes() -> None:
    events = events_frame((user, "s", item) for user in "😀\uffeeaB" for item in "é10")

    assert run(events).select("user_id", "item_id").rows() == [
        (user, item) for user in ["B", "a", "\uffee", "😀"] for item in ["0", "1", "é"]
    ]


def test_only_the_first_top_n_items_of_each_user_stay() -> None:
    events = events_frame(
        [("u", "s", "a"), ("u", "s", "b"), ("u", "s", "b"), ("v", "s", "d"), ("v", "s", "c")]
    )

    assert run(events, top_n=1).rows() == [("u", "b", 2.0), ("v", "c", 1.0)]


@pytest.mark.parametrize("rows", [[], [(None, "s", "a")]])
def test_no_events_with_a_user_give_no_rows_and_hold_the_contract(
    rows: list[tuple[str | None, str, str]],
) -> None:
    actual = run(events_frame(rows))

    assert actual.height == 0
    ARTIFACTS["implicit"].validate(actual, lazy=True)


@pytest.mark.parametrize("top_n", [0, -1])
def test_a_top_n_below_one_is_refused_with_its_value(top_n: int) -> None:
    with pytest.raises(ValueError, match=rf"top_n={top_n}$"):
        run(shown("a"), top_n=top_n)


@given(strategies.events(), st.integers(1, 5))
def test_agrees_with_brute_force(events: list[Event], top_n: int) -> None:
    expected: list[tuple[str, str, float]] = []
    for user in sorted({event.user_id for event in events if event.user_id is not None}):
        counts = Counter(event.item_id for event in events if event.user_id == user)
        ranked = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0].encode()))
        expected += [(user, item, float(n)) for item, n in ranked[:top_n]]

    assert run(events_frame(events), top_n=top_n).rows() == expected


@given(strategies.shuffled_events())
def test_row_order_of_events_is_irrelevant(both: tuple[list[Event], list[Event]]) -> None:
    ordered, shuffled = both

    assert_frame_equal(run(events_frame(shuffled)), run(events_frame(ordered)))


@given(strategies.events(), st.integers(1, 5))
def test_the_result_holds_its_contract(events: list[Event], top_n: int) -> None:
    ARTIFACTS["implicit"].validate(run(events_frame(events), top_n=top_n), lazy=True)
