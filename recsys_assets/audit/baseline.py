"""What the accepted days before a day are known by: their profiles, made again where missing."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from functools import cached_property
from typing import Final

import polars as pl

from recsys_assets.compute.day_counts import DayCounts
from recsys_assets.compute.judging import judge_day, reference_of
from recsys_assets.compute.profiles import Profile, hours_of, profile_of
from recsys_assets.config import Surface
from recsys_assets.errors import StorageError
from recsys_assets.events.accepted import AcceptedDay, accepted_days
from recsys_assets.events.catalog import CatalogCache
from recsys_assets.events.listed import known_items
from recsys_assets.storage.overrides import Override
from recsys_assets.storage.profiles import KnownProfiles, read_profile, write_profile
from recsys_assets.storage.store import Store, read_each

_NOTHING: Final = (None, None)

_LOG = logging.getLogger(__name__)


class Baseline:
    """The profiles of accepted days, each read once.

    It is asked in the order of days, so what a run accepts is there when the next day asks.
    """

    def __init__(
        self,
        store: Store,
        surface: Surface,
        overrides: Sequence[Override],
        *,
        keeps: bool = True,
        known: KnownProfiles | None = None,
    ) -> None:
        """Begin without any.

        Args:
            store: the root.
            surface: whose days.
            overrides: that may restart it.
            keeps: whether profiles that are made again are stored.
            known: profiles that the process has read already.
        """
        self._store = store
        self._known_profiles = known
        self._keeps = keeps
        self._surface = surface
        self._overrides = [override for override in overrides if override.restart_baseline]
        self._known: dict[date, tuple[str, Profile] | None] = {}
        self._judged: dict[tuple[date, str], Profile] = {}

    def judged(self, fingerprint: str, profile: Profile) -> None:
        """Keep the profile of a day that was judged just now: it need not be read to judge others.

        Whether its events are accepted, the next day finds out.
        """
        place = self._surface.events_of
        write_profile(self._store, place, fingerprint, profile, self._known_profiles)
        self._judged = {(profile.day, fingerprint): profile}

    def before(self, day: date) -> list[Profile]:
        """Return the profiles of the accepted days that may say what is usual on a day.

        Raises:
            StoreUnavailableError: the object store does not answer.
        """
        span = self._surface.gates.history_days
        days = [day - timedelta(days=back) for back in range(span, 0, -1)]
        for old in [each for each in self._known if each < days[0]]:
            del self._known[old]
        unread = [each for each in days if each not in self._known]
        found = self._read_all(unread)
        for each, (accepted, profile) in found.items():  # the oldest first: each needs those before
            if accepted and profile is None:
                profile = self._made(each, accepted)
            elif accepted and profile and self._knew_less(profile):
                profile = self._judged_again(accepted, profile)
            self._known[each] = (accepted.fingerprint, profile) if accepted and profile else None
        return self._profiles(day)

    def of(self, days: Sequence[date]) -> dict[date, Profile]:
        """Return the profiles of the accepted days among some, ascending.

        Raises:
            StoreUnavailableError: the object store does not answer.
        """
        profiles: dict[date, Profile] = {}
        for day, (accepted, profile) in self._read_all(days).items():
            if accepted and profile is None:
                if day not in self._known:
                    self.before(day + timedelta(days=1))  # makes it, of those before it
                known = self._known[day]
                profile = known[1] if known else None
            if profile:
                profiles[day] = profile
        return profiles

    def starts(self, day: date) -> Mapping[str, date]:
        """Return, for each check whose baseline was restarted before a day, since when."""
        starts: dict[str, date] = {}
        for override in self._overrides:
            known = self._known.get(override.day)
            is_meant = override.fingerprint is None or (known and known[0] == override.fingerprint)
            if override.day < day and is_meant:
                for check in override.checks:
                    starts[check] = max(override.day, starts.get(check, override.day))
        return starts

    def _profiles(self, day: date) -> list[Profile]:
        return [of[1] for at, of in sorted(self._known.items()) if of and at < day]

    def _read_all(
        self, days: Sequence[date]
    ) -> dict[date, tuple[AcceptedDay | None, Profile | None]]:
        return dict(zip(days, read_each(self._read, days), strict=True))

    def _read(self, day: date) -> tuple[AcceptedDay | None, Profile | None]:
        """Read an accepted day and its profile; one that is damaged is told elsewhere."""
        place = self._surface.events_of
        if day < self._surface.start_date:
            return _NOTHING
        try:
            accepted = accepted_days(self._store, place, [day]).get(day)
        except StorageError as error:
            _LOG.warning("%s is not judged by: %s", day, error)
            return _NOTHING
        if accepted is None:
            return _NOTHING
        fingerprint = accepted.fingerprint
        judged = self._judged.get((day, fingerprint))
        return accepted, judged or read_profile(
            self._store, place, day, fingerprint, self._known_profiles
        )

    def _made(self, day: date, accepted: AcceptedDay) -> Profile | None:
        """Make the profile of an accepted day from its events."""
        gates = self._surface.gates
        try:
            by_hour = hours_of(accepted.frame)
            counts, most = DayCounts(accepted.frame, rows=accepted.events), gates.sample_events
            profile = profile_of(day, counts, by_hour, most=most, known=self._known_items)
        except (pl.exceptions.PolarsError, OSError) as error:
            _LOG.warning("%s is not judged by: %r", accepted.location, error)
            return None
        return self._judged_again(accepted, profile)

    @cached_property
    def _known_items(self) -> pl.Series | None:
        return known_items(self._surface, CatalogCache())

    def _knew_less(self, profile: Profile) -> bool:
        """Tell whether days before it were accepted since it was judged."""
        day = profile.day
        there = reference_of(day, self._profiles(day), self._surface.gates, self.starts(day))
        return len(there) > profile.reference_days and not profile.is_empty

    def _judged_again(self, accepted: AcceptedDay, profile: Profile) -> Profile:
        """Judge an accepted day by the days before it that are accepted now."""
        day = profile.day
        judged = judge_day(profile, self._profiles(day), self._surface.gates, self.starts(day))
        if self._keeps:
            place = self._surface.events_of
            of, known = judged.profile, self._known_profiles
            write_profile(self._store, place, accepted.fingerprint, of, known)
        return judged.profile
