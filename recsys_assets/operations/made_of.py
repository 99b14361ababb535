"""What a day is made of: its events of raw files, its staged artifacts of lists besides events."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import islice
from typing import Final

from recsys_assets.config import Surface
from recsys_assets.errors import MissingPartitionError, StorageError
from recsys_assets.events.provenance import read_provenance
from recsys_assets.events.sources import Source
from recsys_assets.kinds import KINDS
from recsys_assets.storage.registry import StagedRef, read_staged
from recsys_assets.storage.store import Store, Stored
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


def staged_catalog(store: Store, surface: Surface, day: date) -> str | None:
    """Return the fingerprint of the catalog that the day's artifacts are made of, if all are."""
    reads = [
        kind
        for kind in surface.artifacts.kinds
        if KINDS[kind].reads == "catalog" or surface.items.only_in_catalog
    ]
    found = set()
    for ref in _staged(store, surface, day, reads):
        made_of = SourceHash.from_text(ref.source_hash)
        found.add(made_of.data if KINDS[ref.kind].reads == "catalog" else made_of.catalog)
    return found.pop() if len(found) == 1 else None


def is_made_of(
    store: Store, key: str, built: Stored, source: Source, files: Sequence[Stored]
) -> bool:
    """Compare with the raw files that an accepted day names."""
    try:
        made_of = read_provenance(store, key).files
    except (FileNotFoundError, StorageError):
        return False
    if [file.key for file in files] != [seen.name for seen in made_of]:
        return False
    return all(
        source.is_still(seen, file, read_at=built.modified)
        for file, seen in zip(files, made_of, strict=True)
    )


def _staged(store: Store, surface: Surface, day: date, kinds: Iterable[str]) -> list[StagedRef]:
    """Return the staged references of a day; nothing unless each is there."""
    try:
        return [read_staged(store, surface.place, surface.segment, kind, day) for kind in kinds]
    except (MissingPartitionError, StorageError):
        return []
