"""The figures of `recsys-assets status` for Prometheus: as text, as a file, or served."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    generate_latest,
    start_http_server,
    write_to_textfile,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from recsys_assets.config import Config
from recsys_assets.live.gate_figures import gate_metrics
from recsys_assets.live.latency import latency_metric
from recsys_assets.live.sinks import sink_metrics
from recsys_assets.live.status import SurfaceStatus, stale_because, surface_status
from recsys_assets.places import Place
from recsys_assets.storage import open_store

Clock = Callable[[], datetime]


def _seconds(time: datetime | None) -> float | None:
    return None if time is None else time.timestamp()


def _in_seconds(hours: int | None) -> float | None:
    return None if hours is None else hours * 3600


# Every metric of a surface: what it says, and its value, None where there is none.
_OF_SURFACES: Final[dict[str, tuple[str, Callable[[SurfaceStatus], float | None]]]] = {
    "recsys_surface_stale": (
        "Whether what is live is older than freshness in surfaces.yaml allows, or cannot be told.",
        lambda status: stale_because(status) is not None,
    ),
    "recsys_surface_status_error": (
        "Whether what is live cannot be read; most other figures are missing then.",
        lambda status: status.error is not None,
    ),
    "recsys_surface_live": (
        "Whether anything is live.",
        lambda status: None if status.error else status.live is not None,
    ),
    "recsys_surface_days_behind": (
        "Whole UTC days between the last day that is live and the newest that could be.",
        lambda status: status.days_behind,
    ),
    "recsys_surface_max_days_behind": (
        "freshness.max_days_behind: the most that is not stale.",
        lambda status: status.surface.freshness.max_days_behind,
    ),
    "recsys_surface_flip_timestamp_seconds": (
        "When a flip last changed what is live, a publish or a rollback.",
        lambda status: _seconds(status.flipped_at),
    ),
    "recsys_surface_max_flip_age_seconds": (
        "freshness.max_hours_since_flip in seconds; missing when hours are not counted.",
        lambda status: _in_seconds(status.surface.freshness.max_hours_since_flip),
    ),
    "recsys_surface_generation": (
        "The generation of what is live; it grows by one at each flip.",
        lambda status: status.generation,
    ),
    "recsys_surface_pinned": (
        "Whether publishes are held back until a release.",
        lambda status: None if status.error else status.pin is not None,
    ),
    "recsys_surface_pin_timestamp_seconds": (
        "Since when publishes are held back; missing when they are not.",
        lambda status: _seconds(status.pinned_at),
    ),
    "recsys_surface_variant": (
        "1 of a variant of another surface; missing of others.",
        lambda status: 1 if status.surface.variant_of else None,
    ),
    "recsys_surface_max_artifact_size_bytes": (
        "guardrails.max_artifact_bytes: the largest document that is published.",
        lambda status: status.surface.guardrails.max_artifact_bytes,
    ),
}
_MISTAKE: Final = "recsys_surface_mistake"
_SIZES: Final = "recsys_artifact_size_bytes"
_TIME: Final = "recsys_status_timestamp_seconds"


def utc_now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


def text(config: Config, *, clock: Clock = utc_now) -> str:
    """Return the figures of every surface in Prometheus' text format."""
    return generate_latest(_registry(config, clock)).decode()


def write(config: Config, path: Path, *, clock: Clock = utc_now) -> None:
    """Write the figures to a file, which is replaced whole: a reader never sees half of it.

    Raises:
        OSError: it cannot be written; what was there before still is.
    """
    write_to_textfile(str(path), _registry(config, clock))


def serve(config: Config, *, host: str, port: int, keep_s: float) -> None:
    """Serve the figures until the process is stopped.

    Args:
        config: the surfaces.
        host: the address to listen on.
        port: the port to listen on.
        keep_s: seconds for which figures are given again before they are read anew.

    Raises:
        OSError: the port cannot be used.
    """
    _, thread = start_http_server(port, host, _registry(config, utc_now, keep_s=keep_s))
    thread.join()


def _registry(config: Config, clock: Clock, *, keep_s: float = 0) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(Figures(config, clock=clock, keep_s=keep_s))
    return registry


class Figures(Collector):
    """Reads the state of every surface when it is asked, at most once in `keep_s` seconds."""

    def __init__(self, config: Config, *, clock: Clock = utc_now, keep_s: float = 0) -> None:
        self._config = config
        self._clock = clock
        self._keep_s = keep_s
        self._reading = threading.Lock()
        self._kept: list[Metric] = []
        self._read_at = float("-inf")

    def describe(self) -> Iterable[Metric]:
        """Name nothing beforehand, so that registering reads nothing."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Return every metric with its values."""
        with self._reading:
            if time.monotonic() - self._read_at >= self._keep_s:
                store, now = open_store(self._config.root), self._clock()
                surfaces = self._config.surfaces
                statuses = [surface_status(store, surface, now=now) for surface in surfaces]
                found = [*_metrics(statuses, now), *gate_metrics(store, statuses)]
                found.append(latency_metric(store, surfaces))
                found += sink_metrics(
                    (each.surface, sink) for each in statuses for sink in each.sinks
                )
                self._kept = [*found, _mistakes(self._config)]
                self._read_at = time.monotonic()
            return self._kept


def _metrics(statuses: list[SurfaceStatus], now: datetime) -> Iterator[Metric]:
    labels = ["tenant", "surface"]
    for name, (help, value_of) in _OF_SURFACES.items():
        metric = GaugeMetricFamily(name, help, labels=labels)
        for status in statuses:
            value = value_of(status)
            if value is not None:
                metric.add_metric([status.surface.tenant, status.surface.surface], value)
        yield metric
    sizes = GaugeMetricFamily(
        _SIZES, "Size of a live document; missing when it is.", labels=[*labels, "kind"]
    )
    for status in statuses:
        for kind, of in status.kinds.items():
            if of.size_bytes is not None:
                sizes.add_metric(
                    [status.surface.tenant, status.surface.surface, kind], of.size_bytes
                )
    yield sizes
    yield GaugeMetricFamily(_TIME, "When these figures were read.", value=now.timestamp())


def _mistakes(config: Config) -> Metric:
    """Return which surfaces have a mistake in their entry; they have no other figure."""
    found = {(of.tenant, of.surface): 0 for of in config.surfaces}
    for broken in config.broken:
        place = broken.place or Place("", broken.name)
        found[place.tenant, place.surface] = 1
    metric = GaugeMetricFamily(
        _MISTAKE,
        "Whether the entry of a surface has a mistake, so that nothing is done for it.",
        labels=["tenant", "surface"],
    )
    for labels, value in found.items():
        metric.add_metric(labels, value)
    return metric
