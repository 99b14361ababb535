"""Replay a day against those before it: how much of it do they foretell?"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Final

import polars as pl

from recsys_assets.compute.codes import high_code, low_code
from recsys_assets.compute.profiles import Profile
from recsys_assets.compute.samples import Keys

_HEAD: Final = 100  # first items of the reference
_SUPPORT: Final = 2  # times that a step is in the reference, to count as foretold
# And so many times as often as the popularity of its two items explains: without, pairs of popular
# items are foretold whatever becomes of sessions.
_LIFT: Final = 3
# Items have risen with so many events, and so many times as many as usually. Fewer are noise.
_RISEN_EVENTS: Final = 10
_RISEN: Final = 4
_DAYS_OF_SESSIONS: Final = 7


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
    items = pl.concat([keys.items for keys in kept]).group_by("item").agg(pl.col("events").sum())
    head = items.top_k(_HEAD, by=["events", "item"], reverse=[False, True])["item"]
    before_events = items.rename({"events": "events_before"})
    known = asked.items.join(before_events, on="item", how="left")
    in_head = known["events"].filter(known["item"].is_in(head.implode()))
    numbers |= {
        "new_items": int(known["events"].filter(known["events_before"].is_null()).sum())
        / asked.rows,
        "risen_items": _risen(known, asked.rows / total) / asked.rows,
        "replay_popularity": int(in_head.sum()) / asked.rows,
    }
    week = day.day - timedelta(days=_DAYS_OF_SESSIONS)
    newest = [keys for of, keys in zip(before, kept, strict=True) if of.day >= week]
    if newest:
        numbers["old_sessions"] = _share(asked.sessions, (keys.sessions for keys in newest))
    if asked.next_steps.len() or any(keys.next_steps.len() for keys in kept):
        foretold = _foretold(asked, kept, known.select("item", events="events_before"), total)
        numbers["replay_cooc"] = foretold / max(asked.next_steps.len(), 1)
    if asked.users.len() or any(keys.users.len() for keys in kept):
        numbers["new_users"] = 1 - _share(asked.users, (keys.users for keys in kept))
        numbers["replay_users"] = _share(asked.user_items, (keys.user_items for keys in kept))
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
    counts = (
        pl.concat([keys.items for keys in kept])
        .join(items.unique().to_frame("item"), on="item", how="semi")
        .group_by("item")
        .agg(pl.col("events").sum())
    )
    events = dict(counts.iter_rows())
    return [events.get(item, 0) * rows / max(total, 1) for item in items]


def distance(one: Sequence[int], other: Sequence[int]) -> float:
    """Return the Jensen-Shannon distance of two distributions, 0 to 1; 1 when one is empty."""
    if not sum(one) or not sum(other):
        return 1.0

    def divergence(of: Sequence[float], middle: Sequence[float]) -> float:
        return sum(a * math.log2(a / m) for a, m in zip(of, middle, strict=True) if a)

    p, q = ([count / sum(counts) for count in counts] for counts in (one, other))
    middle = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
    return math.sqrt(max(0.0, (divergence(p, middle) + divergence(q, middle)) / 2))


def _foretold(asked: Keys, kept: Sequence[Keys], items: pl.DataFrame, total: int) -> int:
    """Count the steps of the day that the reference has, and more often than by chance."""
    steps = pl.concat([keys.steps for keys in kept])
    counts = (
        steps.filter(steps.is_in(asked.next_steps.implode()))
        .to_frame("key")
        .group_by("key")
        .agg(times=pl.len())
        .filter(pl.col("times") >= _SUPPORT)
    )
    by_chance = steps.len() * (pl.col("events") / total) * (pl.col("events_before") / total)
    return (
        asked.next_steps.to_frame("key")
        .join(counts, on="key")
        .with_columns(before=high_code("key"), item=low_code("key"))
        .join(items, on="item")
        .join(items.rename({"item": "before", "events": "events_before"}), on="before")
        .filter(pl.col("times") >= _LIFT * by_chance)
        .height
    )


def _risen(items: pl.DataFrame, size: float) -> float:
    """Return the events above what is usual, of items that have far more.

    Args:
        items: `events` of each on the day, `events_before` in the reference.
        size: of the day beside the reference.
    """
    usual = pl.col("events_before").fill_null(0) * size
    risen = (pl.col("events") >= _RISEN_EVENTS) & (pl.col("events") > _RISEN * usual)
    return float(items.select((pl.col("events") - usual).filter(risen).sum()).item())


def _share(asked: pl.Series, kept: Iterable[pl.Series]) -> float:
    """Return the share of keys that are among others; 0 without keys."""
    if not asked.len():
        return 0.0
    keys = pl.concat(list(kept))
    found = keys.filter(keys.is_in(asked.implode()))  # few: what is asked is looked up in these
    return int(asked.is_in(found.implode()).sum()) / asked.len()
