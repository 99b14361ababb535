"""What is known of what is to become live when the gates of a release look at it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import Any, Final

import polars as pl

from recsys_assets.audit.settings import changed_list, changed_settings
from recsys_assets.compute.outlines import Outline
from recsys_assets.compute.scores import Asked, Change, score
from recsys_assets.config import Surface
from recsys_assets.kinds import KINDS

# Nearly nothing: less than this share of what is live, if that is not few.
_NEARLY: Final = 0.05
_FEW: Final = 20


@dataclass(frozen=True)
class Pair:
    """A kind as it is live, and as it would be; `erased` says of whom since, in words."""

    kind: str
    before: Outline
    after: Outline
    erased: Sequence[str] = ()

    @property
    def changed(self) -> list[str]:
        """Which settings were changed in between, and whether somebody was erased."""
        return [*changed_settings(self.before.settings, self.after.settings), *self.erased]

    @property
    def changed_list(self) -> list[str]:
        """Whether other items are withdrawn, in words."""
        return changed_list(self.before.settings, self.after.settings)

    def is_emptied_by(self, withdrawn: pl.Series | None) -> bool:
        """Tell whether (nearly) nothing that is live is left without some items, as hashes.

        What lists no items, as of tags, is not known by its items: it may be.
        """
        lists = self.before.lists
        if withdrawn is None or not lists.height:
            return withdrawn is not None
        of_items = ("owner", "item") if self.before.form == "neighbours" else ("item",)
        is_gone = pl.any_horizontal(pl.col(*of_items).is_in(withdrawn.implode()))
        return lists.filter(~is_gone).height < _NEARLY * lists.height

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
class Loss:
    """A drop of a kind to nothing, or nearly so.

    Attributes:
        pair: the kind.
        what: was lost: its owners, or the entries of their lists.
        before: how many are live.
        after: how many would be.
        because: what was changed, and so explains it.
    """

    pair: Pair
    what: str
    before: int
    after: int
    because: Sequence[str]


def _losses(pair: Pair, withdrawn: pl.Series | None) -> list[Loss]:
    """Return what a kind lost, if that is all or nearly all."""
    layout = KINDS[pair.kind].layout
    sizes = [(layout.owners, pair.before.owners, pair.after.owners)]
    if layout.entry is not None:
        sizes.append((layout.entries, pair.before.entries, pair.after.entries))
    for what, before, after in sizes:
        # A ranking of a day with events has rows; that few users have no list may be chance.
        is_lost = before > after == 0 and (layout.entry is None or before >= _FEW)
        if is_lost or (before >= _FEW and after < _NEARLY * before):
            by_list = pair.changed_list if pair.is_emptied_by(withdrawn) else []
            return [Loss(pair, what, before, after, [*pair.changed, *by_list])]
    return []


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
        withdrawn: the items that are withdrawn now, as hashes, where others were before.
        trusted: the days that both are scored on.
        scored: of each kind that is scored; empty where there are too few days.
        examples: of what a kind that is worse lists no more.
        is_passing: whether days that follow in the same run replace it, so that it is not scored.
    """

    surface: Surface
    why_not: str = ""
    pairs: Sequence[Pair] = ()
    unread: Mapping[str, str] = field(default_factory=dict)
    withdrawn: pl.Series | None = None
    trusted: Sequence[date] = ()
    scored: Sequence[Scored] = ()
    examples: Sequence[Mapping[str, Any]] = ()
    is_passing: bool = False

    @cached_property
    def losses(self) -> list[Loss]:
        """The kinds that have dropped to nothing, or nearly so."""
        return [loss for pair in self.pairs for loss in _losses(pair, self.withdrawn)]

    @cached_property
    def is_quiet(self) -> bool:
        """Whether the day has (hardly) any events, and that may be: all kinds made of them drop."""
        of_events = {pair.kind for pair in self.pairs if KINDS[pair.kind].reads == "events"}
        lost = {loss.pair.kind for loss in self.losses}
        lost |= {pair.kind for pair in self.pairs if not pair.after.entries}
        return self.surface.guardrails.min_events == 0 and bool(of_events) and of_events <= lost
