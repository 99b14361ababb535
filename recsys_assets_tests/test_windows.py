"""A window's days, and the fingerprint of what is in it."""

from __future__ import annotations

import hashlib
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.windows import SourceHash, Window, source_hash

WINDOW = Window(date(2025, 12, 31), date(2026, 1, 3))
DAYS = [date(2025, 12, 31), date(2026, 1, 1), date(2026, 1, 2)]


@pytest.mark.parametrize(
    ("days", "start"), [(1, date(2026, 3, 1)), (2, date(2026, 2, 28)), (31, date(2026, 1, 30))]
)
def test_a_window_ends_with_its_day_and_excludes_the_next(days: int, start: date) -> None:
    assert Window.ending_with(date(2026, 3, 1), days=days) == Window(start, date(2026, 3, 2))


def test_a_window_survives_json() -> None:
    window = Window(date(2026, 1, 1), date(2026, 1, 2))

    assert window.to_json() == {"start": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z"}
    assert Window.from_json(window.to_json()) == window


def test_a_window_has_each_of_its_days_oldest_first() -> None:
    assert WINDOW.days() == DAYS
    assert WINDOW.last_day == DAYS[-1]


@pytest.mark.parametrize(
    ("since", "days"),
    [
        (date(2025, 12, 1), DAYS),
        (DAYS[0], DAYS),
        (DAYS[1], DAYS[1:]),
        (DAYS[2], DAYS[2:]),
        (WINDOW.end, []),
        (date(2026, 2, 1), []),
    ],
)
def test_days_before_a_first_one_are_left_out(since: date, days: list[date]) -> None:
    assert WINDOW.days(since=since) == days


@given(st.dates(date(2000, 1, 1), date(2100, 1, 1)), st.integers(1, 400))
def test_a_window_that_ends_with_a_day_has_as_many_days(day: date, number: int) -> None:
    window = Window.ending_with(day, days=number)

    assert window.last_day == window.days()[-1] == day
    assert window.days() == [window.start + timedelta(days=n) for n in range(number)]


def test_the_hash_of_one_day_is_its_fingerprint() -> None:
    assert source_hash({DAYS[0]: "f" * 64}) == "f" * 64


def test_the_hash_of_several_days_is_of_their_lines_in_order_of_days() -> None:
    lines = b"2025-12-31 c\n2026-01-01 a\n2026-01-02 b"

    assert (
        source_hash({DAYS[1]: "a", DAYS[2]: "b", DAYS[0]: "c"}) == hashlib.sha256(lines).hexdigest()
    )


def test_the_hash_of_no_day_is_that_of_nothing() -> None:
    assert source_hash({}) == hashlib.sha256(b"").hexdigest()


@pytest.mark.parametrize(
    ("end", "text"), [("2026-01-02", "2026-01-01"), ("2026-01-08", "2026-01-01 to 2026-01-07")]
)
def test_a_window_is_told_by_its_days(end: str, text: str) -> None:
    window = {"start": "2026-01-01T00:00:00Z", "end": f"{end}T00:00:00Z"}

    assert str(Window.from_json(window)) == text


@pytest.mark.parametrize("catalog", [None, "c" * 64])
@pytest.mark.parametrize("denied", [None, "d" * 64])
def test_a_source_hash_says_what_else_decides_and_alone_it_is_that_of_the_data(
    catalog: str | None, denied: str | None
) -> None:
    whole = SourceHash("f" * 64, catalog=catalog, denied=denied)

    assert SourceHash.from_text(str(whole)) == whole
    assert str(SourceHash("f" * 64)) == "f" * 64
