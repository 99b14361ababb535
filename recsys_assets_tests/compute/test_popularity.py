from __future__ import annotations

import math
from collections import Counter
from datetime import timedelta
from random import Random

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from recsys_assets.compute.day_counts import DayCounts
from recsys_assets.compute.popularity import count_exposures, weigh_days
from recsys_assets.contracts import ARTIFACTS
from recsys_assets_tests import strategies
from recsys_assets_tests.frames import DAY, Event, events_frame, shown

DAY_S = 86_400
exposures = st.lists(
    st.tuples(st.sampled_from(["a", "b", "Z", "é"]), st.integers(0, 30), st.integers(0, DAY_S - 1)),
    max_size=40,
)


def run(events: pl.DataFrame, *, top_n: int = 1000) -> pl.DataFrame:
    return count_exposures([DayCounts(events.lazy())], top_n=top_n).collect()


def run_decayed(
    events: pl.DataFrame, half_life_days: float, *, top_n: int = 1000, later: int = 0
) -> pl.DataFrame:
    """Count over the 31 days that end with `DAY`, or so many days later."""
    days = [DAY + timedelta(days=later - age) for age in range(31)]
    weights = weigh_days(days, half_life_days=half_life_days)
    counted = [DayCounts(events.lazy().filter(pl.col("ts").dt.date() == day)) for day in days]
    return count_exposures(counted, top_n=top_n, weights=weights).collect()


def aged(*rows: tuple[str, int] | tuple[str, int, int]) -> pl.DataFrame:
    """Build a frame of items shown so many days before `DAY`, at a second of that day."""
    return events_frame(
        Event("u", "s", item, second=sum(second) - age * DAY_S) for item, age, *second in rows
    )


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


def test_an_exposure_counts_half_for_each_half_life_of_age() -> None:
    events = aged(("now", 0), ("half", 7), ("quarter", 14), ("both", 0), ("both", 7))

    assert run_decayed(events, 7).rows() == [
        ("both", 1500), ("now", 1000), ("half", 500), ("quarter", 250),
    ]  # fmt: skip


def test_the_weight_of_a_day_is_rounded_before_it_is_added_and_a_half_to_the_even_number() -> None:
    """0.5 ** (1 / 3) is 0.7937; 1000 / 16 is 62.5, and ten of them are 620."""
    assert run_decayed(aged(("a", 1)), 3).rows() == [("a", 794)]
    assert run_decayed(aged(*[("a", 4)] * 10), 1).rows() == [("a", 620)]


@pytest.mark.parametrize("half_life_days", [1, 3, 49, 103, 187, 196])
def test_four_half_lives_are_four_whatever_their_length(half_life_days: int) -> None:
    """Multiplied by a reciprocal, 196 days / 49 are a bit less than 4, and 62.5 is a bit more."""
    old = DAY - timedelta(days=4 * half_life_days)

    assert weigh_days([old, DAY], half_life_days=half_life_days) == [62, 1000]


def test_age_is_in_whole_utc_days_whatever_the_time_of_day() -> None:
    first, last = 0, DAY_S - 1
    events = aged(("a", 0, first), ("b", 0, last), ("c", 1, first), ("d", 1, last))

    assert run_decayed(events, 1).rows() == [("a", 1000), ("b", 1000), ("c", 500), ("d", 500)]


def test_age_is_counted_from_the_last_day_of_the_window_and_not_from_the_last_event() -> None:
    assert run_decayed(aged(("a", 0)), 1, later=2).rows() == [("a", 250)]


def test_ties_of_decayed_counts_break_by_item_id_before_the_cut() -> None:
    events = aged(("b", 0), ("a", 1), ("a", 1), ("c", 1))

    assert run_decayed(events, 1, top_n=2).rows() == [("a", 1000), ("b", 1000)]


@pytest.mark.parametrize("half_life_days", [0.05, 5e-324])
def test_an_item_of_days_that_count_nothing_is_left_out(half_life_days: float) -> None:
    events = aged(("old", 1), ("both", 0), ("both", 1))

    assert run_decayed(events, half_life_days).rows() == [("both", 1000)]
    nothing = run_decayed(events, half_life_days, later=1)
    assert nothing.height == 0
    ARTIFACTS["popularity"].validate(nothing, lazy=True)


@given(strategies.events(), st.floats(min_value=0, exclude_min=True, allow_infinity=False))
def test_in_a_window_of_one_day_a_half_life_only_counts_in_thousandths(
    events: list[Event], half_life_days: float
) -> None:
    plain = run(events_frame(events))

    decayed = run_decayed(events_frame(events), half_life_days)

    assert_frame_equal(decayed, plain.with_columns(pl.col("count") * 1000))


@pytest.mark.parametrize("half_life_days", [0, -1, -0.5, math.nan, math.inf])
def test_a_half_life_that_is_no_number_above_0_is_refused_with_its_value(
    half_life_days: float,
) -> None:
    with pytest.raises(ValueError, match=rf"half_life_days={half_life_days}$"):
        weigh_days([DAY], half_life_days=half_life_days)


@given(exposures, st.floats(0.1, 100) | st.integers(1, 10), st.integers(1, 5), st.randoms())
def test_decayed_counts_agree_with_brute_force_whatever_the_row_order(
    rows: list[tuple[str, int, int]], half_life_days: float, top_n: int, random: Random
) -> None:
    counts: Counter[str] = Counter()
    for item, age_days, _ in rows:
        counts[item] += round(1000 * 0.5 ** (age_days / half_life_days))
    ranked = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0].encode()))
    expected = [entry for entry in ranked if entry[1]][:top_n]
    random.shuffle(rows)

    actual = run_decayed(aged(*rows), half_life_days, top_n=top_n)

    assert actual.rows() == expected
    ARTIFACTS["popularity"].validate(actual, lazy=True)
