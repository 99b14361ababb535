"""What the scores of an experiment come to: an interval for each kind and set of options."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from statistics import fmean
from typing import Any, Literal

from recsys_assets.compute.paired import Interval, paired_interval
from recsys_assets.config import Surface
from recsys_assets.experiments.replay import LEAST_DAYS, Direction, Scored
from recsys_assets.experiments.tried import Tried, is_scored, scored_kinds
from recsys_assets.kinds import KINDS

Verdict = Literal["better", "worse", "same", "unclear"]
_Row = tuple[str, Direction, int]  # kind, direction, first


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
    shares: dict[_Row, dict[int | None, dict[date, float]]] = {}
    for each in scored:
        by_set = shares.setdefault((each.kind, each.direction, each.first), {})
        by_set.setdefault(each.tried, {})[each.day] = each.share
    found = []
    for number, tried in enumerate(tries):
        for (kind, direction, first), by_set in sorted(shares.items(), key=_in_order):
            by_day = by_set.get(number, {})
            if len(by_day) < LEAST_DAYS:
                continue
            paired = {day: (by_set[None][day], share) for day, share in by_day.items()}
            change = paired_interval({day: of - before for day, (before, of) in paired.items()})
            found.append(Result(tried, kind, first, direction, paired, change))
    return found


def not_scored(found: Iterable[Result], surface: Surface, tries: Iterable[Tried]) -> list[str]:
    """Say which kinds are not scored, forward or backward, and why."""
    there = {(each.kind, each.direction) for each in found}
    changed = {kind for tried in tries for kind in tried.changed_kinds(surface)}
    said = [
        f"{kind} is not scored: it lists no items that users come to"
        for kind in surface.artifacts.kinds
        if not is_scored(kind)
    ]
    for kind in scored_kinds(surface):
        if kind not in changed:
            continue
        if (kind, "forward") not in there:
            said.append(
                f"{kind} is not scored forward: on fewer than {LEAST_DAYS} of the days after there "
                "was what it is looked up for, or gates found them unsound"
            )
        if (kind, "backward") not in there:
            wanted = surface.gates.release.trusted_days
            said.append(
                f"{kind} is not scored backward: fewer than {LEAST_DAYS} of the days have "
                f"{-(-wanted // 2)} or more sound ones before the longest window, half of "
                "gates.release.trusted_days, with what it is looked up for"
            )
    return said


def _in_order(row: tuple[_Row, Any]) -> tuple[int, bool, int]:
    (kind, direction, first), _ = row
    return [*KINDS].index(kind), direction != "forward", first
