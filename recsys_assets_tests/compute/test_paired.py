"""Intervals of differences that are paired by day."""

from __future__ import annotations

from datetime import date, timedelta
from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.compute.paired import paired_interval, student

FIRST = date(2026, 1, 1)


def on_days(values: list[float], *, apart: int = 1) -> dict[date, float]:
    return {FIRST + timedelta(days=apart * n): value for n, value in enumerate(values)}


def test_days_that_are_alike_make_it_wider_as_by_hand() -> None:
    """Of 7 days, neighbours count half: 28/6 + 2 * 1/2 * 16/6 = 7 1/3."""
    found = paired_interval(on_days([1, 2, 3, 4, 5, 6, 7]))

    assert (found.days, found.mean) == (7, 4)
    reach = 2.4456 * sqrt((28 / 6 + 16 / 6) / 7)
    assert found.low == pytest.approx(4 - reach, rel=1e-3)
    assert found.high == pytest.approx(4 + reach, rel=1e-3)


@pytest.mark.parametrize(
    ("values", "apart"), [([1, 2, 3, 4, 5, 6, 7], 9), ([3, 5, 3, 5, 3, 5, 4], 1)]
)
def test_of_days_far_apart_or_unlike_it_is_that_of_student(values: list[float], apart: int) -> None:
    found = paired_interval(on_days(values, apart=apart))

    variance = sum((value - 4) ** 2 for value in values) / 6
    assert found.high - found.mean == pytest.approx(2.4456 * sqrt(variance / 7), rel=1e-4)


@pytest.mark.parametrize(
    ("degrees", "quantile"), [(5, 2.5706), (6, 2.4469), (10, 2.2281), (29, 2.0452), (364, 1.9665)]
)
def test_quantiles_are_those_of_tables(degrees: int, quantile: float) -> None:
    assert student(degrees) == pytest.approx(quantile, rel=0.01)


@given(st.lists(st.floats(-1, 1), min_size=7, max_size=60), st.floats(-1, 1))
def test_it_moves_with_the_differences(values: list[float], more: float) -> None:
    found = paired_interval(on_days(values))
    moved = paired_interval(on_days([value + more for value in values]))

    assert found.low <= found.mean <= found.high
    assert moved.low == pytest.approx(found.low + more, abs=1e-6)
    assert moved.high == pytest.approx(found.high + more, abs=1e-6)
