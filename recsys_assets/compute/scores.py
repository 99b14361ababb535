"""Replay artifacts on days that are known: how much of what happened do they list?

An artifact is scored on days that it is not made of. Two artifacts are compared on the same days,
so what is special about these days cancels out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from recsys_assets.compute.codes import high_code, low_code
from recsys_assets.compute.outlines import Form, Outline
from recsys_assets.compute.samples import Keys, Sample, is_in_sample
from recsys_assets.config import Gates

# After so many of the first entries it is counted how much they hold.
CUTS: Final[Mapping[Form, Sequence[int]]] = {
    "ranking": (20, 100),
    "neighbours": (20,),
    "users": (50,),
    "tags": (),
}
_LEAST: Final = 1e-3  # below it, shares say nothing
_NORMAL: Final = 1.4826  # of a normal distribution: standard deviations a median distance


@dataclass(frozen=True)
class Asked:
    """What happened on some days, of the users and sessions in their samples.

    Attributes:
        by: what artifacts of a form are asked for: `key` (UInt64) of what happens, and how many
            `events`, or steps, that are. Of a ranking a key comes once.
    """

    by: Mapping[Form, pl.DataFrame]

    @classmethod
    def of(cls, samples: Iterable[Sample]) -> Asked:
        """Put samples of days together; as they are nested, those of the smallest share count."""
        samples = list(samples)
        thinned = max((each.thinned for each in samples), default=0)
        keys = Keys(pl.concat([each.at(thinned) for each in samples]))
        items, events = keys.items
        return cls(
            {
                "ranking": _asked(items, events),
                "neighbours": _asked(keys.next_steps),
                "users": _asked(keys.user_items),
            }
        )


def _asked(
    keys: npt.NDArray[np.unsignedinteger[Any]], events: npt.NDArray[np.intp] | None = None
) -> pl.DataFrame:
    ones = np.ones(keys.size, dtype=np.uint32)
    times = ones if events is None else events.astype(np.uint32)
    return pl.DataFrame({"key": keys.astype(np.uint64, copy=False), "events": times})


def score(
    outline: Outline, asked: Asked, *, thinned: int = 0, without: pl.Series | None = None
) -> dict[int, float]:
    """Return which share of what is asked for the first entries hold, for each cut of the form.

    Of a ranking: the events of its items. Of neighbours: the steps from an item to one of its
    neighbours. Of users: the events of a user with one of its items.

    Args:
        outline: of the artifact.
        asked: what happened on days that it is not made of.
        thinned: at least so far owners are thinned: as far as those of what it is compared with.
        without: hashes of items that are left out of what is asked for.
    """
    if not CUTS[outline.form]:
        return {}
    wanted = _wanted(outline, asked, thinned, without)
    events = wanted["events"]
    return {
        cut: int(events.filter(_is_held(outline, wanted, cut)).sum()) / max(int(events.sum()), 1)
        for cut in CUTS[outline.form]
    }


def held_by_owner(outline: Outline, asked: Asked, cut: int, *, thinned: int = 0) -> pl.DataFrame:
    """Return `owner` (hash; of a ranking, the item), `events`: what the first entries hold."""
    wanted = _wanted(outline, asked, thinned, None)
    held = wanted.filter(_is_held(outline, wanted, cut))
    owner = low_code("key") if outline.form == "ranking" else high_code("key")
    return held.group_by(owner=owner).agg(pl.col("events").sum())


@dataclass(frozen=True)
class Change:
    """How the score of what would be live compares with that of what is.

    Attributes:
        share: of what would be live.
        live: of what is.
        floor: the least share that is no worse; None while what is usual is not known.
        used: which part of the margin is used; above 1 is too far. 0 while it is not known.
        learned: comparisons that say what is usual.
    """

    share: float
    live: float
    floor: float | None
    used: float
    learned: int

    @property
    def logarithm(self) -> float:
        """The change as it is compared: the logarithm of the ratio of both shares."""
        return _ratio(self.share, self.live)

    @property
    def failed(self) -> bool:
        """Whether it is worse by too much."""
        return self.used > 1


def compare_scores(share: float, live: float, past: Sequence[float], gates: Gates) -> Change:
    """Judge a change by earlier ones.

    It is too large when its logarithm is below the median of earlier ones, or 0 if that is less, by
    more than `gates.spreads` of them and more than `gates.release.max_drop`.

    Args:
        share: score of what would be live.
        live: score of what is, on the same days.
        past: logarithms of earlier changes.
        gates: the configuration.
    """
    if len(past) < gates.warm_up_days:
        return Change(share, live, None, 0.0, len(past))
    middle = median(past)
    spread = _NORMAL * median(abs(each - middle) for each in past)
    level, margin = min(middle, 0.0), max(gates.spreads * spread, gates.release.max_drop)
    floor = max(0.0, (live + _LEAST) * math.exp(level - margin) - _LEAST)
    return Change(share, live, floor, (level - _ratio(share, live)) / margin, len(past))


def _ratio(share: float, live: float) -> float:
    return math.log((share + _LEAST) / (live + _LEAST))


def _wanted(
    outline: Outline, asked: Asked, thinned: int, without: pl.Series | None
) -> pl.DataFrame:
    wanted = asked.by[outline.form]
    if outline.form != "ranking" and (least := max(thinned, outline.thinned)):
        owners = (wanted["key"].to_numpy() >> np.uint64(32)).astype(np.uint32)
        wanted = wanted.filter(is_in_sample(owners, least))
    if without is not None:
        items = [low_code("key"), *([high_code("key")] if outline.form == "neighbours" else [])]
        for item in items:
            wanted = wanted.filter(~item.is_in(without.implode()))
    return wanted


def _is_held(outline: Outline, wanted: pl.DataFrame, cut: int) -> pl.Series:
    keys = outline.keys.head(cut) if outline.form == "ranking" else outline.keys
    return wanted["key"].is_in(keys.implode())
