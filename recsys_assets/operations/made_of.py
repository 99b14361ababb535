"""What the staged artifacts of a day are made of besides events: a catalog, withdrawn items."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import islice
from typing import Final

from recsys_assets.config import Surface
from recsys_assets.errors import MissingPartitionError, StorageError
from recsys_assets.kinds import KINDS
from recsys_assets.storage.registry import StagedRef, read_staged
from recsys_assets.storage.store import Store
from recsys_assets.windows import SourceHash

# Days that are looked at for one that was made: whatever is newer failed, or is being made.
_MOST_DAYS: Final = 10


@dataclass(frozen=True)
class MadeDay:
    """A day whose every kind is staged."""

    day: date
    refs: Sequence[StagedRef]

    def made_otherwise(self, denied: str) -> datetime | None:
        """Return when a kind was staged last that was made with another list than this one."""
        times = [
            datetime.fromisoformat(ref.staged_at)
            for ref in self.refs
            if SourceHash.from_text(ref.source_hash).denied != denied
        ]
        return max(times, default=None)


def newest_made(store: Store, surface: Surface, days: Iterable[date]) -> MadeDay | None:
    """Return the first of some days, the newest first, that was made; None when none was."""
    for day in islice(days, _MOST_DAYS):
        refs = _staged(store, surface, day, surface.artifacts.kinds)
        if refs:
            return MadeDay(day, refs)
    return None


def staged_catalog(store: Store, readers: Iterable[Surface], day: date) -> str | None:
    """Return the fingerprint of the catalog that the day's artifacts are made of, if all are.

    Args:
        store: where they are staged.
        readers: whose artifacts; each reads the catalog.
        day: of which they are.
    """
    found = {each for surface in readers for each in _staged_catalogs(store, surface, day)}
    return found.pop() if len(found) == 1 else None


def another_catalog_at(
    store: Store, readers: Iterable[Surface], day: date, catalog: str
) -> datetime | None:
    """Return when a kind of the day was staged last that was made of another catalog than this."""
    times = [
        datetime.fromisoformat(ref.staged_at)
        for surface in readers
        for ref in _reading_catalog(store, surface, day)
        if _catalog_of(ref) != catalog
    ]
    return max(times, default=None)


def _staged_catalogs(store: Store, surface: Surface, day: date) -> set[str | None]:
    return {_catalog_of(ref) for ref in _reading_catalog(store, surface, day)} or {None}


def _reading_catalog(store: Store, surface: Surface, day: date) -> list[StagedRef]:
    reads = [
        kind
        for kind in surface.artifacts.kinds
        if KINDS[kind].reads == "catalog" or surface.items.only_in_catalog
    ]
    return _staged(store, surface, day, reads)


def _catalog_of(ref: StagedRef) -> str | None:
    made_of = SourceHash.from_text(ref.source_hash)
    return made_of.data if KINDS[ref.kind].reads == "catalog" else made_of.catalog


def _staged(store: Store, surface: Surface, day: date, kinds: Iterable[str]) -> list[StagedRef]:
    """Return the staged references of a day; nothing unless each is there."""
    try:
        return [read_staged(store, surface.place, surface.segment, kind, day) for kind in kinds]
    except (MissingPartitionError, StorageError):
        return []
