"""What gates found last, for Prometheus: of the newest day that was judged, and of a release."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Final

from prometheus_client.core import GaugeMetricFamily, Metric

from recsys_assets.config import Surface
from recsys_assets.errors import RecsysAssetsError
from recsys_assets.live.status import SurfaceStatus
from recsys_assets.storage.found import Figures, Found, read_found, refused_days
from recsys_assets.storage.publications import read_time
from recsys_assets.storage.store import Store

_LOG = logging.getLogger(__name__)

# Every metric: what it says, and its labels beside those of the surface.
_METRICS: Final[Mapping[str, tuple[str, Sequence[str]]]] = {
    "recsys_gate_value": ("A number of the newest day that gates judged.", ["check", "number"]),
    "recsys_gate_usual_value": (
        "The level that gates hold the number to.",
        ["check", "number"],
    ),
    "recsys_gate_margin_used_ratio": (
        "How far the number is off its level, as a part of its margin; negative is below.",
        ["check", "number"],
    ),
    "recsys_gate_failed": (
        "Whether a check found the newest judged day unsound, and nobody accepted that.",
        ["check"],
    ),
    "recsys_gate_drifting": (
        "Whether a number of a check is off to one side for three days, within its margin.",
        ["check"],
    ),
    "recsys_gate_day_timestamp_seconds": ("When the newest judged day begins.", []),
    "recsys_gate_refused_days": (
        "Days that gates refuse and nobody has accepted, of those that would say what is usual.",
        [],
    ),
    "recsys_gate_refused_timestamp_seconds": (
        "Since when the first of these is refused; missing without one.",
        [],
    ),
    "recsys_release_share_ratio": (
        "What a kind that was to become live holds of what happened, when last compared.",
        ["kind", "number"],
    ),
    "recsys_release_live_share_ratio": (
        "What the kind that was live then holds of the same.",
        ["kind", "number"],
    ),
    "recsys_release_margin_used_ratio": (
        "How far it is below what is usual, as a part of its margin.",
        ["kind", "number"],
    ),
    "recsys_release_failed": (
        "Whether a check found it worse than what was live; not what is explained or was forced.",
        ["check"],
    ),
    "recsys_release_day_timestamp_seconds": ("When the day that was compared last begins.", []),
    "recsys_release_refused_timestamp_seconds": (
        "Since when gates hold back a day that is newer than what is live; missing otherwise.",
        [],
    ),
}
Sample = tuple[str, Sequence[str], float]  # name, values of its own labels, value


@dataclass(frozen=True)
class _Last:
    """What gates found last of a surface."""

    day: Found | None = None
    refused: Mapping[date, datetime] = field(default_factory=dict)
    release: Found | None = None
    catalog: Found | None = None


def gate_metrics(store: Store, statuses: Iterable[SurfaceStatus]) -> Iterator[Metric]:
    """Yield what gates found last of every surface; nothing of one that cannot be read."""
    metrics = {
        name: GaugeMetricFamily(name, text, labels=["tenant", "surface", *labels])
        for name, (text, labels) in _METRICS.items()
    }
    for status in statuses:
        surface = status.surface
        if surface.gates.are_on:
            for name, labels, value in _samples(status, _read(store, surface)):
                metrics[name].add_metric([surface.tenant, surface.surface, *labels], value)
    yield from metrics.values()


def _read(store: Store, surface: Surface) -> _Last:
    """Read three small objects and a listing that is nearly always empty.

    A variant has no days of its own: its base tells of them.
    """
    place = surface.place
    try:
        days = read_found(store, place, "day"), refused_days(store, place)
        return _Last(
            *days, read_found(store, place, "release"), read_found(store, place, "catalog")
        )
    except (RecsysAssetsError, OSError) as error:
        _LOG.warning("what gates found of %s cannot be read: %s", surface.name, error)
        return _Last()


def _samples(status: SurfaceStatus, last: _Last) -> Iterator[Sample]:
    if day := last.day:
        named = ("value", "usual_value", "margin_used_ratio")
        yield from _of_found("recsys_gate", day, named)
        yield "recsys_gate_day_timestamp_seconds", [], _begins(day.day)
        for check in day.failed:
            yield "recsys_gate_drifting", [check], check in day.drifting
        oldest = day.day - timedelta(days=status.surface.gates.history_days)
        refused = {of: since for of, since in last.refused.items() if of >= oldest}
        yield "recsys_gate_refused_days", [], len(refused)
        if refused:
            first = min(refused.values())
            yield "recsys_gate_refused_timestamp_seconds", [], first.timestamp()
    named, since = ("share_ratio", "live_share_ratio", "margin_used_ratio"), list[datetime]()
    for compared in filter(None, (last.release, last.catalog)):
        found, refused_at = compared, read_time(compared.found_at)
        if found.refused and _is_live(status, found.day):  # somebody has forced it
            found = replace(found, failed=dict.fromkeys(found.failed, False))
        elif found.refused and refused_at:
            since.append(refused_at)
        yield from _of_found("recsys_release", found, named)
    if since:
        yield "recsys_release_refused_timestamp_seconds", [], min(since).timestamp()
    if last.release:
        yield "recsys_release_day_timestamp_seconds", [], _begins(last.release.day)


def _of_found(prefix: str, found: Found, named: Sequence[str]) -> Iterator[Sample]:
    for number, of in found.numbers.items():
        for name, value in zip(named, _values(of), strict=True):
            if value is not None:
                yield f"{prefix}_{name}", [of.of, number], value
    for check, has_failed in found.failed.items():
        yield f"{prefix}_failed", [check], has_failed


def _begins(day: date) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()


def _values(of: Figures) -> tuple[float | None, ...]:
    return of.value, of.usual, of.margin_used


def _is_live(status: SurfaceStatus, day: date) -> bool:
    """Tell whether a day, or a later one, is live."""
    window = status.live.window if status.live else None
    return window is not None and window.last_day >= day
