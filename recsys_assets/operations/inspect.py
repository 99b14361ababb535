"""Read what is live: the state of a surface, and its artifacts as tables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from recsys_assets.config import Surface
from recsys_assets.documents import LISTS, Window
from recsys_assets.errors import InputError, StorageError
from recsys_assets.operations.freshness import stale_because
from recsys_assets.operations.history import began_pin, last_change
from recsys_assets.storage.publications import Live, Publication, read_live
from recsys_assets.storage.registry import version_of
from recsys_assets.storage.store import Store


@dataclass(frozen=True)
class LiveKind:
    """One live artifact document; `size_bytes` is None when the blob is missing."""

    version: str
    uri: str
    size_bytes: int | None


@dataclass(frozen=True)
class SurfaceStatus:
    """What is live for a surface now; `live` is None before the first publish."""

    surface: Surface
    live: Live | None
    kinds: Mapping[str, LiveKind]
    newest_day: date | None  # the newest that is over and could be live; None before the first is
    days_behind: int | None  # whole days between the live window's last day and `newest_day`
    # When a flip changed what is live, and how long ago; None without a usable time.
    flipped_at: datetime | None
    age: timedelta | None
    pin: Publication | None = None  # the flip since which publishes are held back
    error: str | None = None  # why what is live cannot be told; nothing else is known then

    @property
    def pinned_at(self) -> datetime | None:
        """Since when publishes are held back; None when they are not."""
        return _time(self.pin.published_at) if self.pin else None

    @property
    def generation(self) -> int | None:
        """The generation of what is live; None when it has no record."""
        return self.live.publication.generation if self.live and self.live.publication else None

    def to_json(self) -> dict[str, Any]:
        """Return the status as it is printed for machines."""
        live, pin = self.live, self.pin
        because = stale_because(self)
        return {
            "tenant": self.surface.tenant,
            "surface": self.surface.surface,
            "live": None if self.error else live is not None,
            "window": live.window.to_json() if live and live.window else None,
            "generation": self.generation,
            "pinned": None if self.error else pin is not None,
            "pin": pin and {"since": pin.published_at, "who": pin.who, "reason": pin.reason},
            "updated_at": live.updated_at if live else None,
            "age_seconds": (None if self.age is None else round(self.age.total_seconds())),
            "days_behind": self.days_behind,
            "stale": because is not None,
            "stale_because": because,
            "kinds": {
                kind: {"version": of.version, "uri": of.uri, "size_bytes": of.size_bytes}
                for kind, of in self.kinds.items()
            },
            "error": self.error,
        }


def surface_status(store: Store, surface: Surface, *, now: datetime) -> SurfaceStatus:
    """Return what is live for a surface; a damaged manifest is its `error`."""
    newest = surface.newest_day(now)
    try:
        live = read_live(store, surface.tenant, surface.surface)
        if live is None:
            return SurfaceStatus(surface, None, {}, newest, None, None, None)
        kinds = {kind: _live_kind(store, uri) for kind, uri in live.current.items()}
        pin, changed = began_pin(store, live), last_change(store, live)
    except (StorageError, OSError) as error:
        return SurfaceStatus(surface, None, {}, newest, None, None, None, error=str(error))
    flipped_at = _time(changed.published_at if changed else live.updated_at)
    age = None if flipped_at is None else now - flipped_at
    behind = _days_behind(live, newest)
    return SurfaceStatus(surface, live, kinds, newest, behind, flipped_at, age, pin)


def _days_behind(live: Live, newest: date | None) -> int | None:
    if live.window is None:
        return None
    return max(0, (newest - live.window.end).days + 1) if newest else 0


def _time(text: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(text)
    except (ValueError, TypeError):  # whatever stands in a manifest or a record
        return None
    return time if time.tzinfo else None


def _live_kind(store: Store, uri: str) -> LiveKind:
    version = version_of(uri)
    try:
        found = store.stat(store.key(uri))
    except StorageError:
        found = None
    return LiveKind(version, uri, found.size_bytes if found else None)


def live_document(store: Store, surface: Surface, kind: str) -> dict[str, Any]:
    """Return the live artifact document of a kind.

    Raises:
        InputError: nothing is live, or not this kind.
        StorageError: the blob is missing or is no artifact document.
    """
    live = read_live(store, surface.tenant, surface.surface)
    if live is None:
        raise InputError(f"nothing is live for {surface.name} yet: materialize a day first")
    if kind not in live.current:
        known = ", ".join(sorted(live.current))
        raise InputError(f"no {kind!r} is live for {surface.name}; there are: {known}")
    return read_document(store, live.current[kind], kind)


def read_document(store: Store, uri: str, kind: str) -> dict[str, Any]:
    """Return an artifact document of a kind.

    Raises:
        StorageError: the blob is missing or is no such document.
    """
    found = store.read(store.key(uri))
    if found is None:
        raise StorageError(
            f"{uri} is missing, though a manifest names it: materialize the day again"
        )
    try:
        document: dict[str, Any] = json.loads(found.data)
        Window.from_json(document["window"])
        if document["artifact_type"] != kind:
            raise ValueError(f"it holds {document['artifact_type']!r}, not {kind!r}")
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError(f"{uri} is no artifact document: {error!r}") from None
    return document


@dataclass(frozen=True)
class Table:
    """A table to print: at most `limit` of `total` rows. `item_column` names catalog items."""

    columns: list[str]
    rows: list[list[Any]]
    total: int
    item_column: str


def artifact_table(document: Mapping[str, Any], *, owner: str | None, limit: int) -> Table:
    """Lay out an artifact document, or the list of one item or user in it.

    Raises:
        InputError: there is no list for `owner`.
        StorageError: the document is not laid out as documents of its kind are.
    """
    kind = document["artifact_type"]
    try:
        return _lay_out(document, kind, owner=owner, limit=limit)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StorageError(f"the live {kind} document cannot be shown: {error!r}") from None


def _lay_out(document: Mapping[str, Any], kind: str, *, owner: str | None, limit: int) -> Table:
    layout, item_column = LISTS[kind], "item_id"
    entries = document[layout.key]
    if owner is not None:
        entries = _of_owner(entries, layout.owner, owner, kind)
    if layout.entry is None:
        columns = [layout.owner, layout.value]
        rows = [[entry[name] for name in columns] for entry in entries]
    elif owner is None:
        columns = [layout.owner, "entries", "strongest"]
        item_column = "item_id" if layout.owner == "item_id" else "strongest"
        rows = [
            [entry[layout.owner], len(entry["items"]), _strongest(entry["items"])]
            for entry in entries
        ]
    else:
        (found,) = entries
        columns = ["item_id", layout.value]
        rows = [[entry[column] for column in columns] for entry in found["items"]]
    rows = [[", ".join(v) if isinstance(v, list) else v for v in row] for row in rows]
    return Table(columns, rows[:limit], len(rows), item_column)


def _strongest(entries: list[dict[str, Any]]) -> str:
    return str(entries[0].get("item_id", "")) if entries else ""


def _of_owner(
    entries: list[dict[str, Any]], name: str, owner: str, kind: str
) -> list[dict[str, Any]]:
    found = [entry for entry in entries if entry[name] == owner]
    if not found:
        raise InputError(f"no {name} {owner!r} in the live {kind}; without an ID, all are listed")
    return found
