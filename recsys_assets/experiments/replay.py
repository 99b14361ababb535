"""Score each set of options beside the current ones, day by day.

Forward: what is made of the days up to one is scored on the day after it. Backward: it is scored on
days before all windows. Every set is scored on the same days, of the same users and sessions.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, Literal

from recsys_assets.audit.settings import settings_of
from recsys_assets.audit.trusted_days import TrustedDays
from recsys_assets.compute.outlines import Outline
from recsys_assets.compute.scores import Asked, score
from recsys_assets.config import Surface
from recsys_assets.errors import MissingPartitionError
from recsys_assets.events.accepted import AcceptedDay, AcceptedDays, accepted_days, days_of_events
from recsys_assets.experiments.tried import Tried, scored_kinds
from recsys_assets.experiments.windows import Windows
from recsys_assets.storage.store import READERS, Store
from recsys_assets.windows import span_text

Direction = Literal["forward", "backward"]
# Of fewer days nothing is said: a week has each day of the week once.
LEAST_DAYS: Final = 7

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scored:
    """A score of one set of options on one day.

    Attributes:
        day: the last one of the window.
        tried: number of the set; None of the current options.
        kind: of the artifact.
        first: entries of a list that count.
        direction: forward, on the day after; backward, on days before the window.
        share: of what happened that they hold.
    """

    day: date
    tried: int | None
    kind: str
    first: int
    direction: Direction
    share: float


def replay(
    store: Store, surface: Surface, tries: Sequence[Tried], days: Sequence[date]
) -> Iterator[Scored]:
    """Score sets of options, and the current ones, on each day of a range that can be.

    Memory holds the counts of the days of the longest window, one window put together, and samples
    of `gates.release.trusted_days` days.

    Args:
        store: where accepted days are; nothing is written to it.
        surface: with the current options.
        tries: those that are tried.
        days: ascending, without a gap.

    Raises:
        MissingPartitionError: on too few days of the range something can be scored; says why.
        StorageError: an accepted day is damaged.
        StoreUnavailableError: the object store does not answer.
    """
    longest = max(each.window_days for each in (surface, *(of.surface for of in tries)))
    accepted = _accepted(store, surface, days, longest)
    usable = usable_days(surface, accepted, days, longest)
    windows = Windows(store, surface, accepted)
    trusted = TrustedDays(store, surface, keeps=False)
    changed = [each.changed_kinds(surface) for each in tries]
    kinds = [kind for kind in scored_kinds(surface) if any(kind in of for of in changed)]
    for number, day in enumerate(usable, start=1):
        windows.turn_to(day, longest)
        asked: dict[Direction, Asked | None] = {
            "backward": trusted.before(day - timedelta(days=longest - 1))[1],
            "forward": trusted.on(day + timedelta(days=1)),
        }
        for kind in kinds:
            surfaces: dict[int | None, Surface] = {None: surface}
            surfaces |= {n: of.surface for n, of in enumerate(tries) if kind in changed[n]}
            # What several sets have alike of a kind is computed once.
            made: dict[str, Outline] = {}
            outlines = dict[int | None, Outline]()
            for of, each in surfaces.items():
                settings = str(settings_of(each, kind, ""))
                if settings not in made:
                    made[settings] = windows.outline(each, kind, day)
                outlines[of] = made[settings]
            yield from _scores(day, kind, outlines, asked)
        _LOG.info("%s: %s, day %s of %s", surface.name, day, number, len(usable))


def usable_days(
    surface: Surface, accepted: AcceptedDays, days: Sequence[date], longest: int
) -> list[date]:
    """Return the days that have a whole window, however long, and an accepted day after them.

    Raises:
        MissingPartitionError: they are fewer than `LEAST_DAYS`; says why.
    """
    whole = surface.start_date + timedelta(days=longest - 1)
    found = [
        day
        for day in days
        if day >= whole and day in accepted and day + timedelta(days=1) in accepted
    ]
    if len(found) >= LEAST_DAYS:
        return found
    there = sum(day in accepted for day in days)
    why = f"{there} of the days are accepted"
    if days[0] < whole:
        why += f", and windows of {longest} days are whole from {whole} on"
    raise MissingPartitionError(
        f"{surface.name} {span_text(days[0], days[-1])}: {len(found)} of {len(days)} days can be "
        f"scored, and {LEAST_DAYS} are needed: {why}. A day is scored on the one after it, which "
        "is to be accepted too. Name more days, or materialize canonical_events of them first"
    )


def _accepted(
    store: Store, surface: Surface, days: Sequence[date], longest: int
) -> dict[date, AcceptedDay]:
    """Return the accepted days of all windows, of the day after, and of those before windows."""
    back = longest + 2 * surface.gates.release.trusted_days
    wanted = [
        day
        for day in days_of_events(store, surface.events_of)
        if day >= surface.start_date and (days[0] - day).days <= back and (day - days[-1]).days <= 1
    ]

    def look_up(day: date) -> dict[date, AcceptedDay]:
        return accepted_days(store, surface.events_of, [day])

    with ThreadPoolExecutor(READERS) as pool:
        return {day: found for each in pool.map(look_up, wanted) for day, found in each.items()}


def _scores(
    day: date,
    kind: str,
    outlines: Mapping[int | None, Outline],
    asked: Mapping[Direction, Asked | None],
) -> Iterator[Scored]:
    # Of large artifacts some owners are known; the same ones are asked for of each.
    thinned = max(outline.thinned for outline in outlines.values())
    for direction, of in asked.items():
        for number, outline in outlines.items():
            if of is None or of.by[outline.form].is_empty():
                continue
            for first, share in score(outline, of, thinned=thinned).items():
                yield Scored(day, number, kind, first, direction, share)
