from __future__ import annotations

from collections import Counter
from functools import partial
from itertools import permutations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from recsys_assets.compute import cooc
from recsys_assets.compute.cooc import Cooccurrence, count_cooccurrence
from recsys_assets.compute.day_counts import DayCounts
from recsys_assets.contracts import ARTIFACTS
from recsys_assets_tests import strategies
from recsys_assets_tests.frames import Event, events_frame, sessions


def count(
    events: pl.DataFrame,
    *,
    max_neighbours: int = 50,
    min_support: int = 1,
    max_items: int = 1000,
    max_items_per_session: int = 200,
) -> Cooccurrence:
    return count_cooccurrence(
        DayCounts(events.lazy()),
        max_neighbours=max_neighbours,
        min_support=min_support,
        max_items=max_items,
        max_items_per_session=max_items_per_session,
    )


def run(events: pl.DataFrame, **options: int) -> pl.DataFrame:
    return count(events, **options).neighbours.collect()


def test_a_pair_counts_the_sessions_that_hold_both_and_is_symmetric() -> None:
    actual = run(sessions(s1="ab", s2="abc", s3="c"))

    assert actual.rows() == [
        ("a", "b", 2),
        ("a", "c", 1),
        ("b", "a", 2),
        ("b", "c", 1),
        ("c", "a", 1),
        ("c", "b", 1),
    ]


def test_a_session_counts_once_per_pair_however_often_it_repeats_an_item() -> None:
    assert run(sessions(s1="aababb")).rows() == [("a", "b", 1), ("b", "a", 1)]


def test_a_session_may_span_users_and_files() -> None:
    events = events_frame([Event("u", "s", "a"), Event(None, "s", "b", file=1)])

    assert run(events).rows() == [("a", "b", 1), ("b", "a", 1)]


def test_the_strongest_neighbour_comes_first_and_ties_break_by_its_id() -> None:
    actual = run(sessions(s1="ad", s2="ad", s3="ac", s4="ab"))

    assert actual.filter(pl.col("item_id") == "a").rows() == [
        ("a", "d", 2),
        ("a", "b", 1),
        ("a", "c", 1),
    ]


def test_items_are_in_the_order_of_utf8_bytes() -> None:
    items = run(sessions(s="😀\uffeeéaB9"))["item_id"].unique(maintain_order=True)

    assert items.to_list() == ["9", "B", "a", "é", "\uffee", "😀"]


def test_max_neighbours_keeps_the_strongest_of_each_item() -> None:
    actual = run(sessions(s1="ad", s2="ad", s3="ac", s4="ab"), max_neighbours=2)

    assert actual.rows() == [
        ("a", "d", 2),
        ("a", "b", 1),
        ("b", "a", 1),
        ("c", "a", 1),
        ("d", "a", 2),
    ]


def test_a_pair_at_min_support_stays_and_one_below_it_goes() -> None:
    actual = run(sessions(s1="ab", s2="ab", s3="ac", s4="c"), min_support=2)

    assert ("a", "b", 2) in actual.rows()
    assert ("a", "c", 1) not in actual.rows()


def test_an_item_without_a_strong_neighbour_stays_as_one_row_of_nulls() -> None:
    actual = run(sessions(s1="ab", s2="ab", s3="ac"), min_support=2)

    assert actual.rows() == [("a", "b", 2), ("b", "a", 2), ("c", None, None)]


def test_an_item_that_shares_no_session_is_not_listed() -> None:
    assert run(sessions(s1="ab", s2="z")).rows() == [("a", "b", 1), ("b", "a", 1)]


def test_max_items_keeps_the_items_in_the_most_sessions() -> None:
    """Item c is in three sessions, b in two, a in one; a neighbour need not be kept itself."""
    actual = run(sessions(s1="bc", s2="bc", s3="ac"), max_items=1)

    assert actual.rows() == [("c", "b", 2), ("c", "a", 1)]


def test_max_items_breaks_ties_by_item_id() -> None:
    actual = run(sessions(s1="dc", s2="ba"), max_items=3)

    assert actual.rows() == [("a", "b", 1), ("b", "a", 1), ("c", "d", 1)]


def test_max_items_counts_sessions_not_exposures() -> None:
    assert run(sessions(s1="aaaab", s2="bc"), max_items=1).rows() == [("b", "a", 1), ("b", "c", 1)]


def test_a_session_of_one_item_counts_towards_max_items() -> None:
    """Item c is in three sessions, in two of them alone, and goes before a and b with two."""
    actual = run(sessions(s1="ab", s2="ab", s3="cd", s4="c", s5="c"), max_items=1)

    assert actual.rows() == [("c", "d", 1)]


def test_an_item_that_is_always_alone_takes_no_place_among_max_items() -> None:
    actual = run(sessions(s1="z", s2="z", s3="z", s4="ab"), max_items=1)

    assert actual.rows() == [("a", "b", 1)]


def test_an_oversized_session_is_left_out_and_counted() -> None:
    actual = count(sessions(s1="ab", bot="abcd", s3="cd", s4="x"), max_items_per_session=3)

    assert actual.neighbours.collect().rows() == [
        ("a", "b", 1),
        ("b", "a", 1),
        ("c", "d", 1),
        ("d", "c", 1),
    ]
    assert (actual.sessions, actual.oversized_sessions) == (4, 1)


def test_a_session_of_exactly_the_limit_stays_and_repeats_do_not_make_it_oversized() -> None:
    actual = count(sessions(s1="aaabbb"), max_items_per_session=2)

    assert actual.neighbours.collect().height == 2
    assert (actual.sessions, actual.oversized_sessions) == (1, 0)


def test_an_oversized_session_does_not_count_towards_max_items() -> None:
    actual = run(
        sessions(bot1="xabc", bot2="xabd", s1="xy", s2="ab", s3="ac"),
        max_items=1,
        max_items_per_session=3,
    )

    assert actual.rows() == [("a", "b", 1), ("a", "c", 1)]


def test_no_events_give_no_rows_and_hold_the_contract() -> None:
    actual = count(events_frame([]))

    assert (actual.sessions, actual.oversized_sessions) == (0, 0)
    assert actual.neighbours.collect().height == 0
    ARTIFACTS["cooc"].validate(actual.neighbours.collect(), lazy=True)


def test_only_oversized_sessions_give_no_rows() -> None:
    actual = count(sessions(bot="abc"), max_items_per_session=1)

    assert actual.neighbours.collect().height == 0
    assert (actual.sessions, actual.oversized_sessions) == (1, 1)


@pytest.mark.parametrize(
    "option", ["max_neighbours", "min_support", "max_items", "max_items_per_session"]
)
@pytest.mark.parametrize("value", [0, -7])
def test_an_option_below_one_is_refused_with_its_value(option: str, value: int) -> None:
    with pytest.raises(ValueError, match=rf"{option}={value}\b"):
        count(sessions(s="ab"), **{option: value})


def brute_force(
    events: list[Event],
    *,
    max_neighbours: int,
    min_support: int,
    max_items: int,
    max_items_per_session: int,
) -> tuple[list[tuple[str, str | None, int | None]], int, int]:
    held: dict[str, set[str]] = {}
    for event in events:
        held.setdefault(event.session_id, set()).add(event.item_id)
    counted = [items for items in held.values() if len(items) <= max_items_per_session]
    pairs = Counter(pair for items in counted for pair in permutations(items, 2))
    spread = Counter(item for items in counted for item in items)
    listed = sorted({item for item, _ in pairs}, key=lambda item: (-spread[item], item))[:max_items]
    rows: list[tuple[str, str | None, int | None]] = []
    for item in sorted(listed):
        neighbours = sorted(
            (-n, other) for (one, other), n in pairs.items() if one == item and n >= min_support
        )[:max_neighbours]
        rows += [(item, other, -n) for n, other in neighbours] or [(item, None, None)]
    return rows, len(held), len(held) - len(counted)


options = st.fixed_dictionaries(
    {
        "max_neighbours": st.integers(1, 4),
        "min_support": st.integers(1, 3),
        "max_items": st.integers(1, 7),
        "max_items_per_session": st.integers(1, 7),
    }
)


@given(strategies.events(), options)
def test_agrees_with_brute_force(events: list[Event], options: dict[str, int]) -> None:
    actual = count(events_frame(events), **options)

    assert (
        actual.neighbours.collect().rows(),
        actual.sessions,
        actual.oversized_sessions,
    ) == brute_force(events, **options)


@given(strategies.events(), options, st.integers(1, 5))
def test_blocks_of_pairs_of_any_size_give_the_same_result(
    events: list[Event], options: dict[str, int], block_pairs: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cooc, "_BLOCK_PAIRS", block_pairs)
        actual = count(events_frame(events), **options).neighbours.collect()

    assert actual.rows() == brute_force(events, **options)[0]


def test_a_block_boundary_inside_an_items_pairs_does_not_split_its_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Five pairs of a and b are more than a block holds; split, they would miss the support."""
    monkeypatch.setattr(cooc, "_BLOCK_PAIRS", 2)
    events = sessions(s1="ab", s2="ab", s3="ab", s4="ab", s5="ab")

    assert run(events, min_support=5).rows() == [("a", "b", 5), ("b", "a", 5)]


@pytest.mark.parametrize("most", [5, 2**20, 2**32 - 1])
def test_pairs_of_any_codes_are_counted(most: int) -> None:
    codes = partial(np.array, dtype=np.uint32)
    of_sessions = [2, 3, most, 2, most, 2, most]

    found = cooc._lists(codes([2, 2, most]), codes([3, 2, 2]), codes(of_sessions), most + 1, 1, 9)

    assert found.rows() == [(2, most, 2), (2, 3, 1), (most, 2, 1)]
    assert set(found.dtypes) == {pl.UInt32}


@given(strategies.shuffled_events(), options)
def test_row_order_of_events_is_irrelevant(
    both: tuple[list[Event], list[Event]], options: dict[str, int]
) -> None:
    ordered, shuffled = both

    assert_frame_equal(
        run(events_frame(shuffled), **options), run(events_frame(ordered), **options)
    )


@given(strategies.events(), options)
def test_the_result_holds_its_contract(events: list[Event], options: dict[str, int]) -> None:
    ARTIFACTS["cooc"].validate(run(events_frame(events), **options), lazy=True)
