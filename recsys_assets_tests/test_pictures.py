"""Pictures are small, whole, and say their ends in words."""

from __future__ import annotations

import base64
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.pictures import MAX_CHARACTERS, bars, curve

ENDS = ("1 January", "31 December")
VALUES = st.lists(st.integers(0, 2**62), min_size=1, max_size=40)


def paths(markdown: str) -> list[str]:
    """Return the paths of a picture, which must be well-formed."""
    (data,) = re.findall(r"\(data:image/svg\+xml;base64,([\w+/=]+)\)", markdown)
    svg = ElementTree.fromstring(base64.b64decode(data))  # noqa: S314 (ours)
    return [path.attrib["d"] for path in svg]


def tops(path: str) -> list[int]:
    """Return how far below the upper border each bar ends."""
    return [int(top) for top in re.findall(r"V(\d+)", path)]


def test_a_picture_has_its_title_above_and_its_ends_below() -> None:
    above, picture, below = bars("Days", [1, 2], ends=ENDS).split("\n\n")

    assert (above, below) == ("Days", "1 January → 31 December")
    assert picture.startswith("![Days](data:image/svg+xml;base64,")


def test_bars_are_as_high_as_their_values() -> None:
    (path,) = paths(bars("Days", [0, 1, 2, 4], ends=ENDS))

    assert re.findall(r"M(\d+) 64V", path) == ["1", "2", "3"]
    assert tops(path) == [48, 32, 0]


def test_on_a_log_scale_what_is_a_thousandth_is_still_seen() -> None:
    (linear,) = paths(bars("Days", [1, 1000], ends=ENDS))
    (logarithmic,) = paths(bars("Days", [1, 1000], ends=ENDS, log_scale=True))

    assert tops(linear) == [62, 0]
    assert tops(logarithmic) == [58, 0]


def test_a_curve_falls_from_its_first_rank_to_its_last() -> None:
    (path,) = paths(curve("Items", [1, 10, 100], [99, 9, 0], ends=ENDS))

    assert path == "M0 0L180 32L360 64L360 64V64H0z"


def test_a_curve_of_one_rank_is_level() -> None:
    (path,) = paths(curve("Items", [1], [7], ends=ENDS))

    assert path == "M0 0L360 0V64H0z"


@given(VALUES, st.booleans())
def test_any_bars_are_shown_without_a_click(values: list[int], log_scale: bool) -> None:
    markdown = bars("x" * 60, values, ends=("y" * 40, "z" * 40), log_scale=log_scale)

    (path,) = paths(markdown)
    assert len(markdown) <= MAX_CHARACTERS
    assert path.count("V") == sum(value > 0 for value in values)
    assert all(0 <= top <= 62 for top in tops(path))


@given(VALUES)
def test_any_curve_is_shown_without_a_click(values: list[int]) -> None:
    falling = sorted(values, reverse=True)

    markdown = curve("x" * 60, range(1, len(values) + 1), falling, ends=("y" * 40, "z" * 40))

    (path,) = paths(markdown)
    assert len(markdown) <= MAX_CHARACTERS
    assert path.endswith("V64H0z")


@pytest.mark.parametrize("values", [[0], [0, 0, 0]])
def test_nothing_but_zeros_is_a_line_on_the_ground(values: list[int]) -> None:
    (flat,) = paths(bars("Days", values, ends=ENDS))

    assert flat == f"M-.5 64H{len(values)}"
    assert paths(curve("Items", [1], [0], ends=ENDS)) == ["M0 64L360 64V64H0z"]
