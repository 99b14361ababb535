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
from recsys_assets.storage.profiles import KnownProfiles
from recsys_assets.storage.store import Store

# Days back from the windows that are looked at, for each that is wanted: some are not accepted.
_LOOKED_AT: Final = 2


class TrustedDays:
    """Accepted days that gates found sound, each read once."""

    def __init__(
        self,
        store: Store,
        surface: Surface,
        *,
        keeps: bool = True,
        known: KnownProfiles | None = None,
    ) -> None:
        """Begin without any; `Baseline` says what `keeps` and `known` are."""
        self._surface = surface
        overrides = read_overrides(store, surface.events_of)
        self._baseline = Baseline(store, surface, overrides, keeps=keeps, known=known)
        self._known: dict[date, Profile | None] = {}
        self._asked: tuple[Sequence[date], Asked] | None = None

    def before(self, first: date) -> tuple[Sequence[date], Asked | None]:
        """Return the last trusted days before a day, ascending, and what happened on them.

        None while there are fewer than half of those that are wanted.

        Raises:
            StoreUnavailableError: the object store does not answer.
        """
        wanted = self._surface.gates.release.trusted_days
        looked_at = [first - timedelta(days=n) for n in range(_LOOKED_AT * wanted, 0, -1)]
        for old in [day for day in self._known if day < looked_at[0]]:
            del self._known[old]
        trusted = self._trusted(looked_at)
        days = sorted(trusted)[-wanted:]
        if 2 * len(days) < wanted:
            return days, None
        if self._asked is None or self._asked[0] != days:
            self._asked = days, Asked.of(trusted[day].sample for day in days)
        return self._asked

    def on(self, day: date) -> Asked | None:
        """Return what happened on a day; None of one that is not trusted."""
        trusted = self._trusted([day])
        return Asked.of([trusted[day].sample]) if trusted else None

    def _trusted(self, days: Sequence[date]) -> dict[date, Profile]:
        """Return the profiles of those of some days, ascending, that are trusted."""
        unread = [day for day in days if day not in self._known]
        if unread:
            self._known |= dict.fromkeys(unread) | self._baseline.of(unread)
        known = {day: of for day in days if (of := self._known[day]) and not of.is_empty}
        gates = self._surface.gates  # where they are off, they find nothing unsound
        return {day: of for day, of in known.items() if not (gates.are_on and of.failed)}
