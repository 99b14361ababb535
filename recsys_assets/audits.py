"""One day of one asset: compute or gather it, and find out whether it may be accepted.

Nothing is accepted here. What comes back is staged in a scratch directory, with the verdicts of
every check; `surface.py` turns them into Dagster's results and hands over what passed.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import cache, partial
from itertools import count, islice
from pathlib import Path
from threading import Lock
from typing import Any, Final, Generic, TypeVar

import dagster as dg
import polars as pl

from recsys_assets import checks, contracts, pages
from recsys_assets.compute.content_sim import normalise_tags
from recsys_assets.compute.cooc import count_cooccurrence
from recsys_assets.compute.day_counts import Counts, DayCounts
from recsys_assets.compute.implicit import count_user_exposures
from recsys_assets.compute.popularity import count_exposures, weigh_days
from recsys_assets.compute.session_seq import count_next_items
from recsys_assets.compute.window_counts import WindowCounts
from recsys_assets.config import (
    ContentSim,
    EventOptions,
    Guardrails,
    Implicit,
    Popularity,
    SessionSeq,
    Surface,
)
from recsys_assets.documents import (
    LISTS,
    DocumentHead,
    RenderedDocument,
    Window,
    list_text,
    render,
)
from recsys_assets.errors import MissingPartitionError, RecsysAssetsError
from recsys_assets.events.catalog import item_labels, labels_in, read_catalog
from recsys_assets.events.kept_counts import KeptCounts, SharedCounts
from recsys_assets.events.partition import StagedPartition, stage_partition
from recsys_assets.io_managers import CanonicalPartition, Release, read_partitions
from recsys_assets.storage import layout
from recsys_assets.storage.publications import generation_of, read_live
from recsys_assets.storage.registry import StagedRef, read_staged, verify_blob
from recsys_assets.storage.store import Store

# Rows of lists that are held to their contract, written and shown at a time: more gain nothing.
_PIECE_ROWS: Final = 100_000

T = TypeVar("T")
Days = Mapping[date, CanonicalPartition]


@dataclass(frozen=True)
class Audited(Generic[T]):
    """One day of one asset: what was staged, if anything, and what its checks found."""

    verdicts: Sequence[checks.Verdict]
    value: T | None = None
    data_version: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def accepted(self) -> bool:
        """Whether every check that blocks has passed."""
        return self.value is not None and all(
            verdict.passed or verdict.check == checks.WINDOW_IS_COMPLETE
            for verdict in self.verdicts
        )


@dataclass(frozen=True)
class Computed:
    """An artifact frame before its contract, other verdicts found, and numbers to show."""

    frame: pl.LazyFrame
    verdicts: Sequence[checks.Verdict] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)


class Held:
    """An artifact frame that is held to its contract as it is written, so that it is read once.

    `text` is the list of its document; whether that may be used, `verdict` says once it was read to
    its end. Memory is bounded by the largest list: lists are looked at in pieces.
    """

    def __init__(self, kind: str, frame: pl.LazyFrame) -> None:
        self._kind = kind
        self._frame = frame
        self._groups = checks.GroupsHeld(contracts.ARTIFACTS[kind])
        self.page = pages.ArtifactPage(kind)

    @property
    def verdict(self) -> checks.Verdict:
        """What the check of the contract found."""
        return self._groups.verdict

    @property
    def numbers(self) -> dict[str, int]:
        """Rows, and owners of lists, as the asset page names them."""
        owner = LISTS[self._kind].owner.replace("_id", "s")
        return {"dagster/row_count": int(self.verdict.numbers["rows"]), owner: self.page.owners}

    def text(self) -> Iterator[bytes]:
        """Yield the list of the document; it ends where the contract is broken."""
        return list_text(_one_ahead(self._pieces()), self._kind)

    def _pieces(self) -> Iterator[pl.DataFrame]:
        for piece in whole_lists(self._frame, self._kind):
            if not self._groups.holds(piece):
                return
            self.page.add(piece)
            yield piece


@dataclass(frozen=True)
class Judged:
    """An artifact and what is known of it before it is written.

    `page` gives what its asset page shows besides numbers. It is called last: the catalog it reads
    is no part of the work that is timed.
    """

    source_hash: str
    verdicts: Sequence[checks.Verdict]
    held: Held
    text: Iterable[bytes]
    metadata: Mapping[str, Any]
    page: Callable[[], Mapping[str, Any]]


# Judges the artifact of a day.
Judge = Callable[[date], Judged]


def audit_events(
    store: Store, surface: Surface, day: date, scratch: Path
) -> Audited[StagedPartition]:
    """Stage a day of canonical events; its refused lines are kept whatever the verdicts.

    Raises:
        RawEventsError: a raw file cannot be read.
    """
    staged = stage_partition(surface, day, scratch=scratch)
    rejected = layout.rejected(surface.tenant, surface.surface, day)
    if staged.rejected_path:
        # Kept whether or not the day passes: it is what one needs to see when it does not.
        store.replace(rejected, staged.rejected_path)
    else:
        store.delete(rejected)
    distinct = _count_distinct(surface, staged)
    by_hour = [0] * 24
    contract = checks.hold_groups_to_contract(
        contracts.canonical_event(day), _counted_by_hour(_one_ahead(staged.groups()), by_hour)
    )
    metadata: dict[str, Any] = {
        **pages.show_events(by_hour),
        "dagster/row_count": staged.events,
        "dagster/uri": store.uri(layout.canonical(surface.tenant, surface.surface, day)),
        "sessions": distinct["session_id"],
        "users": distinct["user_id"],
        "items": distinct["item_id"],
        "refused": staged.refused.total(),
        "refused_by_reason": dg.MetadataValue.json(dict(sorted(staged.refused.items()))),
        "redelivered": staged.redelivered,
        "outside_window": staged.outside_window,
        "other_surface": staged.other_surface,
        "raw_files": dg.MetadataValue.json([file.name for file in staged.files]),
        "raw_bytes": sum(file.size_bytes for file in staged.files),
        "size_bytes": staged.path.stat().st_size,
        "seconds": round(staged.seconds, 3),
        "fingerprint": staged.fingerprint,
    }
    if staged.rejected_path:
        metadata["rejected"] = dg.MetadataValue.url(store.uri(rejected))
    return Audited(
        [
            checks.Verdict(checks.INPUTS, passed=True, numbers={"raw_files": len(staged.files)}),
            contract,
            *checks.judge_events(surface, staged, distinct),
        ],
        staged,
        staged.fingerprint,
        metadata,
    )


def _count_distinct(surface: Surface, staged: StagedPartition) -> dict[str, int]:
    """Return how many distinct `session_id`, `item_id` and `user_id` there are.

    The artifacts that this process makes of the day find them counted. Those of a longer window
    look for what is kept, and nothing is kept of a day that is not accepted yet.
    """
    shared = SharedCounts(staged.fingerprint) if surface.window_days == 1 else None
    counts = DayCounts(staged.frame, shared)
    ids = (counts.sessions, counts.item_ids, counts.users)
    return {of_one.name: of_one.len() for of_one in ids}


def _counted_by_hour(groups: Iterable[pl.DataFrame], by_hour: list[int]) -> Iterator[pl.DataFrame]:
    """Add the events of each group to the hours of the day as it passes."""
    for group in groups:
        for hour, events in group["ts"].dt.hour().value_counts().iter_rows():
            by_hour[hour] += events
        yield group


def judge_from_events(
    store: Store, surface: Surface, kind: str, options: EventOptions, accepted: Days
) -> Judge:
    """Return how an event-based artifact of a day is computed and judged.

    Where windows overlap, the counts of a day are kept: in the store for later runs, and in memory
    from one day of a run to the next. Otherwise the artifacts of a process share them.

    Args:
        store: where the counts are kept.
        surface: whose options and limits apply.
        kind: an event-based kind.
        options: its options.
        accepted: the accepted days of canonical events, those of the window at least.
    """
    labels = item_labels(surface)
    counted: dict[date, DayCounts] = {}
    lock = Lock()  # days of a run may be judged at the same time

    def counts(window: Days) -> dict[date, DayCounts]:
        if surface.window_days == 1:
            return {
                day: DayCounts(partition.frame, SharedCounts(partition.fingerprint))
                for day, partition in window.items()
            }
        names = (surface.tenant, surface.surface)
        with lock:
            for day in counted.keys() - window.keys():
                del counted[day]
            for day in window.keys() - counted.keys():
                partition = window[day]
                keep = KeptCounts(
                    store,
                    *names,
                    day,
                    fingerprint=partition.fingerprint,
                    is_current=partial(_is_accepted, store, *names, day, partition),
                )
                counted[day] = DayCounts(partition.frame, keep)
            return {day: counted[day] for day in window}

    def judge(day: date) -> Judged:
        wanted = window_days(surface, day)
        window = {day: accepted[day] for day in wanted if day in accepted}
        if day not in window:
            raise MissingPartitionError(
                f"{surface.name} {day} has no accepted canonical events: materialize "
                "canonical_events of that day first, and look at its failed checks if it fails"
            )
        source, days = source_hash(window), counts(window)
        together = (
            days[day] if len(days) == 1 else WindowCounts([*days.values()], SharedCounts(source))
        )
        computed = _compute(options, surface.guardrails, days, together)
        judged = _judge(kind, source, computed, labels)
        missing = [str(day) for day in wanted if day not in window]
        if surface.window_days == 1:
            return judged
        gap = checks.Verdict(
            checks.WINDOW_IS_COMPLETE,
            passed=not missing,
            description=f"the window lacks {', '.join(missing)}" if missing else "",
            failures=len(missing),
        )
        metadata = {**judged.metadata, **({"missing_days": ", ".join(missing)} if missing else {})}
        return replace(judged, verdicts=[*judged.verdicts, gap], metadata=metadata)

    return judge


def judge_from_catalog(surface: Surface, options: ContentSim) -> Judge:
    """Return how content_sim is computed and judged: once a run, whatever its number of days."""

    @cache  # only the head of the document belongs to a day
    def judge() -> Judged:
        snapshot = read_catalog(surface.catalog_path)
        tags = normalise_tags(
            snapshot.frame.lazy(), surface=surface.surface, max_items=options.max_items
        )
        computed = Computed(tags, metadata={"catalog_rows": snapshot.frame.height})
        labels = partial(labels_in, snapshot.frame)
        judged = _judge("content_sim", snapshot.fingerprint, computed, labels)
        return replace(judged, text=list(judged.text), page=cache(judged.page))

    return lambda _: judge()


def audit_artifact(
    store: Store, surface: Surface, kind: str, day: date, scratch: Path, judge: Judge
) -> Audited[RenderedDocument]:
    """Compute and render the artifact of a day.

    Raises:
        InputError: what it is computed from is missing or cannot be read.
    """
    started = time.monotonic()
    judged = judge(day)
    document = render(
        judged.text,
        document_head(surface, kind, day),
        scratch / f"{kind}.{day}.json",
        source_hash=judged.source_hash,
        built_at=datetime.now(UTC),
    )
    inputs = checks.Verdict(checks.INPUTS, passed=True)
    verdicts = [inputs, judged.held.verdict, *judged.verdicts]
    if not judged.held.verdict.passed:
        document.path.unlink()  # of a broken frame, it is meaningless
        return Audited(verdicts)
    size = checks.at_most(surface.guardrails, checks.MAX_ARTIFACT_BYTES, document.size_bytes)
    key = layout.blob(surface.tenant, surface.surface, kind, document.version)
    metadata = {
        **judged.held.numbers,
        **judged.metadata,
        "dagster/uri": store.uri(key),
        "version": document.version,
        "source_hash": judged.source_hash,
        "size_bytes": document.size_bytes,
        "seconds": round(time.monotonic() - started, 3),
    }
    metadata = {**judged.page(), **metadata}  # in this order on the page
    return Audited([*verdicts, size], document, document.version, metadata)


def audit_release(store: Store, surface: Surface, day: date, accepted: Days) -> Audited[Release]:
    """Gather the day's staged versions and find out whether they may be published."""
    # Before anything is gathered: what is flipped in from here on makes the release stale.
    seen = generation_of(read_live(store, surface.tenant, surface.surface))
    refs, problems = {}, []
    window = {each: accepted[each] for each in window_days(surface, day) if each in accepted}
    events = source_hash(window) if day in window else None
    for kind in surface.artifacts.kinds:
        try:
            where = (surface.tenant, surface.surface, surface.segment, kind, day)
            refs[kind] = ref = read_staged(store, *where)
            problem = _problem(store, surface, ref, events)
        except MissingPartitionError:
            problem = f"no version is staged: materialize {kind} of the day"
        except RecsysAssetsError as error:
            problem = str(error)
        if problem:
            problems.append({"kind": kind, "problem": problem})
    if problems:
        text = "; ".join(f"{found['kind']}: {found['problem']}" for found in problems)
        verdict = checks.Verdict(
            checks.PUBLISHABLE,
            passed=False,
            description=text,
            failures=len(problems),
            rows=problems,
        )
        return Audited([verdict])
    current = {kind: ref.uri for kind, ref in refs.items()}
    return Audited(
        [checks.Verdict(checks.PUBLISHABLE, passed=True, numbers={"kinds": len(refs)})],
        Release(day, Window.ending_with(day, days=surface.window_days), current, seen),
        hashlib.sha256("\n".join(sorted(current.values())).encode()).hexdigest(),
        {
            "dagster/uri": store.uri(layout.manifest(surface.tenant, surface.surface)),
            "size_bytes": sum(ref.size_bytes for ref in refs.values()),
            "current": dg.MetadataValue.json(current),
        },
    )


def _problem(store: Store, surface: Surface, ref: StagedRef, events: str | None) -> str | None:
    """Return why a staged version may not be published, or None.

    Raises:
        StorageError: its blob is missing, altered, or in another root.
    """
    kind = ref.kind
    if kind in event_kinds(surface) and ref.source_hash != events:
        return f"made of other events than are accepted now: materialize {kind} of the day"
    size = checks.at_most(surface.guardrails, checks.MAX_ARTIFACT_BYTES, ref.size_bytes)
    if not size.passed:
        return size.description
    head = verify_blob(store, store.key(ref.uri), ref.version)
    if not head.startswith(document_head(surface, kind, ref.day).to_bytes()):
        return (
            "made with another segment or window than is configured now: materialize "
            f"{kind} of the day"
        )
    return None


def document_head(surface: Surface, kind: str, day: date) -> DocumentHead:
    """Return what the document of a day says of itself."""
    window = Window.ending_with(day, days=surface.window_days)
    return DocumentHead(kind, surface.tenant, surface.surface, surface.segment, window)


def event_kinds(surface: Surface) -> tuple[str, ...]:
    """Return the enabled kinds that are computed from events."""
    return tuple(kind for kind in surface.artifacts.kinds if kind != "content_sim")


def source_hash(window: Days) -> str:
    """Fingerprint the accepted days that an artifact is computed from."""
    if len(window) == 1:
        return next(iter(window.values())).fingerprint
    lines = "\n".join(f"{day} {window[day].fingerprint}" for day in sorted(window))
    return hashlib.sha256(lines.encode()).hexdigest()


def window_days(surface: Surface, day: date) -> list[date]:
    """Return the days of the trailing window, oldest first, from the start of history on."""
    days = [day - timedelta(days=back) for back in reversed(range(surface.window_days))]
    return [each for each in days if each >= surface.start_date]


def whole_lists(frame: pl.LazyFrame, kind: str) -> Iterator[pl.DataFrame]:
    """Yield an artifact frame in pieces, at least one; no owner's list is split between two.

    A kind without lists is one piece: it is unique as a whole, and small.
    """
    if LISTS[kind].entry is None:
        yield frame.collect(engine="streaming")
        return
    unfinished: list[pl.DataFrame] = []
    for start in count(0, _PIECE_ROWS):
        rows = frame.slice(start, _PIECE_ROWS).collect()
        piece = pl.concat([*unfinished, rows])
        if rows.height < _PIECE_ROWS:
            yield piece
            return
        owner = piece.to_series(0)
        starts = owner.ne_missing(owner.shift()).arg_true()
        cut = starts[-1] if starts.len() else 0
        unfinished = [piece.slice(cut)]
        if cut:
            yield piece.head(cut)


def _one_ahead(values: Iterator[T]) -> Iterator[T]:
    """Yield the same values; the next one is made in another thread while one is used."""
    yield from (begun := list(islice(values, 2)))
    if len(begun) < 2:
        return  # as for nearly all days of a small surface: not worth a thread
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as pool:
        following = pool.submit(list, islice(values, 1))
        while value := following.result():
            following = pool.submit(list, islice(values, 1))
            yield from value


def _is_accepted(
    store: Store, tenant: str, surface: str, day: date, partition: CanonicalPartition
) -> bool:
    return read_partitions(store, tenant, surface, [day]).get(day) == partition


def _judge(kind: str, source: str, computed: Computed, labels: pages.Labels) -> Judged:
    held = Held(kind, computed.frame)
    page = partial(held.page.show, labels)
    return Judged(source, computed.verdicts, held, held.text(), computed.metadata, page)


def _compute(
    options: EventOptions, limits: Guardrails, window: Mapping[date, DayCounts], counts: Counts
) -> Computed:
    """Compute the event-based artifact that the options belong to.

    Args:
        options: of the artifact.
        limits: of the surface.
        window: the counts of its days, oldest first.
        counts: of all of them as one.
    """
    days = list(window.values())
    if isinstance(options, Popularity):
        half_life = options.half_life_days
        weights = weigh_days(list(window), half_life_days=half_life) if half_life else None
        return Computed(count_exposures(days, top_n=options.top_n, weights=weights))
    if isinstance(options, Implicit):
        return Computed(count_user_exposures(counts, top_n=options.top_n))
    if isinstance(options, SessionSeq):
        return Computed(count_next_items(counts, top_n=options.top_n))
    found = count_cooccurrence(
        counts,
        max_neighbours=options.max_neighbours,
        min_support=options.min_support,
        max_items=options.max_items,
        max_items_per_session=limits.max_items_per_session,
    )
    share = found.oversized_sessions / found.sessions if found.sessions else 0.0
    return Computed(
        found.neighbours,
        [checks.at_most(limits, checks.MAX_OVERSIZED_SESSION_SHARE, share)],
        {"oversized_sessions": found.oversized_sessions},
    )
