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

from recsys_assets.compute.lookups import Counts, counted

# Steps back in a session at which one item still counts as leading to another.
_BACK: Final = 3
_WORD: Final = 2**32
_HALF: Final = np.uint64(32)

Words = npt.NDArray[np.uint32]
PairKeys = npt.NDArray[np.uint64]


class Keys:
    """What a later day is looked up in, and what is looked up of it; each made when asked for."""

    def __init__(self, events: pl.DataFrame) -> None:
        """Begin.

        Args:
            events: as `Sample` has them.
        """
        user = events["user"]
        known = events.filter(user.is_not_null()) if user.null_count() else events
        self.rows = events.height
        self.item: Words = events["item"].to_numpy()
        """Of each event."""
        self.session: Words = events["session"].to_numpy()
        """Of each event, ascending."""
        self.user: Words = known["user"].to_numpy()
        """Of each event that has one."""
        self._item_of_user: Words = known["item"].to_numpy()

    @cached_property
    def items(self) -> tuple[Words, Counts]:
        """Distinct, ascending, and how many events each has."""
        return counted(self.item)

    @cached_property
    def users(self) -> Words:
        """Distinct, ascending."""
        return counted(self.user)[0]

    @cached_property
    def sessions(self) -> Words:
        """Distinct, ascending."""
        return counted(self.session)[0]

    @cached_property
    def user_items(self) -> PairKeys:
        """Key of user and item of each event that has a user."""
        return pair_keys(self.user, self._item_of_user)

    @cached_property
    def next_steps(self) -> PairKeys:
        """Key of (item before, item) of each event whose item is another than the one before it."""
        return self._steps(1)

    @cached_property
    def steps(self) -> PairKeys:
        """Keys of the steps to an item from each of the few before it in its session."""
        return np.concatenate([self._steps(back) for back in range(1, _BACK + 1)])

    def _steps(self, back: int) -> PairKeys:
        """Return the keys of steps of sessions to an item from another, `back` events before it."""
        session, item = self.session, self.item
        same, other = session[back:] == session[:-back], item[back:] != item[:-back]
        is_step: npt.NDArray[np.bool_] = same & other
        return pair_keys(item[:-back], item[back:])[is_step]


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
            self._keys[thinned] = Keys(self.at(thinned))
        return self._keys[thinned]

    def at(self, thinned: int) -> pl.DataFrame:
        """Return its events as if it had been thinned so far."""
        if thinned <= self.thinned:
            return self.events
        owner = self.events.select(pl.coalesce("user", "session")).to_series().to_numpy()
        return self.events.filter(is_in_sample(owner, thinned))

    @cached_property
    def repeats(self) -> float:
        """Share of its events that show an item again in its session; 0 without events."""
        if not self.events.height:
            return 0.0
        keys = pair_keys(self.events["session"].to_numpy(), self.events["item"].to_numpy())
        return 1 - counted(keys)[0].size / keys.size


def take_sample(
    events: pl.LazyFrame, users: pl.Series, *, rows: int, anonymous: int, most: int
) -> Sample:
    """Take the sample of a day.

    Args:
        events: contract `canonical_event`, in source order.
        users: its distinct users.
        rows: number of the events.
        anonymous: of them, those without a user.
        most: of which so many may be in the sample, about.
    """
    thinned = max(0, (-(-rows // most) - 1).bit_length()) if rows else 0
    if thinned:
        is_chosen = pl.col("user_id").is_in(_chosen(users, thinned).implode())
        if anonymous:
            by_nobody = pl.col("user_id").is_null()
            ids = events.filter(by_nobody).select(pl.col("session_id").unique()).collect()
            sessions = _chosen(ids.to_series(), thinned)
            is_chosen |= by_nobody & pl.col("session_id").is_in(sessions.implode())
        events = events.filter(is_chosen)
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
    found = ids.cast(pl.Binary).to_list()
    if ids.null_count():
        of_each = [None if each is None else zlib.crc32(each) for each in found]
        return pl.Series(ids.name, of_each, dtype=pl.UInt32)
    return pl.Series(ids.name, np.fromiter(map(zlib.crc32, found), np.uint32, len(found)))


def _chosen(ids: pl.Series, thinned: int) -> pl.Series:
    return ids.filter(is_in_sample(hashes(ids).to_numpy(), thinned))


def is_in_sample(owners: Words, thinned: int) -> pl.Series:
    """Tell of each hashed owner whether it is in what is thinned so far.

    CRCs of ids that follow each other have a pattern. So they are spread over 32 bits, by the last
    step of MurmurHash3; products are those modulo 2**32.
    """
    mixed = owners ^ (owners >> np.uint32(16))
    mixed *= np.uint32(0x85EBCA6B)
    mixed ^= mixed >> np.uint32(13)
    mixed *= np.uint32(0xC2B2AE35)
    mixed ^= mixed >> np.uint32(16)
    return pl.Series(mixed < (_WORD >> thinned))


def pair_keys(high: Words, low: Words) -> PairKeys:
    """Return a key of each pair that sorts by `high`, then by `low`."""
    keys = high.astype(np.uint64)
    keys <<= _HALF
    keys |= low
    return keys
