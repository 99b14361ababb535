"""What is live, when it is stale, and what is said about it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from recsys_assets.config import Surface
from recsys_assets.live.status import stale_because, surface_status
from recsys_assets.operations import pointer
from recsys_assets.storage import layout
from recsys_assets.storage.flips import flip
from recsys_assets.storage.local import LocalStore
from recsys_assets.storage.publications import Change, Live, Why
from recsys_assets_tests.live.conftest import (
    COOC,
    FLIPPED,
    PLACE,
    POPULARITY,
    days,
    limited,
    put_live,
)
from recsys_assets_tests.project import Project
from recsys_assets_tests.shop import WHY, Shop, on


def pin(store: LocalStore) -> None:
    """Hold publishes back, as `recsys-assets pin` does."""

    def decide(live: Live | None) -> Change:
        assert live
        assert live.window
        return Change("pin", live.window, live.current, pinned=True)

    why, later = Why("run", "somebody", "a test"), FLIPPED + timedelta(hours=6)
    flip(store, PLACE, decide=decide, why=why, clock=lambda: later)


def put_manifest(store: LocalStore, manifest: object) -> None:
    store.replace(layout.manifest(PLACE), json.dumps(manifest).encode())


class TestStatus:
    """What is live, and since when."""

    def test_before_the_first_publish_nothing_is_live_and_nothing_is_written(
        self, project: Project, surface: Surface
    ) -> None:
        status = surface_status(project.store, surface, now=FLIPPED)

        assert status.live is None
        assert status.to_json() == {
            "tenant": "demo",
            "surface": "home",
            "variant_of": None,
            "live": False,
            "day": None,
            "window": None,
            "generation": None,
            "pinned": False,
            "pin": None,
            "updated_at": None,
            "age_seconds": None,
            "days_behind": None,
            "stale": True,
            "stale_because": "nothing is live, though 2026-01-01, its first day, is over",
            "kinds": {},
            "sinks": [],
            "error": None,
        }
        assert not (project.folder / "var").exists()

    def test_it_names_window_generation_versions_and_sizes(
        self, project: Project, surface: Surface
    ) -> None:
        put_live(project.store, {"popularity": POPULARITY})

        status = surface_status(project.store, surface, now=FLIPPED + timedelta(hours=5))

        uri = project.store.uri("objectstore/demo/home/popularity/version-of-popularity.json")
        assert status.to_json() == {
            "tenant": "demo",
            "surface": "home",
            "variant_of": None,
            "live": True,
            "day": "2026-01-01",
            "window": {"start": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z"},
            "generation": 1,
            "pinned": False,
            "pin": None,
            "updated_at": "2026-01-02T03:00:00.000000Z",
            "age_seconds": 5 * 3600,
            "days_behind": 0,
            "stale": False,
            "stale_because": None,
            "kinds": {
                "popularity": {
                    "version": "version-of-popularity",
                    "uri": uri,
                    "size_bytes": len(json.dumps(POPULARITY)),
                }
            },
            "sinks": [],
            "error": None,
        }

    def test_it_says_that_publishes_are_held_back(self, project: Project, surface: Surface) -> None:
        put_live(project.store, {"popularity": POPULARITY})
        pin(project.store)

        status = surface_status(project.store, surface, now=FLIPPED).to_json()

        assert (status["generation"], status["pinned"]) == (2, True)
        assert status["pin"] == {
            "since": "2026-01-02T09:00:00.000000Z",
            "who": "somebody",
            "reason": "a test",
        }

    @pytest.mark.parametrize(
        ("now", "behind"),
        [
            (datetime(2026, 1, 2, 0, 0, tzinfo=UTC), 0),
            (datetime(2026, 1, 2, 23, 59, tzinfo=UTC), 0),
            (datetime(2026, 1, 3, 0, 0, tzinfo=UTC), 1),
            (datetime.fromisoformat("2026-01-03T00:30:00+02:00"), 0),
            (datetime(2026, 2, 1, tzinfo=UTC), 30),
            (datetime(2026, 2, 2, tzinfo=UTC), 30),  # the surface ends with 31 January
            (datetime(2030, 1, 1, tzinfo=UTC), 30),
            (datetime(2025, 12, 1, tzinfo=UTC), 0),  # a clock that is behind
        ],
    )
    def test_a_surface_is_behind_by_the_whole_utc_days_it_could_have_published(
        self, project: Project, surface: Surface, now: datetime, behind: int
    ) -> None:
        put_live(project.store, {"popularity": POPULARITY})

        assert surface_status(project.store, surface, now=now).days_behind == behind

    def test_what_leaves_the_artifacts_as_they_are_makes_them_no_younger(
        self, project: Project, surface: Surface
    ) -> None:
        """Retention flips the pointer at night: hours counted from there would never run out."""
        put_live(project.store, {"popularity": POPULARITY})
        pin(project.store)

        status = surface_status(project.store, surface, now=FLIPPED + timedelta(hours=7))

        assert status.generation == 2
        assert (status.flipped_at, status.age) == (FLIPPED, timedelta(hours=7))

    def test_an_age_of_zero_is_zero_and_not_unknown(
        self, project: Project, surface: Surface
    ) -> None:
        put_live(project.store, {"popularity": POPULARITY})

        assert surface_status(project.store, surface, now=FLIPPED).to_json()["age_seconds"] == 0

    def test_a_missing_blob_has_no_size_and_the_others_keep_theirs(
        self, project: Project, surface: Surface
    ) -> None:
        put_live(project.store, {"popularity": POPULARITY, "cooc": COOC})
        project.store.delete(layout.blob(PLACE, "cooc", "version-of-cooc"))

        kinds = surface_status(project.store, surface, now=FLIPPED).kinds

        assert kinds["cooc"].size_bytes is None
        assert kinds["cooc"].version == "version-of-cooc"
        assert kinds["popularity"].size_bytes == len(json.dumps(POPULARITY))

    @pytest.mark.parametrize("updated_at", ["2026-01-02T03:00:00.123456789Z", "2026-01-02T03:00Z"])
    def test_a_manifest_of_another_producer_is_live_without_a_generation(
        self, project: Project, surface: Surface, updated_at: str
    ) -> None:
        put_manifest(
            project.store,
            {"current": {"popularity": "file:///elsewhere/v1.json"}, "updated_at": updated_at},
        )

        status = surface_status(project.store, surface, now=FLIPPED + timedelta(minutes=1))

        assert status.to_json() | {"kinds": None} == {
            "tenant": "demo",
            "surface": "home",
            "variant_of": None,
            "live": True,
            "day": None,
            "window": None,
            "generation": None,
            "pinned": False,
            "pin": None,
            "updated_at": updated_at,
            "age_seconds": 60,
            "days_behind": None,
            "stale": True,
            "stale_because": stale_because(status),
            "kinds": None,
            "sinks": [],
            "error": None,
        }
        assert status.kinds["popularity"].version == "v1"
        assert status.kinds["popularity"].size_bytes is None

    @pytest.mark.parametrize("updated_at", ["yesterday", "", "2026-01-02T03:00:00"])
    def test_a_time_that_is_none_gives_no_age(
        self, project: Project, surface: Surface, updated_at: str
    ) -> None:
        put_manifest(project.store, {"current": {}, "updated_at": updated_at})

        status = surface_status(project.store, surface, now=FLIPPED)

        assert status.age is None
        assert status.to_json()["age_seconds"] is None

    @pytest.mark.parametrize("manifest", [[], {}, {"current": 3, "updated_at": ""}, "text"])
    def test_a_damaged_manifest_is_an_error_that_names_it_and_nothing_else_is_known(
        self, project: Project, surface: Surface, manifest: object
    ) -> None:
        put_manifest(project.store, manifest)

        status = surface_status(project.store, surface, now=FLIPPED)

        where = project.store.uri(layout.manifest(PLACE))
        assert str(status.error).startswith(f"{where} is not a manifest: ")
        assert status.to_json() == {
            "tenant": "demo",
            "surface": "home",
            "variant_of": None,
            "live": None,
            "day": None,
            "window": None,
            "generation": None,
            "pinned": None,
            "pin": None,
            "updated_at": None,
            "age_seconds": None,
            "days_behind": None,
            "stale": True,
            "stale_because": f"what is live cannot be told: {status.error}",
            "kinds": {},
            "sinks": [],
            "error": status.error,
        }


# `on(1)` is 8 January, published on 10 January at 02:00: the newest day that is over is the 9th.


def judged(shop: Shop, **changes: Any) -> str | None:
    return stale_because(surface_status(shop.store, limited(shop, **changes), now=shop.time()))


class TestDaysBehind:
    """Days behind, against the newest day that could be live."""

    @pytest.mark.parametrize("most", [1, 2])
    def test_a_limit_is_inclusive(self, shop: Shop, most: int) -> None:
        shop.day(on(1), 1)

        assert judged(shop, **days(most)) is None

    def test_one_more_is_stale_and_says_knob_value_and_days(self, shop: Shop) -> None:
        shop.day(on(1), 1)

        assert judged(shop, **days(0)) == (
            "freshness.max_days_behind is 0, found 1: 2020-01-08 is live, 2020-01-09 could be"
        )

    def test_by_default_a_whole_day_may_go_by(self, shop: Shop) -> None:
        shop.day(on(1), 1)

        shop.time.passes(hours=21, minutes=59)
        assert judged(shop) is None
        shop.time.passes(minutes=1)

        assert judged(shop) == (
            "freshness.max_days_behind is 1, found 2: 2020-01-08 is live, 2020-01-10 could be"
        )

    def test_a_day_that_is_live_before_it_is_over_counts_as_none_behind(self, shop: Shop) -> None:
        shop.day(on(5), 1)

        assert surface_status(shop.store, shop.surface, now=shop.time()).days_behind == 0

    def test_a_surface_whose_last_day_is_live_is_never_stale(self, shop: Shop) -> None:
        shop.day(on(1), 1)
        shop.time.passes(days=1000)

        assert judged(shop, end_date=on(2), **days(0, 1)) is None

    def test_a_surface_that_ended_before_its_last_day_was_live_is(self, shop: Shop) -> None:
        shop.day(on(1), 1)
        shop.time.passes(days=1000)

        assert judged(shop, end_date=on(4), **days(1)) == (
            "freshness.max_days_behind is 1, found 2: 2020-01-08 is live, 2020-01-10 could be"
        )


class TestHoursSinceTheFlip:
    """Hours since what is live was changed."""

    def test_a_limit_is_inclusive(self, shop: Shop) -> None:
        shop.day(on(2), 1)
        shop.time.passes(hours=3)

        assert judged(shop, **days(1, 3)) is None

    def test_more_is_stale_and_says_knob_and_value(self, shop: Shop) -> None:
        shop.day(on(2), 1)
        shop.time.passes(hours=3, minutes=30)

        assert judged(shop, **days(1, 3)) == "freshness.max_hours_since_flip is 3, found 3.5"

    def test_they_are_not_counted_by_default(self, shop: Shop) -> None:
        shop.day(on(2), 1)
        shop.time.passes(hours=21)

        assert judged(shop) is None

    def test_a_pin_does_not_start_them_anew(self, shop: Shop) -> None:
        """Retention flips as a pin does, night after night: they would never run out."""
        shop.day(on(2), 1)
        shop.time.passes(hours=4)
        pointer.pin(shop.store, shop.surface, WHY)

        said = judged(shop, **days(1, 3))

        assert said is not None
        assert said.startswith("freshness.max_hours_since_flip is 3, found 4.0; pinned since ")

    def test_both_limits_are_told_at_once(self, shop: Shop) -> None:
        shop.day(on(1), 1)
        shop.time.passes(days=1)

        assert judged(shop, **days(1, 3)) == (
            "freshness.max_days_behind is 1, found 2: 2020-01-08 is live, 2020-01-10 could be; "
            "freshness.max_hours_since_flip is 3, found 24.0"
        )

    def test_a_manifest_without_a_time_is_stale_where_hours_are_counted(self, shop: Shop) -> None:
        current = shop.stage(on(2), 1)
        put_foreign(shop, current, updated_at="yesterday")

        assert judged(shop) is None
        assert judged(shop, **days(1, 3)) == (
            "freshness.max_hours_since_flip is 3, and the manifest has no usable time: 'yesterday'"
        )


def put_foreign(shop: Shop, current: object, *, updated_at: str = "2020-01-10T02:00:00Z") -> None:
    """Put another producer's manifest, which has no publication record."""
    manifest = {"v": 1, "current": current, "updated_at": updated_at}
    shop.store.replace(layout.manifest(PLACE), json.dumps(manifest).encode())


class TestWithoutAWindow:
    """What can be told when there is no window to count from."""

    def test_nothing_live_is_stale_once_the_first_day_is_over(self, shop: Shop) -> None:
        assert judged(shop, start_date=on(2)) == (
            "nothing is live, though 2020-01-09, its first day, is over"
        )

    @pytest.mark.parametrize("first", [3, 30])
    def test_before_that_nothing_is_due(self, shop: Shop, first: int) -> None:
        assert judged(shop, start_date=on(first)) is None

    @pytest.mark.usefixtures("fast")
    def test_another_producer_whose_documents_cannot_be_read_is_stale_and_told(
        self, shop: Shop
    ) -> None:
        put_foreign(shop, {"popularity": "file:///elsewhere/v1.json"})

        assert judged(shop) == (
            "another producer wrote the manifest, and none of the documents it names can be read, "
            "so it is unknown which day is live"
        )

    def test_another_producer_whose_documents_can_be_read_is_judged_by_them(
        self, shop: Shop
    ) -> None:
        put_foreign(shop, shop.stage(on(1), 1))

        assert judged(shop) is None
        assert judged(shop, **days(0)) == (
            "freshness.max_days_behind is 0, found 1: 2020-01-08 is live, 2020-01-09 could be"
        )

    def test_a_damaged_manifest_is_stale_since_nobody_knows(self, shop: Shop) -> None:
        shop.store.replace(layout.manifest(PLACE), b"{")

        assert str(judged(shop)).startswith("what is live cannot be told: file://")


class TestPinned:
    """A pin explains why a surface is stale, and is no excuse."""

    def test_it_is_said_since_when_by_whom_and_why(self, shop: Shop) -> None:
        shop.day(on(0), 1)
        shop.day(on(1), 2)
        shop.rollback("previous", pin=True)
        shop.time.passes(days=1)

        assert judged(shop) == (
            "freshness.max_days_behind is 1, found 3: 2020-01-07 is live, 2020-01-10 could be; "
            "pinned since 2020-01-10T02:00:00.000000Z by somebody: an incident"
        )

    def test_a_fresh_surface_may_be_pinned(self, shop: Shop) -> None:
        shop.day(on(2), 1)
        pointer.pin(shop.store, shop.surface, WHY)

        assert judged(shop) is None
