"""How long a surface can go without a new day before it is stale for certain."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from recsys_assets.config import Surface


def longest_without_a_day(surface: Surface, *, now: datetime) -> timedelta | None:
    """Return the time without a new day after which a surface is stale for certain.

    For Dagster's policy, which sees that a day was materialized and not which one. A day is
    materialized after it is over, so the policy fails after `stale_because` does, by as much as
    the day came late. None when every day of the surface is over: then nothing new is due.
    """
    limits = surface.freshness
    if surface.end_date and surface.end_date <= now.astimezone(UTC).date():
        return None
    days = timedelta(days=limits.max_days_behind + 1)
    if limits.max_hours_since_flip is None:
        return days
    return min(days, timedelta(hours=limits.max_hours_since_flip))
