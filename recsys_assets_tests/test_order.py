"""The order of tests."""

from __future__ import annotations

import pytest

from recsys_assets_tests.order import in_order

GROUPS = [None, "long", None, "browser", "extended", None, "long", None, None]


@pytest.mark.parametrize(
    ("processes", "expected"),
    [
        (1, ["e4", "b3", "l1", "l6", "0", "2", "5", "7", "8"]),
        (2, ["e4", "l1", "l6", "0", "b3", "2", "5", "7", "8"]),
        (3, ["e4", "0", "2", "b3", "5", "7", "l1", "l6", "8"]),
        (4, ["e4", "0", "b3", "2", "l1", "l6", "5", "7", "8"]),
    ],
)
def test_each_process_begins_with_what_takes_long(processes: int, expected: list[str]) -> None:
    items = [f"{(group or '')[:1]}{number}" for number, group in enumerate(GROUPS)]

    assert in_order(items, GROUPS, processes) == expected


@pytest.mark.parametrize("processes", [1, 2, 3, 7])
def test_none_is_lost_where_most_take_long(processes: int) -> None:
    groups = ["extended", "long", "long", "long", None]

    assert sorted(in_order("abcde", groups, processes)) == [*"abcde"]
