"""The checks that compare what would become live with what is: rows of the table of checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from recsys_assets.audit.release_facts import Pair, ReleaseFacts, Scored
from recsys_assets.audit.settings import changed_list, changed_settings
from recsys_assets.compute.outlines import Form
from recsys_assets.compute.scores import CUTS
from recsys_assets.config import Surface
from recsys_assets.kinds import KINDS
from recsys_assets.verdicts import Check, Verdict, passed, skipped

# Nearly nothing: less than this share of what is live, if that is not few.
_NEARLY: Final = 0.05
_FEW: Final = 20


def not_compared() -> dict[str, Verdict]:
    """Return the verdicts on what cannot be published anyhow."""
    return {check.name: skipped("there is nothing to publish") for check in RELEASE_CHECKS}


def is_release_gate(name: str) -> bool:
    """Tell whether a check compares a release with what is live."""
    return any(check.name == name for check in RELEASE_CHECKS)


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


def _losses(facts: ReleaseFacts) -> tuple[list[_Loss], bool]:
    """Return what was lost, and whether that of events was, on a day that may be empty."""
    losses = [loss for pair in facts.pairs if (loss := _loss(pair))]
    lost = {loss.pair.kind for loss in losses}
    lost |= {pair.kind for pair in facts.pairs if not pair.after.entries}
    of_events = {pair.kind for pair in facts.pairs if KINDS[pair.kind].reads == "events"}
    quiet = facts.surface.guardrails.min_events == 0 and of_events <= lost
    if quiet:  # the day has (hardly) any events, and that may be
        losses = [loss for loss in losses if loss.pair.kind not in of_events]
    return losses, quiet and bool(of_events)


def unexplained(facts: ReleaseFacts) -> dict[str, bool]:
    """Return of each check that compared, whether it found a drop that no change explains."""
    losses, _ = _losses(facts)
    found = {NOTHING_EMPTIED: any(not loss.because for loss in losses)}
    if any(each.change.floor is not None for each in facts.scored):
        worse = [each for each in facts.scored if each.change.failed]
        found[NO_WORSE] = any(not each.because for each in worse)
    return found


def _nothing_emptied(facts: Any) -> Verdict | None:
    """Look for kinds that have dropped to nothing, or nearly so."""
    if not isinstance(facts, ReleaseFacts):
        return None
    if facts.why_not:
        return skipped(facts.why_not)
    losses, quiet = _losses(facts)
    if not losses:
        if quiet:
            return skipped("a day without events, as guardrails.min_events: 0 allows")
        unread = "; ".join(f"{kind}: {why}" for kind, why in facts.unread.items())
        return replace(passed(), description=f"not compared: {unread}" if unread else "")
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


def _no_worse(facts: Any) -> Verdict | None:
    """Look for kinds that hold less of what happened than those that are live."""
    if not isinstance(facts, ReleaseFacts):
        return None
    gates = facts.surface.gates
    if facts.why_not:
        return skipped(facts.why_not)
    if not facts.scored:
        return skipped(_why_not_scored(facts))
    known = [each for each in facts.scored if each.change.floor is not None]
    if not known:
        learned = max(each.change.learned for each in facts.scored)
        return skipped(f"learning what is usual: {learned} of {gates.warm_up_days} comparisons")
    numbers = {
        name: value
        for each in known
        for name, value in (
            (each.name, each.change.share),
            (f"{each.name}/live", each.change.live),
            (f"{each.name}/margin_used", each.change.used),
        )
    }
    worse = [each for each in known if each.change.failed]
    if not worse:
        return passed(**numbers)
    refuses = gates.mode == "block" and any(not each.because for each in worse)
    days = f"{len(facts.trusted)} days, {facts.trusted[0]} to {facts.trusted[-1]}"
    said = "; ".join(map(in_words, worse))
    return Verdict(
        "failed" if refuses else "warned",
        f"on {days}: {said}",
        len(worse),
        facts.examples,
        numbers,
    )


def _why_not_scored(facts: ReleaseFacts) -> str:
    release = facts.surface.gates.release
    if facts.unread:
        return "; ".join(f"{kind}: {why}" for kind, why in facts.unread.items())
    if not any(CUTS[pair.after.form] for pair in facts.pairs):
        return "no kind that is live is scored"
    return (
        f"gates.release.trusted_days is {release.trusted_days}, and before both windows there are "
        f"{len(facts.trusted)}: half of them are needed"
    )


_HOLDS: Final[Mapping[Form, str]] = {
    "ranking": "of the events are of its first {cut} items",
    "neighbours": "of the steps lead to one of the first {cut} neighbours of an item",
    "users": "of the events are of the first {cut} items of their user",
    "tags": "",
}


def in_words(scored: Scored) -> str:
    """Say how much worse a kind is, as people read it."""
    change, form = scored.change, scored.pair.after.form
    why = f" ({'; '.join(scored.because)})" if scored.because else ""
    least = "" if change.floor is None else f", {change.floor:.2%} would do"
    holds = _HOLDS[form].format(cut=scored.cut)
    return f"{scored.pair.kind}: {change.share:.2%} {holds}, live {change.live:.2%}{least}{why}"


def _is_on(surface: Surface, _: str) -> bool:
    return surface.gates.are_on


NOTHING_EMPTIED: Final = "nothing_emptied"
NO_WORSE: Final = "no_worse_than_live"

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
    Check(
        NO_WORSE,
        ["manifest"],
        "Gate: on days before both, what would become live lists no less of what happened than "
        "what is live.",
        "worse-than-live",
        _no_worse,
        knobs=["gates.mode", "gates.spreads", "gates.release.max_drop"],
        where=_is_on,
        where_text="manifest, unless `gates.mode` is off",
    ),
)
