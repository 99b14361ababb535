"""How long it takes from a day's last raw file to the flip that makes the day live.

Each landing is counted once, when the day is made alone and becomes live: by sensors, a schedule or
a person. Days of a backfill are not, nor is a day that is made again of the same files. The counts
are kept beside what is published and only grow, so whoever asks may start and stop as they like.
"""

from __future__ import annotations

import json
import logging
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime
from itertools import accumulate
from typing import Any, Final

from prometheus_client.core import HistogramMetricFamily

from recsys_assets.config import DayPattern, Surface
from recsys_assets.errors import RecsysAssetsError
from recsys_assets.events.provenance import read_provenance
from recsys_assets.events.sources import open_source
from recsys_assets.events.sources.files import Files
from recsys_assets.places import Place
from recsys_assets.storage import layout, open_store
from recsys_assets.storage.publications import read_live, read_time
from recsys_assets.storage.registry import to_bytes
from recsys_assets.storage.store import Store

METRIC: Final = "recsys_surface_landing_to_live_seconds"
# Upper bounds. A minute is the usual time to settle, and a quarter more is what the rest may take.
BOUNDS_S: Final = (15, 30, 60, 75, 90, 120, 300, 600, 1800, 3600, 6 * 3600, 24 * 3600)
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Latencies:
    """How often it took how long.

    Attributes:
        counts: how often it took up to each bound, and not up to the one before; longer ones last.
        sum_s: of all of them, in seconds.
        landed_at: when the newest landing was that is counted, RFC 3339; "" where none is.
    """

    counts: Sequence[int] = (0,) * (len(BOUNDS_S) + 1)
    sum_s: float = 0.0
    landed_at: str = ""

    def with_another(self, seconds: float, landed_at: datetime) -> Latencies:
        """Return the same with one that took so long."""
        counts = [*self.counts]
        counts[bisect_left(BOUNDS_S, seconds)] += 1
        return replace(
            self,
            counts=counts,
            sum_s=round(self.sum_s + seconds, 3),
            landed_at=landed_at.isoformat(),
        )


def count_flip(store: Store, surface: Surface, day: date, run_id: str) -> None:
    """Count how long the day took to become live, if this run has made it live and it is known.

    What cannot be read or written is logged: the day is published all the same.
    """
    try:
        live = read_live(store, surface.place)
        flip = live.publication if live else None
        if flip is None or flip.run_id != run_id or flip.window.last_day != day:
            return
        landed, flipped = landed_at(store, surface, day), read_time(flip.published_at)
        if landed is None or flipped is None:
            return
        known = read_latencies(store, surface.place)
        newest = read_time(known.landed_at)
        is_new = newest is None or newest < landed
        if is_new and landed <= flipped:  # else it was written anew since, and is made again
            seconds = (flipped - landed).total_seconds()
            _write(store, surface.place, known.with_another(seconds, landed))
    except (RecsysAssetsError, OSError) as error:
        _LOG.warning("%s %s: how long it took is not counted: %s", surface.name, day, error)


def landed_at(store: Store, surface: Surface, day: date) -> datetime | None:
    """Return when the last of a day's raw files was written, or the mark that they are all there.

    By the clock of whoever keeps them. Files of the days around it do not count. None where the
    files are not there any more, and for tables, whose rows have no such time.
    """
    if not isinstance(open_source(surface), Files):
        return None
    raw, pattern = open_store(surface.source.path), DayPattern(surface.source.pattern)
    read = read_provenance(store, layout.canonical(surface.events_of, day)).files
    days = {file.name: pattern.days_in(file.name) for file in read}
    names = [name for name, of in days.items() if not of or day in of]
    marker = surface.of_events.success_marker(day)
    found = [raw.stat(name) for name in [*names, *([marker] if marker else [])]]
    return max((each.modified for each in found if each), default=None)


def read_latencies(store: Store, place: Place) -> Latencies:
    """Return what is counted of a surface; nothing where that is damaged, or has other bounds.

    Raises:
        StoreUnavailableError: the object store does not answer.
    """
    key = layout.latencies(place)
    found = store.read(key)
    if found is None:
        return Latencies()
    try:
        members: dict[str, Any] = json.loads(found.data)
        if members["bounds_s"] != [*BOUNDS_S]:
            return Latencies()
        counts = [int(count) for count in members["counts"]]
        if len(counts) != len(BOUNDS_S) + 1:
            raise ValueError("there are more or fewer counts than bounds")
        return Latencies(counts, float(members["sum_s"]), str(members["landed_at"]))
    except (ValueError, KeyError, TypeError) as error:
        _LOG.warning("%s is damaged and begun anew: %r", store.location(key), error)
        return Latencies()


def _write(store: Store, place: Place, latencies: Latencies) -> None:
    document = {"v": 1, "bounds_s": BOUNDS_S, **asdict(latencies)}
    store.replace(layout.latencies(place), to_bytes(document))


def latency_metric(store: Store, surfaces: Iterable[Surface]) -> HistogramMetricFamily:
    """Return what is counted of each surface as a histogram; one that cannot be read has none."""
    metric = HistogramMetricFamily(
        METRIC,
        "From the last raw file of a day to the flip that makes the day live.",
        labels=["tenant", "surface"],
    )
    for surface in surfaces:
        try:
            known = read_latencies(store, surface.place)
        except (RecsysAssetsError, OSError) as error:
            _LOG.warning("%s: %s", surface.name, error)
            continue
        bounds = [*map(str, map(float, BOUNDS_S)), "+Inf"]
        buckets = [*zip(bounds, accumulate(known.counts), strict=True)]
        metric.add_metric([surface.tenant, surface.surface], buckets, known.sum_s)
    return metric
