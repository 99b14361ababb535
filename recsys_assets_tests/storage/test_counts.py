from __future__ import annotations

import logging
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from recsys_assets.compute import day_counts
from recsys_assets.compute.day_counts import DayCounts
from recsys_assets.storage import counts
from recsys_assets.storage.counts import CountsCache, KeptCounts
from recsys_assets.storage.local import LocalStore
from recsys_assets.storage.store import Store
from recsys_assets_tests.frames import events_frame
from recsys_assets_tests.storage.conftest import PLACE, Backend

DAY = date(2026, 1, 1)
TABLE = pl.DataFrame(
    {"item_id": ["a", "é"], "count": [1, 2]}, schema_overrides={"count": pl.UInt32}
)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "var")


def keep(
    store: Store,
    fingerprint: str = "f",
    *,
    is_current: bool = True,
    cache: CountsCache | None = None,
) -> KeptCounts:
    """Keep counts as another process does, which shares nothing, unless a cache is given."""
    return KeptCounts(
        store,
        PLACE,
        DAY,
        fingerprint=fingerprint,
        is_current=lambda: is_current,
        cache=cache or CountsCache(),
    )


def test_what_may_have_been_counted_of_other_events_is_not_kept(store: LocalStore) -> None:
    """Another run replaced the day's events between their fingerprint and their scan."""
    keep(store, is_current=False).write("items", TABLE)

    assert keep(store).read("items") is None


def test_a_table_is_kept_as_it_is(store: LocalStore) -> None:
    keep(store).write("items", TABLE)

    found = keep(store).read("items")

    assert found is not None
    assert_frame_equal(found, TABLE)
    assert keep(store).read("users") is None


def test_every_table_of_a_day_survives_being_kept(store: LocalStore) -> None:
    events = events_frame([("u", "s", "a"), ("v", "s", "b"), (None, "t", "a")])
    first = DayCounts(events.lazy(), keep(store))
    names = ("items", "users", "sessions", "first_items", "user_items", "baskets")
    made = [getattr(first, name) for name in names]

    again = DayCounts(events_frame([]).lazy(), keep(store))

    for name, table in zip(names, made, strict=True):
        assert getattr(again, name).equals(table), name
        assert not table.is_empty()


def test_what_is_made_again_faster_than_read_is_not_kept(store: LocalStore) -> None:
    events = events_frame([("u", "s", "a"), ("v", "s", "b"), (None, "t", "a")])

    small = DayCounts(events.lazy(), keep(store), rows=events.height)

    assert small.user_items.equals(DayCounts(events.lazy()).user_items)
    assert {Path(file.key).name for file in store.list("counts")} == {
        f"{table}.parquet" for table in ("items", "users", "sessions", "user_items")
    }


def test_counts_of_a_day_are_kept_in_any_store(backend: Backend) -> None:
    table = pl.DataFrame({"key": [1, 2**63]}, schema={"key": pl.UInt64})
    store = backend.open()
    assert keep(store).read("baskets") is None

    keep(store).write("baskets", table)

    found = keep(store).read("baskets")
    assert found is not None
    assert_frame_equal(found, table)


def test_counts_of_other_events_of_the_day_are_not_found(store: LocalStore) -> None:
    keep(store, "before the late file").write("items", TABLE)

    assert keep(store, "after it").read("items") is None


def test_counts_of_another_format_are_not_found(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(store).write("items", TABLE)
    monkeypatch.setattr(counts, "COUNTS_FORMAT", day_counts.COUNTS_FORMAT + 1)

    assert keep(store).read("items") is None


@pytest.mark.parametrize("damage", [b"", b"PAR1 no table PAR1"])
def test_damaged_counts_are_told_and_counted_again(
    store: LocalStore,
    damage: bytes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    events = events_frame([("u", "s", "a")])
    items = DayCounts(events.lazy(), keep(store)).items
    (path,) = Path(store.location("counts")).rglob("items.parquet")
    path.write_bytes(damage)

    with caplog.at_level(logging.WARNING):
        again = DayCounts(events.lazy(), keep(store)).items

    assert_frame_equal(again, items)
    assert f"{path} is damaged" in caplog.text
    assert keep(store).read("items") is not None


def test_what_was_read_once_is_shared_by_the_artifacts_of_a_process(store: LocalStore) -> None:
    cache = CountsCache()
    keep(store, cache=cache).write("items", TABLE)
    (path,) = Path(store.location("counts")).rglob("items.parquet")
    path.unlink()

    assert keep(store, cache=cache).read("items") is not None
    assert keep(store).read("items") is None


class TestSharedCounts:
    """What the artifacts of a process share."""

    def test_artifacts_of_a_day_share_what_more_than_one_needs(self) -> None:
        events, cache = events_frame([("u", "s", "a"), ("v", "s", "b")]), CountsCache()
        first = DayCounts(events.lazy(), cache.of("f"))
        again = DayCounts(events_frame([]).lazy(), cache.of("f"))

        assert first.user_items.height == 2
        assert first.baskets.len() == 2

        assert again.items is first.items
        assert again.user_items is first.user_items
        assert again.users.equals(first.users)
        assert again.baskets.is_empty()  # cooc alone needs them: they are not kept

    def test_other_events_share_nothing(self) -> None:
        cache = CountsCache()
        cache.of("f").write("items", TABLE)

        assert cache.of("g").read("items") is None

    def test_no_more_is_kept_than_memory_is_meant_for_those_used_last_stay(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(counts, "_MAX_SHARED_BYTES", 2 * TABLE.estimated_size())
        cache = CountsCache()
        for fingerprint in "abc":
            if fingerprint == "c":
                cache.of("a").read("items")
            cache.of(fingerprint).write("items", TABLE)

        kept = [name for name in "abc" if cache.of(name).read("items") is not None]

        assert kept == ["a", "c"]

    def test_a_table_that_is_too_large_displaces_no_other(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(counts, "_MAX_SHARED_BYTES", TABLE.estimated_size())
        cache = CountsCache()
        cache.of("small").write("items", TABLE)

        cache.of("large").write("items", pl.concat([TABLE, TABLE]))

        assert cache.of("large").read("items") is None
        assert cache.of("small").read("items") is not None
