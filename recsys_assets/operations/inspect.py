"""Read what is live: the state of a surface, and its artifacts as tables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from recsys_assets.config import Surface
from recsys_assets.documents import LISTS, Window
from recsys_assets.errors import CatalogError, InputError, StorageError, StoreUnavailableError
from recsys_assets.events.catalog import read_catalog
from recsys_assets.storage.publications import Live, read_live
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
    days_behind: int | None  # whole UTC days between the live window's last day and yesterday
    age: timedelta | None  # since the flip; None when another producer wrote no usable time
    error: str | None = None  # why what is live cannot be told; nothing else is known then

    def to_json(self) -> dict[str, Any]:
        """Return the status as it is printed for machines."""
        live = self.live
        publication = live.publication if live else None
        return {
            "tenant": self.surface.tenant,
            "surface": self.surface.surface,
            "live": None if self.error else live is not None,
            "window": live.window.to_json() if live and live.window else None,
            "generation": publication.generation if publication else None,
            "pinned": None if self.error else publication is not None and publication.pinned,
            "updated_at": live.updated_at if live else None,
            "age_seconds": (None if self.age is None else round(self.age.total_seconds())),
            "days_behind": self.days_behind,
            "kinds": {
                kind: {"version": of.version, "uri": of.uri, "size_bytes": of.size_bytes}
                for kind, of in self.kinds.items()
            },
            "error": self.error,
        }


def surface_status(store: Store, surface: Surface, *, now: datetime) -> SurfaceStatus:
    """Return what is live for a surface; a damaged manifest is its `error`."""
    try:
        live = read_live(store, surface.tenant, surface.surface)
        if live is None:
            return SurfaceStatus(surface, None, {}, None, None)
        kinds = {kind: _live_kind(store, uri) for kind, uri in live.current.items()}
    except (StorageError, OSError) as error:
        return SurfaceStatus(surface, None, {}, None, None, error=str(error))
    behind = (now.astimezone(UTC).date() - live.window.end).days if live.window else None
    return SurfaceStatus(surface, live, kinds, behind, _age(live.updated_at, now))


def _age(updated_at: str, now: datetime) -> timedelta | None:
    try:
        return now - datetime.fromisoformat(updated_at)
    except (ValueError, TypeError):  # no time, or one without an offset
        return None


def _live_kind(store: Store, uri: str) -> LiveKind:
    version = version_of(uri)
    try:
        file, size_bytes = store.open(store.key(uri))
    except (FileNotFoundError, StorageError):
        return LiveKind(version, uri, None)
    file.close()
    return LiveKind(version, uri, size_bytes)


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


def item_titles(surface: Surface) -> dict[str, str]:
    """Return the catalog's titles by item; empty when there is no catalog, or it cannot be read."""
    if surface.catalog is None:
        return {}
    try:
        frame = read_catalog(surface.catalog.path).frame
    except (
        CatalogError,
        StoreUnavailableError,
    ):  # titles are a courtesy; content_sim's own check reports the catalog
        return {}
    return {item: title for item, title in frame.select("item_id", "title").iter_rows() if title}
