"""What is live for a surface, and whether it is as new as `freshness` promises."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from recsys_assets.config import Surface
from recsys_assets.errors import RecsysAssetsError, StorageError
from recsys_assets.live.history import began_pin, last_change
from recsys_assets.live.sinks import SinkStatus, sink_statuses
from recsys_assets.storage.publications import Live, Publication, read_live, read_time
from recsys_assets.storage.registry import version_of
from recsys_assets.storage.store import Store


@dataclass(frozen=True)
class LiveKind:
    """One live artifact document; `size_bytes` is None when the blob is missing."""

    version: str
    uri: str
    size_bytes: int | None


@dataclass(frozen=True)
class SurfaceStatus:
    """What is live for a surface now; `live` is None before the first publish."""

    surface: Surface
    live: Live | None
    kinds: Mapping[str, LiveKind]
    newest_day: date | None  # the newest that is over and could be live; None before the first is
    days_behind: int | None  # whole days between the live window's last day and `newest_day`
    # When a flip changed what is live, and how long ago; None without a usable time.
    flipped_at: datetime | None
    age: timedelta | None
    pin: Publication | None = None  # the flip since which publishes are held back
    error: str | None = None  # why what is live cannot be told; nothing else is known then
    sinks: tuple[SinkStatus, ...] = ()

    @property
    def pinned_at(self) -> datetime | None:
        """Since when publishes are held back; None when they are not."""
        return read_time(self.pin.published_at) if self.pin else None

    @property
    def generation(self) -> int | None:
        """The generation of what is live; None when it has no record."""
        return self.live.publication.generation if self.live and self.live.publication else None

    def to_json(self) -> dict[str, Any]:
        """Return the status as it is printed for machines."""
        live, pin = self.live, self.pin
        because = stale_because(self)
        return {
            "tenant": self.surface.tenant,
            "surface": self.surface.surface,
            "variant_of": self.surface.variant_of,
            "live": None if self.error else live is not None,
            "day": str(live.window.last_day) if live and live.window else None,
            "window": live.window.to_json() if live and live.window else None,
            "generation": self.generation,
            "pinned": None if self.error else pin is not None,
            "pin": pin and {"since": pin.published_at, "who": pin.who, "reason": pin.reason},
            "updated_at": live.updated_at if live else None,
            "age_seconds": (None if self.age is None else round(self.age.total_seconds())),
            "days_behind": self.days_behind,
            "stale": because is not None,
            "stale_because": because,
            "kinds": {
                kind: {"version": of.version, "uri": of.uri, "size_bytes": of.size_bytes}
                for kind, of in self.kinds.items()
            },
            "sinks": [sink.to_json() for sink in self.sinks],
            "error": self.error,
        }


def surface_status(store: Store, surface: Surface, *, now: datetime) -> SurfaceStatus:
    """Return what is live for a surface; a damaged manifest is its `error`."""
    newest = surface.newest_day(now)
    try:
        live = read_live(store, surface.place)
        sinks = sink_statuses(store, surface, live, now=now)
        if live is None:
            return SurfaceStatus(surface, None, {}, newest, None, None, None, sinks=sinks)
        kinds = live_kinds(store, live)
        pin, changed = began_pin(store, live), last_change(store, live)
    except (RecsysAssetsError, OSError) as error:
        return SurfaceStatus(surface, None, {}, newest, None, None, None, error=str(error))
    flipped_at = read_time(changed.published_at if changed else live.updated_at)
    age = None if flipped_at is None else now - flipped_at
    behind = _days_behind(live, newest)
    return SurfaceStatus(surface, live, kinds, newest, behind, flipped_at, age, pin, sinks=sinks)


def _days_behind(live: Live, newest: date | None) -> int | None:
    if live.window is None:
        return None
    return max(0, (newest - live.window.last_day).days) if newest else 0


def live_kinds(store: Store, live: Live) -> dict[str, LiveKind]:
    """Return the documents that a manifest names, by kind."""
    return {kind: _live_kind(store, uri) for kind, uri in live.current.items()}


def _live_kind(store: Store, uri: str) -> LiveKind:
    version = version_of(uri)
    try:
        found = store.stat(store.key(uri))
    except StorageError:
        found = None
    return LiveKind(version, uri, found.size_bytes if found else None)


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
            f"{live.window.last_day} is live, {newest} could be"
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
