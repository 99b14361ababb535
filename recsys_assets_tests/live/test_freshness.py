"""How long a surface can go without a new day, which Dagster's own policy is derived from."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from recsys_assets.live.freshness import longest_without_a_day
from recsys_assets_tests.live.conftest import days, limited
from recsys_assets_tests.shop import Shop, on


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
