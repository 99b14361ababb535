from __future__ import annotations

from collections import Counter

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from recsys_assets.compute.day_counts import DayCounts
from recsys_assets.compute.popularity import count_exposures
from recsys_assets.contracts import ARTIFACTS
from recsys_assets_tests import strategies
from recsys_assets_tests.frames import Event, events_frame, shown


def run(events: pl.DataFrame, *, top_n: int = 1000) -> pl.DataFrame:
    return count_exposures([DayCounts(events.lazy())], top_n=top_n).collect()


def test_every_exposure_counts_also_the_anonymous_and_the_repeated_in_a_session() -> None:
    events = events_frame([("u", "s", "a"), ("u", "s", "a"), (None, "s", "a"), ("v", "t", "b")])

    assert run(events).rows() == [("a", 3), ("b", 1)]


def test_the_most_exposed_item_comes_first_and_ties_break_by_item_id() -> None:
    assert run(shown("b", "a", "c", "c")).rows() == [("c", 2), ("a", 1), ("b", 1)]


def test_ties_are_in_the_order_of_utf8_bytes() -> None:
    """UTF-16 would put the emoji before U+FFEE, a locale would put a before B."""
    rows = run(shown("😀", "\uffee", "é", "a", "B", "10", "9")).rows()

    assert rows == [("10", 1), ("9", 1), ("B", 1), ("a", 1), ("é", 1), ("\uffee", 1), ("😀", 1)]


def test_only_the_first_top_n_items_stay() -> None:
    assert run(shown("b", "a", "c", "c"), top_n=2).rows() == [("c", 2), ("a", 1)]


def test_top_n_beyond_the_number_of_items_keeps_them_all() -> None:
    assert run(shown("a", "b"), top_n=3).rows() == [("a", 1), ("b", 1)]


def test_no_events_give_no_rows_and_hold_the_contract() -> None:
    actual = run(events_frame([]))

    assert actual.height == 0
    ARTIFACTS["popularity"].validate(actual, lazy=True)


@pytest.mark.parametrize("top_n", [0, -1])
def test_a_top_n_below_one_is_refused_with_its_value(top_n: int) -> None:
    with pytest.raises(ValueError, match=rf"top_n={top_n}$"):
        run(shown("a"), top_n=top_n)


@given(strategies.events(), st.integers(1, 8))
def test_agrees_with_brute_force(events: list[Event], top_n: int) -> None:
    counts = Counter(event.item_id for event in events)
    expected = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0].encode()))[:top_n]

    assert run(events_frame(events), top_n=top_n).rows() == expected


@given(strategies.shuffled_events())
def test_row_order_of_events_is_irrelevant(both: tuple[list[Event], list[Event]]) -> None:
    ordered, shuffled = both

    assert_frame_equal(run(events_frame(shuffled)), run(events_frame(ordered)))


@given(strategies.events(), st.integers(1, 8))
def test_the_result_holds_its_contract(events: list[Event], top_n: int) -> None:
    ARTIFACTS["popularity"].validate(run(events_frame(events), top_n=top_n), lazy=True)
