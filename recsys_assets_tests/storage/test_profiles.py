"""Profiles of days in every store: kept as they are, never taken for another's, made again."""

from __future__ import annotations

import logging
from datetime import date

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from recsys_assets.compute.profiles import Profile
from recsys_assets.compute.samples import Sample
from recsys_assets.storage import layout, profiles
from recsys_assets.storage.profiles import newest_profile, read_profile, write_profile
from recsys_assets.storage.store import Store
from recsys_assets_tests.storage.conftest import PLACE, Backend

DAY = date(2026, 1, 1)
EVENTS = pl.DataFrame(
    {"user": [1, None], "session": [2, 3], "item": [2**32 - 1, 0]},
    schema=dict.fromkeys(["user", "session", "item"], pl.UInt32),
)
PROFILE = Profile(
    DAY,
    {"rows": 2, "length": 1.25},
    [0] * 23 + [2],
    Sample(EVENTS, 3),
    reference_days=28,
    used={"rows": -0.5},
    failed=["volume"],
)


def test_a_profile_is_kept_as_it_is(store: Store) -> None:
    write_profile(store, PLACE, "f", PROFILE)

    found = read_profile(store, PLACE, DAY, "f")

    assert found is not None
    assert_frame_equal(found.sample.events, EVENTS)
    assert found.sample.thinned == 3
    assert (found.numbers, found.by_hour) == (PROFILE.numbers, PROFILE.by_hour)
    assert (found.used, found.failed, found.reference_days) == ({"rows": -0.5}, ["volume"], 28)


def test_a_profile_of_other_events_or_another_format_is_not_found(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_profile(store, PLACE, "f", PROFILE)

    assert read_profile(store, PLACE, DAY, "g") is None
    assert read_profile(store, PLACE, date(2026, 1, 2), "f") is None
    monkeypatch.setattr(profiles, "PROFILE_FORMAT", 2)
    assert read_profile(store, PLACE, DAY, "f") is None
    assert newest_profile(store, PLACE, DAY, {}) is None


def test_the_newest_of_a_day_is_the_one_that_was_judged_last(store: Store) -> None:
    assert newest_profile(store, PLACE, DAY, {}) is None
    write_profile(store, PLACE, "f", PROFILE)

    found = newest_profile(store, PLACE, DAY, {})

    assert found is not None
    assert found[0] == "f"


@pytest.mark.parametrize("content", [b"", b"PAR1 and no more", b"{}"])
def test_a_damaged_profile_is_made_again(
    backend: Backend, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    store = backend.open()
    key = layout.profile(PLACE, DAY, "f", profiles.PROFILE_FORMAT)
    store.replace(key, content)

    with caplog.at_level(logging.WARNING):
        assert read_profile(store, PLACE, DAY, "f") is None

    assert f"{store.location(key)} is damaged and is made again" in caplog.text
    write_profile(store, PLACE, "f", PROFILE)
    assert read_profile(store, PLACE, DAY, "f") is not None
