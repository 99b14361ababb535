"""Few keys among many, against plain Python."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.compute.lookups import counted, counts_of, times_among

LARGEST = 2**64 - 1
KEYS = st.lists(st.one_of(st.integers(0, 20), st.integers(LARGEST - 5, LARGEST)), max_size=30)


def array(keys: list[int]) -> np.typing.NDArray[np.uint64]:
    return np.array(keys, dtype=np.uint64)


@given(KEYS)
def test_keys_are_counted(keys: list[int]) -> None:
    distinct, times = counted(array(keys))

    assert list(zip(distinct.tolist(), times.tolist(), strict=True)) == sorted(
        Counter(keys).items()
    )


@given(KEYS, KEYS)
def test_what_is_not_there_counts_nothing(asked: list[int], keys: list[int]) -> None:
    found = counts_of(array(asked), *counted(array(keys)))

    assert found.tolist() == [Counter(keys)[key] for key in asked]


@given(KEYS, st.lists(KEYS, min_size=1, max_size=4))
def test_what_is_asked_is_found_as_often_as_it_was_kept(
    asked: list[int], kept: list[list[int]]
) -> None:
    asked = sorted(set(asked))

    found = times_among(array(asked), [array(keys) for keys in kept])

    times = sum((Counter(keys) for keys in kept), Counter[int]())
    assert found.tolist() == [times[key] for key in asked]


def test_short_hashes_are_found_as_well() -> None:
    asked = np.array([1, 5, 2**32 - 1], dtype=np.uint32)

    found = times_among(asked, [np.array([5, 5], dtype=np.uint32), asked])

    assert found.tolist() == [1, 3, 1]
