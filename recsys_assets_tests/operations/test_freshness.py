"""When what is live is stale, and what is said about it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from recsys_assets.config import Surface
from recsys_assets.operations import pointer
from recsys_assets.operations.freshness import longest_without_a_day, stale_because
from recsys_assets.operations.inspect import surface_status
from recsys_assets.storage import layout
from recsys_assets_tests.operations.conftest import WHY, Shop, on

# `on(1)` is 8 January, published on 10 January at 02:00: the newest day that is over is the 9th.


def limited(shop: Shop, **changes: Any) -> Surface:
    """Return the surface of the shop with other dates or another `freshness`."""
    members = shop.surface.model_dump() | changes
    return Surface.model_validate(members)


def judged(shop: Shop, **changes: Any) -> str | None:
    return stale_because(surface_status(shop.store, limited(shop, **changes), now=shop.time()))


def days(most: int, hours: int | None = None) -> dict[str, Any]:
    return {"freshness": {"max_days_behind": most, "max_hours_since_flip": hours}}


class TestDays:
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


class TestHours:
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
    shop.store.replace(layout.manifest("demo", "home"), json.dumps(manifest).encode())


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
        shop.store.replace(layout.manifest("demo", "home"), b"{")

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


class TestPolicy:
    """What Dagster's own policy is derived from."""

    @pytest.mark.parametrize(
        ("limits", "longest"),
        [
            (days(0), timedelta(days=1)),
            (days(1), timedelta(days=2)),
            (days(1, 36), timedelta(hours=36)),
            (days(1, 100), timedelta(days=2)),
        ],
    )
    def test_it_allows_what_the_check_allows(
        self, shop: Shop, limits: dict[str, Any], longest: timedelta
    ) -> None:
        assert longest_without_a_day(limited(shop, **limits), now=shop.time()) == longest

    def test_a_surface_that_has_ended_has_none(self, shop: Shop) -> None:
        surface = limited(shop, end_date=on(4))

        ends = datetime(2020, 1, 11, tzinfo=UTC)
        assert longest_without_a_day(surface, now=ends - timedelta(seconds=1)) is not None
        assert longest_without_a_day(surface, now=ends) is None
