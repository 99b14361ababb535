"""Pictures are small, whole, say their ends in words, and have numbers below what is drawn."""

from __future__ import annotations

import base64
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.pictures import MAX_CHARACTERS, bars, curve, intervals

ENDS = ("1 January", "31 December")
VALUES = st.lists(st.integers(0, 2**62), min_size=1, max_size=40)


def paths(markdown: str) -> list[str]:
    """Return the paths of a picture, which must be well-formed."""
    return [part.attrib["d"] for part in parts(markdown) if part.tag.endswith("path")]


def parts(markdown: str) -> list[ElementTree.Element]:
    (data,) = re.findall(r"\(data:image/svg\+xml;base64,([\w+/=]+)\)", markdown)
    return list(ElementTree.fromstring(base64.b64decode(data)))  # noqa: S314 (ours)


def rows(markdown: str) -> list[list[str]]:
    """Return what is written below a picture: names, and their numbers."""
    texts = [part.text or "" for part in parts(markdown) if part.tag.endswith("text")]
    return [text.replace("\N{NO-BREAK SPACE}", " ").split() for text in texts]


def names(values: list[int]) -> list[str]:
    return [f"n{at}" for at in range(len(values))]


def tops(path: str) -> list[int]:
    """Return how far below the upper border each bar ends."""
    found = re.findall(r"V(\d+)h(\d+)", path)
    return [int(top) for top, equal in found for _ in range(int(equal))]


def test_a_picture_has_its_title_above_and_its_ends_below() -> None:
    above, picture, below = bars("Days", [1, 2], ["a", "b"], ends=ENDS).split("\n\n")

    assert (above, below) == ("Days", "1 January → 31 December")
    assert picture.startswith("![](data:image/svg+xml;base64,")


def test_few_bars_have_their_numbers_below_each() -> None:
    drawn = bars("Days", [412_345, 61_234, 0, 1], ["1", "2", "4", "8"], ends=ENDS, log_scale=True)

    assert rows(drawn) == [["1", "2", "4", "8"], ["412,345", "61,234", "0", "1"]]


def test_of_many_bars_as_many_have_numbers_as_there_is_room_for() -> None:
    hours = [f"{hour:02}" for hour in range(24)]

    drawn = bars("Hours", [hour * 100 for hour in range(24)], hours, ends=ENDS)

    assert rows(drawn) == [
        ["00", "03", "06", "09", "12", "15", "18", "21"],
        ["0", "300", "600", "900", "1,200", "1,500", "1,800", "2,100"],
    ]


def test_numbers_stand_below_the_middle_of_their_bar() -> None:
    upper, lower = (
        part for part in parts(bars("Two", [7, 1_000], ["1", "2"], ends=ENDS)) if part.text
    )

    for row, at, text in ((upper, 0, "1"), (upper, 1, "2"), (lower, 0, "7"), (lower, 1, "1,000")):
        written = row.text or ""
        letter = float(row.attrib["textLength"]) / len(written)
        middle = float(row.attrib["x"]) + letter * (written.index(text) + len(text) / 2)
        assert abs(middle - (90 + 180 * at)) <= letter, text


def test_a_curve_has_the_numbers_of_some_ranks() -> None:
    drawn = curve("Items", [1, 10, 100, 1000], [36_000, 4_000, 0.25, 0], ends=ENDS)

    assert rows(drawn) == [["1", "10", "100", "1000"], ["36,000", "4,000", "0.25", "0"]]


def test_a_number_that_is_long_is_rounded() -> None:
    assert rows(bars("Days", [1_234_567_890], ["x"], ends=ENDS)) == [["x"], ["1.23e+09"]]


def test_what_is_written_is_written_as_it_is() -> None:
    assert rows(bars("Days", [1], ["<&>"], ends=ENDS))[0] == ["<&>"]


def test_bars_are_as_high_as_their_values() -> None:
    (path,) = paths(bars("Days", [0, 1, 2, 4], [*"abcd"], ends=ENDS))

    assert path == "M0 64V64h1V48h1V32h1V0h1V64z"


def test_on_a_log_scale_what_is_a_thousandth_is_still_seen() -> None:
    (linear,) = paths(bars("Days", [1, 1000], ["a", "b"], ends=ENDS))
    (logarithmic,) = paths(bars("Days", [1, 1000], ["a", "b"], ends=ENDS, log_scale=True))

    assert tops(linear) == [62, 0]
    assert tops(logarithmic) == [58, 0]


def test_a_curve_falls_from_its_first_rank_to_its_last() -> None:
    (path,) = paths(curve("Items", [1, 10, 100], [99, 9, 0], ends=ENDS))

    assert path == "M0 0l180 32 180 32 0 0V64H0z"


def test_a_curve_of_one_rank_is_level() -> None:
    (path,) = paths(curve("Items", [1], [7], ends=ENDS))

    assert path == "M0 0l360 0V64H0z"


@given(VALUES, st.booleans())
def test_any_bars_are_shown_without_a_click(values: list[int], log_scale: bool) -> None:
    markdown = bars("x" * 70, values, names(values), ends=("y" * 30, "z" * 30), log_scale=log_scale)

    (path,) = paths(markdown)
    assert len(markdown) <= MAX_CHARACTERS
    assert [top < 64 for top in tops(path)] == [value > 0 for value in values]
    assert all(0 <= top <= 62 for top in tops(path) if top < 64)
    assert len(rows(markdown)[0]) == len(rows(markdown)[1]) >= 1


@given(VALUES)
def test_any_curve_is_shown_without_a_click(values: list[int]) -> None:
    falling = sorted(values, reverse=True)

    markdown = curve("x" * 40, range(1, len(values) + 1), falling, ends=("y" * 30, "z" * 40))

    (path,) = paths(markdown)
    assert len(markdown) <= MAX_CHARACTERS
    assert path.endswith("V64H0z")


@pytest.mark.parametrize("values", [[0], [0, 0, 0]])
def test_nothing_but_zeros_is_a_line_on_the_ground(values: list[int]) -> None:
    (flat,) = paths(bars("Days", values, names(values), ends=ENDS))

    assert flat == f"M0 64V64h{len(values)}V64z"
    assert paths(curve("Items", [1], [0], ends=ENDS)) == ["M0 64l360 0V64H0z"]


def test_intervals_lie_beside_the_zero_of_their_group() -> None:
    groups = {
        "small <1>": [("a=1", -0.1, 0.1, 0.3), ("a=2", 0.1, 0.2, 0.3)],
        "large": [("a=1", -30.0, -20.0, -10.0)],
    }

    drawn = list(ElementTree.fromstring(intervals("t & u", groups, unit="points")))  # noqa: S314

    texts = [part.text for part in drawn if part.tag.endswith("text")]
    assert texts == [
        *("t & u; points", "small <1>", "a=1", "-0.10..+0.30", "a=2", "+0.10..+0.30"),
        *("large", "a=1", "-30.00..-10.00"),
    ]
    of_paths = [part.attrib["d"] for part in drawn if part.tag.endswith("path")]
    numbers = [[float(n) for n in re.findall(r"-?[\d.]+", path)] for path in of_paths]
    (zero, first, second), (far, large) = numbers[:3], numbers[3:]
    assert first[0] < zero[0] < second[0] < second[2] == first[2]
    assert large[0] < large[2] < far[0]
    middles = [float(part.attrib["cx"]) for part in drawn if part.tag.endswith("circle")]
    assert middles[0] == pytest.approx((first[0] + first[2]) / 2)
    ys = [float(part.attrib["y"]) for part in drawn if part.tag.endswith("text")]
    assert ys == sorted(ys)
