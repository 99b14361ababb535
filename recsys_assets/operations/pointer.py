"""Move the live pointer by hand: roll back, pin, release. Each is one more flip, on the record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from recsys_assets.audit.audited import Audited
from recsys_assets.audit.candidates import Candidate, audit_candidate
from recsys_assets.audit.checks import checks_of
from recsys_assets.audit.release_checks import is_release_gate
from recsys_assets.audit.release_gates import ReleaseGates
from recsys_assets.config import Artifacts, Surface
from recsys_assets.errors import InputError, StorageError
from recsys_assets.events.accepted import accepted_days
from recsys_assets.live.compare import Difference, compare
from recsys_assets.live.denied import denied_reason
from recsys_assets.live.history import erasure_of, find, recorded_live
from recsys_assets.live.staged import held_back
from recsys_assets.operations.publish import publish_candidate
from recsys_assets.storage.flips import Outcome, flip, refuse_moved
from recsys_assets.storage.publications import Change, Live, Publication, Why
from recsys_assets.storage.registry import verify_blob, version_of
from recsys_assets.storage.store import Store
from recsys_assets.verdicts import Verdict


@dataclass(frozen=True)
class Rollback:
    """What a rollback would do, verified: from what is live to the versions of `target`."""

    surface: Surface
    live: Live
    seen: int
    target: Publication
    change: Change
    differences: Sequence[Difference]
    denied: str | None = None  # why it is done only if it is forced

    @property
    def is_empty(self) -> bool:
        """Whether it is live already, and held as asked for."""
        pinned = self.live.publication is not None and self.live.publication.pinned
        return self.change.current == self.live.current and self.change.pinned == pinned


@dataclass(frozen=True)
class Released:
    """What a release came to; `next_day` is the newest complete day that was held back, if any."""

    outcome: Outcome
    live: Live
    next_day: date | None = None
    next_outcome: str = ""  # as of a publish, or why it could not be published

    @property
    def succeeded(self) -> bool:
        """Whether no day is left that was held back."""
        return self.next_outcome in {"", "published", "unchanged", "superseded"}


@dataclass(frozen=True)
class HeldBack:
    """The newest complete day that is not live, audited as a release audits it."""

    day: date
    audited: Audited[Candidate]

    @property
    def of_gates(self) -> dict[str, Verdict]:
        """What gates refuse it for."""
        return {
            name: found for name, found in self.audited.failures.items() if is_release_gate(name)
        }

    @property
    def refused(self) -> str:
        """Why it is not published, and whether that can be forced."""
        advice = ". `recsys-assets release --force` accepts it" if self.may_go(force=True) else ""
        return f"{_said(self.audited.failures)}{advice}"

    def may_go(self, *, force: bool) -> bool:
        """Tell whether it is published; what is not of gates, nothing forces."""
        passed_over = self.of_gates.keys() if force else set()
        return not self.audited.failures.keys() - passed_over

    def would_be(self, *, force: bool) -> str:
        """Return what becomes of it, in a word."""
        return "published" if self.may_go(force=force) else "refused"


def plan_rollback(
    store: Store, surface: Surface, *, to: str, kind: str | None = None, pin: bool = False
) -> Rollback:
    """Find what to roll back to, and verify every blob of it. Nothing is changed.

    Args:
        store: where everything is.
        surface: whose manifest.
        to: what `history.find` takes.
        kind: the only kind to roll back; None means the whole manifest.
        pin: whether later publishes are to be held back; a surface that is pinned stays pinned.

    Raises:
        InputError: there is no such publication, or it has no such kind.
        StorageError: a blob is missing or does not hash to its version, or an erasure took it; says
            which.
    """
    if kind and kind not in Artifacts.model_fields:
        raise InputError(f"no kind {kind!r}; there are: {', '.join(Artifacts.model_fields)}")
    live, newest = recorded_live(store, surface)
    target = find(store, surface, to, kinds=[kind] if kind else ())
    if kind and kind not in target.current:
        known = ", ".join(target.current)
        raise InputError(f"generation {target.generation} has no {kind!r}; it has {known}")
    kinds = [kind] if kind else list(target.current)
    erasure = erasure_of(store, live, [target.current[each] for each in kinds])
    if erasure:
        at = f"{erasure.published_at[:10]}, {erasure.who}: {erasure.reason}"
        gone = [each for each in kinds if target.current[each] in erasure.retiring]
        raise StorageError(
            f"cannot roll {surface.name} back to generation {target.generation}: its "
            f"{', '.join(gone)} were made of events of a person who was erased (generation "
            f"{erasure.generation}, {at}). Nothing was changed. They are gone for good; go back to "
            "a generation since, or with --kind to what is not made of events"
        )
    problems = [p for each in kinds if (p := problem_of(store, target.current[each]))]
    if problems:
        raise StorageError(
            f"cannot roll {surface.name} back to generation {target.generation}: "
            f"{'; '.join(problems)}. Nothing was changed; choose another from `recsys-assets "
            f"history {surface.name}`, or materialize the day again."
        )
    chosen = {each: target.current[each] for each in kinds}
    change = Change(
        "rollback",
        newest.window if kind else target.window,
        {**live.current, **chosen} if kind else chosen,
        pinned=pin or newest.pinned,
        retiring=newest.retiring,
        restored=dict.fromkeys(kinds, target.generation),
    )
    # That what is live is damaged is a reason to roll back; it is compared as if it were absent.
    readable = {
        kind: uri
        for kind, uri in live.current.items()
        if uri == change.current.get(kind) or not problem_of(store, uri)
    }
    differences = compare(store, readable, change.current)
    denied = denied_reason(store, surface, chosen)
    return Rollback(surface, live, newest.generation, target, change, differences, denied)


def roll_back(
    store: Store, plan: Rollback, why: Why, *, force: bool = False
) -> tuple[Outcome, Live]:
    """Make a planned rollback live.

    Args:
        store: where everything is.
        plan: what to do.
        why: who asks for it, and for what reason.
        force: whether denied items may come back; the history says which then.

    Raises:
        InputError: no reason was given, or it lists denied items and is not forced.
        ManifestConflictError: somebody flipped since the plan was made. Nothing was changed; look
            at a new plan.
    """
    require_reason(why)
    surface = plan.surface
    why = allowed(why, f"roll {surface.name} back", plan.denied, force=force)

    def decide(live: Live | None) -> Change | Outcome:
        refuse_moved(store, surface.place, live, seen=plan.seen)
        return "unchanged" if plan.is_empty else plan.change

    return flip(store, surface.place, decide=decide, why=why)


def pin(store: Store, surface: Surface, why: Why, *, force: bool = False) -> tuple[Outcome, Live]:
    """Hold what is live: later publishes are staged but not made live, until a release.

    Args:
        store: where everything is.
        surface: what to hold.
        why: who asks for it, and for what reason.
        force: whether denied items may stay live; the history says which then.

    Raises:
        InputError: no reason was given, nothing is live that was published here, or it lists denied
            items and is not forced.
    """
    require_reason(why)
    live, _ = recorded_live(store, surface)
    denied = denied_reason(store, surface, live.current)
    why = allowed(why, f"pin {surface.name}", denied, force=force)
    return _set_pinned(store, surface, why, pinned=True)


def release(store: Store, surface: Surface, why: Why, *, force: bool = False) -> Released:
    """Let publishes through again, and publish the newest complete day that was held back.

    Args:
        store: where everything is.
        surface: what to release.
        why: who asks for it, and for what reason.
        force: whether the day goes live though gates find it worse than what is live; the history
            says what they found then.

    Raises:
        InputError: no reason was given, or nothing is live that was published here.
    """
    outcome, live = _set_pinned(store, surface, why, pinned=False)
    held = _held_back(store, surface, live)
    if held is None:
        return Released(outcome, live)
    if held.audited.value is None or not held.may_go(force=force):
        return Released(outcome, live, held.day, held.refused)
    if held.of_gates:
        why = replace(why, reason=f"{why.reason} (forced: {_said(held.of_gates)})")
    published = publish_candidate(store, surface.place, held.audited.value, why)
    return Released(outcome, recorded_live(store, surface)[0], held.day, published.outcome)


def plan_release(store: Store, surface: Surface) -> tuple[bool, HeldBack | None]:
    """Return whether a surface is pinned, and what a release would find. Nothing is changed.

    Raises:
        InputError: nothing is live that was published here.
    """
    live, newest = recorded_live(store, surface)
    return newest.pinned, _held_back(store, surface, live, dry_run=True)


def _held_back(
    store: Store, surface: Surface, live: Live, *, dry_run: bool = False
) -> HeldBack | None:
    """Audit the newest complete day that is not live."""
    day = held_back(store, surface, live)
    if day is None:
        return None
    accepted = accepted_days(store, surface.events_of, surface.days_of_window(day))
    on = surface.gates.are_on
    gates = ReleaseGates(store, surface, day, dry_run=dry_run) if on else None
    audited = audit_candidate(store, surface, day, accepted, gates).settled()
    return HeldBack(day, audited.held_to(checks_of(surface, "manifest")))


def _said(verdicts: Mapping[str, Verdict]) -> str:
    return "; ".join(verdict.description for verdict in verdicts.values())


def _set_pinned(store: Store, surface: Surface, why: Why, *, pinned: bool) -> tuple[Outcome, Live]:
    require_reason(why)
    recorded_live(store, surface)

    def decide(live: Live | None) -> Change | Outcome:
        newest = live.publication if live else None
        if newest is None or newest.pinned == pinned:
            return "unchanged"
        return Change(
            "pin" if pinned else "release",
            newest.window,
            newest.current,
            pinned=pinned,
            retiring=newest.retiring,
        )

    return flip(store, surface.place, decide=decide, why=why)


def require_reason(why: Why) -> None:
    """Refuse to move the pointer without a reason; InputError."""
    if not why.reason.strip():
        raise InputError("a reason is required: whoever reads the history at night needs it")


def allowed(why: Why, what: str, denied: str | None, *, force: bool) -> Why:
    """Refuse what would have denied items live, unless it is forced; the reason says so then.

    Raises:
        InputError: says which items, and what to do.
    """
    if denied is None:
        return why
    if not force:
        raise InputError(
            f"will not {what}: {denied}. Nothing was changed. Choose a version without, take them "
            "off the list, or force it with a reason"
        )
    return replace(why, reason=f"{why.reason} (forced: {denied})")


def problem_of(store: Store, uri: str) -> str | None:
    """Re-read a blob; return what is wrong with it, None when it is whole."""
    try:
        verify_blob(store, store.key(uri), version_of(uri))
    except StorageError as error:
        return error.problem
    return None
