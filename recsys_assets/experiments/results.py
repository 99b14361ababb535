"""What the scores of an experiment come to: an interval for each kind and set of options."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from statistics import fmean
from typing import Any, Literal

from recsys_assets.compute.paired import Interval, paired_interval
from recsys_assets.experiments.replay import LEAST_DAYS, Direction, Scored
from recsys_assets.experiments.tried import Tried

Verdict = Literal["better", "worse", "same", "unclear"]


@dataclass(frozen=True)
class Result:
    """How a kind scores with a set of options, beside the current ones.

    Attributes:
        tried: the set.
        kind: of the artifact.
        first: entries of a list that count.
        direction: what it is scored on.
        shares: by day, with the current options and with those that are tried.
        change: tried less current.
    """

    tried: Tried
    kind: str
    first: int
    direction: Direction
    shares: Mapping[date, tuple[float, float]]
    change: Interval

    @property
    def current_share(self) -> float:
        """Mean of the days, with the current options."""
        return fmean(current for current, _ in self.shares.values())

    @property
    def tried_share(self) -> float:
        """The same with the options that are tried."""
        return fmean(tried for _, tried in self.shares.values())

    @property
    def verdict(self) -> Verdict:
        """What the interval says."""
        if all(current == tried for current, tried in self.shares.values()):
            return "same"
        if self.change.low > 0:
            return "better"
        return "worse" if self.change.high < 0 else "unclear"

    def figures(self) -> dict[str, Any]:
        """Return its figures by name, shares from 0 to 1."""
        return {
            "kind": self.kind,
            "first": self.first,
            "scored": self.direction,
            "days": self.change.days,
            "current": self.current_share,
            "tried": self.tried_share,
            "change": self.change.mean,
            "low": self.change.low,
            "high": self.change.high,
            "verdict": self.verdict,
        }


def results(tries: Sequence[Tried], scored: Iterable[Scored]) -> list[Result]:
    """Pair the scores of each set with those of the current options, by day.

    What has fewer than `LEAST_DAYS` days is left out.
    """
    shares: dict[tuple[int | None, str, int, Direction], dict[date, float]] = {}
    for each in scored:
        key = each.tried, each.kind, each.first, each.direction
        shares.setdefault(key, {})[each.day] = each.share
    found = []
    for (number, kind, first, direction), by_day in shares.items():
        if number is None or len(by_day) < LEAST_DAYS:
            continue
        current = shares[None, kind, first, direction]
        paired = {day: (current[day], share) for day, share in by_day.items()}
        change = paired_interval({day: after - before for day, (before, after) in paired.items()})
        found.append(Result(tries[number], kind, first, direction, paired, change))
    order = {name: at for at, name in enumerate(each.name for each in tries)}
    kinds = {kind: at for at, (_, kind, _, _) in enumerate(reversed(shares))}
    return sorted(
        found,
        key=lambda of: (order[of.tried.name], -kinds[of.kind], of.direction != "forward", of.first),
    )
