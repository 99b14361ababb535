from __future__ import annotations

import logging
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from recsys_assets.compute import day_counts
from recsys_assets.compute.day_counts import DayCounts
from recsys_assets.events import kept_counts
from recsys_assets.events.kept_counts import KeptCounts
from recsys_assets.storage.local import LocalStore
from recsys_assets_tests.frames import events_frame

DAY = date(2026, 1, 1)
TABLE = pl.DataFrame(
    {"item_id": ["a", "é"], "count": [1, 2]}, schema_overrides={"count": pl.UInt32}
)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "var")


def keep(store: LocalStore, fingerprint: str = "f") -> KeptCounts:
    return KeptCounts(store, "demo", "home", DAY, fingerprint=fingerprint)


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


def test_counts_of_other_events_of_the_day_are_not_found(store: LocalStore) -> None:
    keep(store, "before the late file").write("items", TABLE)

    assert keep(store, "after it").read("items") is None


def test_counts_of_another_format_are_not_found(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(store).write("items", TABLE)
    monkeypatch.setattr(kept_counts, "COUNTS_FORMAT", day_counts.COUNTS_FORMAT + 1)

    assert keep(store).read("items") is None


@pytest.mark.parametrize("damage", [b"", b"PAR1 no table PAR1"])
def test_damaged_counts_are_told_and_counted_again(
    store: LocalStore, damage: bytes, caplog: pytest.LogCaptureFixture
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
