"""Accepted days of canonical events: those that passed their checks and are stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

from recsys_assets.errors import StorageError
from recsys_assets.events.provenance import read_provenance
from recsys_assets.places import Place
from recsys_assets.storage import layout
from recsys_assets.storage.store import Store

if TYPE_CHECKING:
    import polars as pl

    from recsys_assets.events.days import ParsedDay


@dataclass(frozen=True)
class AcceptedDay:
    """An accepted day of canonical events.

    Attributes:
        location: where they are.
        fingerprint: equal ones mean equal events.
        gap: the longest pause within the sessions that were built; 0 where none were.
        events: how many there are.
        columns: that it has, of which some days lack some.
    """

    location: str
    fingerprint: str
    gap: timedelta = timedelta(0)
    events: int = 0
    columns: frozenset[str] = frozenset()

    @property
    def frame(self) -> pl.LazyFrame:
        """The events, contract `canonical_event`; a column that a day lacks is null."""
        # Not above: Pandera takes a second to import, and publishing needs fingerprints only.
        from recsys_assets.contracts import FURTHER_COLUMNS, canonical_dtypes
        from recsys_assets.storage.frames import scan

        return scan(self.location, canonical_dtypes(FURTHER_COLUMNS))


AcceptedDays = Mapping[date, AcceptedDay]


def accept_day(store: Store, place: Place, parsed: ParsedDay) -> None:
    """Put a day that passed its checks in place of what was there.

    Raises:
        StorageError: somebody was erased since it was parsed, and may be in it.
    """
    refuse_erased_since(store, place, parsed)
    store.replace(layout.canonical(place, parsed.day), parsed.path)


def refuse_erased_since(store: Store, place: Place, parsed: ParsedDay) -> None:
    """Raise StorageError where somebody was erased since a day was parsed, and may be in it."""
    found = store.read(layout.erased(place))
    if (found.tag if found else None) != parsed.list_tag:
        raise StorageError(
            f"a person was erased from {place.name} while {parsed.day} was read, so it was not "
            "stored: materialize the day again"
        )


def accepted_days(store: Store, place: Place, days: Iterable[date]) -> dict[date, AcceptedDay]:
    """Return the accepted days of canonical events; one that is not there is left out."""
    found = {}
    for day in days:
        key = layout.canonical(place, day)
        with suppress(FileNotFoundError):
            seen = read_provenance(store, key)
            found[day] = AcceptedDay(
                store.location(key), seen.fingerprint, seen.gap, seen.events, seen.columns
            )
    return found


def days_of_events(store: Store, place: Place) -> list[date]:
    """Return the days whose events are accepted, ascending."""
    found = store.list(layout.of_place("canonical", place))
    days = (layout.canonical_day(place, stored.key) for stored in found)
    return sorted(day for day in days if day)
