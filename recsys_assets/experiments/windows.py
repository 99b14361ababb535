"""Artifacts of a day with several sets of options, each of what the others need too."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from functools import partial

from recsys_assets.audit.drafts import bot_limits, compute_of_events, counts_of_day, whole_lists
from recsys_assets.audit.shared import Shared
from recsys_assets.compute.bots import BotLimits
from recsys_assets.compute.day_counts import Counts, DayCounts
from recsys_assets.compute.outlines import Outline
from recsys_assets.compute.window_counts import WindowCounts
from recsys_assets.config import Surface
from recsys_assets.events.accepted import AcceptedDays
from recsys_assets.events.listed import ListedItems, listed_items
from recsys_assets.kinds import KINDS
from recsys_assets.storage.counts import KeptCounts
from recsys_assets.storage.store import Store


class Windows:
    """Makes artifacts of windows, and keeps nothing but outlines of them.

    Each day is counted once, or read where counts of it are kept, and stays in memory as long as
    windows have it. Nothing is written.
    """

    def __init__(self, store: Store, surface: Surface, accepted: AcceptedDays) -> None:
        self._store = store
        self._events_of = surface.events_of
        self._accepted = accepted
        self._shared = Shared()
        self._days: dict[tuple[date, BotLimits], DayCounts] = {}
        # Of the window that was asked for last.
        self._together: dict[tuple[int, BotLimits], Counts] = {}
        self._day: date | None = None
        self._items: dict[bool, ListedItems] = {}

    def turn_to(self, day: date, longest: int) -> None:
        """Forget what windows of a day, and of later ones, do not need."""
        if day != self._day:
            self._day = day
            self._together.clear()
        for key in [key for key in self._days if (day - key[0]).days >= longest]:
            del self._days[key]

    def outline(self, surface: Surface, kind: str, day: date) -> Outline:
        """Compute the artifact of a day, and return its outline.

        Raises:
            InputError: a list of items, or the catalog, cannot be read.
        """
        limits = bot_limits(surface, kind)
        wanted = [each for each in surface.days_of_window(day) if each in self._accepted]
        days = {each: self._counts(each, limits) for each in wanted}
        together = self._all(days, surface.window_days, limits)
        row = KINDS[kind]
        computed, _ = compute_of_events(row, surface, days, together, self._listed(surface))
        outliner = row.layout.outliner()
        for piece in whole_lists(computed.rows, row.layout):
            outliner.add(piece)
        return outliner.made()

    def _counts(self, day: date, limits: BotLimits) -> DayCounts:
        if (day, limits) not in self._days:
            accepted = self._accepted[day]
            keep = partial(
                KeptCounts,
                self._store,
                self._events_of,
                day,
                fingerprint=accepted.fingerprint,
                is_current=lambda: False,  # so they are read where they are kept, and not written
                cache=self._shared.counts,
            )
            counts = counts_of_day(accepted, limits, lambda without: keep(without=without))
            self._days[day, limits] = counts
        return self._days[day, limits]

    def _all(self, days: Mapping[date, DayCounts], length: int, limits: BotLimits) -> Counts:
        if (length, limits) not in self._together:
            counts = [*days.values()]
            self._together[length, limits] = counts[0] if len(counts) == 1 else WindowCounts(counts)
        return self._together[length, limits]

    def _listed(self, surface: Surface) -> ListedItems:
        only = surface.items.only_in_catalog
        if only not in self._items:
            self._items[only] = listed_items(surface, self._shared.catalogs, of_catalog=False)
        return self._items[only]
