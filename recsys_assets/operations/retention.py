"""Delete what is old and named by nothing, safely against publishes that run at the same time.

What is about to be deleted is written into the publication record by a flip, before the first blob
goes, and taken out by another after the last. A publish that gathered its versions before either
flip is refused (`publish(seen=...)`), one that names a blob in between is refused too. So no blob
goes away under a publish, on any store, without a lock. docs/retention.md has the argument.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from recsys_assets.config import Retention, Surface
from recsys_assets.errors import (
    InputError,
    ManifestConflictError,
    RecsysAssetsError,
    StorageError,
    StoreUnavailableError,
)
from recsys_assets.kinds import KINDS
from recsys_assets.live.verify import newest_different, staged_refs
from recsys_assets.storage import layout
from recsys_assets.storage.flips import Outcome, flip, refuse_moved
from recsys_assets.storage.publications import (
    Action,
    Change,
    Live,
    Publication,
    Why,
    generation_of,
    history,
    read_live,
    read_time,
)
from recsys_assets.storage.registry import source_hash_of, version_of
from recsys_assets.storage.store import Store, Stored
from recsys_assets.windows import SourceHash

# Another retention that has not ended by then is taken for dead, and a running one gives up well
# before: two never delete at once.
ABANDONED_AFTER: Final = timedelta(hours=2)
LONGEST: Final = timedelta(hours=1)
_ATTEMPTS: Final = 5

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """What may go, by layer, and how many blobs stay because something names them."""

    surface: Surface
    seen: int
    blobs: Sequence[Stored]
    staged: Sequence[Stored]
    rejected: Sequence[Stored]
    counts: Sequence[Stored]
    profiles: Sequence[Stored]
    # Outlines of versions that go or are gone, old comparisons, and marks of days gates refused.
    compared: Sequence[Stored]
    kept_blobs: int
    unfinished: int = 0  # generation of the flip of a retention that was killed

    @property
    def going(self) -> list[Stored]:
        """Everything that may go."""
        made_again = (*self.counts, *self.profiles, *self.compared)
        return [*self.blobs, *self.staged, *self.rejected, *made_again]

    @property
    def size_bytes(self) -> int:
        """Bytes that going frees."""
        return sum(each.size_bytes for each in self.going)

    @property
    def is_empty(self) -> bool:
        """Whether nothing may go."""
        return not self.going


def plan_retention(store: Store, surface: Surface, keep: Retention, *, now: datetime) -> Plan:
    """Find what may go for a surface. Nothing is changed.

    Kept are: the blobs that the live manifest, the newest `keep.publications` publications, those
    of the last `keep.days` days and the kept staged references name; staged references and refused
    lines of the last `keep.days` days, and references whose blob is kept; counts of the days that
    the windows of the last `keep.days` days hold; profiles and comparisons of those that they are
    judged by; outlines of versions that stay, and details of their catalogs; and whatever was
    written less than `keep.grace_hours` ago. Canonical events and every record stay for good.

    Raises:
        InputError: another retention of the surface is running.
        StorageError: the history or a staged reference is damaged, so what is named is unknown.
    """
    live = read_live(store, surface.place)
    chain = list(history(store, live)) if live else []
    refuse_running(store, surface, chain, now)
    old = now - timedelta(hours=keep.grace_hours)
    since = now - timedelta(days=keep.days)
    named = set(live.current.values()) if live else set()
    for publication in newest_different(chain, keep.publications):
        named |= set(publication.current.values())
    for publication in chain[: _were_live_since(chain, since)]:
        named |= set(publication.current.values())
    refs, damaged = staged_refs(store, surface)
    if damaged:
        raise StorageError(
            f"{damaged[0].uri} is damaged ({damaged[0].detail}), so what it names is unknown. "
            "Nothing was deleted"
        )
    staged = [
        stored
        for stored, ref in refs
        if ref.day < since.date() and stored.modified < min(old, since) and ref.uri not in named
    ]
    going = {stored.key for stored in staged}
    named |= {ref.uri for stored, ref in refs if stored.key not in going}
    listed = list(store.list(layout.of_place("objectstore", surface.place)))
    # Without a publication of ours there is no record to say in what is being deleted.
    blobs = [b for b in listed if chain and store.uri(b.key) not in named and b.modified < old]

    stay = {version_of(b.key) for b in listed} - {version_of(b.key) for b in blobs}
    outlines = [
        stored
        for stored in store.list(layout.of_place("outlines", surface.place))
        if stored.modified < old and layout.outlined(stored.key) not in stay
    ]

    details = _details_of_none(store, surface, stay, old)

    def before(layer: str, days: int) -> list[Stored]:
        """Return what is stored of days that no day is made of, or judged by, any more."""
        first = since.date() - timedelta(days=days)
        listed = store.list(layout.of_place(layer, surface.place))
        return [each for each in listed if each.modified < old and _is_before(each, first)]

    usual = surface.gates.history_days  # days that say what is
    return Plan(
        surface,
        generation_of(live),
        blobs,
        staged,
        before("rejected", 0),
        before("counts", surface.longest_window),
        before("profiles", judged_by(surface)),
        [*outlines, *details, *before("comparisons", usual), *before("gates", usual)],
        len(listed) - len(blobs),
        unfinished=last.generation if (last := last_fence(chain)) and last.retiring else 0,
    )


def _details_of_none(
    store: Store, surface: Surface, stay: Collection[str], old: datetime
) -> list[Stored]:
    """Return the details of catalogs that no version is made of which stays."""
    listed = store.list(layout.of_place("details", surface.place))
    going = [stored for stored in listed if stored.modified < old]
    if not going:
        return []
    place, kinds = surface.place, [of.name for of in KINDS.values() if of.reads == "catalog"]
    named = {
        layout.details(place, SourceHash.from_text(source_hash).data)
        for kind in kinds
        for version in stay
        if (source_hash := source_hash_of(store, place, kind, version))
    }
    return [stored for stored in going if stored.key not in named]


def retain(
    store: Store,
    surface: Surface,
    keep: Retention,
    why: Why,
    *,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Plan:
    """Delete what a plan made now names; return the plan. Doing it again finishes what was begun.

    Raises:
        InputError: another retention of the surface is running, or this one took over an hour;
            what is left goes the next time.
        ManifestConflictError: others kept flipping while it was planned. No blob was deleted.
        StorageError: the history or a staged reference is damaged.
    """
    for attempt in range(_ATTEMPTS):
        started = clock()
        plan = plan_retention(store, surface, keep, now=started)
        try:
            fence = _raise_fence(store, plan, why, clock) if plan.blobs else plan.unfinished
            break
        except ManifestConflictError:
            if attempt + 1 == _ATTEMPTS:
                raise
    for stored in (*plan.compared, *plan.profiles, *plan.counts, *plan.rejected, *plan.staged):
        store.delete(stored.key)
    for number, stored in enumerate(plan.blobs):
        if clock() - started > LONGEST:
            raise InputError(
                f"retention of {surface.name} took over an hour; {len(plan.blobs) - number} blobs "
                f"are left. Run it again in {ABANDONED_AFTER.seconds // 3600} hours."
            )
        store.delete(stored.key)
        _LOG.info("%s: %d of %d blobs deleted", surface.name, number + 1, len(plan.blobs))
    if fence:
        lift_fence(store, surface, fence, why, clock)
    return plan


def retain_each(
    store: Store,
    surfaces: Iterable[Surface],
    keep: Retention,
    why: Why,
    *,
    dry_run: bool,
    watch: Callable[[str], AbstractContextManager[None]] = lambda _: nullcontext(),
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Iterator[tuple[Surface, Plan | RecsysAssetsError]]:
    """Retain surface by surface; of one that cannot be judged yield why, and go on.

    Args:
        store: where everything is.
        surfaces: whose.
        keep: what is kept.
        why: for the record.
        dry_run: whether to plan only.
        watch: a context for the work on a surface, given its name.
        clock: gives the time.

    Raises:
        StoreUnavailableError: the object store does not answer.
    """
    for surface in surfaces:
        try:
            with watch(surface.name):
                plan = (
                    plan_retention(store, surface, keep, now=clock())
                    if dry_run
                    else retain(store, surface, keep, why, clock=clock)
                )
        except StoreUnavailableError:
            raise
        except RecsysAssetsError as error:
            yield surface, error
        else:
            yield surface, plan


def sweep(store: Store, keep: Retention, *, dry_run: bool, now: datetime) -> list[Stored]:
    """Delete what killed processes left of unfinished writes, of all surfaces; return it."""
    found = list(store.left_behind(before=now - timedelta(hours=keep.grace_hours)))
    for stored in found:
        if not dry_run:
            store.delete(stored.key)
    return found


def _were_live_since(chain: Sequence[Publication], since: datetime) -> int:
    """Return how many of the newest publications were live at some time since a moment.

    The deepest one that was published since then decides, and the one below it, which was live when
    the time began. So a publication that a wrong clock stamped long ago hides none below it. One
    without a usable time counts as new.
    """
    recent = [
        number
        for number, publication in enumerate(chain, 1)
        if (at := read_time(publication.published_at)) is None or at >= since
    ]
    return max(recent, default=0) + 1


def refuse_running(
    store: Store,
    surface: Surface,
    chain: Iterable[Publication],
    now: datetime,
    *,
    mine: str | None = None,
) -> None:
    """Refuse to delete while somebody else does: two never delete at once.

    Args:
        store: where the history is.
        surface: whose.
        chain: its history.
        now: the time to compare with.
        mine: the run of an erasure that goes on here, as it does at once when it was killed.

    Raises:
        InputError: says who, and since when.
    """
    last = last_fence(chain)
    if last is None or not last.retiring or last.run_id == mine:
        return
    key = layout.publication(last.place, last.generation, last.publish_id)
    stored = store.stat(key)
    # Two clocks, its own and the store's: one that is fast would lock retention out for long.
    times = [read_time(last.published_at), stored.modified if stored else None]
    began = min(filter(None, times), default=now)
    if now - began < ABANDONED_AFTER:
        what = "an erasure" if last.action == "erase" else "retention"
        raise InputError(
            f"{what} of {surface.name} is running since {last.published_at} ({last.who}). If it "
            f"was killed, run it again after {began + ABANDONED_AFTER:%H:%M} UTC: it finishes "
            "what was begun" + (", at once if it is the same" if last.action == "erase" else "")
        )


def last_fence(chain: Iterable[Publication]) -> Publication | None:
    """Return the newest flip of whoever deletes: whether it has ended, and when it began.

    Whatever came in since carries `retiring` forward.
    """
    return next((each for each in chain if each.action in {"retention", "erase"}), None)


def _raise_fence(store: Store, plan: Plan, why: Why, clock: Callable[[], datetime]) -> int:
    """Put on record what is about to go, if nobody has flipped since; return the generation."""
    retiring = tuple(store.uri(stored.key) for stored in plan.blobs)

    def decide(live: Live | None) -> Change:
        refuse_moved(store, plan.surface.place, live, seen=plan.seen)
        return _change(live, retiring)

    flip(store, plan.surface.place, decide=decide, why=why, clock=clock)
    return plan.seen + 1


def lift_fence(
    store: Store,
    surface: Surface,
    fence: int,
    why: Why,
    clock: Callable[[], datetime],
    *,
    action: Action = "retention",
) -> None:
    """Take it off again, unless somebody else took this one for dead and has another."""

    def decide(live: Live | None) -> Change | Outcome:
        last = last_fence(history(store, live)) if live else None
        fenced = last is not None and last.generation == fence
        return _change(live, (), action) if fenced else "unchanged"

    flip(store, surface.place, decide=decide, why=why, clock=clock)


def _change(live: Live | None, retiring: tuple[str, ...], action: Action = "retention") -> Change:
    newest = live.publication if live else None
    assert newest is not None  # noqa: S101 (a plan with blobs has seen one)
    return Change(action, newest.window, newest.current, pinned=newest.pinned, retiring=retiring)


def judged_by(surface: Surface) -> int:
    """Return how many days back profiles are asked for: by days, and by releases."""
    gates = surface.gates
    return max(gates.history_days, surface.longest_window + 2 * gates.release.trusted_days)


def _is_before(stored: Stored, day: date) -> bool:
    found = re.search(r"/(\d{4}-\d\d-\d\d)(\.jsonl\.zst$|\.json$|(/[^/]*){1,2}$)", stored.key)
    return found is not None and date.fromisoformat(found[1]) < day
