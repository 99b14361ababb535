"""Samples of days: whole owners, nested, the same whoever takes them."""

from __future__ import annotations

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from recsys_assets.compute.samples import Sample, hashes, take_sample
from recsys_assets_tests.frames import Event, events_frame


def many(users: int, each: int = 5) -> pl.DataFrame:
    """Return a day of which every fifth user is anonymous, a session each."""
    return events_frame(
        Event(f"u{n}" if n % 5 else None, f"s{n}", f"i{(n + step) % 97}", second=step * 60)
        for n in range(users)
        for step in range(each)
    )


def sample(events: pl.DataFrame, most: int) -> Sample:
    users = events["user_id"].drop_nulls().unique().sort()
    anonymous = events["user_id"].null_count()
    return take_sample(events.lazy(), users, rows=events.height, anonymous=anonymous, most=most)


def test_hashes_are_the_same_for_good() -> None:
    """They are stored: another hash would make every profile another day's."""
    found = hashes(pl.Series(["", "a", "é", None, "u1"]))

    assert found.to_list() == [0, 3904355907, 235179326, None, 1112514422]
    assert found.dtype == pl.UInt32


def test_a_small_day_is_kept_whole_in_order_of_sessions_and_time() -> None:
    events = events_frame(
        [
            Event("u1", "s2", "b", second=2),
            Event(None, "s1", "c", second=3),
            Event("u1", "s2", "a", second=1),
        ]
    )

    found = sample(events, most=3)

    assert found.thinned == 0
    of_s2 = found.events.filter(pl.col("session") == hashes(pl.Series(["s2"]))[0])
    assert of_s2["item"].to_list() == hashes(pl.Series(["a", "b"])).to_list()
    assert found.events["user"].null_count() == 1


@pytest.mark.parametrize("most", [100, 500, 999, 2500])
def test_about_as_many_events_are_kept_and_all_of_each_owner(most: int) -> None:
    events = many(1000)

    found = sample(events, most)

    assert 5000 >> found.thinned <= most < 5000 >> max(found.thinned - 1, 0)
    assert found.events.height == pytest.approx(5000 >> found.thinned, rel=0.5)
    per_owner = found.events.group_by(pl.coalesce("user", "session")).len()
    assert set(per_owner["len"]) == {5}
    anonymous = found.events["user"].null_count() / found.events.height
    assert anonymous == pytest.approx(0.2, abs=0.1)


def test_a_thinned_sample_is_the_one_that_a_larger_day_would_give() -> None:
    events = many(1000)
    large, small = sample(events, most=2500), sample(events, most=500)

    assert_frame_equal(large.at(small.thinned), small.events)
    assert large.keys(small.thinned).rows == small.events.height
    assert small.at(large.thinned).height == small.events.height  # more was not kept


def test_ids_that_follow_each_other_are_sampled_evenly() -> None:
    """Their checksums have a pattern."""
    for prefix in ("u", "user-0000", ""):
        events = events_frame(Event(f"{prefix}{n}", f"s{n}", "a") for n in range(4096))
        kept = sample(events, most=512).events.height

        assert kept == pytest.approx(512, rel=0.25), prefix


def test_keys_are_of_users_items_and_steps() -> None:
    # In s1: a, a, b, c; the step from a to a is none.
    rows = [("u1", "s1", "a"), ("u1", "s1", "a"), ("u1", "s1", "b"), (None, "s1", "c")]
    found = sample(events_frame(rows), most=10).keys(0)
    a, b, c = hashes(pl.Series(["a", "b", "c"]))
    u1 = hashes(pl.Series(["u1"]))[0]

    def key(high: int, low: int) -> int:
        return high * 2**32 + low

    assert sorted(found.user_items) == sorted([key(u1, a), key(u1, a), key(u1, b)])
    assert sorted(found.next_steps) == sorted([key(a, b), key(b, c)])
    assert sorted(found.steps) == sorted([key(a, b), key(a, b), key(b, c), key(a, c), key(a, c)])
    assert dict(zip(*found.items, strict=True)) == {a: 2, b: 1, c: 1}


def test_repeats_are_items_that_come_again_in_their_session() -> None:
    rows = [("u", "s1", "a"), ("u", "s1", "a"), ("u", "s2", "a"), ("u", "s2", "b")]

    assert sample(events_frame(rows), most=10).repeats == 0.25
    assert sample(events_frame([]), most=10).repeats == 0
