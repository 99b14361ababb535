"""Erase persons: from the events that are stored, from all that was made of them, and for good.

First they go on the list that parsing honours (`storage/erasures.py`), so that nobody comes back.
Then the days that hold them are cleaned where they lie, what was made of those days is made again,
and one flip makes that live and says what goes, as that of retention does
(docs/decisions/retention-fence.md). What readers of the manifest before may still open goes last.

Killed anywhere, the same erasure done again finishes it: each step looks for what is left to do.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

from recsys_assets.config import Surface
from recsys_assets.errors import InputError, ManifestConflictError, StorageError
from recsys_assets.events.accepted import days_of_events
from recsys_assets.events.erased import (
    MATCHED,
    Erased,
    erase_events,
    erase_refused,
    id_groups,
)
from recsys_assets.events.provenance import read_provenance
from recsys_assets.operations.find_user import (
    Held,
    Holder,
    find_user,
    in_counts,
    in_exports,
    in_refused,
    stale,
)
from recsys_assets.operations.pointer import require_reason
from recsys_assets.operations.remade import Remade, remake
from recsys_assets.operations.retention import LONGEST, last_fence, lift_fence, refuse_running
from recsys_assets.storage import layout
from recsys_assets.storage.erasures import (
    Entry,
    EraseKey,
    add_erased,
    read_erased,
    refuse_other_key,
)
from recsys_assets.storage.flips import Outcome, flip, refuse_moved
from recsys_assets.storage.found import GatesOf, read_found
from recsys_assets.storage.publications import (
    Change,
    Live,
    Publication,
    Why,
    history,
    read_live,
    read_time,
)
from recsys_assets.storage.registry import version_of
from recsys_assets.storage.store import Store, Stored

READER_SECONDS: Final = 120
_ATTEMPTS: Final = 5
# A run that read a day before the list had them may still store what it made of it.
_STRAGGLERS: Final = timedelta(hours=1)
# So much is copied at a time.
_BLOCK_BYTES: Final = 2**20

_LOG = logging.getLogger(__name__)


@dataclass
class Erasure:
    """What an erasure came to.

    Attributes:
        surfaces: a base and its variants.
        days: whose events held them, now or when an erasure before was cut short.
        events: that were taken out.
        remade: of each surface, by name, what was made again, and what could not be.
        blobs: documents that were deleted.
        others: other objects that were: counts, profiles, outlines, comparisons.
        held: what is left: nothing, unless a holder could not be purged, or something was stored
            meanwhile.
    """

    surfaces: Sequence[Surface]
    days: list[date] = field(default_factory=list)
    events: int = 0
    remade: dict[str, Remade] = field(default_factory=dict)
    blobs: int = 0
    others: int = 0
    held: Sequence[Held] = ()


@dataclass(frozen=True)
class Clock:
    """How an erasure tells the time, and waits."""

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    sleep: Callable[[float], None] = time.sleep


_CLOCK: Final = Clock()


def erase(
    store: Store,
    surfaces: Sequence[Surface],
    key: EraseKey,
    entries: Collection[Entry],
    why: Why,
    *,
    ids: Collection[str] = (),
    reader_seconds: float = READER_SECONDS,
    holders: Sequence[Holder] = (),
    clock: Clock = _CLOCK,
) -> Erasure:
    """Erase persons from a surface and its variants.

    Args:
        store: where everything is.
        surfaces: a base, then all of its variants.
        key: of the list.
        entries: who.
        why: who asks for it, and why; it stays in the history, so it may not name them.
        ids: theirs, where they are known: then samples are looked through at the end too.
        reader_seconds: how long a reader may go on with a manifest that it read.
        holders: what else holds copies; they are purged last.
        clock: gives the time.

    Raises:
        InputError: no reason was given, or retention or another erasure is running.
        EraseKeyError: the list was made with another key.
        StorageError: what is live, or a stored day, is damaged.
        ManifestConflictError: others kept flipping; do it again.
    """
    require_reason(why)
    if Erased(key, entries).in_line(f"{why.reason} {why.who}"):
        raise InputError("the reason names who is to be erased, and stays in the history")
    asked = {each.hash for each in entries}
    listed = read_erased(store, key.place)
    refuse_other_key(listed, key)
    # The first run that erases them gives its name to all that finish it.
    begun = [each.run_id for each in listed.entries if each.hash in asked] if listed else []
    why = replace(why, run_id=begun[0]) if begun else why
    at = clock.now()
    for surface in surfaces:  # before anything is changed
        _refuse(store, surface, at, why)
    signed = [
        replace(each, at=at.isoformat(), run_id=why.run_id, who=why.who, reason=why.reason)
        for each in entries
    ]
    listed = add_erased(store, key, signed)
    mine = [each for each in listed.entries if each.hash in asked]
    wanted = Erased(key, mine)
    # What was made since is made without them; clocks differ, and a run may have been on its way.
    until = max(datetime.fromisoformat(each.at) for each in mine) + _STRAGGLERS
    done = Erasure(surfaces)
    with store.scratch() as scratch:
        everybody = Erased(key, listed.entries, listed.tag)
        _clean_days(store, surfaces[0], everybody, wanted, scratch, done)
        _clean_refused(store, surfaces[0], everybody, scratch)
    for surface in surfaces:
        fence = _make_live(store, surface, wanted, until, done, why, clock)
        if fence:
            _delete(store, surface, fence, done, why, reader_seconds, clock)
        _delete_derived(store, surface, wanted, done)
    failed = [held for holder in holders for held in holder.purge(surfaces, wanted)]
    for surface in surfaces:  # of a sink that is none any more, or that could not do it itself
        for exported in [*in_exports(store, surface, wanted)]:
            store.delete(exported.key)
            done.others += 1
    left = find_user(store, surfaces, wanted, ids=ids, holders=holders)
    done.held = [*dict.fromkeys([*failed, *left])]
    return done


def _refuse(store: Store, surface: Surface, at: datetime, why: Why) -> None:
    """Refuse what cannot be erased from now."""
    live = read_live(store, surface.place)
    if live and live.publication is None:
        raise InputError(
            f"what is live for {surface.name} was published by another producer, which cannot be "
            "made again here. Nothing was changed; have it erased there, or move its manifest away"
        )
    refuse_running(store, surface, history(store, live) if live else (), at, mine=why.run_id)


def _clean_days(
    store: Store,
    base: Surface,
    everybody: Erased,
    wanted: Erased,
    scratch: Path,
    done: Erasure,
) -> None:
    """Take events out of the days that hold them, where they lie: raw files may be gone by now.

    The day is then the same as if it were read again (`events/erased.py`).
    """
    days = days_of_events(store, base.place)
    for number, day in enumerate(days, start=1):
        key, path = layout.canonical(base.place, day), scratch / f"{day}.parquet"
        for _ in range(_ATTEMPTS):
            seen = store.stat(key)
            provenance, gone = read_provenance(store, key), 0
            file, _ = store.open(key)
            with file:
                holds = any(everybody.in_events(group)[1] for group in id_groups(file))
                if holds:
                    file.seek(0)
                    with path.open("wb") as copy:
                        shutil.copyfileobj(file, copy, _BLOCK_BYTES)
            if holds:
                gone, provenance = erase_events(
                    path, everybody, provenance, place=base.place, day=day
                )
            if _is_as_seen(store, seen):
                break
        else:
            raise StorageError(f"{store.uri(key)} is written time and again. Do it again later")
        if gone:
            store.replace(key, path)
            done.events += gone
        if wanted.hashes.intersection(provenance.source.get(MATCHED, ())):
            done.days.append(day)
        _LOG.info("%s: %d of %d days looked through", base.name, number, len(days))


def _clean_refused(store: Store, base: Surface, everybody: Erased, scratch: Path) -> None:
    """Take what refused lines of them said out of their files."""
    for held in in_refused(store, base, everybody):
        seen, path = store.stat(held.key), scratch / "refused"
        file, _ = store.open(held.key)
        with file:
            path.write_bytes(file.read())
        if erase_refused(path, everybody) and _is_as_seen(store, seen):
            store.replace(held.key, path)


def _is_as_seen(store: Store, seen: Stored | None) -> bool:
    """Tell whether an object is still what a listing said of it."""
    return seen is not None and store.stat(seen.key) == seen


def _make_live(
    store: Store,
    surface: Surface,
    wanted: Erased,
    until: datetime,
    done: Erasure,
    why: Why,
    clock: Clock,
) -> Publication | None:
    """Make what was made of the days again, make that live, and say what goes; return the flip.

    None where nothing was ever published: then nobody reads what goes, and it is gone.
    """
    for attempt in range(_ATTEMPTS):
        with store.scratch() as scratch:
            remade = remake(
                store,
                surface,
                wanted,
                days=done.days,
                until=until,
                scratch=scratch,
                why=why,
                now=clock.now,
            )
        done.remade[surface.name] = remade
        going = {store.uri(blob.key) for blob in remade.going}
        live = read_live(store, surface.place)
        if live is None:
            for blob in remade.going:
                store.delete(blob.key)
            done.blobs += len(remade.going)
            return None
        try:
            decide = partial(_decide, store, surface, remade.replaced, going)
            # The second is for what a killed one had said to go, and stays: first it says so.
            for _ in range(2):
                _, live = flip(store, surface.place, decide=decide, why=why, clock=clock.now)
        except ManifestConflictError:
            if attempt + 1 == _ATTEMPTS:
                raise
            continue
        break
    return last_fence(history(store, live)) if live and going | _fenced(store, live) else None


def _decide(
    store: Store,
    surface: Surface,
    replaced: Mapping[str, str | None],
    going: Collection[str],
    live: Live | None,
) -> Change | Outcome:
    """Return what becomes live, and what goes: what a killed erasure left of it too."""
    newest = live.publication if live else None
    if live is None or newest is None:
        raise StorageError(f"the manifest of {surface.name} went away. Do it again")
    after = {kind: replaced.get(uri, uri) for kind, uri in newest.current.items()}
    current = {kind: uri for kind, uri in after.items() if uri is not None}
    fenced = _fenced(store, live)
    made = {*current.values()}
    if made & {*going}:  # somebody made it live meanwhile
        refuse_moved(store, surface.place, live, seen=-1)
    retiring = (fenced | {*going}) - made
    if current == newest.current and retiring == fenced:
        return "unchanged"
    return Change(
        "erase",
        newest.window,
        newest.current if fenced & made else current,
        pinned=newest.pinned,
        retiring=tuple(sorted(retiring)),
    )


def _fenced(store: Store, live: Live) -> set[str]:
    """Return what whoever deletes, and was killed, has said to go."""
    last = last_fence(history(store, live))
    return {*last.retiring} if last else set()


def _delete(
    store: Store,
    surface: Surface,
    fence: Publication,
    done: Erasure,
    why: Why,
    reader_seconds: float,
    clock: Clock,
) -> None:
    """Delete what a flip says, once nobody reads it any more, and say that it is gone."""
    began = clock.now()
    flipped = read_time(fence.published_at) or began
    for seconds in range(int(reader_seconds), 0, -1):
        left = reader_seconds - (clock.now() - flipped).total_seconds()
        if left <= 0:
            break
        _LOG.info("%s: readers have %.0f seconds (%d)", surface.name, left, seconds)
        clock.sleep(min(left, 1.0))
    for number, uri in enumerate(fence.retiring, start=1):
        if clock.now() - began > LONGEST:
            raise InputError(
                f"erasing from {surface.name} took over an hour; {len(fence.retiring) - number:,} "
                "documents are left. Do it again: it goes on from there"
            )
        store.delete(store.key(uri))
        _LOG.info("%s: %d of %d documents deleted", surface.name, number, len(fence.retiring))
    done.blobs += len(fence.retiring)
    lift_fence(store, surface, fence.generation, why, clock.now, action="erase")


def _delete_derived(store: Store, surface: Surface, wanted: Erased, done: Erasure) -> None:
    """Delete what can be made again, and is of what is gone."""
    place, days = surface.place, done.remade[surface.name].days
    blobs = {version_of(each.key) for each in store.list(layout.of_place("objectstore", place))}
    keys = {
        each.key
        for each in store.list(layout.of_place("outlines", place))
        if layout.outlined(each.key) not in blobs
    }
    keys |= {key for day in days if store.stat(key := layout.comparison(place, day))}
    of_gates: Sequence[tuple[GatesOf, Collection[date]]] = (("day", done.days), ("release", days))
    for of, judged in of_gates:
        if (found := read_found(store, place, of)) and found.day in judged:
            keys.add(layout.found(place, of))
    if not surface.variant_of:
        keys |= {each.key for each in stale(store, surface)}
        keys |= {each.key for each in in_counts(store, surface, wanted)}
    for key in keys:
        store.delete(key)
    done.others += len(keys)
