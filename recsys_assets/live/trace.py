"""From a live artifact, or one of its items or users, back to the raw lines it was made of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from itertools import takewhile
from typing import Any

import polars as pl

from recsys_assets.config import Surface
from recsys_assets.errors import (
    CatalogError,
    ConfigError,
    InputError,
    StorageError,
)
from recsys_assets.events.catalog import CatalogCache, read_catalog
from recsys_assets.events.listed import listed_items
from recsys_assets.events.provenance import read_provenance
from recsys_assets.events.sources import InputSeen, Source, open_source
from recsys_assets.kinds import KINDS
from recsys_assets.live.history import recorded_live
from recsys_assets.live.tables import live_document
from recsys_assets.storage import layout
from recsys_assets.storage.frames import scan
from recsys_assets.storage.publications import history
from recsys_assets.storage.registry import version_of
from recsys_assets.storage.store import Store
from recsys_assets.windows import Window, source_hash


@dataclass(frozen=True)
class TracedFile:
    """A raw file of a day: as it was read, how it is now, and what the item or user has in it."""

    file: InputSeen
    now: str  # `there`, `missing`, `size differs`
    events: int | None = None
    first_line: int | None = None


@dataclass(frozen=True)
class TracedDay:
    """A canonical partition of the artifact's window; no `fingerprint` when it is not there."""

    day: date
    uri: str
    fingerprint: str | None
    files: Sequence[TracedFile]


@dataclass(frozen=True)
class Trace:
    """Where a live artifact comes from.

    Attributes:
        kind: the artifact kind.
        owner: the item or user that was asked for.
        publication: the publication record that made it live.
        record: the registry record of the version, None when there is none.
        uri: the blob.
        days: the canonical partitions of the window.
        is_current: whether the canonical events, or the catalog, are still those it was made of.
    """

    kind: str
    owner: str | None
    publication: dict[str, Any]
    record: dict[str, Any] | None
    uri: str
    days: Sequence[TracedDay]
    is_current: bool

    def to_json(self) -> dict[str, Any]:
        """Return the trace for machines."""
        return asdict(self)


def trace(store: Store, surface: Surface, kind: str, *, owner: str | None = None) -> Trace:
    """Trace a live artifact, or one item or user of it.

    Raises:
        InputError: nothing is live, not this kind, or the artifact has no list for `owner`.
        StorageError: what is live is damaged.
    """
    document = live_document(store, surface, kind)
    try:
        made_of = document["build"]["source_hash"]
        if owner is not None:
            _refuse_unknown(document, kind, owner)
    except (KeyError, TypeError, AttributeError) as error:
        raise StorageError(f"the live {kind} document cannot be traced: {error!r}") from None
    live, publication = recorded_live(store, surface)
    uri = live.current[kind]
    for earlier in takewhile(lambda each: each.current.get(kind) == uri, history(store, live)):
        publication = earlier
    record = _record(store, layout.record(surface.place, kind, version_of(uri)))
    if KINDS[kind].reads == "catalog":
        days: list[TracedDay] = []
        data = _catalog_fingerprint(surface)
    else:
        days = [
            _trace_day(store, surface, kind, day, owner)
            for day in Window.from_json(document["window"]).days(since=surface.start_date)
        ]
        accepted = {each.day: each.fingerprint for each in days if each.fingerprint}
        data = source_hash(accepted) if accepted else None
    is_current = data is not None and _source(surface, kind, data) == made_of
    return Trace(kind, owner, publication.to_json(), record, uri, days, is_current)


def _record(store: Store, key: str) -> dict[str, Any] | None:
    found = store.read(key)
    try:
        record: dict[str, Any] | None = json.loads(found.data) if found else None
    except ValueError as error:
        raise StorageError(f"{store.uri(key)} is not a registry record: {error!r}") from None
    return record


def _source(surface: Surface, kind: str, data: str) -> str | None:
    """Return the source hash that the kind would have now; None when that cannot be read."""
    of_catalog = KINDS[kind].reads == "catalog"
    try:
        return listed_items(surface, CatalogCache(), of_catalog=of_catalog).source(data)
    except InputError:
        return None


def _catalog_fingerprint(surface: Surface) -> str | None:
    try:
        return read_catalog(surface.known_catalog).fingerprint
    except (CatalogError, ConfigError):  # it broke, or went, since
        return None


def _trace_day(
    store: Store, surface: Surface, kind: str, day: date, owner: str | None
) -> TracedDay:
    key = layout.canonical(surface.events_of, day)
    try:
        provenance = read_provenance(store, key)
    except FileNotFoundError:
        return TracedDay(day, store.uri(key), None, [])
    seen = (
        _events_by_file(store.location(key), KINDS[kind].layout.owner, owner)
        if owner is not None
        else {}
    )
    source = open_source(surface)
    files = [
        TracedFile(
            file,
            _state(source, file),
            *(seen.get(number, (0, None)) if owner is not None else ()),
        )
        for number, file in enumerate(provenance.files)
    ]
    return TracedDay(day, store.uri(key), provenance.fingerprint, files)


def _events_by_file(location: str, column: str, owner: str) -> dict[int, tuple[int, int | None]]:
    found = (
        scan(location)
        .filter(pl.col(column) == owner)
        .group_by("file")
        .agg(events=pl.len(), first_line=pl.col("line").min())
        .collect(engine="streaming")
    )
    return {file: (events, line) for file, events, line in found.iter_rows()}


def _state(source: Source, file: InputSeen) -> str:
    size_bytes = source.size_bytes(file.name)
    if size_bytes is None:
        return "missing"
    return "there" if size_bytes == file.size_bytes else "size differs"


def _refuse_unknown(document: dict[str, Any], kind: str, owner: str) -> None:
    layout = KINDS[kind].layout
    if not any(entry.get(layout.owner) == owner for entry in document[layout.key]):
        raise InputError(f"no {layout.owner} {owner!r} in the live {kind}")
