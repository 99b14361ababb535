"""A part of a day's users, or of its sessions without one, with all of their events, as hashes.

The hash is CRC-32, which is the same with every version of every library: samples that are stored
are compared with those of years later. Who is in a sample is decided by the hash alone, so of two
samples the smaller is a part of the larger, as far as both have the same owners.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from recsys_assets.compute.codes import pair_key

# Steps back in a session at which one item still counts as leading to another.
_BACK: Final = 3
_WORD: Final = 2**32
_HALF: Final = np.uint64(32)

Words = npt.NDArray[np.uint32]


@dataclass(frozen=True)
class Keys:
    """What a later day is looked up in, and what is looked up of it.

    Attributes:
        rows: events.
        items: `item` (UInt32), `events` of it.
        user_items: key (UInt64) of user and item of each event that has a user.
        next_steps: key of (item before, item) of each event whose item is another than that of the
            event before it in its session.
        steps: keys of the steps to an item from each of the few before it.
        users: distinct.
        sessions: distinct.
    """

    rows: int
    items: pl.DataFrame
    user_items: pl.Series
    next_steps: pl.Series
    steps: pl.Series
    users: pl.Series
    sessions: pl.Series


@dataclass(frozen=True)
class Sample:
    """Events of one of 2**`thinned` owners: `user` (null without one), `session`, `item`, UInt32.

    By session, then as they happened.
    """

    events: pl.DataFrame
    thinned: int
    _keys: dict[int, Keys] = field(default_factory=dict, repr=False, compare=False)

    def keys(self, thinned: int) -> Keys:
        """Return its keys as if it had been thinned so far; those that were asked for last stay."""
        if thinned not in self._keys:
            self._keys.clear()
            self._keys[thinned] = _keys(self.at(thinned))
        return self._keys[thinned]

    def at(self, thinned: int) -> pl.DataFrame:
        """Return its events as if it had been thinned so far."""
        if thinned <= self.thinned:
            return self.events
        return self.events.filter(is_in_sample(pl.coalesce("user", "session"), thinned))

    @cached_property
    def repeats(self) -> float:
        """Share of its events that show an item again in its session; 0 without events."""
        if not self.events.height:
            return 0.0
        distinct = self.events.select(pair_key(pl.col("session"), pl.col("item")).n_unique())
        return 1 - int(distinct.item()) / self.events.height


def take_sample(events: pl.LazyFrame, users: pl.Series, *, rows: int, most: int) -> Sample:
    """Take the sample of a day.

    Args:
        events: contract `canonical_event`, in source order.
        users: its distinct users.
        rows: number of the events.
        most: of which so many may be in the sample, about.
    """
    thinned = max(0, (-(-rows // most) - 1).bit_length()) if rows else 0
    if thinned:
        anonymous = pl.col("user_id").is_null()
        sessions = events.filter(anonymous).select(pl.col("session_id").unique()).collect()
        of_users = pl.col("user_id").is_in(_chosen(users, thinned).implode())
        of_sessions = pl.col("session_id").is_in(_chosen(sessions.to_series(), thinned).implode())
        events = events.filter(of_users | (anonymous & of_sessions))
    found = events.select("user_id", "session_id", "item_id", "ts").collect(engine="streaming")
    hashed = pl.DataFrame(
        {
            "user": hashes(found["user_id"]),
            "session": hashes(found["session_id"]),
            "item": hashes(found["item_id"]),
            "ts": found["ts"],
        }
    )
    in_order = hashed.sort("session", "ts", maintain_order=True)
    return Sample(in_order.drop("ts"), thinned)


def hashes(ids: pl.Series) -> pl.Series:
    """Return the hash of each id, UInt32; null stays null."""
    found = [None if each is None else zlib.crc32(each) for each in ids.cast(pl.Binary).to_list()]
    return pl.Series(ids.name, found, dtype=pl.UInt32)


def _chosen(ids: pl.Series, thinned: int) -> pl.Series:
    hashed = hashes(ids).alias("hash").to_frame()
    return ids.filter(hashed.select(is_in_sample(pl.col("hash"), thinned)).to_series())


def is_in_sample(owner: pl.Expr, thinned: int) -> pl.Expr:
    """Tell whether a hashed owner is in what is thinned so far."""
    return _mixed(owner) < _WORD >> thinned


def _mixed(crc: pl.Expr) -> pl.Expr:
    """Spread a CRC over 32 bits: ids that follow each other have CRCs with a pattern.

    It is the last step of MurmurHash3.
    """
    once = _times(_folded(crc.cast(pl.UInt64), 16), 0x85EBCA6B)
    return _folded(_times(_folded(once, 13), 0xC2B2AE35), 16)


def _folded(of: pl.Expr, bits: int) -> pl.Expr:
    return of.xor(of // 2**bits)


def _times(of: pl.Expr, factor: int) -> pl.Expr:
    return of * pl.lit(factor, dtype=pl.UInt64) % _WORD


def _keys(events: pl.DataFrame) -> Keys:
    known = events.filter(events["user"].is_not_null())
    session, item = events["session"].to_numpy(), events["item"].to_numpy()
    steps = [_steps(session, item, back) for back in range(1, _BACK + 1)]
    items, counts = np.unique(item, return_counts=True)
    return Keys(
        rows=events.height,
        items=pl.DataFrame({"item": items, "events": counts.astype(np.uint32)}),
        user_items=pl.Series("key", _pairs(known["user"].to_numpy(), known["item"].to_numpy())),
        next_steps=pl.Series("key", steps[0]),
        steps=pl.Series("key", np.concatenate(steps)),
        users=pl.Series("user", np.unique(known["user"].to_numpy())),
        sessions=pl.Series("session", np.unique(session)),
    )


def _steps(session: Words, item: Words, back: int) -> npt.NDArray[np.uint64]:
    """Return the keys of steps of sessions to an item from another one, `back` events before it."""
    is_step = (session[back:] == session[:-back]) & (item[back:] != item[:-back])
    return _pairs(item[:-back][is_step], item[back:][is_step])


def _pairs(high: Words, low: Words) -> npt.NDArray[np.uint64]:
    return (high.astype(np.uint64) << _HALF) | low
