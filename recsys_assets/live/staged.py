"""What is staged and not live: the day that a release would publish."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from recsys_assets.config import Surface
from recsys_assets.errors import (
    InputError,
    MissingPartitionError,
    StorageError,
)
from recsys_assets.storage import layout
from recsys_assets.storage.publications import Live, read_live
from recsys_assets.storage.registry import read_staged
from recsys_assets.storage.store import Store


@dataclass(frozen=True)
class StagedDay:
    """A day whose every kind is staged, and the URI of each."""

    day: date
    current: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return the members for machines."""
        return {"staged": str(self.day), "current": dict(self.current)}


def staged_day(store: Store, surface: Surface) -> StagedDay:
    """Return the newest staged day, before it is live.

    Raises:
        InputError: none is staged that is not live, or older than what is.
        StorageError: what is live, or a staged reference, is damaged.
    """
    live = read_live(store, surface.place)
    day = held_back(store, surface, live)
    if day is None:
        raise InputError(
            f"nothing of {surface.name} is staged that is not live, or older than what is live"
        )
    return StagedDay(day, _uris(store, surface, day))


def held_back(store: Store, surface: Surface, live: Live | None) -> date | None:
    """Return the newest day with every kind staged, unless just its versions are live."""
    days: dict[str, set[date]] = {kind: set() for kind in surface.artifacts.kinds}
    prefix = layout.of_place("staged", surface.place)
    for stored in store.list(f"{prefix}/{surface.segment}"):
        *_, kind, name = stored.key.split("/")
        if kind in days and (found := re.fullmatch(r"(\d{4}-\d\d-\d\d)\.json", name)):
            days[kind].add(date.fromisoformat(found[1]))
    complete = set.intersection(*days.values())
    if not complete:
        return None
    newest = max(complete)
    if live is None:
        return newest
    is_older = live.window is not None and newest < live.window.last_day
    return None if is_older or _is_live(store, surface, newest, live) else newest


def _is_live(store: Store, surface: Surface, day: date, live: Live) -> bool:
    """Tell whether just what is staged for a day is live; what is damaged is not."""
    try:
        return _uris(store, surface, day) == live.current
    except (StorageError, MissingPartitionError):
        return False


def _uris(store: Store, surface: Surface, day: date) -> dict[str, str]:
    where = (surface.place, surface.segment)
    return {kind: read_staged(store, *where, kind, day).uri for kind in surface.artifacts.kinds}
