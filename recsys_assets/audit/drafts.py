"""Artifacts before they are written: computed from accepted events, or from the catalog."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cache, partial
from threading import Lock
from typing import Any, Final

import polars as pl

from recsys_assets import pages
from recsys_assets.audit.by_engine import compute_by_engine
from recsys_assets.audit.contract import PieceChecker, one_ahead
from recsys_assets.audit.shared import Shared
from recsys_assets.compute.bots import BotLimits, without_bots
from recsys_assets.compute.coded import Piece, Rows
from recsys_assets.compute.content_sim import details_of_surface
from recsys_assets.compute.day_counts import Counts, DayCounts, Keep
from recsys_assets.compute.outlines import Outliner
from recsys_assets.compute.window_counts import WindowCounts
from recsys_assets.config import Surface
from recsys_assets.documents import ListLayout, list_text
from recsys_assets.errors import MissingPartitionError
from recsys_assets.events.accepted import AcceptedDay, AcceptedDays, accepted_days
from recsys_assets.events.labels import item_labels, labels_in
from recsys_assets.events.listed import ListedItems, listed_items
from recsys_assets.kind import Computed, Kind, WindowEvents
from recsys_assets.pages import Shown
from recsys_assets.storage.counts import KeptCounts, without_some
from recsys_assets.storage.store import Store
from recsys_assets.verdicts import Verdict
from recsys_assets.windows import source_hash

# Rows of lists that are held to their contract, written and shown at a time: more gain nothing.
_PIECE_ROWS: Final = 100_000


class CheckedList:
    """The list of a document, held to the contract of its kind as it is written.

    So the rows are read once. Whether `text` may be used, `verdict` says once it was read to its
    end. Memory is bounded by the largest list of an owner: rows are looked at in pieces.
    """

    def __init__(
        self,
        kind: Kind,
        rows: Rows,
        unit: str = "",
        outliner: Outliner | None = None,
    ) -> None:
        self._layout = kind.layout
        self._rows = rows
        self._checker = PieceChecker(kind.contract)
        self.page = kind.page(unit)
        self.outliner = outliner

    @property
    def verdict(self) -> Verdict:
        """What the check of the contract found."""
        return self._checker.verdict

    @property
    def numbers(self) -> dict[str, int]:
        """Rows, and owners of lists, as the asset page names them."""
        rows = int(self.verdict.numbers["rows"])
        return {"dagster/row_count": rows, self._layout.owners: self.page.owners}

    def text(self) -> Iterator[bytes]:
        """Yield the list; it ends where the contract is broken."""
        return list_text(one_ahead(self._pieces()), self._layout)

    def _pieces(self) -> Iterator[Piece]:
        for piece in whole_lists(self._rows, self._layout):
            if not self._checker.holds(piece):
                return
            self.page.add(piece)
            if self.outliner is not None:
                self.outliner.add(piece)
            yield piece


@dataclass(frozen=True)
class Draft:
    """An artifact of a day that is computed and not yet written.

    Attributes:
        source_hash: fingerprint of what it is computed from.
        list: its list.
        text: the list's text.
        found: what the kind's own checks look at.
        shown: numbers for the asset page.
        page: gives what the page shows besides numbers. It is called last: the catalog it reads is
            no part of the work that is timed.
        missing: days of the window that are not there.
        details: what the catalog says of items besides what is listed; None of none.
    """

    source_hash: str
    list: CheckedList
    text: Iterable[bytes]
    found: Mapping[str, Any]
    shown: Mapping[str, Shown]
    page: Callable[[], Mapping[str, Shown]]
    missing: Sequence[date] = field(default=())
    details: pl.DataFrame | None = None


# Gives the draft of a day.
Drafts = Callable[[date], Draft]


def drafts(
    store: Store,
    surface: Surface,
    kind: Kind,
    accepted: AcceptedDays,
    shared: Shared,
    last: date | None = None,
) -> Drafts:
    """Return how the artifact of a day is computed.

    Args:
        store: where the counts of days are kept.
        surface: whose artifact.
        kind: the artifact kind.
        accepted: the accepted days of canonical events, those of the windows at least; empty for a
            kind that reads the catalog.
        shared: what is parsed and counted already.
        last: day of the run, where the outlines of days long before it may be brief.
    """
    if kind.reads == "catalog":
        return _drafts_of_catalog(surface, kind, shared)
    return _DraftsOfEvents(store, surface, kind, accepted, shared, last)


class _DraftsOfEvents:
    """Drafts of a kind that reads events.

    Where windows overlap, the counts of a day are kept: in the store for later runs, and in memory
    from one day of a run to the next. Otherwise the artifacts of a process share them.
    """

    def __init__(
        self,
        store: Store,
        surface: Surface,
        kind: Kind,
        accepted: AcceptedDays,
        shared: Shared,
        last: date | None,
    ) -> None:
        self._scored_from = surface.gates.scored_from(last) if last else date.min
        self._last = last
        self._store = store
        self._surface = surface
        self._kind = kind
        self._accepted = accepted
        self._cache = shared.counts
        self._catalogs = shared.catalogs
        self._labels = item_labels(surface, shared.catalogs)
        self._bots = bot_limits(surface, kind.name)
        self._counted: dict[date, DayCounts] = {}
        self._lock = Lock()  # days of a run may be drafted at the same time

    def __call__(self, day: date) -> Draft:
        surface = self._surface
        wanted = surface.days_of_window(day)
        window = {each: self._accepted[each] for each in wanted if each in self._accepted}
        if day not in window:
            raise MissingPartitionError(
                f"{surface.events_of.name} {day} has no accepted canonical events: materialize "
                "canonical_events of that day first, and look at its failed checks if it fails"
            )
        source = source_hash({each: of.fingerprint for each, of in window.items()})
        items = listed_items(surface, self._catalogs, of_catalog=False)
        if surface.engine.type == "polars":
            days = self._counts(window)
            keep = self._cache.of(without_some(source, str(self._bots)))
            together = days[day] if len(days) == 1 else WindowCounts([*days.values()], keep)
            computed, left_out = compute_of_events(self._kind, surface, days, together, items)
        else:
            computed, left_out = compute_by_engine(
                self._store, self._kind, surface, window, self._bots, items
            )
        outliner = self._kind.layout.outliner(may_be_brief=day < self._scored_from)
        draft = _draft(
            surface, self._kind, items.source(source), computed, self._labels, left_out, outliner
        )
        missing = [each for each in wanted if each not in window]
        if not missing:
            return draft
        shown = {**draft.shown, "missing_days": ", ".join(map(str, missing))}
        return replace(draft, missing=missing, shown=shown)

    def _counts(self, window: AcceptedDays) -> dict[date, DayCounts]:
        if self._surface.longest_window == 1:
            return {day: self._shared(of) for day, of in window.items()}
        with self._lock:
            found = {
                day: self._counted.get(day) or self._kept(day, of) for day, of in window.items()
            }
            # After the last day of a run nobody asks again, and other artifacts need the memory.
            self._counted = {} if self._last in window else found
            return found

    def _shared(self, accepted: AcceptedDay) -> DayCounts:
        keep, rows = self._cache.of(accepted.fingerprint), accepted.events
        everything = DayCounts(accepted.frame, keep, rows=rows)
        if not self._bots:
            return everything
        keep = self._cache.of(without_some(accepted.fingerprint, str(self._bots)))
        return DayCounts(accepted.frame, keep, without_bots(everything, self._bots), rows=rows)

    def _kept(self, day: date, accepted: AcceptedDay) -> DayCounts:
        def is_current() -> bool:
            return accepted_days(self._store, self._surface.events_of, [day]).get(day) == accepted

        keep = partial(
            KeptCounts,
            self._store,
            self._surface.events_of,
            day,
            fingerprint=accepted.fingerprint,
            is_current=is_current,
            cache=self._cache,
        )
        return counts_of_day(accepted, self._bots, lambda without: keep(without=without))


def counts_of_day(accepted: AcceptedDay, bots: BotLimits, keep: Callable[[str], Keep]) -> DayCounts:
    """Return the counts of a day in a window, without those of bots.

    Args:
        accepted: the day.
        bots: above which sizes sessions and users are left out.
        keep: gives where counts are kept, from what names what is left out of them.
    """
    gap, rows = accepted.gap, accepted.events
    everything = DayCounts(accepted.frame, keep(""), gap=gap, rows=rows)
    if not bots:
        return everything
    leave_out = without_bots(everything, bots)
    return DayCounts(accepted.frame, keep(str(bots)), leave_out, gap=gap, rows=rows)


def compute_of_events(
    kind: Kind,
    surface: Surface,
    days: Mapping[date, DayCounts],
    together: Counts,
    items: ListedItems,
) -> tuple[Computed, Mapping[str, int]]:
    """Compute an artifact of a kind that reads events.

    Args:
        kind: the artifact kind.
        surface: whose options, and limits.
        days: the counts of each day of the window that is there.
        together: those of all of them.
        items: which may be listed.

    Returns:
        What is computed, and how many items were left out, as the asset page shows it.
    """
    listed, left_out = items.judge(together.item_ids) if items.any else (None, dict[str, int]())
    options = surface.artifacts.options(kind.name)
    computed = kind.compute(WindowEvents(days, together, listed), options, surface)
    if listed is not None:
        unlisted = together.item_ids.filter(~listed)
        computed = computed.without_items(unlisted, kind.layout)
    return computed, left_out


def _drafts_of_catalog(surface: Surface, kind: Kind, shared: Shared) -> Drafts:
    """Return drafts of a kind that reads the catalog: computed once a run, for all its days."""

    @cache  # only the head of the document belongs to a day
    def draft() -> Draft:
        snapshot = shared.catalogs.read(surface.known_catalog)
        items = listed_items(surface, shared.catalogs, of_catalog=True)
        frame, left_out = snapshot.frame, dict[str, int]()
        if items.any:
            ids = frame["item_id"].str.strip_chars()
            listed, _ = items.judge(ids)
            _, left_out = items.judge(ids.unique())
            frame = frame if listed is None else frame.filter(listed)
        computed = kind.compute(frame, surface.artifacts.options(kind.name), surface)
        labels = partial(labels_in, snapshot.frame)
        source, outliner = items.source(snapshot.fingerprint), kind.layout.outliner()
        made = _draft(surface, kind, source, computed, labels, left_out, outliner)
        details = details_of_surface(
            snapshot.frame.lazy(), snapshot.details, surface=surface.events_of.surface
        )
        return replace(
            made,
            text=list(made.text),
            page=cache(made.page),
            details=None if details.is_empty() else details,
        )

    return lambda _: draft()


def bot_limits(surface: Surface, kind: str) -> BotLimits:
    """Return above which sizes the sessions and users of a day are left out for a kind."""
    bots, limits = surface.bots, surface.guardrails
    return BotLimits(
        limits.max_items_per_session if bots.sessions_are_left_out_of(kind) else None,
        bots.max_items_per_user if bots.are_left_out_of(kind) else None,
    )


def _draft(
    surface: Surface,
    kind: Kind,
    source: str,
    computed: Computed,
    labels: pages.Labels,
    left_out: Mapping[str, int],
    outliner: Outliner,
) -> Draft:
    # Ids are hashed for it one by one, which takes as long as writing the document.
    wanted = outliner if surface.gates.are_on else None
    checked = CheckedList(kind, computed.rows, computed.unit, wanted)
    page = partial(checked.page.show, labels)
    shown: dict[str, Shown] = {"unit": computed.unit} if computed.unit else {}
    shown |= {**computed.shown, **left_out}
    return Draft(source, checked, checked.text(), computed.found, shown, page)


def whole_lists(rows: Rows, layout: ListLayout) -> Iterator[Piece]:
    """Yield the rows of an artifact in pieces, at least one; no owner's list is split between two.

    A kind without lists is one piece: it is unique as a whole, and small.
    """
    if layout.entry is None:
        yield Piece(rows.collect())
        return
    unfinished: list[pl.DataFrame] = []
    for read in rows.pieces(_PIECE_ROWS):
        piece = pl.concat([*unfinished, read.frame])
        if read.frame.height < _PIECE_ROWS:
            yield Piece(piece, read.ids)
            return
        owner = piece.to_series(0)
        starts = owner.ne_missing(owner.shift()).arg_true()
        cut = starts[-1] if starts.len() else 0
        unfinished = [piece.slice(cut)]
        if cut:
            yield Piece(piece.head(cut), read.ids)
