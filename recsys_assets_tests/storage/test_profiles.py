"""Profiles of days in every store: kept as they are, never taken for another's, made again."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import date

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from recsys_assets.compute.profiles import Profile
from recsys_assets.compute.samples import Sample
from recsys_assets.storage import layout, profiles
from recsys_assets.storage.profiles import (
    KnownProfiles,
    newest_profile,
    read_profile,
    write_profile,
)
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


def test_one_that_is_known_is_not_read_again_until_it_is_written_anew(store: Store) -> None:
    known = KnownProfiles()
    write_profile(store, PLACE, "f", PROFILE, known)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(store, "read", None)
        found = read_profile(store, PLACE, DAY, "f", known)
        assert found == PROFILE
        assert found.sample is not PROFILE.sample  # nor are the keys that are made of it kept

    write_profile(store, PLACE, "f", replace(PROFILE, numbers={"rows": 3}))  # by another process
    found = read_profile(store, PLACE, DAY, "f", known)
    assert found is not None
    assert found.numbers == {"rows": 3}
    assert read_profile(store, PLACE, DAY, "g", known) is None


def test_no_more_are_known_than_a_history_has(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profiles, "_MOST_KNOWN", 2)
    known = KnownProfiles()
    for fingerprint in "abc":
        write_profile(store, PLACE, fingerprint, PROFILE, known)

    monkeypatch.setattr(store, "read", lambda key: None)
    assert read_profile(store, PLACE, DAY, "a", known) is None
    assert read_profile(store, PLACE, DAY, "c", known) is not None


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
