"""Whether what is live is as new as `freshness` of surfaces.yaml promises."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from recsys_assets.config import Surface

if TYPE_CHECKING:  # which says itself whether it is stale
    from recsys_assets.operations.inspect import SurfaceStatus


def stale_because(status: SurfaceStatus) -> str | None:
    """Say why what is live is older than the surface's `freshness` allows; None when it is fresh.

    A surface that is pinned is held to the same limits: its readers get the old days all the same.
    What cannot be read counts as stale.
    """
    reasons = [*_broken_promises(status)]
    if reasons and status.pin:
        pin = status.pin
        reasons.append(f"pinned since {pin.published_at} by {pin.who}: {pin.reason}")
    return "; ".join(reasons) or None


def _broken_promises(status: SurfaceStatus) -> Iterator[str]:
    surface, live, newest = status.surface, status.live, status.newest_day
    limits = surface.freshness
    if status.error:
        yield f"what is live cannot be told: {status.error}"
        return
    if live is None:
        if newest:
            yield f"nothing is live, though {surface.start_date}, its first day, is over"
        return
    if live.window is None or status.days_behind is None:
        yield (
            "another producer wrote the manifest, and none of the documents it names can be read, "
            "so it is unknown which day is live"
        )
    elif status.days_behind > limits.max_days_behind:
        yield (
            f"freshness.max_days_behind is {limits.max_days_behind}, found {status.days_behind}: "
            f"{live.window.end - timedelta(days=1)} is live, {newest} could be"
        )
    is_complete = (
        surface.end_date is not None and live.window and live.window.end >= surface.end_date
    )
    if limits.max_hours_since_flip is None or is_complete:
        return
    limit = f"freshness.max_hours_since_flip is {limits.max_hours_since_flip}"
    if status.age is None:
        yield f"{limit}, and the manifest has no usable time: {live.updated_at!r}"
    elif status.age > timedelta(hours=limits.max_hours_since_flip):
        hours = status.age.total_seconds() / 3600
        yield f"{limit}, found {hours:.1f}"


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
