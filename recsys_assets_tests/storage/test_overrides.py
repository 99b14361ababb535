"""Records of overrides in every store."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from recsys_assets.errors import StorageError
from recsys_assets.storage import layout
from recsys_assets.storage.overrides import Override, read_overrides, record_override
from recsys_assets.storage.store import Store
from recsys_assets_tests.storage.conftest import PLACE

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
ONE = Override(date(2026, 1, 1), ("volume",), "f", False, "ann", "a sale", "run-1", "2026-01-02")


def test_overrides_are_read_as_they_were_recorded_the_oldest_first(store: Store) -> None:
    newer = replace(ONE, day=date(2025, 12, 24), fingerprint=None, recorded_at="2026-01-03")
    record_override(store, PLACE, newer, NOW)
    record_override(store, PLACE, ONE, NOW)

    assert read_overrides(store, PLACE) == [ONE, newer]


def test_a_record_is_never_replaced(store: Store) -> None:
    record_override(store, PLACE, ONE, NOW)

    with pytest.raises(StorageError, match="is there already"):
        record_override(store, PLACE, replace(ONE, reason="another"), NOW)

    assert read_overrides(store, PLACE) == [ONE]


def test_a_damaged_record_is_told_with_its_place(store: Store) -> None:
    key = layout.override(PLACE, "2026-01-01-x")
    store.replace(key, b'{"v": 1}')

    with pytest.raises(StorageError, match="is no record of an override"):
        read_overrides(store, PLACE)


@pytest.mark.parametrize(
    ("fingerprint", "of", "meant"), [("f", "f", True), ("f", "g", False), (None, "g", True)]
)
def test_it_is_of_the_events_that_it_names(fingerprint: str | None, of: str, meant: bool) -> None:
    override = replace(ONE, fingerprint=fingerprint)

    assert override.is_of(ONE.day, of) == meant
    assert not override.is_of(date(2026, 1, 2), of)
