"""Look up what a day asks in what many days before it have: few keys among many.

The many are passed by once: a table of bits tells nearly all that cannot be meant, and only the
others are put in order and compared. So nothing is built of the many.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

# A key's place in the table: the first bits of its product with 2**64 divided by the golden ratio.
_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_PLACES_PER_KEY: Final = 16

K = TypeVar("K", bound=np.unsignedinteger[Any])
AnyKeys = npt.NDArray[np.unsignedinteger[Any]]
Counts = npt.NDArray[np.intp]


def counted(keys: npt.NDArray[K]) -> tuple[npt.NDArray[K], Counts]:
    """Return distinct keys, ascending, and how often each comes."""
    ordered = np.sort(keys)
    starts = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
    starts = np.concatenate(([0], starts))[: keys.size]  # of none, none
    return ordered[starts], np.diff(starts, append=keys.size)


def counts_of(asked: AnyKeys, keys: AnyKeys, counts: Counts) -> Counts:
    """Return the count of each of some keys, 0 of one that is not there; `keys` are ascending."""
    if not keys.size:
        return np.zeros(asked.size, dtype=np.intp)
    at = keys.searchsorted(asked)
    at[at == keys.size] = 0
    return np.where(keys[at] == asked, counts[at], 0)


def times_among(asked: AnyKeys, kept: Sequence[AnyKeys]) -> Counts:
    """Return how often each of some keys, ascending, is among those that are kept."""
    bits = max(1, (asked.size * _PLACES_PER_KEY).bit_length())
    # New memory for each of them would take longer than what is computed in it.
    room = np.empty(max(keys.size for keys in (asked, *kept)), dtype=np.uint64)

    def places(keys: AnyKeys) -> npt.NDArray[np.int64]:
        mixed = np.multiply(keys, _GOLDEN, out=room[: keys.size])
        mixed >>= np.uint64(64 - bits)
        return mixed.view(np.int64)

    is_asked = np.zeros(2**bits, dtype=np.bool_)
    is_asked[places(asked)] = True
    # One after the other: what is passed by then stays in the processor's cache.
    found = [keys[np.flatnonzero(is_asked[places(keys)])] for keys in kept]
    return counts_of(asked, *counted(np.concatenate(found)))
