"""The checks that compare what would become live with what is: rows of the table of checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from recsys_assets.audit.release_facts import Loss, ReleaseFacts, Scored
from recsys_assets.compute.outlines import Form
from recsys_assets.compute.scores import CUTS
from recsys_assets.config import Surface
from recsys_assets.kinds import KINDS
from recsys_assets.verdicts import Check, Verdict, passed, skipped

_QUIET: Final = "a day without events, as guardrails.min_events: 0 allows"


def not_compared() -> dict[str, Verdict]:
    """Return the verdicts on what cannot be published anyhow."""
    return {check.name: skipped("there is nothing to publish") for check in RELEASE_CHECKS}


def is_release_gate(name: str) -> bool:
    """Tell whether a check compares a release with what is live."""
    return any(check.name == name for check in RELEASE_CHECKS)


def _said(loss: Loss) -> str:
    """Say what was lost in words."""
    why = f" ({'; '.join(loss.because)})" if loss.because else ""
    live = f"{loss.before:,} {loss.what} are live"
    return f"{loss.pair.kind}: {live}, {loss.after:,} would be{why}"


def unexplained(facts: ReleaseFacts) -> dict[str, bool]:
    """Return of each check that compared, whether it found a drop that no change explains."""
    found = {NOTHING_EMPTIED: any(not loss.because for loss in _losses(facts))}
    if any(each.change.floor is not None for each in facts.scored):
        worse = [each for each in facts.scored if each.change.failed]
        found[NO_WORSE] = any(not each.because for each in worse)
    return found


def _losses(facts: ReleaseFacts) -> list[Loss]:
    """Return what was lost, without that of events on a day that may be empty."""
    return [
        loss
        for loss in facts.losses
        if not facts.is_quiet or KINDS[loss.pair.kind].reads != "events"
    ]


def _nothing_emptied(facts: Any) -> Verdict | None:
    """Look for kinds that have dropped to nothing, or nearly so."""
    if not isinstance(facts, ReleaseFacts):
        return None
    if facts.why_not:
        return skipped(facts.why_not)
    losses = _losses(facts)
    if not losses:
        if facts.is_quiet:
            return skipped(_QUIET)
        unread = "; ".join(f"{kind}: {why}" for kind, why in facts.unread.items())
        return replace(passed(), description=f"not compared: {unread}" if unread else "")
    faults = [loss for loss in losses if not loss.because]
    refuses = any(not loss.after for loss in faults) or (
        faults and facts.surface.gates.mode == "block"
    )
    return Verdict(
        "failed" if refuses else "warned",
        "; ".join(map(_said, losses)),
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
    if facts.is_quiet:
        return skipped(_QUIET)
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
    gates = facts.surface.gates
    if facts.is_passing:
        return (
            f"the run goes on for more than {gates.history_days} days (gates.history_days), and "
            "those replace it"
        )
    if facts.unread:
        return "; ".join(f"{kind}: {why}" for kind, why in facts.unread.items())
    if not any(CUTS[pair.after.form] and pair.before.entries for pair in facts.pairs):
        return "no kind that lists anything live is scored"
    return (
        f"gates.release.trusted_days is {gates.release.trusted_days}, and before both windows "
        f"there are {len(facts.trusted)}: half of them are needed"
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
