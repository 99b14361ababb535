"""What is known of what is to become live when the gates of a release look at it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import polars as pl

from recsys_assets.audit.settings import changed_settings
from recsys_assets.compute.outlines import Outline
from recsys_assets.compute.scores import Asked, Change, score
from recsys_assets.config import Surface


@dataclass(frozen=True)
class Pair:
    """A kind as it is live, and as it would be."""

    kind: str
    before: Outline
    after: Outline

    @property
    def changed(self) -> list[str]:
        """Which settings were changed in between."""
        return changed_settings(self.before.settings, self.after.settings)

    def scores(
        self, asked: Asked, *, without: pl.Series | None = None
    ) -> dict[int, tuple[float, float]]:
        """Return by cut what would be live scores, and what is."""
        thinned = max(self.before.thinned, self.after.thinned)
        after, before = (
            score(outline, asked, thinned=thinned, without=without)
            for outline in (self.after, self.before)
        )
        return {cut: (after[cut], before[cut]) for cut in after.keys() & before.keys()}


@dataclass(frozen=True)
class Scored:
    """How a kind scores beside what is live of it.

    Attributes:
        pair: the kind.
        cut: first entries that count.
        change: of the score.
        because: what was changed, and so explains a drop.
    """

    pair: Pair
    cut: int
    change: Change
    because: Sequence[str] = ()

    @property
    def name(self) -> str:
        """What people see it under."""
        return f"{self.pair.kind}_{self.cut}"


@dataclass(frozen=True)
class ReleaseFacts:
    """What is known of what is to become live when its gates look at it.

    Attributes:
        surface: whose it is.
        why_not: why nothing is compared; empty where something is.
        pairs: of each kind that is live and would be.
        unread: of each kind that cannot be compared, why.
        trusted: the days that both are scored on.
        scored: of each kind that is scored; empty where there are too few days.
        examples: of what a kind that is worse lists no more.
        is_passing: whether days that follow in the same run replace it, so that it is not scored.
    """

    surface: Surface
    why_not: str = ""
    pairs: Sequence[Pair] = ()
    unread: Mapping[str, str] = field(default_factory=dict)
    trusted: Sequence[date] = ()
    scored: Sequence[Scored] = ()
    examples: Sequence[Mapping[str, Any]] = ()
    is_passing: bool = False
