"""Two small artifacts are computed at the same time, or a large one by itself."""

from __future__ import annotations

import threading
from threading import Barrier, Lock

import pytest

from recsys_assets.audit.turns import Turns

SMALL, LARGE = 1_000_000, 30_000_000
_SOON = 20.0


def test_two_small_ones_at_once() -> None:
    turns, met = Turns(), Barrier(2)

    def computes() -> None:
        with turns.taken(SMALL):
            met.wait(_SOON)

    other = threading.Thread(target=computes)
    other.start()
    computes()
    other.join(_SOON)

    assert not met.broken


def test_however_they_come_no_more_than_fit_and_all_get_a_turn() -> None:
    turns, lock, now, seen = Turns(), Lock(), list[int](), list[tuple[int, ...]]()
    sizes = [SMALL, LARGE, LARGE, SMALL, SMALL] * 8

    def computes(size: int) -> None:
        with turns.taken(size):
            with lock:
                now.append(size)
                seen.append(tuple(now))
            with lock:
                now.remove(size)

    threads = [threading.Thread(target=computes, args=(size,)) for size in sizes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_SOON)

    assert len(seen) == len(sizes)
    assert set(map(tuple, map(sorted, seen))) <= {(SMALL,), (SMALL, SMALL), (LARGE,)}


def test_one_that_breaks_gives_its_turn_back() -> None:
    turns = Turns()
    for _ in range(3):
        with pytest.raises(ValueError, match="as ever"), turns.taken(LARGE):
            raise ValueError("as ever")
