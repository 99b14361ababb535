"""Replay a day against those before it: how much of it do they foretell?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from recsys_assets.compute.lookups import AnyKeys, Counts, counted, counts_of, times_among
from recsys_assets.compute.profiles import Profile
from recsys_assets.compute.samples import Keys, Words

_HEAD: Final = 100  # first items of the reference
_SUPPORT: Final = 2  # times that a step is in the reference, to count as foretold
# And so many times as often as the popularity of its two items explains: without, pairs of popular
# items are foretold whatever becomes of sessions.
_LIFT: Final = 3
# Items have risen with so many events, and so many times as many as usually. Fewer are noise.
_RISEN_EVENTS: Final = 10
_RISEN: Final = 4
_DAYS_OF_SESSIONS: Final = 7
_HALF: Final = np.uint64(32)
_LOW: Final = np.uint64(2**32 - 1)


def replay(day: Profile, before: Sequence[Profile]) -> dict[str, float]:
    """Return the numbers of a day that need the days before it.

    Only what the day asks for is looked up, so it is linear in the samples, with a small constant.

    Args:
        day: a profile with events.
        before: the reference, profiles with events; at least one.

    Returns:
        Numbers by name. Those of users are left out where neither the day nor the reference has
        any, and so are those of steps.
    """
    thinned = max(each.sample.thinned for each in (day, *before))
    asked, kept = day.sample.keys(thinned), [each.sample.keys(thinned) for each in before]
    usual = [sum(hour) for hour in zip(*(each.by_hour for each in before), strict=True)]
    numbers = {
        "hours": distance(day.by_hour, usual),
        "quiet": sum(of for now, of in zip(day.by_hour, usual, strict=True) if not now)
        / sum(usual),
    }
    total = sum(keys.rows for keys in kept)
    if not asked.rows or not total:  # so few events that none is in the sample
        return numbers
    items, events = asked.items
    usual_items = counted(np.concatenate([keys.item for keys in kept]))
    before_events = counts_of(items, *usual_items)
    in_head = counts_of(items, *_head(*usual_items)) > 0
    numbers |= {
        "new_items": int(events[before_events == 0].sum()) / asked.rows,
        "risen_items": _risen(events, before_events * (asked.rows / total)) / asked.rows,
        "replay_popularity": int(events[in_head].sum()) / asked.rows,
    }
    week = day.day - timedelta(days=_DAYS_OF_SESSIONS)
    newest = [keys for of, keys in zip(before, kept, strict=True) if of.day >= week]
    if newest:
        numbers["old_sessions"] = _share(asked.sessions, [keys.sessions for keys in newest])
    if asked.next_steps.size or any(keys.next_steps.size for keys in kept):
        foretold = _foretold(asked, kept, before_events, total)
        numbers["replay_cooc"] = foretold / max(asked.next_steps.size, 1)
    if asked.user.size or any(keys.user.size for keys in kept):
        numbers["new_users"] = 1 - _share(asked.users, [keys.users for keys in kept])
        owned = counted(asked.user_items)
        numbers["replay_users"] = _share(owned[0], [keys.user_items for keys in kept], owned[1])
    return numbers


def usual_events(items: pl.Series, rows: int, before: Sequence[Profile]) -> list[float]:
    """Return how many events each of some items has on a usual day of as many events.

    Args:
        items: their hashes.
        rows: events of the day.
        before: the reference; at least one profile.
    """
    thinned = max(each.sample.thinned for each in before)
    kept = [each.sample.keys(thinned) for each in before]
    total = sum(keys.rows for keys in kept)
    known = counted(np.concatenate([keys.item for keys in kept]))
    found = counts_of(items.to_numpy(), *known)
    return [events * rows / max(total, 1) for events in found.tolist()]


def distance(one: Sequence[int], other: Sequence[int]) -> float:
    """Return the Jensen-Shannon distance of two distributions, 0 to 1; 1 when one is empty."""
    if not sum(one) or not sum(other):
        return 1.0

    def divergence(of: Sequence[float], middle: Sequence[float]) -> float:
        return sum(a * math.log2(a / m) for a, m in zip(of, middle, strict=True) if a)

    p, q = ([count / sum(counts) for count in counts] for counts in (one, other))
    middle = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
    return math.sqrt(max(0.0, (divergence(p, middle) + divergence(q, middle)) / 2))


def _head(items: Words, counts: Counts) -> tuple[Words, Counts]:
    """Return the first items of the reference, ascending; of equal ones, those with the least hash.

    Args:
        items: ascending.
        counts: events of each.
    """
    if items.size <= _HEAD:
        return items, counts
    least = np.partition(counts, -_HEAD)[-_HEAD]
    is_in = counts > least
    is_in[np.flatnonzero(counts == least)[: _HEAD - np.count_nonzero(is_in)]] = True
    return items[is_in], counts[is_in]


def _foretold(asked: Keys, kept: Sequence[Keys], before_events: Counts, total: int) -> int:
    """Count the steps of the day that the reference has, and more often than by chance.

    Args:
        asked: the day.
        kept: the reference.
        before_events: of each item of the day, how many the reference has.
        total: events of the reference.
    """
    kept_steps = [keys.steps for keys in kept]
    steps, events = counted(asked.next_steps)
    times = times_among(steps, kept_steps)
    often = times >= _SUPPORT
    steps, events, times = steps[often], events[often], times[often]
    share = before_events / total
    items, _ = asked.items
    before, item = (share[items.searchsorted(of)] for of in (steps >> _HALF, steps & _LOW))
    by_chance = sum(each.size for each in kept_steps) * item * before
    return int(events[times >= _LIFT * by_chance].sum())


def _risen(events: Counts, usual: npt.NDArray[np.floating[Any]]) -> float:
    """Return the events above what is usual, of items that have far more.

    Args:
        events: of each item on the day.
        usual: of each, on a day of that size.
    """
    risen = (events >= _RISEN_EVENTS) & (events > _RISEN * usual)
    return float(pl.Series(events - usual).filter(pl.Series(risen)).sum())


def _share(distinct: AnyKeys, kept: Sequence[AnyKeys], times: Counts | None = None) -> float:
    """Return the share of keys that are among others; 0 without keys.

    Args:
        distinct: the keys, ascending.
        kept: the others.
        times: that each of the keys comes; once where it is not given.
    """
    if not distinct.size:
        return 0.0
    times = np.ones(distinct.size, dtype=np.intp) if times is None else times
    return int(times[times_among(distinct, kept) > 0].sum()) / int(times.sum())
