from __future__ import annotations

from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.compute.lists import owner_blocks, strongest_of

_OWNERS = st.dictionaries(
    st.integers(0, 5),
    st.dictionaries(st.integers(0, 5) | st.just(2**32 - 1), st.integers(1, 3), max_size=6),
    max_size=5,
)


def entries(owners: dict[int, dict[int, int]]) -> pl.DataFrame:
    rows = [
        (owner, entry, number)
        for owner in sorted(owners)
        for entry, number in (sorted(owners[owner].items()) or [(0, 0)])
    ]
    schema = dict.fromkeys(("owner", "entry", "number"), pl.UInt32)
    return pl.DataFrame(rows, schema=schema, orient="row")


@given(_OWNERS, st.integers(1, 4))
def test_the_strongest_come_first_ties_by_entry_and_an_empty_list_stays(
    owners: dict[int, dict[int, int]], most: int
) -> None:
    expected: list[tuple[int, int | None, int | None]] = []
    for owner in sorted(owners):
        ranked = sorted(owners[owner].items(), key=lambda found: (-found[1], found[0]))
        expected += [(owner, entry, number) for entry, number in ranked[:most]]
        expected += [] if ranked else [(owner, None, None)]

    actual = strongest_of(entries(owners), most)

    assert actual.rows() == expected
    assert set(actual.dtypes) == {pl.UInt32}


@pytest.mark.parametrize("number", [1, 2, 2**32 - 1])
def test_a_number_of_any_size_is_ranked(number: int) -> None:
    owners = {1: {3: number, 4: 1}, 2: {0: 1}}

    expected = sorted([(3, number), (4, 1)], key=lambda found: (-found[1], found[0]))
    assert strongest_of(entries(owners), 2).rows() == [
        *((1, *found) for found in expected),
        (2, 0, 1),
    ]


def test_lists_too_many_for_one_integer_are_ranked_all_the_same() -> None:
    rows = 2**17  # with 2**16 owners, that leaves 31 bits for a number of 32
    frame = pl.select(
        owner=pl.int_range(rows, dtype=pl.UInt32) // 2,
        entry=pl.int_range(rows, dtype=pl.UInt32) % 2,
        number=2**32 - 2 + (pl.int_range(rows, dtype=pl.Int64) % 4 == 1).cast(pl.Int64),
    ).cast({"number": pl.UInt32})

    found = strongest_of(frame, 2)

    expected = frame.sort("owner", "number", "entry", descending=[False, True, False])
    assert found.equals(expected)
    assert found["entry"].head(4).to_list() == [1, 0, 0, 1]


@given(st.lists(st.integers(0, 6)), st.integers(1, 5))
def test_blocks_cover_all_rows_and_split_no_owner(owners: list[int], rows: int) -> None:
    ordered = pl.Series(sorted(owners), dtype=pl.UInt32)

    blocks = [ordered.slice(*block).to_list() for block in owner_blocks(ordered, rows)]

    assert [owner for block in blocks for owner in block] == sorted(owners)
    assert all(before[-1] < after[0] for before, after in pairwise(blocks))
    assert all(len(block) >= rows for block in blocks[:-1])
