"""Whether the sinks of a surface hold what is live, by what is known of them in the root."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from prometheus_client.core import GaugeMetricFamily, Metric

from recsys_assets.config import AnySink, Surface
from recsys_assets.live.history import recent
from recsys_assets.storage.deliveries import Known, is_behind, read_known
from recsys_assets.storage.publications import Live, read_time
from recsys_assets.storage.store import Store


@dataclass(frozen=True)
class SinkStatus:
    """What is known of a sink.

    Attributes:
        sink: of the configuration.
        known: what it held when it was seen last, and what has failed since.
        behind: for how long other versions have been live than it holds; None where it holds them.
    """

    sink: AnySink
    known: Known
    behind: timedelta | None

    @property
    def is_late(self) -> bool:
        """Whether it has been behind for longer than it may."""
        most = timedelta(minutes=self.sink.max_minutes_behind)
        return self.behind is not None and self.behind > most

    def to_json(self) -> dict[str, Any]:
        """Return the status as it is printed for machines."""
        known, held = self.known, self.known.held
        return {
            "sink": self.sink.name,
            "type": self.sink.type,
            "behind": self.behind is not None,
            "behind_seconds": None if self.behind is None else round(self.behind.total_seconds()),
            "late": self.is_late,
            "generation": held.generation if held else None,
            "versions": dict(held.versions) if held else {},
            "delivered_at": known.delivered_at,
            "seen_at": known.seen_at,
            "failed": vars(known.failure) if known.failure else None,
        }


def sink_statuses(
    store: Store, surface: Surface, live: Live | None, *, now: datetime
) -> tuple[SinkStatus, ...]:
    """Return what is known of the sinks of a surface. No connection is opened.

    Raises:
        StoreUnavailableError: the object store does not answer.
    """
    return tuple(_status(store, surface, sink, live, now) for sink in surface.sinks)


def _status(
    store: Store, surface: Surface, sink: AnySink, live: Live | None, now: datetime
) -> SinkStatus:
    known = read_known(store, surface.place, sink.name)
    if live is None or not is_behind(live.current, known.held):
        return SinkStatus(sink, known, None)
    return SinkStatus(sink, known, max(timedelta(0), now - (_since(store, live, known) or now)))


def _since(store: Store, live: Live, known: Known) -> datetime | None:
    """Return when the oldest flip was since which other versions were live than are held."""
    since = read_time(live.updated_at)
    for publication in recent(store, live):
        reached = known.held is not None and publication.generation <= known.held.generation
        if reached or not is_behind(publication.current, known.held):
            break
        since = read_time(publication.published_at)
    return since


# Every metric of a sink: what it says, and its value, None where there is none.
_METRICS: Final[Mapping[str, str]] = {
    "recsys_sink_behind": "Whether other versions are live than the sink holds, as far as known.",
    "recsys_sink_behind_seconds": "Since when, as seconds until now; 0 when it is not behind.",
    "recsys_sink_max_behind_seconds": "max_minutes_behind: the most that is not late.",
    "recsys_sink_failures": "Deliveries that have failed since the last one that did not.",
    "recsys_sink_generation": "The generation that the sink holds; missing before the first.",
    "recsys_sink_delivery_timestamp_seconds": "When a delivery succeeded last.",
}


def sink_metrics(found: Iterable[tuple[Surface, SinkStatus]]) -> Iterator[Metric]:
    """Return the figures of sinks for Prometheus."""
    labels = ["tenant", "surface", "sink", "type"]
    metrics = {
        name: GaugeMetricFamily(name, text, labels=labels) for name, text in _METRICS.items()
    }
    for surface, status in found:
        of = [surface.tenant, surface.surface, status.sink.name, status.sink.type]
        for name, value in _values(status).items():
            if value is not None:
                metrics[name].add_metric(of, value)
    yield from metrics.values()


def _values(status: SinkStatus) -> dict[str, float | None]:
    known = status.known
    delivered = read_time(known.delivered_at or "")
    return {
        "recsys_sink_behind": status.behind is not None,
        "recsys_sink_behind_seconds": status.behind.total_seconds() if status.behind else 0,
        "recsys_sink_max_behind_seconds": status.sink.max_minutes_behind * 60,
        "recsys_sink_failures": known.failure.tries if known.failure else 0,
        "recsys_sink_generation": known.held.generation if known.held else None,
        "recsys_sink_delivery_timestamp_seconds": delivered.timestamp() if delivered else None,
    }
