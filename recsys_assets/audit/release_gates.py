"""The gates of a release: what is to become live is compared with what is.

They are asked in the order of days, when the days before are published or refused. A rollback, a
pin or a repair is never asked: what becomes live by them has been live.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

from recsys_assets.audit.audited import Later
from recsys_assets.audit.settings import changed_list, changed_settings
from recsys_assets.compute.outlines import Outline
from recsys_assets.config import Surface
from recsys_assets.errors import StorageError
from recsys_assets.kinds import KINDS
from recsys_assets.live.outlines import outline_of
from recsys_assets.storage.publications import Live, read_live
from recsys_assets.storage.store import Store
from recsys_assets.verdicts import Check, Verdict, judge, passed, skipped
from recsys_assets.windows import Window

# Nearly nothing: less than this share of what is live, if that is not few.
_NEARLY: Final = 0.05
_FEW: Final = 20


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


@dataclass(frozen=True)
class ReleaseFacts:
    """What is known of what is to become live when its gates look at it.

    Attributes:
        surface: whose it is.
        why_not: why nothing is compared; empty where something is.
        pairs: of each kind that is live and would be.
        unread: of each kind that cannot be compared, why.
    """

    surface: Surface
    why_not: str = ""
    pairs: Sequence[Pair] = ()
    unread: Mapping[str, str] = field(default_factory=dict)


class ReleaseGates:
    """Compares what is to become live in one run with what is, in the order of days."""

    def __init__(self, store: Store, surface: Surface) -> None:
        self._store = store
        self._surface = surface
        self._outlines: dict[str, Outline] = {}  # of what is live, by URI

    def judge(self, day: date, window: Window, current: Mapping[str, str]) -> Later:
        """Compare what would be live of a day with what is live now.

        Raises:
            StorageError: what is live is damaged.
        """
        live = read_live(self._store, self._surface.place)
        why_not = _why_not(live, window, current)
        if why_not or live is None:
            facts = ReleaseFacts(self._surface, why_not)
            return Later(judge(RELEASE_CHECKS, facts), {})
        pairs, unread = self._pairs(live.current, current)
        facts = ReleaseFacts(self._surface, "", pairs, unread)
        return Later(judge(RELEASE_CHECKS, facts), {})

    def _pairs(
        self, before: Mapping[str, str], after: Mapping[str, str]
    ) -> tuple[list[Pair], dict[str, str]]:
        pairs, unread, known = list[Pair](), dict[str, str](), dict[str, Outline]()
        for kind in [kind for kind in after if kind in before]:
            try:
                for uri in (before[kind], after[kind]):
                    known[uri] = self._outlines.get(uri) or outline_of(
                        self._store, self._surface.place, kind, uri
                    )
                pairs.append(Pair(kind, known[before[kind]], known[after[kind]]))
            except StorageError as error:
                unread[kind] = str(error)
        self._outlines = known  # what is live next is among them
        return pairs, unread


def not_compared() -> dict[str, Verdict]:
    """Return the verdicts on what cannot be published anyhow."""
    return {check.name: skipped("there is nothing to publish") for check in RELEASE_CHECKS}


def is_release_gate(name: str) -> bool:
    """Tell whether a check compares a release with what is live."""
    return any(check.name == name for check in RELEASE_CHECKS)


def _why_not(live: Live | None, window: Window, current: Mapping[str, str]) -> str:
    """Say why what would be live is not compared with what is; empty where it is."""
    if live is None:
        return "nothing is live yet"
    if live.window is None or live.window.end > window.end:
        return "it does not become live: what is live is later"
    if live.window == window and live.current == current:
        return "it is live already"
    if live.publication and live.publication.pinned:
        return "it does not become live: what is live is pinned; a release compares it"
    return ""


@dataclass(frozen=True)
class _Loss:
    """A drop of a kind to nothing, or nearly so."""

    pair: Pair
    what: str
    before: int
    after: int

    @property
    def because(self) -> list[str]:
        """What was changed, and so explains it."""
        of = (self.pair.before.settings, self.pair.after.settings)
        return [*changed_settings(*of), *changed_list(*of)]

    def said(self) -> str:
        """Say it in words."""
        why = f" ({'; '.join(self.because)})" if self.because else ""
        live = f"{self.before:,} {self.what} are live"
        return f"{self.pair.kind}: {live}, {self.after:,} would be{why}"


def _loss(pair: Pair) -> _Loss | None:
    """Return what a kind lost, if that is all or nearly all."""
    layout = KINDS[pair.kind].layout
    sizes = [(layout.owners, pair.before.owners, pair.after.owners)]
    if layout.entry is not None:
        sizes.append((layout.entries, pair.before.entries, pair.after.entries))
    for what, before, after in sizes:
        # A ranking of a day with events has rows; that few users have no list may be chance.
        is_lost = before > after == 0 and (layout.entry is None or before >= _FEW)
        if is_lost or (before >= _FEW and after < _NEARLY * before):
            return _Loss(pair, what, before, after)
    return None


def _nothing_emptied(facts: Any) -> Verdict | None:
    """Look for kinds that have dropped to nothing, or nearly so."""
    if not isinstance(facts, ReleaseFacts):
        return None
    if facts.why_not:
        return skipped(facts.why_not)
    losses = [loss for pair in facts.pairs if (loss := _loss(pair))]
    lost = {loss.pair.kind for loss in losses}
    lost |= {pair.kind for pair in facts.pairs if not pair.after.entries}
    of_events = {pair.kind for pair in facts.pairs if KINDS[pair.kind].reads == "events"}
    quiet = facts.surface.guardrails.min_events == 0 and of_events <= lost
    if quiet:  # the day has (hardly) any events, and that may be
        losses = [loss for loss in losses if loss.pair.kind not in of_events]
    if not losses:
        if quiet and of_events:
            return skipped("a day without events, as guardrails.min_events: 0 allows")
        return passed()
    faults = [loss for loss in losses if not loss.because]
    refuses = any(not loss.after for loss in faults) or (
        faults and facts.surface.gates.mode == "block"
    )
    return Verdict(
        "failed" if refuses else "warned",
        "; ".join(loss.said() for loss in losses),
        len(losses),
        [
            {"kind": loss.pair.kind, "of": loss.what, "live": loss.before, "would be": loss.after}
            for loss in losses
        ],
    )


def _is_on(surface: Surface, _: str) -> bool:
    return surface.gates.are_on


NOTHING_EMPTIED: Final = "nothing_emptied"

RELEASE_CHECKS: Final[Sequence[Check]] = (
    Check(
        NOTHING_EMPTIED,
        ["manifest"],
        "Gate: no kind that would become live has lost all, or nearly all, of what is live of it.",
        "worse-than-live",
        _nothing_emptied,
        knobs=["gates.mode", "guardrails.min_events"],
        where=_is_on,
        where_text="manifest, unless `gates.mode` is off",
    ),
)
