"""Faults of a day: what each changes, and that it is the same each time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from recsys_assets.compute.faults import COLUMNS, FAULTS, Around, Frame

MIDNIGHT = datetime(2026, 1, 8, tzinfo=UTC)


def events(days_before: int = 0, users: int = 50) -> Frame:
    """Return the events of a day: ten of each user, one session each."""
    start = MIDNIGHT - timedelta(days=days_before)
    rows = [
        (f"user {n}", f"{start:%d} {n}", f"item {(n * 7 + step + days_before) % 90:03}",
         start + timedelta(minutes=n * 28 + step))
        for n in range(users)
        for step in range(10)
    ]  # fmt: skip
    ts = pl.Datetime("ns", "UTC")
    schema = dict.fromkeys(COLUMNS[:3], pl.String()) | {"ts": ts}
    return pl.DataFrame(rows, schema=schema, orient="row").sort("ts")


def around(seed: str = "a seed") -> Around:
    items = pl.DataFrame({"item_id": [f"item {n:03}" for n in range(90)]})
    groups = items.with_columns(group=pl.col("item_id").str.tail(2))
    return Around(events(1), events(7), groups, seed)


DAY = events()


@pytest.mark.parametrize("fault", FAULTS)
def test_it_changes_the_day_the_same_way_each_time_and_keeps_its_form(fault: str) -> None:
    changed = FAULTS[fault](DAY, around())

    assert changed.schema == DAY.schema
    assert not changed.equals(DAY)
    assert changed.equals(FAULTS[fault](DAY, around()))
    assert changed["ts"].dt.date().unique().to_list() == [MIDNIGHT.date()]
    assert changed.drop_nulls(["session_id", "item_id", "ts"]).height == changed.height


@pytest.mark.parametrize("fault", FAULTS)
def test_it_can_be_put_into_days_without_users_and_of_one_event(fault: str) -> None:
    anonymous = DAY.with_columns(user_id=pl.lit(None, pl.String))

    for day in (anonymous, DAY.head(1)):
        assert FAULTS[fault](day, around()).schema == DAY.schema


@pytest.mark.parametrize(("share", "left"), [(20, 400), (50, 250), (90, 50)])
def test_of_events_and_sessions_the_share_is_lost_that_its_name_says(share: int, left: int) -> None:
    lost = FAULTS[f"drop events {share} %"](DAY, around())
    sessions = FAULTS[f"lose sessions {share} %"](DAY, around())

    assert lost.height == sessions.height == left
    assert set(sessions.group_by("session_id").len()["len"]) == {10}


def test_what_is_dealt_anew_keeps_its_values() -> None:
    shuffled = FAULTS["items shuffled 50 %"](DAY, around())
    renumbered = FAULTS["ids re-numbered 100 %"](DAY, around())

    assert shuffled["item_id"].sort().equals(DAY["item_id"].sort())
    assert 0 < (shuffled["item_id"] != DAY["item_id"]).sum() <= DAY.height // 2
    pairs = DAY.select(old="item_id").with_columns(new=renumbered["item_id"]).unique()
    assert pairs.height == DAY["item_id"].n_unique()
    assert set(pairs["new"]) == set(pairs["old"])


def test_a_bot_comes_on_top_at_times_of_the_day() -> None:
    added = FAULTS["bot of 500, pushes 10 items"](DAY, around())
    bot = added.filter(pl.col("user_id") == "a bot")

    assert (added.height, bot.height) == (DAY.height + 500, 500)
    assert (bot["item_id"].n_unique(), bot["session_id"].n_unique()) == (10, 50)
    assert bot["ts"].is_in(DAY["ts"].implode()).all()


def test_lists_that_are_pushed_are_few_and_of_the_weakest_items() -> None:
    added = FAULTS["a fifth of sessions see 5 lists"](DAY, around())
    pushed = added.filter(pl.col("session_id").str.starts_with("list "))
    lists = pushed.group_by("session_id").agg(pl.col("item_id").sort())["item_id"]

    assert (added.height, pushed["session_id"].n_unique(), lists.n_unique()) == (600, 10, 5)
    assert set(lists.list.len()) == {10}
    weakest = DAY["item_id"].value_counts().sort("count", "item_id")["item_id"].head(50)
    assert set(pushed["item_id"]) == set(weakest)


def test_sessions_are_cut_and_the_first_items_lost() -> None:
    whole = DAY.with_columns(session_id=pl.col("user_id").str.tail(1))  # of 50 events each

    cut = FAULTS["sessions cut after 10 events"](whole, around())
    lost = FAULTS["first 10 items lost"](whole, around())

    assert set(cut.group_by("session_id").len()["len"]) == {10}
    assert DAY["item_id"].n_unique() - lost["item_id"].n_unique() == 10


def test_nothing_of_another_tenant_is_the_same() -> None:
    added = FAULTS["other tenant 50 %"](DAY, around()).slice(DAY.height)

    assert added.height == DAY.height // 2
    for column in COLUMNS[:3]:
        assert added[column].str.starts_with("other ").all()


def test_a_file_of_before_comes_with_the_dates_of_the_day() -> None:
    old = FAULTS["yesterday's file"](DAY, around())
    half = FAULTS["half of last week's file"](DAY, around())

    assert old.drop("ts").equals(events(1).drop("ts"))
    assert half.height == DAY.height
    assert half["session_id"].str.starts_with("01 ").sum() == DAY.height // 2


def test_another_seed_draws_others() -> None:
    one, other = (FAULTS["drop events 50 %"](DAY, around(seed)) for seed in ("one", "other"))

    assert not one.equals(other)
