"""The days that what would become live, and what is, are scored on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Final

from recsys_assets.audit.baseline import Baseline
from recsys_assets.compute.profiles import Profile
from recsys_assets.compute.scores import Asked
from recsys_assets.config import Surface
from recsys_assets.storage.overrides import read_overrides
from recsys_assets.storage.store import Store

# Days back from the windows that are looked at, for each that is wanted: some are not accepted.
_LOOKED_AT: Final = 2


class TrustedDays:
    """Accepted days that gates found sound, each read once."""

    def __init__(self, store: Store, surface: Surface, *, keeps: bool = True) -> None:
        """Begin without any; `keeps` says whether profiles that are made again are stored."""
        self._surface = surface
        overrides = read_overrides(store, surface.events_of)
        self._baseline = Baseline(store, surface, overrides, keeps=keeps)
        self._known: dict[date, Profile | None] = {}
        self._asked: tuple[Sequence[date], Asked] | None = None

    def before(self, first: date) -> tuple[Sequence[date], Asked | None]:
        """Return the last trusted days before a day, ascending, and what happened on them.

        None while there are fewer than half of those that are wanted.

        Raises:
            StoreUnavailableError: the object store does not answer.
        """
        wanted = self._surface.gates.release.trusted_days
        known = self._read([first - timedelta(days=n) for n in range(_LOOKED_AT * wanted, 0, -1)])
        trusted = {day: of for day, of in known.items() if of and not of.is_empty and not of.failed}
        days = sorted(trusted)[-wanted:]
        if 2 * len(days) < wanted:
            return days, None
        if self._asked is None or self._asked[0] != days:
            self._asked = days, Asked.of(trusted[day].sample for day in days)
        return self._asked

    def _read(self, days: Sequence[date]) -> dict[date, Profile | None]:
        unread = [day for day in days if day not in self._known]
        for old in [day for day in self._known if day < days[0]]:
            del self._known[old]
        if unread:
            self._known |= dict.fromkeys(unread) | self._baseline.of(unread)
        return {day: self._known[day] for day in days}
