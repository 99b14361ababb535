"""What happened on days: their samples, as gates keep them, or taken again of the events.

Nothing is written: a sample that is not kept is taken for this process alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

import polars as pl

from recsys_assets.compute.samples import Sample, take_sample
from recsys_assets.compute.scores import Asked
from recsys_assets.config import Surface
from recsys_assets.events.accepted import AcceptedDay, AcceptedDays
from recsys_assets.storage.profiles import read_profile
from recsys_assets.storage.store import Store


class Samples:
    """Samples of accepted days that gates did not find unsound."""

    def __init__(self, store: Store, surface: Surface, accepted: AcceptedDays) -> None:
        self._store = store
        self._surface = surface
        self._accepted = accepted
        self._known: dict[date, Sample | None] = {}
        self._before: tuple[Sequence[date], Asked] | None = None

    def of(self, day: date) -> Asked | None:
        """Return what happened on a day; None without a sound day that has events."""
        sample = self._sample(day)
        return Asked.of([sample]) if sample else None

    def before(self, first: date) -> Asked | None:
        """Return what happened on the last sound days before a day, as gates of a release want it.

        None while there are fewer than half of `gates.release.trusted_days`. Days are looked for as
        far back as twice as many. Earlier ones are not asked for again, so they are forgotten.
        """
        wanted = self._surface.gates.release.trusted_days
        days = [first - timedelta(days=back) for back in range(1, 2 * wanted + 1)]
        for old in [each for each in self._known if each < days[-1]]:
            del self._known[old]
        found = [day for day in days if self._sample(day)][:wanted]
        if 2 * len(found) < wanted:
            return None
        if self._before is None or self._before[0] != found:
            samples = [sample for day in reversed(found) if (sample := self._sample(day))]
            self._before = found, Asked.of(samples)
        return self._before[1]

    def _sample(self, day: date) -> Sample | None:
        if day not in self._known:
            accepted = self._accepted.get(day)
            self._known[day] = self._read(day, accepted) if accepted else None
        return self._known[day]

    def _read(self, day: date, accepted: AcceptedDay) -> Sample | None:
        place = self._surface.events_of
        profile = read_profile(self._store, place, day, accepted.fingerprint)
        if profile:
            return None if profile.is_empty or profile.failed else profile.sample
        events, most = accepted.frame, self._surface.gates.sample_events
        rows = int(events.select(pl.len()).collect().item())
        users = events.select(pl.col("user_id").unique()).collect().to_series().drop_nulls()
        return take_sample(events, users, rows=rows, most=most) if rows else None
