"""How sure a difference is that was seen on some days."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from math import sqrt
from statistics import NormalDist, fmean
from typing import Final

# Days up to this far apart may be alike: their windows overlap, and it was the same week.
MOST_LAG: Final = 7


@dataclass(frozen=True)
class Interval:
    """Where the mean of a difference lies, at 95 %.

    Attributes:
        days: that were seen.
        mean: of the differences.
        low: lower end.
        high: upper end.
    """

    days: int
    mean: float
    low: float
    high: float


def paired_interval(differences: Mapping[date, float]) -> Interval:
    """Return the interval of the mean of differences, each of one day; of two days at least.

    It is Student's, but for the days that follow each other: where these are alike, there is less
    to learn from each, and the interval is wider (Newey and West, with Bartlett's weights, up to
    `MOST_LAG` days and a quarter of them). It is never narrower than that of independent days.
    """
    count, mean = len(differences), fmean(differences.values())
    off = {day: value - mean for day, value in differences.items()}
    alone = sum(value**2 for value in off.values()) / (count - 1)
    together = alone
    lags = min(MOST_LAG, count // 4)
    for lag in range(1, lags + 1):
        later = timedelta(days=lag)
        products = sum(value * off.get(day + later, 0.0) for day, value in off.items())
        together += 2 * (1 - lag / (lags + 1)) * products / (count - 1)
    reach = student(count - 1) * sqrt(max(alone, together) / count)
    return Interval(count, mean, mean - reach, mean + reach)


def student(degrees: int) -> float:
    """Return the 97.5 % quantile of Student's distribution; exact to 1 % from 5 degrees on.

    The expansion of Cornish and Fisher: it needs no library, and no table.
    """
    z = NormalDist().inv_cdf(0.975)
    return (
        z
        + (z**3 + z) / 4 / degrees
        + (5 * z**5 + 16 * z**3 + 3 * z) / 96 / degrees**2
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384 / degrees**3
    )
