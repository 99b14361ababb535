"""Items that may not be listed, weights of events, and bots, each against its rule in Python."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.compute.bots import BotLimits, without_bots
from recsys_assets.compute.cooc import count_cooccurrence
from recsys_assets.compute.day_counts import Counts, DayCounts
from recsys_assets.compute.implicit import count_user_exposures
from recsys_assets.compute.popularity import count_exposures
from recsys_assets.compute.session_seq import count_next_items
from recsys_assets.compute.window_counts import WindowCounts
from recsys_assets.errors import InputError
from recsys_assets_tests import strategies
from recsys_assets_tests.compute.test_day_counts import TABLES, Kept, by_day
from recsys_assets_tests.frames import Event, events_frame

Rows = list[tuple[Any, ...]]
ITEMS = st.sets(st.sampled_from(["a", "b", "Z", "é", "x"]))
TOP = st.integers(1, 3)


def weighed(events: pl.DataFrame, weights: Sequence[int | None]) -> pl.DataFrame:
    """Give events weights, over and over; null is none."""
    repeated = [weights[at % len(weights)] for at in range(events.height)]
    return events.with_columns(pl.Series("weight", repeated, dtype=pl.Int64))


def put_together(days: Sequence[DayCounts]) -> Counts:
    return days[0] if len(days) == 1 else WindowCounts(days)


def in_order(events: pl.DataFrame) -> list[dict[str, Any]]:
    return events.sort("ts", "file", "line").to_dicts()


def cut(entries: dict[str, int], most: int) -> list[tuple[str, int]]:
    return sorted(entries.items(), key=lambda entry: (-entry[1], entry[0]))[:most]


def scores(lists: dict[str, dict[str, int]], top_n: int, *, empty: bool) -> Rows:
    rows: Rows = []
    for user in sorted(lists):
        entries = cut(lists[user], top_n)
        rows += [(user, item, float(score)) for item, score in entries]
        if not entries and empty:
            rows.append((user, None, None))
    return rows


def cooc_rows(
    events: list[dict[str, Any]], allowed: set[str], *, largest: int, max_items: int, most: int
) -> Rows:
    """Sessions are as large as they are; then only what may be listed is looked at."""
    held = defaultdict[str, set[str]](set)
    for event in events:
        held[event["session_id"]].add(event["item_id"])
    sessions = [items for items in held.values() if len(items) <= largest]
    found = Counter(item for items in sessions for item in items & allowed)
    shares = {item for items in sessions if len(items) > 1 for item in items & allowed}
    shown = sorted(shares, key=lambda item: (-found[item], item))[:max_items]
    pairs = defaultdict[str, Counter[str]](Counter)
    for items in sessions:
        for one, other in combinations(items & allowed, 2):
            pairs[one][other] += 1
            pairs[other][one] += 1
    rows: Rows = []
    for item in sorted(shown):
        entries = cut(pairs[item], most)
        rows += [(item, *entry) for entry in entries] or [(item, None, None)]
    return rows


@given(strategies.events(), ITEMS, TOP, st.integers(1, 4), st.booleans())
def test_what_may_not_be_listed_is_left_out_before_cuts_and_ranking(
    events: list[Event], denied: set[str], top_n: int, largest: int, in_days: bool
) -> None:
    frame = events_frame(events)
    days = [DayCounts(day.lazy()) for day in (by_day(frame) if in_days else [frame])]
    counts = put_together(days)
    listed = ~counts.item_ids.is_in(list(denied))
    rows = in_order(frame)
    allowed = {event["item_id"] for event in rows} - denied
    exposures, following, users = Counter[str](), defaultdict[str, Counter[str]](Counter), set()
    shown = defaultdict[str, Counter[str]](Counter)
    for event in rows:
        user, item = event["user_id"], event["item_id"]
        exposures[item] += item in allowed
        if user is None:
            continue
        shown[user][item] += item in allowed
        following[user][item] += item in allowed and user in users
        users.add(user)

    popularity = count_exposures(days, top_n=top_n, listed=counts.item_ids.filter(listed)).collect()
    implicit = count_user_exposures(counts, top_n=top_n, listed=listed).collect()
    session_seq = count_next_items(counts, top_n=top_n, listed=listed).collect()
    cooc = count_cooccurrence(
        counts,
        max_neighbours=top_n,
        min_support=1,
        max_items=top_n,
        max_items_per_session=largest,
        listed=listed,
    )

    assert popularity.rows() == cut(+exposures, top_n)
    assert implicit.rows() == scores({u: +of for u, of in shown.items()}, top_n, empty=False)
    assert session_seq.rows() == scores({u: +of for u, of in following.items()}, top_n, empty=True)
    assert cooc.neighbours.collect().rows() == cooc_rows(
        rows, allowed, largest=largest, max_items=top_n, most=top_n
    )


@given(
    strategies.events(),
    st.lists(st.one_of(st.none(), st.integers(1, 9)), min_size=1, max_size=7),
    TOP,
    st.booleans(),
)
def test_an_event_counts_its_weight_in_popularity_and_implicit_and_not_in_sequences(
    events: list[Event], weights: list[int | None], top_n: int, in_days: bool
) -> None:
    frame = weighed(events_frame(events), weights)
    parts = by_day(frame) if in_days else [frame]
    days = [DayCounts(day.lazy()) for day in parts]
    plain = [DayCounts(day.drop("weight").lazy()) for day in parts]
    exposures, shown = Counter[str](), defaultdict[str, Counter[str]](Counter)
    for event in frame.to_dicts():
        weight = 1 if event["weight"] is None else event["weight"]
        exposures[event["item_id"]] += weight
        if event["user_id"] is not None:
            shown[event["user_id"]][event["item_id"]] += weight

    popularity = count_exposures(days, top_n=top_n, weighted=True).collect()
    implicit = count_user_exposures(put_together(days), top_n=top_n, weighted=True).collect()

    assert popularity.rows() == cut(exposures, top_n)
    assert implicit.rows() == scores(dict(shown), top_n, empty=False)
    counts, without = put_together(days), put_together(plain)
    assert count_next_items(counts, top_n=top_n).collect().rows() == (
        count_next_items(without, top_n=top_n).collect().rows()
    )
    assert counts.baskets.equals(without.baskets)


@given(strategies.events(), st.lists(st.integers(1, 9), min_size=1, max_size=7))
def test_kept_weights_are_tables_of_their_own(events: list[Event], weights: list[int]) -> None:
    """So those that were kept before are right still, with weights and without."""
    kept = Kept()
    frame = weighed(events_frame(events), weights)
    day = DayCounts(frame.lazy(), kept)
    first = (day.weighted_items, day.weighted_user_items, day.user_items)

    again = DayCounts(events_frame([]).lazy(), kept)

    for table, same in zip(
        first, (again.weighted_items, again.weighted_user_items, again.user_items), strict=True
    ):
        assert table.equals(same)
    assert set(kept) - TABLES == {"weighted_items", "weighted_user_items"}


def test_weights_that_32_bits_do_not_hold_are_refused_and_say_what_to_do() -> None:
    frame = weighed(events_frame([("u", "s", "a")] * 3), [2**31])
    days = [DayCounts(frame.lazy()), DayCounts(events_frame([("u", "s", "a")]).lazy())]

    with pytest.raises(InputError, match=r"source\.weight\.values"):
        count_user_exposures(days[0], top_n=1, weighted=True)
    two = [DayCounts(weighed(events_frame([("u", "s", "a")]), [2**31]).lazy()) for _ in range(2)]
    with pytest.raises(InputError, match=r"source\.weight\.values"):
        count_user_exposures(WindowCounts(two), top_n=1, weighted=True)
    assert count_exposures(two, top_n=1, weighted=True).collect().rows() == [("a", 2**32)]


LIMITS = st.one_of(st.none(), st.integers(1, 4))


@given(strategies.events(), LIMITS, LIMITS, TOP)
def test_the_events_of_bots_of_a_day_are_as_if_they_were_not_there(
    events: list[Event], per_session: int | None, per_user: int | None, top_n: int
) -> None:
    limits = BotLimits(per_session, per_user)
    parts, people = by_day(events_frame(events)), []
    for part in parts:
        sizes = {of: defaultdict[str, set[str]](set) for of in ("session_id", "user_id")}
        for event in part.to_dicts():
            for of, held in sizes.items():
                held[event[of]].add(event["item_id"])
        kept = [
            event
            for event in part.to_dicts()
            if (per_session is None or len(sizes["session_id"][event["session_id"]]) <= per_session)
            and (
                per_user is None
                or event["user_id"] is None
                or len(sizes["user_id"][event["user_id"]]) <= per_user
            )
        ]
        people.append(pl.DataFrame(kept, schema=part.schema))

    everything = [DayCounts(part.lazy()) for part in parts]
    left = [DayCounts(d.events, None, without_bots(d, limits)) for d in everything]

    def tables(days: Sequence[DayCounts]) -> list[Any]:
        counts = WindowCounts(days)
        cooc = count_cooccurrence(
            counts, max_neighbours=9, min_support=1, max_items=9, max_items_per_session=9
        )
        return [
            count_exposures(days, top_n=top_n).collect().rows(),
            count_user_exposures(counts, top_n=top_n).collect().rows(),
            count_next_items(counts, top_n=top_n).collect().rows(),
            cooc.neighbours.collect().rows(),
        ]

    assert tables(left) == tables([DayCounts(part.lazy()) for part in people])


@given(strategies.events())
def test_a_session_of_several_users_is_one_whose_users_differ(events: list[Event]) -> None:
    users = defaultdict[str, set[str]](set)
    for event in events:
        if event.user_id is not None:
            users[event.session_id].add(event.user_id)

    found = DayCounts(events_frame(events).lazy()).sessions_of_several_users()

    assert found == sum(len(each) > 1 for each in users.values())


def test_limits_that_leave_other_events_out_have_other_names() -> None:
    names = [
        str(BotLimits(*limits)) for limits in [(None, 2), (2, None), (2, 2), (2, 3), (22, None)]
    ]

    assert len({*names, str(BotLimits())}) == 6
    assert str(BotLimits()) == ""
    assert not BotLimits()
