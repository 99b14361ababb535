"""Take what is live in one root over into another: copied, verified, and flipped to once.

The documents are not made anew, so those that were looked at in the one root are what readers get
from the other. What is copied is in `layout.LAYERS`; all of it is there before the flip, so a
promotion that is killed leaves the old manifest live, and the same command finishes it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from recsys_assets.config import Surface
from recsys_assets.errors import InputError, StorageError
from recsys_assets.events.accepted import accepted_days
from recsys_assets.live.denied import denied_reason
from recsys_assets.live.history import began_pin
from recsys_assets.operations.pointer import allowed, problem_of, require_reason
from recsys_assets.operations.retention import judged_by
from recsys_assets.storage import layout
from recsys_assets.storage.copies import Roots
from recsys_assets.storage.erasures import copy_erased, erased_here_only
from recsys_assets.storage.flips import Outcome, flip, read_live_or_refuse, refuse_moved
from recsys_assets.storage.publications import (
    BRINGS,
    Change,
    Live,
    Origin,
    Publication,
    Why,
    generation_of,
    history,
    read_copied,
)
from recsys_assets.storage.registry import version_of
from recsys_assets.storage.store import Store
from recsys_assets.verdicts import at_most
from recsys_assets.windows import Window

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Promotion:
    """What a promotion would do, verified.

    Attributes:
        surface: whose.
        roots: from where to where.
        taken: what is live in the source.
        current: its versions, as URIs of the target, by kind.
        live: what is live in the target.
        new_blobs: kinds whose version the target lacks.
        new_days: days of events which the target lacks, or has others of.
        size_bytes: of what it lacks.
        other: why it is no promotion of what the target was given before.
        denied: which denied items it lists.
    """

    surface: Surface
    roots: Roots
    taken: Publication
    current: Mapping[str, str]
    live: Live | None
    new_blobs: Sequence[str] = ()
    new_days: Sequence[date] = ()
    size_bytes: int = 0
    other: str | None = None
    denied: str | None = None

    @property
    def origin(self) -> Origin:
        """What stands in the record of the flip."""
        return Origin(_root(self.roots.source), self.taken.generation, self.taken.publish_id)

    @property
    def is_empty(self) -> bool:
        """Whether it is live in the target already."""
        live = self.live
        return live is not None and (live.window, live.current) == (self.taken.window, self.current)

    @property
    def refused(self) -> str | None:
        """Why it is done only if it is forced; None where nothing speaks against it."""
        return "; ".join(filter(None, (self.other, self.denied))) or None

    def to_json(self) -> dict[str, Any]:
        """Return the members for machines."""
        return {
            "tenant": self.surface.tenant,
            "surface": self.surface.surface,
            "from": self.origin.root,
            "to": _root(self.roots.target),
            "generation": self.taken.generation,
            "window": self.taken.window.to_json(),
            "current": dict(self.current),
            "copied": {
                "blobs": list(self.new_blobs),
                "days": list(map(str, self.new_days)),
                "size_bytes": self.size_bytes,
            },
            "needs_force": self.refused,
        }


def plan_promotion(source: Store, target: Store, surface: Surface) -> Promotion:
    """Find what to take over, and verify every blob of it. Nothing is changed.

    Args:
        source: the root where it is live, or a copy of such a root.
        target: the root where it is to become live.
        surface: whose.

    Raises:
        InputError: nothing of ours is live in the source; the target is pinned, or a later window
            is live there; or both are the same root.
        StorageError: a blob of the source is missing or damaged; or the history of one of the two.
    """
    name, place = surface.name, surface.place
    if _root(source) == _root(target):
        raise InputError(f"{_root(source)} is where {name} is promoted from and to: name two roots")
    taken = read_copied(source, place)
    if taken is None:
        raise InputError(f"nothing is live for {name} below {_root(source)}")
    keys = {kind: layout.blob(place, kind, version_of(uri)) for kind, uri in taken.current.items()}
    current = {kind: target.uri(key) for kind, key in keys.items()}
    live = read_live_or_refuse(target, place)
    plan = Promotion(surface, Roots(source, target), taken, current, live)
    if plan.is_empty:
        return plan
    _refuse_newer_or_pinned(plan)
    _refuse_erased(plan)
    problems = [p for key in keys.values() if (p := _problem(source, surface, key))]
    if problems:
        raise StorageError(
            f"cannot promote generation {taken.generation} of {name}: {'; '.join(problems)}. "
            "Nothing was changed. `recsys-assets verify` says what else is wrong in the root that "
            "it comes from"
        )
    new_blobs = [kind for kind, key in keys.items() if target.stat(key) is None]
    new_days = _new_days(source, target, surface, taken.window)
    to_copy = [keys[kind] for kind in new_blobs]
    to_copy += [layout.canonical(surface.events_of, day) for day in new_days]
    found = [source.stat(key) for key in to_copy]
    return replace(
        plan,
        new_blobs=new_blobs,
        new_days=new_days,
        size_bytes=sum(stored.size_bytes for stored in found if stored),
        other=_other(plan),
        denied=denied_reason(
            source, surface, {kind: source.uri(key) for kind, key in keys.items()}
        ),
    )


def promote(plan: Promotion, why: Why, *, force: bool = False) -> tuple[Outcome, Live]:
    """Do what a plan says; doing it again finishes what was begun.

    Args:
        plan: what to do.
        why: who asks for it, and for what reason.
        force: whether denied items may be live in the target, and whether it may be given what
            does not follow what it has; the history says so then.

    Raises:
        InputError: no reason was given, or it has to be forced.
        CandidateOvertakenError: retention of the target is deleting one of the versions.
        ManifestConflictError: somebody flipped in the target since the plan was made. Look at a
            new plan.
        StorageError: a version changed since the plan was made, or is damaged in the target.
    """
    require_reason(why)
    roots, surface, origin = plan.roots, plan.surface, plan.origin
    of = f"promoted from {origin.root}, generation {origin.generation}"
    why = replace(why, reason=f"{why.reason} ({of})")
    why = allowed(why, f"promote {surface.name}", plan.denied, force=force)
    if plan.other:
        if not force:
            raise InputError(
                f"will not promote {surface.name}: {plan.other}. Nothing was changed. --force "
                "promotes it all the same, and the history of the target says so"
            )
        why = replace(why, reason=f"{why.reason} (forced: {plan.other})")

    def decide(live: Live | None) -> Change | Outcome:
        # Retention's fence is such a flip too, so what was found in the target is there still.
        refuse_moved(roots.target, surface.place, live, seen=generation_of(plan.live))
        if plan.is_empty:
            return "unchanged"
        retiring = live.publication.retiring if live and live.publication else ()
        return Change(
            "promote", plan.taken.window, plan.current, retiring=retiring, promoted_from=origin
        )

    if not plan.is_empty:
        _copy(plan)
    return flip(roots.target, surface.place, decide=decide, why=why)


def _copy(plan: Promotion) -> None:
    """Copy what the target lacks, what is made of it last: a crash leaves nothing half named."""
    roots, surface = plan.roots, plan.surface
    for layer, promoted in layout.LAYERS.items():
        for place in {surface.place, surface.events_of}:
            if promoted == "whole":
                roots.copy_whole(layer, place)
            elif promoted == "list":
                copy_erased(roots.source, roots.target, place)
    for number, day in enumerate(plan.new_days, 1):
        key = layout.canonical(surface.events_of, day)
        with roots.fetched(key) as path:
            roots.target.replace(key, path)
        _LOG.info("%s: %d of %d days copied", surface.name, number, len(plan.new_days))
    for number, (kind, uri) in enumerate(plan.current.items(), 1):
        roots.copy_version(surface.place, kind, version_of(uri))
        _LOG.info("%s: %d of %d versions copied", surface.name, number, len(plan.current))


def _problem(source: Store, surface: Surface, key: str) -> str | None:
    """Return why a document may not be live: damaged, or too large for its readers."""
    problem, stored = problem_of(source, source.uri(key)), source.stat(key)
    if problem or stored is None:
        return problem
    size = at_most(surface.guardrails, "max_artifact_bytes", stored.size_bytes)
    return None if size.passed else f"{source.uri(key)}: {size.description}"


def _new_days(source: Store, target: Store, surface: Surface, window: Window) -> list[date]:
    """Return the days of events that a later window looks back to and the target has not."""
    back = judged_by(surface) if surface.gates.are_on else surface.longest_window
    days = Window.ending_with(window.last_day, days=back).days()
    there = accepted_days(source, surface.events_of, days)

    def has(day: date) -> bool:
        with suppress(StorageError):  # damaged: it is replaced
            found = accepted_days(target, surface.events_of, [day]).get(day)
            return found is not None and found.fingerprint == there[day].fingerprint
        return False

    return [day for day in there if not has(day)]


def _refuse_newer_or_pinned(plan: Promotion) -> None:
    """Refuse what no force should do; it is for a person, in the target."""
    live, name, target = plan.live, plan.surface.name, _root(plan.roots.target)
    if live is None:
        return
    if live.window is None:
        raise InputError(
            f"what is live for {name} below {target} was published by another producer, and its "
            "window cannot be read. To promote over it, move its manifest away first"
        )
    if live.window.end > plan.taken.window.end:
        raise InputError(
            f"{live.window.last_day} is live for {name} below {target}, and generation "
            f"{plan.taken.generation} of {plan.origin.root} ends with "
            f"{plan.taken.window.last_day}: a promotion does not go back in time. Nothing was "
            f"changed. To go back, use `recsys-assets rollback {name}` with RECSYS_ROOT={target}"
        )
    if live.publication and live.publication.pinned:
        held = began_pin(plan.roots.target, live) or live.publication
        raise InputError(
            f"{name} is pinned below {target} since {held.published_at} ({held.who}: "
            f"{held.reason}). Nothing was changed. `recsys-assets release {name}` with "
            f"RECSYS_ROOT={target} lets promotions through again"
        )


def _refuse_erased(plan: Promotion) -> None:
    """Refuse to bring back who was erased in the target alone."""
    roots, surface = plan.roots, plan.surface
    for place in {surface.place, surface.events_of}:
        if persons := erased_here_only(roots.source, roots.target, place):
            raise InputError(
                f"{persons} persons were erased from {place.name} below {_root(roots.target)}, and "
                f"not below {plan.origin.root}: a promotion would bring them back. Nothing was "
                f"changed. Erase them there first, with the same key: `recsys-assets erase "
                f"{place.name}` with RECSYS_ROOT={plan.origin.root}"
            )


def _other(plan: Promotion) -> str | None:
    """Say what was brought to the target last, where it was not by a promotion from this root."""
    if plan.live is None:
        return None
    target = _root(plan.roots.target)
    if plan.live.publication is None:
        return f"what is live below {target} was published by another producer"
    brought = (each for each in history(plan.roots.target, plan.live) if each.action in BRINGS)
    last = next(brought, None)
    if last is None or (last.promoted_from and last.promoted_from.root == plan.origin.root):
        return None
    how = f"promoted from {last.promoted_from.root}" if last.promoted_from else "made there"
    return (
        f"generation {last.generation} below {target} was {how} ({last.action}, {last.who}), not "
        f"promoted from {plan.origin.root}"
    )


def _root(store: Store) -> str:
    return store.uri("").rstrip("/")
