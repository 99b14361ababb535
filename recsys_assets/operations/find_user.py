"""Where the ids of some persons stand: in every place of docs/output-layout.md that holds ids.

Whatever else holds copies, such as sinks and Dagster's databases, is a `Holder`.
"""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, Protocol

import polars as pl

from recsys_assets.compute.samples import hashes
from recsys_assets.config import FilesSink, Surface
from recsys_assets.errors import RecsysAssetsError
from recsys_assets.events.accepted import accepted_days, days_of_events
from recsys_assets.events.erased import (
    ERASED_TEXT,
    MATCHED,
    USER,
    Erased,
    id_groups,
    is_of_erased,
    refused_of,
)
from recsys_assets.events.provenance import read_provenance
from recsys_assets.events.sources import open_source
from recsys_assets.kinds import OF_USERS
from recsys_assets.sinks.files import Files
from recsys_assets.storage import layout
from recsys_assets.storage.frames import from_bytes_beside
from recsys_assets.storage.store import Store, Stored

_OWNER: Final = re.compile(rb'"user_id":"((?:[^"\\]|\\.)*)"')

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Held:
    """A place that holds ids of them.

    Attributes:
        place: what kind of place: the first word of a key, or what a holder calls itself.
        uri: where exactly.
        said: how much of it.
        key: of the object below the root; empty elsewhere.
    """

    place: str
    uri: str
    said: str
    key: str = ""


class Holder(Protocol):
    """Something that holds copies of what is stored below a root."""

    def find(self, surfaces: Sequence[Surface], erased: Erased) -> Iterator[Held]:
        """Yield where it holds ids of them."""

    def purge(self, surfaces: Sequence[Surface], erased: Erased) -> Sequence[Held]:
        """Take them out, once they are out of the root; return where it could not, and why."""


def find_user(
    store: Store,
    surfaces: Sequence[Surface],
    erased: Erased,
    *,
    ids: Collection[str] = (),
    holders: Iterable[Holder] = (),
) -> Iterator[Held]:
    """Yield every place below the root, and of holders, that holds ids of some persons.

    Args:
        store: where everything is.
        surfaces: a base, and its variants.
        erased: recognises them.
        ids: theirs, where they are known. Samples and outlines hold ids as hashes without a key,
            which can be looked up with the id only.
        holders: what else holds copies.

    Raises:
        StorageError: a stored day is damaged.
    """
    hashed = hashes(pl.Series([*ids], dtype=pl.String))
    seen = set[str]()  # the files of a sink may lie below the root
    for layer, kept_as in layout.HOLD_IDS.items():
        for surface in surfaces:
            if kept_as == "hashes":
                found = _hashed(store, layout.of_place(layer, surface.place), hashed)
            else:
                found = _LOOK[layer](store, surface, erased)
            for held in found:
                seen.add(held.uri)
                yield held
    for holder in holders:
        yield from (held for held in holder.find(surfaces, erased) if held.uri not in seen)


def in_events(store: Store, surface: Surface, erased: Erased) -> Iterator[Held]:
    """Yield the days that hold events of them."""
    days = days_of_events(store, surface.place)
    for number, day in enumerate(days, start=1):
        key = layout.canonical(surface.place, day)
        read_provenance(store, key)  # which says what to do with a damaged one
        file, _ = store.open(key)
        with file:
            events = sum(int(erased.in_events(group)[0].sum()) for group in id_groups(file))
        _LOG.info("%s: %d of %d days looked through", surface.name, number, len(days))
        if events:
            yield Held("canonical", store.uri(key), f"{events:,} events", key)


def in_refused(store: Store, surface: Surface, erased: Erased) -> Iterator[Held]:
    """Yield the files of refused lines that hold ids of them."""
    for stored in store.list(layout.of_place("rejected", surface.place)):
        lines = sum(is_of_erased(each, erased) for each in refused_of(_bytes(store, stored)))
        if lines:
            yield _held(store, stored, f"{lines:,} lines")


def in_documents(store: Store, surface: Surface, erased: Erased) -> Iterator[Held]:
    """Yield the documents that have lists of them."""
    for name in OF_USERS:
        prefix = f"{layout.of_place('objectstore', surface.place)}/{name}"
        for stored in store.list(prefix):
            owners = _OWNER.findall(_bytes(store, stored))
            users = number_of(map(_text, owners), erased)
            _LOG.info("%s: %s looked through", surface.name, stored.key)
            if users:
                yield _held(store, stored, f"{users:,} users")


def in_counts(store: Store, surface: Surface, erased: Erased) -> Iterator[Held]:
    """Yield the tables of counts that name them, by their own id."""
    for stored in store.list(layout.of_place("counts", surface.place)):
        try:
            table = pl.read_parquet(io.BytesIO(_bytes(store, stored)))
        except pl.exceptions.PolarsError:  # damaged: it is counted again, and nobody reads it
            continue
        if USER in table.columns and table.schema[USER] == pl.String:
            users = number_of(table[USER].drop_nulls().unique(), erased)
            if users:
                yield _held(store, stored, f"{users:,} users")


def in_exports(store: Store, surface: Surface, erased: Erased) -> Iterator[Held]:
    """Yield the files of sinks below the root that have rows of them; some may be no sink's now."""
    sink = FilesSink(name="exports", type="files", path=None, format="parquet")
    for uri, users in Files(sink, store).users(surface.place):
        if found := number_of(users, erased):
            yield Held("exports", uri, f"{found:,} users", store.key(uri))


def number_of(users: Iterable[str], erased: Erased) -> int:
    """Return how many of some ids are theirs."""
    return sum(bool(erased.whole(user)) for user in users)


def raw_days(store: Store, surface: Surface, erased: Erased) -> list[date]:
    """Return the days whose raw inputs may hold them.

    Those that held them when they were read, those of refused lines, and those that have landed and
    are not stored.
    """
    stored = {
        day: layout.canonical(surface.place, day) for day in days_of_events(store, surface.place)
    }
    left_out = {
        day
        for day, key in stored.items()
        if erased.hashes.intersection(read_provenance(store, key).source.get(MATCHED, ()))
    }
    held = {each.key for each in in_events(store, surface, erased)}
    refused = {
        each.key.rpartition("/")[2].partition(".")[0]
        for each in store.list(layout.of_place("rejected", surface.place))
        if any(
            entry.get("detail") == ERASED_TEXT or is_of_erased(entry, erased)
            for entry in refused_of(_bytes(store, each))
        )
    }
    landed = open_source(surface).landed().keys() - stored.keys()
    found = left_out | landed | {day for day, key in stored.items() if key in held}
    return sorted(found | {date.fromisoformat(day) for day in refused})


def in_raw(surface: Surface, days: Iterable[date], erased: Erased) -> Iterator[Held]:
    """Yield the raw inputs of some days that hold them; they are the owner's, and stay."""
    source, seen = open_source(surface), set[str]()
    for day in days:
        for name in source.inputs(day):
            if name in seen:
                continue
            seen.add(name)
            rows = 0
            try:
                with source.open(name, [day]) as reading:
                    for piece in reading.pieces():
                        parsed = source.parse(piece, None)
                        rows += int(erased.in_events(parsed.events)[0].sum())
                        lines = (line.raw.decode(errors="replace") for line in parsed.refused)
                        rows += sum(bool(erased.in_line(line)) for line in lines)
            except RecsysAssetsError as error:
                yield Held("raw", source.label(name), f"cannot be read: {error}")
                continue
            _LOG.info("%s: %s looked through", surface.name, name)
            if rows:
                yield Held("raw", source.label(name), f"{rows:,} rows")


def stale(store: Store, surface: Surface) -> Iterator[Stored]:
    """Yield counts and profiles that are not of the events that are accepted now."""
    accepted = accepted_days(store, surface.place, days_of_events(store, surface.place))
    fingerprints = {of.fingerprint for of in accepted.values()}
    for layer, part in (("counts", -2), ("profiles", -1)):
        for stored in store.list(layout.of_place(layer, surface.place)):
            if stored.key.split("/")[part].partition("-")[0] not in fingerprints:
                yield stored


# How each layer with ids is looked through; of a variant, there are none of events.
_LOOK: Final[Mapping[str, Callable[[Store, Surface, Erased], Iterator[Held]]]] = {
    "canonical": in_events,
    "rejected": in_refused,
    "objectstore": in_documents,
    "counts": in_counts,
    "exports": in_exports,
}


def _hashed(store: Store, prefix: str, hashed: pl.Series) -> Iterator[Held]:
    """Yield the small frames, profiles and outlines, that hold the hash of an id without a key."""
    if hashed.is_empty():
        return
    for stored in store.list(prefix):
        try:
            frame, beside = from_bytes_beside(_bytes(store, stored))
            is_there = beside.get("form", "users") == "users"
            users = frame["user" if "user" in frame.columns else "owner"]
            found = is_there and bool(users.is_in(hashed.implode()).any())
        except (pl.exceptions.PolarsError, ValueError, KeyError, OSError):
            continue  # damaged: it is made again, and nobody reads it
        if found:
            yield _held(store, stored, "a hash of an id")


def _held(store: Store, stored: Stored, said: str) -> Held:
    return Held(stored.key.partition("/")[0], store.uri(stored.key), said, stored.key)


def _bytes(store: Store, stored: Stored) -> bytes:
    """Return what an object holds; nothing of one that has gone since it was listed."""
    try:
        file, _ = store.open(stored.key)
    except FileNotFoundError:
        return b""
    with file:
        return file.read()


def _text(owner: bytes) -> str:
    return str(json.loads(b'"' + owner + b'"')) if b"\\" in owner else owner.decode()
