"""Live artifacts as documents, and laid out as tables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from typing import Any

from recsys_assets.config import Surface
from recsys_assets.errors import InputError, StorageError
from recsys_assets.kinds import KINDS
from recsys_assets.live.history import find
from recsys_assets.live.staged import staged_day
from recsys_assets.storage.publications import read_live
from recsys_assets.storage.store import Store
from recsys_assets.windows import Window


def live_document(store: Store, surface: Surface, kind: str) -> dict[str, Any]:
    """Return the live artifact document of a kind.

    Raises:
        InputError: nothing is live, or not this kind.
        StorageError: the blob is missing or is no artifact document.
    """
    live = read_live(store, surface.place)
    if live is None:
        raise InputError(f"nothing is live for {surface.name} yet: materialize a day first")
    return _document(store, live.current, kind, f"is live for {surface.name}")


def document_of_day(store: Store, surface: Surface, kind: str, day: date) -> dict[str, Any]:
    """Return the artifact document of a kind that was live last with a window that ends with a day.

    Raises:
        InputError: the day was never live, or not with this kind.
        StorageError: the blob is missing, or is no artifact document.
    """
    found = find(store, surface, day.isoformat())
    return _document(store, found.current, kind, f"was live for {surface.name} on {day}")


def staged_document(store: Store, surface: Surface, kind: str) -> dict[str, Any]:
    """Return the artifact document of a kind that a release would make live.

    Raises:
        InputError: nothing is staged that is not live, or not this kind.
        StorageError: the blob is missing, or is no artifact document.
    """
    found = staged_day(store, surface)
    return _document(store, found.current, kind, f"is staged for {surface.name} on {found.day}")


def _document(store: Store, current: Mapping[str, str], kind: str, where: str) -> dict[str, Any]:
    if kind not in current:
        known = ", ".join(sorted(current))
        raise InputError(f"no {kind!r} {where}; there are: {known}")
    return read_document(store, current[kind], kind)


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
    return parse_document(found.data, kind, uri)


def parse_document(data: bytes, kind: str, uri: str) -> dict[str, Any]:
    """Return the artifact document of a kind that these are the bytes of.

    Raises:
        StorageError: they are of no such document; says which by its URI.
    """
    try:
        document: dict[str, Any] = json.loads(data)
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

    def titled(self, titles: Mapping[str, str]) -> Table:
        """Return it with the titles of its items, where one of them has a title."""
        at = self.columns.index(self.item_column)
        names = [titles.get(row[at], "") for row in self.rows]
        if not any(names):
            return self
        rows = [[*row, name] for row, name in zip(self.rows, names, strict=True)]
        return replace(self, columns=[*self.columns, "title"], rows=rows)


def artifact_table(document: Mapping[str, Any], *, owner: str | None, limit: int) -> Table:
    """Lay out an artifact document, or the list of one item or user in it.

    Lists are laid out by their strongest entry: of a thin day, most items have no neighbours.

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
    layout, item_column = KINDS[kind].layout, "item_id"
    entries = document[layout.key]
    if owner is not None:
        entries = _of_owner(entries, layout.owner, owner, kind)
    if layout.entry is None:
        columns = [layout.owner, layout.value]
        rows = [[entry[name] for name in columns] for entry in entries]
    elif owner is None:
        columns = [layout.owner, "entries", "strongest"]
        item_column = "item_id" if layout.of_items else "strongest"
        rows = [
            [entry[layout.owner], len(entry["items"]), _strongest(entry["items"])]
            for entry in sorted(entries, key=partial(_weakness, value=layout.value))
        ]
    else:
        (found,) = entries
        columns = ["item_id", layout.value]
        rows = [[entry[column] for column in columns] for entry in found["items"]]
    rows = [[", ".join(v) if isinstance(v, list) else v for v in row] for row in rows]
    return Table(columns, rows[:limit], len(rows), item_column)


def _weakness(entry: dict[str, Any], *, value: str) -> tuple[bool, float]:
    """Return what lists are ordered by: the strongest entry first, the empty ones last."""
    items = entry["items"]
    return not items, -items[0][value] if items else 0


def _strongest(entries: list[dict[str, Any]]) -> str:
    return str(entries[0].get("item_id", "")) if entries else ""


def _of_owner(
    entries: list[dict[str, Any]], name: str, owner: str, kind: str
) -> list[dict[str, Any]]:
    found = [entry for entry in entries if entry[name] == owner]
    if not found:
        raise InputError(f"no {name} {owner!r} in the live {kind}; without an ID, all are listed")
    return found
