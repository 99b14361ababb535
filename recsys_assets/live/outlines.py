"""The outlines of published versions; one that is missing is made again of its document."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import polars as pl

from recsys_assets.compute.coded import Piece
from recsys_assets.compute.outlines import Outline
from recsys_assets.errors import StorageError
from recsys_assets.kinds import KINDS
from recsys_assets.live.tables import read_document
from recsys_assets.places import Place
from recsys_assets.storage.outlines import read_brief, read_outline, write_outline
from recsys_assets.storage.registry import version_of
from recsys_assets.storage.store import Store

# Of a larger document none is made: that takes some ten times as much memory.
_MOST_BYTES: Final = 50_000_000


def sizes_of(store: Store, place: Place, kind: str, uri: str, *, keeps: bool = True) -> Outline:
    """Return what is known of a version besides its lists, which may be left out.

    Raises:
        StorageError: as `outline_of`.
    """
    brief = read_brief(store, place, kind, version_of(uri))
    return brief or outline_of(store, place, kind, uri, keeps=keeps)


def outline_of(store: Store, place: Place, kind: str, uri: str, *, keeps: bool = True) -> Outline:
    """Return the outline of a version; `keeps` says whether one that is made again is stored.

    Raises:
        StorageError: there is none, and its document is missing, too large or no such document.
    """
    version = version_of(uri)
    found = read_outline(store, place, kind, version)
    if found is None:
        brief = read_brief(store, place, kind, version)
        found = replace(_made(store, kind, uri), settings=brief.settings if brief else None)
        if keeps:
            write_outline(store, place, kind, version, found)
    return found


def _made(store: Store, kind: str, uri: str) -> Outline:
    stored = store.stat(store.key(uri))
    if stored and stored.size_bytes > _MOST_BYTES:
        raise StorageError(f"{uri} has no outline, and is larger than {_MOST_BYTES:,} bytes")
    document, layout = read_document(store, uri, kind), KINDS[kind].layout
    outliner = layout.outliner()
    owners, items = list[str](), list[str | None]()
    try:
        for entry in document[layout.key]:
            of_owner = [None] if layout.entry is None else [e["item_id"] for e in entry["items"]]
            items += of_owner or [None]
            owners += [entry[layout.owner]] * (len(of_owner) or 1)
        rows = {layout.owner: owners, **({layout.entry: items} if layout.entry else {})}
        outliner.add(Piece(pl.DataFrame(rows, schema=dict.fromkeys(rows, pl.String))))
    except (KeyError, TypeError) as error:
        raise StorageError(f"{uri} is no artifact document: {error!r}") from None
    return outliner.made()
